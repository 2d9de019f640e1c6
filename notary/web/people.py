"""/v1/accounts and /v1/events: people, their keys, and what they did."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, request

from notary import access
from notary.access import Act
from notary.errors import MalformedInput, NotFound
from notary.model import Principal, Role
from notary.people import DEFAULT_KEY_DAYS
from notary.web import auth, paging, present, uploads
from notary.web.api import as_json
from notary.web.auth import office
from notary.web.openapi import PAGE, TEXT, UUID, answer, describe, json_body, page_of, ref

bp = APIBlueprint("people", __name__, url_prefix="/v1", enable_openapi=False)


def _manager() -> Principal:
    by = auth.principal()
    access.check(by, Act.MANAGE_ACCOUNTS)
    return by


@bp.post("/accounts")
@describe(
    "Create an account; its sign-in link is shown once",
    answers={201: answer("created", ref("AccountWithLink"), headers=("Location",))},
    problems=(409,),
    body=json_body("NewAccount"),
)
def post_account() -> Response:
    by = _manager()
    body = uploads.read_json(request)
    if body.keys() != {"name", "role"} or not isinstance(body["name"], str):
        raise MalformedInput("an account has name and role", code="json_malformed")
    role = parse_role(body["role"])
    account, secret = office().people.create_account(by.name, body["name"], role)
    return as_json(
        {
            "account": present.account(account),
            "sign_in_link": f"{office().settings.base_url}/sign-in/{secret}",
        },
        201,
        {"Location": f"/v1/accounts/{account.id}"},
    )


@bp.get("/accounts")
@describe("List accounts", answers={200: answer("a page", page_of("Account"))}, parameters=PAGE)
def list_accounts() -> Response:
    _manager()
    wanted = paging.limit()
    found = office().accounts.page(after=paging.after_text(), limit=wanted + 1)
    return as_json(paging.page(found, wanted, cursor=lambda a: a.id, show=present.account))


@bp.get("/accounts/<account_id>")
@describe(
    "One account",
    answers={200: answer("the account", ref("Account"))},
    problems=(404,),
    path={"account_id": UUID},
)
def show_account(account_id: str) -> Response:
    _manager()
    return as_json(present.account(office().accounts.get(account_id)))


@bp.patch("/accounts/<account_id>")
@describe(
    "Change the role, or disable the account",
    answers={200: answer("changed", ref("Account"))},
    problems=(404, 409),
    body=json_body("AccountChange"),
    path={"account_id": UUID},
)
def patch_account(account_id: str) -> Response:
    by = _manager()
    account = office().accounts.get(account_id)
    body = uploads.read_json(request)
    if (
        not body
        or not body.keys() <= {"role", "disabled"}
        or body.get("disabled", True) is not True
    ):
        raise MalformedInput("send role, or disabled: true", code="json_malformed")
    if "role" in body:
        office().people.change_role(by.name, account, parse_role(body["role"]))
    if "disabled" in body:
        office().people.disable(by.name, account)
    return as_json(present.account(office().accounts.get(account_id)))


@bp.post("/accounts/<account_id>/links")
@describe(
    "Make a one-time sign-in link for one who lost link or password",
    answers={201: answer("made", ref("SignInLink"))},
    problems=(404,),
    path={"account_id": UUID},
)
def post_link(account_id: str) -> Response:
    by = _manager()
    secret = office().people.new_link(by.name, office().accounts.get(account_id))
    return as_json({"sign_in_link": f"{office().settings.base_url}/sign-in/{secret}"}, 201)


@bp.post("/accounts/<account_id>/keys")
@describe(
    "Make an API key; its secret is shown once",
    answers={201: answer("made", ref("ApiKeyWithSecret"))},
    problems=(404,),
    body=json_body("NewApiKey"),
    path={"account_id": UUID},
)
def post_key(account_id: str) -> Response:
    by = owner_or_manager(account_id)
    account = office().accounts.get(account_id)
    body = uploads.read_json(request)
    label, scopes, days = body.get("label"), body.get("scopes"), body.get("days", DEFAULT_KEY_DAYS)
    if (
        not body.keys() <= {"label", "scopes", "days"}
        or not isinstance(label, str)
        or not (
            "scopes" not in body
            or (isinstance(scopes, list) and scopes and all(isinstance(s, str) for s in scopes))
        )
        or not isinstance(days, int)
        or isinstance(days, bool)
    ):
        raise MalformedInput("a key has label, and may have scopes and days", code="json_malformed")
    key, secret = office().people.create_key(
        by.name, account, label=label, scopes=scopes, days=days
    )
    return as_json({"key": present.api_key(key), "secret": secret}, 201)


@bp.get("/accounts/<account_id>/keys")
@describe(
    "List an account's API keys",
    answers={200: answer("the keys", {"type": "array", "items": ref("ApiKey")})},
    problems=(404,),
    path={"account_id": UUID},
)
def list_keys(account_id: str) -> Response:
    owner_or_manager(account_id)
    office().accounts.get(account_id)
    return as_json([present.api_key(key) for key in office().accounts.keys_of(account_id)])


@bp.delete("/accounts/<account_id>/keys/<key_id>")
@describe(
    "Revoke an API key",
    answers={204: answer("revoked")},
    problems=(404,),
    path={"account_id": UUID, "key_id": TEXT},
)
def delete_key(account_id: str, key_id: str) -> Response:
    by = owner_or_manager(account_id)
    key = office().accounts.key(key_id)
    if key.account_id != account_id:
        raise NotFound("no such key", code="key_not_found")
    office().people.revoke_key(by.name, key)
    return Response(status=204)


@bp.get("/events")
@describe(
    "Custody events of the whole house, in ledger order",
    answers={200: answer("a page", page_of("CustodyEvent"))},
    parameters=PAGE,
)
def list_events() -> Response:
    access.check(auth.principal(), Act.READ_EVENTS)
    wanted = paging.limit()
    found = office().register.events(after=paging.after_index(), limit=wanted + 1)
    return as_json(paging.page(found, wanted, cursor=lambda e: str(e.index), show=present.event))


def owner_or_manager(account_id: str) -> Principal:
    """People may hold keys of their own; others' keys are the administrator's to manage."""
    by = auth.principal()
    own = by.account_id == account_id and by.authenticated_by != "api-key"
    access.check(
        by, Act.OWN_KEYS if own and by.role is not Role.ADMINISTRATOR else Act.MANAGE_ACCOUNTS
    )
    return by


def parse_role(value: object) -> Role:
    if not isinstance(value, str) or value not in set(Role):
        raise MalformedInput(
            f"role is {value!r:.40}; known: {', '.join(Role)}", code="value_malformed"
        )
    return Role(value)
