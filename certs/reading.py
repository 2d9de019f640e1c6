"""Parsed JSON, read exactly: every member named, none left over, every text in its one spelling."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from certs.errors import CertificateMalformed

T = TypeVar("T")

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


def b64(raw: bytes) -> str:
    """RFC 4648 section 4, with padding."""
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def b64url(raw: bytes) -> str:
    """RFC 4648 section 5, without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def rfc3339(moment: datetime) -> str:
    """`2026-11-24T14:03:05.123456Z`: UTC, always six digits, so that a time has one spelling."""
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment!r}: times here carry their zone")
    # isoformat and not strftime, which does not pad years below 1000 on every platform.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class Node(NamedTuple):
    """One JSON value and where it is. Every method raises CertificateMalformed.

    A tuple and no dataclass: a certificate has fifty of them, and those take thrice as long.
    """

    value: object
    where: str

    def members(self, *names: str, maybe: tuple[str, ...] = ()) -> dict[str, Node]:
        """The members of an object that has exactly these names, of those in `maybe` any."""
        found = self._object()
        if maybe:
            names = (*names, *(name for name in maybe if name in found))
        if found.keys() != set(names):
            missing = sorted(set(names) - found.keys())
            unknown = sorted(str(name)[:40] for name in found.keys() - set(names))
            raise CertificateMalformed(
                f"{self.where} has the wrong members: missing {missing}, unknown {unknown}"
            )
        return {name: Node(found[name], f"{self.where}.{name}") for name in names}

    def member(self, name: str) -> Node:
        """One member of an object, whatever else is in it."""
        found = self._object()
        if name not in found:
            raise CertificateMalformed(f"{self.where} has no member {name!r}")
        return Node(found[name], f"{self.where}.{name}")

    def items(self) -> tuple[tuple[str, Node], ...]:
        """All members of an object, in the file's order."""
        return tuple(
            (name, Node(value, f"{self.where}.{name}")) for name, value in self._object().items()
        )

    def each(self, most: int, read: Callable[[Node], T]) -> tuple[T, ...]:
        """The items of an array of at most `most`, each read by `read`."""
        if not isinstance(self.value, list):
            raise self._wrong("an array")
        if len(self.value) > most:
            raise self._wrong(f"at most {most} items")
        return tuple(read(Node(item, f"{self.where}[{at}]")) for at, item in enumerate(self.value))

    def text(self, pattern: re.Pattern[str] | None = None) -> str:
        """A string; one that `pattern` matches from end to end, where given."""
        if not isinstance(self.value, str):
            raise self._wrong("a string")
        if pattern is not None and pattern.fullmatch(self.value) is None:
            raise self._wrong(f"a string like {pattern.pattern}")
        return self.value

    def text_or_none(self) -> str | None:
        return None if self.value is None else self.text()

    def one_of(self, words: tuple[str, ...]) -> str:
        """One string of a closed vocabulary."""
        text = self.text()
        if text not in words:
            raise self._wrong(" or ".join(map(repr, words)))
        return text

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            raise self._wrong("true or false")
        return self.value

    def integer(self, *, least: int) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < least:
            raise self._wrong(f"an integer of at least {least}")
        return self.value

    def time(self) -> datetime:
        """An RFC 3339 time in UTC with six digits, the only spelling `rfc3339` writes."""
        text = self.text(_TIME)
        try:
            return datetime.fromisoformat(text)
        except ValueError as exc:
            raise self._wrong("a time that exists") from exc

    def base64(self, exactly: int | None = None) -> bytes:
        """The bytes of standard base64 with padding, in the spelling `b64` writes."""
        return self._decoded(binascii.a2b_base64, b64, exactly)

    def base64url(self, exactly: int | None = None) -> bytes:
        """The bytes of base64url without padding, in the spelling `b64url` writes."""
        return self._decoded(_b64url_decode, b64url, exactly)

    def _decoded(
        self,
        decode: Callable[[str], bytes],
        encode: Callable[[bytes], str],
        exactly: int | None,
    ) -> bytes:
        text = self.text()
        try:
            raw = decode(text)
        except (binascii.Error, ValueError) as exc:
            raise self._wrong("base64") from exc
        # Decoders skip what they do not know and ignore spare bits: only one spelling is taken.
        if encode(raw) != text or not raw:
            raise self._wrong("base64 in its one spelling, of at least one byte")
        if exactly is not None and len(raw) != exactly:
            raise self._wrong(f"base64 of {exactly} bytes")
        return raw

    def _object(self) -> dict[str, object]:
        if not isinstance(self.value, dict):
            raise self._wrong("an object")
        return self.value

    def _wrong(self, expected: str) -> CertificateMalformed:
        return CertificateMalformed(f"{self.where} is {self.value!r:.60}, expected {expected}")


def _b64url_decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
