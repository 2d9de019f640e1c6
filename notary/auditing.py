"""Fixity audits: every original read again from storage and compared with the ledger.

An audit is begun over the ledger as it is then signed, and cut into ranges that any number of
workers on any node take one after the other; whoever finds nothing left finishes it. What is
found becomes a row and a custody event in one transaction; that an audit was finished is an event
too. If we crash anywhere, the range goes on from where it was noted last, and what was found
before is not written twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from notary.audit_part import Contradiction, Read, Reading, read_part
from notary.audits import (
    Audits,
    Counts,
    HoldLost,
    Part,
    Run,
    Scope,
    finish,
    insert_finding,
    ranges_of,
)
from notary.chronicle import Chronicle
from notary.clock import Clock
from notary.errors import Conflict, Corrupt
from notary.house import open_checkpoint
from notary.keyring import Keyring
from notary.ledger import Ledger
from notary.model import EventKind, uuid7
from notary.originals import Originals
from notary.pace import Pace
from notary.register import DEPOSIT
from notary.rereads import Finding, Rereads
from notary.wrapping import Wrapping
from storage.database import Database
from storage.objects import ObjectStore

SCHEDULE = "schedule"
"""Who began an audit that nobody asked for, and the actor of what audits enter."""
BEAT = timedelta(seconds=10)
"""How often a worker notes how far it came, at least."""
SLICE_S = 5.0
"""The longest wait in one piece: the hold must be prolonged meanwhile."""


class Stopped(Conflict):
    """The worker was told to end; its range was given back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One thread's way to take part: whether to end, how to wait, and whom to tell of a finding.
    `wait` may return early where `stop` says so by then."""

    stop: Callable[[], bool]
    wait: Callable[[float], object]
    told: Callable[[Finding], None]
    now: Callable[[], float] = time.monotonic


class Auditing:
    def __init__(
        self,
        *,
        database: Database,
        objects: ObjectStore,
        wrapping: Wrapping,
        ledger: Ledger,
        keyring: Keyring,
        chronicle: Chronicle,
        clock: Clock,
        randomness: Callable[[int], bytes],
        created_at: datetime,
        every: timedelta,
        rate: int,
    ) -> None:
        """`every` of zero begins none; `rate` as in `audits.Run`."""
        self._database = database
        self._objects = objects
        self._wrapping = wrapping
        self._ledger = ledger
        self._keyring = keyring
        self._chronicle = chronicle
        self._clock = clock
        self._randomness = randomness
        self._created_at = created_at
        self._every = every
        self._rate = rate
        self.audits = Audits(database)
        self.rereads = Rereads(database)

    def begin(self, by: str, *, rate: int | None = None, sample: int | None = None) -> Run:
        """A new audit, of so many stored originals drawn at random where `sample` says so; or the
        unfinished one, as it was begun."""
        now, head = self._clock.now(), self._ledger.head()
        ranges = tuple(ranges_of(head.size)) if sample is None else self._drawn(sample, head.size)
        run = Run(
            id=uuid7(now, self._randomness(10)),
            scope=Scope.ALL if sample is None else Scope.SAMPLE,
            rate=self._rate if rate is None else rate,
            started_by=by,
            size=head.size,
            checkpoint=head.checkpoint,
            started_at=now,
            finished_at=None,
            counts=Counts(ranges=len(ranges)),
        )
        return self.audits.begin(run, ranges)

    def is_due(self) -> bool:
        """By the schedule: so long after the last one was begun, or the house."""
        if not self._every:
            return False
        last = self.audits.newest_finished()
        since = self._created_at if last is None else last.started_at
        return self._clock.now() - since >= self._every

    def work_by_schedule(self, worker: Worker) -> None:
        """Begins an audit where one is due, and takes part until nothing is left for this worker.
        Does nothing where audits are not scheduled: one begun by hand is its beginner's alone."""
        if not self._every or (self.audits.unfinished() is None and not self.is_due()):
            return
        run = self.begin(SCHEDULE)
        while self.step(run, worker):
            pass

    def step(self, run: Run, worker: Worker) -> bool:
        """One range. False where there is none to take now: the audit is finished, or others hold
        what is left. Raises Stopped; Corrupt where the audit's checkpoint is not one of ours; and
        StorageError, where nothing is said of any original and the range is given back."""
        if worker.stop():
            raise Stopped("told to end")
        part = self.audits.claim(run.id, self._randomness(16).hex(), self._clock.now())
        if part is None:
            if self.audits.is_done(run.id):
                self._finish(run)
            return False
        with suppress(HoldLost):  # too slow: what it noted stands, and another one goes on
            _Range(self, run, part, worker).read()
        return True

    def _drawn(self, count: int, size: int) -> tuple[tuple[int, int], ...]:
        """Each index as likely as the others, in one pass over them and memory for `count`."""
        drawn: list[int] = []
        with self._database.reading() as connection:
            stored = sa.select(DEPOSIT.c.idx).where(DEPOSIT.c.stored, DEPOSIT.c.idx < size)
            rows = connection.execution_options(yield_per=1_000).execute(stored).scalars()
            for seen, index in enumerate(rows):
                if seen < count:
                    drawn.append(index)
                elif (place := self._below(seen + 1)) < count:
                    drawn[place] = index
        return tuple((index, index + 1) for index in sorted(drawn))

    def _below(self, limit: int) -> int:
        return int.from_bytes(self._randomness(8), "big") % limit

    def _finish(self, run: Run) -> None:
        counts = self.audits.run(run.id).counts
        if counts.done != counts.ranges:
            raise Corrupt(
                f"audit {run.id} was cut into {counts.ranges} ranges, {counts.done} are there",
                name="audit_range",
            )
        subject = (
            f"{run.id}: {counts.originals} originals, {counts.bytes} bytes, ledger size "
            f"{run.size}, {counts.findings} findings"
        )
        now = self._clock.now()
        try:
            self._chronicle.record(
                EventKind.AUDIT_FINISHED,
                actor=run.started_by,
                subject=subject,
                also=lambda connection, _at: finish(connection, run, now),
            )
        except Conflict:
            return  # by another worker, just now

    # --- for a range ------------------------------------------------------------------------

    def reading(
        self, run: Run, take: Callable[[int], None], pause: Callable[[float], None]
    ) -> Reading:
        history = self._keyring.history()
        signed = open_checkpoint(
            run.checkpoint, lambda size: history.at(size).log, name=f"the checkpoint of {run.id}"
        )
        if signed.size != run.size:
            raise Corrupt(
                f"audit {run.id} is of size {run.size}, its checkpoint of {signed.size}",
                name="audit_run",
            )
        return Reading(
            database=self._database,
            originals=Originals(objects=self._objects, wrapping=self._wrapping),
            history=history,
            checkpoint=signed,
            take=take,
            pause=pause,
        )

    def now(self) -> datetime:
        return self._clock.now()

    def keep(self, run: Run, read: Read, fault: Contradiction) -> Finding | None:
        """A row, and the event of the exhibit, in one transaction. None where this audit has
        found it before."""
        last = self.rereads.last((read.index,)).get(read.index)
        finding = Finding(
            run_id=run.id,
            index=read.index,
            kind=fault.kind,
            deposit_id=read.deposit_id,
            detail=fault.detail,
            found_at=self._clock.now(),
            whole_at=None if last is None else last.whole_at,
        )

        def also(connection: sa.Connection, _at: datetime) -> None:
            insert_finding(connection, finding.row())

        try:
            self._chronicle.record(
                EventKind.FIXITY_FAILED,
                actor=run.started_by,
                deposit_id=read.deposit_id,
                case_id=read.case_id,
                subject=f"{fault.kind}: audit {run.id}, entry {read.index}",
                also=also,
            )
        except Conflict:
            return None
        return finding


class _Range:
    """A range on its way: what was read of it, and since when nothing was noted."""

    def __init__(self, auditing: Auditing, run: Run, part: Part, worker: Worker) -> None:
        self._auditing = auditing
        self._run = run
        self._part = part
        self._worker = worker
        self._noted_at = auditing.now()
        # What several workers may read together, each a part of it.
        self._pace = Pace(run.rate / max(part.sharing, 1), worker.now)

    def read(self) -> None:
        """Raises Stopped, HoldLost, StorageError."""
        done = False
        try:
            for read in self._reads():
                for fault in read.contradictions:
                    finding = self._auditing.keep(self._run, read, fault)
                    if finding is not None:
                        self._worker.told(finding)
                self._part = _added(self._part, read)
            done = True
        finally:
            # Also where it ends early: whoever goes on need not wait until our hold runs out.
            self._note(released=not done)

    def _reads(self) -> Iterator[Read]:
        reading = self._auditing.reading(self._run, self._take, self._pause)
        with closing(read_part(reading, self._part.next, self._part.end)) as reads:
            yield from reads

    def _take(self, size: int) -> None:
        self._pause(self._pace.owed(size))

    def _pause(self, seconds: float) -> None:
        while True:
            if self._worker.stop():
                raise Stopped("told to end")
            if self._auditing.now() - self._noted_at >= BEAT:
                self._note()
            if seconds <= 0:
                return
            self._worker.wait(min(seconds, SLICE_S))
            seconds -= SLICE_S

    def _note(self, *, released: bool = False) -> None:
        self._noted_at = self._auditing.now()
        self._auditing.audits.note(self._part, self._noted_at, released=released)


def _added(part: Part, read: Read) -> Part:
    return replace(
        part,
        next=read.index + 1,
        deposits=part.deposits + read.is_deposit,
        originals=part.originals + read.read,
        bytes=part.bytes + read.size,
    )
