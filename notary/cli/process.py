"""What each process of a house sets up first: its log, and an eye on its parent."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO, cast

import structlog

from notary.traffic import PARENT


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
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Log(sys.stderr))),
    )


class _Log:
    """A file that may refuse a line: its disk full or gone. No answer depends on that, and what
    the line would have said of a failing disk is answered to whoever asked."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()


def end_with_parent(end: Callable[[], None]) -> None:
    """A parent that was killed cannot tell its children: they notice."""
    parent = int(os.environ.get(PARENT, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        end()

    threading.Thread(target=watch, name="parent", daemon=True).start()
