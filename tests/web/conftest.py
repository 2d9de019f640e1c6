"""What the tests of the pages share: one house with a person of each role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.person import FILE_LIMIT, Court, Person, open_court
from tests.harness.server import Service


@pytest.fixture(scope="session")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    service = Service(
        home=tmp_path_factory.mktemp("court"),
        settings={
            "timestamp_interval": "0.2",
            "sign_in_per_minute": "10000",
            "verify_per_minute": "10000",
            "max_file_bytes": str(FILE_LIMIT),
        },
    )
    service.init()
    service.start()
    try:
        yield open_court(service)
    finally:
        service.stop()


@pytest.fixture
def stranger(court: Court) -> Person:
    return Person(court.service.base)
