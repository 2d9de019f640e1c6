"""What a segment holds, read from one snapshot: rows by ledger index, and rows that were noted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from notary.clock import parse_rfc3339
from notary.journal_segment import Block
from notary.journal_tables import CHANGE, Key, Way, key_of, read_key, rows_by_key, tables

ENTRIES, CHUNK = 4_096, 256
"""Entries in a segment at most, and how many are read at a time."""
CHANGES, SLICE = 8_192, 256
BYTES = 8 << 20
"""A segment ends with the chunk or slice that brings it past this size, uncompressed."""


def noted(connection: sa.Connection) -> Sequence[Any]:
    """One more than a segment holds, which tells that there are more."""
    return connection.execute(sa.select(CHANGE).order_by(CHANGE.c.id).limit(CHANGES + 1)).all()


def entered_rows(connection: sa.Connection, first: int, size: int) -> tuple[int, list[Block]]:
    """(end, blocks): the rows of the entries from `first` up to `end`."""
    found: dict[sa.Table, list[Sequence[Any]]] = {table: [] for table in tables(Way.LEDGER)}
    end, weight = first, 0
    while end < min(size, first + ENTRIES) and weight < BYTES:
        start, end = end, min(size, first + ENTRIES, end + CHUNK)
        for table, rows in found.items():
            more = connection.execute(
                sa.select(table)
                .where(table.c.idx >= start, table.c.idx < end)
                .order_by(table.c.idx)
            )
            for row in more:
                rows.append(row)
                weight += _weight_of(row)
    return end, [_block(table, rows) for table, rows in found.items() if rows]


def changed_rows(
    connection: sa.Connection, changes: Sequence[Any], weight: int
) -> tuple[list[int], list[Block]]:
    """(ids of the notes, blocks): the rows they name as they are now, as many as have room."""
    by_name = {table.name: table for table in tables(Way.CHANGED, Way.LEDGER)}
    taken: list[int] = []
    blocks: list[Block] = []
    for part in _sliced(changes[:CHANGES]):
        if weight >= BYTES:
            break
        keys: dict[str, dict[Key, None]] = {}
        for change in part:
            taken.append(change.id)
            table = by_name[change.tbl]
            keys.setdefault(change.tbl, {})[read_key(table, change.key)] = None
        for name, table in by_name.items():
            if name in keys:
                rows = list(rows_by_key(connection, table, keys[name]))
                there = {key_of(table, row) for row in rows}
                gone = tuple(key for key in keys[name] if key not in there)
                blocks.append(_block(table, rows, gone))
                weight += weight_of(blocks[-1:])
    return taken, blocks


def _sliced(changes: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for at in range(0, len(changes), SLICE):
        yield changes[at : at + SLICE]


def _block(table: sa.Table, rows: Sequence[Sequence[Any]], gone: tuple[Key, ...] = ()) -> Block:
    columns = tuple(column.name for column in table.columns)
    return Block(table=table.name, columns=columns, rows=tuple(map(tuple, rows)), gone=gone)


def weight_of(blocks: Sequence[Block]) -> int:
    """Their texts and bytes, uncompressed."""
    return sum(_weight_of(row) for block in blocks for row in block.rows)


def _weight_of(row: Sequence[Any]) -> int:
    return sum(len(value) for value in row if isinstance(value, str | bytes))


def entered_at(connection: sa.Connection, index: int) -> datetime | None:
    """When the entry of this index was registered, where a table with a time has it."""
    for table in tables(Way.LEDGER):
        for name in ("registered_at", "at"):
            if name in table.c:
                found = connection.execute(
                    sa.select(table.c[name]).where(table.c.idx == index)
                ).scalar()
                if found is not None:
                    return parse_rfc3339(found)
    return None
