"""Disposals as rows: who asked, who approved, how far it came. Owns the table.

A row's state follows from its times, and each time is set once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from notary.clock import parse_rfc3339, rfc3339
from notary.errors import Conflict, Corrupt, NotFound
from storage.database import METADATA, Database

DISPOSAL = sa.Table(
    "disposal",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("deposit_id", sa.String(36), nullable=False, index=True),
    # The deposit's id until it is withdrawn, then NULL, which is never equal to another.
    sa.Column("standing", sa.String(36), unique=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("basis", sa.Text, nullable=False),
    sa.Column("stored", sa.Boolean, nullable=False),
    sa.Column("encrypted", sa.Boolean, nullable=False),
    sa.Column("requested_by", sa.String(36), nullable=False),
    sa.Column("requester", sa.String(200), nullable=False),
    sa.Column("requested_at", sa.String(27), nullable=False),
    sa.Column("approved_by", sa.String(36)),
    sa.Column("approver", sa.String(200)),
    sa.Column("approved_at", sa.String(27)),
    sa.Column("withdrawn_by", sa.String(200)),
    sa.Column("withdrawn_at", sa.String(27)),
    sa.Column("erased_at", sa.String(27)),
    sa.Column("waits_until", sa.String(27)),
    sa.Column("discarded_at", sa.String(27)),
)


class State(StrEnum):
    REQUESTED = "requested"
    WITHDRAWN = "withdrawn"
    ERASING = "erasing"
    """Approved and entered in the ledger; the journal's copies go now."""
    WAITING = "waiting"
    """Nothing here opens or proves it any more; the object's lock has not ended."""
    DISPOSED = "disposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposal:
    """`requested_by` and `approved_by` are accounts' ids, `requester` and `approver` their names
    then. `erased_at`: data key and salts are gone from database and journal. `waits_until`: when
    the object's lock ends, as far as storage says; `discarded_at`: the object is gone, or there
    never was one."""

    id: str
    deposit_id: str
    reason: str
    basis: str
    stored: bool
    encrypted: bool
    requested_by: str
    requester: str
    requested_at: datetime
    approved_by: str | None
    approver: str | None
    approved_at: datetime | None
    withdrawn_by: str | None
    withdrawn_at: datetime | None
    erased_at: datetime | None
    waits_until: datetime | None
    discarded_at: datetime | None

    @property
    def state(self) -> State:
        if self.withdrawn_at is not None:
            return State.WITHDRAWN
        if self.approved_at is None:
            return State.REQUESTED
        if self.erased_at is None:
            return State.ERASING
        return State.WAITING if self.discarded_at is None else State.DISPOSED


class Disposals:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, disposal_id: str) -> Disposal:
        """Raises NotFound (`disposal_not_found`)."""
        with self._database.reading() as connection:
            return find_disposal(connection, DISPOSAL.c.id == disposal_id)

    def of(self, deposit_id: str) -> Disposal | None:
        """The one that stands, or the newest that was withdrawn."""
        query = (
            sa.select(DISPOSAL)
            .where(DISPOSAL.c.deposit_id == deposit_id)
            .order_by(DISPOSAL.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _disposal(row)

    def list(
        self, *, unfinished: bool = False, after: str = "", limit: int = 50
    ) -> tuple[Disposal, ...]:
        """By id, which is the order in which they were asked for."""
        query = sa.select(DISPOSAL).where(DISPOSAL.c.id > after).order_by(DISPOSAL.c.id)
        if unfinished:
            query = query.where(
                DISPOSAL.c.withdrawn_at.is_(None), DISPOSAL.c.discarded_at.is_(None)
            )
        with self._database.reading() as connection:
            return tuple(map(_disposal, connection.execute(query.limit(limit))))

    def erasing(self) -> tuple[Disposal, ...]:
        return self._where(DISPOSAL.c.approved_at.is_not(None), DISPOSAL.c.erased_at.is_(None))

    def undiscarded(self, at: datetime) -> tuple[Disposal, ...]:
        """Erased, and the object may go by now."""
        over = DISPOSAL.c.waits_until.is_(None) | (DISPOSAL.c.waits_until <= rfc3339(at))
        return self._where(
            DISPOSAL.c.erased_at.is_not(None), DISPOSAL.c.discarded_at.is_(None), over
        )

    def note(self, disposals: Sequence[Disposal], **times: datetime | None) -> None:
        """Sets these times, durable when it returns."""
        values = {
            name: None if moment is None else rfc3339(moment) for name, moment in times.items()
        }
        ids = [each.id for each in disposals]
        with self._database.writing() as connection:
            connection.execute(sa.update(DISPOSAL).where(DISPOSAL.c.id.in_(ids)).values(**values))

    def _where(self, *wanted: sa.ColumnElement[bool]) -> tuple[Disposal, ...]:
        query = sa.select(DISPOSAL).where(*wanted).order_by(DISPOSAL.c.id).limit(200)
        with self._database.reading() as connection:
            return tuple(map(_disposal, connection.execute(query)))


# --- inside a transaction -------------------------------------------------------------------


def find_disposal(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> Disposal:
    """Raises NotFound (`disposal_not_found`)."""
    row = connection.execute(sa.select(DISPOSAL).where(*where)).first()
    if row is None:
        raise NotFound("no such disposal", code="disposal_not_found")
    return _disposal(row)


def insert_disposal(connection: sa.Connection, disposal: Disposal) -> None:
    """Raises Conflict (`disposal_exists`) where one stands already."""
    there = connection.execute(
        sa.select(DISPOSAL.c.id).where(DISPOSAL.c.standing == disposal.deposit_id)
    ).first()
    if there is not None:
        raise Conflict(f"disposal {there.id} was requested already", code="disposal_exists")
    connection.execute(
        sa.insert(DISPOSAL).values(
            id=disposal.id, deposit_id=disposal.deposit_id, standing=disposal.deposit_id,
            reason=disposal.reason, basis=disposal.basis, stored=disposal.stored,
            encrypted=disposal.encrypted, requested_by=disposal.requested_by,
            requester=disposal.requester, requested_at=rfc3339(disposal.requested_at),
        )
    )  # fmt: skip


def check_requested(disposal: Disposal) -> None:
    """Raises Conflict (`disposal_not_open`): it was approved or withdrawn before."""
    if disposal.state is not State.REQUESTED:
        raise Conflict(
            f"disposal {disposal.id} is {disposal.state}, not requested", code="disposal_not_open"
        )


def approve_disposal(
    connection: sa.Connection, disposal: Disposal, *, account_id: str, name: str, at: datetime
) -> None:
    connection.execute(
        sa.update(DISPOSAL)
        .where(DISPOSAL.c.id == disposal.id)
        .values(approved_by=account_id, approver=name, approved_at=rfc3339(at))
    )


def withdraw_disposal(
    connection: sa.Connection, disposal: Disposal, *, name: str, at: datetime
) -> None:
    connection.execute(
        sa.update(DISPOSAL)
        .where(DISPOSAL.c.id == disposal.id)
        .values(standing=None, withdrawn_by=name, withdrawn_at=rfc3339(at))
    )


def _disposal(row: sa.Row[Any]) -> Disposal:
    said = dict(row._mapping)  # SQLAlchemy's documented name
    del said["standing"]
    try:
        times = {
            name: None if value is None else parse_rfc3339(value)
            for name, value in said.items()
            if name.endswith("_at") or name == "waits_until"
        }
    except ValueError as exc:
        raise Corrupt(f"disposal {row.id}: {exc}", name=f"disposal {row.id}") from exc
    return Disposal(**(said | times))
