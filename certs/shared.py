"""What certificates of one batch have in common, read once.

Their checkpoint, tokens and keys are nine tenths of each file. Where the bytes of such a member
are those of an earlier certificate, its value is that one's, and a stand-in is parsed in its place:
the rest is canonical with the stand-in if and only if the whole is with the member, since the
order of names does not depend on values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Value = Any

KEPT: Final = 8
"""Members of each kind that are remembered."""
MOST_BYTES: Final = 64 * 1024
STAND_IN: Final = b'"-"'

# What stands before and behind each member in canonical form. None of it can stand inside a JSON
# string, whose quotation marks have a backslash before them; and where it stands in an object that
# has no such member, that object is refused for it.
_AROUND: Final = {
    "keys": (b',"keys":', b',"log":{'),
    "checkpoint": (b',"log":{"checkpoint":', b',"inclusion_proof":'),
    "timestamps": (b',"timestamps":', b',"type":'),
}
_known: dict[str, tuple[tuple[bytes, Value], ...]] = dict.fromkeys(_AROUND, ())


def set_aside(data: bytes) -> tuple[bytes, dict[str, Value]]:
    """(data with a stand-in for each member that is known, the values of those members)."""
    values: dict[str, Value] = {}
    for name, (before, _) in _AROUND.items():
        start = data.find(before) + len(before)
        for text, value in _known[name]:
            if data.startswith(text, start):
                data = data[:start] + STAND_IN + data[start + len(text) :]
                values[name] = value
                break
    return data, values


def remember(data: bytes, values: Mapping[str, Value]) -> None:
    """`values` are what was read of members that were not known, from `data`, the bytes of a
    certificate that was accepted."""
    for name, value in values.items():
        before, behind = _AROUND[name]
        start = data.index(before) + len(before)
        text = data[start : data.index(behind, start)]
        if len(text) <= MOST_BYTES:
            _known[name] = ((text, value), *_known[name][: KEPT - 1])
