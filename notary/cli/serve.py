"""`notary serve`: the web processes and the worker, as one foreground command.

The parent examines the house before any door opens, starts both, and starts again whichever dies.
On Ctrl-C or SIGTERM it closes the door, waits until no request is under way, and ends them.
"""

from __future__ import annotations

import contextlib
import logging
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
from types import FrameType

import structlog
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from notary.jobs import Jobs
from notary.office import Office
from notary.settings import Settings
from notary.web import witness
from notary.web.status import in_flight
from notary.witness_house import open_witness

DRAIN_S = 60.0
WORKER_DRAIN_S = 30.0
RESTART_AFTER_S = 1.0
LOOK_S = 0.05


def configure_log(level: str) -> None:
    """JSON lines on standard error; nothing that identifies a person or opens a door."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


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
            [sys.executable, "-m", "notary.cli.main", self._command], start_new_session=True
        )

    def _mind(self) -> None:
        while True:
            self.process.wait()
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
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def serve_house(settings: Settings) -> None:
    """Blocks until told to stop. Raises where the house is missing or contradicts itself."""
    configure_log(settings.log_level)
    office = Office(settings)
    office.examine()
    office.publish()
    office.close()
    # The web processes share their counters through files in this folder. Not in the home: nodes
    # in containers share one, and would count each other's requests.
    metrics = Path(tempfile.mkdtemp(prefix="notary-metrics-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: told.set())
    worker, web = _Child("worker"), _Child("web")
    print(f"Evidence registration at {settings.base_url}", flush=True)
    told.wait()
    web.ask_to_end()
    # The server itself would wait for idle keep-alive connections too: we know better, since
    # every request is counted from its first byte to the last of its answer.
    web.end(lambda: in_flight(metrics) == 0, DRAIN_S)
    worker.ask_to_end()
    worker.end(lambda: False, WORKER_DRAIN_S)
    shutil.rmtree(metrics, ignore_errors=True)


def serve_web(settings: Settings) -> None:
    """The web processes alone, under the parent that `serve` is."""
    configure_log(settings.log_level)
    _end_with_parent(lambda: os.killpg(0, signal.SIGTERM))
    Server(
        target="app:create_app",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.web_processes,
        blocking_threads=settings.web_threads,
        # More requests than threads would queue unseen inside; the ledger's queue is bounded.
        backpressure=settings.web_threads * 4,
        respawn_failed_workers=True,
        log_level=LogLevels.error,
        websockets=False,
    ).serve()


def serve_witness(home: Path, *, host: str, port: int) -> None:
    """A witness in one process of its own; blocks until told to stop."""
    configure_log("info")
    open_witness(home)
    os.environ[witness.HOME] = str(home)
    print(f"Witness at http://{host}:{port}", flush=True)
    Server(
        target="notary.web.witness:create_witness",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=4,
        log_level=LogLevels.error,
        websockets=False,
    ).serve()


def work(settings: Settings) -> None:
    """The worker process. Ends when told to, and when the parent that started it is gone."""
    configure_log(settings.log_level)
    jobs = Jobs(Office(settings), settings.home)

    def stop(_number: int, _frame: FrameType | None) -> None:
        jobs.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    _end_with_parent(jobs.stop)
    jobs.run()


def _end_with_parent(end: Callable[[], None]) -> None:
    """A parent that was killed cannot tell its children: they notice."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        end()

    threading.Thread(target=watch, name="parent", daemon=True).start()
