"""Disposal by two people: asked for, approved, carried out, and finished where a lock stands.

 1. Someone asks, with a reason and a legal basis. Nothing changes but a row and an entry.
 2. Someone else approves. One transaction: both may still, no hold and no retention stands, the
    entry `disposed`, and everything that opens or proves the deposit taken out of its rows, the
    wrapped data key and the salts with it.
 3. From the pulse: the journal is brought past that transaction, then every segment that had such
    rows is written anew without them.
 4. The object is discarded; where its lock has not ended, once it has.

A crash before 2 commits leaves the request; after it, 3 and 4 are due and done by any worker, from
the start as often as need be. Nothing of 2 is ever undone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from notary import access, holds
from notary.access import TABLE, Act
from notary.accounts import ACCOUNT
from notary.chronicle import Chronicle
from notary.clock import Clock, rfc3339
from notary.disposals import (
    DISPOSAL,
    Disposal,
    Disposals,
    approve_disposal,
    check_requested,
    find_disposal,
    insert_disposal,
    withdraw_disposal,
)
from notary.errors import Conflict, NotAllowed
from notary.forgetting import forget
from notary.journal import Journal
from notary.journal_forget import forget_in_journal
from notary.keyring import Keyring
from notary.model import Deposit, EventKind, Principal, Role, check_label, uuid7
from notary.originals import object_key
from notary.register import DEPOSIT, check_not_disposed, find_deposit
from notary.retention import DUE
from storage.database import Database
from storage.errors import ObjectLocked, ObjectNotFound
from storage.objects import ObjectStore


class Disposing:
    def __init__(
        self,
        *,
        database: Database,
        chronicle: Chronicle,
        journal: Journal,
        objects: ObjectStore,
        keyring: Keyring,
        origin: str,
        clock: Clock,
        randomness: Callable[[int], bytes],
        days: int,
    ) -> None:
        """`days` is the deployment's own retention, 0 for none."""
        self._database = database
        self._chronicle = chronicle
        self._journal = journal
        self._objects = objects
        self._keyring = keyring
        self._origin = origin
        self._clock = clock
        self._randomness = randomness
        self._days = days
        self.disposals = Disposals(database)

    # --- people -----------------------------------------------------------------------------

    def request(self, by: Principal, deposit: Deposit, *, reason: str, basis: str) -> Disposal:
        """Raises NotAllowed; MalformedInput; Gone; Conflict (`hold_stands`, `retention_stands`,
        `disposal_exists`)."""
        access.check(by, Act.REQUEST_DISPOSAL)
        reason = check_label(reason, what="reason")
        basis = check_label(basis, what="basis")
        now = self._clock.now()
        asked = Disposal(
            id=uuid7(now, self._randomness(10)), deposit_id=deposit.id, reason=reason, basis=basis,
            stored=deposit.stored, encrypted=deposit.data_key is not None,
            requested_by=by.account_id, requester=by.name, requested_at=now, approved_by=None,
            approver=None, approved_at=None, withdrawn_by=None, withdrawn_at=None, erased_at=None,
            waits_until=None, discarded_at=None,
        )  # fmt: skip

        def also(connection: sa.Connection, at: datetime) -> None:
            self._check_free(connection, deposit.id, at)
            insert_disposal(connection, asked)

        self._chronicle.record(
            EventKind.DISPOSAL_REQUESTED, actor=by.name, deposit_id=deposit.id,
            case_id=deposit.case_id, subject=asked.id,
            terms={"reason": reason, "basis": basis}, also=also, at=now,
        )  # fmt: skip
        return asked

    def withdraw(self, by: Principal, disposal: Disposal, *, reason: str) -> None:
        """By whoever could have asked. Raises NotAllowed, MalformedInput, Conflict
        (`disposal_not_open`)."""
        access.check(by, Act.REQUEST_DISPOSAL)
        reason = check_label(reason, what="reason")
        now = self._clock.now()

        def also(connection: sa.Connection, _at: datetime) -> None:
            there = find_disposal(connection, DISPOSAL.c.id == disposal.id)
            check_requested(there)
            withdraw_disposal(connection, there, name=by.name, at=now)

        self._chronicle.record(
            EventKind.DISPOSAL_WITHDRAWN, actor=by.name, deposit_id=disposal.deposit_id,
            subject=disposal.id, terms={"reason": reason}, also=also, at=now,
        )  # fmt: skip

    def approve(self, by: Principal, disposal: Disposal) -> Disposal:
        """The disposal is done when this returns: what is left to do can't be stopped.

        Raises NotAllowed (`same_person`: two accounts must act, whatever keys they use), Conflict
        (`disposal_role_lost`, `disposal_not_open`, `hold_stands`, `retention_stands`)."""
        access.check(by, Act.APPROVE_DISPOSAL)
        now = self._clock.now()

        def also(connection: sa.Connection, at: datetime) -> None:
            there = find_disposal(connection, DISPOSAL.c.id == disposal.id)
            check_requested(there)
            _check_two(connection, there, by)
            deposit = self._check_free(connection, there.deposit_id, at)
            approve_disposal(connection, there, account_id=by.account_id, name=by.name, at=now)
            forget(connection, deposit, now)

        with self._database.reading() as connection:
            named = find_deposit(connection, DEPOSIT.c.id == disposal.deposit_id)
        self._chronicle.record(
            EventKind.DISPOSED, actor=by.name, deposit_id=disposal.deposit_id,
            case_id=None if named is None else named.case_id, subject=disposal.id,
            terms={
                "reason": disposal.reason, "basis": disposal.basis,
                "requested_by": disposal.requester,
                "requested_at": rfc3339(disposal.requested_at),
            },
            also=also, at=now,
        )  # fmt: skip
        return self.disposals.get(disposal.id)

    def _check_free(self, connection: sa.Connection, deposit_id: str, at: datetime) -> Deposit:
        deposit = find_deposit(connection, DEPOSIT.c.id == deposit_id)
        check_not_disposed(deposit)
        assert deposit is not None  # rows of deposits are never removed
        holds.read_standing(connection, deposit, self._days).check_disposable(at)
        return deposit

    # --- the pulse --------------------------------------------------------------------------

    def is_due(self) -> bool:
        return bool(self.disposals.erasing() or self.disposals.undiscarded(self._clock.now()))

    def run(self) -> int:
        """Brings every approved disposal as far as it goes now; gives how many came to their end.

        Raises Corrupt where the journal is damaged, and what storage raises: what is due stays
        due."""
        self._erase()
        return sum(self._discard(each) for each in self.disposals.undiscarded(self._clock.now()))

    def _erase(self) -> None:
        due = self.disposals.erasing()
        if not due:
            return
        # First the journal knows of the disposals: a rebuild must never miss one whose traces in
        # older segments are gone.
        if self._journal.run().covered is None:
            return  # another worker is writing it
        place = self._journal.place()
        if place.staged is not None:
            return
        ids = {each.deposit_id for each in due}
        with self._database.reading() as connection:
            first = connection.execute(
                sa.select(sa.func.min(DEPOSIT.c.idx)).where(DEPOSIT.c.id.in_(ids))
            ).scalar_one()
        held = self._keyring.fresh()
        keys = self._keyring.history().all().statement
        # Until there is nothing left to find: another worker may have been in the middle of it.
        while forget_in_journal(
            self._objects, origin=self._origin, first_entry=first, end=place.number,
            newest=place.digest, ids=ids, statement_keys=keys, sign=held.keys.statement.sign,
            at=rfc3339(self._clock.now()),
        ):  # fmt: skip
            pass
        self.disposals.note(due, erased_at=self._clock.now())

    def _discard(self, disposal: Disposal) -> bool:
        key = object_key(disposal.deposit_id)
        if disposal.stored:
            with self._database.reading() as connection:
                deposit = find_deposit(connection, DEPOSIT.c.id == disposal.deposit_id)
                if connection.execute(sa.select(DUE.c.key).where(DUE.c.key == key)).first():
                    return False  # first it gets the retention that it was promised
            version = None if deposit is None else deposit.object_version
            try:
                protection = self._objects.protection(key, version=version)
                if protection.held:
                    # None of ours stands, or it would not have been approved.
                    self._objects.hold(key, version=version, on=False)
                self._objects.discard(key, version=version)
            except ObjectNotFound:
                pass  # by another worker, or by this one before a crash
            except ObjectLocked:
                if protection.until != disposal.waits_until:
                    self.disposals.note([disposal], waits_until=protection.until)
                return False
        self.disposals.note([disposal], discarded_at=self._clock.now())
        return True


def _check_two(connection: sa.Connection, disposal: Disposal, by: Principal) -> None:
    """Two accounts, both of which may still act now. Raises NotAllowed, Conflict."""
    if disposal.requested_by == by.account_id:
        raise NotAllowed(
            f"{disposal.requester!r} asked for this disposal: another person must approve it",
            code="same_person",
        )
    rows = connection.execute(
        sa.select(ACCOUNT.c.id, ACCOUNT.c.role).where(
            ACCOUNT.c.id.in_((disposal.requested_by, by.account_id)),
            ACCOUNT.c.disabled_at.is_(None),
        )
    )
    roles = {row.id: Role(row.role) for row in rows}
    for account_id, name, act in (
        (disposal.requested_by, disposal.requester, Act.REQUEST_DISPOSAL),
        (by.account_id, by.name, Act.APPROVE_DISPOSAL),
    ):
        role = roles.get(account_id)
        if role is None or act not in TABLE[role]:
            raise Conflict(
                f"{name!r} may no longer {act}: withdraw the request, and let another ask",
                code="disposal_role_lost",
            )
