"""Retention, holds and disposal, for people: forms on the pages of exhibit and case, and the list
of disposals with a page for each, where the second person sees what will go."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from notary import access
from notary.access import Act
from notary.disposals import State
from notary.model import Case, Deposit, Principal
from notary.web import api, paging, standing
from notary.web.auth import office
from notary.web.pages_frame import bp, go, link, person, render


def standing_of(matter: Deposit | Case) -> dict[str, Any]:
    """What the section on retention and disposal shows."""
    asked = office().disposing.disposals.of(matter.id) if isinstance(matter, Deposit) else None
    return {
        "standing": office().keeping.standing(matter),
        "disposal": None if asked is None or asked.state is State.WITHDRAWN else asked,
        "matter": "deposit" if isinstance(matter, Deposit) else "case",
    }


def _said(name: str) -> str:
    return request.form.get(name, "")


@bp.post("/deposits/<deposit_id>/retention")
def retain_deposit(deposit_id: str) -> Response:
    by = person()
    return _retain(by, office().intake.known_deposit(by, deposit_id, Act.SET_RETENTION))


@bp.post("/cases/<case_id>/retention")
def retain_case(case_id: str) -> Response:
    by = person()
    return _retain(by, api.known_case(by, case_id, Act.SET_RETENTION))


def _retain(by: Principal, matter: Deposit | Case) -> Response:
    until = standing.parse_until(f"{_said('until')}T00:00:00Z")
    office().keeping.retain(by, matter, until=until, basis=_said("basis"))
    return go(_page_of(matter))


@bp.post("/deposits/<deposit_id>/holds")
def hold_deposit(deposit_id: str) -> Response:
    by = person()
    return _hold(by, office().intake.known_deposit(by, deposit_id, Act.HOLD))


@bp.post("/cases/<case_id>/holds")
def hold_case(case_id: str) -> Response:
    by = person()
    return _hold(by, api.known_case(by, case_id, Act.HOLD))


def _hold(by: Principal, matter: Deposit | Case) -> Response:
    office().keeping.place(by, matter, reason=_said("reason"))
    return go(_page_of(matter))


def _page_of(matter: Deposit | Case) -> str:
    if isinstance(matter, Case):
        return link("pages.case", case_id=matter.id)
    return link("pages.deposit", deposit_id=matter.id)


@bp.post("/holds/<hold_id>/release")
def release_hold(hold_id: str) -> Response:
    by = person()
    hold = standing.known_hold(by, hold_id)
    office().keeping.release(by, hold, reason=_said("reason"))
    if hold.deposit_id is not None:
        return go(link("pages.deposit", deposit_id=hold.deposit_id))
    return go(link("pages.case", case_id=hold.case_id))


# --- disposals ----------------------------------------------------------------------------------


@bp.post("/deposits/<deposit_id>/disposal")
def request_disposal(deposit_id: str) -> Response:
    by = person()
    found = office().intake.known_deposit(by, deposit_id, Act.REQUEST_DISPOSAL)
    asked = office().disposing.request(by, found, reason=_said("reason"), basis=_said("basis"))
    return go(link("pages.disposal", disposal_id=asked.id))


@bp.get("/disposals")
def disposals() -> Response:
    access.check(person(), Act.READ_DISPOSALS)
    wanted = paging.limit()
    found = office().disposing.disposals.list(after=paging.after_text(), limit=wanted + 1)
    return render(
        "disposals.html",
        page=paging.page(found, wanted, cursor=lambda each: each.id, show=lambda each: each),
        first="after" not in request.args,
    )


@bp.get("/disposals/<disposal_id>")
def disposal(disposal_id: str) -> Response:
    by = person()
    found = standing.known_disposal(by, disposal_id)
    which = office().register.deposit(found.deposit_id)
    return render(
        "disposal.html",
        disposal=found,
        deposit=which,
        case=None if which.case_id is None else office().register.case(which.case_id),
        own=found.requested_by == by.account_id,
        pdf=url_for("standing.destruction_pdf", disposal_id=found.id),
        json=url_for("standing.destruction_json", disposal_id=found.id),
    )


@bp.post("/disposals/<disposal_id>/approve")
def approve_disposal(disposal_id: str) -> Response:
    by = person()
    access.check(by, Act.APPROVE_DISPOSAL)
    return go(link("pages.disposal", disposal_id=standing.approve(by, disposal_id).id))


@bp.post("/disposals/<disposal_id>/withdraw")
def withdraw_disposal(disposal_id: str) -> Response:
    by = person()
    found = standing.known_disposal(by, disposal_id)
    office().disposing.withdraw(by, found, reason=_said("reason"))
    return go(link("pages.disposal", disposal_id=found.id))
