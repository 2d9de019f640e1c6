"""What is half done and needs a person, for those who watch over the house."""

from __future__ import annotations

from flask import Response, request, url_for

from notary import access
from notary.access import Act
from notary.web import paging, remains
from notary.web.auth import office
from notary.web.pages_frame import bp, person, render


@bp.get("/remains", endpoint="remains")
def list_remains() -> Response:
    access.check(person(), Act.READ_AUDITS)
    house, wanted = office(), paging.limit()
    found = house.reconciling.remains.findings(after=remains.after_cursor(), limit=wanted + 1)
    return render(
        "remains.html",
        page=paging.page(found, wanted, cursor=remains.cursor_of, show=lambda each: each),
        first="after" not in request.args,
        last=house.reconciling.remains.newest_finished(),
        as_json=url_for("remains.list_remains"),
    )
