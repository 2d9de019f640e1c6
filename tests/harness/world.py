"""What a house under faults is to those that watch it: nodes, keys, and a way past every fault."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from notary.office import Office
from notary.settings import Settings
from notary.tlog.note import VerifierKey
from tests.harness.receipts import log_keys
from tests.harness.server import Client, Service

BACK_S = 30.0
"""How long after a fault's end the service may take until it is back."""


def alive(service: Service) -> bool:
    return service.process is not None and service.process.poll() is None


def ready(service: Service) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{service.base}/readyz", timeout=5).status_code == 200
    return False


def roles(service: Service) -> list[tuple[str, int]]:
    """Each of its processes, with what it is: serve, worker, web, web-process, or other."""
    found = []
    for pid in service.family():
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            known = [each for each in (b"serve", b"worker", b"web") if each in line[-2:]]
            found.append((known[0].decode() if known else "other", pid))
    webs = [pid for role, pid in found if role == "web"]
    # Its children are forks of it, with its command line.
    return [("web-process" if pid in webs[1:] else role, pid) for role, pid in found]


@dataclass(slots=True, kw_only=True)
class World:
    """`bare` reaches the servers without any proxy: for the command line and for looking."""

    folder: Path
    nodes: tuple[Service, ...]
    bare: Service
    key: str = ""
    case: str = ""
    keys: tuple[VerifierKey, ...] = ()

    def begin(self) -> None:
        """Founds the house, starts the nodes, makes a client and a case."""
        self.bare.init()
        self.key = self.bare.key("agency")
        for node in self.nodes:
            node.under = _dying_with_us()
            node.start()
        client = Client(self.nodes[0].base, self.key)
        opened = client.post("/v1/cases", json={"court": "C", "number": "1", "title": "A v. B"})
        self.case = opened.json()["id"]
        self.keys = log_keys(client)

    def end(self) -> None:
        for node in self.nodes:
            if alive(node):
                node.kill()

    def mend(self) -> list[str]:
        """Starts again what is dead, as a service manager does, and gives its names. From the
        main thread only: what it starts dies with who started it."""
        dead = [node for node in self.nodes if not alive(node)]
        for node in dead:
            node.spawn()
        return [node.log_name for node in dead]

    def await_ready(self) -> float:
        """The seconds until every node was ready and took a deposit. Raises AssertionError after
        BACK_S: it is not back by itself."""
        begun = time.monotonic()
        while not all(ready(node) and self._takes(node) for node in self.nodes):
            # What could not start while its database was away is started again.
            self.mend()
            if time.monotonic() - begun > BACK_S:
                raise AssertionError(f"not back after {BACK_S} s: {self.said()}")
            time.sleep(0.1)
        return time.monotonic() - begun

    def _takes(self, node: Service) -> bool:
        with contextlib.suppress(requests.RequestException):
            given = Client(node.base, self.key).post(
                "/v1/deposits", data=os.urandom(16), timeout=BACK_S
            )
            return given.status_code == 201
        return False

    def said(self) -> str:
        return "\n".join(f"{node.log_name}: {node.log()[-1500:]}" for node in self.nodes)

    @contextmanager
    def opened(self) -> Iterator[Office]:
        """The house in this process, for a moment."""
        office = Office(Settings.from_env(self.bare.environment))
        try:
            yield office
        finally:
            office.close()


def _dying_with_us() -> tuple[str, ...]:
    """A run of the tests that is killed leaves no nodes behind: web and worker notice."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()


@contextmanager
def embedded(home: Path, **settings: str) -> Iterator[World]:
    """SQLite and a folder: one node, begun, that ends with the block."""
    service = Service(home=home, settings={"timestamp_interval": "0.5", **settings})
    world = World(folder=home, nodes=(service,), bare=service)
    try:
        world.begin()
        yield world
    finally:
        world.end()
