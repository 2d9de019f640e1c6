"""What certificates of one batch have in common, read once.

Their checkpoint, tokens and keys are nine tenths of each file. Where the bytes of such a member
are those of an earlier certificate, its value is that one's, and a stand-in is parsed in its place:
the rest is canonical with the stand-in if and only if the whole is with the member, since the
order of names does not depend on values.
"""

from __future__ import annotations

from typing import Any, Final

Value = Any

KEPT: Final = 8
"""Members of each kind that are remembered."""
MOST_BYTES: Final = 64 * 1024
STAND_IN: Final = b'"-"'

# No marker can stand inside a JSON string, whose quotation marks have a backslash before them;
# and where one stands in an object that has no such member, that object is refused for it.
_MARKERS: Final = {
    "keys": b',"keys":',
    "checkpoint": b',"log":{"checkpoint":',
    "timestamps": b',"timestamps":',
}
_known: dict[str, tuple[tuple[bytes, Value], ...]] = dict.fromkeys(_MARKERS, ())


def set_aside(data: bytes) -> tuple[bytes, dict[str, Value]]:
    """(data with a stand-in for each member that is known, the values of those members)."""
    values: dict[str, Value] = {}
    for name, marker in _MARKERS.items():
        start = data.find(marker) + len(marker)
        for text, value in _known[name]:
            if data.startswith(text, start):
                data = data[:start] + STAND_IN + data[start + len(text) :]
                values[name] = value
                break
    return data, values


def remember(name: str, text: bytes, value: Value) -> None:
    """`text` is the member's canonical JSON in a certificate that was accepted, `value` what was
    read from it."""
    if len(text) <= MOST_BYTES and all(text != known for known, _ in _known[name]):
        _known[name] = ((text, value), *_known[name][: KEPT - 1])
