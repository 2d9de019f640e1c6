"""Every word of the pages, from `wording/<lang>.toml`, and how other people's words are shown."""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources

from markupsafe import Markup, escape

from certs.wording import LANGS, Lang, Wording, load_wording

HTML_LANG: dict[Lang, str] = {"en": "en", "zh": "zh-Hans"}

_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_PICTURE = frozenset({"So", "Sk", "Mn"})
_JOINER = "\u200d"
_UNITS = ("KiB", "MiB", "GiB", "TiB")


# Cached: packaged text that cannot change while the program runs.
@cache
def load_words(lang: Lang) -> Wording:
    """The words of the pages beside those of papers and verdicts, so that both say the same."""
    source = resources.files("notary.web").joinpath("wording", f"{lang}.toml")
    ours = dict(_flat(tomllib.loads(source.read_text("utf-8")), ""))
    return Wording(lang=lang, texts={**load_wording(lang).texts, **ours})


def _flat(table: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)


def other(lang: Lang) -> Lang:
    return LANGS[1 - LANGS.index(lang)]


def shown(text: str) -> Markup:
    """Somebody's text, exactly: in a direction of its own, and what nobody could see (or what
    would turn the direction of what stands around) as its Unicode number."""
    parts = [Markup('<bdi class="given">')]
    before = ""
    for character in text:
        if _hidden(character, before):
            parts.append(Markup('<span class="code-point">U+{:04X}</span>').format(ord(character)))
        else:
            parts.append(escape(character))
        before = character
    return Markup("").join([*parts, Markup("</bdi>")])


def plain(text: str) -> str:
    """The same for titles and attributes, which hold no elements."""
    return "".join("\ufffd" if _hidden(c, b) else c for b, c in zip(" " + text, text, strict=False))


def _hidden(character: str, before: str) -> bool:
    if character == _JOINER and before and unicodedata.category(before) in _PICTURE:
        return False  # what makes one picture of several emoji
    return unicodedata.category(character) in _HIDDEN


def groups(digest: str) -> tuple[str, ...]:
    """A digest in groups of four, as on the papers."""
    return tuple(digest[at : at + 4] for at in range(0, len(digest), 4))


def count(number: int) -> str:
    return f"{number:,}"


def about(size: int) -> str | None:
    """A size for people, None where the bytes say it as well."""
    if size < 1024:
        return None
    value, unit = size / 1024, 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if value >= 100 else f"{value:.3g} {_UNITS[unit]}"
