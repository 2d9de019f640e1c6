"""Two nodes that lead at once, on PostgreSQL: whatever becomes of the lock, no index is given
twice, and what was not acknowledged left nothing."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from notary import ledger
from notary.errors import Fork, NotaryError
from notary.fsck import fsck
from notary.ledger import ENTRY, Growing
from notary.model import EventKind
from notary.office import Office, found
from notary.register import CUSTODY
from notary.settings import Settings
from storage.database import Prepared
from tests.harness.postgres import PostgresServer, shared_postgres


@pytest.fixture(scope="module")
def postgres() -> PostgresServer:
    return shared_postgres()


@pytest.fixture
def nodes(postgres: PostgresServer, tmp_path: Path) -> Iterator[tuple[Office, Office]]:
    with postgres.database() as url:
        settings = Settings(
            home=tmp_path / "one", database=url, objects=(tmp_path / "objects").as_uri()
        )
        found(settings)
        (tmp_path / "two").mkdir()
        shutil.copytree(tmp_path / "one" / "keys", tmp_path / "two" / "keys")
        opened = Office(settings), Office(replace(settings, home=tmp_path / "two"))
        yield opened
        for each in opened:
            each.close()


def enter(house: Office, subject: str = "a") -> int:
    return house.chronicle.record(EventKind.SIGNED_IN, actor="a", subject=subject).index


def subjects(house: Office) -> list[str]:
    """Of all events, by index."""
    with house.database.reading() as connection:
        rows = connection.execute(sa.select(CUSTODY.c.subject).order_by(CUSTODY.c.idx))
        return [row.subject for row in rows if row.subject]


def check(house: Office, acknowledged: dict[int, str], before: bytes) -> None:
    """Each index has what was acknowledged for it, every entry stands once, the tree is whole and
    begins with the one from before."""
    with house.database.reading() as connection:
        rows = connection.execute(sa.select(CUSTODY.c.idx, CUSTODY.c.subject)).all()
        indices = connection.execute(sa.select(ENTRY.c.idx).order_by(ENTRY.c.idx)).scalars().all()
    stands = {row.idx: row.subject for row in rows}
    assert acknowledged.items() <= stands.items()
    head = house.ledger.head()
    assert list(indices) == list(range(head.size))
    house.check_log()
    assert house.ledger.root_at(1) == before
    result = fsck(
        database=house.database, objects=house.objects, trust=house.trust,
        strays_before=house.clock.now(),
    )  # fmt: skip
    assert not result.faults


class Gate:
    """Holds a leader where it has entered all and has not committed."""

    def __init__(self, patch: pytest.MonkeyPatch, house: Office) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        self.backend = 0
        seal = Growing.seal

        def held(growing: Growing, at: object, sign: object) -> object:
            given = seal(growing, at, sign)  # type: ignore[arg-type]
            if growing._head.size == self.size and not self.reached.is_set():
                asked = growing._connection.execute(sa.text("SELECT pg_backend_pid()"))
                self.backend = asked.scalar_one()
                self.reached.set()
                assert self.open.wait(60)
            return given

        self.size = house.ledger.head().size
        patch.setattr(Growing, "seal", held)


def await_waiting(postgres: PostgresServer) -> None:
    """Until a connection waits for another one's lock."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with postgres.connect() as admin:
        while admin.execute(asked).fetchone() == (0,):
            time.sleep(0.02)


def without_lock(patch: pytest.MonkeyPatch, house: Office) -> None:
    """Its leader believes that it has the lock, and has none."""
    begin = house.sequencer._begin

    def unlocked(connection: sa.Connection) -> object:
        with patch.context() as here:
            here.setattr(ledger, "_LOCK_HEAD", Prepared(ledger._HEAD))
            return begin(connection)

    patch.setattr(house.sequencer, "_begin", unlocked)


def test_a_leader_whose_connection_is_cut_while_it_writes_leaves_nothing_and_enters_it_again(
    nodes: tuple[Office, Office], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = nodes
    before, acknowledged = one.ledger.root_at(1), {enter(one, "first"): "first"}
    gate = Gate(monkeypatch, one)
    with ThreadPoolExecutor(2) as threads:
        lost = threads.submit(enter, one, "lost")
        assert gate.reached.wait(60)
        with postgres.connect() as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [gate.backend])
        # The lock went with the connection: the other leads while this one believes that it does.
        acknowledged[enter(two, "meanwhile")] = "meanwhile"
        gate.open.set()
        acknowledged[lost.result(60)] = "lost"
    assert subjects(two).count("lost") == 1
    acknowledged[enter(one, "again")] = "again"
    assert sorted(acknowledged) == list(range(min(acknowledged), min(acknowledged) + 4))
    check(one, acknowledged, before)


def test_a_leader_without_the_lock_enters_nothing_where_another_was_faster(
    nodes: tuple[Office, Office], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = nodes
    before, acknowledged = one.ledger.root_at(1), {enter(one, "first"): "first"}
    gate = Gate(monkeypatch, one)
    without_lock(monkeypatch, two)
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(enter, one, "slow")
        assert gate.reached.wait(60)
        second = threads.submit(enter, two, "second")
        await_waiting(postgres)  # at the entry's key, not at the head
        gate.open.set()
        acknowledged[slow.result(60)] = "slow"
        with pytest.raises(NotaryError):
            second.result(60)
    assert "second" not in subjects(one)
    check(one, acknowledged, before)


def test_the_head_is_never_swapped_for_one_that_grew_from_another(
    nodes: tuple[Office, Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the lock, and past the entries' keys: the size alone still refuses."""
    one, two = nodes
    before = one.ledger.root_at(1)
    stale = one.ledger.head()
    acknowledged = {enter(one, "first"): "first"}
    with pytest.raises(Fork) as caught, two.database.writing() as connection:
        growing = Growing(connection, stale, {})
        monkeypatch.setattr(growing, "flush", lambda: None)
        growing.seal(two.clock.now(), two.keyring.held().sign)
    assert caught.value.ours != caught.value.theirs == one.ledger.head().checkpoint
    acknowledged[enter(two, "afterwards")] = "afterwards"
    check(one, acknowledged, before)


def test_a_stale_edge_in_memory_is_never_built_upon(nodes: tuple[Office, Office]) -> None:
    one, two = nodes
    before = one.ledger.root_at(1)
    acknowledged = {}
    for number in range(6):
        subject = f"{number}"
        acknowledged[enter((one, two)[number % 2], subject)] = subject
    assert len(acknowledged) == 6
    check(two, acknowledged, before)


def test_many_leaders_without_any_lock_give_no_index_twice(
    nodes: tuple[Office, Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = nodes[0].ledger.root_at(1)
    monkeypatch.setattr(ledger, "_LOCK_HEAD", Prepared(ledger._HEAD))
    acknowledged: list[tuple[int, str]] = []
    stopped = []

    def work(number: int) -> None:
        house = nodes[number % 2]
        for n in range(10):
            try:
                acknowledged.append((enter(house, f"{number}.{n}"), f"{number}.{n}"))
            except NotaryError as exc:
                stopped.append(exc)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert acknowledged
    assert len(dict(acknowledged)) == len(acknowledged)
    check(nodes[0], dict(acknowledged), before)
