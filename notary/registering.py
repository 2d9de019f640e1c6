"""Registers statements of outside issuers under the registration policy, each entry once.

At once: checked, entered in the next group, proved, answered. Later: checked, made durable among
those that wait, and entered by the worker's pulse, which checks again under the policy of that
moment. Both meet at the unique id of the entry.

If we crash: before the commit, it waits still, or nobody was answered; after it, it stands at its
index and waits no more, since both are one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from notary import issuers as rows
from notary.admission import AdmittedKey, admitting_key, check_admission
from notary.clock import Clock, rfc3339
from notary.errors import MalformedInput, NotFound, Pushback, Rejected
from notary.issuers import INSERT_STATEMENT, Issuers
from notary.ledger import Growing, Ledger, TreeHead
from notary.sequencer import Sequencer, prove_own
from notary.signed_statement import SignedStatement, parse_signed_statement
from notary.tlog import merkle

MOST_WAITING = 10_000
"""Statements that may wait for the worker; more are turned away."""
GROUP = 256
"""How many of them one transaction takes."""
REFUSALS_KEPT = timedelta(days=1)
"""How long one who comes back is told why a statement was refused after it had been taken."""
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """An entry with its proof against `head`, which we checked."""

    statement: SignedStatement
    index: int
    head: TreeHead
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """It is durable, and will be registered or refused."""

    id: str


class _Registration:
    """The work of one statement under the ledger's lock."""

    alone = False
    asks = True

    def __init__(self, issuers: Issuers, statement: SignedStatement, checked: AdmittedKey) -> None:
        self._issuers, self.statement, self._checked = issuers, statement, checked

    def settled(self, connection: sa.Connection) -> int | None:
        return rows.find_statement(connection, self.statement.id())

    def enter(self, connection: sa.Connection, growing: Growing, at: datetime) -> int:
        # The policy may have changed since the door looked: what counts is the one in force here.
        policy = self._issuers.newest_in(connection)
        key = admitting_key(policy, self.statement, at)
        if key.key != self._checked.key:
            check_admission(policy, self.statement, at)
        return _enter(connection, growing, self.statement, at)


class _WaitingGroup:
    """The work of those that wait, oldest first: registered or refused, each of them once."""

    alone = True
    asks = True

    def __init__(self, issuers: Issuers) -> None:
        self._issuers = issuers

    def settled(self, connection: sa.Connection) -> None:
        return None

    def enter(self, connection: sa.Connection, growing: Growing, at: datetime) -> int:
        """Gives how many it took."""
        policy = self._issuers.newest_in(connection)
        found = rows.waiting(connection, GROUP)
        for id_, entry in found:
            if rows.find_statement(connection, id_) is not None:
                rows.end_waiting(connection, id_)
                continue
            try:
                statement = parse_signed_statement(entry)
                check_admission(policy, statement, at)
            except Rejected as exc:
                rows.refuse_waiting(connection, id_, code=exc.code, detail=str(exc), at=at)
                continue
            _enter(connection, growing, statement, at)
        return len(found)


def _enter(
    connection: sa.Connection, growing: Growing, statement: SignedStatement, at: datetime
) -> int:
    index = growing.size
    growing.append([statement.entry])
    growing.insert(
        INSERT_STATEMENT,
        {
            "idx": index,
            "id": statement.id(),
            "iss": statement.issuer,
            "kid": statement.kid.hex(),
            "registered_at": rfc3339(at),
        },
    )
    rows.end_waiting(connection, statement.id())
    return index


class Registering:
    def __init__(
        self, *, issuers: Issuers, ledger: Ledger, sequencer: Sequencer, clock: Clock
    ) -> None:
        self._issuers = issuers
        self._ledger = ledger
        self._sequencer = sequencer
        self._clock = clock

    def register(self, data: bytes, *, later: bool) -> Registered | Waiting:
        """Registers it, or with `later`, and where the ledger's queue is full, lets it wait. One
        that was registered before is answered from where it stands, whatever the policy is now.

        Raises what `parse_signed_statement` and `check_admission` raise, Pushback when too much
        waits, and what the sequencer raises.
        """
        statement = parse_signed_statement(data)
        standing = self._issuers.standing(statement.id())
        if standing is not None and standing.index is not None:
            return self._registered(standing.index)
        checked = check_admission(self._issuers.newest(), statement, self._clock.now())
        if later:
            return self._wait(statement)
        try:
            committed = self._sequencer.submit(_Registration(self._issuers, statement, checked))
        except Pushback:
            return self._wait(statement)
        if not committed.fresh:
            return self._registered(committed.outcome)
        return Registered(
            statement=statement,
            index=committed.outcome,
            head=committed.appended.head,
            path=prove_own(committed.appended, committed.outcome, statement.entry),
        )

    def _wait(self, statement: SignedStatement) -> Waiting:
        self._sequencer.check_writing()
        id_ = statement.id()
        if not self._issuers.keep_waiting(
            id_, statement.entry, self._clock.now(), most=MOST_WAITING
        ):
            raise Pushback(f"{MOST_WAITING} statements wait already")
        return Waiting(id=id_)

    def resolve(self, id_: str) -> Registered | Waiting:
        """Where a statement stands. Entries that are not an outside issuer's are not found, as
        what does not exist.

        Raises MalformedInput (`locator_malformed`), NotFound (`entry_not_found`), and Rejected
        with its own code where the statement was refused after it had been taken.
        """
        if len(id_) != 64 or not _HEX.issuperset(id_):
            raise MalformedInput(
                f"an entry is named by 64 lower-case hex digits, got {id_!r:.80}",
                code="locator_malformed",
            )
        standing = self._issuers.standing(id_)
        if standing is None:
            raise NotFound(f"no entry {id_}", code="entry_not_found")
        if standing.refused is not None:
            code, detail = standing.refused
            raise Rejected(detail, code=code)
        return Waiting(id=id_) if standing.index is None else self._registered(standing.index)

    def _registered(self, index: int) -> Registered:
        """With a proof against the newest checkpoint, checked."""
        (entry,) = self._ledger.entries(index, 1)
        head, size, path = self._ledger.prove_inclusion(index)
        leaf = merkle.leaf_hash(entry)
        merkle.check_inclusion(index=index, size=size, leaf=leaf, proof=path, root=head.root)
        statement = parse_signed_statement(entry)
        return Registered(statement=statement, index=index, head=head, path=path)

    def is_due(self) -> bool:
        return self._issuers.any_waiting()

    def run(self) -> int:
        """Takes what waits until nothing does; gives how many. What the sequencer raises leaves
        the rest waiting."""
        taken = 0
        while count := self._sequencer.submit(_WaitingGroup(self._issuers)).outcome:
            taken += count
        self._issuers.forget_refused(self._clock.now() - REFUSALS_KEPT)
        return taken
