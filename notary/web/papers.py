"""/v1: court profiles, and papers made for one purpose. Handlers are who, parse, act, present."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from apiflask import APIBlueprint
from flask import Response, json, request

from certs.form import FILE_NAME, Form, Stated
from certs.pdf import PAPERS, Paper
from certs.profile import Fact, Profile, Words, load_profiles
from certs.wording import PAPER_LANGS, PaperLang
from notary.access import Act
from notary.errors import MalformedInput
from notary.forms import CUSTODY
from notary.issue import Issued
from notary.model import Deposit, EventKind, Principal
from notary.web import auth, uploads
from notary.web.auth import office
from notary.web.openapi import BYTES, UUID, answer, describe, json_body, query, ref

bp = APIBlueprint("papers", __name__, url_prefix="/v1", enable_openapi=False)

LANG = query(
    "lang",
    {"type": "string", "enum": [*PAPER_LANGS]},
    "language of the paper; `en+zh` is both on one sheet",
)
PROFILE = {"type": "string", "enum": [*load_profiles()]}
SECTIONS = query(
    "sections",
    {"type": "string", "pattern": "^[a-z]+(,[a-z]+)*$"},
    "show only these sections of the record, separated by commas; the others are withheld",
)
FORM = query("profile", PROFILE, "court profile to fill in", required=True)
PAPER = query("paper", {"type": "string", "enum": [*PAPERS]}, "size of the paper, default a4")
ANY_FORM = query("profile", PROFILE, "court profile to fill in")
PARAMETERS = [LANG, PAPER, ANY_FORM, SECTIONS]
ID = {"deposit_id": UUID}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What kind of paper is wanted. `sections` is None for all of them."""

    lang: PaperLang
    paper: Paper
    profile: Profile | None
    sections: tuple[str, ...] | None


def asked() -> Asked:
    """Raises MalformedInput, NotFound (`profile_not_found`)."""
    profile = request.args.get("profile")
    return Asked(
        lang=paper_language(),
        paper=paper_size(),
        profile=None if profile is None else office().forms.profile(profile),
        sections=sections(),
    )


def paper_language() -> PaperLang:
    """`?lang=`, else the browser's preference, else English. A plus sign in a query is a space."""
    given = request.args.get("lang")
    if given is None:
        best = request.accept_languages.best_match(["en", "zh", "zh-CN", "zh-Hans"], "en")
        return "zh" if best.startswith("zh") else "en"
    return language_named(given)


def language_named(given: str) -> PaperLang:
    """Raises MalformedInput (`value_malformed`)."""
    for lang in PAPER_LANGS:
        if given.replace(" ", "+") == lang:
            return lang
    raise MalformedInput(f"lang is {given!r:.20}; known: en, zh, en+zh", code="value_malformed")


def paper_size() -> Paper:
    """`?paper=`, else A4."""
    return size_named(request.args.get("paper", "a4"))


def size_named(given: str) -> Paper:
    """Raises MalformedInput (`value_malformed`)."""
    for paper in PAPERS:
        if given == paper:
            return paper
    raise MalformedInput(
        f"paper is {given!r:.20}; known: {', '.join(PAPERS)}", code="value_malformed"
    )


def sections() -> tuple[str, ...] | None:
    given = request.args.get("sections")
    if given is None:
        return None
    names = given.split(",")
    if len(set(names)) != len(names) or not all(names):
        raise MalformedInput(
            f"sections are {given!r:.80}: names, each once, separated by commas",
            code="section_unknown",
        )
    return tuple(names)


def showing(issued: Issued, names: tuple[str, ...] | None) -> Issued:
    """The certificate with only these sections; as it is where all were asked for."""
    if names is None:
        return issued
    certificate = office().forms.redacted(issued.certificate, names)
    return replace(issued, certificate=certificate, json=certificate.encode())


def filled(
    by: Principal, deposit: Deposit, issued: Issued, want: Asked, stated: Mapping[str, Stated]
) -> Form | None:
    """The form that was asked for. One with the custody trail is for who may read that."""
    if want.profile is None:
        return None
    if any(fact.value == CUSTODY for fact in want.profile.facts()):
        office().intake.known_deposit(by, deposit.id, Act.READ_CUSTODY)
    return office().forms.fill(
        want.profile, deposit, issued.certificate, lang=want.lang, stated=stated
    )


def paper_name(deposit: Deposit, want: Asked) -> str:
    profile = "" if want.profile is None else f"-{want.profile.id}"
    return f"certificate-{deposit.id}{profile}-{want.lang.replace('+', '-')}.pdf"


@bp.get("/profiles")
@describe(
    "The court profiles: what each needs, and who asserts it",
    answers={200: answer("the profiles", ref("Profiles"))},
    public=True,
)
def list_profiles() -> Response:
    return _json({"items": [_profile(profile) for profile in load_profiles().values()]})


@bp.get("/deposits/<deposit_id>/profile.json")
@describe(
    "A court profile filled in for the certificate, as data; `unsatisfied` lists what is blank",
    answers={200: answer("the form", {"type": "object"})},
    problems=(404, 409, 410),
    parameters=[
        LANG,
        FORM,
        SECTIONS,
    ],
    path=ID,
)
def profile_json(deposit_id: str) -> Response:
    by = auth.principal()
    want = asked()
    if want.profile is None:
        raise MalformedInput("name a profile; GET /v1/profiles lists them", code="value_malformed")
    deposit, issued = issued_for(by, deposit_id, want)
    form = filled(by, deposit, issued, want, {})
    assert form is not None
    return _file(form.encode(), "application/json", f"{FILE_NAME[:-5]}-{deposit.id}.json")


@bp.post("/deposits/<deposit_id>/certificate.pdf")
@describe(
    "The certificate with a court profile, in which named people's statements are written",
    answers={200: answer("the paper", BYTES, media="application/pdf")},
    problems=(404, 409, 410),
    parameters=[
        LANG,
        PAPER,
        FORM,
        SECTIONS,
    ],
    body=json_body("StatedFacts"),
    path=ID,
)
def certificate_with_statements(deposit_id: str) -> Response:
    by = auth.principal()
    want = asked()
    if want.profile is None:
        raise MalformedInput("name a profile; GET /v1/profiles lists them", code="value_malformed")
    stated = _stated(uploads.read_json(request), by)
    return with_statements(by, deposit_id, want, want.profile, stated)


def with_statements(
    by: Principal,
    deposit_id: str,
    want: Asked,
    profile: Profile,
    stated: Mapping[str, Stated],
) -> Response:
    """The paper with what people state written in, as a download, once the ledger has it that this
    account wrote it down. `profile` is the one of `want`.

    Raises what `issued_for` and `filled` do.
    """
    deposit, issued = issued_for(by, deposit_id, want)
    form = filled(by, deposit, issued, want, stated)
    assert form is not None
    pdf = office().issue.pdf(issued, lang=want.lang, paper=want.paper, form=form)
    # The statements are not kept; the ledger keeps which ones this account wrote down.
    digest = hashlib.sha256(form.encode()).hexdigest()
    office().chronicle.record(
        EventKind.DOWNLOADED,
        actor=by.name,
        deposit_id=deposit.id,
        case_id=deposit.case_id,
        subject=f"certificate.pdf for {profile.id}, profile.json sha-256 {digest}",
    )
    return _file(pdf, "application/pdf", paper_name(deposit, want))


def issued_for(by: Principal, deposit_id: str, want: Asked) -> tuple[Deposit, Issued]:
    """The deposit, and its certificate with the sections that are wanted. Raises what
    `known_deposit`, `Issue.certificate` and `showing` do."""
    deposit = office().intake.known_deposit(by, deposit_id, Act.ISSUE_CERTIFICATE)
    return deposit, showing(office().issue.certificate(deposit, by=by), want.sections)


def _stated(body: dict[str, Any], by: Principal) -> dict[str, Stated]:
    facts = body.get("facts")
    if body.keys() != {"facts"} or not isinstance(facts, dict):
        raise MalformedInput("the body has `facts`, an object by fact id", code="json_malformed")
    return {id_: _one_stated(id_, given, by) for id_, given in facts.items()}


def _one_stated(id_: str, given: object, by: Principal) -> Stated:
    match given:
        case {"value": str(value), "stated_by": str(person), **rest} if not rest.keys() - {
            "capacity"
        }:
            capacity = rest.get("capacity")
            if capacity is None or isinstance(capacity, str):
                return Stated(value=value, stated_by=person, capacity=capacity, entered_by=by.name)
    raise MalformedInput(
        f"fact {id_!r:.60} has the texts value, stated_by and, if any, capacity",
        code="json_malformed",
    )


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "id": profile.id,
        "version": profile.version,
        "draft": True,
        "title": _words(profile.title),
        "jurisdiction": _words(profile.jurisdiction),
        "purpose": _words(profile.purpose),
        "sources": [
            {
                "id": source.id,
                "rule": _words(source.rule),
                "requires": _words(source.requires),
                "read": source.read,
            }
            for source in profile.sources
        ],
        "facts": [_fact(part.id, fact) for part in profile.parts for fact in part.facts],
        "proves": [_words(words) for words in profile.proves],
        "proves_not": [_words(words) for words in profile.proves_not],
    }


def _fact(part: str, fact: Fact) -> dict[str, Any]:
    return {
        "id": fact.id,
        "part": part,
        "by": fact.by,
        "kind": fact.kind,
        "label": _words(fact.label),
        "text": None if fact.text is None else _words(fact.text),
        "source": fact.source,
        "refused_without": fact.by == "system" and fact.absent == "refuse",
        "choices": [{"id": each.id, "label": _words(each.label)} for each in fact.choices],
    }


def _words(words: Words) -> dict[str, str]:
    return {"en": words.en, "zh": words.zh}


def _json(value: Any) -> Response:
    return Response(json.dumps(value), mimetype="application/json")


def _file(data: bytes, media: str, name: str) -> Response:
    response = Response(data, content_type=media)
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response
