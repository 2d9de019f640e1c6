"""Verification for anyone, without an account: POST /v1/verify. The page uses the same code."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

from apiflask import APIBlueprint
from flask import Request, Response, request

from certs.container import read_container
from certs.errors import CertificateMalformed
from notary.declaration import parse_object, parse_size
from notary.digest import Digester, parse_digests
from notary.errors import MalformedInput, NotFound, TooLarge
from notary.report import report_object
from notary.verdict import Document, Report
from notary.verify import verify
from notary.web.api import LANG, as_json, language
from notary.web.auth import office
from notary.web.openapi import answer, describe, ref
from notary.web.uploads import read_form

bp = APIBlueprint("verification", __name__, url_prefix="/v1", enable_openapi=False)

MAX_CERTIFICATE = 64 * 1024 * 1024
"""A certificate PDF with attachments; bundles are for the offline verifier."""
MAX_JSON = 12 * 1024 * 1024


@bp.post("/verify")
@describe(
    "Verify a certificate, and a file or its digest against it; no account needed",
    answers={200: answer("the verdict, whatever it is", ref("Report"))},
    problems=(400, 413, 429),
    public=True,
    parameters=[LANG],
    body={
        "required": True,
        "content": {
            "multipart/form-data": {"schema": ref("VerifyForm")},
            "application/json": {"schema": ref("VerifyRequest")},
        },
    },
)
def post_verify() -> Response:
    lang = language()
    report = from_form(request) if request.mimetype == "multipart/form-data" else _json(request)
    return as_json(report_object(report, lang))


def _json(request: Request) -> Report:
    raw = request.stream.read(MAX_JSON + 1)
    if len(raw) > MAX_JSON:
        raise TooLarge(f"the JSON has more than {MAX_JSON} bytes", code="too_large")
    body = parse_object(raw)
    certificate, digests, size = body.get("certificate"), body.get("digests"), body.get("size")
    if not isinstance(certificate, str) or not body.keys() <= {"certificate", "digests", "size"}:
        raise MalformedInput(
            "send certificate (the text of certificate.json), and digests and size",
            code="json_malformed",
        )
    document = None
    if digests is not None or size is not None:
        if not isinstance(digests, dict):
            raise MalformedInput("digests and size belong together", code="digests_malformed")
        document = Document(digests=parse_digests(digests), size=parse_size(size))
    return known_here(verify(certificate.encode("utf-8"), document, office().trust))


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """`certificate` is the machine part, empty where none could be read; `file_name` is what the
    document was called where it came from."""

    certificate: bytes
    document: Document | None
    file_name: str | None = None


def from_form(request: Request) -> Report:
    return judge(read_hand_in(request))


def read_hand_in(request: Request) -> HandedIn:
    """The form's certificate is held in memory (bounded); its file is only hashed, not kept.

    Raises MalformedInput and TooLarge.
    """
    certificate = io.BytesIO()
    digester = Digester()
    head = bytearray()
    seen = set()
    file_name = None
    files, fields = {"certificate", "file"}, {"lang", "csrf"}
    for name, given_name, chunk in read_form(request, files=files, fields=fields):
        seen.add(name)
        if name == "certificate":
            if certificate.tell() + len(chunk) > MAX_CERTIFICATE:
                raise TooLarge(
                    f"the certificate has more than {MAX_CERTIFICATE} bytes; check bundles with "
                    "the offline verifier",
                    code="too_large",
                )
            certificate.write(chunk)
        elif name == "file":
            file_name = given_name
            digester.update(chunk)
            if len(head) < 1024:
                head += chunk[:1024]
    if "certificate" not in seen or not certificate.tell():
        raise MalformedInput("the form has no certificate", code="form_malformed")
    document = None
    if "file" in seen:
        document = Document(
            digests=digester.digests(),
            size=digester.size,
            is_certificate=_looks_like_one(head),
            name=file_name,
        )
    return HandedIn(
        certificate=_machine_part(certificate.getvalue()), document=document, file_name=file_name
    )


def judge(given: HandedIn) -> Report:
    """Against the house's own trust."""
    return known_here(verify(given.certificate, given.document, office().trust))


def known_here(report: Report) -> Report:
    """What verification alone can't know: that this house has since disposed of its copy."""
    facts = report.facts
    if report.code != "match" or facts is None or facts.origin != office().house.origin:
        return report
    try:
        deposit = office().register.deposit(facts.deposit_id)
    except NotFound:
        return report
    if deposit.disposed_at is None or not deposit.stored:
        return report
    return replace(report, code="match_disposed")


def _machine_part(container: bytes) -> bytes:
    """The certificate out of any of its forms."""
    try:
        return read_container(container, "certificate").certificate
    except CertificateMalformed:
        return b""  # what cannot be read has a verdict of its own


def _looks_like_one(head: bytes | bytearray) -> bool:
    return head.startswith(b"{") and b'"certificate_id"' in head
