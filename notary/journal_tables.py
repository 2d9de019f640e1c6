"""What becomes of each table when the database dies: one list, complete by test.

The journal holds what object storage and tiles can't give back. Tables that grow with the ledger
are read by index. Of the others each changed row is noted by a trigger in the very transaction
that changed it, so nothing is lost to clocks or to numbers that commit out of order, and no room
that writes such a table needs to know of the journal. Owns the table of notes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa

from storage.database import METADATA


class Way(Enum):
    """How a table survives."""

    LEDGER = "by ledger index, as the entries; a later change or removal as below"
    CHANGED = "each row that was inserted, changed or removed, as it is then"
    HEAD = "the newest signed head, with each segment that reaches it"
    DERIVED = "not journalled: made again from the others"
    LOST = "not journalled: gone with the database, and meant to be"
    OWN = "the journal's own place in this database"


WAYS: Final[dict[str, Way]] = {
    "entry": Way.LEDGER,
    "deposit": Way.LEDGER,
    "custody_event": Way.LEDGER,
    "tree_head": Way.HEAD,
    "tile": Way.DERIVED,
    "usage": Way.DERIVED,
    "deposit_digest": Way.DERIVED,
    "house": Way.CHANGED,
    "account": Way.CHANGED,
    "api_key": Way.CHANGED,
    "court_case": Way.CHANGED,
    "party": Way.CHANGED,
    "idempotency": Way.CHANGED,
    "batch": Way.CHANGED,
    "batch_note": Way.CHANGED,
    "certificate": Way.CHANGED,
    "stamped_checkpoint": Way.CHANGED,
    "timestamp_token": Way.CHANGED,
    "fresh_token": Way.CHANGED,
    "document_timestamp_due": Way.CHANGED,
    "timestamp_authority": Way.CHANGED,
    "embedded_authority": Way.CHANGED,
    "witnessed_checkpoint": Way.CHANGED,
    "witness": Way.CHANGED,
    "key_rotation": Way.CHANGED,
    "registration_policy": Way.CHANGED,
    "signed_statement": Way.LEDGER,
    "waiting_statement": Way.CHANGED,
    "retention_due": Way.CHANGED,
    "audit_run": Way.CHANGED,
    "audit_range": Way.CHANGED,
    "audit_finding": Way.CHANGED,
    "retention": Way.CHANGED,
    "legal_hold": Way.CHANGED,
    "disposal": Way.CHANGED,
    "hash_tree": Way.CHANGED,
    "hash_tree_chunk": Way.CHANGED,
    "archive_timestamp": Way.CHANGED,
    "revocation_data": Way.CHANGED,
    # Whoever was signed in signs in again; an account without a password needs `notary link`.
    "session": Way.LOST,
    "sign_in_link": Way.LOST,
    # Drawn and sealed again when they are asked for.
    "paper": Way.LOST,
    # Counts of a minute: all begin again.
    "request_count": Way.LOST,
    # Whoever is there first takes the job.
    "job_lease": Way.LOST,
    # What is found is found again; and a database that was made again begins anew.
    "remains_pass": Way.LOST,
    "remains_finding": Way.LOST,
    "condemned_original": Way.LOST,
    "database_began": Way.LOST,
    "journal": Way.OWN,
    "journal_change": Way.OWN,
}
"""Every table of the house. A table that grows with the ledger has its index in `idx`."""

CHANGE = sa.Table(
    "journal_change",
    METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("tbl", sa.String(63), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
)
"""Rows that the journal has not yet. `key` is the primary key as a JSON array, bytes in hex. One
line for each change, never merged: a change made while an earlier one is being written out must
not be taken away with it."""

KEYS_AT_ONCE = 200

Key = tuple[Any, ...]


def tables(*ways: Way) -> list[sa.Table]:
    """Those that survive in these ways, in an order in which rows can be inserted."""
    return [table for table in METADATA.sorted_tables if WAYS.get(table.name) in ways]


def read_key(table: sa.Table, text: str) -> Key:
    """The primary key that a trigger noted."""
    return tuple(
        bytes.fromhex(value) if isinstance(column.type, sa.LargeBinary) else value
        for column, value in zip(table.primary_key, json.loads(text), strict=True)
    )


def rows_by_key(
    connection: sa.Connection, table: sa.Table, keys: Collection[Key]
) -> Iterator[Sequence[Any]]:
    """The rows that are there, whole, in the order of the keys' chunks."""
    columns = list(table.primary_key)
    for chunk in _chunked(keys):
        wanted = (
            columns[0].in_([key[0] for key in chunk])
            if len(columns) == 1
            else sa.tuple_(*columns).in_(chunk)
        )
        yield from connection.execute(sa.select(table).where(wanted).order_by(*columns))


def key_of(table: sa.Table, row: Sequence[Any]) -> Key:
    names = list(table.columns)
    return tuple(row[names.index(column)] for column in table.primary_key)


def _chunked(keys: Iterable[Key]) -> Iterator[list[Key]]:
    rest = iter(keys)
    while chunk := list(islice(rest, KEYS_AT_ONCE)):
        yield chunk


# --- triggers ---------------------------------------------------------------------------------

_WATCHED: Final = {
    Way.CHANGED: ("INSERT", "UPDATE", "DELETE"),
    # The ledger's own rows are found by their index. What is later changed in them is not.
    Way.LEDGER: ("UPDATE", "DELETE"),
}


def watch(connection: sa.Connection, table: sa.Table, way: Way) -> None:
    """For the revision that makes the table, in its transaction: no row is ever there before its
    trigger. Revisions that were released depend on what it does."""
    for statement in _triggers(table, way, connection.dialect.name):
        connection.exec_driver_sql(statement)


def _triggers(table: sa.Table, way: Way, dialect: str) -> Iterator[str]:
    if table.name == "entry":
        return  # what an entry is never changes: another one would not be in the tree
    for event in _WATCHED.get(way, ()):
        name = f"journal_{table.name}_{event.lower()}"
        row = "OLD" if event == "DELETE" else "NEW"
        key = ", ".join(_shown(row, column, dialect) for column in table.primary_key)
        if dialect == "sqlite":
            yield (
                f'CREATE TRIGGER "{name}" AFTER {event} ON "{table.name}" BEGIN '  # noqa: S608  # our own names
                f'INSERT INTO journal_change (tbl, "key") '
                f"VALUES ('{table.name}', json_array({key})); END"
            )
        else:
            yield (
                f'CREATE FUNCTION "{name}"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN '  # noqa: S608
                f'INSERT INTO journal_change (tbl, "key") '
                f"VALUES ('{table.name}', json_build_array({key})::text); RETURN NULL; END $$"
            )
            yield (
                f'CREATE TRIGGER "{name}" AFTER {event} ON "{table.name}" '
                f'FOR EACH ROW EXECUTE FUNCTION "{name}"()'
            )


def _shown(row: str, column: sa.Column[Any], dialect: str) -> str:
    value = f'{row}."{column.name}"'
    if not isinstance(column.type, sa.LargeBinary):
        return value
    return f"lower(hex({value}))" if dialect == "sqlite" else f"encode({value}, 'hex')"
