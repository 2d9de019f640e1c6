"""An audit reads every original again, names each damage, and is done once however often it is
broken off."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from notary.auditing import BEAT, SCHEDULE, Stopped, Worker
from notary.audits import FINDING, HOLD, RANGE, WIDTH, Kind, Run, Scope
from notary.clock import SystemClock
from notary.digest import SHA256
from notary.errors import Corrupt
from notary.jobs import Jobs
from notary.journal_tables import CHANGE
from notary.model import Declared, EventKind, Principal, Role
from notary.office import Office, found
from notary.originals import object_key
from notary.pace import Pace
from notary.rereads import Finding
from notary.settings import Settings
from storage.errors import StoreUnavailable

BY = Principal(account_id="0" * 36, name="agency", role=Role.API_CLIENT, authenticated_by="api-key")
FIRST, LAST = 1, 305
"""Of the five originals: two at the beginning, three behind 300 events, in the next range."""


@dataclass
class Watch:
    """A clock that stands still until it is told to go on."""

    at: datetime = field(default_factory=lambda: SystemClock().now())

    def now(self) -> datetime:
        return self.at


@dataclass
class Hand:
    """A worker that ends when told, waits without waiting, and keeps what it is told."""

    stopped: Callable[[], bool] = lambda: False
    told: list[Finding] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def worker(self) -> Worker:
        return Worker(
            stop=self.stopped, wait=self.wait, told=self.told.append, now=lambda: self.seconds
        )

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.seconds += seconds


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("audited") / "house"
    found(Settings(home=home))
    office = Office(Settings(home=home))
    for number in range(2):
        deposit(office, b"original %d" % number)
    for number in range(300):
        office.chronicle.record(EventKind.SIGNED_IN, actor="a", subject=str(number))
    for number in range(2, 5):
        deposit(office, b"original %d" % number)
    declared = Declared(size=4, digests={SHA256: hashlib.sha256(b"kept").hexdigest()})
    office.intake.register_digests(BY, declared)
    office.close()
    return home


@pytest.fixture
def house(made: Path, tmp_path: Path) -> Office:
    """A copy of it, to be spoilt."""
    shutil.copytree(made, tmp_path / "house")
    return Office(Settings(home=tmp_path / "house"), clock=Watch(SystemClock().now()))


def deposit(office: Office, content: bytes) -> str:
    declared = Declared(name="a.txt")
    with office.intake.receive(office.intake.admit(BY, declared)) as reception:
        reception.write(content)
        return reception.register(declared).deposit.id


def audit(office: Office, hand: Hand | None = None, **how: int) -> Run:
    run = office.auditing.begin("operator", **how)
    while office.auditing.step(run, (hand or Hand()).worker()):
        pass
    return office.auditing.audits.run(run.id)


def kinds(office: Office, run: Run) -> set[tuple[int, Kind]]:
    return {(each.index, each.kind) for each in office.auditing.rereads.findings(run.id)}


def sql(office: Office, statement: str, *values: object) -> None:
    with sqlite3.connect(office.settings.home / "notary.db") as connection:
        connection.execute(statement, values)
    connection.close()


def path_of(office: Office, index: int) -> Path:
    (found_,) = office.register.deposits(after=index - 1, limit=1)
    assert found_.index == index
    return office.settings.home / "objects" / object_key(found_.id)


def overwrite(path: Path, content: bytes) -> None:
    os.chmod(path, 0o600)
    path.write_bytes(content)


def forward(office: Office, by: timedelta) -> None:
    assert isinstance(office.clock, Watch)
    office.clock.at += by


# --- what is found ------------------------------------------------------------------------------


def test_a_sound_house_is_found_whole_and_the_ledger_has_it(house: Office) -> None:
    run = audit(house)
    assert run.finished_at is not None
    assert (run.counts.deposits, run.counts.originals, run.counts.findings) == (6, 5, 0)
    assert run.counts.bytes == 5 * len(b"original 0")
    last = house.register.events(after=run.size - 1)
    assert [event.kind for event in last] == [EventKind.AUDIT_FINISHED]
    assert last[0].subject is not None
    assert run.id in last[0].subject
    assert "0 findings" in last[0].subject


@pytest.mark.parametrize("content", [b"Original 0", b"original", b"", b"original 0 and more"])
def test_an_original_with_other_bytes_differs(house: Office, content: bytes) -> None:
    overwrite(path_of(house, FIRST), content)
    hand = Hand()
    run = audit(house, hand)
    assert kinds(house, run) == {(FIRST, Kind.DIFFERS)}
    (told,) = hand.told
    assert hashlib.sha256(content).hexdigest() in told.detail
    assert hashlib.sha256(b"original 0").hexdigest() in told.detail
    assert f"{len(content)} bytes" in told.detail


def test_an_original_that_is_gone_is_missing(house: Office) -> None:
    path_of(house, LAST).unlink()
    assert kinds(house, audit(house)) == {(LAST, Kind.MISSING)}


def test_something_else_in_its_place_is_missing(house: Office) -> None:
    path = path_of(house, LAST)
    path.unlink()
    path.mkdir()
    assert kinds(house, audit(house)) == {(LAST, Kind.MISSING)}


def test_a_finding_is_an_event_of_its_exhibit(house: Office) -> None:
    path = path_of(house, FIRST)
    overwrite(path, b"x")
    run = audit(house)
    (event,) = house.register.events(deposit_id=path.name)
    assert event.kind is EventKind.FIXITY_FAILED
    assert event.actor == "operator"
    assert event.subject == f"differs: audit {run.id}, entry {FIRST}"


def test_row_and_object_changed_together_are_found_by_the_ledger(house: Office) -> None:
    forged = b"forged"
    digest = hashlib.sha256(forged).hexdigest()
    overwrite(path_of(house, FIRST), forged)
    sql(
        house,
        "UPDATE deposit SET sha256 = ?, digests = ?, size = ? WHERE idx = ?",
        digest, json.dumps({"sha-256": digest}), len(forged), FIRST,
    )  # fmt: skip
    assert kinds(house, audit(house)) == {(FIRST, Kind.DIFFERS), (FIRST, Kind.ROW)}


def test_a_row_that_says_nothing_was_stored_hides_no_missing_original(house: Office) -> None:
    path_of(house, FIRST).unlink()
    sql(house, "UPDATE deposit SET stored = 0 WHERE idx = ?", FIRST)
    assert kinds(house, audit(house)) == {(FIRST, Kind.MISSING), (FIRST, Kind.ROW)}


def test_what_a_row_says_wrongly_is_not_told_to_readers_of_findings(house: Office) -> None:
    sql(house, "UPDATE deposit SET name = 'a secret' WHERE idx = ?", FIRST)
    run = audit(house)
    (found_,) = house.auditing.rereads.findings(run.id)
    assert "secret" not in found_.detail
    assert "a.txt" not in found_.detail


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE deposit SET record = replace(record, 'sha-256', 'sha-255') WHERE idx = 1",
        "UPDATE deposit SET disclosures = 'WyJ' WHERE idx = 1",
        "UPDATE deposit SET disclosures = '' WHERE idx = 1",
        "UPDATE entry SET statement = (SELECT statement FROM entry WHERE idx = 2) WHERE idx = 1",
        "UPDATE entry SET statement = x'00' WHERE idx = 1",
        "DELETE FROM entry WHERE idx = 1",
    ],
)
def test_what_the_ledger_no_longer_proves_is_named(house: Office, damage: str) -> None:
    sql(house, damage)
    assert kinds(house, audit(house)) == {(FIRST, Kind.UNPROVED)}


def test_a_deposit_without_a_row_is_named_by_its_entry(house: Office) -> None:
    path_of(house, FIRST).unlink()
    sql(house, "DELETE FROM deposit WHERE idx = 1")
    run = audit(house)
    (found_,) = house.auditing.rereads.findings(run.id)
    assert (found_.index, found_.kind, found_.deposit_id) == (FIRST, Kind.UNPROVED, None)
    (event,) = [e for e in house.register.events(limit=400) if e.kind is EventKind.FIXITY_FAILED]
    assert event.deposit_id is None


def test_a_tile_that_does_not_lead_to_the_checkpoint_proves_nothing(house: Office) -> None:
    sql(house, "UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE level = 0 AND n = 0")
    assert kinds(house, audit(house)) == {(1, Kind.UNPROVED), (2, Kind.UNPROVED)}


def test_entry_and_tile_changed_together_are_found_by_the_checkpoint(house: Office) -> None:
    with sqlite3.connect(house.settings.home / "notary.db") as connection:
        (other,) = connection.execute("SELECT statement FROM entry WHERE idx = 302").fetchone()
        (hashes,) = connection.execute(
            "SELECT hashes FROM tile WHERE level = 0 AND n = 0"
        ).fetchone()
        leaf = hashlib.sha256(b"\0" + other).digest()
        connection.execute("UPDATE entry SET statement = ? WHERE idx = 1", (other,))
        connection.execute(
            "UPDATE tile SET hashes = ? WHERE level = 0 AND n = 0",
            (hashes[:32] + leaf + hashes[64:],),
        )
    connection.close()
    assert (FIRST, Kind.UNPROVED) in kinds(house, audit(house))


def test_an_audit_whose_checkpoint_was_changed_reads_nothing(house: Office) -> None:
    run = house.auditing.begin("operator")
    sql(house, "UPDATE audit_run SET checkpoint = x'00'")
    with pytest.raises(Corrupt):
        house.auditing.step(house.auditing.audits.run(run.id), Hand().worker())


def test_an_audit_is_not_finished_by_removing_its_ranges(house: Office) -> None:
    run = house.auditing.begin("operator")
    sql(house, "DELETE FROM audit_range WHERE first = 0")
    with pytest.raises(Corrupt, match="cut into 2 ranges, 1 are there"):
        audit(house)
    assert house.auditing.audits.run(run.id).finished_at is None


# --- storage that does not answer ---------------------------------------------------------------


class Failing:
    """The house's store, except that it does not give some objects, or nothing at all."""

    def __init__(self, office: Office, *, key: str = "", times: int = 1 << 30) -> None:
        self._objects = office.objects
        self._key = key
        self._times = times
        self.up = True

    def open(self, key: str, **_range: object) -> object:
        if not self.up or (key == self._key and self._times > 0):
            self._times -= 1
            raise StoreUnavailable(f"reading {key!r}: Input/output error")
        return self._objects.open(key)

    def check(self) -> None:
        if not self.up:
            raise StoreUnavailable("the store is down")


def with_store(office: Office, store: Failing) -> None:
    office.auditing._objects = store  # type: ignore[assignment]


def test_one_object_that_a_working_store_does_not_give_is_unreadable(house: Office) -> None:
    with_store(house, Failing(house, key=object_key(path_of(house, FIRST).name)))
    assert kinds(house, audit(house)) == {(FIRST, Kind.UNREADABLE)}


def test_an_object_that_comes_at_the_second_try_is_whole(house: Office) -> None:
    with_store(house, Failing(house, key=object_key(path_of(house, FIRST).name), times=1))
    hand = Hand()
    run = audit(house, hand)
    assert kinds(house, run) == set()
    assert run.counts.bytes == 50
    assert hand.waited


def test_a_store_that_is_down_says_nothing_of_the_originals(house: Office) -> None:
    store = Failing(house)
    with_store(house, store)
    store.up = False
    run = house.auditing.begin("operator")
    with pytest.raises(StoreUnavailable):
        house.auditing.step(run, Hand().worker())
    assert kinds(house, run) == set()
    store.up = True
    finished = audit(house)
    assert finished.id == run.id
    assert (finished.counts.originals, finished.counts.findings) == (5, 0)


# --- broken off ---------------------------------------------------------------------------------


def test_a_worker_that_is_told_to_end_gives_its_range_back(house: Office) -> None:
    asked = iter([False, False, True])
    run = house.auditing.begin("operator")
    with pytest.raises(Stopped):
        house.auditing.step(run, Hand(stopped=lambda: next(asked)).worker())
    assert house.auditing.audits.run(run.id).counts.originals == 1
    finished = audit(house)
    assert (finished.id, finished.counts.originals) == (run.id, 5)


def test_what_a_dead_worker_held_is_gone_on_with_when_its_hold_runs_out(house: Office) -> None:
    run = house.auditing.begin("operator")
    dead = house.auditing.audits.claim(run.id, "dead", house.clock.now())
    assert dead is not None
    audit(house)
    assert house.auditing.audits.run(run.id).finished_at is None
    forward(house, HOLD + timedelta(seconds=1))
    finished = audit(house)
    assert (finished.id, finished.counts.originals) == (run.id, 5)
    assert finished.finished_at is not None


def test_a_worker_that_was_too_slow_counts_nothing_twice(house: Office) -> None:
    """The clock goes on by more than the hold while an original is read; another worker does
    the range meanwhile."""
    run = house.auditing.begin("operator")
    others: list[Run] = []

    def slow() -> bool:
        if not others:
            forward(house, HOLD + BEAT)
            others.append(run)
            audit(house)
        return False

    assert house.auditing.step(run, Hand(stopped=slow).worker()) in (True, False)
    finished = audit(house) if house.auditing.audits.unfinished() else run
    assert finished.id == run.id
    assert house.auditing.audits.run(run.id).counts.originals == 5


def test_a_finding_is_written_once_however_often_its_range_is_done(house: Office) -> None:
    overwrite(path_of(house, FIRST), b"x")
    run = house.auditing.begin("operator")
    house.auditing.step(run, Hand().worker())
    sql(house, f"UPDATE audit_range SET done_at = NULL, next = {FIRST} WHERE first = 0")
    hand = Hand()
    audit(house, hand)
    assert hand.told == []
    assert len(house.register.events(deposit_id=path_of(house, FIRST).name)) == 1


def test_a_finding_and_its_event_are_there_together_or_not_at_all(
    house: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite(path_of(house, FIRST), b"x")
    run = house.auditing.begin("operator")
    monkeypatch.setattr(
        "notary.sequencer.Sequencer._seal",
        lambda *_: (_ for _ in ()).throw(StoreUnavailable("the disk is full")),
    )
    with pytest.raises(Exception, match="the disk is full"):
        house.auditing.step(run, Hand().worker())
    assert kinds(house, run) == set()
    monkeypatch.undo()
    assert kinds(house, audit(house)) == {(FIRST, Kind.DIFFERS)}


AUDIT = """
import sys
from pathlib import Path
from notary.auditing import Worker
from notary.office import Office
from notary.settings import Settings
office = Office(Settings(home=Path(sys.argv[1])))
run = office.auditing.audits.run(sys.argv[3])
slept = []
def wait(seconds):
    print("reading", flush=True)
    if not slept and sys.argv[2] == "hang":
        import time
        time.sleep(600)
worker = Worker(stop=lambda: False, wait=wait, told=lambda found: None)
while office.auditing.step(run, worker):
    print("range", flush=True)
"""


def start(house: Office, run: Run, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", AUDIT, str(house.settings.home), how, run.id],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_killed_process_s_range_is_done_by_the_next(house: Office) -> None:
    run = house.auditing.begin("operator", rate=1)
    process = start(house, run, "hang")
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    process.kill()
    process.wait()
    process.stdout.close()
    forward(house, timedelta(hours=1))
    finished = audit(house)
    assert (finished.id, finished.counts.originals, finished.counts.findings) == (run.id, 5, 0)


def test_two_processes_share_an_audit_and_do_no_range_twice(house: Office) -> None:
    for _ in range(3):
        for number in range(260):
            house.chronicle.record(EventKind.SIGNED_IN, actor="a", subject=str(number))
        deposit(house, b"more")
    run = house.auditing.begin("operator")
    processes = [start(house, run, "through") for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    if house.auditing.audits.unfinished() is not None:
        audit(house)  # each saw the other hold the last range
    finished = house.auditing.audits.run(run.id)
    ranges = -(-run.size // WIDTH)
    assert sum(each.count("range") for each in said) == ranges
    assert (finished.counts.done, finished.counts.originals) == (ranges, 8)
    ended = house.register.events(after=run.size - 1)
    assert [event.kind for event in ended] == [EventKind.AUDIT_FINISHED]


# --- how it goes --------------------------------------------------------------------------------


def test_there_is_one_unfinished_audit_at_a_time(house: Office) -> None:
    first = house.auditing.begin("operator")
    second = house.auditing.begin(SCHEDULE, rate=5, sample=1)
    assert (second.id, second.rate, second.scope) == (first.id, first.rate, Scope.ALL)


def test_a_sample_reads_so_many_originals_and_no_more(house: Office) -> None:
    run = audit(house, sample=2)
    assert (run.scope, run.counts.deposits, run.counts.originals) == (Scope.SAMPLE, 2, 2)
    assert audit(house, sample=50).counts.originals == 5


def test_a_sample_draws_every_original_now_and_then(house: Office) -> None:
    seen: set[int] = set()
    for _ in range(60):
        seen |= {first for first, _ in house.auditing._drawn(1, house.ledger.head().size)}
        if len(seen) == 5:
            break
    assert len(seen) == 5


def test_a_house_without_originals_is_audited_in_no_time(tmp_path: Path) -> None:
    found(Settings(home=tmp_path / "house"))
    office = Office(Settings(home=tmp_path / "house"))
    assert audit(office).counts.originals == 0
    assert audit(office, sample=3).finished_at is not None


def test_the_pace_is_held() -> None:
    seconds = 0.0
    pace = Pace(100, lambda: seconds)
    assert pace.owed(50) == pytest.approx(0.5)
    seconds = 0.5
    assert pace.owed(100) == pytest.approx(1.0)
    seconds = 10.0
    assert pace.owed(100) == pytest.approx(1.0), "idle time is not saved up"
    assert Pace(0, lambda: seconds).owed(1 << 40) == 0


def test_an_audit_takes_as_long_as_its_rate_says(house: Office) -> None:
    hand = Hand()
    run = audit(house, hand, rate=2)
    assert run.rate == 2
    assert hand.seconds == pytest.approx(run.counts.bytes / 2)
    assert max(hand.waited) <= 5.0


def test_workers_of_one_audit_share_its_rate(house: Office) -> None:
    run = house.auditing.begin("operator", rate=2)
    house.auditing.audits.claim(run.id, "another", house.clock.now())
    hand = Hand()
    house.auditing.step(run, hand.worker())
    assert hand.seconds == pytest.approx(3 * len(b"original 0") / (2 / 2))


def test_a_slow_reader_says_now_and_then_that_it_lives(house: Office) -> None:
    run = house.auditing.begin("operator", rate=1)
    held: set[str] = set()

    def wait(seconds: float) -> None:
        forward(house, timedelta(seconds=seconds))
        with house.database.reading() as connection:
            held.add(
                connection.execute(
                    sa.select(RANGE.c.held_until).where(RANGE.c.first == 0)
                ).scalar_one()
            )

    worker = Worker(stop=lambda: False, wait=wait, told=lambda _: None)
    house.auditing.step(run, worker)
    assert len(held) > 1


# --- by schedule --------------------------------------------------------------------------------


def test_an_audit_is_due_so_long_after_the_last_was_begun(house: Office) -> None:
    month = timedelta(days=house.settings.audit_days)
    hand = Hand()
    house.auditing.work_by_schedule(hand.worker())
    assert house.auditing.audits.runs() == ()
    forward(house, month)
    house.auditing.work_by_schedule(hand.worker())
    (first,) = house.auditing.audits.runs()
    assert (first.started_by, first.finished_at is None) == (SCHEDULE, False)
    house.auditing.work_by_schedule(hand.worker())
    forward(house, month - timedelta(seconds=1))
    house.auditing.work_by_schedule(hand.worker())
    assert len(house.auditing.audits.runs()) == 1
    forward(house, timedelta(seconds=1))
    house.auditing.work_by_schedule(hand.worker())
    assert len(house.auditing.audits.runs()) == 2


def test_a_sample_does_not_put_off_the_audit_of_all(house: Office) -> None:
    forward(house, timedelta(days=house.settings.audit_days))
    audit(house, sample=1)
    assert house.auditing.is_due()


def test_a_worker_goes_on_with_an_audit_begun_by_hand(house: Office) -> None:
    run = house.auditing.begin("operator")
    house.auditing.work_by_schedule(Hand().worker())
    assert house.auditing.audits.run(run.id).finished_at is not None


def test_where_audits_are_switched_off_workers_read_nothing(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "house")
    office = Office(Settings(home=tmp_path / "house", audit_days=0))
    run = office.auditing.begin("operator")
    office.auditing.work_by_schedule(Hand().worker())
    assert office.auditing.audits.run(run.id).counts.done == 0
    assert not office.auditing.is_due()


def test_the_worker_s_audit_logs_what_it_finds_and_outlives_a_failure(
    house: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    overwrite(path_of(house, FIRST), b"x")
    forward(house, timedelta(days=31))
    jobs = Jobs(house, house.settings.home)
    store = Failing(house)
    with_store(house, store)
    store.up = False
    jobs.audit(Worker(stop=lambda: False, wait=lambda _: None, told=lambda _: None))
    assert "the store is down" in capsys.readouterr().out
    store.up = True
    asked = iter([False, True])
    jobs.audit(Worker(stop=lambda: next(asked), wait=lambda _: None, told=lambda _: None))
    hand = Hand()
    jobs.audit(hand.worker())
    (run,) = house.auditing.audits.runs()
    assert kinds(house, run) == {(FIRST, Kind.DIFFERS)}


# --- when was this one last read ----------------------------------------------------------------


def test_an_original_is_never_read_until_an_audit_did(house: Office) -> None:
    assert house.auditing.rereads.last((FIRST, LAST)) == {}
    run = audit(house)
    last = house.auditing.rereads.last((FIRST, LAST, LAST + 50))
    assert last.keys() == {FIRST, LAST}
    assert {each.run_id for each in last.values()} == {run.id}
    assert {each.whole_at for each in last.values()} == {house.clock.now()}


def test_what_came_after_the_audit_was_begun_was_not_read(house: Office) -> None:
    run = house.auditing.begin("operator")
    deposit(house, b"later")
    audit(house)
    assert run.size not in house.auditing.rereads.last((run.size,))


def test_a_damaged_original_says_when_it_was_whole_until_it_is_mended(house: Office) -> None:
    audit(house)
    whole = house.clock.now()
    path = path_of(house, FIRST)
    overwrite(path, b"x")
    for _ in range(2):
        forward(house, timedelta(days=1))
        run = audit(house)
        last = house.auditing.rereads.last((FIRST, LAST))
        assert (last[FIRST].finding, last[FIRST].whole_at) == (Kind.DIFFERS, whole)
        assert last[LAST].finding is None
        (found_,) = house.auditing.rereads.findings(run.id)
        assert found_.whole_at == whole
    assert house.auditing.rereads.open_findings(run) == 1
    overwrite(path, b"original 0")
    forward(house, timedelta(days=1))
    run = audit(house)
    assert house.auditing.rereads.last((FIRST,))[FIRST].finding is None
    assert house.auditing.rereads.open_findings(run) == 0


def test_a_sample_counts_for_what_it_read_alone(house: Office) -> None:
    audit(house)
    forward(house, timedelta(days=1))
    audit(house, sample=1)
    times = {i: each.at for i, each in house.auditing.rereads.last((1, 2, 303, 304, 305)).items()}
    assert sorted(times.values()).count(house.clock.now()) == 1
    assert len(times) == 5


def test_the_ranges_of_audits_that_a_later_one_read_again_are_dropped(house: Office) -> None:
    for _ in range(4):
        forward(house, timedelta(days=1))
        run = audit(house)
    with house.database.reading() as connection:
        runs = set(connection.execute(sa.select(RANGE.c.run_id)).scalars())
    assert runs == {run.id}
    assert len(house.auditing.audits.runs()) == 4


def test_the_pages_of_findings_go_through_all_of_them(house: Office) -> None:
    for index in (1, 2):
        overwrite(path_of(house, index), b"x")
        sql(house, "UPDATE deposit SET name = 'b' WHERE idx = ?", index)
    run = audit(house)
    seen, after = [], (-1, "")
    while found_ := house.auditing.rereads.findings(run.id, after=after, limit=1):
        seen.append((found_[0].index, found_[0].kind))
        after = (found_[0].index, found_[0].kind)
    assert len(seen) == 4
    assert set(seen) == kinds(house, run)


def test_the_journal_has_what_audits_found(house: Office) -> None:
    overwrite(path_of(house, FIRST), b"x")
    audit(house)
    with house.database.reading() as connection:
        noted = set(connection.execute(sa.select(CHANGE.c.tbl)).scalars())
        assert connection.execute(sa.select(sa.func.count()).select_from(FINDING)).scalar() == 1
    assert {"audit_run", "audit_range", "audit_finding"} <= noted
