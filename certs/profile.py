"""Court profiles: which facts a rule of evidence wants on paper, and whose word each of them is.

A profile is a file, `profiles/<id>.toml`, and holds no code. Three kinds of people speak in it and
are kept apart: the *system* (filled in from the certificate, or refused), a *party* and an
*expert* (left blank for the hand, or stated by a named person and shown as that person's words).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, TypeVar, cast

from certs.errors import ProfileMalformed
from certs.wording import Lang, PaperLang

By = Literal["system", "party", "expert"]
Kind = Literal["value", "text", "choice", "affirm", "sign"]
Absent = Literal["refuse", "name"]

BYS: tuple[By, ...] = ("system", "party", "expert")
HAND: tuple[Kind, ...] = ("affirm", "sign")
"""What nobody can state for another: an affirmation and a signature. Always blank."""
READ = ("text", "cited", "unread", "none")
"""How this project knows a source: read in its own text, cited by others, not read yet, or that
there is no rule at all."""
MAX_BYTES = 64 * 1024
MAX_LINES = 8

KNOWN = frozenset(
    (  # noqa: SIM905  # names read better than a column of quotes
        "certificate.number certificate.issued_at issuer.name issuer.software issuer.key "
        "registration.id content.name content.size content.digests content.sha-256 "
        "content.media_type content.original content.reread_at case.court case.number case.title "
        "case.exhibit depositor.account times.received_at times.registered_at "
        "times.timestamped_at ledger.origin ledger.entry ledger.root ledger.witnesses "
        "timestamps.authorities timestamps.tokens links.related custody.events process.receipt "
        "process.ledger process.check process.hash_report provenance.source provenance.tool "
        "provenance.device provenance.operator provenance.captured_at provenance.place "
        "provenance.environment provenance.steps"
    ).split()
)
"""What a certificate can answer. `known.known_facts` answers all of these and nothing else."""

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_FACT_ID = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One text in each language."""

    en: str
    zh: str

    def of(self, lang: Lang) -> str:
        return self.zh if lang == "zh" else self.en

    def lines(self, lang: PaperLang) -> tuple[str, ...]:
        """As a paper in `lang` has it: both, English first, where it is written in both."""
        if lang != "en+zh":
            return (self.of(lang),)
        return (self.en,) if self.en == self.zh else (self.en, self.zh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A rule: its name and section, what it asks for, and how well it was read here."""

    id: str
    rule: Words
    requires: Words
    read: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    id: str
    label: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact. `value` names where the system has it from (one of KNOWN); of a party's fact it
    names what the depositor stated at registration. `absent` says what happens when the system
    has none: the form is refused, or the absence is named. `lines` is the room for the hand."""

    id: str
    by: By
    kind: Kind
    label: Words
    source: str
    text: Words | None
    value: str | None
    absent: Absent
    lines: int
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the form, which one kind of person signs."""

    id: str
    title: Words
    note: Words | None
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`version` counts up whenever a word of the file changes."""

    id: str
    version: int
    title: Words
    jurisdiction: Words
    purpose: Words
    sources: tuple[Source, ...]
    parts: tuple[Part, ...]
    proves: tuple[Words, ...]
    proves_not: tuple[Words, ...]

    def facts(self) -> tuple[Fact, ...]:
        """All facts, in the order of the form."""
        return tuple(fact for part in self.parts for fact in part.facts)


# Cached: packaged files that cannot change while the program runs.
@cache
def load_profiles() -> Mapping[str, Profile]:
    """The profiles that come with the service, by id in alphabetical order.

    Raises ProfileMalformed for a file that is none, or whose name is not its id.
    """
    folder = resources.files("certs").joinpath("profiles")
    found = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if not path.name.endswith(".toml"):
            continue
        profile = parse_profile(path.read_bytes())
        if path.name != f"{profile.id}.toml":
            raise ProfileMalformed(f"file {path.name!r} holds the profile {profile.id!r}")
        found[profile.id] = profile
    return found


def parse_profile(data: bytes) -> Profile:
    """The profile in the bytes of a TOML file of at most MAX_BYTES. `docs/profiles.md` says what
    each member means.

    Raises ProfileMalformed for anything else: an unknown or missing member, a text in only one
    language, an id used twice, a source or a value that does not exist, a fact that its speaker
    cannot state.
    """
    if len(data) > MAX_BYTES:
        raise ProfileMalformed(f"profile has {len(data)} bytes, the limit is {MAX_BYTES}")
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise ProfileMalformed(f"profile is not TOML in UTF-8: {exc}") from exc
    top = _Table(table, "profile")
    top.only("id", "version", "title", "jurisdiction", "purpose", "source", "part", "proves",
             "proves_not")  # fmt: skip
    profile = Profile(
        id=top.name("id", _ID),
        version=top.integer("version", most=10_000),
        title=top.words("title"),
        jurisdiction=top.words("jurisdiction"),
        purpose=top.words("purpose"),
        sources=top.each("source", _source),
        parts=top.each("part", _part),
        proves=top.each("proves", _sentence),
        proves_not=top.each("proves_not", _sentence),
    )
    _once("source", [source.id for source in profile.sources])
    _once("part", [part.id for part in profile.parts])
    _once("fact", [fact.id for fact in profile.facts()])
    known = {source.id for source in profile.sources}
    for fact in profile.facts():
        if fact.source not in known:
            raise ProfileMalformed(
                f"fact {fact.id!r} is for source {fact.source!r}, known are {sorted(known)}"
            )
    return profile


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of the file and where it is. Every method raises ProfileMalformed."""

    members: Mapping[str, object]
    where: str

    def only(self, *names: str, maybe: tuple[str, ...] = ()) -> None:
        missing = sorted(set(names) - self.members.keys())
        unknown = sorted(key[:40] for key in self.members.keys() - {*names, *maybe})
        if missing or unknown:
            raise ProfileMalformed(f"{self.where}: missing {missing}, unknown {unknown}")

    def text(self, name: str) -> str:
        value = self.members.get(name)
        if not isinstance(value, str) or not value or value != value.strip():
            raise ProfileMalformed(f"{self.where}.{name} is {value!r:.60}, expected a text")
        return value

    def name(self, name: str, pattern: re.Pattern[str]) -> str:
        text = self.text(name)
        if not pattern.fullmatch(text):
            raise ProfileMalformed(f"{self.where}.{name} is {text!r:.60}, not {pattern.pattern}")
        return text

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        text = self.text(name)
        if text not in known:
            raise ProfileMalformed(f"{self.where}.{name} is {text!r:.60}, known are {known}")
        return text

    def integer(self, name: str, *, most: int) -> int:
        value = self.members.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ProfileMalformed(f"{self.where}.{name} is {value!r:.60}, expected 1 to {most}")
        return value

    def words(self, name: str) -> Words:
        return _sentence(self.table(name))

    def table(self, name: str) -> _Table:
        return _table(self.members.get(name), f"{self.where}.{name}")

    def each(self, name: str, read: Callable[[_Table], T]) -> tuple[T, ...]:
        """At least one table of an array of tables."""
        value = self.members.get(name)
        if not isinstance(value, list) or not value:
            raise ProfileMalformed(f"{self.where}.{name} is {value!r:.60}, expected tables")
        return tuple(
            read(_table(item, f"{self.where}.{name}[{at}]")) for at, item in enumerate(value)
        )


def _table(value: object, where: str) -> _Table:
    if not isinstance(value, dict):
        raise ProfileMalformed(f"{where} is {value!r:.60}, expected a table")
    return _Table(value, where)


def _sentence(table: _Table) -> Words:
    table.only("en", "zh")
    return Words(en=table.text("en"), zh=table.text("zh"))


def _source(table: _Table) -> Source:
    table.only("id", "rule", "requires", "read")
    return Source(
        id=table.name("id", _ID),
        rule=table.words("rule"),
        requires=table.words("requires"),
        read=table.one_of("read", READ),
    )


def _choice(table: _Table) -> Choice:
    table.only("id", "label")
    return Choice(id=table.name("id", _FACT_ID), label=table.words("label"))


def _part(table: _Table) -> Part:
    table.only("id", "title", "fact", maybe=("note",))
    return Part(
        id=table.name("id", _FACT_ID),
        title=table.words("title"),
        note=table.words("note") if "note" in table.members else None,
        facts=table.each("fact", _fact),
    )


def _fact(table: _Table) -> Fact:
    by = cast(By, table.one_of("by", BYS))
    if by == "system":
        table.only("id", "by", "label", "source", "value", maybe=("text", "absent"))
        kind: Kind = "value"
    else:
        table.only("id", "by", "label", "source", "kind",
                   maybe=("text", "value", "lines", "choice"))  # fmt: skip
        kind = cast(Kind, table.one_of("kind", ("text", "choice", "affirm", "sign")))
    value = table.one_of("value", tuple(sorted(KNOWN))) if "value" in table.members else None
    if by != "system" and value is not None and not value.startswith("provenance."):
        raise ProfileMalformed(f"{table.where}.value is {value!r}: not a depositor's statement")
    if by == "system" and value is not None and value.startswith("provenance."):
        raise ProfileMalformed(f"{table.where}.value is {value!r}: no finding of the system's")
    if ("choice" in table.members) != (kind == "choice") or (value and kind in (*HAND, "choice")):
        raise ProfileMalformed(f"{table.where} is of kind {kind!r}: wrong members for it")
    choices = table.each("choice", _choice) if kind == "choice" else ()
    _once(f"{table.where} choice", [choice.id for choice in choices])
    absent = table.one_of("absent", ("refuse", "name")) if "absent" in table.members else "refuse"
    return Fact(
        id=table.name("id", _FACT_ID),
        by=by,
        kind=kind,
        label=table.words("label"),
        source=table.name("source", _ID),
        text=table.words("text") if "text" in table.members else None,
        value=value,
        absent=cast(Absent, absent),
        lines=table.integer("lines", most=MAX_LINES) if "lines" in table.members else 1,
        choices=choices,
    )


def _once(what: str, ids: list[str]) -> None:
    twice = sorted({id_ for id_ in ids if ids.count(id_) > 1})
    if twice:
        raise ProfileMalformed(f"{what} {twice[0]!r} is there twice")
