"""Writes the journal's segments into an empty database, a bounded group in each transaction.

The tree grows by the code that grows it every day, unsigned until the end: no head is signed that
was not signed before. What is done is noted in the journal's own row, in the same transaction, so
a replay that was killed goes on where it was. The row of the house comes last; without it no
house opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from notary.digests import DIGEST, SortedDigests
from notary.errors import Corrupt, Fork, MalformedInput
from notary.findings import CHUNK
from notary.house import HOUSE, insert_house
from notary.journal import JOURNAL, Place, insert_journal, read_place, set_place
from notary.journal_segment import Block, Segment
from notary.journal_tables import CHANGE, Key, Way, tables
from notary.ledger import ENTRY, Growing, TreeHead, begin_log, read_head, resign_head
from notary.register import DEPOSIT, USAGE
from notary.schema import make_tables
from notary.stamps import SERIAL, STAMPED
from notary.witness import WITNESSED
from storage.database import METADATA, Database

SERIALS_SKIPPED = 1_000_000
"""Of the embedded authority: it may have given out serial numbers that the journal has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a replay has written: so many segments, the newest of this digest; the tree's size."""

    segments: int
    digest: bytes
    size: int


def begin(database: Database, genesis: str, at: datetime) -> None:
    """Makes the tables, and notes that nothing was replayed; or finds what a replay that was
    killed has left. Raises MalformedInput where the database is anybody's."""
    with database.writing() as connection:
        there = sa.inspect(connection).get_table_names()
        if not there:
            make_tables(database, connection)
            insert_journal(connection, genesis)
            begin_log(connection, at)
            return
        if JOURNAL.name in there and HOUSE.name in there:
            standing = connection.execute(sa.select(HOUSE.c.id)).first() is not None
            if not standing and connection.execute(sa.select(JOURNAL.c.id)).first() is not None:
                return
        raise MalformedInput(
            f"{database!r} is not empty ({len(there)} tables): rebuild into a new database",
            code="house_exists",
        )


def done(database: Database) -> Done:
    with database.reading() as connection:
        place, head = read_place(connection), read_head(connection)
    return Done(segments=place.number, digest=place.digest, size=head.size)


def replay(database: Database, group: Sequence[Segment], at: datetime) -> int:
    """One transaction; gives the tree's size. Raises Corrupt for rows that are not as the house's
    tables are, and for entries that do not follow."""
    with database.writing() as connection:
        growing = Growing(connection, read_head(connection, lock=True), {})
        for segment in group:
            header = segment.header
            if header.first > growing.size:
                raise Corrupt(
                    f"journal segment {header.number} begins with entry {header.first}, before it "
                    f"there are {growing.size}",
                    name=f"journal segment {header.number}",
                )
            _write(connection, growing, segment)
        growing.seal(at, _unsigned)
        last = group[-1]
        set_place(
            connection,
            Place(
                number=last.header.number + 1,
                digest=last.digest,
                entries=last.header.end,
                kept=last.header.end,
                signed_at="" if last.header.head is None else last.header.head.signed_at,
                staged=None,
            ),
        )
        return growing.size


def append(database: Database, statements: Sequence[bytes], at: datetime) -> int:
    """Entries that the journal has not, in one transaction; gives the tree's size."""
    with database.writing() as connection:
        growing = Growing(connection, read_head(connection, lock=True), {})
        growing.append(statements)
        growing.seal(at, _unsigned)
        return growing.size


def newest_evidence(database: Database) -> int:
    """The size of the largest checkpoint that a token or witness attests."""
    with database.reading() as connection:
        sizes = [
            connection.execute(sa.select(sa.func.max(table.c.size))).scalar() or 0
            for table in (STAMPED, WITNESSED)
        ]
    return max(sizes)


def finish(
    database: Database,
    genesis: str,
    head: TreeHead,
    signed_at: str | None,
    *,
    authority_chain: str | None,
    notes: int = 0,
) -> None:
    """The last transaction: what is derived from other tables, the signed head, the house.
    `signed_at` is the time of the newest head that the journal has, if it has one; `notes` the
    highest number of a change that is known not to have been journalled."""
    with database.writing() as connection:
        connection.execute(sa.delete(USAGE))
        connection.execute(
            sa.insert(USAGE).from_select(
                ["account_id", "stored_bytes"],
                sa.select(DEPOSIT.c.account_id, sa.func.sum(DEPOSIT.c.size))
                .where(DEPOSIT.c.stored)
                .group_by(DEPOSIT.c.account_id),
            )
        )
        connection.execute(sa.delete(DIGEST))
        digests = SortedDigests(connection)
        for row in connection.execute(
            sa.select(DEPOSIT.c.idx, DEPOSIT.c.sha256)
            .where(DEPOSIT.c.disposed_at.is_(None))
            .order_by(DEPOSIT.c.idx),
            execution_options={"yield_per": CHUNK},
        ):
            digests.add(row.idx, row.sha256)
        digests.write()
        resign_head(connection, head, head.signed_at, lambda _size, _root, _at: head.checkpoint)
        insert_house(connection, genesis, authority_chain)
        set_place(connection, replace(read_place(connection), signed_at=signed_at or ""))
        # All other rows came from the journal. What changes from here on has not.
        connection.execute(sa.delete(CHANGE).where(CHANGE.c.id > notes))
        connection.execute(
            sa.update(SERIAL).values(next_serial=SERIAL.c.next_serial + SERIALS_SKIPPED)
        )
        if not database.is_sqlite:
            advance_sequences(connection)


def _unsigned(_size: int, _root: bytes, _at: datetime) -> bytes:
    return b""


def _write(connection: sa.Connection, growing: Growing, segment: Segment) -> None:
    name = f"journal segment {segment.header.number}"
    blocks: dict[str, list[Block]] = {}
    for block in segment.blocks:
        blocks.setdefault(block.table, []).append(block)
    entries = blocks.pop(ENTRY.name, [])
    _enter(connection, growing, entries, segment)
    order = [each for each in tables(Way.LEDGER, Way.CHANGED) if each.name != ENTRY.name]
    unknown = blocks.keys() - {table.name for table in order}
    if unknown:
        raise Corrupt(
            f"{name} has rows of {', '.join(sorted(unknown))}: tables that this software does "
            "not keep so; a newer one wrote it",
            name=name,
        )
    for table in reversed(order):
        for block in blocks.get(table.name, ()):
            _remove(connection, table, block.gone)
    for table in order:
        if table is not HOUSE:
            for block in blocks.get(table.name, ()):
                _put(connection, table, block, name)


def _enter(
    connection: sa.Connection, growing: Growing, entries: Iterable[Block], segment: Segment
) -> None:
    header = segment.header
    name = f"journal segment {header.number}"
    statements: list[bytes] = []
    for block in entries:
        at = block.columns.index("idx"), block.columns.index("statement")
        for row in block.rows:
            if row[at[0]] != header.first + len(statements):
                raise Corrupt(
                    f"journal segment {header.number} lacks entry {header.first + len(statements)}",
                    name=f"journal segment {header.number}",
                )
            statements.append(row[at[1]])
    if len(statements) != header.end - header.first:
        raise Corrupt(
            f"journal segment {header.number} has {len(statements)} entries, its header says "
            f"{header.end - header.first}",
            name=f"journal segment {header.number}",
        )
    known = growing.size - header.first
    if known > 0:
        _require_same(connection, statements[:known], header.first, name)
        statements = statements[known:]
    growing.append(statements)


def _require_same(
    connection: sa.Connection, statements: Sequence[bytes], first: int, name: str
) -> None:
    """A backup has entries that the journal had not yet: they must be the same ones."""
    there = connection.execute(
        sa.select(ENTRY.c.statement)
        .where(ENTRY.c.idx >= first, ENTRY.c.idx < first + len(statements))
        .order_by(ENTRY.c.idx)
    ).scalars()
    for index, (ours, theirs) in enumerate(zip(there, statements, strict=True), start=first):
        if ours != theirs:
            raise Fork(
                f"entry {index} is {ours.hex():.40}… in the backup and {theirs.hex():.40}… in "
                f"{name}: the house went on elsewhere after that backup",
                ours=ours,
                theirs=theirs,
            )


def _remove(connection: sa.Connection, table: sa.Table, gone: Iterable[Key]) -> None:
    for key in gone:
        connection.execute(
            sa.delete(table).where(
                *(column == value for column, value in zip(table.primary_key, key, strict=True))
            )
        )


def _put(connection: sa.Connection, table: sa.Table, block: Block, name: str) -> None:
    if not block.rows:
        return
    unknown = set(block.columns) - set(table.columns.keys())
    if unknown:
        raise Corrupt(
            f"{name} has columns {sorted(unknown)} of {table.name}: a newer software wrote it",
            name=name,
        )
    rows: list[dict[str, Any]] = [dict(zip(block.columns, row, strict=True)) for row in block.rows]
    connection.execute(_upsert(connection, table, block.columns), rows)


def _upsert(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str]
) -> sqlite.Insert | postgresql.Insert:
    """A later segment's row takes the place of an earlier one's."""
    made = sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
    keys = [column.name for column in table.primary_key]
    others = {name: made.excluded[name] for name in columns if name not in keys}
    if not others:
        return made.on_conflict_do_nothing()
    return made.on_conflict_do_update(index_elements=keys, set_=others)


def advance_sequences(connection: sa.Connection) -> None:
    """PostgreSQL's own counters know nothing of rows that came with their number."""
    for table in METADATA.sorted_tables:
        column = table.autoincrement_column
        if column is not None and column.autoincrement is not False:
            highest = sa.select(sa.func.max(column)).scalar_subquery()
            sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
            connection.execute(
                sa.select(sa.func.setval(sequence, sa.func.coalesce(highest, 1))).where(
                    sequence.is_not(None)
                )
            )
