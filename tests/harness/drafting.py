"""A draft of the next revision, from what the code declares and the revisions do not make yet.

`python -m tests.harness.drafting` prints the body; it knows nothing of triggers and of indices over
expressions. The rules are in notary/revisions/__init__.py.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations.ops import CreateTableOp
from alembic.runtime.migration import MigrationContext

import notary.office  # noqa: F401  # every room that owns tables has declared them
from notary.journal_tables import WAYS, Way
from notary.schema import make_tables
from storage.database import METADATA, Database


def draft() -> str:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Database(f"sqlite:///{Path(folder) / 'draft.db'}")) as database,
        database.writing() as connection,
    ):
        make_tables(database, connection)
        there = MigrationContext.configure(connection)
        operations = produce_migrations(there, METADATA).upgrade_ops
        assert operations is not None
        made = [each for each in operations.ops if isinstance(each, CreateTableOp)]
    watched = [
        f"    watch(op.get_bind(), made, Way.{WAYS[each.table_name].name})  # {each.table_name}"
        for each in made
        if WAYS.get(each.table_name) in (Way.LEDGER, Way.CHANGED)
    ]
    return "\n".join([render_python_code(operations), *watched])


if __name__ == "__main__":
    print(draft())
