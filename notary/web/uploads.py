"""Bodies → intake. A file is hashed and stored as it arrives, never held.

Three forms of POST /v1/deposits:

* a raw body, its name in Content-Disposition (RFC 6266, RFC 8187), the rest in the query;
* multipart/form-data (browsers, `curl -F`), taken apart by Werkzeug's sans-I/O parser;
* application/json without Content-Disposition: digests and size only, the original stays home.

A body whose end is marked by nothing but the end of a chunked stream is taken only with a digest:
the application server cannot tell a finished chunked body from a broken connection, and a part of
a document must never be registered as the whole.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import IO, Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from notary.declaration import (
    LINKS,
    TEXTS,
    from_json,
    parse_label,
    parse_link,
    parse_media_type,
    parse_object,
    parse_switch,
    parse_timestamp,
)
from notary.digest import SHA256, Digester, check_declared, parse_digest_field
from notary.errors import DigestMismatch, MalformedInput, Rejected
from notary.intake import Receipt, Reception
from notary.model import Declared, Principal, check_name
from notary.provenance import from_fields, parse_provenance
from notary.web import auth

CHUNK = 1 << 20
MAX_JSON = 64 * 1024
MAX_FIELD = 64 * 1024
MAX_PARTS = 30
FORM_OVERHEAD = MAX_PARTS * 2 * MAX_FIELD
"""Bytes of a form that can be other than its file: the fields, and each part's header."""
STATED = "provenance."
"""Fields of a page's form that begin so are the members of its provenance."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def deposit(request: Request, by: Principal, *, case: str | None = None) -> Receipt:
    """Into the case that the caller names, else the one that the request does.

    Raises what intake raises, MalformedInput, and Rejected `length_required`.
    """
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Rejected(
            f"Content-Encoding {request.headers['Content-Encoding']!r}: send the bytes themselves",
            code="content_encoding_refused",
        )
    declared = from_query(request)
    if case is not None:
        declared = replace(declared, case=case)
    disposition = request.headers.get("Content-Disposition")
    if request.mimetype == "multipart/form-data":
        return _form(request, by, declared)
    if request.mimetype == "application/json" and disposition is None:
        return _digests(request, by, declared)
    return _raw(request, by, declared, disposition)


def from_query(request: Request) -> Declared:
    """What query and headers declare."""
    given = request.args
    links = {name: parse_link(given[name]) for name in LINKS if name in given}
    texts: dict[str, Any] = {
        name: parse_label(given[name], name) for name in TEXTS if name in given
    }
    return Declared(
        **texts,
        digests=declared_digests(request),
        links=links,
        idempotency_key=idempotency_key(request),
        document_timestamp=parse_timestamp(given.get("timestamp")),
    )


def idempotency_key(request: Request) -> str | None:
    """The header's value, quoted (RFC 9651 string) or bare. Raises MalformedInput."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if not _KEY.fullmatch(key):
        raise MalformedInput(
            "Idempotency-Key must have 1 to 255 visible ASCII characters",
            code="idempotency_key_malformed",
        )
    return key


def _allow_empty(request: Request) -> bool:
    return parse_switch(request.args.get("allow_empty"), "allow_empty")


def body_ends(request: Request, declared: Declared) -> bool:
    """The body's end can be told: by its length or by a digest of it."""
    return request.content_length is not None or bool(declared.digests)


def _raw(request: Request, by: Principal, declared: Declared, disposition: str | None) -> Receipt:
    if not body_ends(request, declared):
        raise Rejected(
            "send Content-Length, or Repr-Digest (RFC 9530), or a multipart form: a chunked "
            "body alone does not show whether it arrived whole",
            code="length_required",
        )
    declared = replace(
        declared,
        name=_disposition_name(disposition),
        media_type=parse_media_type(request.headers.get("Content-Type")),
        size=request.content_length,
    )
    intake = auth.office().intake
    allow_empty = _allow_empty(request)
    with intake.receive(intake.admit(by, declared)) as reception:
        for chunk in _chunks(request.stream):
            reception.write(chunk)
        return reception.register(declared, allow_empty=allow_empty)


def _digests(request: Request, by: Principal, declared: Declared) -> Receipt:
    body = read_json(request, digests=declared.digests)
    if "size" not in body or "digests" not in body:
        raise MalformedInput(
            "a digest-only deposit states size and digests; to deposit a JSON file as evidence, "
            "name it with Content-Disposition",
            code="digests_malformed",
        )
    return auth.office().intake.register_digests(by, from_json(body, declared))


class _FormUpload:
    """One form on its way in: fields may stand before or behind the file."""

    def __init__(self, request: Request, by: Principal, declared: Declared) -> None:
        self.by, self.declared = by, declared
        self.allow_empty = _allow_empty(request)
        self.reception: Reception | None = None
        self._field: str | None = None
        self._value = b""
        self._stated: dict[str, str] = {}
        self._csrf_shown = not auth.by_session()
        if not self._csrf_shown and auth.CSRF_HEADER in request.headers:
            auth.check_csrf(request.headers[auth.CSRF_HEADER])
            self._csrf_shown = True

    def begin_file(self, event: File) -> None:
        if not self._csrf_shown:
            auth.check_csrf(None)
        if self.reception is not None:
            raise MalformedInput("one file a form: this one has more", code="form_malformed")
        name = event.filename or ""
        self.declared = replace(
            self.declared,
            name=check_name(name) if name else None,
            media_type=parse_media_type(event.headers.get("Content-Type")),
        )
        intake = auth.office().intake
        self.reception = intake.receive(intake.admit(self.by, self.declared))

    def data(self, event: Data) -> None:
        if self._field is None:
            assert self.reception is not None
            if event.data:
                self.reception.write(event.data)
            return
        self._value += event.data
        if len(self._value) > MAX_FIELD:
            raise MalformedInput(f"field {self._field!r:.40} is too long", code="form_malformed")
        if not event.more_data:
            self._take(self._field, self._value)

    def begin_field(self, name: str) -> None:
        self._field, self._value = name, b""

    def end_field(self) -> None:
        self._field = None

    def _take(self, name: str, raw: bytes) -> None:
        try:
            value = raw.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise MalformedInput(f"field {name!r:.40} is not UTF-8", code="form_malformed") from exc
        if name == auth.CSRF_FIELD:
            if not self._csrf_shown:
                auth.check_csrf(value)
            self._csrf_shown = True
        elif name == "provenance":
            if value.strip():
                self.declared = replace(self.declared, provenance=parse_provenance(value))
        elif name.startswith(STATED):
            self._stated[name.removeprefix(STATED)] = value
            if (stated := from_fields(self._stated)) is not None:
                self.declared = replace(self.declared, provenance=stated)
        elif name == "timestamp":
            self.declared = replace(self.declared, document_timestamp=parse_timestamp(value))
        elif name == "allow_empty":
            self.allow_empty = parse_switch(value, name)
        elif name in LINKS:
            links = {**self.declared.links, name: parse_link(value)}
            self.declared = replace(self.declared, links=links)
        elif name in TEXTS:
            if value.strip():
                texts: dict[str, Any] = {name: parse_label(value, name)}
                self.declared = replace(self.declared, **texts)
        else:
            raise MalformedInput(f"unknown field {name!r:.40}", code="form_malformed")


def _form(request: Request, by: Principal, declared: Declared) -> Receipt:
    if request.content_length is not None:
        auth.office().intake.room(by, max(0, request.content_length - FORM_OVERHEAD))
    # The digest fields cover the whole form (RFC 9530), not the file.
    digester = Digester((SHA256, *declared.digests)) if declared.digests else None
    upload = _FormUpload(request, by, replace(declared, digests={}))
    try:
        for event in _events(request, digester):
            if isinstance(event, File):
                upload.end_field()
                upload.begin_file(event)
            elif isinstance(event, Field):
                upload.begin_field(event.name)
            elif isinstance(event, Data):
                upload.data(event)
        if upload.reception is None:
            raise MalformedInput("the form has no file", code="form_malformed")
        if digester is not None:
            check_declared(declared.digests, digester.digests())
        return _finish(upload)
    finally:
        if upload.reception is not None:
            upload.reception.__exit__(None, None, None)


def _events(request: Request, digester: Digester | None = None) -> Iterator[Event]:
    """The form's parts as they arrive. Raises MalformedInput where it is not one, or not all."""
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary or len(boundary) > 200 or not boundary.isascii():
        raise MalformedInput("the form names no boundary", code="form_malformed")
    decoder = MultipartDecoder(boundary.encode("ascii"), max_parts=MAX_PARTS)
    chunks: Iterator[bytes | None] = itertools.chain(_chunks(request.stream), (None,))
    try:
        for chunk in chunks:
            decoder.receive_data(chunk)
            if digester is not None and chunk is not None:
                digester.update(chunk)
            while not isinstance(event := decoder.next_event(), NeedData):
                yield event
                if isinstance(event, Epilogue):
                    return
            # A part's bytes were handed on; what the decoder holds on to is text around them.
            if len(decoder.buffer) > MAX_FIELD:
                raise MalformedInput("a part's header is too long", code="form_malformed")
    except (ValueError, RequestEntityTooLarge) as exc:
        raise MalformedInput(f"the form cannot be read: {exc}", code="form_malformed") from exc


def _finish(upload: _FormUpload) -> Receipt:
    # Fields behind the file may have named the case only now: the door is asked again.
    reception = upload.reception
    assert reception is not None
    reception.readmit(auth.office().intake.admit(upload.by, upload.declared))
    return reception.register(upload.declared, allow_empty=upload.allow_empty)


def read_json(
    request: Request, limit: int = MAX_JSON, digests: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The body as a JSON object of at most `limit` bytes. Raises MalformedInput, and
    DigestMismatch where the body has not the `digests`."""
    raw = request.stream.read(limit + 1)
    if len(raw) > limit:
        raise MalformedInput(f"the JSON has more than {limit} bytes", code="json_malformed")
    if digests:
        digester = Digester((SHA256, *digests))
        digester.update(raw)
        check_declared(digests, digester.digests())
    return parse_object(raw)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _disposition_name(header: str | None) -> str | None:
    if header is None:
        return None
    if not header.strip():
        # The application server empties a field that is not ASCII: the name must not get lost.
        raise MalformedInput(
            "Content-Disposition cannot be read: other than ASCII goes into filename* (RFC 8187)",
            code="name_malformed",
        )
    # WSGI hands header bytes over as Latin-1; a client that sent raw UTF-8 meant UTF-8.
    with contextlib.suppress(UnicodeEncodeError, UnicodeDecodeError):
        header = header.encode("latin-1").decode("utf-8")
    _, options = parse_options_header(header)
    # The extended form is the one meant, wherever it stands (RFC 6266 section 4.3).
    extended = re.search(r"(?i);\s*(filename\*=[^;]*)", header)
    if extended is not None:
        options |= parse_options_header(f"attachment; {extended.group(1)}")[1]
    name = options.get("filename")
    return None if not name else check_name(name)


def declared_digests(request: Request) -> dict[str, str]:
    """Of both fields: without content coding they cover the same bytes. Raises MalformedInput,
    and DigestMismatch where the two contradict each other."""
    digests: dict[str, str] = {}
    for header in ("Repr-Digest", "Content-Digest"):
        if header not in request.headers:
            continue
        for name, value in parse_digest_field(request.headers[header]).items():
            if digests.setdefault(name, value) != value:
                raise DigestMismatch(
                    f"{name} mismatch: Repr-Digest {digests[name]}, Content-Digest {value}"
                )
    return digests


def read_form(
    request: Request, *, files: Collection[str], fields: Collection[str]
) -> Iterator[tuple[str, str | None, bytes]]:
    """(part name, file name, chunk) of a form, streamed; an empty part gives one empty chunk.

    A file input left empty by a browser (no name, no bytes) is passed over. Raises
    MalformedInput (`form_malformed`).
    """
    name, filename, wanted, pending = "", None, False, False
    for event in _events(request):
        if isinstance(event, File | Field):
            name = event.name
            known = files if isinstance(event, File) else fields
            if name not in known and name not in fields:
                raise MalformedInput(f"unknown field {name!r:.40}", code="form_malformed")
            filename = event.filename if isinstance(event, File) else None
            wanted = isinstance(event, Field) or bool(filename)
            pending = wanted
        elif (
            isinstance(event, Data) and wanted and (event.data or (pending and not event.more_data))
        ):
            pending = False
            yield name, filename, event.data
