"""Rows to try a database with, and other processes that use the same one."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from notary.ledger import Growing, create_log, read_head
from notary.schema import make_tables
from storage.database import Database

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SECRET = "s3cr3t-of-the-house"
LINE = sa.Table(
    "line",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("text", sa.Text, unique=True),
    sa.Column("raw", sa.LargeBinary),
)


def put(database: Database, id_: int, text: str | None = None, raw: bytes | None = None) -> None:
    with database.writing() as connection:
        connection.execute(sa.insert(LINE).values(id=id_, text=text, raw=raw))


def ids(database: Database) -> list[int]:
    with database.reading() as connection:
        return list(connection.execute(sa.select(LINE.c.id).order_by(LINE.c.id)).scalars())


def sign(size: int, root: bytes, _at: datetime) -> bytes:
    return b"%d %s" % (size, root.hex().encode())


def begin_log(database: Database) -> None:
    with database.writing() as connection:
        make_tables(database, connection)
        create_log(connection, b"genesis", NOW, sign)


def append(database: Database, statement: bytes) -> None:
    with database.writing() as connection:
        growing = Growing(connection, read_head(connection, lock=True), {})
        growing.append([statement])
        growing.seal(NOW, sign)


def child(script: str, url: str, *arguments: str) -> subprocess.Popen[str]:
    """A process with `database` opened and this module as `t`."""
    before = "import os, sys, time, sqlalchemy as sa\nimport tests.contract.rows as t\n"
    before += "database = t.Database(os.environ['ROWS'])\n"
    root = os.fspath(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", before + script, *arguments],
        env=os.environ | {"ROWS": url, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def output_of(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said.strip()
