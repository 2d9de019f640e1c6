"""Objects as read-only files below one folder. For one machine; the file system must have hard
links and keep what it fsynced. The sequence of system calls stands in `durable.py`.

A file with mode 0400 keeps accidents away, and retention and holds bind the service
(`local_lock.py`); root is bound by neither.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as modes
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

from storage import durable, local_lock
from storage.errors import (
    ObjectDiffers,
    ObjectExists,
    ObjectLocked,
    ObjectNotFound,
    StoreFull,
    StoreUnavailable,
)
from storage.objects import (
    READ_SIZE,
    Protection,
    StoredObject,
    Unfinished,
    parse_key,
    parse_prefix,
    whole_second,
)

_FILE_MODE: Final = 0o400
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_REMEMBERED_FOLDERS: Final = 65_536


class LocalIncoming:
    """See `storage.objects.Incoming`."""

    __slots__ = ("_file", "_key", "_name", "_settled")

    def __init__(self, file: durable.NewFile, key: str) -> None:
        self._file = file
        self._key = key
        self._name = key.rpartition("/")[2]
        self._settled = False

    def write(self, chunk: bytes | memoryview) -> None:
        self._refuse_if_settled()
        try:
            self._file.write(chunk)
        except OSError as error:
            self.abort()
            raise _explained(error, f"writing {self._key!r}") from error

    def commit(self) -> StoredObject:
        self._refuse_if_settled()
        self._settled = True
        try:
            status = self._file.publish(self._name)
        except FileExistsError as error:
            raise ObjectExists(f"object {self._key!r} is already there") from error
        except OSError as error:
            raise _explained(error, f"committing {self._key!r}") from error
        return _described(self._key, status)

    def abort(self) -> None:
        self._settled = True
        self._file.drop()

    def _refuse_if_settled(self) -> None:
        if self._settled:
            raise RuntimeError(f"object {self._key!r} was already committed or aborted")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()


class LocalStore:
    """The store whose keys are paths below `root`. `root` itself is made by `prepare` only: a
    volume that is not mounted must not turn into an empty store."""

    def __init__(self, root: str | os.PathLike[str], *, retention: timedelta | None = None) -> None:
        self.retention = retention
        self._root = os.path.abspath(root)
        self._durable_folders: set[str] = set()

    def begin(self, key: str) -> LocalIncoming:
        folder = parse_key(key).rpartition("/")[0]
        try:
            return LocalIncoming(self._new_file(folder), key)
        except OSError as error:
            raise _explained(error, f"beginning {key!r}") from error

    def _new_file(self, folder: str) -> durable.NewFile:
        path = os.path.join(self._root, folder) if folder else self._root
        if folder in self._durable_folders:
            try:
                return durable.NewFile(path, mode=_FILE_MODE)
            except FileNotFoundError:
                self._durable_folders.clear()  # somebody removed it; make it anew below
        self._make_folders(folder)
        return durable.NewFile(path, mode=_FILE_MODE)

    def _make_folders(self, folder: str) -> None:
        """Makes each level and its name durable, once per process: a folder that is only in
        memory would take the objects in it along in a power cut."""
        if len(self._durable_folders) >= _REMEMBERED_FOLDERS:
            self._durable_folders.clear()
        made = ""
        for segment in filter(None, folder.split("/")):
            made = f"{made}/{segment}" if made else segment
            if made not in self._durable_folders:
                durable.make_directory(os.path.join(self._root, made))
                self._durable_folders.add(made)

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, version: str | None = None
    ) -> Generator[bytes, None, None]:
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"range {offset}+{length} of {key!r} is negative")
        chunks = self._chunks(parse_key(key), offset, length)
        next(chunks)  # opens the file: now it is known to be there, and close() closes it
        return chunks

    def _chunks(self, key: str, offset: int, length: int | None) -> Generator[bytes, None, None]:
        try:
            file = os.open(self._path(key), _READ)
        except OSError as error:
            raise _missing_or_explained(error, key) from error
        try:
            size = _regular(os.fstat(file), key).st_size
            end = size if length is None else min(size, offset + length)
            yield b""
            while offset < end:
                chunk = os.pread(file, min(READ_SIZE, end - offset), offset)
                if not chunk:
                    raise ObjectDiffers(f"object {key!r} ended at {offset} of {size} bytes")
                offset += len(chunk)
                yield chunk
        except OSError as error:
            raise _explained(error, f"reading {key!r}") from error
        finally:
            os.close(file)

    def link(self, key: str, *, version: str | None, name: str, lifetime: timedelta) -> str | None:
        return None

    def stat(self, key: str, *, version: str | None = None) -> StoredObject:
        try:
            status = os.lstat(self._path(parse_key(key)))
        except OSError as error:
            raise _missing_or_explained(error, key) from error
        return _described(key, _regular(status, key))

    def discard(self, key: str, *, version: str | None = None) -> None:
        path = self._path(parse_key(key))
        try:
            with local_lock.folder_locked(path):
                _regular(os.lstat(path), key)
                there = local_lock.read(path)
                if there.forbids_removal(datetime.now(UTC)):
                    raise ObjectLocked(_locked_words(key, there))
                durable.remove_file(path)
                local_lock.drop(path)
        except ObjectNotFound:
            return
        except OSError as error:
            if error.errno not in _ABSENT:
                raise _explained(error, f"discarding {key!r}") from error

    def retain(self, key: str, *, version: str | None, until: datetime) -> None:
        until = whole_second(until)
        if until <= datetime.now(UTC):
            return
        with self._protecting(key) as path:
            there = local_lock.read(path)
            if there.until is not None and there.until > until:
                raise ObjectLocked(
                    f"object {key!r} is retained until {there.until}, which is later than {until}"
                )
            if there.until != until:
                local_lock.write(path, Protection(until=until, held=there.held))

    def hold(self, key: str, *, version: str | None, on: bool) -> None:
        with self._protecting(key) as path:
            there = local_lock.read(path)
            if there.held != on:
                local_lock.write(path, Protection(until=there.until, held=on))

    @contextlib.contextmanager
    def _protecting(self, key: str) -> Iterator[str]:
        path = self._path(parse_key(key))
        try:
            with local_lock.folder_locked(path):
                _regular(os.lstat(path), key)
                yield path
        except OSError as error:
            raise _missing_or_explained(error, key) from error

    def protection(self, key: str, *, version: str | None) -> Protection:
        self.stat(key)
        try:
            return local_lock.read(self._path(key))
        except OSError as error:
            raise _explained(error, f"reading what protects {key!r}") from error

    def walk(self, prefix: str = "") -> Iterator[StoredObject]:
        parse_prefix(prefix)
        for path, status in self._files(prefix):
            if not path.rpartition("/")[2].startswith(durable.INCOMING):
                yield _described(path, status)

    def incoming(self, before: datetime) -> Iterator[Unfinished]:
        for path, status in self._files(""):
            touched_at = _moment(status)
            if path.rpartition("/")[2].startswith(durable.INCOMING) and touched_at < before:
                yield Unfinished(name=path, touched_at=touched_at)

    def sweep_incoming(self, before: datetime) -> int:
        swept = 0
        for left in self.incoming(before):
            try:
                os.unlink(self._path(left.name))
            except FileNotFoundError:
                continue  # its writer, or another sweep, was faster
            except OSError as error:
                raise _explained(error, f"sweeping {left.name!r}") from error
            swept += 1
        return swept

    def _files(self, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        """Keys and unfinished files below `prefix`, one open folder a level. Files that bear
        neither kind of name (an operator's note, lost+found) are not ours and not shown."""
        folder = prefix.rpartition("/")[0]
        pending = [self._scan(folder)]
        try:
            while pending:
                entry = next(pending[-1], None)
                if entry is None:
                    pending.pop()
                    continue
                path, status = entry
                if modes.S_ISDIR(status.st_mode):
                    if path.startswith(prefix) or prefix.startswith(path + "/"):
                        pending.append(self._scan(path))
                elif modes.S_ISREG(status.st_mode) and path.startswith(prefix):
                    yield path, status
        finally:
            for scan in pending:
                scan.close()

    def _scan(self, folder: str) -> Generator[tuple[str, os.stat_result], None, None]:
        try:
            with os.scandir(self._path(folder)) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if not _ours(entry.name):
                        continue
                    with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                        yield path, entry.stat(follow_symlinks=False)
        except OSError as error:
            if not folder or error.errno not in _ABSENT:
                raise _explained(error, f"listing {folder or '.'!r}") from error

    def prepare(self) -> None:
        try:
            os.makedirs(self._root, mode=0o700, exist_ok=True)
            durable.sync_directory(os.path.dirname(self._root))
        except OSError as error:
            raise _explained(error, f"making the folder {self._root!r}") from error

    def examine(self) -> None:
        self.check()

    def check(self) -> None:
        if not os.path.isdir(self._root):
            raise StoreUnavailable(
                f"the folder for originals {self._root!r} is not there: whoever runs this machine"
                " must mount it, or run the first start if there never was one"
            )
        probe = os.path.join(self._root, durable.INCOMING + "check-" + os.urandom(8).hex())
        try:
            durable.write_file(probe, b"check", mode=_FILE_MODE)
            durable.remove_file(probe)
        except OSError as error:
            raise _explained(error, f"trying to keep a file in {self._root!r}") from error

    def _path(self, relative: str) -> str:
        return f"{self._root}/{relative}"


def _ours(name: str) -> bool:
    return name.startswith(durable.INCOMING) or all(c in _KEY_CHARACTERS for c in name)


def _locked_words(key: str, there: Protection) -> str:
    if there.held:
        return f"object {key!r} is held: whoever put the hold on it must take it off"
    return f"object {key!r} is retained until {there.until}"


_KEY_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


def _moment(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)


def _described(key: str, status: os.stat_result) -> StoredObject:
    return StoredObject(key=key, size=status.st_size, version=None, modified_at=_moment(status))


def _regular(status: os.stat_result, key: str) -> os.stat_result:
    if not modes.S_ISREG(status.st_mode):
        raise ObjectNotFound(f"no object {key!r}: there is something else of that name")
    return status


def _missing_or_explained(
    error: OSError, key: str
) -> ObjectNotFound | StoreFull | StoreUnavailable:
    if error.errno in _ABSENT:
        return ObjectNotFound(f"no object {key!r}")
    return _explained(error, f"reading {key!r}")


def _explained(error: OSError, doing: str) -> StoreFull | StoreUnavailable:
    """What an operator needs to know of a failed system call: what was tried, and whose turn it
    is. The kernel's own words come along."""
    said = f"{doing}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreFull(f"{said}: whoever runs this machine must make room")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StoreUnavailable(f"{said}: the folder must belong to the service's own user")
    if error.errno == errno.EROFS:
        return StoreUnavailable(f"{said}: the volume must be mounted for writing")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StoreUnavailable(f"{said}: the limit of open files must be raised")
    if error.errno == errno.EIO:
        return StoreUnavailable(f"{said}: the disk must be looked at before anything else")
    return StoreUnavailable(said)
