"""Rows. One engine for SQLite and PostgreSQL; the only place that opens transactions.

On both, a commit that returned survives a power cut, a reader sees one snapshot, and nothing is
retried in silence but a single question: whoever asked learns of it as StoreUnavailable, whose
kind says whether asking again is safe, or as InvalidValue. SQLAlchemy's own exceptions do not
leave this room, and no message shows credentials, a statement or its values. An answer lost during
the commit itself (CommitUnknown) leaves open whether it took place: the caller must look.

Open one per process, after forking: a connection shared with another process is no connection.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from storage.errors import (
    CommitUnknown,
    ConnectionLost,
    InvalidValue,
    StoreReadOnly,
    StoreUnavailable,
    WriteConflict,
)
from storage.prepared import Prepared as Prepared
from storage.prepared import as_sqlalchemy

METADATA = sa.MetaData()
"""Every room that owns tables declares them on this."""

POOL_TIMEOUT_S = 10.0
"""How long to wait for a free connection before the caller is told."""
SQLITE_READERS = 32
POSTGRES_POOL = 12
"""Connections a process holds at most. Threads wait milliseconds for one; PostgreSQL's default
of 100 in all is enough for two nodes of four processes each."""
BUSY_TIMEOUT_MS = 30_000
WAL_PAGES = 8_000
"""About 32 MiB between WAL checkpoints: fewer fsyncs of the main file under load."""
READER_CACHE_KIB = 8_000
WRITER_CACHE_KIB = 32_000
"""A batch touches another page of the digests' index with almost every row."""

STATEMENT_TIMEOUT_S = 30.0
"""How long PostgreSQL may take over one statement, waiting for locks included."""

_CONFLICTS = frozenset({"40001", "40P01"})
_READ_ONLY = "25006"
_LOST = frozenset({"57P01", "57P02", "57P03", "57P05"})
"""The server ended the connection, or takes none; class 08 and no state at all say the same."""


class Database:
    """`url` is SQLAlchemy's: `sqlite:////path` or `postgresql+psycopg://…`.

    Touches neither disk nor network. Raises StoreUnavailable for a URL that can't be used.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int | None = None,
        pool_timeout_s: float = POOL_TIMEOUT_S,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    ) -> None:
        """`statement_timeout_s` is for PostgreSQL; 0 is no limit."""
        self.url = _parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._secrets = _secrets(self.url)
        self._pool_timeout_s = pool_timeout_s
        self._process = os.getpid()
        self._turn = threading.Lock()
        self._gate: int | None = None
        shared: dict[str, Any] = {
            "max_overflow": 0, "pool_timeout": pool_timeout_s, "hide_parameters": True,
        }  # fmt: skip
        if self.is_sqlite:
            # The one writer has its own connection, which readers can't take from it.
            self.engine = sa.create_engine(self.url, pool_size=1, **shared)
            self._readers = sa.create_engine(
                self.url, pool_size=pool_size or SQLITE_READERS, **shared
            )
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_writing)
            event.listen(self._readers, "connect", _prepare_sqlite_reader)
            event.listen(self._readers, "begin", _begin_reading)
        else:
            postgres: Any = importlib.import_module("storage.postgres")
            options = postgres.options(statement_timeout_s).items()
            self.engine = sa.create_engine(
                self.url,
                pool_size=pool_size or POSTGRES_POOL,
                pool_pre_ping=True,
                isolation_level="READ COMMITTED",
                connect_args={k: v for k, v in options if k not in self.url.query},
                **shared,
            )
            event.listen(
                self.engine,
                "do_connect",
                lambda _d, _r, args, given: postgres.connect(statement_timeout_s, *args, **given),
            )
            event.listen(
                self.engine.pool, "checkout", lambda raw, _r, _p: postgres.lift_read_only(raw)
            )
            self._readers = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    def __repr__(self) -> str:
        return f"Database({shown_url(self.url)})"

    def require_utf8(self, connection: sa.Connection) -> None:
        """Raises StoreUnavailable for a database that can't hold every name."""
        if self.is_sqlite:
            return
        encoding = connection.execute(sa.text("SHOW server_encoding")).scalar()
        if encoding != "UTF8":
            raise StoreUnavailable(
                f"the database is in {encoding}, which can't hold every name: it must be "
                "created with encoding UTF8"
            )

    def has_tables(self) -> bool:
        """False for a database that `notary init` never finished with. Creates no file."""
        path = self.url.database
        if self.is_sqlite and (path is None or not Path(path).exists()):
            return False
        with self.reading() as connection:
            return sa.inspect(connection).has_table("tree_head")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent snapshot, taken at the first question. Nothing can be written."""
        self._check_process()
        with self._translated(), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction; durable when the block has ended without an error.

        On SQLite there is one writer at a time. The writers of this process queue on a lock and
        those of other processes on a locked file, which wakes the next one at once, where
        SQLite's own busy handler sleeps and polls, and which the system frees when its holder
        is killed. On PostgreSQL writers meet at the rows, each statement seeing what was
        committed before it began.
        """
        self._check_process()
        with self._translated():
            if self.is_sqlite:
                with self._turn, self._file_lock(), self.engine.begin() as connection:
                    yield connection
            else:
                yield from self._writing_postgres()

    def _writing_postgres(self) -> Iterator[sa.Connection]:
        committing = False
        try:
            with self.engine.begin() as connection:
                yield connection
                committing = True
        except sa.exc.DBAPIError as exc:
            if committing and _is_lost(exc):
                self.engine.dispose()
                said = self._without_secrets(_said(exc))
                raise CommitUnknown(f"database: the answer to a commit was lost: {said}") from exc
            raise

    def check_writable(self) -> None:
        """Raises StoreReadOnly where PostgreSQL takes no writes now, as a standby."""
        if self.is_sqlite:
            return
        self._check_process()
        with self._translated(), self.engine.connect() as connection:
            said = connection.execute(sa.text("SHOW transaction_read_only")).scalar()
        if said == "on":
            raise self._read_only()

    def first(self, question: Prepared, **values: object) -> tuple[Any, ...] | None:
        """The first row of one question asked by itself, outside any transaction; asked again
        where its connection breaks."""
        self._check_process()
        with contextlib.suppress(ConnectionLost):
            return self._first(question, values)
        return self._first(question, values)

    def _first(self, question: Prepared, values: Mapping[str, object]) -> tuple[Any, ...] | None:
        dialect = self._readers.dialect
        with self._translated():
            with as_sqlalchemy(dialect):  # making a connection, too
                raw = self._readers.raw_connection()
            with contextlib.closing(raw):
                return question.ask(raw, dialect, values)

    def close(self) -> None:
        """Ends all idle connections, after the writer under way. In a forked child it leaves the
        parent's alone."""
        if self._process != os.getpid():
            return
        with self._turn:
            self._readers.dispose()
            self.engine.dispose()
            if self._gate is not None:
                os.close(self._gate)
                self._gate = None

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise RuntimeError(
                f"database opened in process {self._process}, used in {os.getpid()}: "
                "open one after forking"
            )

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        try:
            if self._gate is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                self._gate = os.open(f"{self.url.database}.writer", flags, 0o600)
            fcntl.flock(self._gate, fcntl.LOCK_EX)
        except OSError as exc:
            raise StoreUnavailable(f"database lock: {exc.strerror}: {exc.filename}") from exc
        try:
            yield
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.TimeoutError as exc:
            raise StoreUnavailable(
                f"database: no connection was free within {self._pool_timeout_s:g} s"
            ) from exc
        except sa.exc.DataError as exc:
            raise InvalidValue(f"database: {self._without_secrets(_said(exc))}") from exc
        except sa.exc.SQLAlchemyError as exc:
            raise self._unavailable(exc) from exc

    def _unavailable(self, exc: sa.exc.SQLAlchemyError) -> StoreUnavailable:
        said = f"database: {self._without_secrets(_said(exc))}"
        if self.is_sqlite or not isinstance(exc, sa.exc.DBAPIError):
            return StoreUnavailable(said)
        state = _state(exc)
        if state in _CONFLICTS:
            return WriteConflict(said)
        if state == _READ_ONLY:
            return self._read_only()
        if _is_lost(exc):
            # The others of the pool have most likely gone the same way; a server that hangs would
            # make each of them wait.
            self.engine.dispose()
            return ConnectionLost(said)
        return StoreUnavailable(said)

    def _read_only(self) -> StoreReadOnly:
        # After a failover these connections still lead to what is a standby now.
        self.engine.dispose()
        return StoreReadOnly("database: it takes no writes now: a standby, or set read-only")

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def insert_if_absent(
    connection: sa.Connection, table: sa.Table
) -> sqlite.Insert | postgresql.Insert:
    """An insert that does nothing where a row with the same primary key or another unique value
    is there already, also where that row came from another node at the same moment."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def shown_url(url: str | sa.URL) -> str:
    """The URL for people's eyes: without password, and without options that may hold one."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return "(a URL that cannot be read)"
    return parsed.set(query={}).render_as_string(hide_password=True)


def _parse(url: str) -> sa.URL:
    # `from None`: the causes repeat parts of the URL, and any part may be a mistyped password.
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise StoreUnavailable(
            "database URL cannot be read: it must be like sqlite:////path or "
            "postgresql+psycopg://user@host:5432/name"
        ) from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if not parsed.database or parsed.database == ":memory:":
            raise StoreUnavailable("database URL names no file: nothing in memory is durable")
        return parsed
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        try:
            return _with_driver(parsed)
        except ImportError:
            raise StoreUnavailable("database driver psycopg is not installed") from None
    raise StoreUnavailable(
        f"database {parsed.drivername!r:.40} is not supported: sqlite and postgresql+psycopg are"
    )


def _with_driver(url: sa.URL) -> sa.URL:
    url = url.set(drivername="postgresql+psycopg")
    url.get_dialect().import_dbapi()
    return url


def _secrets(url: sa.URL) -> tuple[str, ...]:
    named = [url.query.get(name) for name in ("password", "sslpassword")]
    return tuple(str(s) for s in (url.password, *named) if s)


def _state(exc: sa.exc.DBAPIError) -> str | None:
    """PostgreSQL's SQLSTATE."""
    return getattr(exc.orig, "sqlstate", None)


def _is_lost(exc: sa.exc.DBAPIError) -> bool:
    """The connection broke, or none could be made."""
    state = _state(exc)
    if state is None:
        return exc.connection_invalidated or isinstance(exc, sa.exc.OperationalError)
    return state in _LOST or state.startswith("08")


def _said(exc: sa.exc.SQLAlchemyError) -> str:
    """The database's own first line: no statement, no values, no rows."""
    name = exc.__class__.__name__
    original = exc.orig if isinstance(exc, sa.exc.DBAPIError) else None
    if original is None:
        return name
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    lines = str(primary or original).strip().splitlines()
    return f"{name}: {lines[0] if lines else original.__class__.__name__}"


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: ours are begun below.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
    cursor.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB}")
    cursor.close()


def _prepare_sqlite_reader(dbapi_connection: Any, record: object) -> None:
    _prepare_sqlite(dbapi_connection, record)
    dbapi_connection.execute(f"PRAGMA cache_size=-{READER_CACHE_KIB}")
    dbapi_connection.execute("PRAGMA query_only=ON")


def _begin_writing(connection: sa.Connection) -> None:
    # IMMEDIATE takes the write lock at once, so that a writer can't fail at its first write
    # because another committed in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_reading(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
