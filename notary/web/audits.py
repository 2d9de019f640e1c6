"""/v1/audits: which originals were read again, when, and what contradicted the ledger."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from apiflask import APIBlueprint
from flask import Response, request

from notary import access
from notary.access import Act
from notary.audits import Kind, Run
from notary.errors import MalformedInput
from notary.rereads import Finding
from notary.web import auth, paging, present
from notary.web.api import as_json
from notary.web.auth import office
from notary.web.openapi import PAGE, TEXT, UUID, answer, describe, page_of, ref

bp = APIBlueprint("audits", __name__, url_prefix="/v1", enable_openapi=False)

COLUMNS = ("leaf_index", "deposit", "kind", "detail", "found_at", "whole_at")
ID = {"audit_id": UUID}
CSV_TYPE = "text/csv"
AT_ONCE = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@bp.get("/audits")
@describe(
    "Audits of the originals, the newest first",
    answers={200: answer("a page", page_of("Audit"))},
    parameters=PAGE,
)
def list_audits() -> Response:
    access.check(auth.principal(), Act.READ_AUDITS)
    wanted = paging.limit()
    found = office().auditing.audits.runs(before=paging.after_text(), limit=wanted + 1)
    return as_json(paging.page(found, wanted, cursor=lambda run: run.id, show=present.audit))


@bp.get("/audits/<audit_id>")
@describe(
    "One audit, as far as it is",
    answers={200: answer("the audit", ref("Audit"))},
    problems=(404,),
    path=ID,
)
def show_audit(audit_id: str) -> Response:
    access.check(auth.principal(), Act.READ_AUDITS)
    return as_json(present.audit(office().auditing.audits.run(audit_id)))


@bp.get("/audits/<audit_id>/findings")
@describe(
    "What contradicted the ledger, in its order; as CSV, all of it, where Accept asks for that",
    answers={
        200: {
            **answer("a page", page_of("Finding")),
            "content": {
                "application/json": {"schema": page_of("Finding")},
                CSV_TYPE: {"schema": TEXT},
            },
        }
    },
    problems=(404,),
    parameters=PAGE,
    path=ID,
)
def list_findings(audit_id: str) -> Response:
    access.check(auth.principal(), Act.READ_AUDITS)
    run = office().auditing.audits.run(audit_id)
    if request.accept_mimetypes.best_match(["application/json", CSV_TYPE]) == CSV_TYPE:
        return _csv(run)
    wanted = paging.limit()
    found = office().auditing.rereads.findings(run.id, after=_after(), limit=wanted + 1)
    return as_json(paging.page(found, wanted, cursor=cursor_of, show=present.finding))


@bp.get("/audits/<audit_id>/findings.csv")
@describe(
    "The same as CSV, for those who cannot say Accept",
    answers={200: answer("all findings", TEXT, media=CSV_TYPE)},
    problems=(404,),
    path=ID,
)
def findings_csv(audit_id: str) -> Response:
    access.check(auth.principal(), Act.READ_AUDITS)
    return _csv(office().auditing.audits.run(audit_id))


def cursor_of(finding: Finding) -> str:
    return f"{finding.index}:{finding.kind.value}"


def _after() -> tuple[int, str]:
    return place_after(paging.after_text())


def place_after(text: str) -> tuple[int, str]:
    """(index, kind) of the last finding shown. Raises MalformedInput (`page_malformed`)."""
    if not text:
        return -1, ""
    index, _, kind = text.partition(":")
    if not index.isdigit() or len(index) > 18 or kind not in set(Kind):
        raise MalformedInput("after is no cursor of this list", code="page_malformed")
    return int(index), kind


def _csv(run: Run) -> Response:
    response = Response(write_csv(_all(run)), content_type=f"{CSV_TYPE}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="audit-{run.id}.csv"'
    return response


def _all(run: Run) -> Iterator[Finding]:
    after = (-1, "")
    rereads = office().auditing.rereads
    while found := rereads.findings(run.id, after=after, limit=AT_ONCE):
        yield from found
        after = (found[-1].index, found[-1].kind)


def write_csv(findings: Iterable[Finding]) -> str:
    """RFC 4180, with a header line; no cell begins like a formula of a spreadsheet."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for each in findings:
        shown = present.finding(each)
        rows.writerow([_cell(shown[column]) for column in COLUMNS])
    return text.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
