"""The scaled shape on this machine: PostgreSQL, an S3 bucket with Object Lock, and nodes that have
nothing of their own but keys."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.postgres import PostgresServer
from tests.harness.server import Service
from tests.harness.weed import WeedServer


@dataclass(slots=True, kw_only=True)
class Nodes:
    """`first` founded the house. The environment must have the S3 server's credentials."""

    folder: Path
    first: Service
    others: list[Service] = field(default_factory=list)

    def join(self) -> Service:
        """Another node, not started: its home has the keys alone."""
        home = self.folder / f"node{len(self.others) + 2}"
        home.mkdir(mode=0o700)
        shutil.copytree(self.first.home / "keys", home / "keys")
        node = Service(home=home, settings=self.first.settings)
        self.others.append(node)
        return node

    def end(self) -> None:
        for node in (self.first, *self.others):
            if node.process is not None and node.process.poll() is None:
                node.kill()


@contextmanager
def scaled_house(
    folder: Path, postgres: PostgresServer, weed: WeedServer, **settings: str
) -> Iterator[Nodes]:
    """Founded, no node started."""
    home = folder / "node1"
    home.mkdir(mode=0o700)
    bucket = f"nodes-{uuid.uuid4()}"
    with postgres.database() as database:
        first = Service(
            home=home,
            settings={
                "database": database,
                "objects": f"s3://{bucket}/kept?endpoint={weed.endpoint}&lock=compliance&days=1",
                "timestamp_interval": "0.2",
                "web_threads": "8",
                **settings,
            },
        )
        first.init()
        nodes = Nodes(folder=folder, first=first)
        try:
            yield nodes
        finally:
            nodes.end()
