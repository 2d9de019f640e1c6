"""The revision that the database's tables are at, and whether this software can serve it.

A revision's name is its number, `0007`, or `0007_from_0005`: software that knows revision 0005 or
more may serve a database that was brought to 0007. Without `_from_` it is the number before. So a
node of the last release goes on while the database is one release ahead of it, and says no when
what it needs was dropped. The newest revision that this software knows is KNOWN, the least that it
needs REQUIRED; `notary.revisions` has the rules for those who write one.

Loads nothing that changes tables: a web process, and who only verifies, never does.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass

import sqlalchemy as sa

from notary.errors import Corrupt, MalformedInput
from storage.database import Database

BASELINE = "0001"
"""Of a database of format 2 from before revisions were counted, which names none."""
KNOWN = "0004_from_0002"
REQUIRED = "0004"

VERSION = sa.table("alembic_version", sa.column("version_num"))
_NAME = re.compile(r"([0-9]{4})(?:_from_([0-9]{4}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """`served_from` is the least number that software must know to serve it."""

    name: str
    number: int
    served_from: int


def parse_revision(text: str) -> Revision:
    """Raises MalformedInput (`schema_unknown`)."""
    match = _NAME.fullmatch(text)
    if match is None:
        raise MalformedInput(
            f"the database's tables are at revision {text!r:.80}, which is no name of one",
            code="schema_unknown",
        )
    number = int(match[1])
    served_from = int(match[2]) if match[2] else max(number - 1, 1)
    return Revision(name=text, number=number, served_from=served_from)


def read_revision(connection: sa.Connection) -> Revision:
    """Where the tables are now. Raises MalformedInput (`schema_unknown`), Corrupt."""
    if not sa.inspect(connection).has_table(VERSION.name):
        return parse_revision(BASELINE)
    found = connection.execute(sa.select(VERSION)).scalars().all()
    if len(found) != 1:
        raise Corrupt(
            f"the database names {len(found)} revisions of its tables, not one", name=VERSION.name
        )
    return parse_revision(found[0])


def check_schema(database: Database, *, known: str = KNOWN, required: str = REQUIRED) -> None:
    """Raises MalformedInput where software that knows revision `known` can't serve this database:
    `schema_old` where it lacks `required`, `schema_new` where it went on too far."""
    with database.reading() as connection:
        there = read_revision(connection)
    ours, least = parse_revision(known), parse_revision(required)
    if there.number < least.number:
        raise MalformedInput(
            f"the database's tables are at revision {there.name}, this software needs "
            f"{required}: run `notary migrate` once, on any node",
            code="schema_old",
        )
    if there.number > ours.number and there.served_from > ours.number:
        raise MalformedInput(
            f"the database's tables are at revision {there.name}, this software knows {known} "
            f"and would have to know {there.served_from:04d}: install the newer software",
            code="schema_new",
        )


def is_ahead(connection: sa.Connection, *, known: str = KNOWN) -> bool:
    """The tables may have columns that this software does not know. It can serve them; but what
    must keep every column is for newer software to do."""
    return read_revision(connection).number > parse_revision(known).number


def make_tables(database: Database, connection: sa.Connection) -> None:
    """All tables of a new house, by the revisions, in the caller's transaction: a crash leaves
    all or none. Does nothing where they are there."""
    # Loaded here alone: no process that only serves needs what changes tables.
    importlib.import_module("notary.migrate").upgrade(database, connection)
