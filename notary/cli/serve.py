"""`notary serve`: the web processes and the worker, as one foreground command.

The parent examines the house before any door opens, starts both, and starts again whichever dies.
On Ctrl-C or SIGTERM it says in /readyz that it leaves, for as long as proxies need to see it;
closes the door, waits until no request is under way, and ends them; a second one ends the waiting.
It loads nothing of the web and the queue: each child loads its own, both at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click

from notary.office import Office
from notary.settings import Settings
from notary.traffic import FOLDER, PARENT, in_flight, leave

WORKER_DRAIN_S = 30.0
RESTART_AFTER_S = 1.0
LOOK_S = 0.05
SENDING_S = 2.0
"""An answer that the application is done with may not have left the server yet. It ends by itself
when all have, unless clients keep idle connections open."""


@click.command()
def serve() -> None:
    """Serve the house that is there, with its background work. Makes none."""
    serve_house(Settings.from_env(os.environ))


class _Child:
    """One of our own commands as a process group, kept alive until `end`."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._ended = threading.Event()
        self.process = self._start()
        threading.Thread(target=self._mind, name=command, daemon=True).start()

    def _start(self) -> subprocess.Popen[bytes]:
        # Its own session: a Ctrl-C at the terminal reaches it through us, when its turn comes.
        return subprocess.Popen(
            [sys.executable, "-m", "notary.cli.main", self._command],
            start_new_session=True,
            env={**os.environ, PARENT: str(os.getpid())},
        )

    def _mind(self) -> None:
        while True:
            self.process.wait()
            # Of a web that was killed its processes are left, which nobody would end any more.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            if self._ended.wait(RESTART_AFTER_S):
                return
            self.process = self._start()

    def ask_to_end(self) -> None:
        self._ended.set()
        self.process.terminate()

    def end(self, done: Callable[[], bool], patience_s: float) -> None:
        """Ends the whole group as soon as `done`, at the latest after `patience_s`."""
        deadline = time.monotonic() + patience_s
        while self.process.poll() is None and not done() and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(SENDING_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def serve_house(settings: Settings) -> None:
    """Blocks until told to stop. Raises where the house is missing or contradicts itself."""
    office = Office(settings)
    office.examine()
    office.publish()
    if not office.authorities:
        print(
            "This node has no keys/tsa.pem, and NOTARY_TSA_URLS names no authority: it asks for no "
            "timestamp. A node that has the key must be running.",
            flush=True,
        )
    office.close()
    # The web processes share their counters through files in this folder. Not in the home: nodes
    # in containers share one, and would count each other's requests.
    metrics = Path(tempfile.mkdtemp(prefix="notary-metrics-"))
    os.environ[FOLDER] = str(metrics)
    # The C library's memory: by default each thread gets a place of its own, and keeps what its
    # largest batch once needed. One place serves all: only one thread at a time runs Python.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    told, again = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: (again if told.is_set() else told).set())
    worker, web = _Child("worker"), _Child("web")
    print(f"Evidence registration at {settings.base_url}", flush=True)
    told.wait()
    leave(metrics)
    again.wait(settings.drain_seconds)
    web.ask_to_end()
    # The server itself would wait for idle keep-alive connections too: we know better, since
    # every request is counted from its first byte to the last of its answer.
    web.end(lambda: again.is_set() or in_flight(metrics) == 0, settings.finish_seconds)
    worker.ask_to_end()
    worker.end(lambda: False, WORKER_DRAIN_S)
    shutil.rmtree(metrics, ignore_errors=True)
