"""The rows of the crash and loss table that are no single write: a second instance, a clock that
jumps, a disk or a database that is full, evidence that cannot be kept. Each ends with fsck.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notary.errors import IntegrityError, NotaryError, Rollback, Unreachable
from notary.model import Declared
from notary.office import Office
from notary.settings import Settings
from tests.harness.acts import ACTS, CLERK, Told, check_house, copied, deposit, house, make_house
from tests.harness.endings import dies, exits, fails
from tests.harness.faults import watching
from tests.harness.watching import SetClock

YEARS_10 = 10 * 365 * 86_400


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("losses") / "made"
    make_house(root)
    return root


def enter(office: Office) -> int:
    index = office.ledger.head().size
    ACTS["event"].run(office)
    return index


def digest_only(office: Office, number: int) -> int:
    declared = Declared(size=1, digests={"sha-256": f"{number:064x}"})
    return office.intake.register_digests(CLERK, declared).deposit.index


# --- a second instance --------------------------------------------------------------------------


def test_a_second_instance_that_starts_while_the_first_commits_waits_at_the_lock(
    made: Path, tmp_path: Path
) -> None:
    root = copied(made, tmp_path / "house")
    second: list[int] = []

    def other() -> None:
        with house(root, chance=2) as office:
            office.examine()
            second.append(digest_only(office, 2))

    beside = threading.Thread(target=other)
    with watching(root) as faults, house(root, chance=1) as office:
        told = Told().and_of(office)

        def hook(name: str, when: str) -> None:
            if (name, when) == ("commit tree_head", "before") and not beside.ident:
                beside.start()
                beside.join(0.3)  # it cannot end: this transaction holds the lock

        faults.begin(hook)
        first = digest_only(office, 1)
        beside.join(30)
        assert second == [first + 1]
        enter(office)
        check_house(office, told.and_of(office))


def test_two_instances_take_turns_and_neither_forks(made: Path, tmp_path: Path) -> None:
    root = copied(made, tmp_path / "house")
    with house(root, chance=1) as one, house(root, chance=2) as two:
        told = Told().and_of(one)
        threads = [
            threading.Thread(target=_many, args=(office, start))
            for office, start in ((one, 1_000), (two, 2_000))
        ]
        for thread in threads:
            thread.start()
        with house(root, chance=3) as third:
            third.examine()
        for thread in threads:
            thread.join(60)
        told = told.and_of(one)
        assert len(told.deposits) == 2 + 40
        assert len({index for _, index, _ in told.deposits}) == len(told.deposits)
        check_house(two, told)


def _many(office: Office, start: int) -> None:
    for number in range(start, start + 20):
        digest_only(office, number)


def test_an_instance_that_dies_in_its_transaction_holds_up_no_other(
    made: Path, tmp_path: Path
) -> None:
    root = copied(made, tmp_path / "house")
    child = os.fork()
    if child == 0:
        with watching(root) as faults, house(root, chance=1) as office:
            faults.begin(exits("commit tree_head", "before"))
            ACTS["deposit"].run(office)
        os._exit(0)
    with house(root, chance=2) as other:
        told = Told().and_of(other)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        enter(other)
        check_house(other, told)


def test_an_instance_with_an_old_copy_of_the_database_refuses(made: Path, tmp_path: Path) -> None:
    root, old = copied(made, tmp_path / "house"), copied(made, tmp_path / "old")
    with house(root) as office:
        enter(office)
        office.publish()
    for path in (root / "house").glob("notary.db*"):
        path.unlink()
    shutil.copy(old / "house" / "notary.db", root / "house" / "notary.db")
    with house(root) as office, pytest.raises(Rollback):
        office.examine()


# --- the clock ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def at_noon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house whose clock a test sets."""
    root = tmp_path_factory.mktemp("clock") / "made"
    make_house(root, clock=SetClock())
    return root


@pytest.mark.parametrize(
    "back_s",
    [
        pytest.param(1, id="second", marks=pytest.mark.slow),
        pytest.param(3_600, id="hour"),
        pytest.param(YEARS_10, id="decade", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", ["deposit", "digest", "event", "batch", "stamp", "certificate"])
def test_a_clock_that_goes_back_stops_what_it_must_and_no_more(
    at_noon: Path, tmp_path: Path, name: str, back_s: int
) -> None:
    root = copied(at_noon, tmp_path / "house")
    act, clock = ACTS[name], SetClock()
    office = Office(Settings(home=root / "house"), clock=clock)
    enter(office)
    told = Told().and_of(office)
    signed_at = office.ledger.head().signed_at
    clock.pass_(seconds=-back_s)
    try:
        act.run(office)
        assert back_s == 1 or name == "stamp"  # whose own failure is noted, not raised
    except Unreachable as exc:
        assert exc.code == "clock_behind"
        assert back_s > 1
    assert office.ledger.head().signed_at == signed_at  # time never ran backwards
    office.examine()
    clock.pass_(seconds=back_s + 120)
    act.run(office)
    act.held(office)
    check_house(office, told)
    office.close()


def test_a_clock_that_went_far_ahead_and_came_back_stops_writing_and_nothing_else(
    at_noon: Path, tmp_path: Path
) -> None:
    root = copied(at_noon, tmp_path / "house")
    clock = SetClock()
    office = Office(Settings(home=root / "house"), clock=clock)
    clock.pass_(seconds=YEARS_10)
    enter(office)
    told = Told().and_of(office)
    clock.pass_(seconds=-YEARS_10)
    office.close()
    office = Office(Settings(home=root / "house"), clock=clock)
    for name in ("deposit", "event", "batch"):
        with pytest.raises(Unreachable) as refused:
            ACTS[name].run(office)
        assert refused.value.code == "clock_behind"
    clock.pass_(days=1)
    check_house(office, told)
    office.close()


# --- no room ------------------------------------------------------------------------------------


def test_a_database_without_room_says_so_and_goes_on_when_there_is_some(
    made: Path, tmp_path: Path
) -> None:
    """SQLite's own word for it, at whatever statement needs a page."""
    root = copied(made, tmp_path / "house")
    with house(root, chance=1) as office:
        _limit(office, pages=1)
        told, refused = Told().and_of(office), 0
        for number in range(200):
            try:
                digest_only(office, number)
                told = told.and_of(office)
            except Unreachable as exc:
                assert "full" in str(exc)
                refused += 1
                if refused == 3:
                    break
        assert refused == 3
        with pytest.raises(NotaryError):
            ACTS["batch"].run(office)
        _limit(office, pages=1 << 30)
        for name in ("deposit", "batch", "certificate"):
            ACTS[name].run(office)
            ACTS[name].held(office)
        check_house(office, told)


def _limit(office: Office, *, pages: int) -> None:
    """No fewer than there are already: SQLite sees to that."""
    with office.database.writing() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """One mebibyte. Skips where this user may not mount a file system."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system here")
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_of_originals_turns_away_what_does_not_fit_and_keeps_the_rest(
    made: Path, tmp_path: Path
) -> None:
    root = copied(made, tmp_path / "house")
    with small_disk(tmp_path / "disk") as disk:
        shutil.copytree(root / "house" / "objects", disk / "objects")
        shutil.rmtree(root / "house" / "objects")
        (root / "house" / "objects").symlink_to(disk / "objects")
        objects = (disk / "objects").as_uri()
        with house(root, chance=1, objects=objects) as office:
            told = Told().and_of(office)
            for _ in range(2):
                with pytest.raises(Unreachable) as refused:
                    deposit(office, os.urandom(2 << 20), Declared(idempotency_key="large"))
                assert refused.value.code == "storage_full"
            deposit(office, b"small", Declared())
            (disk / "more").write_bytes(bytes(1 << 19))
            with pytest.raises(Unreachable):
                deposit(office, os.urandom(3 << 18), Declared(idempotency_key="larger"))
            (disk / "more").unlink()
            deposit(office, os.urandom(3 << 18), Declared(idempotency_key="larger"))
            check_house(office, told.and_of(office))


# --- evidence of a contradiction ----------------------------------------------------------------


def went_back(root: Path, office: Office) -> None:
    """The database is an older one, under a running house."""
    first = office.ledger.head()
    enter(office)
    with sqlite3.connect(root / "house" / "notary.db") as rows:
        rows.execute(
            "UPDATE tree_head SET size = ?, root = ?, checkpoint = ?",
            (first.size, first.root, first.checkpoint),
        )
    rows.close()


EVIDENCE = tuple(
    f"home: {step}" for step in ("create", "write", "fsync file", "link", "unlink", "fsync folder")
)


@pytest.mark.parametrize("write", EVIDENCE)
def test_evidence_that_cannot_be_kept_stops_the_process_all_the_same(
    made: Path, tmp_path: Path, write: str
) -> None:
    root = copied(made, tmp_path / "house")
    with watching(root) as faults, house(root, chance=1) as office:
        went_back(root, office)
        faults.begin(fails(write, "refused"))
        with pytest.raises(Rollback):
            enter(office)
        size = office.ledger.head().size
        for _ in range(2):
            with pytest.raises(IntegrityError) as stopped:
                enter(office)
            assert stopped.value.code == "halted"
        assert office.ledger.head().size == size  # reading goes on


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["before", "after", "power", "torn"])
@pytest.mark.parametrize("write", EVIDENCE)
def test_evidence_is_whole_or_not_there_after_a_crash(
    made: Path, tmp_path: Path, write: str, kind: str
) -> None:
    root, left = copied(made, tmp_path / "house"), tmp_path / "left"
    with watching(root) as faults, house(root, chance=1) as office:
        went_back(root, office)
        faults.begin(dies(faults, write, kind, left))
        with pytest.raises(Rollback):
            enter(office)
    evidence = left / "house" / "halted.json"
    if evidence.exists():
        assert json.loads(evidence.read_text())["code"] == "rollback"
        with house(left) as office, pytest.raises(IntegrityError):
            enter(office)
