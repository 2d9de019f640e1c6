"""Rows. One engine for SQLite and PostgreSQL; the only place that opens transactions.

SQLite runs in WAL mode with synchronous=FULL: a commit that returned survives a power cut.
SQLAlchemy's own exceptions leave this room only as StoreUnavailable.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event

from storage.errors import StoreUnavailable

METADATA = sa.MetaData()
"""Every room that owns tables declares them on this."""

BUSY_TIMEOUT_MS = 30_000
WAL_PAGES = 8_000
"""About 32 MiB between WAL checkpoints: fewer fsyncs of the main file under load."""


class Database:
    """`url` is SQLAlchemy's: `sqlite:////path` or `postgresql+psycopg://…`."""

    def __init__(self, url: str, *, pool_size: int = 40) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        try:
            self.engine = sa.create_engine(
                self.url, pool_size=pool_size, max_overflow=20, pool_pre_ping=not self.is_sqlite
            )
        except sa.exc.ArgumentError as exc:
            raise StoreUnavailable(f"database URL cannot be used: {exc}") from exc
        self._turn = threading.Lock()
        self._gate: int | None = None
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    def create_tables(self) -> None:
        """Makes what is missing; safe to run again."""
        with self._translated():
            METADATA.create_all(self.engine)

    def has_tables(self) -> bool:
        """False for a database that `notary init` never saw. Creates no file."""
        path = self.url.database
        if self.is_sqlite and (path is None or not Path(path).exists()):
            return False
        with self._translated():
            return sa.inspect(self.engine).has_table("tree_head")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent snapshot. Nothing written through it is kept."""
        with self._translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction; durable when the block has ended without an error.

        On SQLite there is one writer at a time. The writers of this process queue on a lock and
        those of other processes on a locked file, which wakes the next one at once, where
        SQLite's own busy handler sleeps and polls. On PostgreSQL writers meet at the rows.
        """
        with self._translated():
            if not self.is_sqlite:
                with self.engine.begin() as connection:
                    yield connection
                return
            with self._turn, self._file_lock(), self.engine.connect() as connection:
                connection.info["immediate"] = True
                with connection.begin():
                    yield connection

    def close(self) -> None:
        self.engine.dispose()
        if self._gate is not None:
            os.close(self._gate)
            self._gate = None

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        if self._gate is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._gate = os.open(f"{self.url.database}.writer", flags, 0o600)
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as exc:
            raise StoreUnavailable(f"database: {exc.__class__.__name__}: {exc}") from exc
        except OSError as exc:
            raise StoreUnavailable(f"database file: {exc}") from exc


def _prepare_sqlite(dbapi_connection: object, _record: object) -> None:
    # The driver must not begin transactions by itself: _begin_sqlite does.
    dbapi_connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = dbapi_connection.cursor()  # type: ignore[attr-defined]
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
    cursor.execute("PRAGMA cache_size=-16000")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE takes the write lock at once, so that a writer can't fail at its first write
    # because another committed in between.
    immediate = connection.info.pop("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
