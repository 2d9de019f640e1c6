"""What a house does while PostgreSQL fails: whatever was answered stands once, and it comes back by
itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import storage.postgres
from notary.errors import Conflict, NotaryError, TryAgain, Unreachable
from notary.findings import Depth
from notary.fsck import fsck
from notary.ledger import ENTRY, Growing
from notary.model import Declared, Principal
from notary.office import Office
from notary.settings import Settings
from storage.database import Database
from storage.errors import (
    CommitUnknown,
    ConnectionLost,
    StorageError,
    StoreReadOnly,
    StoreUnavailable,
    WriteConflict,
)
from tests.contract.rows import LINE, ids, put
from tests.harness.certified import deposit, depositor, open_house
from tests.harness.postgres import PostgresServer, postgres, running_postgres, standby_of
from tests.harness.server import Client, Service
from tests.harness.tcp_proxy import TcpProxy, proxied

pytestmark = pytest.mark.slow

__all__ = ["postgres"]


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as made:
        yield made


@pytest.fixture
def house(url: str, tmp_path: Path) -> Iterator[Office]:
    opened = open_house(tmp_path / "home", database=url)
    yield opened
    opened.close()


@pytest.fixture
def rows(url: str) -> Iterator[Database]:
    opened = Database(url)
    with opened.writing() as connection:
        LINE.create(connection)
    yield opened
    opened.close()


def name_in(url: str) -> str:
    name = sa.make_url(url).database
    assert name is not None
    return name


def cut_all(postgres: PostgresServer, url: str) -> None:
    with postgres.connect() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            [name_in(url)],
        )


def whole(house: Office, deposits: int) -> None:
    """So many deposits, each once, and nothing that contradicts."""
    found = fsck(
        database=house.database,
        objects=house.objects,
        trust=house.trust,
        strays_before=house.clock.now(),
        depth=Depth.RECORDS,
    )
    assert found.faults == []
    assert found.deposits == deposits


class Once:
    """A work that does something at its first entering, and is entered like any other."""

    alone = False
    asks = False

    def __init__(self, statement: bytes, first: Callable[[sa.Connection], None]) -> None:
        self.statement, self._first = statement, first
        self.entered = 0

    def settled(self, connection: sa.Connection) -> None:
        return None

    def enter(self, connection: sa.Connection, growing: Growing, at: object) -> int:
        self.entered += 1
        growing.append([self.statement])
        if self.entered == 1:
            self._first(connection)
        return growing.size - 1


class Always(Once):
    """It does so each time that it is entered."""

    def enter(self, connection: sa.Connection, growing: Growing, at: object) -> int:
        self.entered = 0
        return super().enter(connection, growing, at)


# --- connections that are cut ------------------------------------------------------------------


def backend(connection: sa.Connection) -> int:
    pid: int = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    return pid


def terminate(postgres: PostgresServer, pid: int) -> None:
    with postgres.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_connections_cut_while_idle_are_not_noticed(
    postgres: PostgresServer, url: str, house: Office
) -> None:
    by = depositor(house)
    for number in range(3):
        deposit(house, by, b"%d" % number, Declared())
        cut_all(postgres, url)
        house.ledger.head()
        cut_all(postgres, url)
    whole(house, 3)


def test_connection_cut_between_two_statements_costs_nobody_anything(
    postgres: PostgresServer, house: Office
) -> None:
    work = Once(b"an entry", lambda connection: terminate(postgres, backend(connection)))
    committed = house.sequencer.submit(work)
    assert work.entered == 2
    assert house.ledger.entries(committed.outcome, 1) == (b"an entry",)
    assert house.ledger.head().size == committed.outcome + 1


@contextmanager
def commits(wrapped: Callable[[Any, Callable[[], None]], None]) -> Iterator[None]:
    """The first commit of a writer goes through `wrapped`."""
    real = storage.postgres.BoundedConnection.commit
    left = [1]

    def commit(self: Any) -> None:
        if self.info.transaction_status and not self.read_only and left[0]:
            left[0] = 0
            wrapped(self, lambda: real(self))
        else:
            real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage.postgres.BoundedConnection, "commit", commit)
        yield
    assert not left[0]


def test_commit_that_never_arrived_is_made_again(postgres: PostgresServer, house: Office) -> None:
    by = depositor(house)

    def cut_before(connection: Any, commit: Callable[[], None]) -> None:
        terminate(postgres, connection.info.backend_pid)
        commit()

    with commits(cut_before):
        receipt = deposit(house, by, b"once", Declared())
    assert receipt.fresh
    whole(house, 1)


def test_commit_whose_answer_was_lost_is_found_and_not_made_twice(
    postgres: PostgresServer, house: Office
) -> None:
    by = depositor(house)

    def cut_after(connection: Any, commit: Callable[[], None]) -> None:
        commit()
        terminate(postgres, connection.info.backend_pid)
        connection.execute("SELECT 1")

    with commits(cut_after):
        receipt = deposit(house, by, b"once", Declared())
    assert house.ledger.entries(receipt.deposit.index, 1) == (receipt.statement,)
    whole(house, 1)
    deposit(house, by, b"more", Declared())
    whole(house, 2)


def test_lost_commit_is_found_under_what_others_wrote_since(
    postgres: PostgresServer, house: Office, url: str
) -> None:
    """The other node's entries lie on top of ours before we can ask."""
    by = depositor(house)
    other = Office(house.settings)

    def cut_after(connection: Any, commit: Callable[[], None]) -> None:
        commit()
        for number in range(3):
            deposit(other, by, b"other %d" % number, Declared())
        terminate(postgres, connection.info.backend_pid)
        connection.execute("SELECT 1")

    with commits(cut_after):
        receipt = deposit(house, by, b"ours", Declared())
    assert receipt.head.size == receipt.deposit.index + 1
    whole(house, 4)
    other.close()


@pytest.mark.parametrize("made", [True, False])
def test_batch_whose_commit_was_lost_is_asked_for_and_never_entered_again(
    postgres: PostgresServer, house: Office, made: bool
) -> None:
    by = depositor(house)
    lines = [b'{"digests": {"sha-256": "%064x"}, "size": 7}' % n for n in range(5)]

    def lost(connection: Any, commit: Callable[[], None]) -> None:
        if made:
            commit()
        terminate(postgres, connection.info.backend_pid)
        connection.execute("SELECT 1")

    def batch() -> int:
        return house.batches.receive(
            lines, by=by, key="once", atomic=False, check_end=lambda _said, _rows: None
        ).outcome.registered

    with commits(lost):
        if made:
            assert batch() == 5
        else:
            with pytest.raises(Unreachable, match="nothing was registered"):
                batch()
    assert batch() == 5
    whole(house, 5)


def test_transaction_outside_the_ledger_says_that_its_commit_is_unknown(
    postgres: PostgresServer, rows: Database
) -> None:
    def cut_after(connection: Any, commit: Callable[[], None]) -> None:
        commit()
        terminate(postgres, connection.info.backend_pid)
        connection.execute("SELECT 1")

    with commits(cut_after), pytest.raises(CommitUnknown):
        put(rows, 1)
    assert ids(rows) == [1]


def test_connection_that_broke_before_the_commit_is_told_apart(
    postgres: PostgresServer, rows: Database
) -> None:
    with pytest.raises(ConnectionLost), rows.writing() as connection:
        connection.execute(sa.insert(LINE).values(id=1))
        terminate(postgres, backend(connection))
        connection.execute(sa.insert(LINE).values(id=2))
    assert ids(rows) == []


# --- conflicts --------------------------------------------------------------------------------


def test_deadlock_is_told_and_the_group_entered_again(
    postgres: PostgresServer, url: str, house: Office
) -> None:
    with house.database.writing() as connection:
        LINE.create(connection)
        connection.execute(sa.insert(LINE), [{"id": 1}, {"id": 2}])
    ready, crossed = threading.Event(), threading.Event()

    def other() -> None:
        # It never looks for deadlocks: the house is the one that is chosen.
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("SET deadlock_timeout = '1h'")
            connection.execute("UPDATE line SET text = 'o2' WHERE id = 2")
            ready.set()
            crossed.wait(60)
            connection.execute("UPDATE line SET text = 'o1' WHERE id = 1")

    def cross(connection: sa.Connection) -> None:
        connection.exec_driver_sql("UPDATE line SET text = 'h1' WHERE id = 1")
        ready.wait(60)
        crossed.set()
        connection.exec_driver_sql("UPDATE line SET text = 'h2' WHERE id = 2")

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(other)
        work = Once(b"an entry", cross)
        house.sequencer.submit(work)
        done.result(60)
    assert work.entered == 2
    with house.database.reading() as connection:
        statements = connection.execute(sa.select(ENTRY.c.statement)).scalars().all()
        assert statements.count(b"an entry") == 1
        assert set(connection.execute(sa.select(LINE.c.text)).scalars()) == {"o1", "o2"}


def test_serialization_failure_is_told_as_a_conflict(rows: Database) -> None:
    put(rows, 1)
    with pytest.raises(WriteConflict), rows.writing() as connection:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute(sa.select(LINE)).all()
        with rows.writing() as other:
            other.execute(sa.update(LINE).values(text="other"))
        connection.execute(sa.update(LINE).values(text="late"))
    with rows.reading() as connection:
        assert connection.execute(sa.select(LINE.c.text)).scalar_one() == "other"


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_conflict_is_tried_again_but_not_for_ever(house: Office, state: str) -> None:
    def fail(connection: sa.Connection) -> None:
        connection.exec_driver_sql(
            f"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}'; END $$"
        )

    once = Once(b"an entry", fail)
    assert house.sequencer.submit(once).fresh
    assert once.entered == 2
    always = Always(b"never", fail)
    with pytest.raises(Unreachable, match="on purpose"):
        house.sequencer.submit(always)
    assert house.ledger.head().size == 3 - 1


def test_refused_work_is_not_tried_again(house: Office) -> None:
    def refuse(_connection: sa.Connection) -> None:
        raise Conflict("no")

    class Refused(Once):
        def enter(self, connection: sa.Connection, growing: Growing, at: object) -> int:
            self.entered += 1
            raise Conflict("no")

    work = Refused(b"x", refuse)
    with pytest.raises(Conflict):
        house.sequencer.submit(work)
    assert work.entered == 1


# --- a server that does not take writes --------------------------------------------------------


def flip(postgres: PostgresServer, url: str, how: str) -> None:
    with postgres.connect() as admin:
        admin.execute(f"ALTER DATABASE {name_in(url)} SET default_transaction_read_only = {how}")


def test_read_only_database_is_told_and_written_to_again_by_itself(
    postgres: PostgresServer, url: str, house: Office
) -> None:
    by = depositor(house)
    first = deposit(house, by, b"before", Declared())
    flip(postgres, url, "on")
    cut_all(postgres, url)
    for _ in range(2):
        with pytest.raises(Unreachable) as refused:
            deposit(house, by, b"meanwhile", Declared())
        assert (refused.value.code, refused.value.retry_after_s) == ("database_read_only", 5)
        assert house.register.deposit(first.deposit.id) == first.deposit
        with pytest.raises(StoreReadOnly):
            house.database.check_writable()
    flip(postgres, url, "off")
    deposit(house, by, b"after", Declared())
    house.database.check_writable()
    whole(house, 2)


def test_service_answers_503_while_read_only_and_goes_on_without_a_restart(
    postgres: PostgresServer, url: str, tmp_path: Path
) -> None:
    service = Service(home=tmp_path / "home", settings={"database": url, "web_processes": "1"})
    service.init()
    service.start()
    client = Client(service.base, service.key("agency"))

    def hand_in(text: bytes) -> Any:
        return client.post("/v1/deposits", data=text, headers={"Content-Type": "text/plain"})

    assert hand_in(b"before").status_code == 201
    flip(postgres, url, "on")
    cut_all(postgres, url)
    refused = hand_in(b"meanwhile")
    assert refused.status_code == 503
    assert refused.json()["code"] == "database_read_only"
    assert refused.headers["Retry-After"] == "5"
    assert client.get("/readyz").json()["checks"]["database"] == "failed: StoreReadOnly"
    assert client.get("/log/checkpoint").status_code == 200
    flip(postgres, url, "off")
    assert hand_in(b"after").status_code == 201
    assert client.get("/readyz").status_code == 200
    service.stop()


# --- a server that hangs -----------------------------------------------------------------------


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[TcpProxy]:
    with proxied(postgres.port) as running:
        yield running


def through(proxy: TcpProxy, url: str) -> str:
    return sa.make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


def test_frozen_connection_is_given_up_and_a_fresh_one_works(
    proxy: TcpProxy, url: str, rows: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.postgres, "GRACE_S", 0.5)
    monkeypatch.setitem(storage.postgres._CLIENT, "connect_timeout", 2)
    behind = Database(through(proxy, url), statement_timeout_s=0.5)
    put(behind, 1)
    proxy.silence()
    for attempt in (lambda: put(behind, 2), lambda: ids(behind)):
        with pytest.raises(StoreUnavailable):
            attempt()
    with pytest.raises(StoreUnavailable), behind.writing():
        pass
    proxy.heal()
    put(behind, 3)
    assert set(ids(behind)) >= {1, 3}
    behind.close()


def test_connection_that_freezes_in_a_transaction_leaves_nothing(
    proxy: TcpProxy, url: str, rows: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.postgres, "GRACE_S", 0.5)
    behind = Database(through(proxy, url), statement_timeout_s=0.5)
    with pytest.raises(ConnectionLost, match="no answer within 1 s"), behind.writing() as held:
        held.execute(sa.insert(LINE).values(id=1))
        proxy.silence()
        held.execute(sa.insert(LINE).values(id=2))
    proxy.cut()
    proxy.heal()
    assert ids(behind) == []
    behind.close()


def test_service_behind_a_frozen_network_answers_503_and_comes_back(
    postgres: PostgresServer, proxy: TcpProxy, url: str, tmp_path: Path
) -> None:
    service = Service(
        home=tmp_path / "home",
        settings={
            "database": through(proxy, url), "database_timeout": "1", "web_processes": "1",
        },
    )  # fmt: skip
    service.init()
    service.start()
    client = Client(service.base, service.key("agency"))

    def hand_in(text: bytes) -> Any:
        return client.post(
            "/v1/deposits", data=text,
            headers={"Content-Type": "text/plain", "Idempotency-Key": text.decode()},
        )  # fmt: skip

    assert hand_in(b"before").status_code == 201
    proxy.silence()
    refused = hand_in(b"meanwhile")
    assert refused.status_code == 503, refused.text + service.log()
    assert int(refused.headers["Retry-After"]) > 0
    proxy.heal()
    service.wait_for(lambda: hand_in(b"meanwhile").status_code in (200, 201))
    assert hand_in(b"meanwhile").status_code == 200
    service.stop()


def test_lock_that_nobody_lets_go_of_is_not_waited_for_for_ever(url: str, house: Office) -> None:
    by = depositor(house)
    hurried = Office(Settings(home=house.settings.home, database=url, database_timeout=1.0))
    with house.database.writing() as connection:
        connection.exec_driver_sql("SELECT * FROM tree_head FOR UPDATE")
        with pytest.raises(Unreachable, match="lock timeout"):
            deposit(hurried, by, b"meanwhile", Declared())
    deposit(hurried, by, b"after", Declared())
    whole(hurried, 1)
    hurried.close()


def test_statement_that_takes_too_long_is_ended_by_the_server(url: str) -> None:
    hurried = Database(url, statement_timeout_s=0.5)
    with pytest.raises(StoreUnavailable, match="statement timeout"), hurried.reading() as held:
        held.exec_driver_sql("SELECT pg_sleep(60)")
    hurried.close()
    patient = Database(url, statement_timeout_s=0)
    with patient.reading() as held:
        assert held.exec_driver_sql("SHOW statement_timeout").scalar() == "0"
    patient.close()


# --- a server that goes away -------------------------------------------------------------------


def write_until(
    house: Office, by: Principal, done: threading.Event, name: str
) -> tuple[list[str], int]:
    """(ids answered, failures): hands in until told to stop, each with a key, until answered."""
    answered: list[str] = []
    failures = number = 0
    while not done.is_set():
        declared = Declared(idempotency_key=f"{name}-{number}")
        try:
            receipt = deposit(house, by, f"{name} {number}".encode(), declared)
        except (TryAgain, StorageError):
            failures += 1
            done.wait(0.05)
            continue
        answered.append(receipt.deposit.id)
        number += 1
    return answered, failures


def answered_all(house: Office, answered: list[str]) -> None:
    for each in answered:
        house.register.deposit(each)
    assert len(set(answered)) == len(answered)
    whole(house, len(answered))
    house.check_log()


def test_server_that_is_killed_and_restarted_under_load_loses_nothing_answered(
    tmp_path: Path,
) -> None:
    with running_postgres() as server, server.database() as url:
        house = open_house(tmp_path / "home", database=url)
        by = depositor(house)
        done = threading.Event()
        with ThreadPoolExecutor(3) as threads:
            writers = [
                threads.submit(write_until, house, by, done, f"w{number}") for number in range(3)
            ]
            for end in (server.kill, server.stop):
                done.wait(1)
                end()
                done.wait(0.3)
                server.start()
            done.wait(1)
            done.set()
            answered = [each for writer in writers for each in writer.result()[0]]
        answered_all(house, answered)
        house.close()


def test_failover_to_the_standby_is_followed_without_a_restart(tmp_path: Path) -> None:
    """A synchronous standby is promoted: all that was answered is there, and the house goes on."""
    with running_postgres() as primary, primary.database() as url, standby_of(primary) as standby:
        made = sa.make_url(url)
        both = (
            f"postgresql+psycopg://{made.username}:{made.password}@/{made.database}"
            f"?host=127.0.0.1:{primary.port}&host=127.0.0.1:{standby.port}"
            "&target_session_attrs=read-write"
        )
        house = open_house(tmp_path / "home", database=both)
        by = depositor(house)
        done = threading.Event()
        with ThreadPoolExecutor(2) as threads:
            writers = [
                threads.submit(write_until, house, by, done, f"w{number}") for number in range(2)
            ]
            done.wait(1)
            primary.kill()
            standby.promote()
            done.wait(2)
            done.set()
            results = [writer.result() for writer in writers]
        answered_all(house, [each for answered, _ in results for each in answered])
        deposit(house, by, b"on the new primary", Declared())
        house.close()
        primary.start()


def test_standby_says_that_it_takes_no_writes(tmp_path: Path) -> None:
    with running_postgres() as primary, primary.database() as url, standby_of(primary) as standby:
        house = open_house(tmp_path / "home", database=url)
        by = depositor(house)
        deposit(house, by, b"one", Declared())
        here = standby.url(name_in(url))
        reader = Office(Settings(home=house.settings.home, database=here))
        assert reader.ledger.head().size == house.ledger.head().size
        for _ in range(2):
            with pytest.raises(NotaryError) as refused:
                deposit(reader, by, b"two", Declared())
            assert refused.value.code == "database_read_only"
        reader.close()
        house.close()
