"""`notary serve`: the web processes and the worker, as one foreground command.

The parent examines the house before any door opens, starts the worker, runs the web server, and
on Ctrl-C or SIGTERM lets both finish what they are at. A worker that dies is started again.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from types import FrameType

import structlog
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from notary.jobs import Jobs
from notary.office import Office
from notary.settings import Settings

DRAIN_S = 30
RESTART_AFTER_S = 1.0


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


def serve_house(settings: Settings) -> None:
    """Blocks until told to stop. Raises where the house is missing or contradicts itself."""
    configure_log(settings.log_level)
    office = Office(settings)
    office.examine()
    office.publish()
    office.close()
    # The web processes share their counters through files in this folder.
    metrics = settings.home / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(mode=0o700)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    minder = _Minder()
    minder.start()
    print(f"Evidence registration at {settings.base_url}", flush=True)
    server = Server(
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
        workers_kill_timeout=DRAIN_S,
        log_level=LogLevels.warning,
        websockets=False,
    )
    try:
        server.serve()
    finally:
        minder.stop()


class _Minder(threading.Thread):
    """Keeps one worker process alive."""

    def __init__(self) -> None:
        super().__init__(name="minder", daemon=True)
        self._done = threading.Event()
        self._worker: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        while not self._done.is_set():
            # Its own session: a Ctrl-C at the terminal reaches it through us, after the web.
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "notary.cli.main", "worker"], start_new_session=True
            )
            self._worker.wait()
            self._done.wait(RESTART_AFTER_S)

    def stop(self) -> None:
        self._done.set()
        worker = self._worker
        if worker is None or worker.poll() is not None:
            return
        worker.terminate()
        try:
            worker.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            worker.kill()


def work(settings: Settings) -> None:
    """The worker process. Ends when told to, and when the parent that started it is gone."""
    configure_log(settings.log_level)
    jobs = Jobs(Office(settings), settings.home)
    parent = os.getppid()

    def stop(_number: int, _frame: FrameType | None) -> None:
        jobs.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    def watch_parent() -> None:
        idle = threading.Event()
        while not idle.wait(1.0):
            if os.getppid() != parent:
                jobs.stop()
                return

    threading.Thread(target=watch_parent, name="parent", daemon=True).start()
    jobs.run()
