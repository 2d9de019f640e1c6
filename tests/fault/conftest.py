"""One scaled house for all faults of a session: each is followed by a reckoning, which must hold
for what earlier ones left as well."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.harness.reckoning import Reckoning
from tests.harness.scaled import Scaled, scaled


@pytest.fixture(scope="session")
def seed() -> int:
    given = int(os.environ.get("NOTARY_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"\nNOTARY_SEED={given}", flush=True)
    return given


@pytest.fixture(scope="session")
def scaled_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaled]:
    """Two nodes on PostgreSQL and S3, with an outside authority; real programs all of them."""
    with scaled(tmp_path_factory.mktemp("scaled")) as world:
        yield world


@pytest.fixture(scope="session")
def reckoning(scaled_world: Scaled, seed: int) -> Reckoning:
    return Reckoning(world=scaled_world, chance=random.Random(seed))
