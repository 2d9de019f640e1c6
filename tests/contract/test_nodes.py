"""Nodes with homes of their own on one database: none of them has anything that matters."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from notary.errors import Corrupt, Fork, IntegrityError, KeyMissing, Rollback
from notary.halt import FILE as HALTED
from notary.house import PUBLISHED
from notary.jobs import Jobs
from notary.ledger import TREE_HEAD
from notary.model import EventKind
from notary.office import TSA_CHAIN, Office, found
from notary.settings import Settings
from tests.harness.postgres import shared_postgres
from tests.harness.watching import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def first(request: pytest.FixtureRequest, tmp_path: Path, clock: SetClock) -> Iterator[Office]:
    with ExitStack() as held:
        url = f"sqlite:///{tmp_path / 'rows.db'}"
        if request.param == "postgresql":
            url = held.enter_context(shared_postgres().database())
        settings = Settings(
            home=tmp_path / "first", database=url, objects=(tmp_path / "objects").as_uri()
        )
        found(settings, clock=clock)
        office = Office(settings, clock=clock)
        yield office
        office.close()


Join = Callable[..., Office]


@pytest.fixture
def join(first: Office, tmp_path: Path, clock: SetClock) -> Iterator[Join]:
    """Makes a node whose home is new but for these keys."""
    made: list[Office] = []

    def with_keys(*names: str) -> Office:
        home = Path(tempfile.mkdtemp(prefix="node-", dir=tmp_path))
        (home / "keys").mkdir(mode=0o700)
        theirs = first.settings.home / "keys"
        for path in [theirs / f"{name}.pem" for name in names] or theirs.iterdir():
            shutil.copy(path, home / "keys")
        made.append(Office(replace(first.settings, home=home), clock=clock))
        return made[-1]

    yield with_keys
    for each in made:
        each.close()


def enter(house: Office) -> int:
    return house.chronicle.record(EventKind.SIGNED_IN, actor="a", subject="a").index


def set_head(house: Office, **values: object) -> None:
    with house.database.writing() as connection:
        connection.execute(sa.update(TREE_HEAD).values(values))


# --- joining -------------------------------------------------------------------------------------


def test_a_home_with_the_keys_alone_is_a_node(first: Office, join: Join) -> None:
    node = join()
    node.examine()
    node.publish()
    assert enter(node) == enter(first) - 1
    (name,) = node.stamping.authorities
    assert node.stamping.run(name) == 1
    assert node.trust == first.trust
    assert sorted(path.name for path in node.settings.home.iterdir()) == ["keys", PUBLISHED]


def test_a_node_without_the_authoritys_key_enters_and_leaves_stamping_to_others(
    first: Office, join: Join
) -> None:
    node = join("log-ed25519", "log-mldsa44", "statement", "certificate")
    node.examine()
    enter(node)
    assert node.stamping.authorities == {}
    assert node.trust == first.trust
    (name,) = first.stamping.authorities
    assert first.stamping.run(name) == 1
    assert node.stamps.newest_size() == node.ledger.head().size


def test_a_node_without_a_key_that_signs_does_not_open_and_names_it(join: Join) -> None:
    with pytest.raises(KeyMissing, match="statement"):
        join("log-ed25519", "log-mldsa44", "certificate")


def test_a_chain_that_only_a_file_has_is_shared_at_the_next_start(
    first: Office, join: Join
) -> None:
    with first.database.writing() as connection:
        connection.execute(sa.text("UPDATE house SET authority_chain = NULL"))
    with pytest.raises(Corrupt, match=TSA_CHAIN):
        join()
    again = Office(first.settings, clock=first.clock)
    again.examine()
    again.close()
    assert join().trust == first.trust


def test_a_new_node_refuses_a_database_that_is_older_than_the_journal(
    first: Office, join: Join
) -> None:
    first.journal.run()
    with first.database.writing() as connection:
        connection.execute(sa.text("UPDATE journal SET number = number - 1"))
    with pytest.raises(Rollback, match="old copy"):
        join().examine()


def test_a_new_node_refuses_a_database_with_another_history_than_the_journal(
    first: Office, join: Join
) -> None:
    first.journal.run()
    with first.database.writing() as connection:
        connection.execute(sa.text("UPDATE journal SET digest = :other"), {"other": bytes(32)})
    with pytest.raises(Corrupt, match="journal segment"):
        join().examine()


def test_a_new_node_refuses_a_tree_that_ends_before_the_journal(first: Office, join: Join) -> None:
    head = first.ledger.head()
    enter(first)
    first.journal.run()
    set_head(first, size=head.size, root=head.root, checkpoint=head.checkpoint)
    with pytest.raises(IntegrityError):
        join().examine()


# --- stopping ------------------------------------------------------------------------------------


def test_what_one_node_saw_stops_every_node(first: Office, join: Join) -> None:
    node, head = join(), first.ledger.head()
    enter(first)
    set_head(first, size=head.size, root=head.root, checkpoint=head.checkpoint)
    with pytest.raises(Rollback):
        enter(first)
    evidence = json.loads((first.settings.home / HALTED).read_text())
    assert str(first.settings.home) in evidence["node"]
    with pytest.raises(IntegrityError, match=r"on every node.*rollback") as caught:
        enter(node)
    assert caught.value.code == "halted"
    with pytest.raises(IntegrityError):
        node.sequencer.check_writing()
    with pytest.raises(IntegrityError):
        node.sequencer.refresh(timedelta(0))
    assert not (node.settings.home / HALTED).exists()
    assert node.ledger.head().size == head.size  # reading goes on


def test_a_look_is_enough_to_see_that_the_database_went_back(first: Office, join: Join) -> None:
    node, head = join(), first.ledger.head()
    enter(first)
    set_head(first, size=head.size, root=head.root, checkpoint=head.checkpoint)
    with pytest.raises(Rollback):
        first.sequencer.check_writing()
    with pytest.raises(IntegrityError, match="on every node"):
        enter(node)


def test_both_sides_of_a_fork_reach_the_other_nodes(first: Office, join: Join) -> None:
    enter(first)
    node = join()
    set_head(first, root=bytes(32), checkpoint=b"theirs")
    with pytest.raises(Fork):
        enter(first)
    told = json.loads(node.ledger.head().halted or "")
    assert (told["code"], bool(told["ours"]), bool(told["theirs"])) == ("fork", True, True)


def test_a_node_with_evidence_tells_a_database_that_has_none(first: Office, join: Join) -> None:
    node = join()
    (first.settings.home / HALTED).write_text('{"code": "fork", "at": "then", "node": "n"}')
    enter(node)
    with pytest.raises(IntegrityError):
        first.sequencer.check_writing()
    with pytest.raises(IntegrityError, match="fork at then, seen by n"):
        enter(node)


def test_evidence_that_cannot_be_read_stops_writing_too(first: Office) -> None:
    set_head(first, halted="scribble")
    with pytest.raises(IntegrityError, match="cannot be read"):
        enter(first)


def test_a_persons_word_lets_all_write_and_keeps_the_evidence(first: Office, join: Join) -> None:
    node, head = join(), first.ledger.head()
    enter(first)
    after = first.ledger.head()
    set_head(first, size=head.size, root=head.root, checkpoint=head.checkpoint)
    with pytest.raises(Rollback):
        enter(first)
    set_head(first, size=after.size, root=after.root, checkpoint=after.checkpoint)
    first.sequencer.resume()
    assert enter(first) == after.size
    assert enter(node) == after.size + 1
    (kept,) = first.settings.home.glob(f"resumed-*-{HALTED}")
    assert json.loads(kept.read_text())["code"] == "rollback"


# --- workers -------------------------------------------------------------------------------------


def test_a_job_is_one_workers_until_it_stops_asking(first: Office, clock: SetClock) -> None:
    leases, span = first.leases, timedelta(seconds=10)

    def take(holder: str, job: str = "stamp") -> bool:
        return leases.take(job, holder=holder, now=clock.now(), span=span)

    assert take("a")
    assert not take("b")
    assert take("b", "witness")
    clock.moment += timedelta(seconds=8)
    assert take("a")
    clock.moment += timedelta(seconds=8)
    assert not take("b")
    clock.moment += timedelta(seconds=3)
    assert take("b")
    assert not take("a")


def test_a_worker_that_ends_leaves_its_jobs_to_others_at_once(
    first: Office, clock: SetClock
) -> None:
    span = timedelta(seconds=10)
    for job in ("stamp", "witness"):
        assert first.leases.take(job, holder="a", now=clock.now(), span=span)
    first.leases.release("a")
    for job in ("stamp", "witness"):
        assert first.leases.take(job, holder="b", now=clock.now(), span=span)
    first.leases.release("a")
    assert not first.leases.take("stamp", holder="a", now=clock.now(), span=span)


def test_the_journal_is_one_workers_and_the_others_take_over(first: Office, join: Join) -> None:
    node = join()
    one, two = Jobs(first, first.settings.home), Jobs(node, node.settings.home)
    enter(first)
    one.write_journal()
    two.write_journal()
    for _ in range(3):
        enter(first)
        one.write_journal()
        number = first.journal.number()
        enter(first)
        two.write_journal()
        assert first.journal.number() == number
    two.write_journal()  # nobody else was at it meanwhile
    assert first.journal.lag().entries == 0
    assert (node.settings.home / PUBLISHED).read_bytes() == first.ledger.head().checkpoint


def test_the_last_of_a_worker_that_ends_is_written_whoever_was_at_it(
    first: Office, join: Join
) -> None:
    node = join()
    one, two = Jobs(first, first.settings.home), Jobs(node, node.settings.home)
    for each in (one, two):
        enter(first)
        each.write_journal()
    enter(first)
    one.write_journal()
    enter(first)
    two.write_journal(last=True)
    assert first.journal.lag().entries == 0
