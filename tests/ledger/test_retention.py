"""Retention begins when the entry is durable: at once where the store answers, else later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from notary.errors import Conflict, DigestMismatch, MalformedInput
from notary.jobs import Jobs
from notary.model import Declared, Deposit
from notary.office import Office, found
from notary.originals import object_key
from notary.retaining import Caught, retain_registered
from notary.retention import DUE
from notary.settings import Settings
from storage.errors import ObjectLocked, StoreUnavailable
from storage.objects import Protection, whole_second
from tests.harness.acts import CLERK, deposit, rows_of
from tests.harness.server import Service

DAYS = timedelta(days=7)


@pytest.fixture
def retaining(tmp_path: Path) -> Iterator[Office]:
    home = tmp_path / "house"
    settings = Settings(home=home, objects=f"{(home / 'objects').as_uri()}?days={DAYS.days}")
    found(settings)
    office = Office(settings)
    yield office
    office.close()


def protection(office: Office, of: Deposit) -> Protection:
    return office.objects.protection(object_key(of.id), version=of.object_version)


class Later:
    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(minutes=1)


def refuse(monkeypatch: pytest.MonkeyPatch, office: Office) -> None:
    def retain(*_key: object, **_more: Any) -> None:
        raise StoreUnavailable("asks for patience")

    monkeypatch.setattr(office.objects, "retain", retain)


def test_original_is_retained_before_the_answer(retaining: Office) -> None:
    made = deposit(retaining, b"evidence", Declared(name="a"))
    until = protection(retaining, made).until
    assert until is not None
    assert made.registered_at + DAYS <= until < made.registered_at + DAYS + timedelta(seconds=1)
    assert retaining.retention.waiting() == 0
    with pytest.raises(ObjectLocked):
        retaining.objects.discard(object_key(made.id))


def test_answer_goes_out_while_the_store_does_not_retain_and_the_pulse_does_it_later(
    retaining: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        refuse(failing, retaining)
        made = deposit(retaining, b"evidence", Declared(name="a"))
        assert retaining.retention.waiting() == 1
        passed = retaining.retention.run(timedelta(0))
        assert passed.done == 0
        assert passed.failed == ((object_key(made.id), "StoreUnavailable: asks for patience"),)
    assert protection(retaining, made).until is None
    assert not retaining.retention.is_due()  # the pulse leaves the newest to their own deposits
    assert retaining.retention.run(timedelta(0)).done == 1
    assert retaining.retention.waiting() == 0
    assert protection(retaining, made).until is not None


def test_worker_finds_what_a_process_that_died_left_unretained(
    retaining: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        refuse(failing, retaining)
        made = deposit(retaining, b"evidence", Declared(name="a"))
    monkeypatch.setattr(retaining.retention, "_clock", Later())
    assert retaining.retention.is_due()
    jobs = Jobs(retaining, tmp_path)
    jobs._run_retain()
    assert protection(retaining, made).until is not None
    assert retaining.retention.waiting() == 0


def test_lost_original_stays_due_and_does_not_stop_the_others(
    retaining: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        refuse(failing, retaining)
        lost = deposit(retaining, b"one", Declared(name="a"))
        kept = deposit(retaining, b"two", Declared(name="b"))
    retaining.objects.discard(object_key(lost.id))
    passed = retaining.retention.run(timedelta(0))
    assert passed.done == 1
    assert [key for key, _ in passed.failed] == [object_key(lost.id)]
    assert protection(retaining, kept).until is not None
    assert [row.key for row in rows_of(retaining, DUE)] == [object_key(lost.id)]


def test_longer_retention_is_left_as_it_is(
    retaining: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        refuse(failing, retaining)
        made = deposit(retaining, b"evidence", Declared(name="a"))
    later = datetime.now(UTC) + 9 * DAYS
    retaining.objects.retain(object_key(made.id), version=None, until=later)
    assert retaining.retention.run(timedelta(0)).failed == ()
    assert retaining.retention.waiting() == 0
    until = protection(retaining, made).until
    assert until is not None and until >= later


def test_what_never_becomes_a_deposit_is_not_retained(retaining: Office) -> None:
    wrong = Declared(name="a", digests={"sha-256": "0" * 64})
    with pytest.raises(DigestMismatch):
        deposit(retaining, b"evidence", wrong)
    deposit(retaining, b"evidence", Declared(name="a", client_reference="taken"))
    with pytest.raises(Conflict):
        deposit(retaining, b"other", Declared(name="a", client_reference="taken"))
    assert len(list(retaining.objects.walk("originals/"))) == 1


def test_digests_alone_have_nothing_to_retain(retaining: Office) -> None:
    declared = Declared(size=3, digests={"sha-256": "ab" * 32})
    retaining.intake.register_digests(CLERK, declared)
    assert retaining.retention.waiting() == 0


def test_nothing_is_retained_where_no_setting_says_so(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "house")
    found(settings)
    office = Office(settings)
    made = deposit(office, b"evidence", Declared(name="a"))
    assert protection(office, made) == Protection(until=None, held=False)
    assert rows_of(office, DUE) == []
    office.close()


def test_many_deposits_leave_at_most_a_gathered_group_of_rows(retaining: Office) -> None:
    for number in range(70):
        deposit(retaining, b"%d" % number, Declared(name="a"))
    assert retaining.retention.waiting() < 64
    retaining.retention.run(timedelta(0))
    assert retaining.retention.waiting() == 0


# --- turned on later ----------------------------------------------------------------------------


def later_on(office: Office) -> Office:
    """The same house, whose setting asks for retention from now on."""
    home = office.settings.home
    return Office(Settings(home=home, objects=f"{(home / 'objects').as_uri()}?days={DAYS.days}"))


@pytest.fixture
def before(tmp_path: Path) -> Office:
    """Without any retention."""
    found(Settings(home=tmp_path / "house"))
    return Office(Settings(home=tmp_path / "house"))


def test_what_was_registered_before_gets_what_it_would_have_had(before: Office) -> None:
    made = [deposit(before, b"%d" % n, Declared(name="a")) for n in range(3)]
    assert [protection(before, each).until for each in made] == [None] * 3
    house = later_on(before)
    done = retain_registered(house.database, house.objects, house.clock.now())
    assert (done.retained, done.longer, done.over, done.missing) == (3, 0, 0, ())
    for each in made:
        until = protection(house, each).until
        assert until is not None
        assert each.registered_at + DAYS <= until < each.registered_at + DAYS + timedelta(seconds=1)
        with pytest.raises(ObjectLocked):
            house.objects.discard(object_key(each.id))
    again = retain_registered(house.database, house.objects, house.clock.now())
    assert (again.retained + again.longer, again.missing) == (3, ())
    assert [protection(house, each).until for each in made] == [
        protection(later_on(before), each).until for each in made
    ]


def test_what_is_retained_for_longer_stays_so_and_what_is_over_is_left(before: Office) -> None:
    longer = deposit(before, b"longer", Declared(name="a"))
    house = later_on(before)
    far = house.clock.now() + timedelta(days=400)
    house.objects.retain(object_key(longer.id), version=None, until=far)
    over = deposit(before, b"over", Declared(name="a"))
    done = retain_registered(house.database, house.objects, house.clock.now())
    assert (done.retained, done.longer) == (1, 1)
    assert protection(house, longer).until == whole_second(far)
    done = retain_registered(house.database, house.objects, house.clock.now() + 2 * DAYS)
    assert (done.retained, done.over) == (0, 2)
    assert protection(house, over).until is not None


def test_one_that_is_missing_is_named_and_the_others_get_theirs(before: Office) -> None:
    gone = deposit(before, b"gone", Declared(name="a"))
    there = deposit(before, b"there", Declared(name="a"))
    (before.settings.home / "objects" / object_key(gone.id)).unlink()
    house = later_on(before)
    done = retain_registered(house.database, house.objects, house.clock.now())
    assert (done.missing, done.retained) == ((gone.id,), 1)
    assert protection(house, there).until is not None


def test_broken_off_it_goes_on_at_the_index_it_came_to(
    before: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notary.retaining.CHUNK", 2)
    made = [deposit(before, b"%d" % n, Declared(name="a")) for n in range(5)]
    house = later_on(before)
    told: list[Caught] = []
    with monkeypatch.context() as patched:
        asked = house.objects.retain

        def retain(key: str, **more: Any) -> None:
            if key == object_key(made[3].id):
                raise StoreUnavailable("asks for patience")
            asked(key, **more)

        patched.setattr(house.objects, "retain", retain)
        with pytest.raises(StoreUnavailable):
            retain_registered(
                house.database, house.objects, house.clock.now(), progress=told.append
            )
    assert [each.reached for each in told] == [made[1].index + 1]
    done = retain_registered(
        house.database, house.objects, house.clock.now(), start=told[-1].reached
    )
    assert done.retained == 3
    assert all(protection(house, each).until is not None for each in made)


def test_it_is_paced(before: Office) -> None:
    for n in range(3):
        deposit(before, b"%d" % n, Declared(name="a"))
    house = later_on(before)
    waited: list[float] = []
    retain_registered(
        house.database, house.objects, house.clock.now(), rate=1.0, wait=waited.append
    )
    assert sum(waited) > 2.0


def test_a_house_that_asks_for_no_retention_retains_nothing(before: Office) -> None:
    made = deposit(before, b"a", Declared(name="a"))
    with pytest.raises(MalformedInput, match="NOTARY_OBJECTS asks for no retention"):
        retain_registered(before.database, before.objects, before.clock.now())
    assert protection(before, made).until is None


def test_the_command_retains_and_forgets_how_far_it_came(before: Office, tmp_path: Path) -> None:
    made = deposit(before, b"a", Declared(name="a"))
    home, state = before.settings.home, tmp_path / "state"
    objects = f"{(home / 'objects').as_uri()}?days={DAYS.days}"
    service = Service(home=home, settings={"objects": objects})
    state.write_text("0")
    said = service.cli("retain", "--rate", "100", "--state", str(state)).stdout
    assert "1 originals retained, 0 for longer already" in said
    assert not state.exists()
    assert protection(before, made).until is not None
