"""A folder on a disk whose power can be cut (`tests.harness.lossy_fs`)."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.harness.server import REPOSITORY

ABSENT: Final = (
    "no file system of our own can be mounted here (that takes root, /dev/fuse, libfuse and "
    "mfusepy): a power cut is only simulated, in test_crash_table.py"
)
_MOUNT_S: Final = 20.0


class Disk:
    """`mountpoint` is there after each `plug_in`, with what was durable at the last cut."""

    def __init__(self, folder: Path) -> None:
        self.mountpoint, self._folder = folder / "disk", folder / "behind"
        self.mountpoint.mkdir()
        self._folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def plug_in(self) -> None:
        program = [sys.executable, "-m", "tests.harness.lossy_fs"]
        self._process = subprocess.Popen(
            [*program, os.fspath(self.mountpoint), os.fspath(self._folder)],
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + _MOUNT_S
        while not os.path.ismount(self.mountpoint):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                _, said = self._process.communicate()
                pytest.skip(f"{ABSENT}: {said.decode(errors='replace')[-300:]}")
            time.sleep(0.02)

    def cut(self) -> None:
        """From here on nobody reads or writes it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        while self._process.poll() is None:
            with contextlib.suppress(OSError):
                os.stat(self.mountpoint / "wakes it")
            time.sleep(0.02)
        self._process.communicate()
        self._unmount()

    def vanish(self) -> None:
        """Its place stays mounted, and every call there fails (ENOTCONN): a volume that went."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def unplug(self) -> None:
        self._unmount()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _unmount(self) -> None:
        while subprocess.run(
            ["umount", "--lazy", os.fspath(self.mountpoint)], capture_output=True, check=False
        ).returncode == 0:  # fmt: skip
            time.sleep(0.02)


@contextmanager
def lossy_disk(folder: Path) -> Iterator[Disk]:
    """Plugged in. Skips the test where it cannot be had."""
    if (
        os.geteuid() != 0
        or not os.path.exists("/dev/fuse")
        or importlib.util.find_spec("mfusepy") is None
    ):
        pytest.skip(ABSENT)
    disk = Disk(folder)
    try:
        disk.plug_in()
        yield disk
    finally:
        disk.unplug()
