"""Every fault of the scaled shape, under load, and the reckoning after each."""

from __future__ import annotations

import random
import time

import pytest

from tests.harness.depositors import depositing
from tests.harness.reckoning import Reckoning
from tests.harness.scaled import Scaled
from tests.harness.scaled_faults import FAULTS

CLIENTS = 12
SECONDS = {"one node cut off": 30.0, "all nodes cut off": 12.0, "database hanging": 12.0}
"""Longer than a connection that nobody answers on is kept (20 s), or shorter."""
USUALLY_S = 5.0

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_acknowledged_is_lost_by(
    reckoning: Reckoning, scaled_world: Scaled, seed: int, name: str
) -> None:
    world, chance = scaled_world, random.Random(f"{seed} {name}")
    bases = [node.base for node in world.nodes]
    with depositing(
        bases, world.key, world.case, count=CLIENTS, seed=chance.randrange(1 << 32)
    ) as clients:
        time.sleep(0.5)
        with FAULTS[name](world, chance):
            time.sleep(SECONDS.get(name, USUALLY_S))
    said = reckoning.ending(clients.told)
    print(f"seed {seed} {name}: {said}", flush=True)
    if name.startswith("S3 "):
        assert world.s3.met.total() > 0
        world.s3.met.clear()
