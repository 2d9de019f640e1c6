"""Errors → RFC 9457 problem details, in one table. Every code a client can meet stands here.

`docs/api.md` lists the same codes (a test compares). Pages show the same table in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Response, current_app, g, json, request
from werkzeug.exceptions import HTTPException

from notary import errors

MEDIA_TYPE = "application/problem+json"

BY_CLASS: dict[type[errors.NotaryError], int] = {
    errors.MalformedInput: 400,
    errors.DigestMismatch: 400,
    errors.TooLarge: 413,
    errors.NotFound: 404,
    errors.Gone: 410,
    errors.NotAllowed: 403,
    errors.Unauthenticated: 401,
    errors.Conflict: 409,
    errors.Rejected: 400,
    errors.TryAgain: 503,
    errors.VerificationError: 422,
    errors.Unverifiable: 422,
    errors.IntegrityError: 500,
    errors.NotaryError: 500,
}
BY_CODE: dict[str, int] = {
    "halted": 503,
    "key_missing": 503,
    "idempotency_key_reused": 422,
    "length_required": 411,
    "unsupported_media_type": 415,
    "content_encoding_refused": 415,
    "range_not_satisfiable": 416,
    "original_not_stored": 409,
}

TITLES: dict[str, str] = {
    "account_exists": "An account of this name exists",
    "account_limit": "The account's storage limit would be passed",
    "account_not_found": "No such account",
    "audit_not_found": "No such audit",
    "body_incomplete": "The body is shorter or longer than declared",
    "batch_malformed": "The batch cannot be read",
    "batch_refused": "A row was refused, and the batch is all or nothing",
    "batch_too_long": "The batch has too many rows",
    "busy": "Too much waits for the ledger; try again",
    "case_ambiguous": "Several courts have a case of this number",
    "case_exists": "The court has a case of this number",
    "case_missing": "A case must be named",
    "case_not_found": "No such case",
    "client_reference_reused": "The client reference was used for other content",
    "conflict": "Not possible in the present state",
    "container_timestamp_unreachable": "No time-stamp authority answers for a container; try again",
    "content_encoding_refused": "Bodies are taken as they are, without content coding",
    "corrupt": "Stored data contradicts the ledger",
    "csrf": "The form has expired; load the page again",
    "database_read_only": "The database takes no writes now; reading goes on",
    "deposit_not_found": "No such deposit",
    "digest_field_malformed": "A digest field is not as RFC 9530 has it",
    "deposit_disposed": "The deposit was disposed of",
    "disposal_exists": "A disposal was requested already",
    "disposal_not_found": "No such disposal",
    "disposal_not_open": "The disposal was approved or withdrawn before",
    "disposal_role_lost": "Someone who asked or approves no longer may",
    "disposal_unfinished": "The disposal is not far enough for its certificate",
    "hold_not_found": "No such hold",
    "hold_released": "The hold was released before",
    "hold_stands": "A hold stands",
    "retention_malformed": "The retention cannot be read, or does not last into the future",
    "retention_stands": "A retention stands",
    "fact_missing": "The profile needs a fact that the system does not have",
    "fact_refused": "The form cannot take this statement",
    "profile_not_found": "No such court profile",
    "section_unknown": "The registration has no such section",
    "same_person": "Another person must approve",
    "digest_mismatch": "Declared and computed digests differ",
    "digests_malformed": "The stated digests cannot be read",
    "disclosure_malformed": "A disclosure cannot be read",
    "empty_file": "The file is empty",
    "event_malformed": "The event does not name what it must",
    "exhibit_taken": "The case has an exhibit of this number",
    "file_limit": "The file is larger than allowed",
    "fork": "The ledger has two histories; writing has stopped",
    "form_malformed": "The form cannot be read",
    "halted": "Writing has stopped; reading goes on",
    "certificate_not_found": "No such certificate",
    "certificate_not_issued": "No certificate was issued yet",
    "certificate_withdrawn": "The certificate was withdrawn",
    "clock_behind": "The house's clock is behind its ledger; try again later",
    "idempotency_key_malformed": "The Idempotency-Key cannot be read",
    "idempotency_key_reused": "The Idempotency-Key was used for another request",
    "integrity": "The house contradicts itself",
    "internal": "An unexpected fault; it has been logged",
    "issuer_key_exists": "The issuer's key, or its kid, is in use",
    "issuer_key_malformed": "The issuer's public key cannot be read",
    "issuer_not_found": "No such admitted key",
    "json_malformed": "The JSON cannot be read",
    "key_invalid": "The API key is unknown, expired or revoked",
    "key_missing": "This node lacks a signing key; reading goes on",
    "key_not_found": "No such API key",
    "key_message_too_long": "The place of the signing key signs no message of that length",
    "keys_unreachable": "The module with the signing keys does not answer; try again",
    "keys_rotated": "The signing keys changed meanwhile; try again",
    "label_malformed": "A text is empty, too long or has control characters",
    "last_administrator": "Nobody would be left to manage accounts",
    "length_required": "The end of this body could not be told from a broken connection",
    "link_spent": "The sign-in link was used or has expired",
    "links_malformed": "The links to other deposits cannot be read",
    "malformed_input": "The request cannot be read",
    "method_not_allowed": "This address does not take this method",
    "name_malformed": "The file name cannot be kept",
    "not_allowed": "Not permitted",
    "not_found": "Nothing is here",
    "not_ready": "The service is not ready",
    "original_not_stored": "The original stayed with the depositor",
    "original_swept": "The original waited so long to be registered that it was swept away",
    "page_malformed": "The page parameters cannot be read",
    "party_exists": "The account is a party already",
    "password_too_weak": "The password is too short or too long",
    "proof_range": "The proof's index or size is out of range",
    "provenance_malformed": "The provenance does not fit its schema",
    "range_not_satisfiable": "The range lies outside the original",
    "rate_limited": "Too many requests; try later",
    "rollback": "The database is older than what was published",
    "scope_missing": "The key lacks the scope",
    "scopes_malformed": "The scopes cannot be given to this account",
    "session_ended": "The session has ended",
    "sign_in_refused": "Name or password is wrong",
    "storage_full": "Storage is full; nothing was lost",
    "seal_timestamp_unreachable": "No time-stamp authority answers for the seal; try again",
    "storage_unreachable": "Storage does not answer; try again",
    "tile_not_found": "The tree has no such tile",
    "evidence_record_pending": "The evidence record has not come yet",
    "timestamp_not_requested": "The original has no timestamp of its own",
    "timestamp_pending": "The original's own timestamp has not come yet",
    "too_large": "Over a limit",
    "trust_malformed": "The trust file cannot be read",
    "unauthenticated": "Sign in, or send an API key",
    "unreachable": "A part of the house does not answer; try again",
    "unsupported_media_type": "This kind of body is not taken here",
    "value_malformed": "A value is not what it must be",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What goes out. `detail` shows both sides; `errors` point at members of the body."""

    status: int
    code: str
    title: str
    detail: str
    retry_after_s: int | None = None


def problem_of(error: errors.NotaryError) -> Problem:
    status = BY_CODE.get(error.code)
    if status is None:
        status = next(BY_CLASS[cls] for cls in type(error).__mro__ if cls in BY_CLASS)
    return Problem(
        status=status,
        code=error.code,
        title=TITLES.get(error.code, HTTPStatus(status).phrase),
        detail=str(error),
        retry_after_s=error.retry_after_s if isinstance(error, errors.TryAgain) else None,
    )


def problem_of_http(error: HTTPException) -> Problem:
    """Flask's and Werkzeug's own refusals, said our way."""
    status = error.code or 500
    code = {
        404: "not_found",
        405: "method_not_allowed",
        413: "too_large",
        415: "unsupported_media_type",
        429: "rate_limited",
    }.get(status, "malformed_input" if status < 500 else "internal")
    return Problem(
        status=status,
        code=code,
        title=TITLES[code],
        detail=(error.description or HTTPStatus(status).phrase) if status < 500 else TITLES[code],
        retry_after_s=60 if status == 429 else None,
    )


INTERNAL = Problem(
    status=500,
    code="internal",
    title=TITLES["internal"],
    detail="the fault is logged under this request id; nothing acknowledged is lost",
)


def as_json(problem: Problem) -> dict[str, Any]:
    return {
        "type": f"/docs#problem-{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "instance": f"urn:uuid:{g.request_id}",
    }


def respond(problem: Problem) -> Response:
    """The response, with the headers that HTTP wants for its status."""
    response = current_app.response_class(
        json.dumps(as_json(problem)), status=problem.status, mimetype=MEDIA_TYPE
    )
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="evidence"'
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        # The rest of a refused body is not read, so the server ends the connection. A client that
        # is not told would lose its next request on it.
        response.headers["Connection"] = "close"
    return response
