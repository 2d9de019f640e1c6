"""Every word of the papers, the verdicts and the checks, from `wording/<lang>.toml`.

Only words live there. What a code means, and which one applies, the verifier decides.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Literal

Lang = Literal["en", "zh"]
LANGS: tuple[Lang, ...] = ("en", "zh")
PaperLang = Literal["en", "zh", "en+zh"]
"""What a paper can be written in: one language, or both on one sheet."""
PAPER_LANGS: tuple[PaperLang, ...] = ("en", "zh", "en+zh")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictWords:
    """One verdict in words. `class_` is the code of its class, `class_label` its name."""

    class_: str
    class_label: str
    code: str
    headline: str
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWords:
    """One check in words: its name, how it ended, and the sentence for that."""

    label: str
    status: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The words of one language: `texts` by dotted key, as they are nested in the file."""

    lang: PaperLang
    texts: Mapping[str, str]

    def text(self, key: str, **values: object) -> str:
        """The text under `key`, its `{placeholders}` filled. Raises KeyError for a wrong key."""
        return self.texts[key].format(**values)

    def date(self, moment: datetime) -> str:
        """The day for people, in UTC."""
        at = moment.astimezone(UTC)
        months = self.texts["calendar.months"].split(" ")
        return self.text("calendar.date", year=at.year, month=months[at.month - 1], day=at.day)

    def moment(self, moment: datetime) -> str:
        """A time for people, in UTC to the second, with its zone."""
        clock = moment.astimezone(UTC).strftime("%H:%M:%S")
        return self.text("calendar.moment", date=self.date(moment), clock=clock)

    def verdict(self, code: str, *, registered_at: datetime | None = None) -> VerdictWords:
        """The words of one verdict code; those of class `confirmed` need `registered_at`.

        Raises KeyError for a code that has no words.
        """
        class_ = verdict_classes()[code]
        key = f"verdict.{class_}.{code}"
        values = {} if registered_at is None else {"registered_at": self.moment(registered_at)}
        return VerdictWords(
            class_=class_,
            class_label=self.texts[f"class.{class_}"],
            code=code,
            headline=self.text(f"{key}.headline", **values),
            explanation=self.text(f"{key}.explanation", **values),
        )

    def check(self, name: str, status: str) -> CheckWords:
        """The words of one check; `status` is passed, failed or not_made. Raises KeyError."""
        return CheckWords(
            label=self.texts[f"check.{name}.label"],
            status=self.texts[f"status.{status}"],
            sentence=self.texts[f"check.{name}.{status}"],
        )

    def trust(self, *, trust_file: bool) -> str:
        """Where the keys came from: the trust file, or only the certificate itself."""
        return self.texts["trust.trust_file" if trust_file else "trust.embedded_only"]


# Cached: packaged text that cannot change while the program runs.
@cache
def load_wording(lang: PaperLang) -> Wording:
    """The wording of one of PAPER_LANGS. In `en+zh` each text is the English one and, where it
    differs, the Chinese one behind it, unless its own file has another."""
    source = resources.files("certs").joinpath("wording", f"{lang}.toml")
    texts = _flat(tomllib.loads(source.read_text("utf-8")))
    if lang == "en+zh":
        english, chinese = load_wording("en").texts, load_wording("zh").texts
        texts = {
            key: text if text == chinese[key] else f"{text} {chinese[key]}"
            for key, text in english.items()
        } | texts
    return Wording(lang=lang, texts=texts)


@cache
def verdict_classes() -> Mapping[str, str]:
    """The class of each verdict code that has words."""
    keys = (key.split(".") for key in load_wording("en").texts)
    return {key[2]: key[1] for key in keys if key[0] == "verdict"}


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            texts |= _flat(value, f"{prefix}{name}.")
        else:
            texts[prefix + name] = str(value)
    return texts
