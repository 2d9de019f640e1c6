"""What the suites of this folder are run against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.stores import scrub_aws
from tests.harness.postgres import shared_postgres
from tests.harness.weed import WeedServer, shared_server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, of each kind."""
    with ExitStack() as held:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path / 'rows.db'}"
        else:
            yield held.enter_context(shared_postgres().database())


@pytest.fixture
def weed(monkeypatch: pytest.MonkeyPatch) -> WeedServer:
    """The S3 server, with its credentials in the environment."""
    server = shared_server()
    scrub_aws(monkeypatch)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server
