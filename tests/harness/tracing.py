"""System calls of a running process that fail, take long, or end it: strace's own injection."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

ABSENT: Final = "no strace here, or it may not trace: install strace, and allow ptrace"
_ATTACH_S: Final = 20.0


@contextmanager
def injected(pids: Sequence[int], calls: str, what: str) -> Iterator[None]:
    """All threads of the processes meet `what` (strace's `error=EIO:when=3+7`, …) at `calls`, for
    as long as the block runs. Skips the test where there is no strace."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip(ABSENT)
    attached = [part for pid in pids for part in ("-p", str(pid))]
    tracer = subprocess.Popen(
        [
            strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
            "-e", f"inject={calls}:{what}", *attached,
        ],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        _await_attached(tracer, pids)
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            # It waits for a process that it killed itself; the others go on without it.
            tracer.kill()
            tracer.communicate()


def _await_attached(tracer: subprocess.Popen[bytes], pids: Sequence[int]) -> None:
    deadline = time.monotonic() + _ATTACH_S
    while time.monotonic() < deadline:
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"{ABSENT}: {tracer.stderr.read().decode(errors='replace')}")
        if all(_traced(pid) for pid in pids):
            return
        time.sleep(0.02)
    raise RuntimeError("strace did not attach")


def _traced(pid: int) -> bool:
    """Every thread of it; one that is gone is no longer waited for."""
    tasks = list(Path(f"/proc/{pid}/task").glob("*/status"))
    return all("TracerPid:\t0\n" not in task.read_text() for task in tasks)
