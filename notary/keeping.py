"""Retentions and holds: set by people, entered in the ledger, passed on to storage.

What people set holds at once, in the transaction that enters it: no disposal is approved against
it. Storage is told afterwards, from the pulse, exhibit by exhibit; a crash between leaves that to
the next pulse. The hourly run tells it of exhibits that came into a case since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from notary import access, holds
from notary.access import Act
from notary.chronicle import Chronicle
from notary.clock import Clock, parse_rfc3339, rfc3339
from notary.errors import MalformedInput
from notary.model import Case, Deposit, EventKind, Principal, check_label, uuid7
from notary.originals import object_key
from notary.register import DEPOSIT, check_not_disposed, find_deposit
from notary.standing import Hold, Standing
from storage.database import Database
from storage.errors import ObjectLocked, ObjectNotFound
from storage.objects import ObjectStore

MAX_YEARS = 1_000
CHUNK = 500
Matter = Deposit | Case


class Keeping:
    def __init__(
        self,
        *,
        database: Database,
        chronicle: Chronicle,
        objects: ObjectStore,
        clock: Clock,
        randomness: Callable[[int], bytes],
        days: int,
    ) -> None:
        """`days` is the deployment's own rule, 0 for none."""
        self._database = database
        self._chronicle = chronicle
        self._objects = objects
        self._clock = clock
        self._randomness = randomness
        self.days = days

    def standing(self, matter: Matter) -> Standing:
        with self._database.reading() as connection:
            if isinstance(matter, Case):
                return holds.case_standing(connection, matter.id)
            return holds.read_standing(connection, matter, self.days)

    def hold(self, hold_id: str) -> Hold:
        """Raises NotFound (`hold_not_found`)."""
        with self._database.reading() as connection:
            return holds.find_hold(connection, hold_id)

    def retain(self, by: Principal, matter: Matter, *, until: datetime, basis: str) -> None:
        """Beside what was set before: the longest counts. Raises NotAllowed, MalformedInput
        (`retention_malformed`), Gone."""
        access.check(by, Act.SET_RETENTION)
        basis = check_label(basis, what="basis")
        now = self._clock.now()
        if not now < until < now.replace(year=min(9999, now.year + MAX_YEARS)):
            raise MalformedInput(
                f"a retention lasts into the future, at most {MAX_YEARS} years: {rfc3339(until)}; "
                f"now it is {rfc3339(now)}",
                code="retention_malformed",
            )
        id_ = uuid7(now, self._randomness(10))
        deposit_id, case_id = _named(matter)

        def also(connection: sa.Connection, _at: datetime) -> None:
            _check_here(connection, matter)
            holds.insert_retention(
                connection, id_=id_, deposit_id=deposit_id,
                case_id=None if deposit_id else case_id,
                until=until, basis=basis, by=by.name, at=now,
            )  # fmt: skip

        self._chronicle.record(
            EventKind.RETENTION_SET, actor=by.name, deposit_id=deposit_id, case_id=case_id,
            subject=id_, terms={"until": rfc3339(until), "basis": basis}, also=also, at=now,
        )  # fmt: skip

    def place(self, by: Principal, matter: Matter, *, reason: str) -> Hold:
        """Raises NotAllowed, MalformedInput, Gone."""
        access.check(by, Act.HOLD)
        reason = check_label(reason, what="reason")
        now = self._clock.now()
        id_ = uuid7(now, self._randomness(10))
        deposit_id, case_id = _named(matter)

        def also(connection: sa.Connection, _at: datetime) -> None:
            _check_here(connection, matter)
            holds.insert_hold(
                connection, id_=id_, deposit_id=deposit_id,
                case_id=None if deposit_id else case_id, reason=reason, by=by.name, at=now,
            )  # fmt: skip

        self._chronicle.record(
            EventKind.HOLD_PLACED, actor=by.name, deposit_id=deposit_id, case_id=case_id,
            subject=id_, terms={"reason": reason}, also=also, at=now,
        )  # fmt: skip
        return self.hold(id_)

    def release(self, by: Principal, hold: Hold, *, reason: str) -> None:
        """Raises NotAllowed, MalformedInput, Conflict (`hold_released`)."""
        access.check(by, Act.HOLD)
        reason = check_label(reason, what="reason")
        now = self._clock.now()
        self._chronicle.record(
            EventKind.HOLD_RELEASED, actor=by.name, deposit_id=hold.deposit_id,
            case_id=hold.case_id, subject=hold.id, terms={"reason": reason},
            also=lambda connection, _at: holds.release_hold(
                connection, hold.id, by=by.name, at=now
            ),
            at=now,
        )  # fmt: skip

    # --- storage ------------------------------------------------------------------------------

    def is_due(self) -> bool:
        with self._database.reading() as connection:
            return any(holds.unapplied(connection, every=False))

    def apply(self, *, every: bool = False) -> int:
        """Tells storage what it does not know yet, and with `every` of exhibits that came since;
        gives of how many originals. Raises what the store raises: the rest is for the next run."""
        with self._database.reading() as connection:
            retentions, placed, released = holds.unapplied(connection, every=every)
        told = 0
        for row in retentions:
            until = parse_rfc3339(row.until)
            told += self._each(holds.RETENTION, row, partial(self._retain, until=until))
        for row in placed:
            told += self._each(holds.HOLD, row, partial(self._held, on=True))
        for row in released:
            told += self._lift(row)
        return told

    def _each(self, table: sa.Table, row: Any, tell: Callable[[str, str | None], None]) -> int:
        told = 0
        last = -1 if row.applied_to is None else row.applied_to
        for deposits in self._concerned(row, last):
            for deposit in deposits:
                tell(object_key(deposit.id), deposit.object_version)
            told += len(deposits)
            last = deposits[-1].idx
            self._note(table, row.id, last)
        if row.applied_to is None and not told:
            self._note(table, row.id, last)
        return told

    def _lift(self, row: Any) -> int:
        told = 0
        for deposits in self._concerned(row, -1):
            for each in deposits:
                with self._database.reading() as connection:
                    deposit = find_deposit(connection, DEPOSIT.c.id == each.id)
                    assert deposit is not None
                    standing = holds.read_standing(connection, deposit, 0)
                if not standing.holds:
                    self._held(object_key(each.id), deposit.object_version, on=False)
                told += 1
        with self._database.writing() as connection:
            holds.note_lifted(connection, row.id)
        return told

    def _note(self, table: sa.Table, id_: str, index: int) -> None:
        with self._database.writing() as connection:
            holds.note_applied(connection, table, id_, index)

    def _concerned(self, row: Any, after: int) -> Iterator[list[Any]]:
        """The stored deposits that it is about, in order, a bounded number at a time."""
        about = (
            DEPOSIT.c.id == row.deposit_id
            if row.deposit_id is not None
            else DEPOSIT.c.case_id == row.case_id
        )
        here = (about, DEPOSIT.c.stored, DEPOSIT.c.disposed_at.is_(None))
        while True:
            query = sa.select(DEPOSIT.c.id, DEPOSIT.c.idx, DEPOSIT.c.object_version).where(
                *here, DEPOSIT.c.idx > after
            )
            with self._database.reading() as connection:
                found = list(connection.execute(query.order_by(DEPOSIT.c.idx).limit(CHUNK)))
            if not found:
                return
            yield found
            after = found[-1].idx

    def _retain(self, key: str, version: str | None, until: datetime) -> None:
        # A longer one stays; an original that is missing is the audits' to name.
        with suppress(ObjectLocked, ObjectNotFound):
            self._objects.retain(key, version=version, until=until)

    def _held(self, key: str, version: str | None, *, on: bool) -> None:
        with suppress(ObjectNotFound):
            self._objects.hold(key, version=version, on=on)


def _named(matter: Matter) -> tuple[str | None, str | None]:
    """(deposit id, case id) as the event names them."""
    return (None, matter.id) if isinstance(matter, Case) else (matter.id, matter.case_id)


def _check_here(connection: sa.Connection, matter: Matter) -> None:
    if isinstance(matter, Deposit):
        check_not_disposed(find_deposit(connection, DEPOSIT.c.id == matter.id))
