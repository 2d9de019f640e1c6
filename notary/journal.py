"""The journal: what only the database knows, put beside the originals, segment by segment.

A segment is made in three steps, and each may be the last before a crash:

 1. One snapshot is read: the entries since the last segment, the rows that changed. No lock.
 2. One transaction keeps the segment's bytes in the `journal` row, counts it, and takes away the
    notes of the changes that it holds. Two workers that drafted the same number meet here; the
    second drops its draft.
 3. The bytes are put under the segment's key, which nobody can write twice, and then let go of.

A crash before 2 leaves nothing; after it the same bytes are put again, or found there. Bytes that
differ under the same key are somebody else's: both are named, and nothing more is written.
Owns the table of its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from notary.clock import Clock, rfc3339
from notary.errors import Corrupt, Rollback
from notary.journal_rows import SLICE, changed_rows, entered_at, entered_rows, noted, weight_of
from notary.journal_segment import SegmentHead, encode_segment
from notary.journal_tables import CHANGE
from notary.ledger import TreeHead, read_head
from notary.schema import is_ahead
from storage.database import METADATA, Database
from storage.errors import ObjectExists, ObjectNotFound
from storage.objects import ObjectStore

PREFIX: Final = "journal/"

JOURNAL = sa.Table(
    "journal",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("entries", sa.BigInteger, nullable=False),
    sa.Column("kept", sa.BigInteger, nullable=False),
    sa.Column("signed_at", sa.String(27), nullable=False),
    sa.Column("staged", sa.LargeBinary),
)
_ONLY = 1
_KEY = re.compile(r"journal/([0-9]{6})/([0-9]{9})(?:\.([1-9][0-9]{0,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far the journal has come: `number` segments, of which the newest has this digest (the
    genesis document's while there is none), with `entries` entries. Of those, `kept` are durable
    in storage; the others are in `staged`, the newest segment's bytes, not put yet. `signed_at`
    is the time of the newest signed head that it has, empty for none."""

    number: int
    digest: bytes
    entries: int
    kept: int
    signed_at: str
    staged: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """`segments` were written now; `covered` is the newest checkpoint whose state the journal
    has whole, None where another worker is writing it."""

    segments: int
    covered: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Entries that are not durable in the journal yet, and since when the oldest of them is not."""

    entries: int
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    place: Place
    """After it."""
    changes: tuple[int, ...]
    head: TreeHead | None
    """The head that the journal then covers, None where more must be written first."""
    ends: bool
    """Nothing more was there to be written."""


def segment_key(number: int) -> str:
    """Where a segment is kept: a thousand in a folder."""
    return f"{PREFIX}{number // 1000:06d}/{number:09d}"


def segment_number(key: str) -> int | None:
    """The inverse, of a segment that was written anew as well (`….1`, `….2`); None for what is
    no segment's key."""
    match = _KEY.fullmatch(key)
    if match is None or segment_key(int(match[2])) != key.partition(".")[0]:
        return None
    return int(match[2])


def segment_objects(objects: ObjectStore, number: int) -> tuple[str, ...]:
    """The keys under which writings of this segment lie, the newest last. More than one only
    where a crash left an older one."""
    keys = (found.key for found in objects.walk(segment_key(number)))
    ours = [key for key in keys if segment_number(key) == number]
    return tuple(sorted(ours, key=lambda key: int(key.partition(".")[2] or 0)))


def insert_journal(connection: sa.Connection, genesis: str) -> None:
    """The empty journal of a new house, for the transaction that founds it."""
    connection.execute(
        sa.insert(JOURNAL).values(
            id=_ONLY,
            number=0,
            digest=hashlib.sha256(genesis.encode("utf-8")).digest(),
            entries=0,
            kept=0,
            signed_at="",
        )
    )


def read_place(connection: sa.Connection) -> Place:
    row = connection.execute(sa.select(JOURNAL).where(JOURNAL.c.id == _ONLY)).one()
    return Place(
        number=row.number,
        digest=row.digest,
        entries=row.entries,
        kept=row.kept,
        signed_at=row.signed_at,
        staged=row.staged,
    )


def set_place(connection: sa.Connection, place: Place) -> None:
    """For `notary rebuild` alone: the journal goes on behind what was read from it."""
    connection.execute(
        sa.update(JOURNAL)
        .where(JOURNAL.c.id == _ONLY)
        .values(
            number=place.number,
            digest=place.digest,
            entries=place.entries,
            kept=place.kept,
            signed_at=place.signed_at,
            staged=place.staged,
        )
    )


class Journal:
    """One for each process; several processes and nodes may write at once."""

    def __init__(
        self,
        *,
        database: Database,
        objects: ObjectStore,
        origin: str,
        sign: Callable[[bytes], bytes],
        clock: Clock,
    ) -> None:
        """`objects` must put no lock on what it keeps: a segment holds salts and names, which
        must be removable when a deposit is disposed of."""
        self._database = database
        self._objects = objects
        self._origin = origin
        self._sign = sign
        self._clock = clock
        self._turn = threading.Lock()

    def run(self) -> Written:
        """Writes what is new; what comes in meanwhile is for the next time. Writes nothing where
        the database is a revision ahead: a worker of the newer software does.

        Raises Corrupt (both digests named) where something else lies under a segment's key, and
        what the store raises; nothing is lost then, and the next run goes on.
        """
        with self._turn:
            segments = self._put_staged()
            while True:
                with self._database.reading() as connection:
                    if is_ahead(connection):
                        # A row would be kept without the columns that we do not know.
                        return Written(segments=segments, covered=None)
                    if not is_due(connection):
                        covered = read_head(connection).checkpoint
                        return Written(segments=segments, covered=covered)
                    draft = self._draft(connection)
                if draft is None or not self._stage(draft):
                    return Written(segments=segments, covered=None)
                segments += self._put_staged()
                if draft.ends:
                    assert draft.head is not None
                    return Written(segments=segments, covered=draft.head.checkpoint)

    def stage(self) -> None:
        """Drafts and counts a segment where there is something new, and leaves it to the next run
        to put it: for a backup, which needs a moment between two segments."""
        with self._turn:
            with self._database.reading() as connection:
                if is_ahead(connection) or not is_due(connection):
                    return
                draft = self._draft(connection)
            if draft is not None:
                self._stage(draft)

    def is_due(self) -> bool:
        """There is something that the journal has not, and that we can write."""
        with self._database.reading() as connection:
            return is_due(connection) and not is_ahead(connection)

    def number(self) -> int:
        """How many segments there are, by whichever worker."""
        return self.place().number

    def check_end(self) -> None:
        """Raises Rollback where storage has a segment that this database knows nothing of, or a
        longer tree; Corrupt where the newest segment is another one than this database wrote."""
        with self._database.reading() as connection:
            place, size = read_place(connection), read_head(connection).size
        number = place.number
        if place.entries > size:
            raise Rollback(
                f"the journal has {place.entries} entries, the database ends at size {size}: its "
                "tree is an old copy"
            )
        newer = segment_objects(self._objects, number)
        if newer and self.place().number == number:  # else another worker has just written it
            raise Rollback(
                f"the database has written {number} journal segments, storage has "
                f"{segment_key(number)}: this database is an old copy. `notary rebuild` makes the "
                "newest one again, into an empty database"
            )
        if number and place.staged is None:
            # One that is missing is for fsck to name: nothing says that this database is wrong.
            with contextlib.suppress(ObjectNotFound):
                self._check_same(number - 1, place.digest)

    def place(self) -> Place:
        """How far it came."""
        with self._database.reading() as connection:
            return read_place(connection)

    def lag(self) -> Lag:
        with self._database.reading() as connection:
            size = read_head(connection).size
            kept = connection.execute(sa.select(JOURNAL.c.kept)).scalar_one()
            if kept >= size:
                return Lag(entries=0, since=None)
            since = entered_at(connection, kept) or read_head(connection).signed_at
        return Lag(entries=size - kept, since=since)

    # --- 1: one snapshot ------------------------------------------------------------------

    def _draft(self, connection: sa.Connection) -> _Draft | None:
        """None where another worker has a segment on its way."""
        place, head = read_place(connection), read_head(connection)
        if place.staged is not None:
            return None
        changes, signed_at = noted(connection), rfc3339(head.signed_at)
        end, blocks = entered_rows(connection, place.entries, head.size)
        reaches = end == head.size
        taken: list[int] = []
        if reaches:
            # Only now, so that a journal that ends here holds no row about an entry it has not.
            taken, changed = changed_rows(connection, changes, weight_of(blocks))
            blocks += changed
        said = SegmentHead(
            size=head.size, root=head.root, checkpoint=head.checkpoint, signed_at=signed_at
        )
        segment = encode_segment(
            origin=self._origin,
            number=place.number,
            previous=place.digest,
            first=place.entries,
            end=end,
            head=said if reaches else None,
            at=rfc3339(self._clock.now()),
            blocks=blocks,
            sign=self._sign,
        )
        return _Draft(
            place=Place(
                number=place.number + 1,
                digest=hashlib.sha256(segment).digest(),
                entries=end,
                kept=place.kept,
                signed_at=signed_at if reaches else place.signed_at,
                staged=segment,
            ),
            changes=tuple(taken),
            head=head if reaches else None,
            ends=reaches and len(taken) == len(changes),
        )

    # --- 2: one transaction ---------------------------------------------------------------

    def _stage(self, draft: _Draft) -> bool:
        """False where another worker has staged this number."""
        place = draft.place
        with self._database.writing() as connection:
            staged = connection.execute(
                sa.update(JOURNAL)
                .where(JOURNAL.c.number == place.number - 1, JOURNAL.c.staged.is_(None))
                .values(
                    number=place.number,
                    digest=place.digest,
                    entries=place.entries,
                    signed_at=place.signed_at,
                    staged=place.staged,
                )
            )
            if staged.rowcount != 1:
                return False
            for at in range(0, len(draft.changes), SLICE):
                connection.execute(
                    sa.delete(CHANGE).where(CHANGE.c.id.in_(draft.changes[at : at + SLICE]))
                )
        return True

    # --- 3: storage -----------------------------------------------------------------------

    def _put_staged(self) -> int:
        place = self.place()
        if place.staged is None:
            return 0
        key = segment_key(place.number - 1)
        try:
            with self._objects.begin(key) as incoming:
                incoming.write(place.staged)
                incoming.commit()
        except ObjectExists:
            self._check_same(place.number - 1, place.digest)
        with self._database.writing() as connection:
            connection.execute(
                sa.update(JOURNAL)
                .where(JOURNAL.c.number == place.number)
                .values(staged=None, kept=place.entries)
            )
        return 1

    def _check_same(self, number: int, digest: bytes) -> None:
        key, sha256 = segment_key(number), hashlib.sha256()
        for chunk in self._objects.open(key):
            sha256.update(chunk)
        if sha256.digest() != digest:
            raise Corrupt(
                f"journal segment {number} is to have sha-256 {digest.hex()}, but storage has "
                f"{sha256.hexdigest()} under {key}: another house writes there, or a copy of this "
                "one",
                name=f"journal segment {number}",
            )


def is_due(connection: sa.Connection) -> bool:
    """In this snapshot, there is something that the journal has not."""
    place, head = read_place(connection), read_head(connection)
    return (
        place.staged is not None
        or place.entries != head.size
        or place.signed_at != rfc3339(head.signed_at)
        or connection.execute(sa.select(CHANGE.c.id).limit(1)).first() is not None
    )
