"""Who may do what, asked over HTTP: every role at every door.

The table below is the whole of it, written down a second time by hand. A door that is in the
OpenAPI document and not in the table fails the tests.
"""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from notary.accounts import Account
from notary.model import Role
from notary.office import Office
from notary.settings import Settings
from notary.web.auth import COOKIE, CSRF_HEADER
from tests.harness.issuer import OutsideIssuer
from tests.harness.people import Staff
from tests.harness.server import Client, Service

CALLERS = (
    "administrator", "clerk", "auditor", "party", "stranger", "depositor", "other", "nobody",
)  # fmt: skip
"""`party` is one of the case, `stranger` of another; `depositor` and `other` are API clients;
`nobody` has no key. The deposit is the depositor's, in the case."""

PUBLIC = "200 200 200 200 200 200 200 200"
PAPER = "403 200 403 200 404 200 404 401"
MANAGER = "200 403 403 403 403 403 403 401"
TABLE = {
    #                                        admin clerk auditor party stranger depos. oth. nobody
    "POST /v1/deposits": "                    403   201   403    400   400      201    201  401",
    "POST /v1/deposits?case={case}": "        403   201   403    201   404      201    201  401",
    "GET /v1/deposits": "                     403   200   200    400   400      200    200  401",
    "GET /v1/deposits?case={case}": "         403   200   200    200   404      200    200  401",
    "GET /v1/deposits/{deposit_id}": "        403   200   200    200   404      200    404  401",
    "GET /v1/deposits/{deposit_id}/custody": "403   200   200    403   403      200    404  401",
    "GET /v1/deposits/{deposit_id}/content": PAPER,
    "GET /v1/deposits/{deposit_id}/certificate.json": PAPER,
    "GET /v1/deposits/{deposit_id}/certificate.pdf": PAPER,
    "POST /v1/deposits/{deposit_id}/certificate.pdf?profile=generic": PAPER,
    "GET /v1/deposits/{deposit_id}/profile.json?profile=generic": PAPER,
    "GET /v1/profiles": PUBLIC,
    "GET /v1/deposits/{deposit_id}/bundle.zip": PAPER,
    "GET /v1/deposits/{deposit_id}/bundle.asice": PAPER,
    "GET /v1/deposits/{deposit_id}/bundle.asics": PAPER,
    "GET /v1/deposits/{deposit_id}/timestamp.tsr": PAPER,
    "GET /v1/deposits/{deposit_id}/evidence.ers": PAPER,
    "GET /v1/deposits/{deposit_id}/proof.tlog-proof": PAPER,
    "GET /v1/deposits/{deposit_id}/receipt.cose": PAPER,
    "GET /v1/deposits/{deposit_id}/statement.cose": PAPER,
    "GET /v1/deposits/{deposit_id}/transparent-statement.cose": PAPER,
    "POST /v1/deposits/{deposit_id}/certificate/reissue": "403 400 403 403 403 403 403 401",
    "POST /v1/deposits/{deposit_id}/certificate/withdrawal": "403 400 403 403 403 403 403 401",
    "GET /v1/certificates/{certificate_id}/status": "404 404 404 404 404 404 404 404",
    "POST /v1/batches": "                     403   201   403    403   403      201    201  401",
    "GET /v1/batches/{batch_id}": "           403   404   403    403   403      200    404  401",
    "POST /v1/cases": "                       403   201   403    403   403      201    201  401",
    "GET /v1/cases": "                        403   200   200    200   200      200    200  401",
    "GET /v1/cases/{case_id}": "              403   200   200    200   404      200    200  401",
    "POST /v1/cases/{case_id}/parties": "     403   204   403    403   403      403    403  401",
    "POST /v1/accounts": "                    201   403   403    403   403      403    403  401",
    "GET /v1/accounts": MANAGER,
    "GET /v1/accounts/{account_id}": MANAGER,
    "PATCH /v1/accounts/{account_id}": MANAGER,
    "POST /v1/accounts/{account_id}/keys": "  201   403   403    403   403      403    403  401",
    "POST /v1/accounts/{account_id}/links": " 201   403   403    403   403      403    403  401",
    "GET /v1/accounts/{account_id}/keys": MANAGER,
    "DELETE /v1/accounts/{account_id}/keys/{key_id}": "204 403 403 403 403      403    403  401",
    "GET /v1/events": "                       200   403   200    403   403      403    403  401",
    "GET /v1/audits": "                       200   403   200    403   403      403    403  401",
    "GET /v1/audits/{audit_id}": "            200   403   200    403   403      403    403  401",
    "GET /v1/audits/{audit_id}/findings": "   200   403   200    403   403      403    403  401",
    "GET /v1/audits/{audit_id}/findings.csv": "200 403 200 403 403 403 403 401",
    "GET /v1/remains": "                      200   403   200    403   403      403    403  401",
    "GET /v1/remains/passes": "               200   403   200    403   403      403    403  401",
    "GET /v1/deposits/{deposit_id}/standing": "403 200 200 200 404 200 404 401",
    "GET /v1/cases/{case_id}/standing": "     403   200   200    200   404      200    200  401",
    "POST /v1/deposits/{deposit_id}/retention": "403 400 403 403 403 403 403 401",
    "POST /v1/cases/{case_id}/retention": "   403   400   403    403   403      403    403  401",
    "POST /v1/deposits/{deposit_id}/holds": " 403   400   403    403   403      403    403  401",
    "POST /v1/cases/{case_id}/holds": "       403   400   403    403   403      403    403  401",
    "POST /v1/holds/{hold_id}/release": "     403   404   403    403   403      403    403  401",
    "POST /v1/deposits/{deposit_id}/disposal": "403 400 403 403 403 403 403 401",
    "GET /v1/disposals": "                    403   200   200    403   403      403    403  401",
    "GET /v1/disposals/{disposal_id}": "      403   404   404    403   403      403    403  401",
    "POST /v1/disposals/{disposal_id}/approve": "403 404 403 403 403 403 403 401",
    "POST /v1/disposals/{disposal_id}/withdraw": "403 404 403 403 403 403 403 401",
    "GET /v1/disposals/{disposal_id}/certificate.json": "403 404 404 403 403 403 403 401",
    "GET /v1/disposals/{disposal_id}/certificate.pdf": "403 404 404 403 403 403 403 401",
    "POST /v1/issuers": "                     201   403   403    403   403      403    403  401",
    "GET /v1/issuers": MANAGER,
    "DELETE /v1/issuers/{thumbprint}": "      404   403   403    403   403      403    403  401",
    "POST /entries": "                        400   400   400    400   400      400    400  400",
    "GET /entries/{entry_id}": "              404   404   404    404   404      404    404  404",
    "GET /v1/limits": PUBLIC,
    "POST /v1/verify": PUBLIC,
    "GET /v1/trust.toml": PUBLIC,
    "GET /v1/log/proof/inclusion": PUBLIC,
    "GET /v1/log/proof/consistency": PUBLIC,
    "GET /log/checkpoint": PUBLIC,
    "GET /log/tile/{path}": PUBLIC,
    "GET /log/genesis.json": PUBLIC,
    "GET /log/rotations.json": PUBLIC,
    "GET /log/keys": PUBLIC,
    "GET /log/health": PUBLIC,
    "GET /log/policy": "404 404 404 404 404 404 404 404",
    "GET /log/registration-policies": PUBLIC,
    "GET /log/registration-policies/{serial}": PUBLIC,
    "GET /.well-known/scitt-keys": PUBLIC,
    "GET /.well-known/scitt-keys/{kid}": "404 404 404 404 404 404 404 404",
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /metrics": PUBLIC,
}  # fmt: skip
PAGES = {
    #                                                     admin clerk auditor party stranger nobody
    "GET /deposits/{deposit_id}/paper": "                  403   200   403    200   404      303",
    "GET /deposits/{deposit_id}/paper?profile=generic&show=content": "403 200 403 200 404 303",
    "POST /deposits/{deposit_id}/paper?lang=en": "         403   200   403    200   404      401",
}  # fmt: skip
"""Pages on which a paper is made: asked by people with a session, whom `PEOPLE` names."""
PEOPLE = ("administrator", "clerk", "auditor", "party", "stranger", "nobody")
OF_A_DEPOSIT = [door for door in TABLE if door.startswith("GET /v1/deposits/{deposit_id}")]


NOBODYS = "0190b5a0-0000-7000-8000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the doors are asked about, and who asks."""

    staff: Staff
    clients: dict[str, Client]
    names: dict[str, str]
    """What stands in the braces of the table."""
    fill: Account
    """An account to be changed, given keys, made a party."""
    people: dict[str, Account]
    """Those of the callers who sign in."""

    def ask(self, door: str, client: Client, **instead: str) -> Any:
        method, _, path = door.partition(" ")
        path = path.format(**{**self.names, **self._fresh(door), **instead})
        return client.request(method, path, allow_redirects=False, **self._body(door))

    def _fresh(self, door: str) -> dict[str, str]:
        if "{key_id}" not in door:
            return {}
        self.staff.key(self.fill)
        unrevoked = [key for key in self.staff.keys(self.fill) if not key.revoked]
        return {"key_id": unrevoked[-1].id}

    def _body(self, door: str) -> dict[str, Any]:
        if "certificate.pdf" in door and door.startswith("POST"):
            return {"json": {"facts": {}}}
        if door.partition("?")[0] == "POST /v1/deposits":
            return {"data": uuid.uuid4().bytes}
        if door == "POST /v1/batches":
            return {"data": b'{"end": 0}\n', "headers": {"Content-Type": "application/x-ndjson"}}
        if door == "POST /entries":
            return {"data": b"no statement", "headers": {"Content-Type": "application/cose"}}
        name = str(uuid.uuid4())
        bodies: dict[str, Any] = {
            "POST /v1/cases": {"court": "C", "number": name, "title": "A v. B"},
            "POST /v1/cases/{case_id}/parties": {"account": self.staff.account(Role.PARTY).name}
            if "parties" in door
            else {},
            "POST /v1/accounts": {"name": name, "role": "clerk"},
            "PATCH /v1/accounts/{account_id}": {"role": "clerk"},
            "POST /v1/accounts/{account_id}/keys": {"label": "k"},
            "POST /v1/verify": {"certificate": "none"},
            "POST /v1/deposits/{deposit_id}/retention": {},
            "POST /v1/cases/{case_id}/retention": {},
            "POST /v1/deposits/{deposit_id}/holds": {},
            "POST /v1/cases/{case_id}/holds": {},
            "POST /v1/holds/{hold_id}/release": {"reason": "over"},
            "POST /v1/deposits/{deposit_id}/disposal": {},
            "POST /v1/disposals/{disposal_id}/withdraw": {"reason": "a mistake"},
            "POST /v1/issuers": {
                "iss": f"urn:uuid:{name}",
                "key": OutsideIssuer.new("urn:x:1").pem.decode(),
            },
        }
        if door in bodies:
            return {"json": bodies[door]}
        queries = {
            "GET /v1/log/proof/inclusion": {"index": "0"},
            "GET /v1/log/proof/consistency": {"old": "1", "new": "2"},
        }
        return {"params": queries[door]} if door in queries else {}


def end_period(service: Service) -> None:
    """The period's tree and token, as if it were over."""
    office = Office(Settings(home=service.home))
    office.trees.begin(first=office.trees.next_index(), until=office.clock.now())
    office.archiving.build()
    assert office.archiving.stamp() == 1
    office.close()


@pytest.fixture(scope="module")
def stage(service: Service, staff: Staff) -> Stage:
    party, stranger = staff.account(Role.PARTY), staff.account(Role.PARTY)
    people = {
        "administrator": staff.account(Role.ADMINISTRATOR),
        "clerk": staff.account(Role.CLERK),
        "auditor": staff.account(Role.AUDITOR),
        "party": party,
        "stranger": stranger,
    }
    clients = {
        "administrator": staff.client(people["administrator"]),
        "clerk": staff.client(people["clerk"]),
        "auditor": staff.client(people["auditor"]),
        "party": staff.client(party),
        "stranger": staff.client(stranger),
        "depositor": staff.client(Role.API_CLIENT),
        "other": staff.client(Role.API_CLIENT),
        "nobody": Client(service.base),
    }
    clerk, depositor = clients["clerk"], clients["depositor"]
    cases = [open_case(clerk) for _ in range(2)]
    for case, account in zip(cases, (party, stranger), strict=True):
        body = {"account": account.name}
        assert clerk.post(f"/v1/cases/{case['id']}/parties", json=body).status_code == 204
    deposit = depositor.post(
        f"/v1/deposits?case={cases[0]['id']}&timestamp=document",
        data=b"the secret of the case",
        headers={"Content-Disposition": "attachment; filename=secret.txt"},
    ).json()
    empty = {"Content-Type": "application/x-ndjson"}
    batch = depositor.post("/v1/batches", data=b"", headers=empty)
    issuer = {"iss": f"urn:uuid:{uuid.uuid4()}", "key": OutsideIssuer.new("urn:x:1").pem.decode()}
    assert clients["administrator"].post("/v1/issuers", json=issuer).status_code == 201
    service.wait_for(lambda: depositor.get(deposit["links"]["timestamp"]).ok)
    end_period(service)
    return Stage(
        staff=staff,
        clients=clients,
        names={
            "deposit_id": deposit["id"],
            "certificate_id": str(uuid.uuid4()),
            "case": cases[0]["number"],
            "case_id": cases[0]["id"],
            "batch_id": batch.headers["Location"].rpartition("/")[2],
            "account_id": (fill := staff.account(Role.CLERK)).id,
            "path": "0/000.p/1",
            "kid": "x",
            "serial": "1",
            "entry_id": "0" * 64,
            "thumbprint": "0" * 64,
            "hold_id": NOBODYS,
            "disposal_id": NOBODYS,
            "audit_id": staff.office.auditing.begin("operator").id,
        },
        fill=fill,
        people=people,
    )


def open_case(client: Client, number: str | None = None, court: str = "C") -> dict[str, Any]:
    body = {"court": court, "number": number or f"A-{uuid.uuid4()}", "title": "A v. B"}
    answer = client.post("/v1/cases", json=body)
    assert answer.status_code == 201, answer.text
    opened: dict[str, Any] = answer.json()
    return opened


def alike(answer: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    """All that tells one answer from another, but for its own id and the time."""
    body = {name: value for name, value in answer.json().items() if name != "instance"}
    headers = {k: v for k, v in answer.headers.items() if k.lower() not in ("x-request-id", "date")}
    return answer.status_code, body, headers


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("door", TABLE)
def test_each_role_at_this_door(stage: Stage, door: str) -> None:
    answered = {}
    for caller in CALLERS:
        answer = stage.ask(door, stage.clients[caller])
        answered[caller] = answer.status_code
        if answer.status_code in (401, 403):
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert ("WWW-Authenticate" in answer.headers) == (answer.status_code == 401)
    expected = dict(zip(CALLERS, map(int, TABLE[door].split()), strict=True))
    assert answered == expected


@pytest.mark.parametrize("door", PAGES)
def test_each_person_at_this_page(stage: Stage, door: str) -> None:
    method, _, path = door.partition(" ")
    chosen = {"profile": "generic", "show": "content"} if method == "POST" else None
    answered = {}
    for who in PEOPLE:
        account = stage.people.get(who)
        browser = stage.clients["nobody"] if account is None else signed_in(stage, account)
        answered[who] = browser.request(
            method,
            path.format(**stage.names),
            data=chosen,
            headers={"Accept": "text/html"},
            allow_redirects=False,
        ).status_code
    assert answered == dict(zip(PEOPLE, map(int, PAGES[door].split()), strict=True))


def test_the_table_has_every_door_of_the_document(stage: Stage) -> None:
    document = stage.clients["nobody"].get("/openapi.json").json()
    doors = {f"{m.upper()} {path}" for path, methods in document["paths"].items() for m in methods}
    assert doors == {door.partition("?")[0] for door in TABLE}


def test_a_door_that_is_not_there_is_not_found_by_anyone(stage: Stage) -> None:
    for client in stage.clients.values():
        for path in ("/v1/", "/v1/deposit", "/v1/accounts/x/y", "/log/"):
            answer = client.get(path, allow_redirects=False)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path


# --- what may not be known -----------------------------------------------------------------------


@pytest.mark.parametrize("door", OF_A_DEPOSIT)
def test_a_deposit_that_is_not_yours_is_answered_like_one_that_is_not_there(
    stage: Stage, door: str
) -> None:
    real = stage.names["deposit_id"]
    unknown = real[:-1] + ("0" if real[-1] != "0" else "1")
    for caller in ("administrator", "auditor", "stranger", "other", "nobody"):
        client = stage.clients[caller]
        theirs = stage.ask(door, client)
        if theirs.status_code != 200:
            assert alike(theirs) == alike(stage.ask(door, client, deposit_id=unknown)), caller


def test_a_case_that_is_not_yours_is_answered_like_one_that_is_not_there(stage: Stage) -> None:
    stranger, real = stage.clients["stranger"], stage.names["case_id"]
    unknown = real[:-1] + ("0" if real[-1] != "0" else "1")
    for door in ("GET /v1/cases/{case_id}", "POST /v1/cases/{case_id}/parties"):
        assert alike(stage.ask(door, stranger)) == alike(stage.ask(door, stranger, case_id=unknown))
    number = stage.names["case"]
    other = number[:-1] + ("0" if number[-1] != "0" else "1")
    for door in ("GET /v1/deposits?case={case}", "POST /v1/deposits?case={case}"):
        status, body, _ = alike(stage.ask(door, stranger))
        assert body["detail"].count(number) <= 1
        body["detail"] = body["detail"].replace(number, other)
        there, theirs, _ = alike(stage.ask(door, stranger, case=other))
        assert (status, body) == (there, theirs)


def test_a_number_that_two_courts_have_says_nothing_to_who_is_a_party_to_neither(
    stage: Stage,
) -> None:
    number = f"A-{uuid.uuid4()}"
    for court in ("North", "South"):
        open_case(stage.clients["clerk"], number, court)
    for door in ("GET /v1/deposits?case={case}", "POST /v1/deposits?case={case}"):
        assert stage.ask(door, stage.clients["clerk"], case=number).status_code == 409
        answer = stage.ask(door, stage.clients["stranger"], case=number)
        assert (answer.status_code, answer.json()["code"]) == (404, "case_not_found")


def test_a_party_lists_its_own_cases_and_a_client_its_own_deposits(stage: Stage) -> None:
    listed = stage.clients["stranger"].get("/v1/cases").json()["items"]
    assert stage.names["case_id"] not in {case["id"] for case in listed}
    listed = stage.clients["party"].get("/v1/cases").json()["items"]
    assert [case["id"] for case in listed] == [stage.names["case_id"]]
    asked = {"case": stage.names["case"]}
    mine = stage.clients["depositor"].get("/v1/deposits", params=asked).json()["items"]
    assert stage.names["deposit_id"] in {deposit["id"] for deposit in mine}
    theirs = stage.clients["other"].get("/v1/deposits", params=asked).json()["items"]
    assert stage.names["deposit_id"] not in {deposit["id"] for deposit in theirs}


def test_an_administrator_sees_nothing_of_the_evidence(stage: Stage) -> None:
    """Not at any door of the API, not on any page."""
    session = signed_in(stage, stage.staff.account(Role.ADMINISTRATOR))
    pages = [
        f"/deposits/{stage.names['deposit_id']}",
        f"/deposits/{stage.names['deposit_id']}/custody",
        f"/deposits/{stage.names['deposit_id']}/paper",
        f"/cases/{stage.names['case_id']}",
        "/cases",
        "/v1/events?limit=200",
        "/v1/accounts",
    ]
    answers = [session.get(page, headers={"Accept": "text/html"}) for page in pages]
    answers += [stage.ask(door, stage.clients["administrator"]) for door in TABLE if "GET" in door]
    for answer in answers:
        assert b"the secret of the case" not in answer.content
        assert b"secret.txt" not in answer.content
    assert [answer.status_code for answer in answers[:5]] == [403] * 5


# --- keys ----------------------------------------------------------------------------------------


def test_a_key_does_no_more_than_its_scopes(service: Service, stage: Stage) -> None:
    account = stage.staff.account(Role.API_CLIENT)
    narrow = Client(service.base, stage.staff.key(account, scopes=["deposit"]))
    given = stage.ask("POST /v1/deposits", narrow)
    assert given.status_code == 201
    for door in ("GET /v1/deposits", "POST /v1/batches", "POST /v1/cases", *OF_A_DEPOSIT):
        answer = stage.ask(door, narrow, deposit_id=given.json()["id"])
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), door
    wide = Client(service.base, stage.staff.key(account))
    assert wide.get(f"/v1/deposits/{given.json()['id']}").status_code == 200


@pytest.mark.parametrize("scopes", [["manage-accounts"], ["deposit", "x"], [""], []])
def test_a_key_cannot_be_given_what_its_account_may_not(stage: Stage, scopes: list[str]) -> None:
    client = stage.staff.account(Role.API_CLIENT)
    answer = stage.clients["administrator"].post(
        f"/v1/accounts/{client.id}/keys", json={"label": "k", "scopes": scopes}
    )
    assert answer.status_code == 400


def test_a_key_that_does_not_hold_is_answered_alike_whatever_the_reason(
    service: Service, stage: Stage
) -> None:
    staff, manager = stage.staff, stage.clients["administrator"]
    expired, revoked, disabled, wrong = (staff.account(Role.API_CLIENT) for _ in range(4))
    keys = {account.id: staff.key(account) for account in (expired, revoked, disabled, wrong)}
    for key in keys.values():
        assert Client(service.base, key).get("/v1/deposits").status_code == 200
    with sqlite3.connect(service.home / "notary.db") as rows:
        past = "2020-01-01T00:00:00.000000Z"
        rows.execute("UPDATE api_key SET expires_at = ? WHERE account_id = ?", (past, expired.id))
    (key,) = manager.get(f"/v1/accounts/{revoked.id}/keys").json()
    assert manager.delete(f"/v1/accounts/{revoked.id}/keys/{key['id']}").status_code == 204
    off = {"disabled": True}
    assert manager.patch(f"/v1/accounts/{disabled.id}", json=off).status_code == 200
    keys[wrong.id] = keys[wrong.id][:-1] + ("A" if keys[wrong.id][-1] != "A" else "B")
    presented = [*keys.values(), "nk_0123456789abcdef_" + "x" * 43, "nonsense", "nk__"]
    answers = [Client(service.base, each).get("/v1/deposits") for each in presented]
    assert {answer.status_code for answer in answers} == {401}
    assert len({str(alike(answer)[1:]) for answer in answers}) == 1


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "bearer ", "nk_x", "Bearer a b"])
def test_an_authorization_that_is_none_is_refused(service: Service, value: str) -> None:
    client = Client(service.base)
    answer = client.get("/v1/deposits", headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_changed_role_counts_at_once(service: Service, stage: Stage) -> None:
    account = stage.staff.account(Role.CLERK)
    client = Client(service.base, stage.staff.key(account))
    assert client.get("/v1/events").status_code == 403
    assert stage.ask("POST /v1/cases", client).status_code == 201
    body = {"role": "auditor"}
    answer = stage.clients["administrator"].patch(f"/v1/accounts/{account.id}", json=body)
    assert answer.json()["role"] == "auditor"
    assert client.get("/v1/events").status_code == 200
    assert stage.ask("POST /v1/cases", client).status_code == 403


# --- sessions ------------------------------------------------------------------------------------


def signed_in(stage: Stage, account: Account) -> Client:
    """A browser with the account's session, and its token in the header."""
    secret, csrf = stage.staff.session(account)
    browser = Client(stage.clients["nobody"].base)
    browser.cookies.set(COOKIE, secret)
    browser.headers[CSRF_HEADER] = csrf
    return browser


def test_a_session_changes_nothing_without_its_own_token(stage: Stage) -> None:
    account = stage.staff.account(Role.CLERK)
    browser, another = signed_in(stage, account), signed_in(stage, account)
    assert stage.ask("POST /v1/cases", browser).status_code == 201
    for token in (None, "", "x", str(another.headers[CSRF_HEADER])):
        del browser.headers[CSRF_HEADER]
        if token is not None:
            browser.headers[CSRF_HEADER] = token
        for door in ("POST /v1/cases", "POST /v1/deposits", "POST /v1/batches"):
            answer = stage.ask(door, browser)
            assert (answer.status_code, answer.json()["code"]) == (403, "csrf"), (door, token)
        answer = browser.post("/v1/deposits", files={"file": ("a", b"x")})
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf")
        browser.headers.setdefault(CSRF_HEADER, "")
        assert browser.get("/v1/cases").status_code == 200


def test_a_form_may_show_the_token_in_a_field_before_its_file(stage: Stage) -> None:
    browser = signed_in(stage, stage.staff.account(Role.CLERK))
    token = str(browser.headers.pop(CSRF_HEADER))
    files = {"file": ("a", b"x")}
    for shown, status in ((token, 201), ("x" * 43, 403)):
        answer = browser.post("/v1/deposits", data={"csrf": shown}, files=files)
        assert answer.status_code == status, answer.text


def test_people_hold_keys_of_their_own_and_no_key_makes_another(
    service: Service, stage: Stage
) -> None:
    account = stage.staff.account(Role.CLERK)
    browser, path = signed_in(stage, account), f"/v1/accounts/{account.id}/keys"
    made = browser.post(path, json={"label": "mine"})
    assert made.status_code == 201
    with_key = Client(service.base, made.json()["secret"])
    assert with_key.get("/v1/cases").status_code == 200
    assert with_key.post(path, json={"label": "another"}).status_code == 403
    assert browser.delete(f"{path}/{made.json()['key']['id']}").status_code == 204
    assert with_key.get("/v1/cases").status_code == 401
    assert browser.post(
        f"/v1/accounts/{stage.names['account_id']}/keys", json={"label": "theirs"}
    ).status_code == 403  # fmt: skip


def test_a_disabled_account_is_out_at_once(stage: Stage) -> None:
    account = stage.staff.account(Role.CLERK)
    browser = signed_in(stage, account)
    assert browser.get("/v1/cases").status_code == 200
    off = {"disabled": True}
    stage.clients["administrator"].patch(f"/v1/accounts/{account.id}", json=off)
    assert browser.get("/v1/cases").status_code == 401


def test_a_session_that_has_run_out_is_none(service: Service, stage: Stage) -> None:
    account = stage.staff.account(Role.CLERK)
    browser = signed_in(stage, account)
    with sqlite3.connect(service.home / "notary.db") as rows:
        past = "2020-01-01T00:00:00.000000Z"
        rows.execute("UPDATE session SET expires_at = ? WHERE account_id = ?", (past, account.id))
    assert browser.get("/v1/cases").status_code == 401


def test_what_people_do_is_an_event_that_names_them(stage: Stage) -> None:
    auditor, reader = stage.clients["auditor"], stage.staff.account(Role.CLERK)
    browser = signed_in(stage, reader)
    deposit = f"/v1/deposits/{stage.names['deposit_id']}"
    for path in (deposit, f"{deposit}/content"):
        assert browser.get(path).status_code == 200
    trail: list[dict[str, Any]] = []
    asked: dict[str, str] = {"limit": "200"}
    while True:
        page = auditor.get(f"{deposit}/custody", params=asked).json()
        trail += page["items"]
        if page["next"] is None:
            break
        asked["after"] = page["next"]
    assert trail[0]["kind"] == "registered"
    mine = [event["kind"] for event in trail if event["actor"] == reader.name]
    assert mine == ["opened", "downloaded"]
