"""A file system that keeps, at a power cut, exactly what was fsynced: no more, and no less.

    python -m tests.harness.lossy_fs MOUNTPOINT FOLDER

FOLDER/now is what its users see. Beside it stands what a disk would hold: of each file the bytes
that an fsync of the file covered, of each folder the names that an fsync of the folder covered. At
SIGUSR1 the power goes: FOLDER/now becomes that, and the program ends. A name whose file was never
fsynced comes back as an empty file; a file without a durable name is gone, whatever was in it.

Stricter than most file systems, which bring more to the disk than they must.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import mfusepy

_REMOVED = ".fuse_hidden"
"""Where libfuse puts a file that is removed while it is open, until it is closed."""


class Lossy(mfusepy.Operations):  # type: ignore[misc]  # it carries no types
    """Files are known by their inode below `now`, so that a link or a new name loses nothing."""

    use_ns = True

    def __init__(self, folder: Path) -> None:
        self._now, self._data, self._folder = folder / "now", folder / "data", folder
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir()
        self._now.mkdir(exist_ok=True)
        self._dirty: dict[int, list[tuple[int, int]]] = {}
        self._names: dict[str, dict[str, int]] = {}
        """Of each folder that is durable: its durable names; 0 stands for a folder."""
        self._keep_all()

    def _keep_all(self) -> None:
        """What is there at the beginning is on the disk."""
        for folder, _, files in os.walk(self._now):
            self._sync_names("/" + os.path.relpath(folder, self._now).lstrip("."))
            for name in files:
                path = Path(folder, name)
                shutil.copyfile(path, self._data / str(path.stat().st_ino))

    def _at(self, path: str) -> str:
        return os.fspath(self._now) + path

    def _sync_names(self, path: str) -> None:
        with os.scandir(self._at(path)) as found:
            self._names[_key(path)] = {
                each.name: 0 if each.is_dir(follow_symlinks=False) else each.inode()
                for each in found
                if not each.name.startswith(_REMOVED)
            }

    def _sync_data(self, file: int) -> None:
        status = os.fstat(file)
        kept = os.open(self._data / str(status.st_ino), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            for offset, length in self._dirty.pop(status.st_ino, ()):
                os.pwrite(kept, os.pread(file, length, offset), offset)
            os.ftruncate(kept, status.st_size)
        finally:
            os.close(kept)

    def cut(self) -> None:
        """The power goes."""
        left = self._folder / "left"
        shutil.rmtree(left, ignore_errors=True)
        left.mkdir()
        self._bring_back("/", left)
        shutil.rmtree(self._now)
        left.rename(self._now)

    def _bring_back(self, path: str, to: Path) -> None:
        for name, inode in self._names.get(_key(path), {}).items():
            if inode == 0:
                (to / name).mkdir()
                self._bring_back(_key(path) + "/" + name, to / name)
                continue
            kept = self._data / str(inode)
            if kept.exists():
                shutil.copyfile(kept, to / name)
            else:
                (to / name).touch()
            mode = self._modes.get(inode, 0o600)
            (to / name).chmod(mode)

    @property
    def _modes(self) -> dict[int, int]:
        found = {}
        for folder, _, files in os.walk(self._now):
            for name in files:
                status = os.stat(os.path.join(folder, name))
                found[status.st_ino] = status.st_mode & 0o777
        return found

    # --- what a file system is asked -------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        # An open file may have no name any more.
        status = os.lstat(self._at(path)) if fh is None else os.fstat(fh)
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_ino", "st_blocks")
        times = {f"st_{one}time": getattr(status, f"st_{one}time_ns") for one in "amc"}
        return {name: getattr(status, name) for name in names} | times

    def readdir(self, path: str, fh: int) -> list[str]:
        names = os.listdir(self._at(path))
        return [".", "..", *(name for name in names if not name.startswith(_REMOVED))]

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._at(path))
        names = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree")
        return {name: getattr(found, name) for name in (*names, "f_favail", "f_namemax")}

    def open(self, path: str, flags: int) -> int:
        # Read as well: what is fsynced is read back from here.
        return os.open(self._at(path), os.O_RDWR)

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode & 0o777)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._dirty.setdefault(os.fstat(fh).st_ino, []).append((offset, len(data)))
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        if fh is None:
            os.truncate(self._at(path), length)
        else:
            os.ftruncate(fh, length)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        self._sync_data(fh)

    def fsyncdir(self, path: str, datasync: int, fh: int) -> None:
        self._sync_names(path)

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._at(path), mode & 0o777)

    def rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def link(self, target: str, source: str) -> None:
        os.link(self._at(source), self._at(target))

    def rename(self, old: str, new: str) -> None:
        os.rename(self._at(old), self._at(new))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode & 0o777)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._at(path), uid, gid)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        if times is None:
            os.utime(self._at(path))
        else:
            os.utime(self._at(path), ns=times)

    def access(self, path: str, amode: int) -> None:
        if not os.access(self._at(path), amode):
            raise mfusepy.FuseOSError(errno.EACCES)


def _key(path: str) -> str:
    return path.rstrip("/")


def main() -> None:
    mountpoint, folder = sys.argv[1:]
    lossy = Lossy(Path(folder))

    def cut(_number: int, _frame: object) -> None:
        lossy.cut()
        with contextlib.suppress(OSError):
            subprocess.Popen(["umount", "--lazy", mountpoint])
        os._exit(0)

    signal.signal(signal.SIGUSR1, cut)
    mfusepy.FUSE(lossy, mountpoint, foreground=True, nothreads=True)


if __name__ == "__main__":
    main()
