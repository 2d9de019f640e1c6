"""Every write of a house, by name, with a hand on each of them.

A watched house makes its writes through us: the system calls of `storage.durable` and of the
sweep, the rows of a batch on their way, each statement that changes rows, each commit. Nothing in
the house knows of it. A write can be recorded, made to fail, made to look as if it had failed, or
be the last thing that the process or the machine did:

    before   the process was killed and the write was not made
    after    the process was killed and the write was made
    power    the power went: names and bytes that no fsync covers are lost
    torn     the power went: the names are there, the bytes that no fsync covers are not

What such an end leaves is a copy of the folder as it was at that moment, so that nothing that the
dying process would still do (unwinding, closing) is in it.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from notary import row_signing
from storage import durable, local

Hook = Callable[[str, str], None]
"""Told (name of the write, "before" or "after")."""
_VERB = re.compile(
    r"\s*(INSERT|UPDATE|DELETE|CREATE)\s+(?:INTO\s+|FROM\s+|TABLE\s+)?\"?(\w+)", re.I
)


@dataclass(slots=True)
class _Disk:
    """What of the folder the disk is sure to have. `undo` makes a copy of the folder what it was
    before the names that no fsync of their folder covers."""

    root: Path
    unsynced: set[int] = field(default_factory=set)
    undo: list[tuple[str, Callable[[Path], None]]] = field(default_factory=list)

    def copied_path(self, copy: Path, path: str) -> Path:
        return copy / Path(path).relative_to(self.root)

    def copy(self, to: Path, kind: str) -> None:
        shutil.copytree(self.root, to, ignore=shutil.ignore_patterns("*-shm", "*.writer"))
        if kind not in ("power", "torn"):
            return
        for path in self.root.rglob("*"):
            if path.is_file() and path.stat().st_ino in self.unsynced:
                torn = self.copied_path(to, str(path))
                torn.chmod(0o600)
                torn.write_bytes(b"")
        if kind == "power":
            for _folder, undo in reversed(self.undo):
                undo(to)


@dataclass(slots=True)
class Faults:
    """The writes below `root` while it is watched, and what is to happen at them."""

    root: Path
    names: list[str] = field(default_factory=list)
    hook: Hook = lambda _name, _when: None
    broken_statements: int = 0
    """So many of the next statements fail, reads too."""
    idle_fsync: str | None = None
    """`file` or `folder`: an fsync of these does nothing, to show that the table would see it."""
    _disk: _Disk = field(init=False)
    _seen: Counter[str] = field(default_factory=Counter)
    _paths: dict[int, str] = field(default_factory=dict)
    _turn: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._disk = _Disk(self.root)

    def begin(self, hook: Hook = lambda _name, _when: None) -> None:
        """From here on writes are counted anew, and `hook` is told of each."""
        self.names, self._seen, self.hook = [], Counter(), hook

    def around(self, name: str, write: Callable[[], Any], done: Callable[[], None]) -> Any:
        with self._turn:
            self._seen[name] += 1
            if (count := self._seen[name]) > 1:
                name = f"{name} {count}"
            self.names.append(name)
            self.hook(name, "before")
            result = write()
            done()
            self.hook(name, "after")
            return result

    def copy(self, to: Path, kind: str) -> None:
        self._disk.copy(to, kind)

    # --- files -----------------------------------------------------------------------------

    def _label(self, path: str) -> str | None:
        """Which kind of file; None for what is not the house's own."""
        try:
            parts = Path(path).relative_to(self.root / "house").parts
        except ValueError:
            return None
        if parts[:1] == ("objects",):
            return "original"
        return parts[0] if len(parts) > 1 or (parts and os.path.isdir(path)) else "home"

    def _full(self, path: str, dir_fd: int | None) -> str:
        return path if dir_fd is None else os.path.join(self._paths[dir_fd], path)

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        full = self._full(path, dir_fd)
        label = self._label(full)
        made: list[int] = []

        def write() -> int:
            made.append(os.open(path, flags, mode, dir_fd=dir_fd))
            return made[0]

        def done() -> None:
            self._disk.unsynced.add(os.fstat(made[0]).st_ino)
            self._pending(full, lambda copy: self._remove(copy, full))

        if not flags & os.O_CREAT or label is None:
            write()
        else:
            try:
                self.around(f"{label}: create", write, done)
            except BaseException:
                for file in made:
                    os.close(file)
                raise
        self._paths[made[0]] = full
        return made[0]

    def write(self, file: int, data: bytes | memoryview) -> int:
        label = self._label(self._paths[file])
        if label is None:
            return os.write(file, data)
        inode = os.fstat(file).st_ino
        written: int = self.around(
            f"{label}: write", lambda: os.write(file, data), lambda: self._disk.unsynced.add(inode)
        )
        return written

    def fsync(self, file: int) -> None:
        path = self._paths[file]
        label = self._label(path)
        if label is None:
            return os.fsync(file)
        folder = os.path.isdir(path)

        def done() -> None:
            if self.idle_fsync == ("folder" if folder else "file"):
                return
            if folder:
                self._disk.undo = [each for each in self._disk.undo if each[0] != path]
            else:
                self._disk.unsynced.discard(os.fstat(file).st_ino)

        name = f"{label}: fsync {'folder' if folder else 'file'}"
        self.around(name, lambda: os.fsync(file), done)
        return None

    def link(self, source: str, name: str, *, src_dir_fd: int, **options: Any) -> None:
        full = self._full(name, src_dir_fd)
        self._name(
            "link", full, lambda: os.link(source, name, src_dir_fd=src_dir_fd, **options),
            lambda copy: self._remove(copy, full),
        )  # fmt: skip

    def unlink(self, name: str, *, dir_fd: int | None = None) -> None:
        full = self._full(name, dir_fd)
        back = self._back(full)
        self._name("unlink", full, lambda: os.unlink(name, dir_fd=dir_fd), back)

    def rename(self, source: str, name: str, *, src_dir_fd: int, **options: Any) -> None:
        full, came_from = self._full(name, src_dir_fd), self._full(source, src_dir_fd)
        old, new = self._back(full), self._back(came_from)

        def undo(copy: Path) -> None:
            self._remove(copy, full)
            old(copy)
            new(copy)

        self._name(
            "rename", full, lambda: os.rename(source, name, src_dir_fd=src_dir_fd, **options), undo
        )

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        def undo(copy: Path) -> None:
            shutil.rmtree(self._disk.copied_path(copy, path), ignore_errors=True)

        if os.path.isdir(path):
            return os.mkdir(path, mode)
        self._name("mkdir", path, lambda: os.mkdir(path, mode), undo)
        return None

    def _name(
        self, what: str, full: str, write: Callable[[], Any], undo: Callable[[Path], None]
    ) -> None:
        label = self._label(full)
        if label is None:
            write()
        else:
            self.around(f"{label}: {what}", write, lambda: self._pending(full, undo))

    def _pending(self, full: str, undo: Callable[[Path], None]) -> None:
        self._disk.undo.append((os.path.dirname(full), undo))

    def _remove(self, copy: Path, full: str) -> None:
        self._disk.copied_path(copy, full).unlink(missing_ok=True)

    def _back(self, full: str) -> Callable[[Path], None]:
        """Puts back what now has this name."""
        path = Path(full)
        if not path.exists():
            return lambda _copy: None
        data, mode = path.read_bytes(), path.stat().st_mode & 0o777

        def undo(copy: Path) -> None:
            back = self._disk.copied_path(copy, full)
            back.write_bytes(data)
            back.chmod(mode)

        return undo

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)  # whatever else `os` has, for those who think we are it


# --- rows ---------------------------------------------------------------------------------------


class _Statements:
    """For a driver's cursor: names each statement that writes."""

    def watched(self, faults: Faults, statement: Any, run: Callable[[], Any], owner: Any) -> Any:
        if faults.broken_statements:
            faults.broken_statements -= 1
            raise broken(owner)
        found = _VERB.match(str(statement))
        if found is None:
            return run()
        verb, table = found.group(1).lower(), found.group(2)
        owner.last_table = table
        return faults.around(f"{verb} {table}", run, lambda: None)


def broken(connection: Any) -> Exception:
    """As the driver says that the disk is full, or that the server is gone."""
    if isinstance(connection, sqlite3.Connection):
        return sqlite3.OperationalError("database or disk is full")
    return psycopg.OperationalError("server closed the connection unexpectedly")


def _sqlite_connection(faults: Faults) -> type[sqlite3.Connection]:
    class Cursor(sqlite3.Cursor, _Statements):
        def execute(self, sql: str, *rest: Any) -> Any:
            run = super().execute
            return self.watched(faults, sql, lambda: run(sql, *rest), self.connection)

        def executemany(self, sql: str, *rest: Any) -> Any:
            run = super().executemany
            return self.watched(faults, sql, lambda: run(sql, *rest), self.connection)

    class Connection(sqlite3.Connection):
        last_table: str | None = None

        def cursor(self, *_: Any) -> Any:
            return super().cursor(Cursor)

        def commit(self) -> None:
            _commit(faults, self, super().commit)

    return Connection


def _postgres_connection(faults: Faults) -> type[psycopg.Connection[Any]]:
    class Cursor(psycopg.Cursor[Any], _Statements):
        def execute(self, query: Any, *rest: Any, **more: Any) -> Any:
            run = super().execute
            return self.watched(faults, query, lambda: run(query, *rest, **more), self.connection)

        def executemany(self, query: Any, *rest: Any, **more: Any) -> Any:
            run = super().executemany
            return self.watched(faults, query, lambda: run(query, *rest, **more), self.connection)

    class Connection(psycopg.Connection[Any]):
        last_table: str | None = None

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self.cursor_factory = Cursor

        def commit(self) -> None:
            _commit(faults, self, super().commit)

    return Connection


def _commit(faults: Faults, connection: Any, commit: Callable[[], None]) -> None:
    """A commit is named for what was written last before it; one of reads alone has no name."""
    table, connection.last_table = connection.last_table, None
    if table is None:
        commit()
    else:
        faults.around(f"commit {table}", commit, lambda: None)


@dataclass(frozen=True, slots=True)
class _Spools:
    """In place of `tempfile`: the nameless file of a batch. A crash leaves nothing of it."""

    faults: Faults

    def TemporaryFile(self, **options: Any) -> Any:  # noqa: N802  # tempfile's own name
        return _Spooled(tempfile.TemporaryFile(**options), self.faults)


@dataclass(frozen=True, slots=True)
class _Spooled:
    file: Any
    faults: Faults

    def write(self, data: bytes) -> Any:
        return self.faults.around("spool: write", lambda: self.file.write(data), lambda: None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


# --- the watch ----------------------------------------------------------------------------------


@contextmanager
def watching(root: Path) -> Iterator[Faults]:
    """The house in `root`/house makes its writes through the result, as long as the block runs.
    Open it inside: connections that are there already are not watched."""
    faults = Faults(root)

    def connect(dialect: sa.Dialect, _record: Any, args: Any, options: Any) -> Any:
        if dialect.name == "sqlite":
            return sqlite3.connect(*args, factory=_sqlite_connection(faults), **options)
        return _postgres_connection(faults).connect(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "os", faults)
        patch.setattr(local, "os", faults)
        patch.setattr(row_signing, "tempfile", _Spools(faults))
        event.listen(sa.Engine, "do_connect", connect)
        try:
            yield faults
        finally:
            event.remove(sa.Engine, "do_connect", connect)
