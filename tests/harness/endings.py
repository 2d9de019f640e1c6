"""What can happen at a write of a house that is watched (`tests.harness.faults`)."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import psycopg

from tests.harness.faults import Faults, Hook


class Crash(BaseException):
    """What kill -9 looks like from inside: nothing more runs, and nothing catches it."""


def dies(faults: Faults, point: str, kind: str, to: Path) -> Hook:
    """The end of the process, or of the machine, at the write `point`: what is left lies in `to`
    (made only if the write was reached)."""
    when = "before" if kind == "before" else "after"

    def hook(name: str, now: str) -> None:
        if (name, now) == (point, when) and not to.exists():
            faults.copy(to, kind)

    return hook


def exits(point: str, kind: str) -> Hook:
    """The process ends there, really."""

    def hook(name: str, now: str) -> None:
        if (name, now) == (point, kind):
            os._exit(9)

    return hook


def fails(point: str, kind: str, connection: type = sqlite3.Connection) -> Hook:
    """An error at the write: `refused` and not made, or `lost`: made, but nobody was told so."""
    when = "before" if kind == "refused" else "after"
    left = [1]

    def hook(name: str, now: str) -> None:
        if (name, now) == (point, when) and left[0]:
            left[0] = 0
            raise error_at(point, connection)

    return hook


def error_at(point: str, connection: type = sqlite3.Connection) -> Exception:
    """The system's or the driver's own error: no space, or for an fsync a broken disk."""
    label, _, what = point.partition(": ")
    if what:
        number = errno.EIO if what.startswith("fsync") else errno.ENOSPC
        return OSError(number, os.strerror(number), label)
    if issubclass(connection, sqlite3.Connection):
        return sqlite3.OperationalError("database or disk is full")
    return psycopg.OperationalError("server closed the connection unexpectedly")
