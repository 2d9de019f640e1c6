"""Cases, exhibits, the counter where files are handed in, and the trail of each exhibit."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from notary import access
from notary.access import Act, Reach
from notary.errors import MalformedInput, Rejected
from notary.intake import Receipt
from notary.model import Case, Deposit, Principal
from notary.provenance import SCHEMA as PROVENANCE
from notary.record import parse_disclosure
from notary.web import api, paging, present, uploads
from notary.web.auth import office
from notary.web.pages_certificates import withdrawal_of
from notary.web.pages_frame import bp, go, in_other_language, link, may, person, render, said
from notary.web.pages_standing import standing_of

TRAIL = 20
"""Events shown with an exhibit; the trail's own page has them all."""
ZONES = tuple(f"{sign}{hours:02}:00" for sign, row in (("-", range(12, 0, -1)), ("+", range(15)))
              for hours in row)  # fmt: skip
PROVENANCE_TEXTS = tuple(
    name
    for name in PROVENANCE["properties"]  # type: ignore[attr-defined]  # a schema's JSON
    if name not in ("captured_at", "steps")
)


# --- my cases -------------------------------------------------------------------------------


@bp.get("/cases")
def cases() -> Response:
    by = person()
    reach = access.check(by, Act.READ_CASE)
    number = request.args.get("number", "").strip()
    if number:
        found = office().register.find_case(
            number, None, party=None if reach is Reach.ALL else by.account_id
        )
        return go(link("pages.case", case_id=found.id))
    return _cases(by)


@bp.post("/cases")
def open_case() -> Response:
    by = person()
    access.check(by, Act.OPEN_CASE)
    given = {name: request.form.get(name, "") for name in ("court", "number", "title")}
    try:
        opened = api.new_case(by, given)
    except Rejected as refused:
        return _cases(by, given, refused)
    return go(link("pages.case", case_id=opened.id))


def _cases(
    by: Principal, given: dict[str, str] | None = None, refused: Rejected | None = None
) -> Response:
    reach = access.check(by, Act.READ_CASE)
    wanted = paging.limit()
    found = office().register.cases(
        party=None if reach is Reach.ALL else by.account_id,
        after=paging.after_text(),
        limit=wanted + 1,
    )
    problem = None if refused is None else said(refused)
    return render(
        "cases.html",
        200 if problem is None else problem.status,
        page=paging.page(found, wanted, cursor=lambda c: c.id, show=lambda c: c),
        first="after" not in request.args,
        given=given or {},
        problem=problem,
        switch=in_other_language("pages.cases", after=request.args.get("after")),
    )


@bp.get("/cases/<case_id>")
def case(case_id: str) -> Response:
    by = person()
    return _case(by, api.known_case(by, case_id, Act.READ_CASE))


def _case(
    by: Principal, shown: Case, *, refused: Rejected | None = None, account: str = ""
) -> Response:
    everything = access.check(by, Act.READ_CASE) is Reach.ALL
    reach = access.check(by, Act.READ_DEPOSIT)
    wanted = paging.limit()
    found = office().register.deposits(
        case_id=shown.id,
        account_id=by.account_id if reach is Reach.OWN_DEPOSITS else None,
        after=paging.after_index(),
        limit=wanted + 1,
    )
    parties = office().register.parties(shown.id) if everything else ()
    problem = None if refused is None else said(refused)
    return render(
        "case.html",
        200 if problem is None else problem.status,
        case=shown,
        **standing_of(shown),
        page=paging.page(found, wanted, cursor=lambda d: str(d.index), show=lambda d: d),
        reread=office().auditing.rereads.last([each.index for each in found]),
        remnants=office().reconciling.remains.of_deposits([each.id for each in found]),
        first="after" not in request.args,
        everything=everything,
        parties=[office().accounts.get(each).name for each in parties],
        problem=problem,
        account=account,
        limits=_limits(by) if may(by, Act.DEPOSIT) else None,
        provenance=PROVENANCE_TEXTS,
        zones=ZONES,
        switch=in_other_language("pages.case", case_id=shown.id, after=request.args.get("after")),
    )


def _limits(by: Principal) -> dict[str, Any]:
    room = office().intake.limits
    left = None
    if room.account_bytes:
        left = max(0, room.account_bytes - office().register.stored_bytes(by.account_id))
    return {
        "file": room.file_bytes if left is None else min(left, room.file_bytes),
        "left": left,
        "of": room.account_bytes,
    }


@bp.post("/cases/<case_id>/parties")
def add_party(case_id: str) -> Response:
    by = person()
    found = api.known_case(by, case_id, Act.ADD_PARTY)
    account = request.form.get("account", "").strip()
    try:
        api.make_party(by, found, account)
    except Rejected as refused:
        return _case(by, found, refused=refused, account=account)
    return go(link("pages.case", case_id=found.id))


# --- exhibits -------------------------------------------------------------------------------


@bp.post("/cases/<case_id>/deposits")
def hand_in(case_id: str) -> Response:
    """A plain form gets to the exhibit's page; the script that shows progress asks for the
    address only, so that it opens the page, and is recorded as opening it, once."""
    by = person(streamed_form=True)
    if request.mimetype != "multipart/form-data":
        raise MalformedInput("a file comes as multipart/form-data", code="form_malformed")
    found = api.known_case(by, case_id, Act.DEPOSIT)
    receipt: Receipt = uploads.deposit(request, by, case=found.id)
    shown_at = link("pages.deposit", deposit_id=receipt.deposit.id, new=1)
    if request.headers.get("X-Requested-With") is not None:
        return Response(status=201, headers={"Location": shown_at})
    return go(shown_at)


@bp.get("/deposits/<deposit_id>")
def deposit(deposit_id: str) -> Response:
    by = person()
    found = office().intake.known_deposit(by, deposit_id, Act.READ_DEPOSIT)
    api.record_opened(by, found)
    house = office()
    stamped = house.stamps.covering(found.index)
    sections: dict[str, Any] = dict(parse_disclosure(text) for text in found.disclosures)
    events = house.register.events(deposit_id=found.id, limit=TRAIL + 1)
    return render(
        "deposit.html" if found.disposed_at is None else "disposed.html",
        deposit=found,
        **standing_of(found),
        case=None if found.case_id is None else house.register.case(found.case_id),
        sections=sections,
        stamped=stamped,
        documents=house.stamps.of_document(found.id),
        has_record=bool(house.evidence.of(found)),
        issued=house.issue.last_issued(found.id),
        withdrawal=withdrawal_of(found),
        reread=house.auditing.rereads.last((found.index,)).get(found.index),
        remnant=house.reconciling.remains.of_deposits([found.id]).get(found.id),
        trail=_trail(found, events[:TRAIL], first=True),
        more=len(events) > TRAIL,
        is_new="new" in request.args,
        downloads={
            name: url_for(f"v1.{endpoint}", deposit_id=found.id, **more)
            for name, endpoint, more in _DOWNLOADS
        },
    )


_DOWNLOADS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("pdf_en", "certificate_pdf", {"lang": "en"}),
    ("pdf_zh", "certificate_pdf", {"lang": "zh"}),
    ("json", "certificate_json", {}),
    ("bundle", "bundle", {}),
    ("bundle_asice", "bundle_asice", {}),
    ("bundle_asics", "bundle_asics", {}),
    ("original", "content", {}),
    ("timestamp", "timestamp", {}),
    ("evidence_record", "evidence_record", {}),
    ("proof", "proof", {}),
)


@bp.get("/deposits/<deposit_id>/custody")
def custody(deposit_id: str) -> Response:
    by = person()
    found = office().intake.known_deposit(by, deposit_id, Act.READ_CUSTODY)
    wanted, after = paging.limit(), paging.after_index()
    events = office().register.events(deposit_id=found.id, after=after, limit=wanted + 1)
    page = paging.page(events, wanted, cursor=lambda e: str(e.index), show=lambda e: e)
    return render(
        "custody.html",
        deposit=found,
        case=None if found.case_id is None else office().register.case(found.case_id),
        trail=_trail(found, page["items"], first=after < 0),
        page=page,
        first=after < 0,
    )


def _trail(found: Deposit, events: Any, *, first: bool) -> list[dict[str, Any]]:
    """Events for people; the first of all is the exhibit's own entry."""
    shown = [present.event(event) | {"moment": event.at} for event in events]
    if first:
        depositor = office().accounts.get(found.account_id).name
        own = present.registered_event(found, depositor)
        shown.insert(0, own | {"moment": found.registered_at})
    return shown
