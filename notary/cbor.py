"""A strict reader of CBOR (RFC 8949) for bytes that strangers send. PURE.

General decoders do more than reading: tags become regular expressions, shared references, dates.
This one takes only what has one reading: definite lengths, heads of the shortest form, no name
twice in a map, UTF-8 that is UTF-8, nesting to a fixed depth. A tag stays a `Tagged`, whatever its
number.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from notary.errors import MalformedInput

DEPTH = 16
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_LENGTHS = {24: 1, 25: 2, 26: 4, 27: 8}
_SIMPLE_VALUES = {20: False, 21: True, 22: None}
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    number: int
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple:
    """A simple value without a meaning here, `undefined` among them."""

    number: int


class Reader:
    """Reads one item after another from `data`. What it raises is MalformedInput
    (`cbor_malformed`), and nothing else."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def item(self, depth: int = DEPTH) -> Any:
        """int, bytes, str, None, bool, float, tuple, dict, Tagged or Simple."""
        if depth == 0:
            raise _wrong(f"nested deeper than {DEPTH}")
        start = self.at
        major, low, argument = self._head()
        if major == _UNSIGNED:
            return argument
        if major == _NEGATIVE:
            return -1 - argument
        if major == _BYTES:
            return self._take(argument)
        if major == _TEXT:
            return _text(self._take(argument))
        if major == _ARRAY:
            self._check_room(argument)
            return tuple(self.item(depth - 1) for _ in range(argument))
        if major == _MAP:
            self._check_room(2 * argument)
            return self._map(argument, depth)
        if major == _TAG:
            return Tagged(number=argument, value=self.item(depth - 1))
        return self._simple(start, low, argument)

    def array(self, count: int) -> None:
        """The head of an array of exactly `count` items, which follow."""
        major, _, argument = self._head()
        if (major, argument) != (_ARRAY, count):
            raise _wrong(f"need an array of {count} items")

    def tag(self, number: int) -> None:
        """The head of a tag of that number, whose item follows."""
        major, _, argument = self._head()
        if (major, argument) != (_TAG, number):
            raise _wrong(f"need tag {number}")

    def end(self) -> None:
        if self.at != len(self._data):
            raise _wrong(f"{len(self._data) - self.at} bytes follow the last item")

    def _map(self, count: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in range(count):
            name = self.item(depth - 1)
            if isinstance(name, bool) or not isinstance(name, int | str | bytes):
                raise _wrong("a name in a map is no number, text or byte string")
            if name in found:
                raise _wrong(f"{name!r:.40} stands twice in a map")
            found[name] = self.item(depth - 1)
        return found

    def _simple(self, start: int, low: int, argument: int) -> Any:
        if low in _FLOATS:
            return struct.unpack(_FLOATS[low], self._data[start + 1 : self.at])[0]
        if low == 24 and argument < 32:
            raise _wrong("a simple value is not in its one form")
        return _SIMPLE_VALUES.get(argument, Simple(number=argument))

    def _head(self) -> tuple[int, int, int]:
        (first,) = self._take(1)
        major, low = first >> 5, first & 31
        if low < 24:
            return major, low, low
        length = _LENGTHS.get(low)
        if length is None:
            raise _wrong(f"byte 0x{first:02x}: an indefinite length, or a reserved head")
        argument = int.from_bytes(self._take(length), "big")
        if major != _SIMPLE and argument < (24 if length == 1 else 1 << (4 * length)):
            raise _wrong(f"{argument} is not written in its shortest form")
        return major, low, argument

    def _check_room(self, items: int) -> None:
        # Before anything is made: a head of nine bytes may announce 2^64 items.
        if items > len(self._data) - self.at:
            raise _wrong(f"{items} items are announced, {len(self._data) - self.at} bytes follow")

    def _take(self, count: int) -> bytes:
        taken = self._data[self.at : self.at + count]
        if len(taken) < count:
            raise _wrong(f"ends {count - len(taken)} bytes early")
        self.at += count
        return taken


def read_map(data: bytes) -> Mapping[Any, Any]:
    """The one map that `data` is. Raises MalformedInput (`cbor_malformed`)."""
    reader = Reader(data)
    found = reader.item()
    reader.end()
    if not isinstance(found, dict):
        raise _wrong("not a map")
    return found


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise _wrong("a text is not UTF-8") from exc


def _wrong(what: str) -> MalformedInput:
    return MalformedInput(f"CBOR cannot be read: {what}", code="cbor_malformed")
