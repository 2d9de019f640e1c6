"""Who is asking → Principal. API keys by header, people by session cookie with a CSRF token."""

from __future__ import annotations

import hmac

from flask import current_app, g, request

from notary.accounts import Session
from notary.errors import NotAllowed, Unauthenticated
from notary.model import Principal
from notary.office import Office

COOKIE = "evidence_session"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def office() -> Office:
    """The house behind this application."""
    found: Office = current_app.extensions["office"]
    return found


def principal(*, streamed_form: bool = False) -> Principal:
    """Raises Unauthenticated. A session that would change something must show its CSRF token in
    the header or in the form; a view that reads a multipart form as it arrives says so with
    `streamed_form`, and checks the field itself (`check_csrf`)."""
    bearer = request.headers.get("Authorization", "")
    if bearer:
        scheme, _, secret = bearer.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(f"authorization scheme {scheme!r:.40}: send Bearer <key>")
        return office().accounts.by_api_key(secret.strip(), office().clock.now())
    found = session()
    if found is None:
        raise Unauthenticated("send Authorization: Bearer <key>, or sign in")
    streamed = streamed_form and request.mimetype == "multipart/form-data"
    if request.method not in _SAFE and not streamed:
        check_csrf(request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD))
    return found.principal


def session() -> Session | None:
    """The signed-in session, if there is one; looked up once per request."""
    if "session" not in g:
        secret = request.cookies.get(COOKIE)
        g.session = None
        if secret:
            try:
                g.session = office().accounts.by_session(secret, office().clock.now())
            except Unauthenticated:
                g.session = None
    found: Session | None = g.session
    return found


def by_session() -> bool:
    return not request.headers.get("Authorization") and session() is not None


def check_csrf(shown: str | None) -> None:
    """Raises NotAllowed (`csrf`)."""
    found = session()
    if (
        found is None
        or shown is None
        or not hmac.compare_digest(shown.encode(), found.csrf.encode())
    ):
        raise NotAllowed("the form's token is missing or not this session's", code="csrf")
