"""kill -9 of any process of two nodes, of the database and of the object store, under load."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.harness.depositors import depositing
from tests.harness.reckoning import Reckoning
from tests.harness.scaled import Node, Scaled
from tests.harness.world import alive, roles

KILLS = int(os.environ.get("NOTARY_KILLS", "10"))
CLIENTS = 12
AT_ONCE = 5
"""How many kills lie between two reckonings."""
FULLY_EVERY = 20
VICTIMS = (
    "node", "node", "serve", "worker", "web", "web-process", "postmaster", "backend",
    "object store", "both nodes",
)  # fmt: skip


def kill(
    world: Scaled, victim: str, chance: random.Random, nodes: Sequence[Node] | None = None
) -> bool:
    """One of `nodes`, or of all. False where there was nobody of that kind."""
    if victim == "postmaster":
        world.postgres.kill()
    elif victim == "object store":
        world.weed.kill()
    elif victim == "both nodes":
        for node in world.nodes:
            if alive(node):
                node.kill()
    elif victim == "backend":
        with world.postgres.connect() as admin:
            found = admin.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
                "AND pid <> pg_backend_pid()"
            ).fetchall()
        if not found:
            return False
        os.kill(chance.choice(found)[0], signal.SIGKILL)
    else:
        running = [each for each in (nodes or world.nodes) if alive(each)]
        if not running:
            return False
        node = chance.choice(running)
        if victim == "node":
            node.kill()
            return True
        pids = [pid for role, pid in roles(node) if role == victim]
        if not pids:
            return False
        os.kill(chance.choice(pids), signal.SIGKILL)
    return True


@pytest.mark.fault
@pytest.mark.timeout(300 + 30 * KILLS)
def test_nothing_acknowledged_is_lost_by_killing_any_part(
    reckoning: Reckoning, scaled_world: Scaled, seed: int
) -> None:
    world, chance = scaled_world, random.Random(seed)
    done: Counter[str] = Counter()
    while done.total() < KILLS:
        bases = [node.base for node in world.nodes]
        with depositing(
            bases, world.key, world.case, count=CLIENTS, seed=chance.randrange(1 << 32)
        ) as clients:
            for _ in range(min(AT_ONCE, KILLS - done.total())):
                time.sleep(chance.uniform(0.05, 0.8))
                victim = chance.choice(VICTIMS)
                done[victim] += kill(world, victim, chance)
                time.sleep(chance.uniform(0, 0.5))
                world.mend()
        last = done.total() >= KILLS
        said = reckoning.ending(
            clients.told, fully=last or reckoning.endings % FULLY_EVERY == FULLY_EVERY - 1
        )
        print(f"seed {seed} kill {done.total()}/{KILLS}: {said}", flush=True)
    print(f"seed {seed}: {dict(done)}", flush=True)
