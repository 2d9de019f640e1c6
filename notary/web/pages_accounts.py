"""For administrators: accounts and their keys. Everybody who may hold keys sees their own."""

from __future__ import annotations

from flask import Response, request

from notary import access
from notary.access import TABLE, Act
from notary.accounts import Account
from notary.errors import MalformedInput, NotFound, Rejected
from notary.model import Principal, Role
from notary.people import DEFAULT_KEY_DAYS, MOST_KEY_DAYS
from notary.web import paging, people
from notary.web.auth import office
from notary.web.pages_frame import bp, go, in_other_language, link, may, person, render, said


def _manager() -> Principal:
    by = person()
    access.check(by, Act.MANAGE_ACCOUNTS)
    return by


@bp.get("/accounts")
def accounts() -> Response:
    _manager()
    return _accounts()


@bp.post("/accounts")
def create_account() -> Response:
    by = _manager()
    name, role = request.form.get("name", ""), request.form.get("role", "")
    try:
        account, secret = office().people.create_account(by.name, name, people.parse_role(role))
    except Rejected as refused:
        return _accounts(refused, name=name, role=role)
    return _link(account, secret)


def _link(account: Account, secret: str) -> Response:
    # Shown in the answer itself and never again: there is no page to come back to.
    return render(
        "secret.html",
        201,
        kind="link",
        account=account,
        secret=f"{office().settings.base_url}/sign-in/{secret}",
    )


def _accounts(refused: Rejected | None = None, *, name: str = "", role: str = "") -> Response:
    wanted = paging.limit()
    found = office().accounts.page(after=paging.after_text(), limit=wanted + 1)
    problem = None if refused is None else said(refused)
    return render(
        "accounts.html",
        200 if problem is None else problem.status,
        page=paging.page(found, wanted, cursor=lambda a: a.id, show=lambda a: a),
        first="after" not in request.args,
        roles=list(Role),
        problem=problem,
        name=name,
        role=role,
        switch=in_other_language("pages.accounts", after=request.args.get("after")),
    )


@bp.get("/accounts/<account_id>")
def account(account_id: str) -> Response:
    by = person()
    people.owner_or_manager(account_id)
    return _account(by, account_id)


def _account(by: Principal, account_id: str, refused: Rejected | None = None) -> Response:
    found = office().accounts.get(account_id)
    problem = None if refused is None else said(refused)
    return render(
        "account.html",
        200 if problem is None else problem.status,
        account=found,
        keys=office().accounts.keys_of(account_id),
        roles=list(Role),
        scopes=list(TABLE[found.role]),
        days=DEFAULT_KEY_DAYS,
        most_days=MOST_KEY_DAYS,
        manages=may(by, Act.MANAGE_ACCOUNTS),
        own=found.id == by.account_id,
        problem=problem,
        switch=in_other_language("pages.account", account_id=account_id),
    )


@bp.post("/accounts/<account_id>/role")
def change_role(account_id: str) -> Response:
    by = _manager()
    found = office().accounts.get(account_id)
    try:
        office().people.change_role(by.name, found, people.parse_role(request.form.get("role")))
    except Rejected as refused:
        return _account(by, account_id, refused)
    return go(link("pages.account", account_id=account_id))


@bp.post("/accounts/<account_id>/disable")
def disable_account(account_id: str) -> Response:
    by = _manager()
    try:
        office().people.disable(by.name, office().accounts.get(account_id))
    except Rejected as refused:
        return _account(by, account_id, refused)
    return go(link("pages.account", account_id=account_id))


@bp.post("/accounts/<account_id>/link")
def make_link(account_id: str) -> Response:
    by = _manager()
    found = office().accounts.get(account_id)
    return _link(found, office().people.new_link(by.name, found))


@bp.post("/accounts/<account_id>/keys")
def make_key(account_id: str) -> Response:
    by = person()
    people.owner_or_manager(account_id)
    found = office().accounts.get(account_id)
    try:
        key, secret = office().people.create_key(
            by.name,
            found,
            label=request.form.get("label", ""),
            scopes=request.form.getlist("scope") or None,
            days=_days(request.form.get("days", "")),
        )
    except Rejected as refused:
        return _account(by, account_id, refused)
    return render("secret.html", 201, kind="key", account=found, key=key, secret=secret)


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise MalformedInput(f"days is {text!r:.20}", code="value_malformed")
    return int(text)


@bp.post("/accounts/<account_id>/keys/<key_id>/revoke")
def revoke_key(account_id: str, key_id: str) -> Response:
    by = person()
    people.owner_or_manager(account_id)
    key = office().accounts.key(key_id)
    if key.account_id != account_id:
        raise NotFound("no such key", code="key_not_found")
    office().people.revoke_key(by.name, key)
    return go(link("pages.account", account_id=account_id))
