"""A house that encrypts its originals: everything that reads one still does, nothing else can."""

from __future__ import annotations

import os
import sqlite3
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from notary.auditing import Worker
from notary.envelope import CHUNK, MAGIC
from notary.errors import Corrupt, KeyMissing
from notary.fsck import fsck
from notary.model import Declared, Deposit, Principal, Role
from notary.office import Office, found
from notary.originals import object_key
from notary.settings import Settings
from notary.wrapping_files import make_wrapping_key

BY = Principal(account_id="0" * 36, name="clerk", role=Role.CLERK, authenticated_by="password")
DATA = os.urandom(2 * CHUNK + 11)


@pytest.fixture
def house(tmp_path: Path) -> Office:
    settings = Settings(home=tmp_path / "house", encryption="file:")
    found(settings)
    return Office(settings)


def deposit(house: Office, data: bytes = DATA) -> Deposit:
    declared = Declared(name="a.bin")
    with house.intake.receive(house.intake.admit(BY, declared)) as reception:
        for at in range(0, len(data), 30_000):
            reception.write(data[at : at + 30_000])
        return reception.register(declared, allow_empty=True).deposit


def stored(house: Office, which: Deposit) -> Path:
    return house.settings.home / "objects" / object_key(which.id)


def read(house: Office, which: Deposit, offset: int = 0, length: int | None = None) -> bytes:
    chunks = house.originals.open(
        which.id, data_key=which.data_key, size=which.size, offset=offset, length=length
    )
    return b"".join(chunks)


def spoil(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def faults(house: Office) -> set[str]:
    found_ = fsck(
        database=house.database, objects=house.objects, wrapping=house.wrapping,
        trust=house.trust, strays_before=house.clock.now(),
    )  # fmt: skip
    return {fault.name for fault in found_.faults}


def sql(house: Office, statement: str, *values: object) -> None:
    with sqlite3.connect(house.settings.home / "notary.db") as connection:
        connection.execute(statement, values)
    connection.close()


def test_storage_has_ciphertext_and_the_digests_are_of_the_original(house: Office) -> None:
    made = deposit(house)
    assert stored(house, made).read_bytes().startswith(MAGIC)
    assert DATA[:64] not in stored(house, made).read_bytes()
    assert made.size == len(DATA)
    assert read(house, made) == DATA
    assert faults(house) == set()


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (5, 10), (CHUNK - 1, 2), (CHUNK, CHUNK), (2 * CHUNK, 11), (2 * CHUNK + 10, 99)],
)
def test_a_range_is_read_from_its_chunks(house: Office, offset: int, length: int) -> None:
    made = deposit(house)
    assert read(house, made, offset, length) == DATA[offset : offset + length]


def test_nothing_is_an_original_too(house: Office) -> None:
    made = deposit(house, b"")
    assert read(house, made) == b""
    assert faults(house) == set()


def test_the_bundle_has_the_original_as_it_came(house: Office) -> None:
    made = deposit(house)
    (name,) = house.stamping.authorities
    house.stamping.run(name)
    issued = house.issue.certificate(made, by=BY)
    with zipfile.ZipFile(BytesIO(b"".join(house.issue.bundle(made, issued)))) as bundle:
        assert DATA in [bundle.read(each) for each in bundle.namelist()]


def test_an_audit_reads_them_and_names_the_one_that_was_changed(house: Office) -> None:
    deposit(house)
    changed = deposit(house)
    path = stored(house, changed)
    data = bytearray(path.read_bytes())
    data[CHUNK] ^= 1
    spoil(path, bytes(data))
    run = house.auditing.begin("operator")
    worker = Worker(stop=lambda: False, wait=lambda _: None, told=lambda _: None)
    while house.auditing.step(run, worker):
        pass
    assert faults(house) == {f"original {changed.id}"}
    last = house.auditing.rereads.last((changed.index,))[changed.index]
    assert last.finding is not None


def test_an_object_cut_off_or_put_in_anothers_place_yields_nothing(house: Office) -> None:
    first, second = deposit(house), deposit(house)
    spoil(stored(house, first), stored(house, second).read_bytes())
    with pytest.raises(Corrupt, match="chunk 0"):
        read(house, first)
    whole = stored(house, second).read_bytes()
    spoil(stored(house, second), whole[: len(whole) // 2])
    with pytest.raises(Corrupt):
        read(house, second)
    assert faults(house) == {f"original {first.id}", f"original {second.id}"}


def test_a_wrapped_key_that_was_moved_to_another_deposit_is_refused(house: Office) -> None:
    first, second = deposit(house), deposit(house)
    sql(house, "UPDATE deposit SET data_key = ? WHERE id = ?", second.data_key, first.id)
    spoil(stored(house, first), stored(house, second).read_bytes())
    with pytest.raises(Corrupt, match="not wrapped for this deposit"):
        read(house, house.register.deposit(first.id))


@pytest.mark.parametrize("at", [0, 8, 20, 67])
def test_a_changed_wrapped_key_opens_nothing(house: Office, at: int) -> None:
    made = deposit(house)
    assert made.data_key is not None
    key = bytearray(made.data_key)
    key[at] ^= 1
    sql(house, "UPDATE deposit SET data_key = ? WHERE id = ?", bytes(key), made.id)
    with pytest.raises((Corrupt, KeyMissing)):
        read(house, house.register.deposit(made.id))


def test_an_older_wrapping_key_still_opens_what_it_wrapped(house: Office) -> None:
    old = deposit(house)
    keys = house.settings.home / "keys"
    make_wrapping_key(keys, house.clock.now().replace(year=2100), os.urandom)
    new = deposit(house)
    assert old.data_key is not None
    assert new.data_key is not None
    assert old.data_key[:8] != new.data_key[:8]
    assert read(house, old) == read(house, new) == DATA


def test_a_node_without_the_wrapping_key_opens_no_house_and_no_original(house: Office) -> None:
    made = deposit(house)
    (path,) = (house.settings.home / "keys").glob("wrapping-*")
    path.rename(house.settings.home / "elsewhere")
    bare = Office(house.settings)
    with pytest.raises(KeyMissing, match="no wrapping key"):
        bare.examine()
    with pytest.raises(KeyMissing):
        read(bare, made)


def test_a_wrapping_key_that_others_may_read_or_that_was_changed_is_refused(house: Office) -> None:
    (path,) = (house.settings.home / "keys").glob("wrapping-*")
    path.chmod(0o644)
    with pytest.raises(Corrupt, match="644"):
        Office(house.settings).examine()
    path.chmod(0o600)
    path.write_bytes(bytes(32))
    with pytest.raises(Corrupt, match="its name says"):
        Office(house.settings).examine()


def test_encryption_may_be_turned_on_and_off_again(tmp_path: Path) -> None:
    home = tmp_path / "house"
    found(Settings(home=home))
    plain = deposit(Office(Settings(home=home)))
    make_wrapping_key(home / "keys", Office(Settings(home=home)).clock.now(), os.urandom)
    on = Office(Settings(home=home, encryption="file:"))
    sealed = deposit(on)
    off = Office(Settings(home=home))
    assert (plain.data_key, sealed.data_key is None) == (None, False)
    for which in (plain, sealed):
        assert read(on, which) == read(off, which) == DATA
    assert faults(off) == set()
