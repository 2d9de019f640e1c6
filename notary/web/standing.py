"""/v1: retention and holds of deposits and cases; disposal by two people and its certificate."""

from __future__ import annotations

from datetime import datetime

from apiflask import APIBlueprint
from flask import Response, request

from certs.destruction import FILE_NAME, MEDIA_TYPE
from certs.destruction_pdf import render_destruction
from notary import access
from notary.access import Act
from notary.clock import parse_rfc3339
from notary.disposals import Disposal
from notary.errors import MalformedInput
from notary.model import Case, Deposit, Principal
from notary.standing import Hold
from notary.web import auth, paging, present_standing, uploads
from notary.web.api import CASE_ID, LANG, as_json, known_case, language
from notary.web.api import ID as DEPOSIT_ID
from notary.web.auth import office
from notary.web.openapi import BYTES, PAGE, UUID, answer, describe, json_body, page_of, ref

bp = APIBlueprint("standing", __name__, url_prefix="/v1", enable_openapi=False)

HOLD_ID = {"hold_id": UUID}
DISPOSAL_ID = {"disposal_id": UUID}


# --- what the views and the pages share ---------------------------------------------------------


def known_hold(by: Principal, hold_id: str) -> Hold:
    access.check(by, Act.HOLD)
    return office().keeping.hold(hold_id)


def known_disposal(by: Principal, disposal_id: str) -> Disposal:
    access.check(by, Act.READ_DISPOSALS)
    return office().disposing.disposals.get(disposal_id)


def texts(*names: str) -> dict[str, str]:
    """The members of a JSON body, all of them texts. Raises MalformedInput."""
    body = uploads.read_json(request)
    if body.keys() != set(names) or not all(isinstance(body[name], str) for name in names):
        raise MalformedInput(f"send {', '.join(names)}, as texts", code="json_malformed")
    return {name: body[name] for name in names}


def parse_until(text: str) -> datetime:
    try:
        return parse_rfc3339(text)
    except ValueError as exc:
        raise MalformedInput(
            f"until is {text!r:.60}, not a time like 2036-11-24T00:00:00Z",
            code="retention_malformed",
        ) from exc


# --- retention and holds ------------------------------------------------------------------------


@bp.get("/deposits/<deposit_id>/standing")
@describe(
    "What keeps a deposit from being disposed of, and its disposal if one was asked for",
    answers={200: answer("retentions, the longest first, and holds", ref("Standing"))},
    problems=(404,),
    path=DEPOSIT_ID,
)
def deposit_standing(deposit_id: str) -> Response:
    by = auth.principal()
    deposit = office().intake.known_deposit(by, deposit_id, Act.READ_DEPOSIT)
    disposal = office().disposing.disposals.of(deposit.id)
    return as_json(present_standing.standing(office().keeping.standing(deposit), disposal))


@bp.get("/cases/<case_id>/standing")
@describe(
    "Retentions and holds of the whole case",
    answers={200: answer("retentions, the longest first, and holds", ref("Standing"))},
    problems=(404,),
    path=CASE_ID,
)
def case_standing(case_id: str) -> Response:
    case = known_case(auth.principal(), case_id, Act.READ_CASE)
    return as_json(present_standing.standing(office().keeping.standing(case), None))


@bp.post("/deposits/<deposit_id>/retention")
@describe(
    "Retain the deposit until a time; the longest rule counts",
    answers={204: answer("done")},
    problems=(404, 410),
    body=json_body("NewRetention"),
    path=DEPOSIT_ID,
)
def retain_deposit(deposit_id: str) -> Response:
    by = auth.principal()
    access.check(by, Act.SET_RETENTION)
    return _retain(by, office().intake.known_deposit(by, deposit_id, Act.SET_RETENTION))


@bp.post("/cases/<case_id>/retention")
@describe(
    "Retain every deposit of the case until a time, later ones too",
    answers={204: answer("done")},
    problems=(404,),
    body=json_body("NewRetention"),
    path=CASE_ID,
)
def retain_case(case_id: str) -> Response:
    by = auth.principal()
    return _retain(by, known_case(by, case_id, Act.SET_RETENTION))


def _retain(by: Principal, matter: Deposit | Case) -> Response:
    said = texts("until", "basis")
    office().keeping.retain(by, matter, until=parse_until(said["until"]), basis=said["basis"])
    return Response(status=204)


@bp.post("/deposits/<deposit_id>/holds")
@describe(
    "Put a hold on the deposit",
    answers={201: answer("placed", ref("Hold"))},
    problems=(404, 410),
    body=json_body("Reason"),
    path=DEPOSIT_ID,
)
def hold_deposit(deposit_id: str) -> Response:
    by = auth.principal()
    return _hold(by, office().intake.known_deposit(by, deposit_id, Act.HOLD))


@bp.post("/cases/<case_id>/holds")
@describe(
    "Put a hold on every deposit of the case, later ones too",
    answers={201: answer("placed", ref("Hold"))},
    problems=(404,),
    body=json_body("Reason"),
    path=CASE_ID,
)
def hold_case(case_id: str) -> Response:
    by = auth.principal()
    return _hold(by, known_case(by, case_id, Act.HOLD))


def _hold(by: Principal, matter: Deposit | Case) -> Response:
    placed = office().keeping.place(by, matter, reason=texts("reason")["reason"])
    return as_json(present_standing.hold(placed), 201)


@bp.post("/holds/<hold_id>/release")
@describe(
    "Release a hold",
    answers={204: answer("done")},
    problems=(404, 409),
    body=json_body("Reason"),
    path=HOLD_ID,
)
def release_hold(hold_id: str) -> Response:
    by = auth.principal()
    office().keeping.release(by, known_hold(by, hold_id), reason=texts("reason")["reason"])
    return Response(status=204)


# --- disposal -----------------------------------------------------------------------------------


@bp.post("/deposits/<deposit_id>/disposal")
@describe(
    "Ask for the disposal of a deposit; another person must approve",
    answers={201: answer("asked for", ref("Disposal"), headers=("Location",))},
    problems=(404, 409, 410),
    body=json_body("NewDisposal"),
    path=DEPOSIT_ID,
)
def request_disposal(deposit_id: str) -> Response:
    by = auth.principal()
    deposit = office().intake.known_deposit(by, deposit_id, Act.REQUEST_DISPOSAL)
    said = texts("reason", "basis")
    asked = office().disposing.request(by, deposit, reason=said["reason"], basis=said["basis"])
    where = {"Location": f"/v1/disposals/{asked.id}"}
    return as_json(present_standing.disposal(asked), 201, where)


@bp.get("/disposals")
@describe(
    "Disposals, in the order in which they were asked for",
    answers={200: answer("a page", page_of("Disposal"))},
    parameters=PAGE,
)
def list_disposals() -> Response:
    access.check(auth.principal(), Act.READ_DISPOSALS)
    wanted = paging.limit()
    found = office().disposing.disposals.list(after=paging.after_text(), limit=wanted + 1)
    return as_json(
        paging.page(found, wanted, cursor=lambda each: each.id, show=present_standing.disposal)
    )


@bp.get("/disposals/<disposal_id>")
@describe(
    "One disposal, as far as it is",
    answers={200: answer("the disposal", ref("Disposal"))},
    problems=(404,),
    path=DISPOSAL_ID,
)
def show_disposal(disposal_id: str) -> Response:
    return as_json(present_standing.disposal(known_disposal(auth.principal(), disposal_id)))


@bp.post("/disposals/<disposal_id>/approve")
@describe(
    "Approve a disposal that another person asked for; it can't be taken back",
    answers={200: answer("approved", ref("Disposal"))},
    problems=(404, 409, 410),
    path=DISPOSAL_ID,
)
def approve_disposal(disposal_id: str) -> Response:
    by = auth.principal()
    access.check(by, Act.APPROVE_DISPOSAL)
    return as_json(present_standing.disposal(approve(by, disposal_id)))


def approve(by: Principal, disposal_id: str) -> Disposal:
    return office().disposing.approve(by, known_disposal(by, disposal_id))


@bp.post("/disposals/<disposal_id>/withdraw")
@describe(
    "Withdraw a request that was not approved yet",
    answers={204: answer("done")},
    problems=(404, 409),
    body=json_body("Reason"),
    path=DISPOSAL_ID,
)
def withdraw_disposal(disposal_id: str) -> Response:
    by = auth.principal()
    access.check(by, Act.REQUEST_DISPOSAL)
    disposal = known_disposal(by, disposal_id)
    office().disposing.withdraw(by, disposal, reason=texts("reason")["reason"])
    return Response(status=204)


@bp.get("/disposals/<disposal_id>/certificate.json")
@describe(
    "The signed destruction certificate",
    answers={200: answer("the certificate", BYTES, media=MEDIA_TYPE)},
    problems=(404, 409),
    path=DISPOSAL_ID,
)
def destruction_json(disposal_id: str) -> Response:
    disposal = known_disposal(auth.principal(), disposal_id)
    data = office().destructions.certificate(disposal).encode()
    response = Response(data, content_type=MEDIA_TYPE)
    response.headers.set("Content-Disposition", "attachment", filename=FILE_NAME)
    return response


@bp.get("/disposals/<disposal_id>/certificate.pdf")
@describe(
    "The same on paper",
    answers={200: answer("the certificate", BYTES, media="application/pdf")},
    problems=(404, 409),
    parameters=[LANG],
    path=DISPOSAL_ID,
)
def destruction_pdf(disposal_id: str) -> Response:
    lang = language()
    disposal = known_disposal(auth.principal(), disposal_id)
    data = render_destruction(office().destructions.certificate(disposal), lang=lang)
    response = Response(data, content_type="application/pdf")
    name = f"destruction-{disposal.id}-{lang}.pdf"
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response
