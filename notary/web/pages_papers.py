"""A paper made to order, for people: choose form, language, size and what is shown, then write down
what named persons state. The sheet itself comes from the same hands as the API's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flask import Response, request, url_for
from werkzeug.datastructures import MultiDict

from certs.form import DRAFT, Form, Stated
from certs.pdf import PAPERS
from certs.profile import HAND, Profile, load_profiles
from certs.wording import PAPER_LANGS
from notary import versions
from notary.access import Act
from notary.errors import MalformedInput, Rejected
from notary.forms import CUSTODY
from notary.model import Deposit, Principal
from notary.record import parse_disclosure
from notary.web import papers
from notary.web.auth import office
from notary.web.pages_frame import bp, go, in_other_language, language, may, person, render, said

SHOW_AGAIN = ("fact_missing", "section_unknown")
"""What another choice mends: the choices are shown again with it."""
_DIGEST = re.compile(r"[0-9a-f]{64,128}")


@bp.get("/deposits/<deposit_id>/paper")
def paper(deposit_id: str) -> Response:
    """The choices, again with `change`; with `profile` chosen, what is asserted and what may be
    written down."""
    by = person()
    found = _paper_of(by, deposit_id)
    if "profile" not in request.args or "change" in request.args:
        return _choices(by, found)
    try:
        want = _wanted(found, request.args)
        if want.profile is None:
            return go(_plain(found, want))
        return _form(by, found, want, want.profile)
    except Rejected as refused:
        if refused.code not in SHOW_AGAIN:
            raise
        return _choices(by, found, refused)


@bp.post("/deposits/<deposit_id>/paper")
def make_paper(deposit_id: str) -> Response:
    """The PDF; or, where `preview` was pressed, the form again with what would stay open."""
    by = person()
    found = _paper_of(by, deposit_id)
    want = _wanted(found, request.form)
    if want.profile is None:
        raise MalformedInput("the form names no court profile", code="value_malformed")
    stated = _stated(by, want.profile)
    try:
        if "preview" in request.form:
            return _form(by, found, want, want.profile, stated)
        return papers.with_statements(by, found.id, want, want.profile, stated)
    except MalformedInput as refused:
        if refused.code != "fact_refused":
            raise
        return _form(by, found, want, want.profile, stated, refused)


def _paper_of(by: Principal, deposit_id: str) -> Deposit:
    """Raises NotAllowed, NotFound, Gone (`deposit_disposed`, `certificate_withdrawn`)."""
    found = office().intake.known_deposit(by, deposit_id, Act.ISSUE_CERTIFICATE)
    versions.check_not_withdrawn(office().withdrawing.events(found.id))
    return found


def _sections(found: Deposit) -> tuple[str, ...]:
    return tuple(parse_disclosure(text)[0] for text in found.disclosures)


def _wanted(found: Deposit, given: MultiDict[str, str]) -> papers.Asked:
    """All sections that there are make the certificate itself, no redacted one. Raises
    MalformedInput (`value_malformed`, `section_unknown`), NotFound (`profile_not_found`)."""
    shown = tuple(dict.fromkeys(given.getlist("show")))
    if not shown:
        raise MalformedInput("choose at least one section to show", code="section_unknown")
    profile = given.get("profile", "")
    return papers.Asked(
        lang=papers.language_named(given.get("language", "en")),
        paper=papers.size_named(given.get("size", "a4")),
        profile=office().forms.profile(profile) if profile else None,
        sections=None if set(shown) == set(_sections(found)) else shown,
    )


def _plain(found: Deposit, want: papers.Asked) -> str:
    """Where the certificate alone is downloaded."""
    more: dict[str, Any] = {}
    if want.sections is not None:
        more = {"sections": ",".join(want.sections)}
    return url_for(
        "v1.certificate_pdf", deposit_id=found.id, lang=want.lang, paper=want.paper, **more
    )


def _choices(by: Principal, found: Deposit, refused: Rejected | None = None) -> Response:
    problem = None if refused is None else said(refused)
    trail = may(by, Act.READ_CUSTODY)
    return render(
        "paper.html",
        200 if problem is None else problem.status,
        deposit=found,
        problem=problem,
        profiles=[each for each in load_profiles().values() if trail or not _has_trail(each)],
        languages=PAPER_LANGS,
        sizes=PAPERS,
        sections=_sections(found),
        chosen={
            "profile": request.args.get("profile", ""),
            "language": request.args.get("language", language()).replace(" ", "+"),
            "size": request.args.get("size", PAPERS[0]),
            "show": request.args.getlist("show") or _sections(found),
        },
    )


def _has_trail(profile: Profile) -> bool:
    return any(fact.value == CUSTODY for fact in profile.facts())


def _form(
    by: Principal,
    found: Deposit,
    want: papers.Asked,
    profile: Profile,
    stated: Mapping[str, Stated] | None = None,
    refused: MalformedInput | None = None,
) -> Response:
    """What is refused of `stated` stands in its field again, and is not counted as answered.

    Raises what `papers.issued_for` and `papers.filled` do."""
    deposit, issued = papers.issued_for(by, found.id, want)
    answered = {} if stated is None or refused is not None else stated
    form = papers.filled(by, deposit, issued, _here(want), answered)
    assert form is not None
    problem = None if refused is None else said(refused)
    chosen: dict[str, Any] = {
        "profile": profile.id,
        "language": want.lang,
        "size": want.paper,
        "show": _sections(found) if want.sections is None else want.sections,
    }
    return render(
        "form.html",
        200 if problem is None else problem.status,
        deposit=found,
        form=form,
        profile=profile,
        open=_open(form),
        draft=DRAFT,
        hand=HAND,
        chosen=chosen,
        withheld=form.withheld,
        given=request.form,
        previewed="preview" in request.form and problem is None,
        problem=problem,
        is_digest=_DIGEST.fullmatch,
        nameless=_nameless(profile, stated or {}) if refused is not None else (),
        **({} if request.method == "POST" else {"switch": _switch(found, chosen)}),
    )


def _here(want: papers.Asked) -> papers.Asked:
    """As the reader of the page reads it, whatever the paper will be written in."""
    return papers.Asked(
        lang=language(), paper=want.paper, profile=want.profile, sections=want.sections
    )


def _switch(found: Deposit, chosen: dict[str, Any]) -> str:
    return in_other_language("pages.paper", deposit_id=found.id, **chosen)


def _open(form: Form) -> tuple[Any, ...]:
    """The answers that nobody has given."""
    unsatisfied = set(form.unsatisfied)
    return tuple(
        answer for part in form.parts for answer in part.answers if answer.fact.id in unsatisfied
    )


def _nameless(profile: Profile, stated: Mapping[str, Stated]) -> tuple[str, ...]:
    """The facts written down without the person who states them, by their labels."""
    return tuple(
        fact.label.of(language())
        for fact in profile.facts()
        if fact.id in stated and not stated[fact.id].stated_by
    )


def _stated(by: Principal, profile: Profile) -> dict[str, Stated]:
    """Whatever the form says, of whichever fact: `fill_form` decides what it takes. Blank is not
    stated. Who is named for a part states its facts, but where a fact names somebody else."""
    signs = {fact.id: (part.id, fact.by) for part in profile.parts for fact in part.facts}
    found: dict[str, Stated] = {}
    for field in request.form:
        kind, _, id_ = field.partition(".")
        if kind != "value":
            continue
        value, other = _text(field), _text(f"person.{id_}")
        capacity = _text(f"capacity.{id_}")
        if not (value or other or capacity):
            continue
        who = other
        if not other:
            part = ".".join(signs.get(id_, ("", "")))
            who, capacity = _text(f"person.{part}"), capacity or _text(f"capacity.{part}")
        found[id_] = Stated(
            value=value, stated_by=who, capacity=capacity or None, entered_by=by.name
        )
    return found


def _text(name: str) -> str:
    """Browsers send CR LF where a line ends."""
    return request.form.get(name, "").replace("\r\n", "\n").strip()
