"""What every page has: a language, a frame, who is signed in; and the page of an error."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from apiflask import APIBlueprint
from flask import Response, g, render_template, request, url_for

from certs.wording import LANGS, Lang
from notary.access import TABLE, Act
from notary.clock import parse_rfc3339, rfc3339
from notary.errors import NotAllowed, NotaryError, Unauthenticated
from notary.model import Principal
from notary.web import auth, problems, words
from notary.web.auth import office

bp = APIBlueprint("pages", __name__, enable_openapi=False)


def wants_page() -> bool:
    """A browser that navigates, not a program: it ranks HTML before JSON, outside /v1; or it
    says itself that a person follows a link, to a download perhaps."""
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    programs = request.path.startswith(("/v1/", "/log/"))
    person = request.headers.get("Sec-Fetch-Dest") == "document" and request.method == "GET"
    return best == "text/html" and (person or not programs)


def language() -> Lang:
    """`?lang=`, else the browser's preference, else English. An unknown one is no error here:
    the page of that error would need a language too."""
    for lang in LANGS:
        if request.args.get("lang") == lang:
            return lang
    best = request.accept_languages.best_match(["en", "zh", "zh-CN", "zh-Hans"], "en")
    return "zh" if best.startswith("zh") else "en"


def link(endpoint: str, **values: Any) -> str:
    """The address of one of our pages, in the reader's language."""
    return url_for(endpoint, lang=language(), **values)


def in_other_language(endpoint: str, **values: Any) -> str:
    return url_for(endpoint, lang=words.other(language()), **values)


def person(*, streamed_form: bool = False) -> Principal:
    """Who is signed in. Pages are for people: a key, which may be narrowed, opens none of them.

    Raises Unauthenticated, NotAllowed (`csrf`).
    """
    by = auth.principal(streamed_form=streamed_form)
    if not auth.by_session():
        raise Unauthenticated("pages are for people who signed in; programs use /v1")
    return by


def may(by: Principal | None, act: Act) -> bool:
    """Whether to show the way to it; each view checks for itself."""
    return by is not None and act in TABLE[by.role]


def render(template: str, status: int = 200, **context: Any) -> Response:
    """`by` comes by itself unless given. What answers a POST gives as `switch` the address where
    the same can be read in the other language; nothing, where it is shown this once."""
    lang = language()
    spoken = words.load_words(lang)
    if "by" not in context:
        session = auth.session()
        context["by"] = None if session is None else session.principal
        context["csrf"] = None if session is None else session.csrf
    if request.method in ("GET", "HEAD"):
        context["switch"] = _same_page(words.other(lang))
    by = context["by"]
    page = render_template(
        template,
        **context,
        lang=lang,
        other=words.other(lang),
        html_lang=words.HTML_LANG,
        t=spoken.text,
        has=spoken.texts.__contains__,
        known=lambda family, code: spoken.texts.get(f"{family}.{code}", code),
        moment=spoken.moment,
        rfc3339=rfc3339,
        parsed=parse_rfc3339,
        base_url=office().settings.base_url,
        now=office().clock.now(),
        link=link,
        may=lambda act: may(by, Act(act)),
        shown=words.shown,
        plain=words.plain,
        groups=words.groups,
        count=words.count,
        about=words.about,
    )
    response = Response(page, status=status, content_type="text/html; charset=utf-8")
    response.headers["Content-Language"] = words.HTML_LANG[lang]
    # Stricter, and a browser would hide the origin that `check_same_origin` asks for.
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _same_page(lang: Lang) -> str:
    asked = [(name, value) for name, value in request.args.items(multi=True) if name != "lang"]
    return f"{request.path}?{urlencode([*asked, ('lang', lang)])}"


def go(address: str) -> Response:
    """After a POST: to the page that shows what came of it."""
    return Response(status=303, headers={"Location": address})


def said(error: NotaryError) -> problems.Problem:
    """For a form that is shown again with what was wrong."""
    return problems.problem_of(error)


def problem_page(problem: problems.Problem) -> Response:
    """Who has to sign in first is led there and back; everybody else reads what happened."""
    if problem.status == 401 and request.method == "GET" and request.path != "/sign-in":
        back = request.full_path.rstrip("?")
        return go(link("pages.sign_in_page", next=back))
    quiet: dict[str, Any] = {}
    if problem.status >= 500:
        quiet = {"by": None, "csrf": None}  # whatever fails now may be what sessions are kept in
    title = f"problem.{problem.code}"
    spoken = words.load_words(language())
    page = render(
        "problem.html",
        problem.status,
        problem=problem,
        title=spoken.texts.get(title, problem.title),
        request_id=g.request_id,
        **quiet,
    )
    for name, value in problems.respond(problem).headers.items():
        if name not in ("Content-Type", "Content-Length"):
            page.headers[name] = value
    return page


def check_same_origin() -> None:
    """For forms of people without a session, hence without a token: only our own pages may send
    them. Raises NotAllowed (`csrf`)."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    ours = {request.host, urlsplit(office().settings.base_url).netloc}
    if origin is not None and urlsplit(origin).netloc not in ours:
        raise NotAllowed(f"the form was sent from {origin!r:.80}", code="csrf")
    if site not in (None, "same-origin", "none"):
        raise NotAllowed(f"the form was sent from a {site!r:.20} page", code="csrf")
    if origin is None and site is None:
        raise NotAllowed("the form does not say which page sent it", code="csrf")


def local_address(address: str | None) -> str | None:
    """`address` where it is one of this service, else None: no one is led elsewhere from here."""
    if not address or not address.startswith("/") or address.startswith(("//", "/\\")):
        return None
    if any(ord(character) < 33 for character in address):
        return None
    return address
