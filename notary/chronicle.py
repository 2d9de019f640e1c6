"""Enters custody events: who did what, when, as entries of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import sqlalchemy as sa

from notary import custody
from notary.clock import Clock
from notary.ledger import Growing
from notary.model import CustodyEvent, EventKind, uuid7
from notary.record import CUSTODY, SALT_BYTES, Record, build_record
from notary.register import INSERT_EVENT, event_row
from notary.sequencer import Sequencer, Work
from notary.statement import CUSTODY_TYPE, StatementSigner

Also = Callable[[sa.Connection, datetime], None]
"""Rows that belong to the event, written in its transaction. Checks before it writes."""


class _Event:
    """The work of one event."""

    alone = False
    asks = False

    def __init__(
        self,
        *,
        kind: EventKind,
        actor: str,
        deposit_id: str | None,
        case_id: str | None,
        subject: str | None,
        id_: str,
        at: datetime,
        record: Record,
        statement: bytes,
        also: Also | None,
    ) -> None:
        self._kind, self._actor, self._id = kind, actor, id_
        self._deposit_id, self._case_id, self._subject = deposit_id, case_id, subject
        self._at, self._record, self._statement, self._also = at, record, statement, also

    def settled(self, connection: sa.Connection) -> None:
        return None

    def enter(self, connection: sa.Connection, growing: Growing, at: datetime) -> CustodyEvent:
        if self._also is not None:
            self._also(connection, at)
        event = CustodyEvent(
            id=self._id,
            index=growing.size,
            kind=self._kind,
            actor=self._actor,
            deposit_id=self._deposit_id,
            case_id=self._case_id,
            subject=self._subject,
            at=self._at,
            record=self._record.text,
            disclosures=self._record.disclosures,
        )
        growing.append([self._statement])
        growing.insert(INSERT_EVENT, event_row(event))
        return event


class Chronicle:
    def __init__(
        self,
        sequencer: Sequencer,
        clock: Clock,
        randomness: Callable[[int], bytes],
    ) -> None:
        self._sequencer = sequencer
        self._clock = clock
        self._randomness = randomness

    def record(
        self,
        kind: EventKind,
        *,
        actor: str,
        deposit_id: str | None = None,
        case_id: str | None = None,
        subject: str | None = None,
        also: Also | None = None,
        terms: Mapping[str, str] | None = None,
        at: datetime | None = None,
    ) -> CustodyEvent:
        """Durable, with its index, when it returns. What `also` raises leaves nothing behind. `at`
        is the event's time where rows of `also` have it too, so that they can be compared."""
        make = self.prepare(
            kind, actor=actor, deposit_id=deposit_id, case_id=case_id, subject=subject, also=also,
            terms=terms, at=at,
        )  # fmt: skip
        return self._sequencer.submit_signed(make).outcome

    def prepare(
        self,
        kind: EventKind,
        *,
        actor: str,
        deposit_id: str | None = None,
        case_id: str | None = None,
        subject: str | None = None,
        also: Also | None = None,
        terms: Mapping[str, str] | None = None,
        at: datetime | None = None,
    ) -> Callable[[StatementSigner], Work[CustodyEvent]]:
        """The event as work for `Sequencer.submit_signed`, or for another work that enters it
        with its own."""
        now = self._clock.now() if at is None else at
        about = custody.sections(
            kind, actor=actor, deposit_id=deposit_id, case_id=case_id, subject=subject, terms=terms
        )
        id_ = uuid7(now, self._randomness(10))
        record = build_record(
            type_=CUSTODY,
            id_=id_,
            received_at=now,
            sections=about,
            salts=self._randomness(SALT_BYTES * len(about)),
        )

        def work(statements: StatementSigner) -> _Event:
            return _Event(
                kind=kind,
                actor=actor,
                deposit_id=deposit_id,
                case_id=case_id,
                subject=subject,
                id_=id_,
                at=now,
                record=record,
                statement=statements.sign(
                    record.digest(), preimage_type=CUSTODY_TYPE, randomness=self._randomness(16)
                ),
                also=also,
            )

        return work
