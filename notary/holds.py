"""Retentions and holds that people set, for an exhibit or for a whole case. Owns their tables.

A retention is never taken back or shortened: another, longer one is set beside it. A hold is
placed and released. How far either has been passed on to storage is noted with it: up to which
ledger index the originals it concerns have it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from notary.clock import parse_rfc3339, rfc3339
from notary.errors import Conflict, NotFound
from notary.model import Deposit
from notary.standing import Hold, Retention, Rule, Standing
from storage.database import METADATA

RETENTION = sa.Table(
    "retention",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("deposit_id", sa.String(36), index=True),
    sa.Column("case_id", sa.String(36), index=True),
    sa.Column("until", sa.String(27), nullable=False),
    sa.Column("basis", sa.Text, nullable=False),
    sa.Column("set_by", sa.String(200), nullable=False),
    sa.Column("set_at", sa.String(27), nullable=False),
    sa.Column("applied_to", sa.BigInteger),
)
HOLD = sa.Table(
    "legal_hold",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("deposit_id", sa.String(36), index=True),
    sa.Column("case_id", sa.String(36), index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("placed_by", sa.String(200), nullable=False),
    sa.Column("placed_at", sa.String(27), nullable=False),
    sa.Column("released_by", sa.String(200)),
    sa.Column("released_at", sa.String(27)),
    sa.Column("applied_to", sa.BigInteger),
    sa.Column("lifted", sa.Boolean, nullable=False, server_default=sa.false()),
)


def deployment_rule(deposit: Deposit, days: int) -> Retention | None:
    """None for 0 days."""
    if not days:
        return None
    until = deposit.registered_at + timedelta(days=days)
    return Retention(rule=Rule.DEPLOYMENT, until=until, basis=f"NOTARY_RETENTION_DAYS={days}")


def read_standing(connection: sa.Connection, deposit: Deposit, days: int) -> Standing:
    """What stands for this deposit; `days` is the deployment's rule."""
    found = [_retention(row) for row in connection.execute(_about(RETENTION, deposit))]
    own = deployment_rule(deposit, days)
    every = found if own is None else [own, *found]
    holds = connection.execute(_about(HOLD, deposit).where(HOLD.c.released_at.is_(None)))
    return Standing(
        retentions=tuple(sorted(every, key=lambda each: each.until, reverse=True)),
        holds=tuple(read_hold(row) for row in holds),
    )


def case_standing(connection: sa.Connection, case_id: str) -> Standing:
    """What stands for the case as a whole."""
    rules = connection.execute(sa.select(RETENTION).where(RETENTION.c.case_id == case_id))
    retentions = sorted(map(_retention, rules), key=lambda each: each.until, reverse=True)
    holds = connection.execute(
        sa.select(HOLD)
        .where(HOLD.c.case_id == case_id, HOLD.c.released_at.is_(None))
        .order_by(HOLD.c.id)
    )
    return Standing(retentions=tuple(retentions), holds=tuple(map(read_hold, holds)))


def insert_retention(
    connection: sa.Connection,
    *,
    id_: str,
    deposit_id: str | None,
    case_id: str | None,
    until: datetime,
    basis: str,
    by: str,
    at: datetime,
) -> None:
    connection.execute(
        sa.insert(RETENTION).values(
            id=id_, deposit_id=deposit_id, case_id=case_id, until=rfc3339(until), basis=basis,
            set_by=by, set_at=rfc3339(at),
        )
    )  # fmt: skip


def insert_hold(
    connection: sa.Connection,
    *,
    id_: str,
    deposit_id: str | None,
    case_id: str | None,
    reason: str,
    by: str,
    at: datetime,
) -> None:
    connection.execute(
        sa.insert(HOLD).values(
            id=id_, deposit_id=deposit_id, case_id=case_id, reason=reason, placed_by=by,
            placed_at=rfc3339(at),
        )
    )  # fmt: skip


def find_hold(connection: sa.Connection, hold_id: str) -> Hold:
    """Raises NotFound (`hold_not_found`)."""
    row = connection.execute(sa.select(HOLD).where(HOLD.c.id == hold_id)).first()
    if row is None:
        raise NotFound("no such hold", code="hold_not_found")
    return read_hold(row)


def release_hold(connection: sa.Connection, hold_id: str, *, by: str, at: datetime) -> None:
    """Raises Conflict (`hold_released`) where it was released before."""
    done = connection.execute(
        sa.update(HOLD)
        .where(HOLD.c.id == hold_id, HOLD.c.released_at.is_(None))
        .values(released_by=by, released_at=rfc3339(at))
    )
    if done.rowcount != 1:
        raise Conflict("the hold was released before", code="hold_released")


# --- passing on to storage -------------------------------------------------------------------


def unapplied(connection: sa.Connection, *, every: bool) -> tuple[list[Any], list[Any], list[Any]]:
    """(retentions, holds, released holds) as rows, of which storage may not know yet; with
    `every` those of cases too that it knows, since exhibits may have come since."""
    new = sa.true() if every else RETENTION.c.applied_to.is_(None)
    placed = sa.true() if every else HOLD.c.applied_to.is_(None)
    return (
        list(connection.execute(sa.select(RETENTION).where(new))),
        list(connection.execute(sa.select(HOLD).where(HOLD.c.released_at.is_(None), placed))),
        list(
            connection.execute(
                sa.select(HOLD).where(HOLD.c.released_at.is_not(None), HOLD.c.lifted.is_(False))
            )
        ),
    )


def note_applied(connection: sa.Connection, table: sa.Table, id_: str, index: int) -> None:
    """Up to this ledger index the originals that it concerns have it."""
    connection.execute(sa.update(table).where(table.c.id == id_).values(applied_to=index))


def note_lifted(connection: sa.Connection, hold_id: str) -> None:
    connection.execute(sa.update(HOLD).where(HOLD.c.id == hold_id).values(lifted=True))


def _about(table: sa.Table, deposit: Deposit) -> sa.Select[Any]:
    concerns = table.c.deposit_id == deposit.id
    if deposit.case_id is not None:
        concerns = concerns | (table.c.case_id == deposit.case_id)
    return sa.select(table).where(concerns).order_by(table.c.id)


def _rule(row: Any) -> Rule:
    return Rule.EXHIBIT if row.deposit_id is not None else Rule.CASE


def _retention(row: Any) -> Retention:
    return Retention(
        rule=_rule(row),
        until=parse_rfc3339(row.until),
        basis=row.basis,
        set_by=row.set_by,
        set_at=parse_rfc3339(row.set_at),
    )


def read_hold(row: Any) -> Hold:
    return Hold(
        id=row.id,
        rule=_rule(row),
        deposit_id=row.deposit_id,
        case_id=row.case_id,
        reason=row.reason,
        placed_by=row.placed_by,
        placed_at=parse_rfc3339(row.placed_at),
        released_by=row.released_by,
        released_at=None if row.released_at is None else parse_rfc3339(row.released_at),
    )
