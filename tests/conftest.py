"""What every test shares: a clean environment, and one running service for those that need one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.harness import judges
from tests.harness.people import Staff
from tests.harness.server import Client, Service

# No test may fail because a machine is slow.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# What the tests themselves are asked to do; all other settings would change the services.
OURS = (
    "NOTARY_KILLS", "NOTARY_SEED", "NOTARY_TEST_GIB",
    "NOTARY_TEST_ORIGINALS", "NOTARY_ONE_ROW_IN", "NOTARY_ONE_FAULT_IN",
    "NOTARY_ONE_SLOW_IN",
)  # fmt: skip
for _name in [name for name in os.environ if name.startswith("NOTARY_") and name not in OURS]:
    del os.environ[_name]


TABLES = ("test_crash_table.py", "test_crash_postgres.py", "test_crash_rebuild.py")
ONE_ROW_IN = int(os.environ.get("NOTARY_ONE_ROW_IN", "1"))
KILLS = "test_scaled_kills.py"
ONE_FAULT_IN = int(os.environ.get("NOTARY_ONE_FAULT_IN", "1"))
ONE_SLOW_IN = int(os.environ.get("NOTARY_ONE_SLOW_IN", "1"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the slow rows of the crash tables every NOTARY_ONE_ROW_IN-th, of each file's other slow
    tests every NOTARY_ONE_SLOW_IN-th, of the faults with real servers every
    NOTARY_ONE_FAULT_IN-th; all of them by default."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    rows = [item for item in slow if item.path.name in TABLES]
    others: dict[Path, list[pytest.Item]] = {}
    for item in slow:
        if item.path.name not in TABLES:
            others.setdefault(item.path, []).append(item)
    sampled = {item for each in others.values() for item in each[::ONE_SLOW_IN]}
    faults = [
        item for item in items if item.get_closest_marker("fault") and item.path.name != KILLS
    ]
    taken = {*rows[::ONE_ROW_IN], *sampled, *faults[::ONE_FAULT_IN]}
    left_out = {*slow, *faults} - taken
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One running service that tests share: each makes its own accounts, cases and deposits."""
    running = Service(home=tmp_path_factory.mktemp("house"), settings={"timestamp_interval": "0.2"})
    running.init()
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def agency(service: Service) -> Client:
    """An API client of the shared service."""
    return Client(service.base, service.key("agency"))


@pytest.fixture(scope="session")
def staff(service: Service) -> Iterator[Staff]:
    """Makes accounts of any role in the shared service."""
    with Staff(service) as opened:
        yield opened


@pytest.fixture(scope="session")
def go_judges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, judges.Ask]:
    """Judges that nobody here wrote, in Go; skips where they cannot be had."""
    return judges.build_go(tmp_path_factory.mktemp("go-judges"))


@pytest.fixture(scope="session")
def node_judges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, judges.Ask]:
    """The same from npm."""
    return judges.install_node(tmp_path_factory.mktemp("node-judges"))


@pytest.fixture
def new_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Makes services of a test's own: new_service(max_file_bytes="1000", …), started."""
    made: list[Service] = []

    def make(**settings: str) -> Service:
        home = tmp_path / f"house{len(made)}"
        home.mkdir()
        fresh = Service(home=home, settings=settings)
        fresh.init()
        fresh.start()
        made.append(fresh)
        return fresh

    yield make
    for each in made:
        if each.process is not None and each.process.poll() is None:
            each.stop()
