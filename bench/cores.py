"""Hosts of a fixed size on one machine: a control group that may use so much of a core, whatever
else runs. Without it two nodes on the same cores would only share out what one had."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PERIOD_US = 20_000
"""Short, so that a node that has used its part waits milliseconds for the next."""
_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """`folder` is that of the control group."""

    folder: Path

    def take(self, pid: int) -> None:
        """A process, with all that it will start."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def periods(self) -> tuple[int, int]:
        """(periods in which it wanted more than it may have, periods in which it ran), so far."""
        said = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return int(said["nr_throttled"]), int(said["nr_periods"])


@contextmanager
def host(cores: float) -> Iterator[Host | None]:
    """None where this machine lets us make no control group. All its processes must have ended
    before the end."""
    folder = _make(cores)
    try:
        yield None if folder is None else Host(folder=folder)
    finally:
        if folder is not None:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _make(cores: float) -> Path | None:
    name, quota = f"bench-{uuid.uuid4()}", int(cores * PERIOD_US)
    first = _ROOT / "cpu"
    limits = {"cpu.max": f"{quota} {PERIOD_US}"}
    parent = _ROOT
    if (first / "cpu.cfs_quota_us").exists() or (first / "cpu.shares").exists():
        limits = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota)}
        parent = first
    folder = parent / name
    try:
        folder.mkdir()
        for file, value in limits.items():
            (folder / file).write_text(value)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        return None
    return folder
