"""Eight clients that never rest, each of another kind, and remember every request that failed.

Nobody repeats anything: what a client is not answered as it should be is a failure.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import requests

from tests.harness.person import Person
from tests.harness.server import Client

PIECE = 64 << 10


@dataclass(slots=True, kw_only=True)
class Crowd:
    """`made` are the ids and SHA-256 of what was acknowledged, `counts` what was answered."""

    base: str
    key: str
    upload_s: float
    """How long an upload takes at least, so that it is under way while a node ends."""
    failed: list[str] = field(default_factory=list)
    made: dict[str, bytes] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    indices: list[int] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def expect(self, kind: str, status: int, ask: Callable[[], requests.Response]) -> Any:
        """The answer, or None where it was not the expected one."""
        began = time.monotonic()
        try:
            given = ask()
        except requests.RequestException as exc:
            self.failed.append(f"{kind} after {time.monotonic() - began:.1f} s: {exc!r}")
            return None
        if given.status_code != status:
            self.failed.append(f"{kind}: {given.status_code} {given.text[:300]}")
            return None
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return given

    def keep(self, given: requests.Response, data: bytes) -> None:
        said = given.json()
        self.indices.append(said["leaf_index"])
        self.made[said["id"]] = hashlib.sha256(data).digest()

    # --- one round of each kind -----------------------------------------------------------

    def deposit(self, client: Client) -> None:
        data = os.urandom(1024)
        given = self.expect("deposit", 201, lambda: client.post("/v1/deposits", data=data))
        if given is not None:
            self.keep(given, data)

    def upload(self, client: Client) -> None:
        data = os.urandom(32 * PIECE)
        slow = Slow(data, self.upload_s)
        given = self.expect(
            "upload",
            201,
            lambda: client.post(
                "/v1/deposits", data=slow, headers={"Content-Type": "application/octet-stream"}
            ),
        )
        if given is not None:
            self.keep(given, data)

    def read(self, client: Client) -> None:
        self.expect("checkpoint", 200, lambda: client.get("/log/checkpoint"))
        if not self.made:
            return
        deposit_id, digest = list(self.made.items())[-1]
        at = f"/v1/deposits/{deposit_id}"
        self.expect("deposit read", 200, lambda: client.get(at))
        given = self.expect("content", 200, lambda: client.get(f"{at}/content"))
        if given is not None and hashlib.sha256(given.content).digest() != digest:
            self.failed.append(f"content of {deposit_id} differs")

    def browse(self, person: Person) -> None:
        for path in ("/", "/cases", "/verify", "/docs"):
            self.expect("page", 200, partial(person.get, path))

    def sign_in_and_out(self, person: Person, name: str) -> None:
        # A session of its own each time: whatever node made it, others must know it, and its end.
        def sign_in() -> requests.Response:
            person.sign_in(name)
            return person.get("/cases")

        if self.expect("sign in", 200, sign_in) is not None:
            self.expect("sign out", 200, lambda: person.submit("/sign-out"))
            person.csrf = ""

    @contextmanager
    def at_work(self, clerk: Person, name: str) -> Iterator[None]:
        """`clerk` is signed in; `name` has the harness's password."""

        def client() -> Client:
            return Client(self.base, self.key)

        one, two, three, four, five = (client() for _ in range(5))
        visitor = Person(self.base)
        works: list[Callable[[], None]] = [
            lambda: self.deposit(one),
            lambda: self.deposit(two),
            lambda: self.deposit(client()),  # a new connection each time
            lambda: self.upload(three),
            lambda: self.upload(four),
            lambda: self.read(five),
            lambda: self.browse(clerk),
            lambda: self.sign_in_and_out(visitor, name),
        ]

        def repeat(work: Callable[[], None]) -> None:
            while not self.stop.is_set():
                try:
                    work()
                except Exception as exc:  # noqa: BLE001  # told at the end, with all others
                    self.failed.append(repr(exc))
                time.sleep(0.05)

        threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()


class Slow:
    """A body of a known length that takes its time."""

    def __init__(self, data: bytes, seconds: float) -> None:
        self._data, self._wait = data, seconds * PIECE / len(data)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self._data), PIECE):
            time.sleep(self._wait)
            yield self._data[at : at + PIECE]
