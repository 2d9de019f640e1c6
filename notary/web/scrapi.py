"""SCRAPI's doors for outside issuers: POST /entries, GET /entries/{id}; and the policies they are
registered under. Errors here are concise problem details in CBOR (RFC 9290), as SCRAPI wants them.

No key of ours is asked for: what admits a statement is its issuer's signature. So everything that
costs little is asked before it: the size, the media type, the form, the issuer and its key.
"""

from __future__ import annotations

from typing import Any

import cbor2
from apiflask import APIBlueprint
from flask import Response, g, request

from notary.admission import MAX_ENTRY_BYTES
from notary.clock import rfc3339
from notary.errors import MalformedInput, NotFound, Rejected, TooLarge
from notary.issuers import KeptPolicy
from notary.receipt import RECEIPT_TYPE, STATEMENT_TYPE, sign_inclusion
from notary.registering import Registered, Waiting
from notary.web import paging
from notary.web.api import as_json
from notary.web.auth import office
from notary.web.openapi import BYTES, HEX64, INDEX, PAGE, answer, describe, header, page_of
from notary.web.problems import Problem
from notary.web.status import REFUSED

bp = APIBlueprint("scrapi", __name__, enable_openapi=False)

COSE_TYPE = "application/cose"
PROBLEM_TYPE = "application/concise-problem-details+cbor"
MAX_BODY_BYTES = 2 * MAX_ENTRY_BYTES
"""The entry, and as much again for an unprotected header, which is not kept."""
AGAIN_AFTER_S = 1
TITLES = {
    "signed_statement_malformed": "Malformed request",
    "payload_missing": "Payload Missing",
    "algorithm_refused": "Bad Signature Algorithm",
    "header_refused": "Rejected",
    "issuer_not_admitted": "Rejected",
    "issuer_key_not_in_force": "Rejected",
    "issuer_signature_invalid": "Rejected",
    "signed_statement_too_large": "Rejected",
    "locator_malformed": "Invalid locator",
    "entry_not_found": "Not Found",
    "key_not_found": "No such key",
    "rate_limited": "Too Many Requests",
}
"""SCRAPI's own titles; for what it does not name, the house's."""
PROBLEM = answer("concise problem details, RFC 9290", BYTES, media=PROBLEM_TYPE)
_REDIRECT = {
    **answer("it waits; ask at Location", headers=("Location", "Retry-After")),
}
_RECEIPT: dict[str, Any] = {
    **answer("the receipt, RFC 9942", BYTES, media=RECEIPT_TYPE, headers=("Location",)),
}
_RECEIPT["content"][COSE_TYPE] = {"schema": BYTES}


def speaks_here() -> bool:
    """Whether the client behind this request reads CBOR problems."""
    path = request.path
    return path == "/entries" or path.startswith(("/entries/", "/.well-known/scitt-keys"))


def respond(problem: Problem) -> Response:
    """RFC 9290: -1 title, -2 detail."""
    said = {-1: TITLES.get(problem.code, problem.title), -2: problem.detail}
    response = Response(
        cbor2.dumps(said, canonical=True), status=problem.status, content_type=PROBLEM_TYPE
    )
    _say_when(problem.retry_after_s)
    if request.method == "POST":
        # The rest of a refused body is not read: as in problems.respond.
        response.headers["Connection"] = "close"
    return response


@bp.post("/entries")
@describe(
    "Register a signed statement of an admitted issuer (SCRAPI)",
    public=True,
    body={
        "required": True,
        "content": {media: {"schema": BYTES} for media in (COSE_TYPE, STATEMENT_TYPE)},
    },
    parameters=[header("Prefer", "respond-async: answered 303 as soon as it is durable")],
    answers={
        201: _RECEIPT,
        303: _REDIRECT,
        **dict.fromkeys((400, 413, 415, 429, 500, 503), PROBLEM),
    },
)
def post_entry() -> Response:
    try:
        found = office().registering.register(_body(), later=_wants_later())
    except Rejected as exc:
        REFUSED.labels(exc.code).inc()
        raise
    return _receipt(found, 201) if isinstance(found, Registered) else _come_back(found, 303)


@bp.get("/entries/<entry_id>")
@describe(
    "A fresh receipt of an outside issuer's entry, or where its registration stands (SCRAPI)",
    public=True,
    path={"entry_id": HEX64},
    answers={
        200: _RECEIPT,
        302: _REDIRECT,
        **dict.fromkeys((400, 404, 429, 500, 503), PROBLEM),
    },
)
def show_entry(entry_id: str) -> Response:
    found = office().registering.resolve(entry_id)
    return _receipt(found, 200) if isinstance(found, Registered) else _come_back(found, 302)


@bp.get("/log/registration-policies")
@describe(
    "The registration policies so far, oldest first (RFC 9943)",
    public=True,
    problems=(400,),
    answers={200: answer("a page", page_of("RegistrationPolicy"))},
    parameters=PAGE,
)
def list_policies() -> Response:
    wanted = paging.limit()
    after = max(0, paging.after_index())
    found = office().issuers.policies(after=after, limit=wanted + 1)
    return as_json(
        paging.page(found, wanted, cursor=lambda p: str(p.policy.serial), show=policy_summary)
    )


@bp.get("/log/registration-policies/<int:serial>")
@describe(
    "What the policy's entry commits to: rules, and issuers with their keys",
    public=True,
    problems=(404,),
    path={"serial": {**INDEX, "minimum": 1}},
    answers={200: answer("canonical JSON", {"type": "object"})},
)
def show_policy(serial: int) -> Response:
    if serial > 1 << 31:
        raise NotFound(f"there is no registration policy {serial}", code="not_found")
    return Response(office().issuers.policy(serial).document, content_type="application/json")


def policy_summary(kept: KeptPolicy) -> dict[str, Any]:
    return {
        "serial": kept.policy.serial,
        "leaf_index": kept.index,
        "sha256": kept.policy.digest().hex(),
        "created_at": rfc3339(kept.policy.at),
        "document": f"/log/registration-policies/{kept.policy.serial}",
    }


def _body() -> bytes:
    """Raises Rejected (`unsupported_media_type`), TooLarge before the body is read where its
    length is announced."""
    if request.mimetype not in (COSE_TYPE, STATEMENT_TYPE):
        raise Rejected(
            f"Content-Type is {request.mimetype!r:.80}; send {COSE_TYPE} or {STATEMENT_TYPE}",
            code="unsupported_media_type",
        )
    if (request.content_length or 0) <= MAX_BODY_BYTES:
        data: bytes = request.stream.read(MAX_BODY_BYTES + 1)
        if len(data) <= MAX_BODY_BYTES:
            if request.content_length not in (None, len(data)):
                raise MalformedInput(
                    f"{request.content_length} bytes are announced, {len(data)} came",
                    code="signed_statement_malformed",
                )
            return data
    raise TooLarge(
        f"a signed statement has at most {MAX_BODY_BYTES} bytes here",
        code="signed_statement_too_large",
    )


def _wants_later() -> bool:
    """RFC 7240 section 4.1."""
    preferences = ",".join(request.headers.getlist("Prefer")).lower().split(",")
    return any(each.partition(";")[0].strip() == "respond-async" for each in preferences)


def _receipt(found: Registered, status: int) -> Response:
    house = office()
    data = sign_inclusion(
        house.keys.log,
        issuer=house.house.origin,
        subject=found.statement.subject,
        size=found.head.size,
        index=found.index,
        path=found.path,
        root=found.head.root,
    )
    # Clients of SCRAPI's drafts ask for the general type by name.
    best = request.accept_mimetypes.best_match([RECEIPT_TYPE, COSE_TYPE], RECEIPT_TYPE)
    response = Response(data, status=status, content_type=best)
    response.headers["Location"] = f"/entries/{found.statement.id()}"
    response.headers["Vary"] = "Accept"
    _say_when(None)
    return response


def _come_back(found: Waiting, status: int) -> Response:
    response = Response(b"", status=status, content_type=COSE_TYPE)
    response.headers["Location"] = f"/entries/{found.id}"
    _say_when(AGAIN_AFTER_S)
    return response


def _say_when(seconds: int | None) -> None:
    """The limiter writes a Retry-After of its own on every answer: what we say is said last, by
    the application."""
    g.retry_after = seconds
