"""Two leaders at once, and clocks that disagree."""

from __future__ import annotations

import random
import shutil
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from notary import ledger
from notary.errors import NotaryError
from notary.model import Declared
from notary.office import Office
from storage.database import Prepared
from storage.errors import StorageError
from tests.harness.acts import CLERK
from tests.harness.depositors import Told, depositing
from tests.harness.reckoning import Reckoning
from tests.harness.scaled import Scaled

ROUNDS = 50

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


def test_two_leaders_that_both_believe_to_hold_the_lock_never_fork_the_log(
    reckoning: Reckoning, scaled_world: Scaled, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of the head is taken away from them, while the nodes go on with theirs."""
    unlocked = sa.select(*ledger.TREE_HEAD.c["size", "root", "checkpoint", "signed_at"])
    monkeypatch.setattr(ledger, "_LOCK_HEAD", Prepared(unlocked))
    world, chance = scaled_world, random.Random(seed)
    won: list[int] = []
    lost: list[Exception] = []
    meet = threading.Barrier(2)

    def lead(office: Office, start: int) -> None:
        for number in range(start, start + ROUNDS):
            declared = Declared(size=1, digests={"sha-256": f"{seed}{number:054x}"[-64:]})
            meet.wait(60)
            try:
                won.append(office.intake.register_digests(CLERK, declared).deposit.index)
            except (NotaryError, StorageError) as error:
                lost.append(error)

    with (
        depositing(
            [node.base for node in world.nodes], world.key, world.case,
            count=2, seed=chance.randrange(1 << 32),
        ) as clients,
        world.opened() as one,
        world.opened() as two,
    ):  # fmt: skip
        leaders = [
            threading.Thread(target=lead, args=(office, start))
            for office, start in ((one, 1_000), (two, 2_000))
        ]
        for leader in leaders:
            leader.start()
        for leader in leaders:
            leader.join(120)
    monkeypatch.undo()
    assert len(won) + len(lost) == 2 * ROUNDS
    assert len(set(won)) == len(won)
    assert lost  # they did meet
    assert not (world.bare.home / "halted.json").exists()
    said = reckoning.ending(clients.told)
    print(f"seed {seed}: {len(won)} won, {len(lost)} lost; {said}", flush=True)


FAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
)


def test_a_node_whose_clock_is_set_back_an_hour_is_refused_and_comes_back(
    reckoning: Reckoning, scaled_world: Scaled, seed: int, tmp_path: Path
) -> None:
    library = next((path for path in FAKETIME if Path(path).exists()), None)
    if library is None:
        pytest.skip("no libfaketime here (the system's package libfaketime)")
    world, chance = scaled_world, random.Random(seed)
    node, clock = world.nodes[-1], tmp_path / "clock"
    clock.write_text("+0\n")
    node.further = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    try:
        node.kill()
        node.spawn()
        world.await_ready()
        with depositing(
            [each.base for each in world.nodes], world.key, world.case,
            count=8, seed=chance.randrange(1 << 32),
        ) as clients:  # fmt: skip
            time.sleep(1)
            _replace(clock, "-1h\n")
            time.sleep(8)
            _replace(clock, "+0\n")
            time.sleep(2)
        assert clients.told.refusals["503 clock_behind"]
        said = reckoning.ending(clients.told)
        print(f"seed {seed}: {said}", flush=True)
    finally:
        node.further = {}
        node.kill()
        node.spawn()
    reckoning.ending(Told())


def _replace(clock: Path, text: str) -> None:
    new = clock.with_suffix(".new")
    new.write_text(text)
    shutil.move(new, clock)
