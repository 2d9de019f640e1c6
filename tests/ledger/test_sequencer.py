"""Group commit: many acts, one transaction, one tree, whoever hands them in and however it ends."""

from __future__ import annotations

import hashlib
import multiprocessing
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from notary import sequencer
from notary.errors import Corrupt, MalformedInput, NotaryError, Pushback, Rejected, Unreachable
from notary.ledger import Growing
from notary.office import Office, found
from notary.sequencer import Committed, prove_own
from notary.settings import Settings
from tests.harness.oracle import Oracle

MANY = 2_000
PROCESSES = 2


class Act:
    """One entry; what it does besides is said by the test."""

    def __init__(
        self,
        statement: bytes,
        *,
        alone: bool = False,
        settled: Callable[[sa.Connection], int | None] = lambda _: None,
        before: Callable[[sa.Connection], object] = lambda _: None,
        after: Callable[[sa.Connection], object] = lambda _: None,
    ) -> None:
        self.statement = statement
        self.alone, self.asks = alone, True
        self._settled, self._before, self._after = settled, before, after
        self.transaction: object = None

    def settled(self, connection: sa.Connection) -> int | None:
        self.transaction = connection.get_transaction()
        return self._settled(connection)

    def enter(self, connection: sa.Connection, growing: Growing, at: datetime) -> int:
        self._before(connection)
        index = growing.size
        growing.append([self.statement])
        self._after(connection)
        return index


def refuse(_: sa.Connection) -> None:
    raise MalformedInput("not this one")


def fail(connection: sa.Connection) -> None:
    connection.execute(sa.text("SELECT * FROM no_such_table"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    found(Settings(home=tmp_path / "house"))
    return tmp_path / "house"


@pytest.fixture
def office(home: Path) -> Iterator[Office]:
    opened = Office(Settings(home=home))
    yield opened
    opened.close()


def together(office: Office, acts: list[Act]) -> list[Future[Committed[int]]]:
    """Hands all in while an act before them is still under way, so that they wait as a group."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: sa.Connection) -> None:
        begun.set()
        go_on.wait(30)

    with ThreadPoolExecutor(len(acts) + 1) as pool:
        first = pool.submit(office.sequencer.submit, Act(b"first", before=hold))
        assert begun.wait(30)
        handed_in = [pool.submit(office.sequencer.submit, act) for act in acts]
        # Those that come too late make a group of their own: the outcome must be the same.
        threading.Event().wait(0.3)
        go_on.set()
        first.result()
    return handed_in


def check_all(office: Office, entered: list[tuple[Act, Committed[int]]]) -> None:
    """Each is at the index it was told, proved in the head it was told, and no index is shared."""
    indices = [committed.outcome for _, committed in entered]
    assert len(set(indices)) == len(indices)
    for act, committed in entered:
        assert office.ledger.entries(committed.outcome, 1) == (act.statement,)
        prove_own(committed.appended, committed.outcome, act.statement)
    head = office.ledger.check_right_edge()
    entries = office.ledger.entries(0, head.size)
    assert Oracle(entries).mth(0, head.size) == head.root


# --- groups --------------------------------------------------------------------------------------


def test_acts_that_wait_together_share_one_transaction_and_one_checkpoint(office: Office) -> None:
    acts = [Act(b"act %d" % number) for number in range(40)]
    done = [each.result() for each in together(office, acts)]
    check_all(office, list(zip(acts, done, strict=True)))
    assert len({id(act.transaction) for act in acts}) < len(acts)
    assert len({committed.appended.head.checkpoint for committed in done}) < len(acts)
    assert all(committed.fresh for committed in done)


def test_one_that_is_refused_does_not_hurt_the_others(office: Office) -> None:
    acts = [
        Act(b"settled" + bytes([n]), settled=refuse)
        if n % 7 == 3
        else Act(b"enter" + bytes([n]), before=refuse)
        if n % 7 == 5
        else Act(b"good" + bytes([n]))
        for n in range(42)
    ]
    entered = []
    for act, future in zip(acts, together(office, acts), strict=True):
        if act.statement.startswith(b"good"):
            entered.append((act, future.result()))
        else:
            assert isinstance(future.exception(), MalformedInput)
    check_all(office, entered)
    assert office.ledger.head().size == 2 + len(entered)


def test_an_act_that_was_done_before_is_answered_and_enters_nothing(office: Office) -> None:
    first = office.sequencer.submit(Act(b"once"))
    size = office.ledger.head().size
    again = office.sequencer.submit(Act(b"once", settled=lambda _: first.outcome))
    assert (again.outcome, again.fresh) == (first.outcome, False)
    assert office.ledger.head().size == size


def test_an_act_sees_what_the_group_entered_before_it(office: Office) -> None:
    counted: list[int] = []

    def count(connection: sa.Connection) -> None:
        counted.append(connection.execute(sa.text("SELECT count(*) FROM entry")).scalar_one())

    acts = [Act(b"act %d" % n, settled=count) for n in range(20)]
    for future in together(office, acts):
        future.result()
    assert counted == list(range(2, 22))


def test_an_act_alone_is_rolled_back_whole_also_after_it_wrote(office: Office) -> None:
    before = office.ledger.head()

    def write_and_refuse(connection: sa.Connection) -> None:
        connection.execute(sa.text("UPDATE house SET genesis = 'spoilt'"))
        raise Rejected("too late", code="batch_refused")

    acts = [Act(b"a"), Act(b"alone", alone=True, after=write_and_refuse), Act(b"b")]
    a, alone, b = together(office, acts)
    assert isinstance(alone.exception(), Rejected)
    check_all(office, [(acts[0], a.result()), (acts[2], b.result())])
    assert acts[1].transaction is not acts[0].transaction
    assert office.ledger.head().size == before.size + 3
    with office.database.reading() as connection:
        genesis = connection.execute(sa.text("SELECT genesis FROM house")).scalar_one()
    assert genesis == office.house.genesis


# --- when it goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["settled", "before", "after"])
def test_a_database_that_fails_answers_everyone_and_enters_nothing(
    office: Office, when: str
) -> None:
    failing: dict[str, Any] = {when: fail}
    acts = [Act(b"act %d" % n, **(failing if n == 10 else {})) for n in range(20)]
    outcomes = [future.exception() for future in together(office, acts)]
    assert isinstance(outcomes[10], Unreachable)
    assert all(error is None or isinstance(error, Unreachable) for error in outcomes)
    check_all(office, [])
    entries = office.ledger.entries(0, office.ledger.head().size)
    assert {act.statement for act, error in zip(acts, outcomes, strict=True) if not error} == {
        entry for entry in entries if entry.startswith(b"act")
    }
    check_all(office, [(act := Act(b"afterwards"), office.sequencer.submit(act))])


def test_a_defect_of_ours_answers_everyone_too(office: Office) -> None:
    def defect(_: sa.Connection) -> None:
        raise ZeroDivisionError

    acts = [Act(b"act %d" % n, before=defect if n == 5 else lambda _: None) for n in range(10)]
    outcomes = [future.exception() for future in together(office, acts)]
    assert isinstance(outcomes[5], ZeroDivisionError)
    assert all(not isinstance(error, NotaryError) for error in outcomes)
    check_all(office, [(act := Act(b"afterwards"), office.sequencer.submit(act))])


def test_more_than_may_wait_are_turned_away_and_the_others_served(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "MAX_WAITING", 5)
    acts = [Act(b"act %d" % n) for n in range(20)]
    futures = together(office, acts)
    turned_away = [future for future in futures if isinstance(future.exception(), Pushback)]
    assert turned_away
    entered = [
        (act, future.result())
        for act, future in zip(acts, futures, strict=True)
        if future not in turned_away
    ]
    assert entered
    check_all(office, entered)


@pytest.mark.parametrize("level", [0, 1])
def test_an_edge_that_was_corrupted_is_refused_and_nothing_grows_on_it(
    home: Path, office: Office, level: int
) -> None:
    for number in range(300):
        office.sequencer.submit(Act(b"entry %d" % number))
    size = office.ledger.head().size
    with sqlite3.connect(home / "notary.db") as rows:
        query = "SELECT n, hashes FROM tile WHERE level = ? ORDER BY n DESC LIMIT 1"
        n, hashes = rows.execute(query, (level,)).fetchone()
        spoilt = hashes[:-1] + bytes([hashes[-1] ^ 1])
        rows.execute("UPDATE tile SET hashes = ? WHERE level = ? AND n = ?", (spoilt, level, n))
    rows.close()
    another = Office(Settings(home=home))  # this process knows no edge and must read it
    with pytest.raises(Corrupt):
        another.ledger.check_right_edge()
    with pytest.raises(Corrupt):
        another.sequencer.submit(Act(b"on sand"))
    another.close()
    with sqlite3.connect(home / "notary.db") as rows:
        assert rows.execute("SELECT size FROM tree_head").fetchone() == (size,)
        assert rows.execute("SELECT count(*) FROM entry").fetchone() == (size,)
    rows.close()


# --- many ----------------------------------------------------------------------------------------


def test_every_size_over_the_first_tiles_is_proved_and_has_the_right_root(office: Office) -> None:
    entered: list[tuple[Act, Committed[int]]] = []
    while office.ledger.head().size < 2 * 256 + 3:
        act = Act(b"entry %d" % len(entered))
        entered.append((act, office.sequencer.submit(act)))
    oracle = Oracle(office.ledger.entries(0, office.ledger.head().size))
    for act, committed in entered:
        size = committed.outcome + 1
        assert committed.appended.head.size == size
        assert committed.appended.head.root == oracle.mth(0, size)
        proof = prove_own(committed.appended, committed.outcome, act.statement)
        assert list(proof) == oracle.path(committed.outcome, size)


def append_many(home: str, name: str, results: multiprocessing.Queue[Any]) -> None:
    """One process: appends through four threads, proves each, says where each came to lie."""
    office = Office(Settings(home=Path(home)))

    def append(number: int) -> tuple[int, str]:
        act = Act(f"{name} {number}".encode())
        committed = office.sequencer.submit(act)
        prove_own(committed.appended, committed.outcome, act.statement)
        return committed.outcome, hashlib.sha256(act.statement).hexdigest()

    with ThreadPoolExecutor(4) as pool:
        results.put(list(pool.map(append, range(MANY // PROCESSES))))
    office.close()


def test_two_processes_append_to_one_house_without_gap_or_fork(home: Path, office: Office) -> None:
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [
        spawn.Process(target=append_many, args=(str(home), f"process {n}", results))
        for n in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    told = [place for _ in processes for place in results.get(timeout=200)]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert sorted(index for index, _ in told) == list(range(1, MANY + 1))
    entries = office.ledger.entries(0, MANY + 1)
    for index, digest in told:
        assert hashlib.sha256(entries[index]).hexdigest() == digest
    head = office.ledger.check_right_edge()
    assert (head.size, head.root) == (MANY + 1, Oracle(entries).mth(0, MANY + 1))
    # They took turns: neither waited for the other to be done.
    first = {index for index, digest in told[: MANY // PROCESSES]}
    assert first != set(range(1, MANY // PROCESSES + 1))
