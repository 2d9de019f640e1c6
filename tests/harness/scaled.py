"""The scaled shape of tests: two nodes, PostgreSQL, S3 with Object Lock, an outside authority.

All are real programs in processes of their own, and each can be killed; `mend` starts again what is
dead, as a service manager does. Every way between a node and a server leads over a stretch of
network that can fail: to the database by a proxy of each node's own, to S3 and to the authority by
one that they share.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import requests
import sqlalchemy as sa

from notary.office import Office
from notary.settings import Settings
from notary.tlog.note import VerifierKey
from tests.contract.stores import scrub_aws
from tests.harness.certomancer import certomancer
from tests.harness.mortal_weed import MortalWeed, mortal_weed
from tests.harness.openssl_tsa import pem
from tests.harness.postgres import PostgresServer, running_postgres
from tests.harness.receipts import log_keys
from tests.harness.s3_faults import S3Faults, s3_faults
from tests.harness.server import Client, Service
from tests.harness.tcp_proxy import TcpProxy, proxied

BACK_S = 30.0
"""How long after a fault's end the service may take until it is back."""
BUCKET = "originals"


@dataclass(slots=True, kw_only=True)
class Node(Service):
    """`database` is its own way there; `further` are variables of its environment."""

    database: TcpProxy
    further: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        ours = cast(Mapping[str, str], Service.environment.__get__(self))
        return {**ours, **self.further}

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def roles(self) -> list[tuple[str, int]]:
        """Each process of the node, with what it is: serve, worker, web, or web-process, which
        `web` starts."""
        assert self.process is not None
        found = []
        for pid in self.family():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                known = [each for each in (b"serve", b"worker", b"web") if each in line[-2:]]
                found.append((known[0].decode() if known else "web-process", pid))
        return found

    def ready(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.base}/readyz", timeout=5).status_code == 200
        return False


@dataclass(slots=True, kw_only=True)
class Scaled:
    """`settings` reach the servers without any proxy: for the command line and for looking."""

    folder: Path
    postgres: PostgresServer
    weed: MortalWeed
    s3: S3Faults
    authority: TcpProxy
    nodes: tuple[Node, ...]
    bare: Service
    database: str
    key: str = ""
    case: str = ""
    keys: tuple[VerifierKey, ...] = ()

    def mend(self) -> list[str]:
        """Starts again what is dead, and gives its names. From the main thread only."""
        mended = []
        process = self.postgres.process
        if process is None or process.poll() is not None:
            self.postgres.start()
            mended.append("database")
        if not self.weed.alive():
            self.weed.start()
            mended.append("object store")
        for node in self.nodes:
            if not node.alive():
                node.spawn()
                mended.append(node.log_name)
        return mended

    def await_ready(self) -> float:
        """The seconds until every node was ready and took a deposit. Raises AssertionError after
        BACK_S: it is not back by itself."""
        begun = time.monotonic()
        while not all(node.ready() and self._takes(node) for node in self.nodes):
            # A service manager starts again what could not start while its database was away.
            self.mend()
            if time.monotonic() - begun > BACK_S:
                raise AssertionError(f"not back after {BACK_S} s: {self.said()}")
            time.sleep(0.1)
        return time.monotonic() - begun

    def _takes(self, node: Node) -> bool:
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


def settings_of(world: Scaled, node: Node | None) -> dict[str, str]:
    """What a node is started with. Both share one home folder, where the keys are: the one place
    that says so."""
    url = sa.make_url(world.database)
    endpoint = world.weed.server.endpoint
    if node is not None:
        url = url.set(port=node.database.port)
        endpoint = f"http://127.0.0.1:{world.s3.port}"
    return {
        "database": url.render_as_string(hide_password=False),
        "objects": f"s3://{BUCKET}/kept?endpoint={endpoint}&lock=governance&days=1",
        "timestamp_interval": "0.5",
        "journal_interval": "1",
        "web_processes": "1",
        "web_threads": "8",
        "tsa_roots": str(world.folder / "roots.pem"),
        "tsa_urls": f"http://127.0.0.1:{world.authority.port}/court/tsa/ec",
        "tsa_timeout": "5",
        "audit_days": "0",
    }


@contextmanager
def scaled(folder: Path) -> Iterator[Scaled]:
    """Founded, started, and with a case and an API client; all of it ends with the block."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        scrub_aws(patch)
        postgres = stack.enter_context(running_postgres())
        database = stack.enter_context(postgres.database())
        weed = stack.enter_context(mortal_weed())
        for name, value in weed.server.environment.items():
            patch.setenv(name, value)
        (folder / "tsa").mkdir()
        tsa = stack.enter_context(certomancer(folder / "tsa"))
        (folder / "roots.pem").write_bytes(pem(tsa.root))
        home = folder / "home"
        home.mkdir()
        world = Scaled(
            folder=folder,
            postgres=postgres,
            weed=weed,
            s3=stack.enter_context(s3_faults(weed.port)),
            authority=stack.enter_context(proxied(int(tsa.base_url.rsplit(":", 1)[1]))),
            nodes=tuple(
                Node(
                    home=home, log_name=f"node-{name}",
                    database=stack.enter_context(proxied(postgres.port)),
                )
                for name in "ab"
            ),
            bare=Service(home=home),
            database=database,
        )  # fmt: skip
        world.bare.settings = settings_of(world, None)
        for node in world.nodes:
            node.settings = settings_of(world, node)
        try:
            _begin(world)
            yield world
        finally:
            for node in world.nodes:
                if node.alive():
                    node.kill()
            if postgres.process is None or postgres.process.poll() is not None:
                postgres.start()  # its folder goes in order


def _begin(world: Scaled) -> None:
    world.bare.init()
    world.key = world.bare.key("agency")
    for node in world.nodes:
        node.start()
    client = Client(world.nodes[0].base, world.key)
    opened = client.post("/v1/cases", json={"court": "C", "number": "1", "title": "A v. B"})
    world.case = opened.json()["id"]
    world.keys = log_keys(client)
