"""One pass over everything: what it mends, what it only reports, and what it must never touch."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from notary.accounts import SESSION
from notary.clock import rfc3339
from notary.envelope import sealed_size
from notary.errors import Conflict, Unreachable
from notary.intake import Reception
from notary.journal import read_place, segment_key
from notary.model import Declared, Principal
from notary.office import Office, found
from notary.originals import object_key
from notary.rebuild import rebuild
from notary.reconcile import Stopped, Walker
from notary.register import DEPOSIT
from notary.remains import (
    BEGAN,
    CONDEMNED,
    LOOKS,
    MOST_FINDINGS,
    PASS,
    Finding,
    Kind,
    Pass,
    Remnant,
)
from notary.settings import Settings
from notary.sweep import compare, sweep
from storage.errors import ObjectNotFound, StoreUnavailable
from storage.local import LocalIncoming
from storage.objects import StoredObject
from tests.harness.certified import deposit, depositor
from tests.harness.restoring import lose_database
from tests.harness.rotating import EVERY

HOURS = 24


class LateClock:
    """The machine's time, and what a test adds: files bear the machine's."""

    def __init__(self) -> None:
        self.added = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.added

    def pass_(self, **time: float) -> None:
        self.added += timedelta(**time)


@dataclass
class Heard:
    """What a pass told, as it told it."""

    found: list[Remnant] = field(default_factory=list)
    gone: list[Finding] = field(default_factory=list)
    mended: list[tuple[Kind, str]] = field(default_factory=list)

    def walker(self, **more: object) -> Walker:
        walker = Walker(
            found=self.found.append,
            gone=self.gone.append,
            mended=lambda kind, name: self.mended.append((kind, name)),
        )
        return replace(walker, **more)  # type: ignore[arg-type]  # each test its own

    def kinds(self) -> list[Kind]:
        return [each.kind for each in self.found]


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


@pytest.fixture
def house(tmp_path: Path, clock: LateClock) -> Iterator[Office]:
    settings = Settings(home=tmp_path / "house")
    found(settings, clock=clock)
    office = Office(settings, clock=clock)
    office.journal.run()
    yield office
    office.close()


@pytest.fixture
def by(house: Office) -> Principal:
    return depositor(house)


def settle(house: Office) -> None:
    """Its jobs ran: nothing of the day waits."""
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    house.journal.run()


def reconcile(house: Office, heard: Heard | None = None) -> Heard:
    heard = heard or Heard()
    settle(house)
    assert house.reconciling.run(heard.walker(), by="test") is not None
    return heard


def original(house: Office, deposit_id: str) -> Path:
    return house.settings.home / "objects" / object_key(deposit_id)


def stray(house: Office, number: int = 1) -> str:
    """An original that no deposit names; its key."""
    key = object_key(f"01a20dff-0000-7000-8000-{number:012x}")
    with house.objects.begin(key) as incoming:
        incoming.write(b"never registered")
        incoming.commit()
    return key


def is_there(house: Office, key: str) -> bool:
    try:
        house.objects.stat(key)
    except ObjectNotFound:
        return False
    return True


# --- nothing to do --------------------------------------------------------------------------------


def test_a_sound_house_gives_no_finding(house: Office, by: Principal) -> None:
    for number in range(5):
        deposit(house, by, b"original %d" % number, Declared())
    house.batches.receive(
        [b'{"digests": {"sha-256": "%064x"}, "size": 1}' % 9],
        by=by, key=None, atomic=False, check_end=lambda _said, _rows: None,
    )  # fmt: skip
    heard = reconcile(house)
    (last,) = house.reconciling.remains.passes()
    assert (last.objects, last.deposits, last.mended, last.findings) == (5, 5, 0, 0)
    assert (heard.found, heard.gone, heard.mended) == ([], [], [])


def test_every_kind_that_is_found_has_a_look() -> None:
    assert sorted(look.kind for look in LOOKS) == sorted(Kind)


# --- originals without a deposit ------------------------------------------------------------------


def test_an_original_that_may_be_on_its_way_stays(house: Office, clock: LateClock) -> None:
    key = stray(house)
    clock.pass_(hours=HOURS - 1)
    assert reconcile(house).mended == []
    assert is_there(house, key)


def test_an_original_that_never_became_a_deposit_goes_when_its_time_is_over(
    house: Office, by: Principal, clock: LateClock
) -> None:
    kept, key = deposit(house, by, b"kept", Declared()).deposit.id, stray(house)
    clock.pass_(hours=HOURS + 1)
    heard = reconcile(house)
    assert heard.mended == [(Kind.ORPHAN, key)]
    assert (is_there(house, key), is_there(house, object_key(kept))) == (False, True)
    assert heard.found == []


def test_half_an_upload_and_half_a_file_go(house: Office, clock: LateClock) -> None:
    house.objects.begin("originals/00/half").write(b"half")
    for folder in (house.settings.home, house.settings.home / "keys"):
        (folder / "+incoming-killed").write_bytes(b"half")
    assert reconcile(house).mended == []
    clock.pass_(hours=HOURS + 1)
    assert reconcile(house).mended == [
        (Kind.UNFINISHED_UPLOAD, "1 removed"), (Kind.HALF_FILE, "2 removed"),
    ]  # fmt: skip
    assert list(house.settings.home.rglob("+incoming-*")) == []


def test_a_dry_run_says_the_same_and_changes_nothing(
    house: Office, by: Principal, clock: LateClock
) -> None:
    gone = deposit(house, by, b"gone", Declared()).deposit.id
    key = stray(house)
    house.objects.begin("originals/00/half").write(b"half")
    clock.pass_(hours=HOURS + 1)
    settle(house)
    original(house, gone).unlink()
    seen = [(each.kind, each.name) for each in house.reconciling.look(Walker())]
    assert {kind for kind, _ in seen} == {Kind.UNFINISHED_UPLOAD, Kind.ORPHAN, Kind.MISSING}
    assert house.reconciling.remains.passes() == ()
    assert house.reconciling.remains.findings() == ()
    assert is_there(house, key)
    heard = reconcile(house)
    assert (Kind.ORPHAN, key) in seen
    assert (Kind.ORPHAN, key) in heard.mended
    assert [(each.kind, each.name) for each in heard.found] == [(Kind.MISSING, object_key(gone))]


# --- the race between a deposit and the sweep -----------------------------------------------------


def paused(house: Office, by: Principal, content: bytes) -> Reception:
    """An upload whose bytes all came; `resume` enters it."""
    reception = house.intake.receive(house.intake.admit(by, Declared()))
    reception.write(content)
    return reception


def test_an_upload_that_was_swept_before_its_entry_is_turned_away(
    house: Office, by: Principal, clock: LateClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process stood still between the object's commit and the transaction, for a day."""
    submit = house.sequencer.submit_signed

    def late(make: object) -> object:
        clock.pass_(hours=HOURS + 1)
        with house.database.reading() as connection:
            assert connection.execute(sa.select(CONDEMNED)).first() is None
        monkeypatch.undo()
        heard = Heard()
        assert house.reconciling.run(heard.walker()) is not None
        assert [kind for kind, _ in heard.mended] == [Kind.ORPHAN]
        return submit(make)  # type: ignore[arg-type]

    monkeypatch.setattr(house.sequencer, "submit_signed", late)
    with paused(house, by, b"slept") as reception, pytest.raises(Conflict) as refused:
        reception.register(Declared())
    assert refused.value.code == "original_swept"
    assert house.register.deposits() == ()
    assert deposit(house, by, b"slept", Declared()).fresh


def test_a_deposit_that_enters_while_the_sweep_looks_is_kept(
    house: Office, by: Principal, clock: LateClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep saw no row; before it has the lock, the deposit enters."""
    seen: list[str] = []
    writing = house.database.writing

    def enter_first() -> object:
        if not seen and threading.current_thread() is threading.main_thread():
            monkeypatch.setattr(house.database, "writing", writing)
            seen.append(reception.register(Declared()).deposit.id)
        return writing()

    with paused(house, by, b"in time") as reception:
        committed = reception._incoming.commit()  # its bytes are there, and nothing names them
        monkeypatch.setattr(LocalIncoming, "commit", lambda _self: committed)
        monkeypatch.setattr(house.database, "writing", enter_first)
        swept = sweep(house.register, house.objects, clock.now() + timedelta(hours=1))
    assert swept.orphans == ()
    assert is_there(house, object_key(seen[0]))


def test_deposits_and_sweeps_that_race_leave_no_deposit_without_its_original(
    house: Office, by: Principal
) -> None:
    """Sweeps without any patience against depositors: each deposit is refused, or has its bytes."""
    stop, refused = threading.Event(), 0
    kept: list[str] = []

    def sweeps() -> None:
        while not stop.is_set():
            sweep(house.register, house.objects, datetime.now(UTC) + timedelta(hours=1))

    sweeper = threading.Thread(target=sweeps)
    sweeper.start()
    try:
        for number in range(60):
            try:
                kept.append(deposit(house, by, b"race %d" % number, Declared()).deposit.id)
            except Conflict as exc:
                assert exc.code == "original_swept"
                refused += 1
            except Unreachable as exc:
                assert exc.code == "storage_unreachable"  # swept while it was still coming in
                refused += 1
    finally:
        stop.set()
        sweeper.join()
    assert len(kept) + refused == 60
    assert [each for each in kept if not is_there(house, object_key(each))] == []
    assert {each.id for each in house.register.deposits(limit=200)} == set(kept)


# --- a database that is older than what is in storage ---------------------------------------------


def test_an_original_that_an_older_database_may_have_known_is_reported_and_kept(
    house: Office, by: Principal, clock: LateClock
) -> None:
    settle(house)
    known = deposit(house, by, b"acknowledged, and not journalled", Declared()).deposit.id
    lose_database(house)
    rebuild(house.settings, mirror=None)
    rebuilt = Office(house.settings, clock=clock)
    key = object_key(known)
    clock.pass_(hours=HOURS + 1)
    heard = reconcile(rebuilt)
    assert [(each.kind, each.name) for each in heard.found] == [(Kind.UNCLAIMED, key)]
    clock.pass_(days=89)
    assert reconcile(rebuilt).mended == []
    assert is_there(rebuilt, key)
    assert [each.remnant.name for each in rebuilt.reconciling.remains.findings()] == [key]
    clock.pass_(days=2)
    heard = reconcile(rebuilt)
    assert heard.mended == [(Kind.ORPHAN, key)]
    assert [each.remnant.name for each in heard.gone] == [key]
    rebuilt.close()


def begin_anew(connection: sa.Connection) -> None:
    """As the manual says for an older copy that is put in place."""
    connection.execute(sa.delete(BEGAN))
    connection.execute(sa.delete(CONDEMNED))


def test_with_no_days_set_unclaimed_originals_stay_for_ever(
    house: Office, clock: LateClock
) -> None:
    key = stray(house)
    clock.pass_(hours=1)
    with house.database.writing() as connection:
        begin_anew(connection)
    patient = Office(replace(house.settings, unclaimed_days=0), clock=clock)
    for _ in range(3):
        clock.pass_(days=400)
        reconcile(patient)
    assert is_there(patient, key)
    patient.close()


def test_an_older_copy_put_in_place_begins_anew(house: Office, clock: LateClock) -> None:
    key = stray(house)
    with house.database.writing() as connection:
        begin_anew(connection)
        assert connection.execute(sa.select(BEGAN)).first() is None
    clock.pass_(hours=HOURS + 1)
    assert [each.name for each in reconcile(house).found] == [key]
    assert is_there(house, key)


def test_while_another_house_writes_in_the_same_place_nothing_goes(
    house: Office, clock: LateClock
) -> None:
    key = stray(house)
    clock.pass_(hours=HOURS + 1)
    settle(house)
    with house.database.reading() as connection:
        number = read_place(connection).number
    with house.objects.begin(segment_key(number)) as incoming:
        incoming.write(b"another house's")
        incoming.commit()
    heard = Heard()
    house.reconciling.run(heard.walker())
    assert heard.kinds() == [Kind.FOREIGN_JOURNAL, Kind.UNCLAIMED]
    assert is_there(house, key)


# --- deposits whose original is gone or differs ---------------------------------------------------


def test_a_missing_original_is_named_until_it_is_back(
    house: Office, by: Principal, clock: LateClock
) -> None:
    ids = [deposit(house, by, b"original %d" % n, Declared()).deposit.id for n in range(3)]
    path = original(house, ids[1])
    content = path.read_bytes()
    path.unlink()
    (remnant,) = reconcile(house).found
    assert (remnant.kind, remnant.deposit_id) == (Kind.MISSING, ids[1])
    assert ids[1] in remnant.detail
    first = house.reconciling.remains.of_deposits(ids)[ids[1]]
    clock.pass_(hours=2)
    assert reconcile(house).found == []  # it is known, and told once
    again = house.reconciling.remains.of_deposits(ids)[ids[1]]
    assert (again.since, again.seen_at > first.seen_at) == (first.since, True)
    path.write_bytes(content)
    heard = reconcile(house)
    assert [each.remnant.deposit_id for each in heard.gone] == [ids[1]]
    assert house.reconciling.remains.findings() == ()


def test_an_original_of_another_size_is_named_with_both(house: Office, by: Principal) -> None:
    id_ = deposit(house, by, b"twelve bytes", Declared()).deposit.id
    path = original(house, id_)
    os.chmod(path, 0o600)
    path.write_bytes(b"more than twelve bytes")
    (remnant,) = reconcile(house).found
    assert (remnant.kind, remnant.deposit_id) == (Kind.DIFFERS, id_)
    assert "has 12 bytes, storage 22" in remnant.detail


def test_what_another_room_accounts_for_is_no_finding(house: Office, by: Principal) -> None:
    gone, other, missing = (
        deposit(house, by, b"original %d" % n, Declared()).deposit.id for n in range(3)
    )
    original(house, gone).unlink()
    original(house, missing).unlink()
    os.chmod(original(house, other), 0o600)
    original(house, other).write_bytes(bytes(sealed_size(len(b"original 1"))))
    with house.database.writing() as connection:
        for id_, said in ((gone, {"disposed_at": "2026"}), (other, {"data_key": b"wrapped"})):
            connection.execute(sa.update(DEPOSIT).where(DEPOSIT.c.id == id_).values(**said))
    assert [each.deposit_id for each in reconcile(house).found] == [missing]


def test_an_object_that_no_deposit_can_be_of_is_left_where_it_is(
    house: Office, clock: LateClock
) -> None:
    for key in ("originals/ff/note", "originals/readme", f"originals/00/{'a' * 36}"):
        with house.objects.begin(key) as incoming:
            incoming.commit()
    clock.pass_(days=400)
    heard = reconcile(house)
    assert heard.kinds() == [Kind.STRANGER] * 3
    assert {kind for kind, _ in heard.mended} <= {Kind.EXPIRED_ROW}


def test_storage_that_is_gone_says_nothing_of_its_originals(house: Office, by: Principal) -> None:
    deposit(house, by, b"original", Declared())
    settle(house)
    objects = house.settings.home / "objects"
    objects.rename(objects.with_name("elsewhere"))
    heard = Heard()
    with pytest.raises(StoreUnavailable):
        house.reconciling.run(heard.walker())
    assert heard.found == []
    objects.with_name("elsewhere").rename(objects)
    assert reconcile(house).found == []


def test_an_emptied_store_fills_no_database(
    house: Office, by: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notary.reconcile.MOST_FINDINGS", 3)
    assert MOST_FINDINGS > 3
    for number in range(5):
        original(house, deposit(house, by, b"%d" % number, Declared()).deposit.id).unlink()
    reconcile(house)
    (last,) = house.reconciling.remains.passes()
    assert last.findings == 5
    assert len(house.reconciling.remains.findings()) == 3


# --- jobs that stand still ------------------------------------------------------------------------


def test_what_has_waited_too_long_is_named(house: Office, by: Principal, clock: LateClock) -> None:
    deposit(house, by, b"stamp me", Declared(document_timestamp=True))
    house.auditing.begin("operator")
    heard = Heard()
    house.reconciling.run(heard.walker())
    assert heard.found == []  # all of it is young
    clock.pass_(hours=25)
    house.reconciling.run(heard.walker())
    assert heard.kinds() == [Kind.JOURNAL, Kind.TIMESTAMP, Kind.DOCUMENT, Kind.AUDIT]
    settle(house)
    house.reconciling.run(heard.walker())
    assert {each.remnant.kind for each in heard.gone} >= {Kind.JOURNAL, Kind.TIMESTAMP}


def test_keys_that_a_killed_rotation_left_are_named(house: Office, clock: LateClock) -> None:
    house.rotating.rotate(EVERY, keep_retired=True)
    keys = house.settings.home / "keys"
    (keys / f"statement-{'0' * 16}.pem").write_bytes(b"never registered")
    assert reconcile(house).found == []
    clock.pass_(hours=2)
    heard = reconcile(house)
    assert heard.kinds() == [Kind.KEY] + [Kind.RETIRED_KEY] * 4
    for each in heard.found:
        Path(each.name).unlink()
    assert len(reconcile(house).gone) == 5


def test_a_stop_of_writing_is_named_until_a_person_has_looked(house: Office) -> None:
    (house.settings.home / "halted.json").write_text("{}")
    heard = Heard()
    house.reconciling.run(heard.walker())
    assert heard.kinds() == [Kind.HALTED]


def test_rows_whose_time_is_over_go(house: Office, by: Principal, clock: LateClock) -> None:
    for hours in (1, 100):
        until = rfc3339(clock.now() + timedelta(hours=hours))
        with house.database.writing() as connection:
            connection.execute(
                sa.insert(SESSION).values(
                    secret_hash=bytes([hours]) * 32, account_id=by.account_id, csrf="c",
                    authenticated_by="link", expires_at=until,
                )
            )  # fmt: skip
    clock.pass_(hours=2)
    assert (Kind.EXPIRED_ROW, "1 removed") in reconcile(house).mended
    with house.database.reading() as connection:
        assert len(connection.execute(sa.select(SESSION)).all()) == 1


# --- workers, one after the other -----------------------------------------------------------------


def test_two_at_once_do_it_once(house: Office) -> None:
    inner: list[Pass | None] = []

    def look_in(_now: Pass) -> None:
        inner.append(house.reconciling.run(Walker()))

    for number in range(600):
        stray(house, number)
    assert house.reconciling.run(Walker(progress=look_in)) is not None
    assert inner == [None]
    assert len(house.reconciling.remains.passes()) == 1


def test_a_pass_that_was_ended_goes_on_where_it_was(house: Office, clock: LateClock) -> None:
    keys = sorted(stray(house, number) for number in range(1_200))
    with pytest.raises(Stopped):
        house.reconciling.run(Walker(stop=lambda: True))
    (left,) = house.reconciling.remains.passes()
    assert (left.finished_at, left.place, left.objects) == (None, keys[499], 500)
    assert house.reconciling.run(Walker()) is not None
    (done,) = house.reconciling.remains.passes()
    assert (done.id, done.objects) == (left.id, 1_200)


def test_a_worker_that_died_is_followed_when_its_hold_has_run_out(
    house: Office, clock: LateClock
) -> None:
    class Killed(BaseException):
        pass

    def dies(_now: Pass) -> None:
        raise Killed

    for number in range(600):
        stray(house, number)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr("notary.reconcile._Walk.release", lambda _self: None)
        house.reconciling.run(Walker(progress=dies))
    assert house.reconciling.run(Walker()) is None
    clock.pass_(seconds=61)
    done = house.reconciling.run(Walker())
    assert done is not None
    with house.database.reading() as connection:
        assert connection.execute(sa.select(PASS.c.unfinished)).scalar_one() is None


def test_storage_that_lists_out_of_order_is_not_believed(
    house: Office, by: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [
        StoredObject(key=f"originals/{n}", size=1, version=None, modified_at=datetime.now(UTC))
        for n in (2, 1)
    ]
    monkeypatch.setattr(house.objects, "walk", lambda *_a, **_k: iter(listed))
    with pytest.raises(Exception, match="out of order"):
        list(compare(house.database, house.objects))
