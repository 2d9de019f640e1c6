"""A house in this process, and its log as a stranger reads it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from notary.clock import Clock
from notary.errors import NotFound
from notary.keyhistory import encode_rotations
from notary.keyring import head_signer
from notary.ledger import Growing, read_head
from notary.office import Office, found
from notary.settings import Settings
from notary.signed_head import Identity
from notary.tlog.note import VerifierKey
from notary.tlog.policy import Policy
from notary.tlog.tile import encode_bundle, parse_tile_path


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def pass_(self, **time: float) -> None:
        self.moment += timedelta(**time)


def new_house(home: Path, clock: Clock) -> Office:
    settings = Settings(home=home)
    found(settings, clock=clock)
    return Office(settings, clock=clock)


def twin_of(house: Office, home: Path) -> Office:
    """The same keys and the same history up to now, in a folder of its own."""
    house.close()
    shutil.copytree(house.settings.home, home)
    return Office(replace(house.settings, home=home), clock=house.clock)


def grow(house: Office, count: int) -> None:
    """Appends that many entries, all different, in one transaction with one signed head."""
    sign, _ = head_signer(house.house.origin, house.keys)
    with house.database.writing() as connection:
        growing = Growing(connection, read_head(connection, lock=True), {})
        growing.append([os.urandom(24) for _ in range(count)])
        growing.seal(house.clock.now(), sign)


def sql(house: Office, statement: str, *values: object) -> None:
    """Damage by hand."""
    with sqlite3.connect(house.settings.home / "notary.db") as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def stored_tile(house: Office, level: int, n: int) -> bytes:
    connection = sqlite3.connect(house.settings.home / "notary.db")
    query = "SELECT hashes FROM tile WHERE level = ? AND n = ?"
    (hashes,) = connection.execute(query, (level, n)).fetchone()
    connection.close()
    assert isinstance(hashes, bytes)
    return hashes


def identity(house: Office, policy: Policy | None = None) -> Identity:
    keys: Sequence[VerifierKey] = house.trust.log_keys
    return Identity(origin=house.house.origin, keys=tuple(keys), policy=policy)


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing more runs."""


@dataclass
class OfficeSource:
    """A house's log as its web door shows it, and lies on top. `absent` are paths it does not
    show, `shown` bytes it shows instead."""

    house: Office
    name: str = "https://log.example"
    absent: set[str] = field(default_factory=set)
    shown: dict[str, bytes] = field(default_factory=dict)
    read_paths: list[str] = field(default_factory=list)
    _dies_at: int = -1
    _turn: threading.Lock = field(default_factory=threading.Lock)
    before: Callable[[str], None] = lambda path: None

    def die_at(self, number: int) -> None:
        """The read of this number from now on, counted from 1, kills whoever reads; 0 none."""
        self.read_paths.clear()
        self._dies_at = number

    def read(self, path: str, max_bytes: int) -> bytes | None:
        self.before(path)
        with self._turn:
            self.read_paths.append(path)
            if len(self.read_paths) == self._dies_at:
                raise Killed
        if path in self.absent:
            return None
        if path in self.shown:
            return self.shown[path]
        if path == "checkpoint":
            return self.house.ledger.head().checkpoint
        if path == "genesis.json":
            return self.house.house.genesis.encode()
        if path == "rotations.json":
            return encode_rotations(self.house.keyring.history().registered)
        wanted = parse_tile_path(path)
        try:
            if isinstance(wanted.level, int):
                return self.house.ledger.hash_tile(wanted.level, wanted.n, wanted.width)
            return encode_bundle(self.house.ledger.entries(wanted.n * 256, wanted.width))
        except NotFound:
            return None


@contextmanager
def http_door(source: OfficeSource) -> Iterator[str]:
    """The log over HTTP on a free port of loopback, for as long as the block runs; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            found = source.read(self.path.removeprefix("/log/"), 1 << 24)
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(found or b"")

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/log"
        finally:
            server.shutdown()
            thread.join()
