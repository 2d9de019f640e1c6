"""Group commit: many acts, one transaction, one signed checkpoint.

Threads hand in their work and wait. One of them leads: it takes everything that waits, enters it
under the lock of the tree head (where the processes and nodes meet), signs, commits, and passes
the lead to the first that came in meanwhile. Before anyone gets an answer, the inclusion proof of
what it entered was built and checked.

Nothing is signed by a key that is retired: under the lock the leader asks which keys hold now, and
turns away each work whose statement the keys before them signed.

A transaction that lost against another one, or whose connection broke before the commit, is made
again. Where the answer to the commit itself was lost, the next transaction looks first, under the
lock, which the lost one must have let go of: the tree has its root at its size, or never will.

What a crash leaves: before the commit, the old tree and no rows; after it, everything. Nobody was
answered in between.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from notary.clock import Clock, rfc3339
from notary.errors import (
    Corrupt,
    Fork,
    IntegrityError,
    KeyMissing,
    KeysRotated,
    NotaryError,
    Pushback,
    Rejected,
    Rollback,
    Unreachable,
)
from notary.halt import Halt, check_told
from notary.keyring import Held, Keyring
from notary.keystore import probe
from notary.ledger import (
    Appended,
    Growing,
    SignHead,
    TreeHead,
    halt_writing,
    read_head,
    read_tile,
    resign_head,
    resume_writing,
)
from notary.statement import StatementSigner
from notary.tlog import merkle, tile
from storage.database import Database
from storage.errors import (
    CommitUnknown,
    ConnectionLost,
    StoreReadOnly,
    StoreUnavailable,
    WriteConflict,
)

MAX_WAITING = 4_096
"""Works that may wait in one process; more are turned away with 503 rather than kept waiting."""
MAX_GROUP = 512
CLOCK_SLACK = timedelta(seconds=5)
"""How far the clocks of a house's machines may differ."""

PAUSES_S = (0.0, 0.2, 1.0)
"""Before each further try of a group: a restart of the database takes about as long."""

T = TypeVar("T", covariant=True)


class Work(Protocol[T]):
    """One act to be entered: all of it or nothing."""

    alone: bool
    """It gets a transaction to itself: what it raises, also after writing, rolls it back."""
    asks: bool
    """`settled` looks into the database, so what the group entered so far must stand there."""

    def settled(self, connection: sa.Connection) -> T | None:
        """Under the lock: the outcome of an earlier identical act, if there is one.

        Raises Rejected when the act is not possible. Writes nothing.
        """

    def enter(self, connection: sa.Connection, growing: Growing, at: datetime) -> T:
        """Appends its entries to `growing` and writes its rows. May only raise before writing."""


HandOver = Callable[[sa.Connection, Growing, datetime, Held], None]
"""(transaction, tree to grow and seal, its time, the keys that hold until then)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(Generic[T]):
    """`fresh` is False when the act had been done before; then the head may be older."""

    outcome: T
    fresh: bool
    appended: Appended


class _Ticket(Generic[T]):
    __slots__ = ("committed", "error", "leads", "under", "wake", "work")

    def __init__(self, work: Work[T], under: int | None) -> None:
        self.work = work
        self.under = under
        self.wake = threading.Event()
        self.leads = False
        self.committed: Committed[T] | None = None
        self.error: BaseException | None = None

    def result(self) -> Committed[T]:
        if self.error is not None:
            raise self.error
        assert self.committed is not None
        return self.committed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entered:
    """A group in a transaction: what it appended, and what becomes of each work."""

    appended: Appended
    edge: dict[tuple[int, int], bytes]
    outcomes: tuple[tuple[_Ticket[Any], Any, bool], ...]


class Sequencer:
    def __init__(self, database: Database, clock: Clock, keyring: Keyring, halt: Halt) -> None:
        self._database = database
        self._halt = halt
        self._seen: TreeHead | None = None
        self._clock = clock
        self._keyring = keyring
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[Any]] = []
        self._led = False
        self._edge: tuple[bytes, dict[tuple[int, int], bytes]] = (b"", {})
        self._doubtful: _Entered | None = None
        """Entered in a transaction whose commit was not answered yet. The leader's alone."""

    def submit_signed(self, make: Callable[[StatementSigner], Work[T]]) -> Committed[T]:
        """As `submit`, of the work that `make` gives with a statement by the house; it is made
        again, with a new statement, where the keys were rotated meanwhile."""
        while True:
            held = self._keyring.held()
            try:
                return self.submit(make(held.statements), under=held.serial)
            except KeysRotated:
                continue  # the keyring holds the new keys now
            except KeyMissing:
                # A retired key is destroyed in its token, perhaps before we learned of it.
                if self._keyring.fresh().serial == held.serial:
                    raise

    def submit(self, work: Work[T], *, under: int | None = None) -> Committed[T]:
        """Returns when the work is durable under a signed checkpoint. `under` is the serial of the
        house's keys that signed its statements, None where others did.

        Raises what the work raised (Rejected), KeysRotated when those keys hold no longer,
        Pushback when too much waits, Unreachable when the database failed or the clock runs
        behind, IntegrityError when writing has stopped: then nothing of the work is recorded.
        """
        ticket = _Ticket(work, under)
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                raise Pushback(f"{MAX_WAITING} acts wait for the ledger already")
            self._waiting.append(ticket)
            if not self._led:
                self._led = ticket.leads = True
        if not ticket.leads:
            ticket.wake.wait()
        if ticket.leads:
            self._lead()
        return ticket.result()

    def _lead(self) -> None:
        with self._lock:
            count = _group_size(self._waiting)
            group, self._waiting = self._waiting[:count], self._waiting[count:]
        try:
            self._commit_surely(group)
        except (StoreUnavailable, NotaryError) as exc:
            if isinstance(exc, Fork | Rollback | Corrupt):
                self._stop(exc)
            failure = exc if isinstance(exc, NotaryError) else unreachable(exc)
            for ticket in group:
                ticket.committed, ticket.error = None, ticket.error or failure
        except BaseException as exc:
            # A defect: every one who waits must learn of it rather than wait for ever.
            for ticket in group:
                ticket.committed, ticket.error = None, exc
            raise
        finally:
            with self._lock:
                self._led = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].leads = True
                    self._waiting[0].wake.set()
            for ticket in group:
                ticket.wake.set()

    def _commit_surely(self, group: Sequence[_Ticket[Any]]) -> None:
        """Tries again where that is safe. A work that has a transaction of its own may not be
        entered twice; whether it stands can be asked."""
        alone = group[0].work.alone
        pauses, stale = iter(PAUSES_S), False
        self._doubtful = None
        while True:
            try:
                self._commit(group, may_enter=not alone or self._doubtful is None)
                return
            except StoreReadOnly:
                # Perhaps only this connection is from before: the next one is fresh.
                if stale or alone:
                    raise
                stale = True
            except (WriteConflict, ConnectionLost, CommitUnknown):
                pause = next(pauses, None)
                if pause is None or (alone and self._doubtful is None):
                    raise
                time.sleep(pause)

    def _commit(self, group: Sequence[_Ticket[Any]], *, may_enter: bool) -> None:
        self._halt.check()
        with self._database.writing() as connection:
            head, at, held = self._begin(connection)
            entered = self._doubtful
            if entered is None or not _stands(connection, head, entered.appended.head):
                if not may_enter:
                    raise Unreachable("the database lost its connection; nothing was registered")
                self._doubtful = None
                entered = self._enter(connection, group, head, at, held)
                self._doubtful = entered  # until the commit has returned
        self._doubtful = None
        self._edge = (entered.appended.head.root, entered.edge)
        self._seen = entered.appended.head
        for ticket, outcome, fresh in entered.outcomes:
            ticket.committed = Committed(outcome=outcome, fresh=fresh, appended=entered.appended)

    def _enter(
        self,
        connection: sa.Connection,
        group: Sequence[_Ticket[Any]],
        head: TreeHead,
        at: datetime,
        held: Held,
    ) -> _Entered:
        growing = Growing(connection, head, self._edge_of(head))
        outcomes: list[tuple[_Ticket[Any], Any, bool]] = []
        for ticket in group:
            ticket.error = None
            if ticket.under not in (None, held.serial):
                ticket.error = KeysRotated(
                    f"signed under key rotation {ticket.under}, now {held.serial} holds; "
                    "nothing was registered"
                )
                continue
            if ticket.work.asks:
                growing.flush()
            try:
                earlier = ticket.work.settled(connection)
                fresh = earlier is None
                outcome = ticket.work.enter(connection, growing, at) if fresh else earlier
            except Rejected as exc:
                if ticket.work.alone:
                    raise
                ticket.error = exc
                continue
            outcomes.append((ticket, outcome, fresh))
        appended = self._seal(growing, head, at, held.sign)
        return _Entered(appended=appended, edge=growing.edge(), outcomes=tuple(outcomes))

    def _begin(self, connection: sa.Connection) -> tuple[TreeHead, datetime, Held]:
        """Takes the lock; gives the head, this commit's time and the keys that sign it."""
        head = read_head(connection, lock=True)
        _check_head(head, self._seen)
        check_told(head.halted)
        return head, self._moment(head), self._keyring.check(connection)

    def _seal(self, growing: Growing, head: TreeHead, at: datetime, sign: SignHead) -> Appended:
        if growing.size == head.size:
            growing.flush()
            return Appended(head=head, read=growing.hash_reader())
        return growing.seal(at, sign)

    def hand_over(self, enter: HandOver) -> None:
        """One act in a transaction of its own that changes which keys sign: `enter` seals it.

        Raises as `submit` does, and what `enter` raises: then nothing is recorded.
        """
        self._halt.check()
        try:
            with self._database.writing() as connection:
                head, at, held = self._begin(connection)
                enter(connection, Growing(connection, head, {}), at, held)
        except StoreUnavailable as exc:
            raise unreachable(exc) from exc
        except (Fork, Rollback, Corrupt) as exc:
            self._stop(exc)
            raise

    def check_writing(self) -> None:
        """Raises IntegrityError (`halted`, `key_missing`, or what it sees by itself) while writing
        is stopped, Unreachable (`keys_unreachable`) while a token does not answer. A node that
        could not tell the others before tells them now."""
        seen = self._seen  # before the snapshot, which must not be older
        with self._database.reading() as connection:
            head = read_head(connection)
        try:
            _check_head(head, seen)
        except (Fork, Rollback) as exc:
            self._stop(exc)
            raise
        evidence = self._halt.evidence()
        if evidence is not None and head.halted is None:
            self._tell(evidence)
        self._halt.check()
        check_told(head.halted)
        probe(self._keyring.fresh().keys)

    def _stop(self, error: IntegrityError) -> None:
        self._tell(self._halt.stop(error, self._clock.now()))

    def _tell(self, evidence: str) -> None:
        # A database that does not take it is asked again by `check_writing`.
        with contextlib.suppress(StoreUnavailable), self._database.writing() as connection:
            halt_writing(connection, evidence)

    def resume(self) -> None:
        """A person's word that the cause is understood: every node writes again that has no
        evidence of its own. A crash in between leaves writing stopped."""
        self._halt.put_away(self._clock.now())
        with self._database.writing() as connection:
            resume_writing(connection)

    def refresh(self, older_than: timedelta) -> bool:
        """Signs the newest head anew when it is older than that, so that outsiders see a log
        that lives. False where it is younger."""
        self._halt.check()
        with self._database.reading() as connection:
            if self._clock.now() - read_head(connection).signed_at < older_than:
                return False
        with self._database.writing() as connection:
            head, at, held = self._begin(connection)
            if at - head.signed_at < older_than:
                return False
            resign_head(connection, head, at, held.sign)
        return True

    def _moment(self, head: TreeHead) -> datetime:
        """The time of this commit, never before the last. A clock that fell behind further than
        machines differ stops writing until it is right again."""
        now = self._clock.now()
        if head.signed_at - now > CLOCK_SLACK:
            raise Unreachable(
                f"the clock says {rfc3339(now)}, but the ledger's newest checkpoint was signed at "
                f"{rfc3339(head.signed_at)}",
                code="clock_behind",
                retry_after_s=30,
            )
        return max(now, head.signed_at)

    def _edge_of(self, head: TreeHead) -> dict[tuple[int, int], bytes]:
        # Another process may have grown the tree since: the root tells.
        root, edge = self._edge
        return edge if root == head.root else {}


def unreachable(exc: StoreUnavailable) -> Unreachable:
    """The database's refusal, as the house says it."""
    if isinstance(exc, StoreReadOnly):
        return Unreachable(str(exc), code="database_read_only", retry_after_s=5)
    return Unreachable(str(exc))


def _stands(connection: sa.Connection, head: TreeHead, ours: TreeHead) -> bool:
    """Under the lock: the transaction that made this head was committed, whatever came after it.
    Statements are random, so no other one can have led to its root."""
    if head.size < ours.size:
        return False
    root = merkle.root_hash(ours.size, tile.hash_reader(read_tile(connection)))
    return root == ours.root


def _check_head(head: TreeHead, seen: TreeHead | None) -> None:
    """The head may only have grown since this process saw it. Raises Rollback, Fork."""
    if seen is None:
        return
    if head.size < seen.size:
        raise Rollback(
            f"the database ends at size {head.size}, "
            f"but this process saw size {seen.size} committed"
        )
    if head.size == seen.size and head.root != seen.root:
        raise Fork(
            f"root hash mismatch at size {head.size}: database has {head.root.hex()}, "
            f"this process saw {seen.root.hex()}",
            ours=seen.checkpoint,
            theirs=head.checkpoint,
        )


def _group_size(waiting: Sequence[_Ticket[Any]]) -> int:
    """How many of the first ones share a transaction."""
    if waiting[0].work.alone:
        return 1
    for count, ticket in enumerate(waiting[:MAX_GROUP]):
        if ticket.work.alone:
            return count
    return min(len(waiting), MAX_GROUP)


def prove_own(appended: Appended, index: int, statement: bytes) -> tuple[bytes, ...]:
    """The inclusion proof of what was just entered, checked as a stranger would check it.

    Raises BadInclusion; then no answer may go out.
    """
    head = appended.head
    proof = merkle.prove_inclusion(index, head.size, appended.read)
    merkle.check_inclusion(
        index=index,
        size=head.size,
        leaf=merkle.leaf_hash(statement),
        proof=proof,
        root=head.root,
    )
    return proof
