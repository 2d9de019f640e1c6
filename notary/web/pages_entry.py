"""In and out: password, one-time link, setting a password."""

from __future__ import annotations

from flask import Response, request

from notary.access import Act
from notary.accounts import MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS, Account
from notary.errors import MalformedInput, Rejected, Unauthenticated
from notary.model import Principal, check_label
from notary.web import auth
from notary.web.auth import office
from notary.web.pages_frame import (
    bp,
    check_same_origin,
    go,
    in_other_language,
    link,
    local_address,
    may,
    person,
    render,
    said,
)

BY_PASSWORD, BY_LINK = "password", "link"


@bp.get("/sign-in")
def sign_in_page() -> Response:
    session = auth.session()
    if session is not None:
        return go(_start(session.principal))
    return render("sign-in.html", back=local_address(request.args.get("next")))


@bp.post("/sign-in")
def sign_in() -> Response:
    check_same_origin()
    name, back = request.form.get("name", ""), local_address(request.form.get("next"))
    try:
        account = _by_password(name, request.form.get("password", ""))
    except Unauthenticated as refused:
        return render(
            "sign-in.html",
            401,
            problem=said(refused),
            name=name,
            back=back,
            switch=in_other_language("pages.sign_in_page", next=back),
        )
    return _enter(account, by=BY_PASSWORD, then=back)


def _by_password(name: str, password: str) -> Account:
    try:
        name = check_label(name, what="account name", limit=200)
    except MalformedInput as exc:
        # No account has such a name; how a name has to look is nobody's business here.
        raise Unauthenticated("name or password is wrong", code="sign_in_refused") from exc
    return office().people.check_password(name, password)


@bp.get("/sign-in/<secret>")
def sign_in_link_page(secret: str) -> Response:
    """Spends nothing: programs that look at links before people do must not use them up."""
    return render("sign-in-link.html", secret=secret)


@bp.post("/sign-in/<secret>")
def sign_in_by_link(secret: str) -> Response:
    check_same_origin()
    account = office().accounts.spend_link(secret, office().clock.now())
    return _enter(account, by=BY_LINK, then=link("pages.password_page"))


def _enter(account: Account, *, by: str, then: str | None) -> Response:
    _end_session()
    secret = office().people.sign_in(account, by=by)
    who = Principal(
        account_id=account.id, name=account.name, role=account.role, authenticated_by=by
    )
    settings = office().settings
    response = go(then or _start(who))
    response.set_cookie(
        auth.COOKIE,
        secret,
        max_age=settings.session_hours * 3600,
        httponly=True,
        samesite="Lax",
        secure=settings.secure_cookies,
    )
    return response


def _start(by: Principal) -> str:
    if may(by, Act.MANAGE_ACCOUNTS):
        return link("pages.accounts")
    return link("pages.cases")


@bp.post("/sign-out")
def sign_out() -> Response:
    if (found := auth.session()) is not None:
        auth.check_csrf(request.form.get(auth.CSRF_FIELD))
        office().people.sign_out(found.principal.name, request.cookies[auth.COOKIE])
    response = go(link("pages.index"))
    response.delete_cookie(auth.COOKIE, httponly=True, samesite="Lax")
    return response


def _end_session() -> None:
    secret = request.cookies.get(auth.COOKIE)
    if secret:
        office().accounts.end_session(secret, office().clock.now())


# --- the password ---------------------------------------------------------------------------


@bp.get("/password")
def password_page() -> Response:
    return _password_form(person())


@bp.post("/password")
def set_password() -> Response:
    by = person()
    account = office().accounts.get(by.account_id)
    try:
        if _needs_old(by, account):
            office().people.check_password(account.name, request.form.get("old", ""))
        new = request.form.get("new", "")
        if new != request.form.get("again", ""):
            raise MalformedInput("the two new passwords differ", code="password_differs")
        office().people.set_password(account, new, keep=request.cookies[auth.COOKIE])
    except Rejected as refused:
        return _password_form(by, refused)
    return go(link("pages.password_page", done=1))


def _needs_old(by: Principal, account: Account) -> bool:
    """Who came in by a one-time link may have come because the old one is lost."""
    return account.has_password and by.authenticated_by != BY_LINK


def _password_form(by: Principal, refused: Rejected | None = None) -> Response:
    account = office().accounts.get(by.account_id)
    problem = None if refused is None else said(refused)
    return render(
        "password.html",
        200 if problem is None else problem.status,
        problem=problem,
        account=account,
        needs_old=_needs_old(by, account),
        least=MIN_PASSWORD_CHARS,
        most=MAX_PASSWORD_CHARS,
        done="done" in request.args and problem is None,
        start=_start(by),
        switch=in_other_language("pages.password_page"),
    )
