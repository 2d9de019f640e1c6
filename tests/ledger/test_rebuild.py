"""The drill: the database dies, and is made again from object storage, tiles and keys alone."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import notary.rebuild
from notary.digest import SHA256
from notary.errors import (
    Conflict,
    Corrupt,
    Fork,
    IntegrityError,
    MalformedInput,
    Rollback,
    Unverifiable,
)
from notary.findings import Depth
from notary.fsck import fsck
from notary.journal import segment_key
from notary.mirror import copy
from notary.model import Declared
from notary.office import Office, found
from notary.rebuild import Rebuilt, rebuild
from notary.replay import SERIALS_SKIPPED
from notary.settings import Settings
from notary.signed_head import Contradiction
from notary.tlog import merkle
from notary.verdict import Document, Verdict
from notary.verify import verify
from storage.errors import StorageError
from tests.harness.certified import deposit, open_house
from tests.harness.restoring import (
    PASSWORD,
    Busy,
    Rows,
    batch_lines,
    certify,
    live,
    lose_database,
    rows_of,
    segments,
    stamp,
)
from tests.harness.watching import Killed, OfficeSource, identity

SERIAL = "embedded_authority"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Busy, Rows]:
    """A house in a folder, what was done in it, and its rows. Its journal has all of it, in
    several segments."""
    home = tmp_path_factory.mktemp("made") / "house"
    house = open_house(home)
    house.journal.run()
    busy = live(house)
    house.journal.run()
    deposit(house, busy.by, b"later", Declared(document_timestamp=True))
    house.publish(house.journal.run().covered)
    rows = rows_of(house)
    house.close()
    return home, busy, rows


@pytest.fixture
def lost(made: tuple[Path, Busy, Rows], tmp_path: Path) -> Settings:
    """A copy of it without its database."""
    shutil.copytree(made[0], tmp_path / "house")
    for path in (tmp_path / "house").glob("notary.db*"):
        path.unlink()
    return Settings(home=tmp_path / "house")


def rebuilt(settings: Settings, mirror: Path | None = None) -> Office:
    rebuild(settings, mirror=mirror)
    house = Office(settings)
    house.examine()
    return house


def faults(house: Office, depth: Depth = Depth.ORIGINALS) -> list[str]:
    found_ = fsck(
        database=house.database,
        objects=house.objects,
        trust=house.trust,
        strays_before=house.clock.now(),
        depth=depth,
    )
    return [f"{fault.name}: {fault.detail}" for fault in found_.faults]


# --- the same house -----------------------------------------------------------------------------


def test_every_row_of_every_table_comes_back(made: tuple[Path, Busy, Rows], lost: Settings) -> None:
    rows = dict(made[2])
    house = rebuilt(lost)
    assert all(rows.values()), "a table that nothing tried"
    again = rows_of(house)
    ((_, serial, at),) = rows.pop(SERIAL)
    assert again.pop(SERIAL) == [(1, serial + SERIALS_SKIPPED, at)]
    assert again == rows
    assert faults(house) == []


def test_the_head_is_the_signed_one_byte_for_byte(
    made: tuple[Path, Busy, Rows], lost: Settings
) -> None:
    home, _, _ = made
    old = Office(Settings(home=home)).ledger.head()
    made_again = rebuild(lost, mirror=None)
    assert Office(lost).ledger.head() == old
    assert (made_again.size, made_again.root) == (old.size, old.root)
    assert (made_again.checkpoint, made_again.resigned) == (old.checkpoint, False)


def test_certificates_come_out_as_they_were_given_out(
    made: tuple[Path, Busy, Rows], lost: Settings
) -> None:
    _, busy, _ = made
    house = rebuilt(lost)
    for deposit_id, (json, pdf) in busy.certificates.items():
        assert certify(house, house.register.deposit(deposit_id), busy.by) == (json, pdf)


def test_a_new_certificate_of_an_old_deposit_verifies(
    made: tuple[Path, Busy, Rows], lost: Settings
) -> None:
    _, busy, _ = made
    house = rebuilt(lost)
    later = house.register.deposits(sha256=hashlib.sha256(b"later").hexdigest())[0]
    stamp(house)
    json, _ = certify(house, later, busy.by)
    document = Document(digests={SHA256: later.sha256}, size=5)
    assert verify(json, document, house.trust).verdict is Verdict.CONFIRMED
    assert faults(house) == []


def test_deposits_go_on_at_the_next_index_of_the_same_history(
    made: tuple[Path, Busy, Rows], lost: Settings
) -> None:
    _, busy, _ = made
    house = rebuilt(lost)
    old = house.ledger.head()
    new = deposit(house, busy.by, b"next", Declared())
    assert new.deposit.index == old.size
    merkle.check_consistency(
        old=old.size,
        new=new.head.size,
        old_root=old.root,
        new_root=new.head.root,
        proof=house.ledger.prove_consistency(old.size, new.head.size),
    )


def test_a_repeated_request_gives_the_original_deposit(
    made: tuple[Path, Busy, Rows], lost: Settings
) -> None:
    _, busy, _ = made
    house = rebuilt(lost)
    again = deposit(house, busy.by, b"an original", busy.declared)
    assert (again.deposit, again.fresh) == (busy.receipt.deposit, False)
    with pytest.raises(Conflict):
        deposit(house, busy.by, b"other bytes", busy.declared)
    size = house.ledger.head().size
    repeated = house.batches.receive(
        batch_lines(40), by=busy.by, key="batch-once", atomic=False,
        check_end=lambda _said, _rows: None,
    )  # fmt: skip
    assert not repeated.fresh
    assert house.ledger.head().size == size


def test_keys_and_passwords_still_open_the_door(
    made: tuple[Path, Busy, Rows], lost: Settings
) -> None:
    _, busy, _ = made
    house = rebuilt(lost)
    who = house.accounts.by_api_key(busy.api_key, house.clock.now())
    assert who.account_id == busy.by.account_id
    assert house.accounts.by_password("agency", PASSWORD).id == busy.by.account_id


def test_the_journal_goes_on_and_serves_for_the_next_time(
    made: tuple[Path, Busy, Rows], lost: Settings
) -> None:
    """What was changed since is in later segments; the second rebuild reads both houses'."""
    _, busy, _ = made
    house = rebuilt(lost)
    before = len(segments(lost.home))
    house.people.disable("operator", house.accounts.get_by_name("agency"))
    stamp(house)
    house.journal.run()
    assert len(segments(lost.home)) > before
    rows = rows_of(house, SERIAL)
    lose_database(house)
    house = rebuilt(lost)
    assert rows_of(house, SERIAL) == rows
    assert house.accounts.get_by_name("agency").disabled
    deposit(house, busy.by, b"and on", Declared())
    assert faults(house) == []


def test_a_serial_number_of_the_embedded_authority_is_never_given_twice(
    made: tuple[Path, Busy, Rows], lost: Settings
) -> None:
    """Tokens may have been given out that the journal never saw."""
    home, _, _ = made
    shutil.copytree(home, lost.home.parent / "old")
    old = Office(Settings(home=lost.home.parent / "old"))
    given = {old.stamps.next_serial(old.clock.now()) for _ in range(10)}
    house = rebuilt(lost)
    assert house.stamps.next_serial(house.clock.now()) not in given


# --- a mirror ahead of the journal ----------------------------------------------------------------


@pytest.fixture
def ahead(lost: Settings, made: tuple[Path, Busy, Rows], tmp_path: Path) -> tuple[Path, Office]:
    """A mirror of the house with 300 entries that its journal has not; and that house."""
    home, busy, _ = made
    shutil.copytree(home, tmp_path / "ahead")
    house = Office(Settings(home=tmp_path / "ahead"))
    for _ in range(2):
        house.batches.receive(
            _fresh_lines(150), by=busy.by, key=None, atomic=False, check_end=lambda _a, _b: None
        )
    copy(OfficeSource(house), tmp_path / "mirror", identity(house))
    return tmp_path / "mirror", house


def _fresh_lines(count: int) -> list[bytes]:
    return [b'{"digests":{"sha-256":"%s"},"size":1}' % os.urandom(32).hex().encode()
            for _ in range(count)]  # fmt: skip


def test_entries_beyond_the_journal_come_from_the_mirror_and_their_records_are_named(
    ahead: tuple[Path, Office], lost: Settings
) -> None:
    mirror, old = ahead
    old.publish()
    shutil.copy(old.settings.home / "published.checkpoint", lost.home)
    made_again = rebuild(lost, mirror=mirror)
    size = old.ledger.head().size
    assert (made_again.journalled, made_again.size) == (size - 300, size)
    house = Office(lost)
    house.examine()
    assert house.ledger.head().checkpoint == old.ledger.head().checkpoint
    assert faults(house, Depth.LEDGER) == []
    assert faults(house, Depth.RECORDS) == [
        f"entry {index}: no deposit, event, policy or outside statement has this index"
        for index in range(size - 300, size)
    ]


def test_a_house_rebuilt_with_a_mirror_can_be_rebuilt_again_without(
    ahead: tuple[Path, Office], lost: Settings
) -> None:
    mirror, old = ahead
    house = rebuilt(lost, mirror)
    house.journal.run()
    rows = rows_of(house, SERIAL)
    lose_database(house)
    assert rows_of(rebuilt(lost), SERIAL) == rows
    assert rows["tree_head"][0][1] == old.ledger.head().size


def test_without_the_mirror_what_was_published_beyond_the_journal_is_a_rollback(
    ahead: tuple[Path, Office], lost: Settings
) -> None:
    _, old = ahead
    old.publish()
    shutil.copy(old.settings.home / "published.checkpoint", lost.home)
    with pytest.raises(Rollback, match="--mirror"):
        rebuild(lost, mirror=None)
    assert not (lost.home / "notary.db").exists()


def test_a_mirror_of_another_history_is_a_fork(
    ahead: tuple[Path, Office], lost: Settings, made: tuple[Path, Busy, Rows]
) -> None:
    """Both were signed by the house's keys: nothing of it may stand."""
    mirror, _ = ahead
    house = rebuilt(lost)
    deposit(house, made[1].by, b"a second history", Declared())
    house.journal.run()
    lose_database(house)
    with pytest.raises(Fork):
        rebuild(lost, mirror=mirror)
    with pytest.raises(Corrupt, match="notary rebuild"):
        Office(lost)


def test_a_mirror_that_is_behind_the_journal_must_be_its_beginning_and_adds_nothing(
    ahead: tuple[Path, Office],
) -> None:
    mirror, old = ahead
    old.journal.run()
    deposit(old, old.accounts.by_api_key(api_key_of(old), old.clock.now()), b"y", Declared())
    old.journal.run()
    settings = old.settings
    lose_database(old)
    made_again = rebuild(settings, mirror=mirror)
    assert made_again.journalled == made_again.size
    assert faults(Office(settings)) == []


def api_key_of(house: Office) -> str:
    account = house.accounts.get_by_name("agency")
    return house.people.create_key("operator", account, label="k", scopes=None, days=1)[1]


def test_a_damaged_mirror_is_named_and_a_sound_one_goes_on_from_there(
    ahead: tuple[Path, Office], lost: Settings, tmp_path: Path
) -> None:
    mirror, old = ahead
    shutil.copytree(mirror, tmp_path / "sound")
    bundle = sorted((mirror / "tile/entries").rglob("*"))[-1]
    flip(bundle, bundle.stat().st_size - 1)
    with pytest.raises(Contradiction) as caught:
        rebuild(lost, mirror=mirror)
    assert caught.value.name == bundle.relative_to(mirror).as_posix()
    with pytest.raises(Corrupt, match="notary rebuild"):
        Office(lost)
    rebuild(lost, mirror=tmp_path / "sound")
    assert Office(lost).ledger.head().checkpoint == old.ledger.head().checkpoint


def test_the_mirror_of_another_log_is_refused(lost: Settings, tmp_path: Path) -> None:
    other = open_house(tmp_path / "other")
    copy(OfficeSource(other), tmp_path / "mirror", identity(other))
    with pytest.raises(Unverifiable):
        rebuild(lost, mirror=tmp_path / "mirror")
    assert not (lost.home / "notary.db").exists()


# --- damage ---------------------------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    os.chmod(path, 0o600)
    path.write_bytes(data)


def refused(settings: Settings, error: type[Exception] = Corrupt) -> str:
    with pytest.raises(error) as caught:
        rebuild(settings, mirror=None)
    assert not (settings.home / "notary.db").exists()
    return str(caught.value)


def test_several_segments_are_there_to_be_spoilt(lost: Settings) -> None:
    assert len(segments(lost.home)) >= 3


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_flipped_byte_anywhere_in_a_segment_is_named(lost: Settings, which: int) -> None:
    path = segments(lost.home)[which]
    size = path.stat().st_size
    for at in (0, 30, 120, 200, size // 2, size - 1):
        flip(path, at)
        assert f"journal segment {int(path.name)}" in refused(lost)
        flip(path, at)
    rebuilt(lost)


def test_a_missing_segment_is_named(lost: Settings) -> None:
    segments(lost.home)[1].unlink()
    assert "journal segment 1 is missing" in refused(lost)


def test_the_first_segment_missing_is_named(lost: Settings) -> None:
    segments(lost.home)[0].unlink()
    assert "journal segment 0 is missing" in refused(lost)


def test_an_extra_segment_is_named(lost: Settings) -> None:
    count = len(segments(lost.home))
    shutil.copy(segments(lost.home)[0], lost.home / "objects" / segment_key(count))
    assert f"journal segment {count}" in refused(lost)


def test_segments_that_changed_places_are_named(lost: Settings) -> None:
    first, second = segments(lost.home)[:2]
    kept = first.read_bytes()
    for path in (first, second):
        os.chmod(path, 0o600)
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    said = refused(lost)
    assert "journal segment 0" in said
    assert "journal segment 1" in said


def test_a_segment_of_another_log_is_named(lost: Settings, tmp_path: Path) -> None:
    other = open_house(tmp_path / "other")
    other.journal.run()
    stranger = segments(other.settings.home)[0]
    count = len(segments(lost.home))
    shutil.copy(stranger, lost.home / "objects" / segment_key(count))
    assert f"journal segment {count}" in refused(lost)
    (lost.home / "objects" / segment_key(count)).unlink()
    middle = segments(lost.home)[0]
    os.chmod(middle, 0o600)
    middle.write_bytes(stranger.read_bytes())
    assert "journal segment 0" in refused(lost)


def test_another_houses_keys_are_refused(lost: Settings, tmp_path: Path) -> None:
    other = open_house(tmp_path / "other")
    shutil.rmtree(lost.home / "keys")
    shutil.copytree(other.settings.home / "keys", lost.home / "keys")
    assert "is not the log-ed25519 key that the log registered" in refused(lost, IntegrityError)


def test_without_keys_nothing_is_rebuilt(lost: Settings) -> None:
    shutil.rmtree(lost.home / "keys")
    assert "log-ed25519" in refused(lost, IntegrityError)


def test_without_a_journal_nothing_is_rebuilt(lost: Settings) -> None:
    shutil.rmtree(lost.home / "objects/journal")
    with pytest.raises(MalformedInput, match="no journal") as caught:
        rebuild(lost, mirror=None)
    assert caught.value.code == "no_journal"


def test_a_journal_put_back_to_an_earlier_day_is_a_rollback(lost: Settings) -> None:
    """Its last segments are gone: a sound chain, but less than what was published."""
    segments(lost.home)[-1].unlink()
    assert "published checkpoint" in refused(lost, Rollback)


def test_a_database_that_is_there_is_never_written_to(
    made: tuple[Path, Busy, Rows], lost: Settings
) -> None:
    house = rebuilt(lost)
    rows = rows_of(house)
    with pytest.raises(MalformedInput, match="not empty"):
        rebuild(lost, mirror=None)
    assert rows_of(house) == rows
    found(Settings(home=lost.home.parent / "fresh"))
    with pytest.raises(MalformedInput, match="not empty"):
        rebuild(
            replace(lost, database=f"sqlite:///{lost.home.parent}/fresh/notary.db"), mirror=None
        )


def test_a_new_house_is_not_founded_over_the_journal_of_an_old_one(lost: Settings) -> None:
    """With its keys gone too, it would else look like a first start."""
    for keys in (True, False):
        with pytest.raises(MalformedInput, match="notary rebuild") as caught:
            found(lost)
        assert caught.value.code == "journal_exists"
        assert (lost.home / "keys").exists() is keys
        shutil.rmtree(lost.home / "keys", ignore_errors=True)


# --- killed on the way ----------------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 2])
def test_a_rebuild_that_was_killed_opens_for_nobody_and_goes_on(
    made: tuple[Path, Busy, Rows],
    ahead: tuple[Path, Office],
    lost: Settings,
    monkeypatch: pytest.MonkeyPatch,
    group: int,
) -> None:
    monkeypatch.setattr(notary.rebuild, "GROUP_SEGMENTS", group)
    monkeypatch.setattr(notary.rebuild, "GROUP_BUNDLES", 1)
    steps = 0

    def count(_what: str, _done: int, _of: int) -> None:
        nonlocal steps
        steps += 1

    shutil.copytree(lost.home, lost.home.parent / "whole")
    whole = replace(lost, home=lost.home.parent / "whole")
    rebuild(whole, mirror=ahead[0], progress=count)
    expected = rows_of(Office(whole))
    reading = len(segments(lost.home))
    made_again: Rebuilt | None = None
    for step in range(reading + 1, steps + 1):
        with pytest.raises(Killed):
            rebuild(lost, mirror=ahead[0], progress=_killer(step))
        with pytest.raises(Corrupt, match="notary rebuild"):
            Office(lost)
        made_again = rebuild(lost, mirror=ahead[0])
        assert made_again.resumed > 0
        house = Office(lost)
        assert rows_of(house) == expected
        assert faults(house, Depth.LEDGER) == []
        lose_database(house)
    assert made_again is not None


def _killer(at: int) -> Callable[[str, int, int], None]:
    left = [at]

    def progress(_what: str, _done: int, _of: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    return progress


def test_a_rebuild_killed_in_its_first_transaction_can_be_started_again(lost: Settings) -> None:
    with pytest.raises(Killed):
        rebuild(lost, mirror=None, progress=_killer(1))
    rebuilt(lost)


def test_an_unfinished_rebuild_does_not_go_on_with_another_journal(
    made: tuple[Path, Busy, Rows], lost: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notary.rebuild, "GROUP_SEGMENTS", 1)
    last = len(segments(lost.home)) * 2
    with pytest.raises(Killed):
        rebuild(lost, mirror=None, progress=_killer(last))
    segments(lost.home)[-1].unlink()
    (lost.home / "published.checkpoint").unlink()
    with pytest.raises(Corrupt, match="unfinished rebuild"):
        rebuild(lost, mirror=None)


# --- the end of a journal ---------------------------------------------------------------------


def test_entries_under_no_known_checkpoint_are_kept_and_signed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal ended between two segments of one large batch: nothing that is held is dropped,
    and what was signed before is a beginning of what is signed now."""
    monkeypatch.setattr("notary.journal_rows.ENTRIES", 64)
    monkeypatch.setattr("notary.journal_rows.CHUNK", 16)
    house = open_house(tmp_path / "house")
    busy = live(house)
    house.journal.run()
    old = house.ledger.head()
    house.batches.receive(
        _fresh_lines(200), by=busy.by, key=None, atomic=False, check_end=lambda _a, _b: None
    )
    house.journal.run()
    files = segments(house.settings.home)
    for path in files[-2:]:
        path.unlink()
    lose_database(house)
    made_again = rebuild(house.settings, mirror=None)
    assert made_again.resigned
    assert old.size < made_again.size < old.size + 200
    house = Office(house.settings)
    house.examine()
    assert house.ledger.root_at(old.size) == old.root
    assert [line for line in faults(house) if "deposit" in line] == []
    deposit(house, busy.by, b"on", Declared())


def test_what_cannot_be_read_is_told_as_storage_not_as_damage(
    lost: Settings, tmp_path: Path
) -> None:
    elsewhere = replace(lost, objects=(tmp_path / "nowhere").as_uri())
    with pytest.raises((StorageError, MalformedInput)):
        rebuild(elsewhere, mirror=None)
