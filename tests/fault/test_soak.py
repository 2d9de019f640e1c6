"""Two nodes under mixed load, a random fault a minute: memory and descriptors stay flat.

What is compared are the medians of the second and the last quarter, of the node that is never
killed. The first quarter is left out: pools, caches and allocators fill up to their bounds there.
The tolerance of the second covers what may still fill later, because it took a fault or a batch to
need it: two readers' and writers' places of an allocator, the buffers of an upload (three parts of
8 MiB), a database connection more. A leak of 1 KiB a request would show as 20 MiB after ten
minutes, and as 120 after an hour.
"""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import time
from dataclasses import dataclass

import pytest

from tests.fault.test_scaled_kills import kill
from tests.harness.depositors import Told, all_of, depositing
from tests.harness.reckoning import Reckoning
from tests.harness.scaled import Node, Scaled
from tests.harness.scaled_faults import FAULTS

MINUTES = int(os.environ.get("SOAK_MINUTES", "60"))
MINUTE_S = 60.0
CLIENTS = 10
FAULT_S = 6.0
MEMORY_MIB = 32
DESCRIPTORS = 24
"""A pool of twelve database connections and as many to S3 may be filled by the last fault alone."""
KILLED = ("node", "serve", "worker", "web", "web-process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    memory_mib: float
    descriptors: int


def sample(node: Node) -> Sample:
    """All processes of the node together; what they share counts for each."""
    memory, descriptors = 0, 0
    for pid in node.family():
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/status") as status:
                memory += sum(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(memory_mib=memory / 1024, descriptors=descriptors)


def settled(node: Node) -> Sample:
    """The least of some moments: not the peak of a request that was just under way."""
    seen = []
    for _ in range(10):
        seen.append(sample(node))
        time.sleep(0.3)
    return Sample(
        memory_mib=min(each.memory_mib for each in seen),
        descriptors=min(each.descriptors for each in seen),
    )


def one_fault(world: Scaled, chance: random.Random) -> str:
    """The node that is measured is never killed, so that its memory is that of all its minutes."""
    name = chance.choice([*FAULTS, "kill a node", "kill the database", "kill the object store"])
    if name == "kill a node":
        _, other = world.nodes
        if not kill(world, chance.choice(KILLED), chance, nodes=(other,)):
            other.kill()
    elif name == "kill the database":
        kill(world, chance.choice(["postmaster", "backend"]), chance)
    elif name == "kill the object store":
        kill(world, "object store", chance)
    else:
        with FAULTS[name](world, chance):
            time.sleep(FAULT_S)
    world.mend()
    return name


@pytest.mark.soak
@pytest.mark.timeout(600 + 300 * MINUTES)
def test_memory_and_descriptors_stay_flat_under_load_and_faults(
    reckoning: Reckoning, scaled_world: Scaled, seed: int
) -> None:
    world, chance = scaled_world, random.Random(seed)
    measured, other = world.nodes
    bases = [node.base for node in world.nodes]
    samples: list[Sample] = []
    told: list[Told] = []
    for minute in range(1, MINUTES + 1):
        begun = time.monotonic()
        with depositing(
            bases, world.key, world.case, count=CLIENTS, seed=chance.randrange(1 << 32)
        ) as clients:
            time.sleep(chance.uniform(1, 20))
            name = one_fault(world, chance)
            world.await_ready()
            time.sleep(max(0.0, MINUTE_S - 5 - (time.monotonic() - begun)))
        told.append(clients.told)
        samples.append(settled(measured))
        beside = sample(other)
        print(
            f"seed {seed} minute {minute}/{MINUTES}: {name}; {samples[-1].memory_mib:.0f} MiB, "
            f"{samples[-1].descriptors} descriptors (the other: {beside.memory_mib:.0f}, "
            f"{beside.descriptors}); {len(clients.told.notebook.acknowledged)} acknowledged, "
            f"refused: {dict(clients.told.refusals)}",
            flush=True,
        )
    print(f"seed {seed}: {reckoning.ending(all_of(told))}", flush=True)
    quarter = max(1, MINUTES // 4)
    early, late = samples[quarter : 2 * quarter] or samples[:1], samples[-quarter:]
    grown = _median(late, "memory_mib") - _median(early, "memory_mib")
    more = _median(late, "descriptors") - _median(early, "descriptors")
    print(f"seed {seed}: grew by {grown:.1f} MiB and {more:.0f} descriptors", flush=True)
    assert grown <= MEMORY_MIB
    assert more <= DESCRIPTORS


def _median(samples: list[Sample], what: str) -> float:
    return float(statistics.median(getattr(each, what) for each in samples))
