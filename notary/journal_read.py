"""The journal read back: every segment against the next, from the newest, which vouches for all.

The newest segment is vouched for by its signature, or by the digest that the database has; each
names the digest of the one before it. Read from the end, a segment that was changed is named for
itself, not for what follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from notary.errors import BadSignature, Corrupt, MalformedInput
from notary.journal import PREFIX, segment_key, segment_number, segment_objects
from notary.journal_segment import Segment, parse_segment
from storage.errors import ObjectDiffers, ObjectNotFound
from storage.objects import ObjectStore

MAX_SEGMENT_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What lies in the journal's place: `end` is the highest segment's number and one more,
    `strangers` are the first keys that are no segment's."""

    end: int
    strangers: tuple[str, ...]


def list_journal(objects: ObjectStore, *, most: int = 20) -> Listed:
    end = 0
    strangers: list[str] = []
    for found in objects.walk(PREFIX):
        number = segment_number(found.key)
        if number is not None:
            end = max(end, number + 1)
        elif len(strangers) < most:
            strangers.append(found.key)
    return Listed(end=end, strangers=tuple(sorted(strangers)))


def read_segment(objects: ObjectStore, number: int) -> bytes:
    """Raises Corrupt where it is missing or far too large."""
    name = f"journal segment {number}"
    parts: list[bytes] = []
    size = 0
    try:
        for chunk in _open(objects, number):
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_SEGMENT_BYTES:
                raise Corrupt(f"{name} has more than {MAX_SEGMENT_BYTES} bytes", name=name)
    except (ObjectNotFound, ObjectDiffers) as exc:
        raise Corrupt(f"{name} is missing: {exc}", name=name) from exc
    return b"".join(parts)


def _open(objects: ObjectStore, number: int) -> Iterator[bytes]:
    try:
        return objects.open(segment_key(number))
    except ObjectNotFound:
        rewritten = segment_objects(objects, number)
        if not rewritten:
            raise
        return objects.open(rewritten[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A segment, or what is wrong with it."""

    number: int
    segment: Segment | None = None
    fault: Corrupt | None = None


def backwards(
    objects: ObjectStore,
    end: int,
    *,
    origin: str | None,
    newest: bytes | None,
    statement_keys: Iterable[bytes] | None,
) -> Iterator[Read]:
    """The segments before number `end`, the newest first. It must have the digest `newest`, or,
    where that is None, a signature by one of the raw statement keys; one that was written anew has
    such a signature in any case. Without keys the caller asks for these. Each gives the origin that
    those before it must have. After a fault the chain is taken up again where it can be."""
    expected = newest
    keys = None if statement_keys is None else tuple(statement_keys)
    for number in range(end - 1, -1, -1):
        try:
            data = read_segment(objects, number)
            segment = _checked(data, number, origin, expected)
            if keys is not None and (expected is None or segment.rewritten):
                check_signed(segment, number, keys)
        except Corrupt as exc:
            yield Read(number=number, fault=exc)
            # Nothing vouches for the one before it but its own signature.
            expected = None
            continue
        expected, origin = segment.header.previous, segment.header.origin
        yield Read(number=number, segment=segment)


def _checked(data: bytes, number: int, origin: str | None, expected: bytes | None) -> Segment:
    name = f"journal segment {number}"
    try:
        segment = parse_segment(data)
    except MalformedInput as exc:
        raise Corrupt(f"{name}: {exc}", name=name) from exc
    header = segment.header
    if origin is not None and header.origin != origin:
        raise Corrupt(
            f"{name} is of the log {header.origin!r}, this is {origin!r}: it was put here from "
            "another house's journal",
            name=name,
        )
    if header.number != number:
        raise Corrupt(f"{name} is number {header.number}, moved here", name=name)
    digest = segment.digest
    if expected is not None and digest != expected:
        raise Corrupt(
            f"{name} hashes to {digest.hex()}, what follows it names {expected.hex()}", name=name
        )
    return segment


def check_signed(segment: Segment, number: int, keys: Iterable[bytes]) -> None:
    """Raises Corrupt unless one of the raw Ed25519 keys signed it."""
    name = f"journal segment {number}"
    try:
        segment.check_signature(keys)
    except BadSignature as exc:
        raise Corrupt(f"{name}: {exc}", name=name) from exc


def forwards(
    objects: ObjectStore,
    first: int,
    end: int,
    previous: bytes,
    *,
    statement_keys: Iterable[bytes] = (),
) -> Iterator[Segment]:
    """Segments `first` up to `end`, the first of which follows one of digest `previous`, the last
    of which was vouched for already; one that was written anew must be signed by one of the keys.
    Raises Corrupt."""
    keys = tuple(statement_keys)
    for number in range(first, end):
        name = f"journal segment {number}"
        segment = _checked(read_segment(objects, number), number, None, None)
        if segment.header.previous != previous:
            raise Corrupt(
                f"{name} follows {segment.header.previous.hex()}, before it comes {previous.hex()}",
                name=name,
            )
        if segment.rewritten:
            check_signed(segment, number, keys)
        previous = segment.digest
        yield segment
