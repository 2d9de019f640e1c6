"""PURE. A reader of DER (X.690), strict at every level that is read, with one error; and `encode`.

Libraries for ASN.1 read BER, in which one value has many encodings: bytes that can be changed
with nothing to notice it. Here what is accepted is what was signed, to the byte, and whatever
else the bytes may be is MalformedInput. The order inside a SET OF is not tested: authorities
in the field write their certificates in any order.
"""

from __future__ import annotations

from functools import lru_cache

from notary.errors import MalformedInput

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8_STRING, GENERALIZED_TIME, SEQUENCE, SET = 0x0C, 0x18, 0x30, 0x31
# Beyond every identifier and number of a token; Python is slow at, or refuses, greater ones.
_MAX_NUMBER_BYTES = 1024
_MAX_OID_BYTES = 64


def context(number: int) -> int:
    """The tag of a constructed [number], explicit or implicit."""
    return 0xA0 | number


def encode(tag: int, contents: bytes) -> bytes:
    """One value in DER (X.690 §10.1): its tag, the shortest definite length, its contents."""
    size = len(contents)
    if size < 0x80:
        return bytes((tag, size)) + contents
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + contents


class Reader:
    """Takes the values that stand one after another in `data`, which is called `what`.

    Every method raises MalformedInput for bytes that are not as asked for.
    """

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self._at = 0

    @classmethod
    def inside(cls, data: bytes, tag: int, what: str) -> Reader:
        """Of the contents of the one value with `tag` that `data` is."""
        outer = cls(data, what)
        contents = outer.take(tag)
        outer.end()
        return cls(contents, what)

    def next_tag(self) -> int | None:
        return self._data[self._at] if self._at < len(self._data) else None

    def take(self, tag: int) -> bytes:
        """The contents of the next value, which must have `tag`."""
        start, stop = self._span(tag)
        self._at = stop
        return self._data[start:stop]

    def take_encoded(self, tag: int) -> bytes:
        """The next value, which must have `tag`, with its tag and length."""
        first = self._at
        _, self._at = self._span(tag)
        return self._data[first : self._at]

    def take_if(self, tag: int) -> bytes | None:
        """The contents of the next value if it has `tag`: an OPTIONAL."""
        return self.take(tag) if self.next_tag() == tag else None

    def enter(self, tag: int, what: str) -> Reader:
        return Reader(self.take(tag), what)

    def integer(self, tag: int = INTEGER) -> int:
        """X.690 §8.3, in its shortest form; `tag` is another one where it is IMPLICIT."""
        contents = self.take(tag)
        if not 1 <= len(contents) <= _MAX_NUMBER_BYTES:
            raise self.malformed(f"an INTEGER of {len(contents)} bytes")
        if len(contents) > 1 and (contents[0], contents[1] >> 7) in ((0x00, 0), (0xFF, 1)):
            raise self.malformed("an INTEGER not in its shortest form")
        return int.from_bytes(contents, "big", signed=True)

    def integer_if(self, tag: int = INTEGER) -> int | None:
        return self.integer(tag) if self.next_tag() == tag else None

    def boolean_if(self) -> bool:
        """A BOOLEAN DEFAULT FALSE."""
        contents = self.take_if(BOOLEAN)
        if contents not in (None, b"\x00", b"\xff"):
            raise self.malformed("a BOOLEAN that is neither 00 nor ff")
        return contents == b"\xff"

    def oid(self) -> str:
        """X.690 §8.19, dotted."""
        contents = self.take(OID)
        if not 1 <= len(contents) <= _MAX_OID_BYTES or contents[-1] & 0x80:
            raise self.malformed(f"an OBJECT IDENTIFIER of {len(contents)} bytes, or cut off")
        dotted = _dotted(contents)
        if dotted is None:
            raise self.malformed("an OBJECT IDENTIFIER not in its shortest form")
        return dotted

    def end(self) -> None:
        """That nothing follows."""
        if self._at != len(self._data):
            raise self.malformed(f"{len(self._data) - self._at} bytes after its last field")

    def malformed(self, why: str) -> MalformedInput:
        return MalformedInput(f"malformed {self._what}: {why}")

    def _span(self, wanted: int) -> tuple[int, int]:
        """Start and end of the contents of the next value (X.690 §8.1.3, §10.1)."""
        data, at = self._data, self._at
        if at + 1 < len(data) and data[at] == wanted:
            length, start = data[at + 1], at + 2
            if length < 0x80 and start + length <= len(data):
                return start, start + length
        return self._long_span(wanted)

    def _long_span(self, wanted: int) -> tuple[int, int]:
        """The same of any other value: a long one, or none that may stand here."""
        data, at = self._data, self._at
        if self.next_tag() != wanted:
            found = "nothing" if at == len(data) else f"tag {data[at]:#04x}"
            raise self.malformed(f"{found} where tag {wanted:#04x} belongs")
        header = data[at + 1 : at + 6]
        length, size = (header[0], 1) if header else (0, 0)
        if length >= 0x80:
            size += length & 0x7F
            length = int.from_bytes(header[1:size], "big")
            if not 2 <= size <= len(header) or length < 0x80 or header[1] == 0:
                raise self.malformed("a length that is not definite and minimal")
        start = at + 1 + size
        if size == 0 or start + length > len(data):
            raise self.malformed("a value that runs beyond its container")
        return start, start + length


@lru_cache(maxsize=256)
def _dotted(contents: bytes) -> str | None:
    """None where an arc is not in its shortest form."""
    arcs, value, fresh = [], 0, True
    for byte in contents:
        if fresh and byte == 0x80:
            return None
        value = value << 7 | byte & 0x7F
        fresh = not byte & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))
