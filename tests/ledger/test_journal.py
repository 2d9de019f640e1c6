"""The journal as it is written: what is new, once, in a chain; and what a crash leaves of it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import notary.web  # noqa: F401  # every room that owns tables is then loaded
from notary.clock import SystemClock
from notary.errors import Corrupt, Rollback
from notary.findings import Findings
from notary.fsck import fsck
from notary.jobs import Jobs
from notary.journal import Journal, Written, segment_key, segment_number
from notary.journal_segment import Segment, parse_segment
from notary.journal_tables import CHANGE, WAYS, Way, tables
from notary.model import Declared, EventKind, Principal
from notary.office import Office
from notary.rebuild import rebuild
from notary.sweep import sweep
from storage.database import METADATA
from storage.errors import StoreUnavailable
from storage.local import LocalStore
from storage.objects import Incoming, ObjectStore, StoredObject
from tests.harness.certified import deposit, depositor, open_house
from tests.harness.restoring import live, lose_database, rows_of, segments, stamp
from tests.harness.watching import Killed, SetClock

SERIAL = "embedded_authority"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Office]:
    opened = open_house(tmp_path / "house")
    yield opened
    opened.close()


@pytest.fixture
def by(house: Office) -> Principal:
    return depositor(house)


def read(house: Office) -> list[Segment]:
    return [parse_segment(path.read_bytes()) for path in segments(house.settings.home)]


def rows_in(segment: Segment, table: str) -> list[dict[str, Any]]:
    return [
        dict(zip(block.columns, row, strict=True))
        for block in segment.blocks
        if block.table == table
        for row in block.rows
    ]


def event(house: Office) -> None:
    house.chronicle.record(EventKind.SIGNED_IN, actor="a", subject="a")


# --- which tables ---------------------------------------------------------------------------------


def test_every_table_is_in_the_list_and_nothing_else() -> None:
    """A new table has to say how it survives the database."""
    assert set(METADATA.tables) == set(WAYS)


def test_every_row_that_is_noted_has_a_key_that_can_be_written_down() -> None:
    for table in tables(Way.CHANGED, Way.LEDGER):
        assert list(table.primary_key), table.name
        for column in table.primary_key:
            kinds = sa.Integer | sa.String | sa.LargeBinary
            assert isinstance(column.type, kinds), f"{table.name}.{column.name}"


def test_tables_of_the_ledger_are_read_by_their_index() -> None:
    for table in tables(Way.LEDGER):
        assert [column.name for column in table.primary_key] == ["idx"], table.name


def test_what_is_short_lived_is_in_no_segment(house: Office, by: Principal) -> None:
    house.people.new_link("operator", house.accounts.get(by.account_id))
    house.people.sign_in(house.accounts.get(by.account_id), by="link")
    house.journal.run()
    for segment in read(house):
        assert {block.table for block in segment.blocks}.isdisjoint(
            table.name for table in tables(Way.LOST, Way.OWN, Way.DERIVED)
        )


# --- what is new, once ----------------------------------------------------------------------------


def test_each_segment_holds_what_is_new_and_names_the_one_before_it(
    house: Office, by: Principal
) -> None:
    house.journal.run()
    first = house.ledger.head()
    made = deposit(house, by, b"x", Declared(idempotency_key="k"))
    house.journal.run()
    old, new = read(house)
    assert (old.header.first, old.header.end) == (0, first.size)
    assert (new.header.first, new.header.end) == (first.size, first.size + 1)
    assert new.header.previous == old.digest
    assert [row["id"] for row in rows_in(new, "deposit")] == [made.deposit.id]
    assert [row["outcome_id"] for row in rows_in(new, "idempotency")] == [made.deposit.id]
    assert rows_in(new, "account") == []
    assert new.header.head is not None
    assert new.header.head.checkpoint == house.ledger.head().checkpoint


def test_nothing_new_writes_nothing(house: Office) -> None:
    house.journal.run()
    assert not house.journal.is_due()
    assert house.journal.run() == Written(segments=0, covered=house.ledger.head().checkpoint)
    assert len(segments(house.settings.home)) == 1


def test_a_head_that_was_only_signed_anew_is_new(tmp_path: Path) -> None:
    clock = SetClock()
    settings = open_house(tmp_path / "house").settings
    house = Office(settings, clock=clock)
    clock.moment = SystemClock().now()
    house.journal.run()
    clock.pass_(hours=1)
    assert house.sequencer.refresh(clock.moment - house.ledger.head().signed_at)
    house.journal.run()
    *_, last = read(house)
    assert (last.header.first, last.header.end, last.blocks) == (1, 1, ())
    assert last.header.head is not None
    assert last.header.head.checkpoint == house.ledger.head().checkpoint


def test_a_changed_row_is_written_again_and_a_removed_one_is_said_to_be_gone(
    house: Office, by: Principal
) -> None:
    made = deposit(house, by, b"x", Declared(document_timestamp=True))
    house.journal.run()
    assert len(rows_in(read(house)[-1], "document_timestamp_due")) == 1
    stamp(house)
    house.people.disable("operator", house.accounts.get(by.account_id))
    house.journal.run()
    last = read(house)[-1]
    gone = {block.table: block.gone for block in last.blocks if block.gone}
    assert gone == {"document_timestamp_due": ((made.deposit.id,),)}
    (account,) = rows_in(last, "account")
    assert account["disabled_at"] is not None


def test_rows_of_the_ledger_that_are_changed_later_are_written_again(
    house: Office, by: Principal
) -> None:
    """As disposal will."""
    made = deposit(house, by, b"x", Declared())
    house.journal.run()
    with house.database.writing() as connection:
        connection.execute(sa.text("UPDATE deposit SET disclosures = ''"))
    house.journal.run()
    (row,) = rows_in(read(house)[-1], "deposit")
    assert (row["id"], row["disclosures"]) == (made.deposit.id, "")
    lose_database(house)
    rebuild(house.settings, mirror=None)
    assert Office(house.settings).register.deposit(made.deposit.id).disclosures == ()


def test_many_entries_and_many_changes_are_cut_into_segments(
    house: Office, by: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ENTRIES", 8), ("CHUNK", 4), ("CHANGES", 6), ("SLICE", 2)):
        monkeypatch.setattr(f"notary.journal_rows.{name}", value)
    for number in range(30):
        deposit(house, by, b"%d" % number, Declared(idempotency_key=str(number)))
    rows = rows_of(house)
    assert house.journal.run().covered == house.ledger.head().checkpoint
    written = read(house)
    assert len(written) > 8
    assert all(each.header.end - each.header.first <= 8 for each in written)
    for each in written:
        # No row about an entry that this journal, cut off here, would not have.
        if each.header.head is None:
            assert {block.table for block in each.blocks} <= {
                table.name for table in tables(Way.LEDGER)
            }
    lose_database(house)
    rebuild(house.settings, mirror=None)
    assert rows_of(Office(house.settings), SERIAL) == {
        name: found for name, found in rows.items() if name != SERIAL
    }


def test_a_segment_ends_where_it_has_become_large(
    house: Office, by: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notary.journal_rows.BYTES", 1)
    monkeypatch.setattr("notary.journal_rows.CHUNK", 2)
    for number in range(10):
        deposit(house, by, b"%d" % number, Declared())
    house.journal.run()
    assert max(each.header.end - each.header.first for each in read(house)) == 2
    assert not house.journal.is_due()


def test_a_change_made_while_a_segment_is_written_is_in_the_next(tmp_path: Path) -> None:
    """After the snapshot was read, before its notes are taken away."""
    house = open_house(tmp_path / "house")
    by = depositor(house)
    account = house.accounts.get(by.account_id)

    class Meanwhile(SystemClock):
        disabled = False

        def now(self) -> Any:
            if not self.disabled:
                self.disabled = True
                house.people.disable("operator", account)
            return super().now()

    journal = journal_of(house, clock=Meanwhile())
    journal.run()
    journal.run()
    first, second = read(house)
    assert {row["disabled_at"] for row in rows_in(first, "account")} == {None}
    (row,) = rows_in(second, "account")
    assert row["disabled_at"] is not None
    house.close()


def test_the_worker_writes_it_at_its_end_and_publishes_what_it_covers(tmp_path: Path) -> None:
    """Also where its pulse would not have come for an hour."""
    house = open_house(tmp_path / "house", journal_interval=3600.0)
    jobs = Jobs(house, tmp_path)
    worker = threading.Thread(target=jobs.run)
    worker.start()
    event(house)
    jobs.stop()
    worker.join()
    assert house.journal.lag().entries == 0
    shown = (house.settings.home / "published.checkpoint").read_bytes()
    assert shown == house.ledger.head().checkpoint
    house.close()


def test_while_storage_is_away_the_newest_checkpoint_is_published_all_the_same(
    house: Office, tmp_path: Path
) -> None:
    event(house)
    objects = house.settings.home / "objects"
    objects.rename(tmp_path / "away")
    jobs = Jobs(house, tmp_path)
    jobs.write_journal()
    shown = (house.settings.home / "published.checkpoint").read_bytes()
    assert shown == house.ledger.head().checkpoint
    assert house.journal.lag().entries == 2


# --- crashes --------------------------------------------------------------------------------------


def journal_of(
    house: Office, *, objects: ObjectStore | None = None, clock: SystemClock | None = None
) -> Journal:
    return Journal(
        database=house.database,
        objects=objects or house.objects,
        origin=house.house.origin,
        sign=house.keys.statement.sign,
        clock=clock or SystemClock(),
    )


class Dying(LocalStore):
    """Dies, or fails, before a commit or right after it."""

    def __init__(self, root: str, *, error: BaseException, after: bool) -> None:
        super().__init__(root)
        self._error, self._after = error, after

    def begin(self, key: str) -> Any:
        return _DyingIncoming(super().begin(key), self._error, after=self._after)


class _DyingIncoming:
    def __init__(self, incoming: Incoming, error: BaseException, *, after: bool) -> None:
        self._incoming, self._error, self._after = incoming, error, after

    def write(self, chunk: bytes) -> None:
        self._incoming.write(chunk)

    def commit(self) -> StoredObject:
        if self._after:
            self._incoming.commit()
        raise self._error

    def __enter__(self) -> _DyingIncoming:
        return self

    def __exit__(self, *_: object) -> None:
        self._incoming.abort()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [Killed(), StoreUnavailable("away")])
def test_a_crash_around_the_commit_writes_the_same_segment_again_or_finds_it(
    house: Office, by: Principal, error: BaseException, after: bool
) -> None:
    home = house.settings.home
    dying = Dying(str(home / "objects"), error=error, after=after)
    with pytest.raises(type(error)):
        journal_of(house, objects=dying).run()
    there = [path.read_bytes() for path in segments(home)]
    assert len(there) == (1 if after else 0)
    lag = house.journal.lag()
    assert lag.entries == house.ledger.head().size, "not kept until it is known to be"
    deposit(house, by, b"meanwhile", Declared())
    house.journal.run()
    assert [path.read_bytes() for path in segments(home)][: len(there)] == there
    assert house.journal.lag().entries == 0
    first, second = read(house)
    assert second.header.previous == first.digest
    assert faults(house) == {}


def test_a_crash_before_the_segment_is_noted_leaves_nothing(house: Office, by: Principal) -> None:
    class Dies(SystemClock):
        def now(self) -> Any:
            raise Killed

    with pytest.raises(Killed):
        journal_of(house, clock=Dies()).run()
    assert segments(house.settings.home) == []
    house.journal.run()
    assert [each.header.number for each in read(house)] == [0]


def test_other_bytes_under_a_segments_name_are_named_and_nothing_more_is_written(
    house: Office, by: Principal
) -> None:
    with house.objects.begin(segment_key(0)) as incoming:
        incoming.write(b"somebody else's")
        incoming.commit()
    with pytest.raises(Corrupt, match=r"journal segment 0 is to have sha-256 \w{64}, but .*\w{64}"):
        house.journal.run()
    deposit(house, by, b"deposits go on", Declared())
    with pytest.raises(Corrupt):
        house.journal.run()
    assert len(segments(house.settings.home)) == 1


def test_two_workers_write_one_chain(house: Office, by: Principal) -> None:
    other = Office(house.settings)
    done = threading.Event()

    def work(each: Office) -> None:
        while not done.is_set():
            each.journal.run()

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(work, each) for each in (house, other)]
        for number in range(60):
            deposit(house, by, b"%d" % number, Declared(idempotency_key=str(number)))
        done.set()
        for each in working:
            each.result()
    house.journal.run()
    other.close()
    rows = rows_of(house, SERIAL)
    assert faults(house) == {}
    with house.database.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(CHANGE)).scalar() == 0
    lose_database(house)
    rebuild(house.settings, mirror=None)
    assert rows_of(Office(house.settings), SERIAL) == rows


def test_a_database_older_than_its_journal_is_refused_on_start(house: Office) -> None:
    """Also where the published checkpoint was put back with it, or is gone."""
    house.journal.run()
    house.examine()
    database = house.settings.home / "notary.db"
    backup(database, database.with_name("old.db"))
    event(house)
    house.journal.run()
    house.examine()
    lose_database(house)
    shutil.copy(database.with_name("old.db"), database)
    with pytest.raises(Rollback, match="notary rebuild"):
        Office(house.settings).examine()


def backup(source: Path, target: Path) -> None:
    """As docs/operating.md says."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


# --- keys, sweep, fsck ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 7, 999, 1_000, 123_456_789])
def test_a_segment_is_found_by_its_number(number: int) -> None:
    assert segment_number(segment_key(number)) == number


@pytest.mark.parametrize(
    "key", ["journal/000000/1", "journal/000001/000000000", "originals/00/x", "journal/x", ""]
)
def test_other_keys_are_no_segments(key: str) -> None:
    assert segment_number(key) is None


def test_the_sweep_leaves_the_journal_alone(house: Office) -> None:
    house.journal.run()
    assert sweep(house.register, house.objects, house.clock.now()).orphans == ()
    assert len(segments(house.settings.home)) == 1


def check(house: Office) -> Findings:
    return fsck(
        database=house.database,
        objects=house.objects,
        trust=house.trust,
        strays_before=house.clock.now(),
    )


def faults(house: Office) -> dict[str, str]:
    return {fault.name: fault.detail for fault in check(house).faults}


@pytest.fixture
def written(house: Office, by: Principal) -> list[Path]:
    for number in range(4):
        deposit(house, by, b"%d" % number, Declared())
        house.journal.run()
    return segments(house.settings.home)


def test_fsck_counts_segments_and_tells_the_lag(house: Office, written: list[Path]) -> None:
    event(house)
    event(house)
    findings = check(house)
    assert (findings.faults, findings.segments, findings.journal_lag) == ([], 4, 2)


@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_fsck_names_a_changed_segment_and_no_other(
    house: Office, written: list[Path], which: int
) -> None:
    for at in (0, 40, 150, written[which].stat().st_size - 1):
        spoil(written[which], at)
        assert set(faults(house)) == {f"journal segment {which}"}
        spoil(written[which], at)
    assert faults(house) == {}


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    os.chmod(path, 0o600)
    path.write_bytes(data)


@pytest.mark.parametrize("which", [0, 2, 3])
def test_fsck_names_a_missing_segment(house: Office, written: list[Path], which: int) -> None:
    written[which].unlink()
    assert list(faults(house)) == [f"journal segment {which}"]
    assert "is missing" in faults(house)[f"journal segment {which}"]


def test_fsck_names_an_extra_segment_and_a_stranger(house: Office, written: list[Path]) -> None:
    shutil.copy(written[0], written[0].parent / "000000009")
    shutil.copy(written[0], written[0].parent / "note")
    assert set(faults(house)) == {"journal segment 9", "object journal/000000/note"}


def test_fsck_names_a_segment_of_another_log(
    house: Office, written: list[Path], tmp_path: Path
) -> None:
    other = open_house(tmp_path / "other")
    other.journal.run()
    os.chmod(written[2], 0o600)
    shutil.copy(segments(other.settings.home)[0], written[2])
    said = faults(house)
    assert list(said) == ["journal segment 2"]
    assert other.house.origin in said["journal segment 2"]


def test_a_journal_that_is_gone_altogether_is_not_named_for_ever(
    house: Office, written: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notary.fsck_journal.MOST_FAULTS", 2)
    shutil.rmtree(house.settings.home / "objects/journal")
    assert len(faults(house)) == 2


# --- what is shown --------------------------------------------------------------------------------


def test_the_lag_is_counted_from_the_oldest_entry_that_is_not_kept(
    house: Office, by: Principal
) -> None:
    house.journal.run()
    assert (house.journal.lag().entries, house.journal.lag().since) == (0, None)
    first = deposit(house, by, b"x", Declared())
    event(house)
    lag = house.journal.lag()
    assert (lag.entries, lag.since) == (2, first.deposit.registered_at)


def test_what_was_done_is_in_the_journal_of_a_busy_house(house: Office) -> None:
    live(house)
    house.journal.run()
    seen = {block.table for segment in read(house) for block in segment.blocks}
    assert seen >= {table.name for table in tables(Way.LEDGER)}
    assert seen >= {table.name for table in tables(Way.CHANGED)} - {"document_timestamp_due"}
