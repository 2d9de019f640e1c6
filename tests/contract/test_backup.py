"""A house from its backup: the same rows and certificates, and nothing of the journal lost."""

from __future__ import annotations

import json
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

import notary.rebuild
from notary.backup import Made, backup
from notary.backup_format import MANIFEST, SIGNATURE
from notary.errors import Corrupt, Fork, KeyMissing, MalformedInput, NotaryError, Rollback
from notary.findings import Depth
from notary.fsck import fsck
from notary.journal_tables import CHANGE
from notary.model import Declared
from notary.office import Office
from notary.rebuild import rebuild
from notary.replay import SERIALS_SKIPPED
from notary.restore import Restored, restore
from notary.settings import Settings
from storage.database import Database
from tests.harness.certified import deposit, depositor, open_house
from tests.harness.postgres import shared_postgres
from tests.harness.restoring import PASSWORD, Busy, certify, live, rows_of
from tests.harness.rotating import EVERY
from tests.harness.watching import Killed

pytestmark = pytest.mark.slow

SERIAL = "embedded_authority"
KINDS = ("sqlite", "postgresql")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """URLs of new, empty databases."""
    with ExitStack() as held:

        def make(kind: str) -> str:
            if kind == "sqlite":
                return f"sqlite:///{tmp_path / f'new-{len(list(tmp_path.iterdir()))}.db'}"
            return held.enter_context(shared_postgres().database())

        yield make


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def house(kind: str, fresh: Callable[[str], str], tmp_path: Path) -> Iterator[Office]:
    opened = open_house(tmp_path / "home", database=fresh(kind))
    yield opened
    opened.close()


def again(house: Office, url: str) -> Settings:
    """The same home and storage, and another database."""
    return replace(house.settings, database=url)


def opened(settings: Settings) -> Office:
    office = Office(settings)
    office.examine()
    return office


def faults(house: Office) -> list[str]:
    found = fsck(
        database=house.database,
        objects=house.objects,
        trust=house.trust,
        strays_before=house.clock.now(),
        depth=Depth.ORIGINALS,
    )
    return [f"{fault.name}: {fault.detail}" for fault in found.faults]


def notes(house: Office) -> int:
    with house.database.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(CHANGE)).scalar_one()


# --- the same house -----------------------------------------------------------------------------


@pytest.mark.parametrize(("into", "name"), [("sqlite", "backup"), ("postgresql", "backup.tar")])
def test_every_row_and_certificate_comes_back_in_either_database(
    house: Office, fresh: Callable[[str], str], tmp_path: Path, into: str, name: str
) -> None:
    busy = live(house)
    rows = rows_of(house)
    made = backup(house, tmp_path / name)
    assert made.manifest.size == house.ledger.head().size
    house.close()
    settings = again(house, fresh(into))
    assert restore(settings, tmp_path / name).written == ()
    restored = opened(settings)
    found = rows_of(restored)
    ((_, serial, at),) = rows.pop(SERIAL)
    assert found.pop(SERIAL) == [(1, serial + SERIALS_SKIPPED, at)]
    assert found == rows
    check_alive(restored, busy)
    restored.close()


def check_alive(house: Office, busy: Busy) -> None:
    for id_, papers in busy.certificates.items():
        assert certify(house, house.register.deposit(id_), busy.by) == papers
    assert faults(house) == []
    house.accounts.by_password("agency", PASSWORD)
    again_ = deposit(house, busy.by, b"an original", busy.declared)
    assert again_.deposit == busy.receipt.deposit
    deposit(house, busy.by, b"afterwards", Declared())
    assert house.journal.run().covered is not None
    assert faults(house) == []


def test_what_came_after_the_backup_comes_back_from_the_journal(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    busy = live(house)
    made = backup(house, tmp_path / "backup")
    later = deposit(house, busy.by, b"later", Declared(idempotency_key="later"))
    house.rotating.rotate(EVERY)
    account, _ = house.people.create_account("operator", "newcomer", busy.by.role)
    house.people.disable("operator", house.accounts.get(busy.by.account_id))
    house.publish(house.journal.run().covered)
    rows, head = rows_of(house), house.ledger.head()
    house.close()
    settings = again(house, fresh("sqlite"))
    done = restore(settings, made.path)
    assert done.rebuilt.segments > 0
    assert not done.rebuilt.resigned
    restored = opened(settings)
    assert restored.ledger.head() == head
    rows.pop(SERIAL)
    found = rows_of(restored)
    found.pop(SERIAL)
    assert found == rows
    assert restored.register.deposit(later.deposit.id) == later.deposit
    assert restored.accounts.get(account.id).name == "newcomer"
    assert faults(restored) == []
    restored.close()


def test_backup_under_load_holds_one_moment_and_all_that_was_answered_comes_back(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    by = depositor(house)
    stop = threading.Event()

    def write(name: str) -> list[str]:
        ids: list[str] = []
        while not stop.is_set():
            declared = Declared(client_reference=f"{name}-{len(ids)}")
            ids.append(deposit(house, by, f"{name} {len(ids)}".encode(), declared).deposit.id)
        return ids

    def journal() -> int:
        count = 0
        while not stop.is_set():
            count += house.journal.run().segments
        return count

    made: list[Made] = []
    with ThreadPoolExecutor(4) as threads:
        writers = [threads.submit(write, name) for name in ("a", "b", "c")]
        journals = threads.submit(journal)
        for number in range(4):
            stop.wait(0.3)
            made.append(backup(house, tmp_path / f"backup-{number}"))
        stop.wait(0.3)
        stop.set()
        answered = [id_ for writer in writers for id_ in writer.result()]
        assert journals.result() > 0
    house.publish(house.journal.run().covered)
    head = house.ledger.head()
    rows = rows_of(house)
    rows.pop(SERIAL)
    house.close()
    for each in made:
        settings = again(house, fresh("sqlite"))
        restore(settings, each.path)
        restored = opened(settings)
        assert restored.ledger.head() == head
        found = rows_of(restored)
        found.pop(SERIAL)
        assert found == rows
        for id_ in answered:
            restored.register.deposit(id_)
        assert faults(restored) == []
        restored.close()


def test_entries_that_only_the_backup_has_are_there_and_go_into_the_journal(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    """The journal's storage failed since: the backup is ahead of it."""
    by = depositor(house)
    house.journal.run()
    receipt = deposit(house, by, b"not in the journal", Declared())
    made = backup(house, tmp_path / "backup")
    house.close()
    settings = again(house, fresh("sqlite"))
    restore(settings, made.path)
    restored = opened(settings)
    assert restored.register.deposit(receipt.deposit.id) == receipt.deposit
    assert restored.journal.run().segments > 0
    assert restored.journal.lag().entries == 0
    before = rows_of(restored)
    restored.close()
    last = again(house, fresh("sqlite"))
    rebuild(last, mirror=None)
    rebuilt = opened(last)
    found = rows_of(rebuilt)
    for each in (before, found):
        each.pop(SERIAL)
    assert found == before
    rebuilt.close()


def test_change_that_was_noted_and_not_written_is_still_noted(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    by = depositor(house)
    house.journal.run()
    house.journal.stage()
    house.people.create_account("operator", "noted", by.role)
    with house.database.reading() as connection:
        assert connection.execute(sa.select(CHANGE)).first() is not None
    made = backup(house, tmp_path / "backup")
    house.close()
    settings = again(house, fresh("sqlite"))
    restore(settings, made.path)
    restored = opened(settings)
    restored.journal.run()
    assert notes(restored) == 0
    restored.close()
    last = again(house, fresh("sqlite"))
    rebuild(last, mirror=None)
    rebuilt = opened(last)
    assert rebuilt.accounts.get_by_name("noted").role is by.role
    rebuilt.close()


# --- homes and keys -----------------------------------------------------------------------------


def test_lost_home_comes_back_where_the_backup_has_the_keys(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    busy = live(house)
    made = backup(house, tmp_path / "backup.tar", with_keys=True)
    assert made.keys
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    house.close()
    objects = tmp_path / "objects"
    shutil.move(house.settings.home / "objects", objects)
    shutil.rmtree(house.settings.home)
    settings = replace(again(house, fresh("sqlite")), objects=objects.as_uri())
    done = restore(settings, made.path)
    keys = list((settings.home / "keys").iterdir())
    assert len(keys) == len(made.keys)
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert any(path.endswith("published.checkpoint") for path in done.written)
    restored = opened(settings)
    check_alive(restored, busy)
    restored.close()


def test_backup_holds_no_private_key_unless_it_was_asked_to(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    made = backup(house, tmp_path / "backup")
    assert made.keys == ()
    held = b"".join(path.read_bytes() for path in made.path.rglob("*") if path.is_file())
    assert b"PRIVATE KEY" not in held
    house.close()
    shutil.rmtree(house.settings.home / "keys")
    settings = again(house, fresh("sqlite"))
    with pytest.raises(KeyMissing, match="cannot sign"):
        restore(settings, made.path)
    assert not Database(settings.database_url).has_tables()


def test_home_of_another_house_is_not_mixed_with_the_backup(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    made = backup(house, tmp_path / "backup", with_keys=True)
    other = open_house(tmp_path / "other")
    other.close()
    settings = Settings(home=tmp_path / "other", database=fresh("sqlite"))
    with pytest.raises(MalformedInput) as refused:
        restore(settings, made.path)
    assert refused.value.code == "house_exists"
    assert not Database(settings.database_url).has_tables()


# --- refusals -----------------------------------------------------------------------------------


def test_house_that_stands_is_never_written_over(house: Office, tmp_path: Path) -> None:
    made = backup(house, tmp_path / "backup")
    depositor(house)
    rows = rows_of(house)
    with pytest.raises(MalformedInput, match="nothing is ever written over") as refused:
        restore(house.settings, made.path)
    assert refused.value.code == "house_exists"
    assert rows_of(house) == rows


def test_backup_is_never_written_over(house: Office, tmp_path: Path) -> None:
    for name in ("backup", "backup.tar"):
        backup(house, tmp_path / name)
        with pytest.raises(MalformedInput) as refused:
            backup(house, tmp_path / name)
        assert refused.value.code == "backup_exists"
    assert not list(tmp_path.glob("*.partial*"))


def test_flipped_byte_is_found_and_its_file_named(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    live(house)
    made = backup(house, tmp_path / "backup")
    random = Random(7)
    settings = again(house, fresh("sqlite"))
    for part in made.manifest.parts:
        if part.size == 0:
            continue
        path = made.path / part.path
        whole = path.read_bytes()
        at = random.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(Corrupt, match=part.path) as found:
            restore(settings, made.path)
        assert found.value.name == part.path
        path.unlink()
        with pytest.raises((Corrupt, MalformedInput), match=f"{part.path} is missing"):
            restore(settings, made.path)
        path.write_bytes(whole)
    assert not Database(settings.database_url).has_tables()
    restore(settings, made.path)


def test_manifest_that_was_changed_is_refused(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    made = backup(house, tmp_path / "backup")
    settings = again(house, fresh("sqlite"))
    path = made.path / MANIFEST
    whole = path.read_bytes()
    said = json.loads(whole)
    for change in (
        {"size": said["size"] - 1},
        {"parts": [each for each in said["parts"] if each["path"] != "rows/account"]},
        {"origin": "another.example/log"},
    ):
        path.write_text(json.dumps(said | change))
        with pytest.raises(Corrupt, match="no statement key"):
            restore(settings, made.path)
    for at in Random(3).sample(range(len(whole)), 40):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises((Corrupt, MalformedInput)):
            restore(settings, made.path)
    path.write_bytes(whole)
    (made.path / SIGNATURE).write_bytes(bytes(64))
    with pytest.raises(Corrupt, match="no statement key"):
        restore(settings, made.path)
    assert not Database(settings.database_url).has_tables()


def test_what_is_no_backup_is_told(house: Office, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tar").write_bytes(b"not a tar" * 200)
    settings = again(house, f"sqlite:///{tmp_path / 'new.db'}")
    for name in ("empty", "text.tar", "absent"):
        with pytest.raises(MalformedInput) as refused:
            restore(settings, tmp_path / name)
        assert refused.value.code == "backup_malformed"


def test_backup_older_than_what_was_published_is_a_rollback(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    by = depositor(house)
    house.journal.run()
    made = backup(house, tmp_path / "backup")
    deposit(house, by, b"shown outside, and in no journal", Declared())
    house.publish()
    house.close()
    settings = again(house, fresh("sqlite"))
    with pytest.raises(Rollback, match="second history"):
        restore(settings, made.path)
    assert not Database(settings.database_url).has_tables()


def test_house_that_went_on_elsewhere_is_a_fork(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    """The journal was rebuilt from before the backup, and entries were made since."""
    by = depositor(house)
    house.journal.run()
    deposit(house, by, b"in the backup alone", Declared())
    house.journal.stage()
    made = backup(house, tmp_path / "backup")
    house.close()
    elsewhere = again(house, fresh("sqlite"))
    rebuild(elsewhere, mirror=None)
    other = opened(elsewhere)
    for number in range(3):
        deposit(other, by, b"elsewhere %d" % number, Declared())
        other.journal.run()
    other.close()
    with pytest.raises((Fork, Corrupt), match=r"histor|elsewhere"):
        restore(again(house, fresh("sqlite")), made.path)


def test_damaged_newer_segment_is_named(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    by = depositor(house)
    made = backup(house, tmp_path / "backup")
    for number in range(3):
        deposit(house, by, b"%d" % number, Declared())
        house.journal.run()
    house.close()
    files = sorted(
        path for path in (house.settings.home / "objects/journal").rglob("*") if path.is_file()
    )
    path = files[-2]
    path.chmod(0o600)
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    with pytest.raises(Corrupt, match=f"journal segment {int(path.name)}"):
        restore(again(house, fresh("sqlite")), made.path)


def test_lost_old_segments_do_not_stop_a_restore_and_are_told(
    house: Office, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    by = depositor(house)
    for number in range(3):
        deposit(house, by, b"%d" % number, Declared())
        house.journal.run()
    made = backup(house, tmp_path / "backup")
    house.close()
    shutil.rmtree(house.settings.home / "objects/journal")
    settings = again(house, fresh("sqlite"))
    done: Restored = restore(settings, made.path)
    assert done.rebuilt.missing > 0
    restored = opened(settings)
    assert restored.ledger.head().size == made.manifest.size
    assert any("journal segment" in fault for fault in faults(restored))
    restored.close()


# --- what a crash leaves ------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["_replay", "_settle", "finish"])
def test_restore_that_was_killed_goes_on(
    house: Office,
    fresh: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    busy = live(house)
    made = backup(house, tmp_path / "backup")
    deposit(house, busy.by, b"later", Declared())
    house.publish(house.journal.run().covered)
    rows = rows_of(house)
    rows.pop(SERIAL)
    house.close()
    settings = again(house, fresh("sqlite"))

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(notary.rebuild, where, die)
        with pytest.raises(Killed):
            restore(settings, made.path)
    with pytest.raises(NotaryError):
        Office(settings)
    restore(settings, made.path)
    restored = opened(settings)
    found = rows_of(restored)
    found.pop(SERIAL)
    assert found == rows
    assert faults(restored) == []
    restored.close()


def test_backup_that_was_killed_is_no_backup(
    house: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("notary.backup._sealed", die)
        with pytest.raises(Killed):
            backup(house, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    settings = again(house, f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(MalformedInput, match=MANIFEST):
        restore(settings, tmp_path / "backup.partial")
    backup(house, tmp_path / "backup")
    restore(settings, tmp_path / "backup")
