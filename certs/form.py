"""A court profile filled in for one certificate: what is asserted by whom, and what is left blank.

The paper and `profile.json` are both drawn from this value. The form is no part of what the
certificate's signature covers; what it says of the file stands there in signed form.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from certs.canonical import canonical
from certs.certificate import Certificate
from certs.errors import FactMissing, FactRefused
from certs.known import Beside, Lines, known_facts
from certs.profile import HAND, Fact, Part, Profile, Words
from certs.sections import read_sections
from certs.wording import LANGS, Lang, PaperLang, load_wording

TYPE: Final = "court-profile-form/v1"
FILE_NAME: Final = "profile.json"
MEDIA_TYPE: Final = "application/json"
MAX_STATED_CHARS: Final = 2000
MAX_NAME_CHARS: Final = 300

DRAFT: Final = Words(
    en="Draft for review by counsel. Not legal advice. Nothing on this form is a statement by any "
    "person until that person has completed and signed it.",
    zh="本表为草稿，须经律师审阅，不构成法律意见。任何人填写并签名之前，本表所载内容均不是该人的陈述。",
)
"""On every form, and no profile can leave it out."""


class Answered(StrEnum):
    """How a fact stands. BLANK and NOT_RECORDED are what `unsatisfied` lists."""

    ASSERTED = "asserted_by_system"
    STATED = "stated"
    DEPOSITED = "stated_by_depositor"
    BLANK = "blank"
    NOT_RECORDED = "not_recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a named person states of one fact. `entered_by` is the account that wrote it down,
    which vouches for nothing. Of a choice, `value` is the id of what is ticked."""

    value: str
    stated_by: str
    capacity: str | None
    entered_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One fact of the form; `lines` is empty unless there is an answer."""

    fact: Fact
    answered: Answered
    lines: Lines = ()
    stated: Stated | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledPart:
    part: Part
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """`unsatisfied` are the ids of the facts that nobody has answered, in the form's order."""

    profile: Profile
    lang: PaperLang
    certificate_id: str
    certificate_version: int
    withheld: tuple[str, ...]
    parts: tuple[FilledPart, ...]

    @property
    def unsatisfied(self) -> tuple[str, ...]:
        return tuple(
            answer.fact.id
            for part in self.parts
            for answer in part.answers
            if answer.answered in (Answered.BLANK, Answered.NOT_RECORDED)
        )

    def encode(self) -> bytes:
        """`profile.json`: RFC 8785 canonical JSON, for machines that fill in or file the form."""
        profile = self.profile
        return canonical(
            {
                "type": TYPE,
                "profile": profile.id,
                "profile_version": profile.version,
                "lang": self.lang,
                "certificate_id": self.certificate_id,
                "certificate_version": self.certificate_version,
                "draft": _texts(DRAFT, self.lang),
                "withheld": list(self.withheld),
                "statements": [
                    _statement(part.part, answer, self.lang)
                    for part in self.parts
                    for answer in part.answers
                ],
                "unsatisfied": list(self.unsatisfied),
                "proves": [_texts(words, self.lang) for words in profile.proves],
                "proves_not": [_texts(words, self.lang) for words in profile.proves_not],
                "sources": [
                    {
                        "id": source.id,
                        "rule": _texts(source.rule, self.lang),
                        "requires": _texts(source.requires, self.lang),
                        "read": source.read,
                    }
                    for source in profile.sources
                ],
            }
        )


def fill_form(
    profile: Profile,
    certificate: Certificate,
    *,
    lang: PaperLang,
    beside: Beside | None = None,
    stated: Mapping[str, Stated] | None = None,
) -> Form:
    """The form of `profile` for `certificate`, with what people have `stated` by fact id.

    Raises FactMissing when the system has no answer to a fact that it must assert, FactRefused
    for a statement about a fact that the profile has not, that is the system's own, or that only
    a hand can make; CertificateMalformed when the certificate's record cannot be read.
    """
    given = {} if stated is None else stated
    known = known_facts(certificate, load_wording(lang), Beside() if beside is None else beside)
    sections = read_sections(certificate)
    withheld = tuple(sorted(sections.withheld))
    _check_stated(profile, given)
    return Form(
        profile=profile,
        lang=lang,
        certificate_id=certificate.certificate_id,
        certificate_version=certificate.version,
        withheld=withheld,
        parts=tuple(
            FilledPart(
                part=part,
                answers=tuple(
                    _answer(profile, fact, known, given.get(fact.id), lang, withheld)
                    for fact in part.facts
                ),
            )
            for part in profile.parts
        ),
    )


def _answer(
    profile: Profile,
    fact: Fact,
    known: Mapping[str, Lines],
    stated: Stated | None,
    lang: PaperLang,
    withheld: tuple[str, ...],
) -> Answer:
    lines = () if fact.value is None else known.get(fact.value, ())
    if fact.by == "system":
        if lines:
            return Answer(fact=fact, answered=Answered.ASSERTED, lines=lines)
        if fact.absent == "name":
            return Answer(fact=fact, answered=Answered.NOT_RECORDED)
        raise FactMissing(
            f"profile {profile.id!r} needs the fact {fact.id!r} ({fact.value}), which this "
            f"certificate does not show; withheld sections: {list(withheld) or 'none'}",
            fact=fact.id,
        )
    if stated is not None:
        return Answer(
            fact=fact, answered=Answered.STATED, lines=_said(fact, stated, lang), stated=stated
        )
    if lines:
        return Answer(fact=fact, answered=Answered.DEPOSITED, lines=lines)
    return Answer(fact=fact, answered=Answered.BLANK)


def _said(fact: Fact, stated: Stated, lang: PaperLang) -> Lines:
    for choice in fact.choices:
        if choice.id == stated.value:
            return choice.label.lines(lang)
    return tuple(stated.value.split("\n"))


def _check_stated(profile: Profile, given: Mapping[str, Stated]) -> None:
    facts = {fact.id: fact for fact in profile.facts()}
    for id_, stated in given.items():
        fact = facts.get(id_)
        if fact is None:
            raise FactRefused(f"profile {profile.id!r} has no fact {id_!r:.60}")
        if fact.by == "system":
            raise FactRefused(f"fact {id_!r} is the system's: nobody else can state it")
        if fact.kind in HAND:
            raise FactRefused(f"fact {id_!r} is for the hand of the {fact.by}: it stays blank")
        choices = [choice.id for choice in fact.choices]
        if choices and stated.value not in choices:
            raise FactRefused(f"fact {id_!r} is {stated.value!r:.60}, known are {choices}")
        _check_text(f"value of {id_!r}", stated.value, MAX_STATED_CHARS, breaks=True)
        _check_text(f"stated_by of {id_!r}", stated.stated_by, MAX_NAME_CHARS)
        if stated.capacity is not None:
            _check_text(f"capacity of {id_!r}", stated.capacity, MAX_NAME_CHARS)


def _check_text(what: str, text: str, most: int, *, breaks: bool = False) -> None:
    if not text.strip() or len(text) > most:
        raise FactRefused(f"{what} must have 1 to {most} characters, got {len(text)}")
    odd = [
        c for c in text if unicodedata.category(c) in ("Cc", "Cs") and not (breaks and c == "\n")
    ]
    if odd:
        raise FactRefused(f"{what} has the control character U+{ord(odd[0]):04X}")


def languages(lang: PaperLang) -> tuple[Lang, ...]:
    """The languages that a paper in `lang` is written in, English first."""
    return LANGS if lang == "en+zh" else (lang,)


def _texts(words: Words, lang: PaperLang) -> dict[str, str]:
    return {each: words.of(each) for each in languages(lang)}


def _statement(part: Part, answer: Answer, lang: PaperLang) -> dict[str, object]:
    fact, stated = answer.fact, answer.stated
    members: dict[str, object] = {
        "id": fact.id,
        "part": part.id,
        "by": fact.by,
        "kind": fact.kind,
        "label": _texts(fact.label, lang),
        "source": fact.source,
        "answered": answer.answered.value,
        "value": list(answer.lines),
    }
    if fact.text is not None:
        members["text"] = _texts(fact.text, lang)
    if fact.choices:
        members["choices"] = [choice.id for choice in fact.choices]
    if stated is not None:
        members["stated"] = {
            "value": stated.value,
            "stated_by": stated.stated_by,
            "capacity": stated.capacity,
            "entered_by": stated.entered_by,
        }
    return members
