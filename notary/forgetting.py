"""What of a deposit's rows goes when it is disposed of: one table, for the database and for the
journal's segments alike. Owns none of the tables.

What goes is what could show or prove what the deposit was: the sections with their salts, digests,
names, sizes, the wrapped data key, certificates, timestamps over the original. What stays is what
the ledger needs and a register must say: id, index, record (digests of salted sections), times,
who deposited, and the place in the case.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from notary import digests
from notary.audits import FINDING
from notary.clock import rfc3339
from notary.issued import CERTIFICATE, PAPER
from notary.model import Deposit
from notary.register import DEPOSIT, IDEMPOTENCY, USAGE
from notary.stamps import DOCUMENT_DUE, TOKEN

FINDING_GONE: Final = "what was found went with the deposit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Rows whose `by` is the deposit's id: with what in place of their values, or None to drop
    them."""

    by: str
    instead: Mapping[str, Any] | None


FORGET: Final[dict[str, Forget]] = {
    # First: a stamping under way waits for this row, or finds it gone.
    "document_timestamp_due": Forget(by="deposit_id", instead=None),
    "timestamp_token": Forget(by="deposit_id", instead=None),
    # A paper that is being made waits for this row, or finds it gone.
    "certificate": Forget(by="deposit_id", instead=None),
    "paper": Forget(by="deposit_id", instead=None),
    "idempotency": Forget(by="outcome_id", instead={"fingerprint": b""}),
    "audit_finding": Forget(by="deposit_id", instead={"detail": FINDING_GONE}),
    "deposit": Forget(
        by="id",
        instead={
            "client_reference": None,
            "name": None,
            "media_type_declared": None,
            "media_type_detected": None,
            "size": 0,
            "sha256": "",
            "digests": "{}",
            "disclosures": "",
            "data_key": None,
        },
    ),
}


def forget(connection: sa.Connection, deposit: Deposit, at: datetime) -> None:
    """In the transaction of the disposal. On SQLite what was written there is overwritten."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
    for table in (DOCUMENT_DUE, TOKEN, CERTIFICATE, PAPER, IDEMPOTENCY, FINDING, DEPOSIT):
        rule = FORGET[table.name]
        of = [table.c[rule.by] == deposit.id]
        if table is IDEMPOTENCY:
            of.append(table.c.account_id == deposit.account_id)  # there is an index for that
        if table is FINDING:
            of.append(table.c.idx == deposit.index)
        if rule.instead is None:
            connection.execute(sa.delete(table).where(*of))
        else:
            more = {"disposed_at": rfc3339(at)} if table is DEPOSIT else {}
            connection.execute(sa.update(table).where(*of).values(**rule.instead, **more))
    digests.remove(connection, deposit.index, deposit.sha256)
    if deposit.stored:
        connection.execute(
            sa.update(USAGE)
            .where(USAGE.c.account_id == deposit.account_id)
            .values(stored_bytes=USAGE.c.stored_bytes - deposit.size)
        )


def forgotten(
    table: str, columns: tuple[str, ...], rows: tuple[tuple[Any, ...], ...], ids: Collection[str]
) -> tuple[tuple[Any, ...], ...]:
    """The same of rows that were written out: those that stay, as they may be."""
    rule = FORGET.get(table)
    if rule is None or rule.by not in columns:
        return rows
    by = columns.index(rule.by)
    kept: list[tuple[Any, ...]] = []
    for row in rows:
        if row[by] not in ids:
            kept.append(row)
        elif rule.instead is not None:
            said = zip(columns, row, strict=True)
            kept.append(tuple(rule.instead.get(name, value) for name, value in said))
    return tuple(kept)
