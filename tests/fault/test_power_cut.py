"""The power goes under load, on a file system that then keeps what was fsynced and nothing else."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.durable import write_file
from tests.harness.depositors import depositing
from tests.harness.power import Disk, lossy_disk
from tests.harness.reckoning import Reckoning
from tests.harness.server import Service
from tests.harness.world import embedded

CUTS = max(2, int(os.environ.get("NOTARY_KILLS", "10")) // 5)
CLIENTS = 8

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300 + 60 * CUTS)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with lossy_disk(tmp_path) as plugged:
        yield plugged


def test_the_file_system_keeps_what_was_fsynced_and_nothing_else(disk: Disk) -> None:
    folder = disk.mountpoint
    (folder / "never").write_bytes(b"never fsynced")
    file = os.open(folder / "name lost", os.O_WRONLY | os.O_CREAT)
    os.write(file, b"bytes fsynced, name not")
    write_file(str(folder / "kept"), b"both")
    os.fsync(file)
    os.write(file, b"and more")
    os.close(file)
    disk.cut()
    disk.plug_in()
    left = {path.name: path.read_bytes() for path in folder.iterdir()}
    # The fsync of the folder for `kept` covered the names that were there before it.
    assert left == {"kept": b"both", "never": b"", "name lost": b"bytes fsynced, name not"}
    (folder / "kept").unlink()
    disk.cut()
    disk.plug_in()
    assert (folder / "kept").read_bytes() == b"both"  # nor was the removal fsynced


def stand_still(node: Service) -> None:
    for pid in node.family():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


def test_nothing_acknowledged_is_lost_by_a_power_cut(disk: Disk, seed: int) -> None:
    chance = random.Random(seed)
    with embedded(disk.mountpoint, web_processes="1") as world:
        watched = Reckoning(world=world, chance=chance)
        (node,) = world.nodes
        for number in range(1, CUTS + 1):
            with depositing(
                [node.base], world.key, world.case, count=CLIENTS, seed=chance.randrange(1 << 32)
            ) as clients:
                time.sleep(chance.uniform(0.5, 2.5))
                stand_still(node)  # or it would answer that its disk is gone
                disk.cut()
                node.kill()
                disk.plug_in()
                node.spawn()
            said = watched.ending(clients.told)
            print(f"seed {seed} power cut {number}/{CUTS}: {said}", flush=True)
