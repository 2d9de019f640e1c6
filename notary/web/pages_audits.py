"""The audits of the originals, for those who watch over the house. No content is shown here."""

from __future__ import annotations

from flask import Response, request, url_for

from notary import access
from notary.access import Act
from notary.web import audits, paging
from notary.web.auth import office
from notary.web.pages_frame import bp, person, render


@bp.get("/audits", endpoint="audits")
def list_audits() -> Response:
    access.check(person(), Act.READ_AUDITS)
    wanted = paging.limit()
    found = office().auditing.audits.runs(before=paging.after_text(), limit=wanted + 1)
    return render(
        "audits.html",
        page=paging.page(found, wanted, cursor=lambda run: run.id, show=lambda run: run),
        first="after" not in request.args,
        every=office().settings.audit_days,
    )


@bp.get("/audits/<audit_id>")
def audit(audit_id: str) -> Response:
    by = person()
    access.check(by, Act.READ_AUDITS)
    run = office().auditing.audits.run(audit_id)
    wanted, after = paging.limit(), audits.place_after(paging.after_text())
    found = office().auditing.rereads.findings(run.id, after=after, limit=wanted + 1)
    return render(
        "audit.html",
        run=run,
        page=paging.page(found, wanted, cursor=audits.cursor_of, show=lambda each: each),
        first=after[0] < 0,
        as_json=url_for("audits.list_findings", audit_id=run.id),
        as_csv=url_for("audits.findings_csv", audit_id=run.id),
    )
