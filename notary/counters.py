"""How often something was asked for within a span of time, by all processes and nodes together.
Owns its table.

A count is no evidence: a crash may lose the last ones, so that on PostgreSQL its commit does not
wait for the disk. On SQLite it is a short transaction like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from storage.database import METADATA, Database, Prepared

REQUEST_COUNT = sa.Table(
    "request_count",
    METADATA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
)


def _counting(insert: Callable[[sa.Table], Any], *also: sa.ColumnElement[Any]) -> sa.Executable:
    new = insert(REQUEST_COUNT)
    over = REQUEST_COUNT.c.until <= sa.bindparam("now")
    statement: sa.Executable = new.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "count": sa.case(
                (over, new.excluded.count), else_=REQUEST_COUNT.c.count + new.excluded.count
            ),
            "until": sa.case((over, new.excluded.until), else_=REQUEST_COUNT.c.until),
        },
    ).returning(REQUEST_COUNT.c.count, REQUEST_COUNT.c.until, *also)
    return statement


_ADD = Prepared(
    {
        "sqlite": _counting(sqlite.insert),
        "postgresql": _counting(
            postgresql.insert, sa.func.set_config("synchronous_commit", "off", sa.true())
        ),
    }
)


class Counters:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: str, amount: int, *, now: int, span: int) -> tuple[int, int]:
        """Counts; gives the total of all nodes and when its span ends. A span begins with the
        first that is counted after the last one's end. Times in seconds, Unix; `key` of at most
        64 characters."""
        with self._database.writing() as connection:
            row = _ADD.first(connection, key=key, until=now + span, count=amount, now=now)
        assert row is not None
        return int(row[0]), int(row[1])

    def forget(self, before: int) -> int:
        """Removes counts whose span ended before that, in Unix seconds; gives how many."""
        with self._database.writing() as connection:
            gone = connection.execute(
                sa.delete(REQUEST_COUNT).where(REQUEST_COUNT.c.until < before)
            )
            return int(gone.rowcount)
