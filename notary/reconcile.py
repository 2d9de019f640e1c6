"""Reconciliation: what is half done is found, and mended or reported, by one pass over everything.

A pass takes the looks that need no walk first, then compares every original in storage with the
register, once, in the order of the keys. One worker of all nodes is at it; how far it came is
noted every ten seconds, and where it dies its hold runs out and another one goes on from there.

Nothing goes that may be in flight or promised. An original without a deposit is removed only when
 - nobody has written to it for `orphan_age`, and the head's lock was held while its deposit was
   looked for; from then on none can be made of it (`sweep.discard_orphans`);
 - it came after this database began. What is older may be of a deposit that a database before it
   knew, which was lost or rolled back: that is reported for `unclaimed_age` first;
 - the journal in storage ends where this database ended it. Where another house, or a newer
   database of this one, writes beside us, nothing is removed at all.

A crash anywhere leaves a pass that goes on, findings that are met again, and originals that are
removed the next time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from notary.clock import Clock, rfc3339
from notary.leftovers import Leftovers
from notary.model import uuid7
from notary.pace import Pace
from notary.remains import (
    MOST_FINDINGS,
    Finding,
    HoldLost,
    Kind,
    Pass,
    Remains,
    Remnant,
    forget_condemned,
)
from notary.sweep import Pair, compare, discard_orphans, is_original
from storage.database import Database
from storage.errors import ObjectNotFound, StorageError
from storage.objects import ObjectStore, StoredObject

BEAT_S = 10.0
"""How often a worker notes how far it came, at least."""
STRIDE = 500
"""Originals between two looks at the clock, and the most that is removed at once."""
SCHEDULE = "schedule"
SCHEDULED_RATE = 5_000
"""Originals a second that a pass of the schedule compares: a million in some three minutes."""
CONDEMNED_KEPT = timedelta(days=30)

Extra = Callable[[datetime], Iterator[Remnant]]
"""A look of another room: mends what it can, and gives what it could not."""


class Stopped(Exception):
    """Whoever works was told to end. What was done is noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walker:
    """Who walks: told of each finding that is new, each one that is gone, and how far it came."""

    stop: Callable[[], bool] = lambda: False
    wait: Callable[[float], object] = lambda _seconds: None
    found: Callable[[Remnant], None] = lambda _remnant: None
    gone: Callable[[Finding], None] = lambda _finding: None
    mended: Callable[[Kind, str], None] = lambda _kind, _name: None
    progress: Callable[[Pass], None] = lambda _pass: None
    rate: int = 0
    now: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ages:
    """Of one pass. `removes` is False where an original must not go now."""

    now: datetime
    before: datetime
    began: datetime
    unclaimed: timedelta
    removes: bool


class Reconciling:
    def __init__(
        self,
        *,
        database: Database,
        objects: ObjectStore,
        leftovers: Leftovers,
        clock: Clock,
        randomness: Callable[[int], bytes],
        orphan_age: timedelta,
        unclaimed_age: timedelta,
        extras: tuple[Extra, ...] = (),
    ) -> None:
        """`unclaimed_age` of zero keeps unclaimed originals for ever."""
        self.remains = Remains(database)
        self._database = database
        self._objects = objects
        self._leftovers = leftovers
        self._clock = clock
        self._randomness = randomness
        self._orphan_age = orphan_age
        self._unclaimed_age = unclaimed_age
        self._extras = extras

    def run(self, walker: Walker, *, by: str = SCHEDULE) -> Pass | None:
        """One whole pass, or the rest of one that another worker left; the pass as it ended. None
        while another worker is at it.

        Raises Stopped, StorageError and NotaryError: the pass goes on when it is run again.
        """
        now = self._clock.now()
        worker = uuid7(now, self._randomness(10))
        claimed = self.remains.claim(worker, worker, by, now)
        if claimed is None:
            return None
        walk = _Walk(self.remains, self._clock, walker, claimed)
        try:
            ages = self._ages(now)
            self._mend(walk, ages)
            for remnant in self._reports(ages):
                walk.keep(remnant)
            self._originals(walk, ages)
            return walk.finish()
        finally:
            walk.release()

    def look(self, walker: Walker) -> Iterator[Remnant]:
        """Everything that `run` would mend or report now. Changes nothing."""
        ages = self._ages(self._clock.now(), write=False)
        for left in self._objects.incoming(ages.before):
            yield Remnant(
                kind=Kind.UNFINISHED_UPLOAD, name=left.name,
                detail=f"not touched since {rfc3339(left.touched_at)}",
            )  # fmt: skip
        for path in self._leftovers.half_files(ages.before):
            yield Remnant(kind=Kind.HALF_FILE, name=path, detail="was being written")
        if count := self._leftovers.expired(ages.now):
            yield Remnant(kind=Kind.EXPIRED_ROW, name="rows", detail=f"{count} rows")
        yield from self._leftovers.waiting(ages.now)
        for number, pair in enumerate(compare(self._database, self._objects), start=1):
            if number % STRIDE == 0 and walker.stop():
                raise Stopped
            if (remnant := self._judge(pair, ages)) is not None:
                yield remnant

    # --- steps ------------------------------------------------------------------------------

    def _ages(self, now: datetime, *, write: bool = True) -> _Ages:
        return _Ages(
            now=now,
            before=now - self._orphan_age,
            began=self.remains.began(now, write=write),
            unclaimed=self._unclaimed_age,
            removes=self._leftovers.foreign_segment() is None,
        )

    def _mend(self, walk: _Walk, ages: _Ages) -> None:
        for kind, done in (
            (Kind.UNFINISHED_UPLOAD, self._objects.sweep_incoming(ages.before)),
            (Kind.HALF_FILE, self._leftovers.drop_half_files(ages.before)),
            (Kind.EXPIRED_ROW, self._leftovers.drop_expired(ages.now)),
        ):
            if done:
                walk.mended(kind, f"{done} removed", done)
        with self._database.writing() as connection:
            forget_condemned(connection, ages.now - CONDEMNED_KEPT)

    def _reports(self, ages: _Ages) -> Iterator[Remnant]:
        yield from self._leftovers.waiting(ages.now)
        for extra in self._extras:
            yield from extra(ages.now)

    def _originals(self, walk: _Walk, ages: _Ages) -> None:
        orphans: list[StoredObject] = []
        for pair in compare(self._database, self._objects, after=walk.place):
            remnant = self._judge(pair, ages)
            if remnant is not None and remnant.kind is Kind.ORPHAN:
                assert pair.found is not None
                orphans.append(pair.found)
            elif remnant is not None:
                walk.keep(remnant)
            # Nothing may wait for its removal behind the place that is noted.
            if walk.passed(pair) or len(orphans) >= STRIDE:
                self._discard(walk, orphans)
                walk.note_if_due()
        self._discard(walk, orphans)

    def _discard(self, walk: _Walk, orphans: list[StoredObject]) -> None:
        gone = discard_orphans(self._database, self._objects, orphans, self._clock.now())
        for key in gone:
            walk.mended(Kind.ORPHAN, key, 1)
        orphans.clear()

    def _judge(self, pair: Pair, ages: _Ages) -> Remnant | None:
        if pair.row is None:
            return _without_deposit(pair, ages)
        if pair.row.disposed or (pair.found is not None and pair.found.size == pair.row.size):
            return None
        id_, key = pair.row.deposit_id, pair.key
        try:
            found = self._objects.stat(key)
        except ObjectNotFound as exc:
            return Remnant(
                kind=Kind.MISSING, name=key, deposit_id=id_,
                detail=f"deposit {id_} (entry {pair.row.index}, {pair.row.size} bytes, received "
                f"{pair.row.received_at}): {exc}",
            )  # fmt: skip
        if found.size == pair.row.size:
            return None  # it came while we read
        return Remnant(
            kind=Kind.DIFFERS, name=key, deposit_id=id_,
            detail=f"deposit {id_} (entry {pair.row.index}) has {pair.row.size} bytes, storage "
            f"{found.size}, version {found.version or 'none'}, of {rfc3339(found.modified_at)}",
        )  # fmt: skip


def _without_deposit(pair: Pair, ages: _Ages) -> Remnant | None:
    found = pair.found
    assert found is not None
    said = f"{found.size} bytes, of {rfc3339(found.modified_at)}, and no deposit"
    if not is_original(pair.key):
        return Remnant(kind=Kind.STRANGER, name=pair.key, detail=said)
    if found.modified_at >= ages.before:
        return None  # perhaps on its way
    kept_for_good = not ages.unclaimed or ages.now < ages.began + ages.unclaimed
    if not ages.removes or (found.modified_at <= ages.began and kept_for_good):
        return Remnant(
            kind=Kind.UNCLAIMED, name=pair.key,
            detail=f"{said}; another database may know it: this one began {rfc3339(ages.began)}",
        )  # fmt: skip
    return Remnant(kind=Kind.ORPHAN, name=pair.key, detail=said)


class _Walk:
    """One worker at one pass: its counts, its findings on their way, its hold."""

    def __init__(self, remains: Remains, clock: Clock, walker: Walker, claimed: Pass) -> None:
        self._remains = remains
        self._clock = clock
        self._walker = walker
        self._pass = claimed
        self._held = True
        self._pace = Pace(walker.rate, walker.now)
        self._noted_at = walker.now()
        self._waiting: list[Remnant] = []
        self._stride = 0
        self._settled = claimed.place

    @property
    def place(self) -> str:
        return self._pass.place

    def mended(self, kind: Kind, name: str, count: int) -> None:
        self._pass = replace(self._pass, mended=self._pass.mended + count)
        self._walker.mended(kind, name)

    def keep(self, remnant: Remnant) -> None:
        self._pass = replace(self._pass, findings=self._pass.findings + 1)
        if self._pass.findings <= MOST_FINDINGS:
            self._waiting.append(remnant)
        if len(self._waiting) >= STRIDE:
            self._flush()

    def passed(self, pair: Pair) -> bool:
        """Counts it; True where it is time to look at the clock."""
        self._pass = replace(
            self._pass,
            place=pair.key if is_original(pair.key) else self._pass.place,
            objects=self._pass.objects + (pair.found is not None),
            deposits=self._pass.deposits + (pair.row is not None),
        )
        self._stride += 1
        if self._stride < STRIDE:
            return False
        self._stride = 0
        return True

    def note_if_due(self) -> None:
        """Raises Stopped, HoldLost."""
        self._settled = self._pass.place
        self._walker.progress(self._pass)
        if self._walker.stop():
            raise Stopped
        if self._walker.now() - self._noted_at >= BEAT_S:
            self._flush()
            self._noted_at = self._walker.now()
            self._remains.note(self._pass, self._clock.now())
        owed = self._pace.owed(STRIDE)
        if owed > 0:
            self._walker.wait(owed)

    def finish(self) -> Pass:
        self._flush()
        now = self._clock.now()
        for finding in self._remains.finish(self._pass, now):
            self._walker.gone(finding)
        self._held = False
        return replace(self._pass, finished_at=now)

    def release(self) -> None:
        """Whoever goes on need not wait until our hold runs out. Does nothing once finished."""
        if self._held:
            self._held = False
            left = replace(self._pass, place=self._settled)
            with suppress(HoldLost, StorageError):
                self._flush()
                self._remains.note(left, self._clock.now(), released=True)

    def _flush(self) -> None:
        found, self._waiting = self._waiting, []
        if found:
            for each in self._remains.keep(self._pass.id, found, self._clock.now()):
                self._walker.found(each)
