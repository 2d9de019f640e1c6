"""The disk of an embedded house goes from under it: everybody is told to try again."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.harness.depositors import Told
from tests.harness.power import Disk, lossy_disk
from tests.harness.server import Client, Service
from tests.harness.uploaders import some_request
from tests.harness.world import World

ASKED_S = 6.0

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with lossy_disk(tmp_path) as plugged:
        yield plugged


@pytest.fixture(params=["log", "../log"], ids=["its log too", "its log lies outside"])
def world(disk: Disk, request: pytest.FixtureRequest) -> Iterator[World]:
    node = Service(home=disk.mountpoint, settings={"web_processes": "1"}, log_name=request.param)
    begun = World(folder=disk.mountpoint, nodes=(node,), bare=node)
    try:
        begun.begin()
        yield begun
    finally:
        begun.end()


def test_whoever_asks_a_house_whose_disk_is_gone_is_answered_503(disk: Disk, world: World) -> None:
    (node,) = world.nodes
    chance, told, client = random.Random(1), Told(), Client(node.base, world.key)
    while not told.notebook.acknowledged:
        told.ask(client, some_request(chance, world.case))
    kept = told.notebook.acknowledged[-1]
    disk.vanish()
    statuses: dict[str, set[int]] = {}
    end = time.monotonic() + ASKED_S
    acknowledged = len(told.notebook.acknowledged)
    while time.monotonic() < end:
        told.ask(client, some_request(chance, world.case))
        for path in (f"/v1/deposits/{kept.id}", f"/v1/deposits/{kept.id}/content", "/readyz"):
            try:
                answer = requests.get(
                    node.base + path, headers={"Authorization": f"Bearer {world.key}"}, timeout=20
                )
            except requests.RequestException:
                continue  # its process is gone, which promises nothing either
            statuses.setdefault(path, set()).add(answer.status_code)
    print(told.refusals, statuses)
    assert told.odd == []
    assert len(told.notebook.acknowledged) == acknowledged
    assert any(each.startswith("503") for each in told.refusals)
    assert all(seen <= {200, 503} for seen in statuses.values()), statuses
