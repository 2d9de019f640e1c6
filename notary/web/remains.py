"""/v1/remains: what is half done and needs a person, as the last pass met it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from apiflask import APIBlueprint
from flask import Response

from notary import access
from notary.access import Act
from notary.clock import rfc3339
from notary.errors import MalformedInput
from notary.remains import Finding, Kind, Pass
from notary.web import auth, paging
from notary.web.api import as_json
from notary.web.auth import office
from notary.web.openapi import PAGE, answer, describe, page_of, ref

bp = APIBlueprint("remains", __name__, url_prefix="/v1", enable_openapi=False)


@bp.get("/remains")
@describe(
    "What is half done and needs a person, by kind and name",
    answers={200: answer("a page", page_of("Remnant"))},
    parameters=PAGE,
)
def list_remains() -> Response:
    access.check(auth.principal(), Act.READ_AUDITS)
    wanted = paging.limit()
    found = office().reconciling.remains.findings(after=after_cursor(), limit=wanted + 1)
    return as_json(paging.page(found, wanted, cursor=cursor_of, show=_finding))


@bp.get("/remains/passes")
@describe(
    "The newest passes that looked for it; the last is under way where it has no end",
    answers={200: answer("at most 50", {"type": "array", "items": ref("Pass")})},
)
def list_passes() -> Response:
    access.check(auth.principal(), Act.READ_AUDITS)
    return as_json([_pass(each) for each in office().reconciling.remains.passes()])


def cursor_of(finding: Finding) -> str:
    """In ASCII: names of files and witnesses need not be."""
    return f"{finding.remnant.kind.value}:{quote(finding.remnant.name)}"


def after_cursor() -> tuple[str, str]:
    """(kind, name) of the last finding shown. Raises MalformedInput (`page_malformed`)."""
    text = paging.after_text()
    if not text:
        return "", ""
    kind, _, name = text.partition(":")
    if kind not in set(Kind) or "\0" in (found := unquote(name)):
        raise MalformedInput("after is no cursor of this list", code="page_malformed")
    return kind, found


def _finding(given: Finding) -> dict[str, Any]:
    return {
        "kind": given.remnant.kind.value,
        "name": given.remnant.name,
        "deposit": given.remnant.deposit_id,
        "detail": given.remnant.detail,
        "since": rfc3339(given.since),
        "seen_at": rfc3339(given.seen_at),
    }


def _pass(given: Pass) -> dict[str, Any]:
    return {
        "id": given.id,
        "started_by": given.started_by,
        "started_at": rfc3339(given.started_at),
        "finished_at": None if given.finished_at is None else rfc3339(given.finished_at),
        "objects": given.objects,
        "deposits": given.deposits,
        "mended": given.mended,
        "findings": given.findings,
    }
