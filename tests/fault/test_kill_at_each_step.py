"""A kill in every step of the way of one document, in both shapes.

The thread that registers it is killed, with its process, at its first system call of a kind, then
at its second, and so on, until the deposit gets through: each write to the disk in the embedded
shape, each message to the database and to S3 in the scaled one. After each kill the client asks
again, with its key.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.harness.depositors import Told
from tests.harness.reckoning import Reckoning
from tests.harness.scaled import Scaled
from tests.harness.server import Client, Service
from tests.harness.tracing import injected
from tests.harness.uploaders import some_request
from tests.harness.world import embedded, roles

MOST = int(os.environ.get("NOTARY_KILLS", "10"))
"""A deposit has some thirty such steps."""
ONE_THREAD = {"web_processes": "1", "web_threads": "1"}

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300 + 20 * MOST)]


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param("pwrite64,fsync,fdatasync,linkat,unlinkat", id="written"),
        pytest.param("openat,fcntl,flock", id="opened"),
    ],
)
def test_at_each_call_to_the_disk(tmp_path: Path, seed: int, calls: str) -> None:
    with embedded(tmp_path, **ONE_THREAD) as world:
        watched = Reckoning(world=world, chance=random.Random(seed))
        killed = kill_at_each_call(watched, world.nodes[0], calls)
    print(f"seed {seed}: killed at {killed} calls", flush=True)
    assert killed


def test_at_each_message_to_the_database_and_to_s3(
    reckoning: Reckoning, scaled_world: Scaled, seed: int
) -> None:
    node = scaled_world.nodes[-1]
    usual = dict(node.settings)
    try:
        _restart(node, {**usual, **ONE_THREAD})
        killed = kill_at_each_call(reckoning, node, "sendto,sendmsg")
    finally:
        _restart(node, usual)
    print(f"seed {seed}: killed at {killed} messages", flush=True)
    assert killed


def _restart(node: Service, settings: dict[str, str]) -> None:
    node.kill()
    node.settings = settings
    node.start()


def kill_at_each_call(watched: Reckoning, node: Service, calls: str) -> int:
    """How often it was killed."""
    world, told = watched.world, Told()
    killed = 0
    for number in range(1, MOST + 1):
        world.await_ready()
        request = some_request(watched.chance, world.case)
        webs = [pid for role, pid in roles(node) if role == "web-process"]
        with injected(webs, calls, f"signal=SIGKILL:when={number}"):
            got_through = told.ask(Client(node.base, world.key), request)
        if got_through:
            break
        killed += 1
        told.notebook.unanswered.append(request)
    print(watched.ending(told), flush=True)
    return killed
