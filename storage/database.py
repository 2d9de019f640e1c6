"""Rows. One engine for SQLite and PostgreSQL; the only place that opens transactions.

On both, a commit that returned survives a power cut, a reader sees one snapshot, and nothing is
retried in silence: whoever asked learns of it as StoreUnavailable and asks again, or as
InvalidValue and does not. SQLAlchemy's own exceptions do not leave this room, and no message
shows credentials, a statement or its values. An answer lost during the commit itself leaves open
whether it took place: the caller's own idempotency must tell.

Open one per process, after forking: a connection shared with another process is no connection.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from storage.errors import InvalidValue, StoreUnavailable

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

_POSTGRES_SESSION = {
    # Whatever the server's own default: a commit that returned is on disk there.
    "synchronous_commit": "on",
    "timezone": "UTC",
    # A node that hangs or is cut off while it holds the tree head must not stop the others.
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
_POSTGRES_CLIENT: dict[str, str | int] = {
    "application_name": "evidence-notary",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": " ".join(f"-c {name}={value}" for name, value in _POSTGRES_SESSION.items()),
}
"""libpq's options; what the URL says of them wins."""


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
    ) -> None:
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
            self.engine = sa.create_engine(
                self.url,
                pool_size=pool_size or POSTGRES_POOL,
                pool_pre_ping=True,
                isolation_level="READ COMMITTED",
                connect_args={k: v for k, v in _POSTGRES_CLIENT.items() if k not in self.url.query},
                **shared,
            )
            self._readers = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    def __repr__(self) -> str:
        return f"Database({shown_url(self.url)})"

    def create_tables(self, connection: sa.Connection) -> None:
        """Makes what is missing, in the caller's transaction: a crash leaves all or none."""
        if not self.is_sqlite:
            encoding = connection.execute(sa.text("SHOW server_encoding")).scalar()
            if encoding != "UTF8":
                raise StoreUnavailable(
                    f"the database is in {encoding}, which can't hold every name: it must be "
                    "created with encoding UTF8"
                )
        METADATA.create_all(connection)

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
                with self.engine.begin() as connection:
                    yield connection

    def first(self, question: Prepared, **values: object) -> tuple[Any, ...] | None:
        """The first row of one question asked by itself, outside any transaction."""
        self._check_process()
        dialect = self._readers.dialect
        # Making a raw connection fails with the driver's own error.
        with (
            self._translated(),
            _as_sqlalchemy(dialect),
            contextlib.closing(self._readers.raw_connection()) as raw,
        ):
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
            raise StoreUnavailable(f"database: {self._without_secrets(_said(exc))}") from exc

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class Prepared:
    """A statement for the paths that run a thousand times a second: compiled once, then given to
    the driver as it is. SQLAlchemy itself takes ten times as long over a small statement as
    SQLite does. No types are converted: only numbers, texts, bytes and NULL go in and come out.

    Where the dialects' statements differ, give a mapping by the dialect's name.
    """

    def __init__(self, statement: sa.Executable | Mapping[str, sa.Executable]) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def first(self, connection: sa.Connection, **values: object) -> tuple[Any, ...] | None:
        """Inside a transaction of `writing`."""
        return self.ask(connection.connection, connection.dialect, values)

    def all(self, connection: sa.Connection, **values: object) -> list[tuple[Any, ...]]:
        """Every row, inside a transaction of either kind."""
        compiled = self._for(connection.dialect)
        with _as_sqlalchemy(connection.dialect):
            cursor = connection.connection.cursor()
            cursor.execute(compiled.text, compiled.bind(values))
            return list(cursor.fetchall())

    def run(self, connection: sa.Connection, **values: object) -> int:
        """Gives the number of rows changed. Inside a transaction of `writing`."""
        compiled = self._for(connection.dialect)
        with _as_sqlalchemy(connection.dialect):
            cursor = connection.connection.cursor()
            cursor.execute(compiled.text, compiled.bind(values))
            return cursor.rowcount

    def run_many(self, connection: sa.Connection, rows: Iterable[Mapping[str, object]]) -> None:
        """Once for each row, in order; a member that a row lacks is NULL or the statement's own
        value. Inside a transaction of `writing`."""
        compiled = self._for(connection.dialect)
        with _as_sqlalchemy(connection.dialect):
            cursor = connection.connection.cursor()
            cursor.executemany(compiled.text, [compiled.bind(row) for row in rows])

    def ask(
        self, raw: sa.PoolProxiedConnection, dialect: sa.Dialect, values: Mapping[str, object]
    ) -> tuple[Any, ...] | None:
        compiled = self._for(dialect)
        with _as_sqlalchemy(dialect):
            cursor = raw.cursor()
            cursor.execute(compiled.text, compiled.bind(values))
            found: tuple[Any, ...] | None = cursor.fetchone()
            cursor.close()
            return found

    def _for(self, dialect: sa.Dialect) -> _Compiled:
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = _Compiled(self._statement, dialect)
        return found


class _Compiled:
    """Its text and its parameters, as one dialect's driver wants them."""

    def __init__(
        self, statement: sa.Executable | Mapping[str, sa.Executable], dialect: sa.Dialect
    ) -> None:
        chosen: Any = statement[dialect.name] if isinstance(statement, Mapping) else statement
        compiled = chosen.compile(dialect=dialect)
        self.text = str(compiled)
        self._own: dict[str, object] = dict(compiled.params)
        self._order: tuple[str, ...] | None = (
            tuple(compiled.positiontup) if compiled.positional else None
        )
        self._pick = None
        if self._order is not None and len(self._order) > 1:
            self._pick = itemgetter(*self._order)

    def bind(self, values: Mapping[str, object]) -> Any:
        """A tuple or a mapping, whichever the driver takes."""
        own = self._own
        if self._order is None:
            return {name: values.get(name, default) for name, default in own.items()}
        if self._pick is not None and len(values) >= len(self._order):
            # Rows of a batch have every member: a tenth of the time.
            with contextlib.suppress(KeyError):
                return self._pick(values)
        return tuple([values[name] if name in values else own[name] for name in self._order])


@contextmanager
def _as_sqlalchemy(dialect: sa.Dialect) -> Iterator[None]:
    """The driver's errors as SQLAlchemy would raise them, for `_translated` above."""
    errors: Any = dialect.loaded_dbapi
    try:
        yield
    except errors.Error as exc:
        raise sa.exc.DBAPIError.instance(
            "prepared", None, exc, errors.Error, hide_parameters=True, dialect=dialect
        ) from exc


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
