"""Which characters a paper can print, and codes for those it cannot.

PDF/A forbids text without a glyph, and a box says nothing to a reader. So a character that the
fonts lack, that nobody can see, or that turns the text's direction around is printed as its
Unicode number instead.
"""

from __future__ import annotations

import struct
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path

Ranges = tuple[tuple[int, int], ...]

# What the fonts inside the typst wheel add (Libertinus Serif, DejaVu Sans Mono, New Computer
# Modern): alphabets only. A test prints them all.
EMBEDDED: Ranges = (
    (0x0104, 0x024F),  # Latin Extended
    (0x0300, 0x036F),  # combining marks
    (0x0384, 0x038A),
    (0x038E, 0x0400),  # Greek
    (0x0402, 0x0482),  # Cyrillic
    (0x048A, 0x04FF),
    (0x0531, 0x0556),  # Armenian
    (0x0561, 0x0587),
    (0x05D0, 0x05EA),  # Hebrew
    (0x0621, 0x063A),  # Arabic
    (0x0640, 0x064A),
    (0x0660, 0x0669),
    (0x06F0, 0x06F9),
    (0x10D0, 0x10FF),  # Georgian
    (0x1E00, 0x1EFF),  # Latin Extended Additional
    (0x1F00, 0x1F15),  # Greek Extended
)

_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
# More marks on one letter are no language's, and climb over the lines above.
_MOST_MARKS = 4
_LATIN: Ranges = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x0103))
_TABLE = struct.Struct(">4s4xII")
_SUBTABLE = struct.Struct(">HHI")
_GROUP = struct.Struct(">III")

Run = dict[str, str]
"""{"text": …} to print as it is, {"alphabet": …} to print in a font with full alphabets, or
{"code": "U+202E"} to print in a box."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The characters that fonts have, as sorted, disjoint, inclusive ranges: `main` those of the
    document's main font, `more` those of the fonts with full alphabets."""

    main: Ranges
    more: Ranges = ()

    def prints(self, character: str) -> bool:
        """Whether the fonts have it and a reader can see it, a plain space included."""
        if character != " " and (
            unicodedata.category(character) in _INVISIBLE or character.isspace()
        ):
            return False
        return _in(character, self.main) or _in(character, self.more)

    def runs(self, text: str) -> list[Run]:
        """`text` with codes for what does not print, and for spaces that nobody would notice."""
        # A space at an end or beside another one is only seen when it is written out.
        padded = f" {text} "
        marked = []
        base, marks = "", 0
        for at, c in enumerate(text):
            if unicodedata.combining(c):
                marks += 1
                hidden = not self._carries(base) or marks > _MOST_MARKS
            else:
                base, marks = c, 0
                hidden = c == " " and " " in (padded[at], padded[at + 2])
            marked.append((c, hidden or not self.prints(c)))
        return self._runs(marked)

    def _carries(self, base: str) -> bool:
        """Whether a font has both this letter and marks: an alphabet's, never a Chinese one, on
        which a mark would not fail but make the character vanish."""
        return bool(self.more and base) and (_in(base, self.more) or _in(base, _LATIN))

    def exact_runs(self, text: str) -> list[Run]:
        """`text` with codes also for what can deceive the eye although it prints."""
        return self._runs([(c, not self.prints(c) or _deceives(c)) for c in text])

    def _runs(self, marked: list[tuple[str, bool]]) -> list[Run]:
        """Runs of characters, each of them marked whether to print it as code."""
        kind = self._kind("".join(c for c, as_code in marked if not as_code))
        runs: list[Run] = []
        for as_code, group in groupby(marked, key=itemgetter(1)):
            characters = [c for c, _ in group]
            if as_code:
                runs += ({"code": f"U+{ord(c):04X}"} for c in characters)
            else:
                runs.append({kind: "".join(characters)})
        return runs

    def _kind(self, printed: str) -> str:
        """A font that lacks `ź` but has `z` and an accent would print both side by side, and no
        error tells: such a text goes to the other fonts as a whole."""
        composed = unicodedata.normalize("NFC", printed)
        if any(unicodedata.combining(c) or not _in(c, self.main) for c in composed):
            return "alphabet"
        return "text"


def deceives(text: str) -> bool:
    """Whether it has right-to-left letters, whose order on paper is not that of the text, or
    combining marks, which make two texts look the same."""
    return any(map(_deceives, text))


def _deceives(character: str) -> bool:
    return (
        unicodedata.bidirectional(character) in _RIGHT_TO_LEFT
        or unicodedata.combining(character) != 0
    )


def _in(character: str, ranges: Ranges) -> bool:
    code = ord(character)
    at = bisect_right(ranges, (code, 0x110000)) - 1
    return at >= 0 and code <= ranges[at][1]


# Cached: an installed font does not change while the program runs.
@cache
def read_ranges(font: Path) -> Ranges:
    """The characters that `font` has (OpenType `cmap`, format 12).

    Raises ValueError for a font without such a table.
    """
    with font.open("rb") as file:
        count = int.from_bytes(file.read(6)[4:], "big")
        file.seek(12)
        tables = {
            tag: (offset, length)
            for tag, offset, length in _TABLE.iter_unpack(file.read(_TABLE.size * count))
        }
        if b"cmap" not in tables:
            raise ValueError(f"font {font.name!r} has no cmap")
        offset, length = tables[b"cmap"]
        file.seek(offset)
        cmap = file.read(length)
    subtables = int.from_bytes(cmap[2:4], "big")
    for _, _, at in _SUBTABLE.iter_unpack(cmap[4 : 4 + _SUBTABLE.size * subtables]):
        if cmap[at : at + 2] == b"\x00\x0c":
            groups = int.from_bytes(cmap[at + 12 : at + 16], "big")
            listed = cmap[at + 16 : at + 16 + _GROUP.size * groups]
            return tuple((first, last) for first, last, _ in _GROUP.iter_unpack(listed))
    raise ValueError(f"font {font.name!r} has no cmap of format 12")
