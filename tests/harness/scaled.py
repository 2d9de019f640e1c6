"""The scaled shape of tests: two nodes, PostgreSQL, S3 with Object Lock, an outside authority.

All are real programs in processes of their own, and each can be killed; `mend` starts again what is
dead, as a service manager does. Every way between a node and a server leads over a stretch of
network that can fail: to the database by a proxy of each node's own, to S3 and to the authority by
one that they share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from tests.contract.stores import scrub_aws
from tests.harness.certomancer import certomancer
from tests.harness.mortal_weed import MortalWeed, mortal_weed
from tests.harness.openssl_tsa import pem
from tests.harness.postgres import PostgresServer, running_postgres
from tests.harness.s3_faults import S3Faults, s3_faults
from tests.harness.server import Service
from tests.harness.tcp_proxy import TcpProxy, proxied
from tests.harness.world import World

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


@dataclass(slots=True, kw_only=True)
class Scaled(World):
    """See `World`; with the servers behind it, and the ways to them."""

    nodes: tuple[Node, ...]
    postgres: PostgresServer
    weed: MortalWeed
    s3: S3Faults
    authority: TcpProxy
    database: str

    def mend(self) -> list[str]:
        mended = []
        process = self.postgres.process
        if process is None or process.poll() is not None:
            self.postgres.start()
            mended.append("database")
        if not self.weed.alive():
            self.weed.start()
            mended.append("object store")
        return mended + World.mend(self)


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
            world.begin()
            yield world
        finally:
            world.end()
            if postgres.process is None or postgres.process.poll() is not None:
                postgres.start()  # its folder goes in order
