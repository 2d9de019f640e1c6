"""Writing stops where the ledger contradicts itself, keeps both sides, and reading goes on."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from notary.errors import Corrupt, IntegrityError, Rollback, Unreachable
from notary.halt import Halt
from notary.model import EventKind
from notary.office import Office, found
from notary.settings import Settings
from tests.harness.watching import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def house(tmp_path: Path, clock: SetClock) -> Office:
    settings = Settings(home=tmp_path / "house")
    found(settings, clock=clock)
    return Office(settings, clock=clock)


def enter(house: Office) -> int:
    return house.chronicle.record(EventKind.SIGNED_IN, actor="a", subject="a").index


def sql(house: Office, statement: str, *values: object) -> None:
    with sqlite3.connect(house.settings.home / "notary.db") as connection:
        connection.execute(statement, values)
    connection.close()


def test_a_database_that_went_back_under_a_running_house_halts_it(house: Office) -> None:
    first = house.ledger.head()
    enter(house)
    sql(
        house,
        "UPDATE tree_head SET size = ?, root = ?, checkpoint = ?",
        first.size, first.root, first.checkpoint,
    )  # fmt: skip
    with pytest.raises(Rollback):
        enter(house)
    with pytest.raises(IntegrityError, match="writing has stopped"):
        enter(house)
    evidence = json.loads((house.settings.home / "halted.json").read_text())
    assert evidence["code"] == "rollback"
    assert house.ledger.head().size == first.size  # reading goes on


def test_another_root_at_the_same_size_halts_with_both_sides_kept(house: Office) -> None:
    enter(house)
    sql(house, "UPDATE tree_head SET root = ?, checkpoint = ?", bytes(32), b"theirs")
    with pytest.raises(IntegrityError):
        enter(house)
    evidence = json.loads((house.settings.home / "halted.json").read_text())
    assert evidence["code"] == "fork"
    assert evidence["ours"] != evidence["theirs"]


def test_a_bit_that_flipped_in_the_right_edge_never_gets_into_a_signed_root(house: Office) -> None:
    enter(house)
    before = house.ledger.head()
    again = Office(house.settings, clock=house.clock)
    sql(house, "UPDATE tile SET hashes = zeroblob(length(hashes))")
    with pytest.raises(Corrupt):
        enter(again)
    assert again.ledger.head().checkpoint == before.checkpoint
    with pytest.raises(IntegrityError, match="writing has stopped"):
        enter(house)


def test_writing_goes_on_when_a_person_took_the_evidence_away(house: Office) -> None:
    evidence = house.settings.home / "halted.json"
    evidence.write_text("{}")
    with pytest.raises(IntegrityError):
        enter(house)
    evidence.unlink()
    assert enter(house) == house.ledger.head().size - 1


def test_a_clock_before_the_last_entry_stops_writing_until_it_is_right(
    house: Office, clock: SetClock
) -> None:
    enter(house)
    clock.moment -= timedelta(hours=1)
    with pytest.raises(Unreachable) as caught:
        enter(house)
    assert caught.value.code == "clock_behind"
    clock.moment += timedelta(hours=1)
    enter(house)


def test_a_clock_a_little_behind_does_not_make_time_run_backwards(
    house: Office, clock: SetClock
) -> None:
    enter(house)
    signed_at = house.ledger.head().signed_at
    clock.moment -= timedelta(seconds=2)
    enter(house)
    assert house.ledger.head().signed_at == signed_at


def test_an_unchanged_checkpoint_is_signed_anew_when_it_ages(
    house: Office, clock: SetClock
) -> None:
    before = house.ledger.head()
    assert not house.sequencer.refresh(timedelta(minutes=10))
    clock.moment += timedelta(minutes=11)
    assert house.sequencer.refresh(timedelta(minutes=10))
    after = house.ledger.head()
    assert (after.size, after.root) == (before.size, before.root)
    assert after.checkpoint != before.checkpoint
    assert after.signed_at == clock.moment
    house.check_log()


def test_a_log_that_rests_is_timestamped_again(house: Office, clock: SetClock) -> None:
    (name,) = house.stamping.authorities
    assert house.stamping.run(name) == 1
    assert house.stamping.run(name) == 0
    first = house.stamps.freshest()
    clock.moment += timedelta(minutes=11)
    assert house.stamping.is_due(name)
    assert house.stamping.run(name) == 1
    second = house.stamps.freshest()
    assert first is not None
    assert second is not None
    assert second[1] > first[1]
    assert second[0] == first[0]


def test_a_home_that_does_not_answer_lets_nobody_write_and_says_so_as_what_can_be_repeated(
    tmp_path: Path,
) -> None:
    halt = Halt(tmp_path / ("x" * 300))  # no file system knows such a name: an error, not "no"
    with pytest.raises(Unreachable, match="bring its disk back"):
        halt.check()
    Halt(tmp_path / "not there").check()
