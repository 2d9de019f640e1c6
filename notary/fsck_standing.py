"""Part of fsck: retentions, holds and disposals against the custody events that entered them.

The rows are what the house goes by; the events, whose terms the ledger commits to, are what people
did. Each event must have its row, saying the same, and each row its event. That an event is itself
the ledger's is checked with the other records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from notary.accounts import ACCOUNT
from notary.clock import parse_rfc3339
from notary.disposals import DISPOSAL
from notary.errors import MalformedInput, NotaryError
from notary.findings import CHUNK, Findings
from notary.holds import HOLD, RETENTION
from notary.model import EventKind
from notary.record import disclosed, parse_record
from notary.register import CUSTODY, DEPOSIT
from storage.database import Database

Said = Mapping[str, object]
"""Columns of a row as an event has them."""
_NAMES: Final = {RETENTION: "retention", HOLD: "hold", DISPOSAL: "disposal"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """What an event of these kinds says."""

    kind: EventKind
    actor: object
    about: Mapping[str, object]
    terms: Mapping[str, object]
    at: object

    @property
    def matter(self) -> Said:
        """An exhibit's event may name its case as well; its row does not."""
        deposit = self.about.get("deposit")
        return {
            "deposit_id": deposit,
            "case_id": None if deposit is not None else self.about.get("case"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entered:
    """How a kind is entered: `said` are the row's columns after it, and only with one of it
    `since` is not NULL."""

    table: sa.Table
    said: Callable[[_Event], Said]
    since: sa.Column[Any]


ENTERED: Final[dict[EventKind, _Entered]] = {
    EventKind.RETENTION_SET: _Entered(
        table=RETENTION,
        said=lambda event: {
            **event.matter, "until": event.terms.get("until"), "basis": event.terms.get("basis"),
            "set_by": event.actor, "set_at": event.at,
        },
        since=RETENTION.c.id,
    ),
    EventKind.HOLD_PLACED: _Entered(
        table=HOLD,
        said=lambda event: {
            **event.matter, "reason": event.terms.get("reason"), "placed_by": event.actor,
            "placed_at": event.at,
        },
        since=HOLD.c.id,
    ),
    EventKind.HOLD_RELEASED: _Entered(
        table=HOLD,
        said=lambda event: {
            **event.matter, "released_by": event.actor, "released_at": event.at,
        },
        since=HOLD.c.released_at,
    ),
    EventKind.DISPOSAL_REQUESTED: _Entered(
        table=DISPOSAL,
        said=lambda event: {
            "deposit_id": event.about.get("deposit"), "reason": event.terms.get("reason"),
            "basis": event.terms.get("basis"), "requester": event.actor,
            "requested_at": event.at,
        },
        since=DISPOSAL.c.id,
    ),
    EventKind.DISPOSAL_WITHDRAWN: _Entered(
        table=DISPOSAL,
        said=lambda event: {
            "deposit_id": event.about.get("deposit"), "withdrawn_by": event.actor,
            "withdrawn_at": event.at,
        },
        since=DISPOSAL.c.withdrawn_at,
    ),
    EventKind.DISPOSED: _Entered(
        table=DISPOSAL,
        said=lambda event: {
            "deposit_id": event.about.get("deposit"), "reason": event.terms.get("reason"),
            "basis": event.terms.get("basis"), "requester": event.terms.get("requested_by"),
            "requested_at": event.terms.get("requested_at"), "approver": event.actor,
            "approved_at": event.at,
        },
        since=DISPOSAL.c.approved_at,
    ),
}  # fmt: skip


def check_standing(database: Database, findings: Findings) -> None:
    """Names each retention, hold and disposal that was removed, added or changed beside its
    events. One snapshot, in bounded memory."""
    with database.reading() as connection:
        _events(connection, findings)
        for kind, entered in ENTERED.items():
            _without_event(connection, kind, entered, findings)
        _disposals(connection, findings)


def _events(connection: sa.Connection, findings: Findings) -> None:
    columns = (
        CUSTODY.c.idx, CUSTODY.c.id, CUSTODY.c.kind, CUSTODY.c.subject, CUSTODY.c.record,
        CUSTODY.c.disclosures,
    )  # fmt: skip
    kinds = [kind.value for kind in ENTERED]
    last = -1
    while True:
        found = connection.execute(
            sa.select(*columns)
            .where(CUSTODY.c.kind.in_(kinds), CUSTODY.c.idx > last)
            .order_by(CUSTODY.c.idx)
            .limit(CHUNK)
        ).all()
        if not found:
            return
        last = found[-1].idx
        rows = {
            (table, row.id): row
            for table in _NAMES
            for row in connection.execute(
                sa.select(table).where(table.c.id.in_([event.subject for event in found]))
            )
        }
        for event in found:
            _compare(event, rows, findings)


def _compare(
    row: Any, rows: Mapping[tuple[sa.Table, str], sa.Row[Any]], findings: Findings
) -> None:
    entered = ENTERED[EventKind(row.kind)]
    name = f"{_NAMES[entered.table]} {row.subject}"
    try:
        said = _read(row)
    except NotaryError as exc:
        findings.fault(f"event {row.id}", exc)
        return
    there = rows.get((entered.table, row.subject))
    if there is None:
        findings.fault(name, f"is missing; entry {row.idx} is of it ({said.kind})")
        return
    for column, value in entered.said(said).items():
        ours = getattr(there, column)
        if ours != value:
            findings.fault(
                name, f"{column} is {ours!r} in the row, {value!r} in entry {row.idx} ({said.kind})"
            )


def _read(row: Any) -> _Event:
    """Raises NotaryError for a record that can't be read or says another kind."""
    record = parse_record(row.record)
    match disclosed(record, tuple(row.disclosures.split())):
        case {
            "act": {"kind": row.kind},
            "actor": {"account": actor},
            "about": dict(about),
            "terms": dict(terms),
        }:
            return _Event(
                kind=EventKind(row.kind), actor=actor, about=about, terms=terms,
                at=record["received_at"],
            )  # fmt: skip
    raise MalformedInput(f"its record shows no terms of {row.kind}", code="event_malformed")


def _without_event(
    connection: sa.Connection, kind: EventKind, entered: _Entered, findings: Findings
) -> None:
    table = entered.table
    entries = sa.select(CUSTODY.c.subject).where(
        CUSTODY.c.kind == kind.value, CUSTODY.c.subject.is_not(None)
    )
    for id_ in connection.execute(
        sa.select(table.c.id)
        .where(entered.since.is_not(None), table.c.id.not_in(entries))
        .order_by(table.c.id)
    ).scalars():
        findings.fault(f"{_NAMES[table]} {id_}", f"the ledger has no entry of it ({kind})")


# What no event says of a disposal follows from other rows.


def _disposals(connection: sa.Connection, findings: Findings) -> None:
    requester, approver = ACCOUNT.alias(), ACCOUNT.alias()
    query = (
        sa.select(
            DISPOSAL,
            DEPOSIT.c.stored.label("is_stored"),
            DEPOSIT.c.data_key.is_not(None).label("has_key"),
            DEPOSIT.c.disposed_at,
            requester.c.name.label("requester_now"),
            approver.c.name.label("approver_now"),
        )
        .outerjoin(DEPOSIT, DEPOSIT.c.id == DISPOSAL.c.deposit_id)
        .outerjoin(requester, requester.c.id == DISPOSAL.c.requested_by)
        .outerjoin(approver, approver.c.id == DISPOSAL.c.approved_by)
        .order_by(DISPOSAL.c.id)
    )
    for row in connection.execute(query, execution_options={"yield_per": CHUNK}):
        name = f"disposal {row.id}"
        for what, ours, other in _pairs(row):
            if ours != other:
                findings.fault(name, f"{what} is {ours!r} in the row, and must be {other!r}")
        for what in ("approved_at", "erased_at", "discarded_at", "waits_until", "withdrawn_at"):
            _time(name, what, getattr(row, what), findings)
        if row.erased_at is not None and row.approved_at is None:
            findings.fault(name, f"was carried out at {row.erased_at}, and never approved")
        if row.discarded_at is not None and row.erased_at is None:
            findings.fault(name, f"its object went at {row.discarded_at}, its data key never did")


def _pairs(row: sa.Row[Any]) -> list[tuple[str, object, object]]:
    """(column, what it says, what it must say)."""
    withdrawn = row.withdrawn_at is not None
    pairs: list[tuple[str, object, object]] = [
        ("standing", row.standing, None if withdrawn else row.deposit_id),
        ("stored", row.stored, row.is_stored),
        ("requested_by", row.requester_now, row.requester),
    ]
    if row.approved_at is None:
        if not withdrawn and row.disposed_at is None:
            pairs.append(("encrypted", row.encrypted, bool(row.has_key)))
        pairs += [("approved_by", row.approved_by, None), ("approver", row.approver, None)]
    else:
        pairs.append(("approved_by", row.approver_now, row.approver))
        pairs.append(("approved_at", row.approved_at, row.disposed_at))
    return pairs


def _time(name: str, what: str, text: str | None, findings: Findings) -> None:
    try:
        if text is not None:
            parse_rfc3339(text)
    except ValueError as exc:
        findings.fault(name, f"{what}: {exc}")
