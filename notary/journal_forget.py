"""Segments of the journal written anew, without what was disposed of.

Never in place: the new one is put under a name of its own, and only when it is durable the old one
goes. A crash between leaves both; either reads well, and the next run takes the old one away. A
segment is signed anew only after the chain from the newest one has vouched for it, so that nobody
gets a signature for what he put there himself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from notary.errors import Corrupt
from notary.forgetting import forgotten
from notary.journal import PREFIX, segment_key, segment_number, segment_objects
from notary.journal_read import backwards, check_signed
from notary.journal_segment import Block, Segment, parse_segment, rewrite_segment
from storage.errors import ObjectExists
from storage.objects import ObjectStore

Sign = Callable[[bytes], bytes]


def forget_in_journal(
    objects: ObjectStore,
    *,
    origin: str,
    first_entry: int,
    end: int,
    newest: bytes,
    ids: Collection[str],
    statement_keys: Sequence[bytes],
    sign: Sign,
    at: str,
) -> int:
    """No segment before number `end`, whose newest has the digest `newest`, holds any more what
    `forgetting` says of these deposits, of which entry `first_entry` is the first. Gives how many
    were written anew.

    Raises Corrupt where a segment is missing or changed: then nothing was written. What the store
    raises may be met in the middle; the next run goes on.
    """
    doubled = _doubled(objects)
    found: list[tuple[int, bytes]] = []
    for read in backwards(
        objects, end, origin=origin, newest=newest, statement_keys=statement_keys
    ):
        if read.segment is None:
            assert read.fault is not None
            raise read.fault
        if read.segment.header.end <= first_entry:
            break  # no row of a deposit is in a segment before its entry
        if read.number in doubled or _without(read.segment, ids) is not None:
            found.append((read.number, read.segment.digest))
    for number, digest in found:
        _rewrite(objects, number, digest, ids, statement_keys, sign, at)
    return len(found)


def _doubled(objects: ObjectStore) -> frozenset[int]:
    """The segments of which an older writing was left by a crash."""
    numbers = [segment_number(found.key) for found in objects.walk(PREFIX)]
    there = Counter(number for number in numbers if number is not None)
    return frozenset(number for number, count in there.items() if count > 1)


def _without(segment: Segment, ids: Collection[str]) -> tuple[Block, ...] | None:
    """Its blocks as they may be; None where nothing of it must go."""
    blocks = tuple(
        Block(
            table=block.table,
            columns=block.columns,
            rows=forgotten(block.table, block.columns, block.rows, ids),
            gone=block.gone,
        )
        for block in segment.blocks
    )
    return None if blocks == segment.blocks else blocks


def _rewrite(
    objects: ObjectStore,
    number: int,
    digest: bytes,
    ids: Collection[str],
    statement_keys: Sequence[bytes],
    sign: Sign,
    at: str,
) -> None:
    keys = segment_objects(objects, number)
    segment = parse_segment(b"".join(objects.open(keys[-1])))
    if segment.rewritten:
        check_signed(segment, number, statement_keys)
    if segment.digest != digest:
        raise Corrupt(
            f"journal segment {number} was {digest.hex()} a moment ago, now it is "
            f"{segment.digest.hex()}",
            name=f"journal segment {number}",
        )
    blocks = _without(segment, ids)
    if blocks is not None:
        name = f"{segment_key(number)}.{_next(keys[-1])}"
        with objects.begin(name) as incoming:
            incoming.write(rewrite_segment(segment, blocks=blocks, at=at, sign=sign))
            try:
                incoming.commit()
            except ObjectExists:
                return  # another worker's; the next run compares it
        keys = (*keys, name)
    # If we crash here, both are there: the older ones go at the next run.
    for key in keys[:-1]:
        objects.discard(key)


def _next(key: str) -> int:
    _, _, last = key.rpartition("/")
    _, _, generation = last.partition(".")
    return int(generation or 0) + 1
