"""A house of ten million deposits, built once and kept: what only shows at that size is measured
in it.

It lies in BENCH_CACHE, by default a folder of this user among the temporary files, takes some
25 GB and, the first time, some twenty minutes. An interrupted build goes on where it stopped.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bench.batch import post_rows, rows
from bench.house import say
from notary.office import Office
from notary.settings import Settings
from tests.harness.server import Service

LARGE = 10_000_000
_BATCH = 500_000


@contextmanager
def large() -> Iterator[tuple[Service, str]]:
    """The large house as a running service, and a key to deposit with."""
    home = _home()
    running = Service(home=home)
    if not (home / "notary.db").exists():
        running.init()
    key = running.key("bench")
    running.start()
    try:
        _grow(running, key)
        _wait_for_the_journal(home)
        yield running, key
    finally:
        running.stop()


@contextmanager
def large_office() -> Iterator[Office]:
    """The large house in this process."""
    with large() as (running, _):
        home = running.home
    house = Office(Settings(home=home))
    try:
        yield house
    finally:
        house.close()


def size_of(home: Path) -> int:
    return _number(home, "SELECT size FROM tree_head")


def _number(home: Path, question: str) -> int:
    with closing(sqlite3.connect(f"file:{home / 'notary.db'}?mode=ro", uri=True)) as connection:
        (number,) = connection.execute(question).fetchone()
    return int(number)


def _grow(running: Service, key: str) -> None:
    while (at := size_of(running.home)) < LARGE:
        began = time.perf_counter()
        post_rows(running.port, key, b"".join(rows(min(_BATCH, LARGE - at))))
        per_s = _BATCH / (time.perf_counter() - began)
        say(f"the large house has {at + _BATCH} entries, {per_s:.0f} a second with making them")


def _wait_for_the_journal(home: Path) -> None:
    """What was just entered is written beside the originals too: not while others are measured."""
    while (lag := size_of(home) - _journalled(home)) > 0:
        say(f"{lag} entries are not in the journal yet")
        time.sleep(5)


def _journalled(home: Path) -> int:
    return _number(home, "SELECT kept FROM journal")


def _home() -> Path:
    default = Path(tempfile.gettempdir()) / f"evidence-bench-{os.getuid()}"
    home = Path(os.environ.get("BENCH_CACHE", default)) / "ten-million"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home
