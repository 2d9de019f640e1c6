"""/v1: deposits, their papers and originals, cases. Handlers are who, parse, act, present."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from apiflask import APIBlueprint
from flask import Response, after_this_request, json, request

from certs.asic import EXTENDED_TYPE
from certs.bundle import SIMPLE_TYPE
from certs.certificate import MEDIA_TYPE as CERTIFICATE_TYPE
from certs.wording import LANGS, Lang
from notary import access
from notary.access import Act
from notary.batch_rows import MAX_ROW_BYTES
from notary.declaration import parse_label
from notary.digest import SHA256, encode_digest_field, parse_digests
from notary.errors import Conflict, MalformedInput, Rejected
from notary.ers import MEDIA_TYPE as RECORD_TYPE
from notary.issue import Issued
from notary.model import Case, Deposit, EventKind, Principal, check_label, uuid7
from notary.provenance import MAX_BYTES as PROVENANCE_BYTES
from notary.register import insert_case, insert_party
from notary.web import auth, paging, papers, present, uploads
from notary.web.auth import office
from notary.web.openapi import (
    BYTES,
    DIGEST_FIELD,
    HEX64,
    IDEMPOTENCY_KEY,
    LABEL,
    PAGE,
    SWITCH,
    TEXT,
    UUID,
    answer,
    describe,
    header,
    json_body,
    page_of,
    query,
    ref,
)

bp = APIBlueprint("v1", __name__, url_prefix="/v1", enable_openapi=False)

LANG = query("lang", {"type": "string", "enum": ["en", "zh"]}, "language of the paper")
ID = {"deposit_id": UUID}
CASE_ID = {"case_id": UUID}


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    response = Response(json.dumps(value), status=status, mimetype="application/json")
    response.headers.update(headers or {})
    return response


def language() -> Lang:
    """`?lang=`, else the browser's preference, else English."""
    given = request.args.get("lang")
    if given is None:
        best = request.accept_languages.best_match(["en", "zh", "zh-CN", "zh-Hans"], "en")
        return "zh" if best.startswith("zh") else "en"
    for lang in LANGS:
        if given == lang:
            return lang
    raise MalformedInput(f"lang is {given!r:.20}; known: en, zh", code="value_malformed")


# --- deposits -------------------------------------------------------------------------------


@bp.post("/deposits")
@describe(
    "Register evidence: the file itself, or its digests",
    answers={
        201: answer("registered", ref("Deposit"), headers=("Location",)),
        200: answer(
            "the same request had been registered before", ref("Deposit"), headers=("Location",)
        ),
    },
    problems=(404, 409, 411, 413, 415, 422),
    parameters=[
        query("case", LABEL, "number or id of the case"),
        query("court", LABEL, "court, where several have the number"),
        query("exhibit", LABEL, "exhibit number; the next one if left out"),
        query("client_reference", LABEL, "your own reference, unique in your account"),
        query(
            "timestamp",
            {"type": "string", "enum": ["document"]},
            "also timestamp the original itself",
        ),
        query("allow_empty", SWITCH, "1: an empty file is meant"),
        query("previous", UUID, "deposit that this one follows"),
        query("derivative_of", UUID, "deposit that this one was made from"),
        query("replaces", UUID, "deposit that this one replaces"),
        query("redaction_of", UUID, "deposit that this one is a redaction of"),
        IDEMPOTENCY_KEY,
        header("Content-Disposition", "the file name (RFC 6266), for a raw body"),
        header(
            "Repr-Digest",
            "digest of the body (RFC 9530), compared before registering",
            DIGEST_FIELD,
        ),
        header("Content-Digest", "the same", DIGEST_FIELD),
    ],
    body={
        "required": True,
        "content": {
            "application/octet-stream": {"schema": BYTES},
            "multipart/form-data": {"schema": ref("DepositForm")},
            "application/json": {"schema": ref("DigestDeposit")},
        },
    },
)
def register_deposit() -> Response:
    by = auth.principal(streamed_form=True)
    receipt = uploads.deposit(request, by)
    status = 201 if receipt.fresh else 200
    location = f"/v1/deposits/{receipt.deposit.id}"
    return as_json(present.receipt(receipt), status, {"Location": location})


@bp.get("/deposits")
@describe(
    "List deposits in ledger order",
    answers={200: answer("a page", page_of("DepositSummary"))},
    problems=(404, 409),
    parameters=[
        *PAGE,
        query("case", LABEL, "number or id of a case"),
        query("court", LABEL, "court, where several have the number"),
        query("sha256", HEX64, "digest"),
        query("client_reference", LABEL, "your reference"),
    ],
)
def list_deposits() -> Response:
    by = auth.principal()
    reach = access.check(by, Act.READ_DEPOSIT)
    wanted = paging.limit()
    case = _case_asked(by)
    if reach is access.Reach.OWN_CASES and case is None:
        raise MalformedInput("a party lists a case's deposits: name it", code="case_missing")
    found = office().register.deposits(
        case_id=None if case is None else case.id,
        account_id=by.account_id if reach is access.Reach.OWN_DEPOSITS else None,
        sha256=_sha256_asked(),
        client_reference=_label_asked("client_reference"),
        after=paging.after_index(),
        limit=wanted + 1,
    )
    return as_json(paging.page(found, wanted, cursor=lambda d: str(d.index), show=present.summary))


@bp.get("/deposits/<deposit_id>")
@describe(
    "One deposit, with a proof against the newest checkpoint",
    answers={200: answer("the deposit", ref("Deposit"))},
    problems=(404,),
    path=ID,
)
def show_deposit(deposit_id: str) -> Response:
    by = auth.principal()
    deposit = _known(by, deposit_id, Act.READ_DEPOSIT)
    record_opened(by, deposit)
    return as_json(
        present.receipt(
            office().intake.receipt_of(deposit),
            office().stamps.covering(deposit.index),
            office().auditing.rereads.last((deposit.index,)).get(deposit.index),
        )
    )


@bp.get("/deposits/<deposit_id>/certificate.json")
@describe(
    "The certificate, machine part",
    answers={200: answer("the certificate", {"type": "object"}, media=CERTIFICATE_TYPE)},
    problems=(404, 410),
    parameters=[papers.SECTIONS],
    path=ID,
)
def certificate_json(deposit_id: str) -> Response:
    by = auth.principal()
    sections = papers.sections()
    deposit = _known(by, deposit_id, Act.ISSUE_CERTIFICATE)
    issued = papers.showing(office().issue.certificate(deposit, by=by), sections)
    return _file(issued.json, CERTIFICATE_TYPE, f"certificate-{deposit.id}.json")


@bp.get("/deposits/<deposit_id>/certificate.pdf")
@describe(
    "The certificate for people, the machine part attached",
    answers={200: answer("the certificate", BYTES, media="application/pdf")},
    problems=(404, 409, 410),
    parameters=papers.PARAMETERS,
    path=ID,
)
def certificate_pdf(deposit_id: str) -> Response:
    by = auth.principal()
    want = papers.asked()
    deposit = _known(by, deposit_id, Act.ISSUE_CERTIFICATE)
    issued = papers.showing(office().issue.certificate(deposit, by=by), want.sections)
    form = papers.filled(by, deposit, issued, want, {})
    return _file(
        office().issue.pdf(issued, lang=want.lang, paper=want.paper, form=form),
        "application/pdf",
        papers.paper_name(deposit, want),
    )


def _bundled(
    deposit_id: str, ending: str, media: str, write: Callable[[Deposit, Issued], Iterator[bytes]]
) -> Response:
    """Recorded once it is known that there is something to give, and before any of it is given."""
    by = auth.principal()
    deposit = _known(by, deposit_id, Act.ISSUE_CERTIFICATE)
    _known(by, deposit_id, Act.READ_CONTENT)
    chunks = write(deposit, office().issue.certificate(deposit, by=by))
    _record(EventKind.DOWNLOADED, by, deposit, subject=f"bundle.{ending}")
    return _download(chunks, media, f"bundle-{deposit.id}.{ending}")


@bp.get("/deposits/<deposit_id>/bundle.zip")
@describe(
    "Certificate, original and proofs in one file",
    answers={200: answer("the bundle", BYTES, media="application/zip")},
    problems=(404, 410),
    path=ID,
)
def bundle(deposit_id: str) -> Response:
    return _bundled(deposit_id, "zip", "application/zip", office().issue.bundle)


@bp.get("/deposits/<deposit_id>/bundle.asice")
@describe(
    "What bundle.zip has, as an ASiC-E container (ETSI EN 319 162-1)",
    answers={200: answer("the container", BYTES, media=EXTENDED_TYPE)},
    problems=(404, 410),
    path=ID,
)
def bundle_asice(deposit_id: str) -> Response:
    return _bundled(deposit_id, "asice", EXTENDED_TYPE, office().issue.extended)


@bp.get("/deposits/<deposit_id>/bundle.asics")
@describe(
    "The original and its own timestamp, as an ASiC-S container (ETSI EN 319 162-1)",
    answers={200: answer("the container", BYTES, media=SIMPLE_TYPE)},
    problems=(404, 409, 410),
    path=ID,
)
def bundle_asics(deposit_id: str) -> Response:
    return _bundled(deposit_id, "asics", SIMPLE_TYPE, office().issue.simple)


@bp.get("/deposits/<deposit_id>/timestamp.tsr")
@describe(
    "The RFC 3161 response over the original itself",
    answers={200: answer("the token", BYTES, media="application/timestamp-reply")},
    problems=(404, 410),
    path=ID,
)
def timestamp(deposit_id: str) -> Response:
    deposit = _known(auth.principal(), deposit_id, Act.ISSUE_CERTIFICATE)
    token = office().issue.document_token(deposit)
    return _file(token, "application/timestamp-reply", f"timestamp-{deposit.id}.tsr")


@bp.get("/deposits/<deposit_id>/evidence.ers")
@describe(
    "The original's RFC 4998 evidence record",
    answers={200: answer("the record", BYTES, media=RECORD_TYPE)},
    problems=(404, 410),
    parameters=[
        query("authority", TEXT, "the authority that began it; without, the first outside one")
    ],
    path=ID,
)
def evidence_record(deposit_id: str) -> Response:
    deposit = _known(auth.principal(), deposit_id, Act.ISSUE_CERTIFICATE)
    record = office().issue.evidence_record(deposit, request.args.get("authority"))
    return _file(record, RECORD_TYPE, f"evidence-{deposit.id}.ers")


@bp.get("/deposits/<deposit_id>/proof.tlog-proof")
@describe(
    "The C2SP tlog-proof of the certificate's entry",
    answers={200: answer("the proof", TEXT, media="text/plain")},
    problems=(404, 410),
    path=ID,
)
def proof(deposit_id: str) -> Response:
    by = auth.principal()
    deposit = _known(by, deposit_id, Act.ISSUE_CERTIFICATE)
    issued = office().issue.certificate(deposit, by=by)
    data = office().issue.proof(issued)
    return _file(data, "text/plain; charset=utf-8", f"proof-{deposit.id}.tlog-proof")


@bp.get("/deposits/<deposit_id>/content")
@describe(
    "The original, as received",
    answers={
        200: answer(
            "the original",
            BYTES,
            media="application/octet-stream",
            headers=("Repr-Digest", "ETag", "Accept-Ranges"),
        ),
        206: answer(
            "a part of it",
            BYTES,
            media="application/octet-stream",
            headers=("Repr-Digest", "ETag", "Content-Range"),
        ),
        302: answer("a link into storage, where a setting says so", headers=("Location",)),
    },
    problems=(404, 409, 410, 416),
    parameters=[
        header("Range", "one byte range (RFC 9110)"),
        header("If-Range", "the ETag that the range is of; another one gives the whole"),
    ],
    path=ID,
)
def content(deposit_id: str) -> Response:
    by = auth.principal()
    deposit = _known(by, deposit_id, Act.READ_CONTENT)
    if not deposit.stored:
        raise Conflict("only digests were deposited", code="original_not_stored")
    if (link := _link(deposit)) is not None:
        _record(EventKind.DOWNLOADED, by, deposit, subject="original, by a link into storage")
        return Response(status=302, headers={"Location": link, "Cache-Control": "no-store"})
    first, end = _range(deposit.size, f'"{deposit.sha256}"')
    chunks = office().originals.open(
        deposit.id,
        data_key=deposit.data_key,
        size=deposit.size,
        offset=first,
        length=end - first,
        version=deposit.object_version,
    )
    part = (first, end) != (0, deposit.size)
    _record(
        EventKind.DOWNLOADED, by, deposit,
        subject=f"bytes {first}-{end - 1}" if part else "original",
    )  # fmt: skip
    response = _download(chunks, "application/octet-stream", deposit.name or deposit.id)
    response.headers["Repr-Digest"] = encode_digest_field(deposit.digests)
    response.headers["ETag"] = f'"{deposit.sha256}"'
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Length"] = str(end - first)
    if part:
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {first}-{end - 1}/{deposit.size}"
    return response


@bp.get("/deposits/<deposit_id>/custody")
@describe(
    "Who did what with it, when; each an entry of the ledger",
    answers={200: answer("a page, oldest first", page_of("CustodyEvent"))},
    problems=(404,),
    parameters=PAGE,
    path=ID,
)
def deposit_custody(deposit_id: str) -> Response:
    deposit = _known(auth.principal(), deposit_id, Act.READ_CUSTODY)
    wanted, after = paging.limit(), paging.after_index()
    found = office().register.events(deposit_id=deposit.id, after=after, limit=wanted + 1)
    shown = paging.page(found, wanted, cursor=lambda e: str(e.index), show=present.event)
    if after < 0:
        depositor = office().accounts.get(deposit.account_id).name
        shown["items"].insert(0, present.registered_event(deposit, depositor))
    return as_json(shown)


@bp.get("/limits")
@describe(
    "What may be deposited, to be known before trying",
    answers={200: answer("the limits", ref("Limits"))},
    public=True,
    problems=(401,),
)
def limits() -> Response:
    room = office().intake.limits
    settings = office().settings
    by = auth.principal() if "Authorization" in request.headers or auth.session() else None
    return as_json(
        {
            "file_bytes": room.file_bytes,
            "account_bytes": room.account_bytes or None,
            "account_bytes_used": None
            if by is None
            else office().register.stored_bytes(by.account_id),
            "batch_rows": settings.max_batch_rows,
            "batch_row_bytes": MAX_ROW_BYTES,
            "form_field_bytes": uploads.MAX_FIELD,
            "provenance_bytes": PROVENANCE_BYTES,
            "name_bytes": 1024,
            "verify_per_minute": settings.verify_per_minute,
            "digests": ["sha-256", *settings.digests],
        }
    )


# --- cases ----------------------------------------------------------------------------------


@bp.post("/cases")
@describe(
    "Open a case",
    answers={201: answer("opened", ref("Case"), headers=("Location",))},
    problems=(409,),
    body=json_body("NewCase"),
)
def open_case() -> Response:
    by = auth.principal()
    access.check(by, Act.OPEN_CASE)
    body = uploads.read_json(request)
    case = new_case(by, body)
    return as_json(present.case(case), 201, {"Location": f"/v1/cases/{case.id}"})


def new_case(by: Principal, given: dict[str, Any]) -> Case:
    """Opens it and records who did. Raises MalformedInput, Conflict."""
    if given.keys() != {"court", "number", "title"}:
        raise MalformedInput("a case has court, number and title", code="json_malformed")
    texts = {}
    for name, value in given.items():
        if not isinstance(value, str):
            raise MalformedInput(f"{name} must be a text", code="value_malformed")
        texts[name] = check_label(value, what=name)
    now = office().clock.now()
    case = Case(id=uuid7(now, office().randomness(10)), opened_at=now, **texts)
    office().chronicle.record(
        EventKind.CASE_OPENED,
        actor=by.name,
        case_id=case.id,
        subject=case.number,
        also=lambda connection, _at: insert_case(connection, case),
    )
    return case


@bp.get("/cases")
@describe(
    "List the cases you may see", answers={200: answer("a page", page_of("Case"))}, parameters=PAGE
)
def list_cases() -> Response:
    by = auth.principal()
    reach = access.check(by, Act.READ_CASE)
    wanted = paging.limit()
    found = office().register.cases(
        party=None if reach is access.Reach.ALL else by.account_id,
        after=paging.after_text(),
        limit=wanted + 1,
    )
    return as_json(paging.page(found, wanted, cursor=lambda c: c.id, show=present.case))


@bp.get("/cases/<case_id>")
@describe("One case", answers={200: answer("the case", ref("Case"))}, problems=(404,), path=CASE_ID)
def show_case(case_id: str) -> Response:
    return as_json(present.case(known_case(auth.principal(), case_id, Act.READ_CASE)))


@bp.post("/cases/<case_id>/parties")
@describe(
    "Make an account a party to the case",
    answers={204: answer("done")},
    problems=(404, 409),
    body=json_body("NewParty"),
    path=CASE_ID,
)
def add_party(case_id: str) -> Response:
    by = auth.principal()
    access.check(by, Act.ADD_PARTY)
    case = known_case(by, case_id, Act.ADD_PARTY)
    body = uploads.read_json(request)
    if body.keys() != {"account"} or not isinstance(body["account"], str):
        raise MalformedInput("a party is the name of an account", code="json_malformed")
    make_party(by, case, body["account"])
    return Response(status=204)


def make_party(by: Principal, case: Case, name: str) -> None:
    account = office().accounts.get_by_name(name)
    office().chronicle.record(
        EventKind.PARTY_ADDED,
        actor=by.name,
        case_id=case.id,
        subject=account.name,
        also=lambda connection, _at: insert_party(connection, case.id, account.id),
    )


# --- shared steps ---------------------------------------------------------------------------


def known_case(by: Principal, case_id: str, act: Act) -> Case:
    """Raises NotFound for an unknown case and for one that is not for `by` to know."""
    access.check(by, act)
    case = office().register.case(case_id)
    access.check_case(by, act, is_party=office().register.is_party(case.id, by.account_id))
    return case


def _case_asked(by: Principal) -> Case | None:
    given, court = _label_asked("case"), _label_asked("court")
    if given is None:
        return None
    reach = access.check(by, Act.READ_CASE)
    return office().register.find_case(
        given,
        court,
        party=None if reach is access.Reach.ALL else by.account_id,
    )


def _label_asked(name: str) -> str | None:
    given = request.args.get(name)
    return None if given is None else parse_label(given, name)


def _sha256_asked() -> str | None:
    given = request.args.get("sha256")
    return None if given is None else parse_digests({SHA256: given})[SHA256]


def _known(by: Principal, deposit_id: str, act: Act) -> Deposit:
    return office().intake.known_deposit(by, deposit_id, act)


def _record(kind: EventKind, by: Principal, deposit: Deposit, *, subject: str | None) -> None:
    office().chronicle.record(
        kind, actor=by.name, deposit_id=deposit.id, case_id=deposit.case_id, subject=subject
    )


def record_opened(by: Principal, deposit: Deposit) -> None:
    """A look is an event, but for the depositor's own program asking how its deposit fares."""
    own = deposit.account_id == by.account_id and by.authenticated_by == "api-key"
    if not own:
        _record(EventKind.OPENED, by, deposit, subject=None)


def _link(deposit: Deposit) -> str | None:
    seconds = office().settings.download_link_seconds
    if not seconds:
        return None
    return office().originals.link(
        deposit.id,
        data_key=deposit.data_key,
        version=deposit.object_version,
        name=deposit.name or deposit.id,
        lifetime=timedelta(seconds=seconds),
    )


def _range(size: int, tag: str) -> tuple[int, int]:
    """(first, end) of the one range asked for; the whole where none is, none that we serve, or
    where If-Range names something else than `tag` (RFC 9110 §13.1.5)."""
    asked = request.range
    if request.headers.get("If-Range", tag).strip() != tag:
        return 0, size
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return 0, size
    (begin, _), *_ = asked.ranges
    if begin < 0 and -begin >= size > 0:
        return 0, size  # a suffix longer than the whole is the whole (RFC 9110 §14.1.2)
    found = asked.range_for_length(size)
    if found is None:

        @after_this_request
        def tell_size(response: Response) -> Response:
            response.headers["Content-Range"] = f"bytes */{size}"
            return response

        raise Rejected(
            f"range {request.headers['Range']!r:.60} is outside of {size} bytes",
            code="range_not_satisfiable",
        )
    return found


def _file(data: bytes, media: str, name: str) -> Response:
    response = Response(data, content_type=media)
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def _download(chunks: Iterator[bytes], media: str, name: str) -> Response:
    response = Response(chunks, content_type=media)
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response
