"""Storage against the register: both read once, in the order of the keys, side by side.

What has no deposit and is old enough goes; that it has none is decided under the head's lock, where
it is also written down that it never will have one (`remains.condemn`). A deposit that enters looks
there under the same lock. So an upload that lay still for days between its last byte and its entry,
by a stopped process or a clock that jumped, is turned away and not registered without its bytes.

A crash between the two leaves an original that nobody can register: the next sweep removes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import sqlalchemy as sa

from notary.envelope import sealed_size
from notary.errors import Corrupt
from notary.ledger import read_head
from notary.originals import object_key
from notary.register import DEPOSIT, ORIGINAL_PLACE, Register
from notary.remains import condemn
from storage.database import Database
from storage.errors import ObjectLocked
from storage.objects import ObjectStore, StoredObject

PREFIX = "originals/"
CHUNK = 500
ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the register says of a stored original: `size` in bytes, as storage must have them."""

    deposit_id: str
    index: int
    size: int
    received_at: str
    disposed: bool
    """The object waits for its lock, or is gone: either is as it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One key with what storage and register have for it; one of them may be None."""

    key: str
    found: StoredObject | None
    row: Row | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How many unfinished uploads, and which keys without a deposit, were removed."""

    unfinished: int
    orphans: tuple[str, ...]


def sweep(
    register: Register, objects: ObjectStore, before: datetime, *, since: datetime | None = None
) -> Swept:
    """Touches only what was not touched since `before`, and of originals only what came after
    `since`, where it is given. Bounded memory but for what it removes. Safe to run twice at once.
    """
    unfinished = objects.sweep_incoming(before)
    removed: list[str] = []
    old = (
        found
        for found in objects.walk(PREFIX)
        if found.modified_at < before
        and (since is None or found.modified_at > since)
        and is_original(found.key)
    )
    for some in _chunked(old):
        removed += discard_orphans(register.database, objects, some, before)
    return Swept(unfinished=unfinished, orphans=tuple(removed))


def orphans(register: Register, objects: ObjectStore, before: datetime) -> Iterator[StoredObject]:
    """Originals, last touched before that, which no deposit names."""
    old = (found for found in objects.walk(PREFIX) if found.modified_at < before)
    for some in _chunked(old):
        known = register.known_ids([id_of(found.key) for found in some])
        yield from (found for found in some if id_of(found.key) not in known)


def discard_orphans(
    database: Database, objects: ObjectStore, found: Sequence[StoredObject], at: datetime
) -> tuple[str, ...]:
    """Removes those of them that are no deposit's, after none of them can become one; gives
    their keys. The lock is held for one look, not while storage works."""
    if not found:
        return ()
    ids = {id_of(each.key) for each in found}
    known = sa.select(DEPOSIT.c.id).where(DEPOSIT.c.id.in_(ids))
    with database.reading() as connection:
        if len(set(connection.execute(known).scalars())) == len(ids):
            return ()
    with database.writing() as connection:
        read_head(connection, lock=True)
        there = set(connection.execute(known).scalars())
        gone = [each for each in found if id_of(each.key) not in there]
        condemn(connection, (id_of(each.key) for each in gone), at)
    return tuple(each.key for each in gone if _discard(objects, each))


def _discard(objects: ObjectStore, found: StoredObject) -> bool:
    try:
        objects.discard(found.key, version=found.version)
    except ObjectLocked:
        return False  # the bucket itself retains what comes in: a later pass removes it
    return True


def compare(database: Database, objects: ObjectStore, *, after: str = "") -> Iterator[Pair]:
    """Every key of an original that storage or register have, behind `after`, in order. What came
    or went while it was read may be on one side alone: whoever acts on that looks again.

    Raises Corrupt where storage does not list in order: then nothing is compared."""
    there, rows = objects.walk(PREFIX, after=after), _rows(database, after)
    found, row = next(there, None), next(rows, None)
    last = after
    while found is not None or row is not None:
        row_key = None if row is None else object_key(row.deposit_id)
        found_key = None if found is None else found.key
        key = min(each for each in (row_key, found_key) if each is not None)
        if key <= last:
            raise Corrupt(f"storage lists {key!r} behind {last!r}, out of order", name="storage")
        last = key
        pair = Pair(
            key=key,
            found=found if found_key == key else None,
            row=row if row_key == key else None,
        )
        yield pair
        if pair.found is not None:
            found = next(there, None)
        if pair.row is not None:
            row = next(rows, None)


def is_original(key: str) -> bool:
    """A deposit could have this key."""
    return len(id_of(key)) == 36 and object_key(id_of(key)) == key


def id_of(key: str) -> str:
    return key.rpartition("/")[2]


def _rows(database: Database, after: str) -> Iterator[Row]:
    """The stored originals of the register in the order of their keys, a page for each snapshot."""
    place = _place(after)
    columns = (
        DEPOSIT.c.id, DEPOSIT.c.idx, DEPOSIT.c.size, DEPOSIT.c.received_at,
        DEPOSIT.c.data_key.is_not(None), DEPOSIT.c.disposed_at.is_not(None),
    )  # fmt: skip
    while True:
        query = (
            sa.select(*columns)
            .where(DEPOSIT.c.stored.is_(True), ORIGINAL_PLACE.op(">")(place))
            .order_by(ORIGINAL_PLACE)
            .limit(ROWS_AT_ONCE)
        )
        with database.reading() as connection:
            page = connection.execute(query).all()
        for id_, index, size, received_at, encrypted, disposed in page:
            yield Row(
                deposit_id=id_,
                index=index,
                size=sealed_size(size) if encrypted else size,
                received_at=received_at,
                disposed=bool(disposed),
            )
        if len(page) < ROWS_AT_ONCE:
            return
        place = _place(object_key(page[-1].id))


def _place(key: str) -> str:
    """Where `ORIGINAL_PLACE` has it: folder and id without what joins them."""
    return key.removeprefix(PREFIX).replace("/", "", 1)


def _chunked(found: Iterator[StoredObject]) -> Iterator[list[StoredObject]]:
    while chunk := list(islice(found, CHUNK)):
        yield chunk
