"""A certificate withdrawn or issued anew, for people: forms on the page of the exhibit."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from notary.access import Act
from notary.model import Deposit
from notary.versions import terms_of, withdrawn
from notary.web.auth import office
from notary.web.pages_frame import bp, go, link, person


def withdrawal_of(deposit: Deposit) -> dict[str, Any] | None:
    """What the page says of a certificate that is withdrawn now: `reason`, `by`, `at`."""
    event = withdrawn(office().withdrawing.events(deposit.id))
    if event is None:
        return None
    return {"reason": terms_of(event).get("reason", ""), "by": event.actor, "at": event.at}


@bp.post("/deposits/<deposit_id>/certificate/withdrawal")
def withdraw_certificate(deposit_id: str) -> Response:
    by = person()
    deposit = office().intake.known_deposit(by, deposit_id, Act.WITHDRAW_CERTIFICATE)
    office().withdrawing.withdraw(by, deposit, reason=request.form.get("reason", ""))
    return go(link("pages.deposit", deposit_id=deposit.id))


@bp.post("/deposits/<deposit_id>/certificate/reissue")
def reissue_certificate(deposit_id: str) -> Response:
    by = person()
    deposit = office().intake.known_deposit(by, deposit_id, Act.WITHDRAW_CERTIFICATE)
    office().issue.reissue(deposit, by=by, reason=request.form.get("reason", ""))
    return go(link("pages.deposit", deposit_id=deposit.id))
