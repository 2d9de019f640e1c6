"""Brings a database's tables forward, one revision in one transaction, on SQLite and PostgreSQL.

 1. Under a lock that every migrating process takes, the database is asked where it is.
 2. The next revision's statements, and its name as the new place, are one transaction: both
    databases keep changes of tables in transactions. Then again, until there is none.

Killed in between, whole revisions stand and the next run goes on; started twice, the second waits
and finds nothing to do. The only place that loads Alembic. Of that only the order of the files and
the operations are used: there is no configuration file and no environment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from notary.errors import Corrupt, MalformedInput
from notary.schema import BASELINE, VERSION, read_revision
from storage.database import Database

REVISIONS: Final = Path(__file__).with_name("revisions")
_LOCK: Final = 0x6E6F_7461_7279  # "notary": PostgreSQL's advisory locks are numbers
LOCK_TIMEOUT_S: Final = 10
"""How long a statement may wait for a table in use. Everyone else queues up behind it, so it must
not wait for long."""
_FOUNDED: Final = "tree_head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A revision, and what its docstring says of it."""

    revision: str
    said: str
    recognised: bool = False
    """Its tables are there already: only its name is written down."""


class _Scripts:
    """The revisions of a folder, the oldest first."""

    def __init__(self, folder: Path) -> None:
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.set_main_option("version_locations", str(folder))
        config.set_main_option("path_separator", "newline")
        self.directory = ScriptDirectory.from_config(config)
        self.config = config
        self.all = tuple(reversed(list(self.directory.walk_revisions())))

    def after(self, revision: str | None) -> tuple[Step, ...]:
        """Those that a database at that revision lacks. Raises MalformedInput (`schema_new`)."""
        names = [script.revision for script in self.all]
        if revision is not None and revision not in names:
            newest = names[-1]
            raise MalformedInput(
                f"the database's tables are at revision {revision}, this software knows "
                f"{newest}: `notary migrate` of the newer software brings it forward",
                code="schema_new",
            )
        done = 0 if revision is None else names.index(revision) + 1
        return tuple(
            Step(revision=script.revision, said=(script.doc or "").strip())
            for script in self.all[done:]
        )

    def run(self, connection: sa.Connection, step: Step) -> None:
        def upgrade(revision: Any, _context: object) -> Any:
            if step.recognised:
                return self.directory._stamp_revs(step.revision, revision)
            return self.directory._upgrade_revs(step.revision, revision)

        with EnvironmentContext(
            self.config, self.directory, fn=upgrade, destination_rev=step.revision
        ) as environment:
            environment.configure(connection=connection)
            environment.run_migrations()


def upgrade(
    database: Database, connection: sa.Connection, *, folder: Path = REVISIONS
) -> tuple[Step, ...]:
    """All that is lacking, in the caller's transaction: for a new, empty database."""
    scripts = _Scripts(folder)
    _lock(database, connection)
    steps = scripts.after(_revision(connection))
    for step in steps:
        scripts.run(connection, step)
    return steps


def pending(database: Database, *, folder: Path = REVISIONS) -> tuple[Step, ...]:
    """What `migrate` would do. Raises as it does."""
    scripts = _Scripts(folder)
    with database.reading() as connection:
        return _lacking(database, connection, scripts)


def migrate(
    database: Database,
    *,
    folder: Path = REVISIONS,
    told: Callable[[Step], None] = lambda _step: None,
) -> tuple[Step, ...]:
    """Each revision that is lacking, in a transaction of its own; `told` of each that stands.

    Raises MalformedInput (`no_house`, `schema_new`, `schema_unknown`), Corrupt where the tables
    are not those that the database says, StoreUnavailable where a table stays in use: then the
    revisions told of stand, and the same command goes on.
    """
    scripts = _Scripts(folder)
    done: list[Step] = []
    while True:
        with database.writing() as connection:
            _lock(database, connection)
            lacking = _lacking(database, connection, scripts)
            if lacking:
                scripts.run(connection, lacking[0])
        if not lacking:
            return tuple(done)
        done.append(lacking[0])
        told(lacking[0])


def _lock(database: Database, connection: sa.Connection) -> None:
    """Until the transaction's end no other process migrates."""
    if not database.is_sqlite:  # there, whoever writes is alone
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
    database.require_utf8(connection)


def _revision(connection: sa.Connection) -> str | None:
    """None for an empty database."""
    tables = sa.inspect(connection)
    if not tables.has_table(VERSION.name) and not tables.has_table(_FOUNDED):
        return None
    return read_revision(connection).name


def _lacking(database: Database, connection: sa.Connection, scripts: _Scripts) -> tuple[Step, ...]:
    tables = sa.inspect(connection)
    if not tables.has_table(_FOUNDED):
        raise MalformedInput(
            f"{database!r} has no tables of a house: make one with `notary init`", code="no_house"
        )
    steps = scripts.after(_revision(connection))
    if tables.has_table(VERSION.name):
        return steps
    return (_recognised(tables.get_table_names(), scripts), *steps)


def _recognised(there: list[str], scripts: _Scripts) -> Step:
    """A house from before revisions were counted is given its revision's name. Raises Corrupt
    where a table of the baseline is missing: then it is something else."""
    lacking = sorted(set(scripts.all[0].module.TABLES) - set(there))
    if lacking:
        raise Corrupt(
            f"the database names no revision and lacks {', '.join(lacking)}: these are not the "
            "tables of format 2",
            name="database",
        )
    return Step(revision=BASELINE, said="the tables of format 2 are there", recognised=True)
