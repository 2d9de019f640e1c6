"""Folders of revisions that are not this software's: its own, and more after them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from notary.migrate import REVISIONS
from notary.schema import KNOWN
from storage.database import Database

ADDS = """op.create_table("note", sa.Column("id", sa.Integer, primary_key=True))
    op.add_column("deposit", sa.Column("colour", sa.String(9)))
    op.add_column("account", sa.Column("shelf", sa.Integer, nullable=False, server_default="7"))"""


def named(step: int, served_from: str = "") -> str:
    """The name of a revision so many after the newest one."""
    return f"{int(KNOWN[:4]) + step:04d}{served_from}"


def revisions(folder: Path, *bodies: str, names: tuple[str, ...] = ()) -> Path:
    """This software's, and one with each body after them."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(REVISIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = KNOWN
    for step, body in enumerate(bodies, start=1):
        name = names[step - 1] if names else named(step)
        (folder / f"r{name}.py").write_text(
            f'"""Test {name}."""\nimport os, signal, time\nimport sqlalchemy as sa\n'
            f'from alembic import op\nrevision = "{name}"\ndown_revision = "{before}"\n'
            f"def upgrade():\n    {body}\n"
        )
        before = name
    return folder


LATER = {
    "deposit": ("object_version", "data_key", "disposed_at"),
    "house": ("authority_chain",),
    "tree_head": ("halted",),
}
"""Columns that format 2 did not have."""
LATER_TABLES = (
    "deposit_digest", "retention_due", "retention", "legal_hold", "disposal", "job_lease",
    "request_count", "remains_pass", "remains_finding", "condemned_original", "database_began",
    "hash_tree", "hash_tree_chunk", "archive_timestamp", "revocation_data", "paper",
)  # fmt: skip
WATCHED_LATER = (
    "retention_due", "retention", "legal_hold", "disposal", "hash_tree", "hash_tree_chunk",
    "archive_timestamp", "revocation_data",
)  # fmt: skip


def before_revisions(database: Database) -> None:
    """The tables as houses of format 2 had them, and nothing that names a revision."""
    with database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
        connection.exec_driver_sql("DROP INDEX deposit_original")
        for table in LATER_TABLES:
            connection.exec_driver_sql(f"DROP TABLE {table}")
        for table, columns in LATER.items():
            for column in columns:
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.exec_driver_sql("CREATE INDEX deposit_digest ON deposit (substr(sha256, 1, 16))")
        if not database.is_sqlite:
            for table in WATCHED_LATER:
                for event in ("insert", "update", "delete"):
                    connection.exec_driver_sql(f"DROP FUNCTION journal_{table}_{event}()")


def catalogue(database: Database) -> set[tuple[Any, ...]]:
    """Every table, column, constraint, index, trigger and function, as the database itself has
    it written down."""
    with database.reading() as connection:
        if database.is_sqlite:
            return _sqlite(connection)
        found: set[tuple[Any, ...]] = set()
        for question in _POSTGRES:
            found |= {tuple(row) for row in connection.execute(sa.text(question))}
        return found


def _sqlite(connection: sa.Connection) -> set[tuple[Any, ...]]:
    inspector = sa.inspect(connection)
    found: set[tuple[Any, ...]] = set()
    for table in inspector.get_table_names():
        for pragma in ("table_xinfo", "foreign_key_list"):
            rows = connection.exec_driver_sql(f'PRAGMA {pragma}("{table}")')
            # Without the number: a column that is added later comes last.
            found |= {(pragma, table, *row[1:]) for row in rows}
        for index in connection.exec_driver_sql(f'PRAGMA index_list("{table}")').all():
            columns = connection.exec_driver_sql(f'PRAGMA index_xinfo("{index[1]}")').all()
            named_ = "" if index[1].startswith("sqlite_autoindex") else index[1]
            found.add((table, named_, *index[2:], tuple(each[2:] for each in columns)))
    written = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'index')"
    found |= {tuple(row) for row in connection.exec_driver_sql(written) if row[2]}
    return found


_POSTGRES = (
    "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, "
    "column_default FROM information_schema.columns WHERE table_schema = 'public'",
    "SELECT conrelid::regclass::text, contype, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace",
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "SELECT sequencename, data_type::text FROM pg_sequences WHERE schemaname = 'public'",
)
