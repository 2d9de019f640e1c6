"""Statements compiled once, and given to the driver as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

import sqlalchemy as sa


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
        with as_sqlalchemy(connection.dialect):
            cursor = connection.connection.cursor()
            cursor.execute(compiled.text, compiled.bind(values))
            return list(cursor.fetchall())

    def run(self, connection: sa.Connection, **values: object) -> int:
        """Gives the number of rows changed. Inside a transaction of `writing`."""
        compiled = self._for(connection.dialect)
        with as_sqlalchemy(connection.dialect):
            cursor = connection.connection.cursor()
            cursor.execute(compiled.text, compiled.bind(values))
            return cursor.rowcount

    def run_many(self, connection: sa.Connection, rows: Iterable[Mapping[str, object]]) -> None:
        """Once for each row, in order; a member that a row lacks is NULL or the statement's own
        value. Inside a transaction of `writing`."""
        compiled = self._for(connection.dialect)
        with as_sqlalchemy(connection.dialect):
            cursor = connection.connection.cursor()
            cursor.executemany(compiled.text, [compiled.bind(row) for row in rows])

    def ask(
        self, raw: sa.PoolProxiedConnection, dialect: sa.Dialect, values: Mapping[str, object]
    ) -> tuple[Any, ...] | None:
        compiled = self._for(dialect)
        with as_sqlalchemy(dialect):
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
def as_sqlalchemy(dialect: sa.Dialect) -> Iterator[None]:
    """The driver's errors as SQLAlchemy would raise them, for who asks the driver directly."""
    errors: Any = dialect.loaded_dbapi
    try:
        yield
    except errors.Error as exc:
        raise sa.exc.DBAPIError.instance(
            "prepared", None, exc, errors.Error, hide_parameters=True, dialect=dialect
        ) from exc
