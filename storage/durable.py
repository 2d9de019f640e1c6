"""The one place that fsyncs: files that are there whole and for good, or not at all.

A new file takes these system calls, in this order (`strace -f -e trace=file,desc`):

    openat(AT_FDCWD, "…/3f", O_RDONLY|O_DIRECTORY|O_CLOEXEC)                    = 7
    openat(7, "+incoming-9c…", O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0400) = 8
    write(8, …)                                       # as often as there are chunks
    fsync(8)                                          # the bytes, before any name points at them
    linkat(7, "+incoming-9c…", 7, "0192e4a1-…", 0)    # atomic, and refuses a name that is taken
    unlinkat(7, "+incoming-9c…", 0)
    fsync(7)                                          # the name: from here on it is durable
    close(8), close(7)

A crash before `linkat` leaves a `+incoming-…` file and no object. Between `linkat` and the last
fsync the object may be there or not, whole in any case, and nobody was told that it is. A crash
before `unlinkat` leaves the object with a second name, which a sweep takes away.

`link` and not `rename`: rename would silently replace what is there.

A failed fsync is never repeated: the kernel reports a lost page once and then forgets it, so a
second fsync that succeeds proves nothing. The file is given up instead.

Everything here raises OSError, as the system calls do.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

INCOMING: Final = "+incoming-"  # '+' is in no key, so no key can name such a file

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class NewFile:
    """A file in `directory` that has no name of its own yet. Ends with `publish` or `drop`."""

    __slots__ = ("_directory", "_file", "_name")

    def __init__(self, directory: str, *, mode: int) -> None:
        """Raises FileNotFoundError if `directory` is not there."""
        self._name = INCOMING + os.urandom(12).hex()
        self._file = -1
        self._directory = os.open(directory, _DIRECTORY)
        try:
            self._file = os.open(self._name, _NEW, mode, dir_fd=self._directory)
        except OSError:
            self._close()
            raise

    def write(self, chunk: bytes | memoryview) -> None:
        written = os.write(self._file, chunk)
        # Short writes happen above 2 GiB, on signals, and just before a disk is full.
        while written < len(chunk):
            written += os.write(self._file, memoryview(chunk)[written:])

    def publish(self, name: str) -> os.stat_result:
        """Makes it `name`, durably. Raises FileExistsError if the name is taken. Whatever is
        raised, nothing of the file stays, as far as the disk still answers."""
        linked = False
        try:
            os.fsync(self._file)
            status = os.fstat(self._file)
            here = self._directory
            os.link(self._name, name, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
            linked = True
            os.unlink(self._name, dir_fd=self._directory)
            os.fsync(self._directory)
        except OSError:
            if linked:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=self._directory)
            self.drop()
            raise
        self._close()
        return status

    def replace(self, name: str) -> None:
        """Makes it `name`, durably, in place of what had that name."""
        os.fsync(self._file)
        os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        os.fsync(self._directory)
        self._close()

    def drop(self) -> None:
        """Leaves nothing. Does nothing the second time, or after `publish`."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, -1
        directory, self._directory = self._directory, -1
        for descriptor in (file, directory):
            if descriptor >= 0:
                # Everything that matters was fsynced: an error here has nothing left to tell.
                with contextlib.suppress(OSError):
                    os.close(descriptor)


def write_file(path: str, data: bytes, *, mode: int = 0o600) -> None:
    """Makes `path` with `data` in it, whole and durable. Raises FileExistsError if it is there."""
    directory, name = os.path.split(path)
    file = NewFile(directory or ".", mode=mode)
    try:
        file.write(data)
        file.publish(name)
    finally:
        file.drop()


def remove_file(path: str) -> None:
    """Removes `path` so that a crash does not bring it back. Raises FileNotFoundError."""
    os.unlink(path)
    sync_directory(os.path.dirname(path) or ".")


def sync_directory(path: str) -> None:
    """Makes the names in `path` durable: those added and those removed."""
    descriptor = os.open(path, _DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: str, *, mode: int = 0o700) -> None:
    """Makes one folder whose parent is there. If it is there already it is made durable all the
    same: another process may have made it and died before its own fsync."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    sync_directory(os.path.dirname(path) or ".")


def replace_file(path: str, data: bytes, *, mode: int = 0o600) -> None:
    """Makes `path` hold `data`, durably, whatever it held before. A crash leaves the old content
    or the new one, whole. Two writers at once: one of them is the last."""
    directory, name = os.path.split(path)
    file = NewFile(directory or ".", mode=mode)
    try:
        file.write(data)
        file.replace(name)
    finally:
        file.drop()


def unfinished(folder: str, before: float) -> list[str]:
    """The new files in that one folder that nobody has written to since `before` (seconds of the
    system's clock): their writers were killed."""
    found: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # its writer was faster
                if entry.name.startswith(INCOMING) and entry.stat().st_mtime < before:
                    found.append(entry.path)
    return sorted(found)


def drop_unfinished(folder: str, before: float) -> int:
    """Removes them, and gives how many. Safe to run twice at once."""
    dropped = 0
    for path in unfinished(folder, before):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            dropped += 1
    return dropped
