"""/v1: certificates reissued and withdrawn, and what became of one, for whoever holds it."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import Response, request

from certs.status import MEDIA_TYPE
from notary.access import Act
from notary.issue import Issued
from notary.model import CustodyEvent, Deposit
from notary.versions import terms_of
from notary.web import auth
from notary.web.api import ID as DEPOSIT_ID
from notary.web.api import as_json
from notary.web.auth import office
from notary.web.openapi import BYTES, UUID, answer, describe, json_body, query, ref
from notary.web.present import event as shown_event
from notary.web.standing import texts

bp = APIBlueprint("certificates", __name__, url_prefix="/v1", enable_openapi=False)


@bp.post("/deposits/<deposit_id>/certificate/reissue")
@describe(
    "Issue the next version of the certificate; also after it was withdrawn",
    answers={201: answer("issued", ref("Reissued"))},
    problems=(404, 410),
    body=json_body("Reason"),
    path=DEPOSIT_ID,
)
def reissue(deposit_id: str) -> Response:
    by = auth.principal()
    deposit = office().intake.known_deposit(by, deposit_id, Act.WITHDRAW_CERTIFICATE)
    issued = office().issue.reissue(deposit, by=by, reason=texts("reason")["reason"])
    return as_json(_issued(deposit, issued), 201)


@bp.post("/deposits/<deposit_id>/certificate/withdrawal")
@describe(
    "Withdraw every version of the certificate that was issued; verifiers that ask are told",
    answers={201: answer("withdrawn", ref("CertificateWithdrawal"))},
    problems=(404, 409, 410),
    body=json_body("Reason"),
    path=DEPOSIT_ID,
)
def withdraw(deposit_id: str) -> Response:
    by = auth.principal()
    deposit = office().intake.known_deposit(by, deposit_id, Act.WITHDRAW_CERTIFICATE)
    event = office().withdrawing.withdraw(by, deposit, reason=texts("reason")["reason"])
    return as_json(_withdrawn(event), 201)


@bp.get("/certificates/<certificate_id>/status")
@describe(
    "What became of a certificate: a signed statement with its ledger proof; no account needed",
    public=True,
    answers={200: answer("the statement", BYTES, media=MEDIA_TYPE)},
    problems=(400, 404, 429),
    parameters=[query("registration", UUID, "the id in the certificate's record", required=True)],
    path={"certificate_id": UUID},
)
def status(certificate_id: str) -> Response:
    """Both numbers stand on the certificate and both are random: who has not seen it asks in vain,
    and can't tell one that is not his to know of from one that never was."""
    statement = office().withdrawing.status(certificate_id, request.args.get("registration", ""))
    response = Response(statement.encode(), content_type=MEDIA_TYPE)
    response.headers["Cache-Control"] = "no-store"
    return response


def _issued(deposit: Deposit, issued: Issued) -> dict[str, Any]:
    return {
        "deposit_id": deposit.id,
        "certificate_id": issued.certificate.certificate_id,
        "version": issued.version,
    }


def _withdrawn(event: CustodyEvent) -> dict[str, Any]:
    terms = terms_of(event)
    return {
        "certificates": terms["certificates"].split(" "),
        "reason": terms["reason"],
        "event": shown_event(event),
    }
