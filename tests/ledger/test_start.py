"""`notary serve` opens the house that is there, or says what is wrong with it and opens no door."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from notary.errors import IntegrityError
from notary.model import EventKind
from notary.office import Office, found
from notary.settings import Settings
from tests.harness.server import REPOSITORY, Service

ENTRIES = 300  # more than a tile, so that the tree has two levels

Spoil = Callable[[Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house with some history; `older.db` in it is its database half-way."""
    home = tmp_path_factory.mktemp("made") / "house"
    found(Settings(home=home))
    office = Office(Settings(home=home))
    for number in range(ENTRIES):
        office.chronicle.record(EventKind.SIGNED_IN, actor="a", subject=str(number))
        if number == ENTRIES // 2:
            copy_database(home, home / "older.db")
    office.publish()
    office.close()
    return home


@pytest.fixture
def house(made: Path, tmp_path: Path) -> Service:
    """A copy of it, to be spoilt."""
    shutil.copytree(made, tmp_path / "house")
    return Service(home=tmp_path / "house")


def copy_database(home: Path, to: Path) -> None:
    with sqlite3.connect(home / "notary.db") as source, sqlite3.connect(to) as target:
        source.backup(target)
    source.close()
    target.close()


def refused(service: Service, status: int, *settings: str) -> str:
    """What `notary serve` says before it ends with `status`; its port was never open."""
    environment = {**service.environment, **dict(each.split("=", 1) for each in settings)}
    with socket.socket() as port:
        port.bind(("127.0.0.1", service.port))
        ended = subprocess.run(
            [sys.executable, "-m", "notary.cli.main", "serve"],
            env=environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    return ended.stderr


def sql(home: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(home / "notary.db") as rows:
        assert rows.execute(statement, values).rowcount == 1
    rows.close()


def flip(home: Path, table: str, column: str, where: str) -> None:
    """One bit in the middle of one value."""
    with sqlite3.connect(home / "notary.db") as rows:
        query = f"SELECT rowid, {column} FROM {table} WHERE {where}"
        ((row, value),) = rows.execute(query).fetchall()
        at = len(value) // 2
        spoilt = value[:at] + bytes([value[at] ^ 4]) + value[at + 1 :]
        rows.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (spoilt, row))
    rows.close()


def test_the_house_as_it_was_left_serves(house: Service) -> None:
    house.start()
    assert house.stop() == 0


def test_serve_makes_no_house_where_there_is_none(tmp_path: Path) -> None:
    for home in (tmp_path, tmp_path / "absent"):
        assert "no_house" in refused(Service(home=home), 64)
    assert list(tmp_path.iterdir()) == []


def test_init_makes_no_second_house_and_leaves_the_first_alone(house: Service) -> None:
    before = {path: path.read_bytes() for path in house.home.rglob("*") if path.is_file()}
    again = house.cli("init", check=False)
    assert again.returncode == 64
    assert "house_exists" in again.stderr
    assert house.cli("init", "--if-absent").stdout == ""
    after = {path: path.read_bytes() for path in house.home.rglob("*") if path.is_file()}
    volatile = ("-wal", "-shm", ".writer")
    assert {p: b for p, b in before.items() if not p.name.endswith(volatile)} == {
        p: b for p, b in after.items() if not p.name.endswith(volatile)
    }


def test_init_makes_no_house_over_keys_that_are_there(house: Service) -> None:
    """A database that got lost is not a reason for a second history under the same keys."""
    for path in house.home.glob("notary.db*"):
        path.unlink()
    again = house.cli("init", check=False)
    assert again.returncode != 0
    assert "Traceback" not in again.stderr
    assert not (house.home / "notary.db").exists()


def another_houses_keys(home: Path) -> None:
    found(Settings(home=home.parent / "another"))
    shutil.rmtree(home / "keys")
    shutil.copytree(home.parent / "another" / "keys", home / "keys")


def one_other_key(home: Path) -> None:
    found(Settings(home=home.parent / "another"))
    (name,) = (path.name for path in (home / "keys").iterdir() if "statement" in path.name)
    (home / "keys" / name).unlink()
    shutil.copy(home.parent / "another" / "keys" / name, home / "keys" / name)


def no_keys(home: Path) -> None:
    shutil.rmtree(home / "keys")


def keys_of_nothing(home: Path) -> None:
    for path in (home / "keys").iterdir():
        path.chmod(0o600)
        path.write_bytes(b"not a key")


def overwrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def checkpoint_of_another(home: Path) -> bytes:
    another = home.parent / "another"
    found(Settings(home=another))
    return (another / "published.checkpoint").read_bytes()


def older_database(home: Path) -> None:
    for path in home.glob("notary.db*"):
        path.unlink()
    shutil.copy(home / "older.db", home / "notary.db")


def another_history(home: Path) -> None:
    """The older database, grown past the published size in another way."""
    published = (home / "published.checkpoint").read_bytes()
    older_database(home)
    office = Office(Settings(home=home))
    for number in range(ENTRIES):
        office.chronicle.record(EventKind.SIGNED_IN, actor="b", subject=str(number))
    office.close()
    (home / "published.checkpoint").write_bytes(published)


SPOILT: dict[str, tuple[Spoil, str]] = {
    "keys of another house": (another_houses_keys, "key"),
    "one other key": (one_other_key, "key"),
    "no keys": (no_keys, "key"),
    "keys that are none": (keys_of_nothing, "key"),
    "a flipped bit in the last tile": (
        lambda home: flip(home, "tile", "hashes", "level = 0 AND n = 1"),
        "root hash mismatch",
    ),
    "a flipped bit in the tile above": (
        lambda home: flip(home, "tile", "hashes", "level = 1 AND n = 0"),
        "root hash mismatch",
    ),
    "a flipped bit in the newest entry": (
        lambda home: flip(home, "entry", "statement", f"idx = {ENTRIES}"),
        f"entry {ENTRIES}",
    ),
    "a flipped bit in the head's root": (
        lambda home: flip(home, "tree_head", "root", "1"),
        "root hash mismatch",
    ),
    "a flipped bit in the head's checkpoint": (
        lambda home: flip(home, "tree_head", "checkpoint", "1"),
        "checkpoint",
    ),
    "a missing entry": (
        lambda home: sql(home, "DELETE FROM entry WHERE idx = ?", ENTRIES),
        "entries",
    ),
    "a missing tile": (
        lambda home: sql(home, "DELETE FROM tile WHERE level = 0 AND n = 1"),
        "tile",
    ),
    "no genesis": (lambda home: sql(home, "DELETE FROM house"), "no house"),
    "an old copy of the database": (older_database, "old copy"),
    "another history": (another_history, "root hash mismatch"),
    "a published checkpoint that is none": (
        lambda home: overwrite(home / "published.checkpoint", b"nothing"),
        "published.checkpoint",
    ),
    "a published checkpoint of another house": (
        lambda home: overwrite(home / "published.checkpoint", checkpoint_of_another(home)),
        "published.checkpoint",
    ),
}
SERVED = (
    "one other key",
    "a flipped bit in the last tile",
    "a flipped bit in the newest entry",
    "an old copy of the database",
)


@pytest.mark.parametrize("damage", SPOILT)
def test_a_house_that_contradicts_itself_is_told_from_a_sound_one(
    house: Service, damage: str
) -> None:
    spoil, words = SPOILT[damage]
    spoil(house.home)
    with pytest.raises(IntegrityError, match=words):
        Office(Settings(home=house.home)).examine()


@pytest.mark.parametrize("damage", SERVED)
def test_a_house_that_contradicts_itself_opens_no_door(house: Service, damage: str) -> None:
    """`serve` examines it first: four of the above, by the command that people type."""
    spoil, words = SPOILT[damage]
    spoil(house.home)
    assert words in refused(house, 70)


def test_originals_that_are_not_mounted_keep_the_door_shut(house: Service) -> None:
    (house.home / "objects").rename(house.home / "elsewhere")
    assert "storage_unreachable" in refused(house, 75)


@pytest.mark.parametrize(
    "setting",
    ["NOTARY_PROT=1", "NOTARY_TSA_URLS=http://127.0.0.1/"],
)
def test_a_setting_that_makes_no_sense_keeps_the_door_shut(house: Service, setting: str) -> None:
    assert setting.partition("=")[0] in refused(house, 64, setting)
