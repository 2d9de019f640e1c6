"""The faults of the scaled shape: each a block that begins it, and ends it at its end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final

from tests.harness.packets import packets_lost
from tests.harness.s3_faults import Fault
from tests.harness.scaled import Scaled

Begin = Callable[[Scaled, random.Random], AbstractContextManager[None]]


@contextmanager
def database_restarted(world: Scaled, _chance: random.Random) -> Iterator[None]:
    world.postgres.stop()
    yield
    world.postgres.start()


@contextmanager
def connections_cut(world: Scaled, _chance: random.Random) -> Iterator[None]:
    """Again and again, by the server."""
    ended = threading.Event()

    def cut() -> None:
        while not ended.wait(0.2):
            with world.postgres.connect() as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'evidence-notary'"
                )

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def database_read_only(world: Scaled, _chance: random.Random) -> Iterator[None]:
    """A standby, which it stays until it is promoted: it answers, and writes nothing."""
    postgres = world.postgres
    postgres.stop()
    (postgres.folder / "data" / "standby.signal").touch()
    postgres.start()
    try:
        yield
    finally:
        with postgres.connect() as admin:
            admin.execute("SELECT pg_promote()")


@contextmanager
def way_to_database_ended(world: Scaled, _chance: random.Random) -> Iterator[None]:
    for node in world.nodes:
        node.database.refuse()
    try:
        yield
    finally:
        for node in world.nodes:
            node.database.heal()


@contextmanager
def database_hanging(world: Scaled, chance: random.Random) -> Iterator[None]:
    """For one node: it takes what is sent, and answers nothing."""
    node = chance.choice(world.nodes)
    node.database.silence()
    try:
        yield
    finally:
        node.database.heal()


@contextmanager
def cut_off(world: Scaled, _chance: random.Random, *, nodes: int) -> Iterator[None]:
    """Every packet between so many nodes and the database is lost."""
    with packets_lost(*(node.database.port for node in world.nodes[-nodes:])):
        yield


@contextmanager
def authority_dead(world: Scaled, _chance: random.Random) -> Iterator[None]:
    world.authority.refuse()
    try:
        yield
    finally:
        world.authority.heal()


@contextmanager
def authority_hanging(world: Scaled, _chance: random.Random) -> Iterator[None]:
    world.authority.silence()
    try:
        yield
    finally:
        world.authority.heal()


@contextmanager
def s3_fault(world: Scaled, chance: random.Random, *, fault: Fault, share: float) -> Iterator[None]:
    world.s3.begin(fault, share=share, seed=chance.randrange(1 << 32))
    try:
        yield
    finally:
        world.s3.end()


@contextmanager
def node_frozen(world: Scaled, _chance: random.Random) -> Iterator[None]:
    """It stands still, and wakes up believing that it leads; the database has ended its
    transactions meanwhile."""
    node = world.nodes[-1]
    family = node.family()
    _signal(family, signal.SIGSTOP)
    node.database.cut()
    try:
        yield
    finally:
        _signal(family, signal.SIGCONT)


def _signal(family: list[int], number: signal.Signals) -> None:
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


FAULTS: Final[dict[str, Begin]] = {
    "database restarted": database_restarted,
    "database's connections cut": connections_cut,
    "database read-only": database_read_only,
    "way to the database ended": way_to_database_ended,
    "database hanging": database_hanging,
    "one node cut off": partial(cut_off, nodes=1),
    "all nodes cut off": partial(cut_off, nodes=2),
    "node frozen": node_frozen,
    "authority dead": authority_dead,
    "authority hanging": authority_hanging,
    **{
        f"S3 {fault.name}": partial(s3_fault, fault=fault, share=share)
        for fault, share in (
            (Fault.ERROR, 1.0),
            (Fault.SLOW_DOWN, 0.7),
            (Fault.LATE_ERROR, 0.5),
            (Fault.CUT_REQUEST, 0.7),
            (Fault.CUT_ANSWER, 1.0),
            (Fault.NO_ANSWER, 0.5),
            (Fault.VANISHED, 0.5),
            (Fault.HANGING, 1.0),
        )
    },
}
