"""The embedded shape, while the system refuses: a broken disk, a full one, a slow one.

strace injects what each call of the service's own processes answers, under load; then the fault
ends, and the service must be back by itself. In `write` also what is no file is hit (the wake-up
of a thread): what dies of that is started again by the parent.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.depositors import depositing
from tests.harness.reckoning import Reckoning
from tests.harness.tracing import injected
from tests.harness.world import World, embedded

CLIENTS = 8
CALLS = {
    "write": "write",
    "pwrite": "pwrite64",
    "fsync": "fsync",
    "fdatasync": "fdatasync",
    "rename": "rename,renameat,renameat2",
    "link": "link,linkat",
}
KINDS = {
    "EIO": "error=EIO:when=3+4",
    "ENOSPC": "error=ENOSPC:when=3+4",
    "EIO each time": "error=EIO",
    "slow": "delay_enter=100000",
}

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def watched(seed: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reckoning]:
    home = tmp_path_factory.mktemp("calls")
    with embedded(home, web_processes="1") as world:
        yield Reckoning(world=world, chance=random.Random(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_nothing_acknowledged_is_lost_where_calls_fail(
    watched: Reckoning, seed: int, call: str, kind: str
) -> None:
    world, chance = watched.world, random.Random(f"{seed} {call} {kind}")
    (node,) = world.nodes
    with depositing(
        [node.base], world.key, world.case, count=CLIENTS, seed=chance.randrange(1 << 32)
    ) as clients:
        time.sleep(0.3)
        with injected(node.family(), CALLS[call], KINDS[kind]):
            time.sleep(3)
    said = watched.ending(clients.told)
    print(f"seed {seed} {call} {kind}: {said}", flush=True)


# --- a full disk --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small file system can be mounted only by root")
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_nothing_acknowledged_is_lost_on_a_disk_that_is_full_and_freed_again(
    small_disk: Path, seed: int
) -> None:
    chance = random.Random(seed)
    with embedded(small_disk, web_processes="1") as world:
        watched = Reckoning(world=world, chance=chance)
        for _ in range(2):
            with depositing(
                [world.nodes[0].base], world.key, world.case,
                count=CLIENTS, seed=chance.randrange(1 << 32),
            ) as clients:  # fmt: skip
                time.sleep(1)
                filler = fill(world, small_disk)
                time.sleep(5)
                filler.unlink()
                time.sleep(1)
            said = watched.ending(clients.told)
            print(f"seed {seed}: {said}", flush=True)
            assert any(code.startswith("503") for code in clients.told.refusals)


def fill(world: World, disk: Path) -> Path:
    """To the last byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return filler
