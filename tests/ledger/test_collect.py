"""Superseded partial tiles of a copy go on demand: only those, whatever came before or lies beside
them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from notary.cli.main import main
from notary.collect import collect
from notary.errors import MalformedInput, Unreachable, Unverifiable
from notary.mirror import copy, derive
from notary.office import Office
from notary.rotation import Job
from notary.tlog.merkle import HASH_SIZE
from notary.tlog.tile import TILE_BYTES
from storage.durable import INCOMING
from tests.harness.watching import Killed, OfficeSource, SetClock, grow, identity, new_house

PARTIALS = {
    f"tile/{kind}/{n}.p/{width}"
    for kind in ("0", "entries")
    for n, widths in (("000", (1, 100, 255)), ("001", (7, 200)))
    for width in widths
}
"""Of earlier sizes; full tiles took their place."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Office, Path]:
    """A copy of size 600, and in it the partial tiles of sizes before that."""
    root = tmp_path_factory.mktemp("collect")
    house = new_house(root / "house", SetClock())
    grow(house, 599)
    folder = root / "copy"
    copy(OfficeSource(house), folder, identity(house))
    litter(house, folder)
    return house, folder


def litter(house: Office, folder: Path) -> None:
    for path in PARTIALS:
        data = OfficeSource(house).read(path, 1 << 20)
        assert data is not None
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)


@pytest.fixture
def copied(made: tuple[Office, Path], tmp_path: Path) -> tuple[Office, Path]:
    shutil.copytree(made[1], tmp_path / "copy")
    return made[0], tmp_path / "copy"


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def empty_folders(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_dir() and not any(path.iterdir())]


def spoil(path: Path) -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


# --- what goes ------------------------------------------------------------------------------------


def test_partial_tiles_and_bundles_go_when_the_full_ones_are_there_and_nothing_else_does(
    copied: tuple[Office, Path],
) -> None:
    house, folder = copied
    before = files(folder)
    collected = collect(folder, identity(house))
    assert (collected.removed, collected.faults) == (len(PARTIALS), [])
    assert files(folder).keys() == before.keys() - PARTIALS
    assert empty_folders(folder) == []
    assert derive(folder, identity(house)).faults == []


def test_what_the_checkpoint_names_stays_also_where_its_full_tile_is_there(
    tmp_path: Path,
) -> None:
    """An interrupted copy has full tiles beyond its checkpoint."""
    house, folder = new_house(tmp_path / "house", SetClock()), tmp_path / "copy"
    grow(house, 299)
    copy(OfficeSource(house), folder, identity(house))
    needed = {"tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"}
    grow(house, 300)
    for path in ("tile/0/001", "tile/entries/001", "tile/0/001.p/43"):
        data = OfficeSource(house).read(path, 1 << 24)
        assert data is not None
        (folder / path).write_bytes(data)
    above = (folder / "tile/1/000.p/1").read_bytes()
    (folder / "tile/1/000").write_bytes(above.ljust(TILE_BYTES, b"."))
    collected = collect(folder, identity(house))
    assert (collected.removed, collected.kept, collected.faults) == (1, 3, [])
    assert needed < files(folder).keys()
    assert derive(folder, identity(house)).faults == []


def test_partial_tiles_without_a_full_one_stay(copied: tuple[Office, Path]) -> None:
    house, folder = copied
    (folder / "tile/0/001").unlink()
    collected = collect(folder, identity(house))
    assert collected.kept == 2 + 3  # with the right edge of three levels
    assert collected.faults == []
    assert {"tile/0/001.p/7", "tile/0/001.p/200", "tile/0/002.p/88"} < files(folder).keys()


def test_a_copy_whose_maker_died_before_its_first_checkpoint_has_none_that_is_needed(
    copied: tuple[Office, Path],
) -> None:
    house, folder = copied
    (folder / "checkpoint").unlink()
    assert collect(folder, identity(house)).removed == len(PARTIALS)


def test_what_a_crash_left_among_them_goes_too(copied: tuple[Office, Path]) -> None:
    """Half a partial tile, and a folder whose files are gone already."""
    house, folder = copied
    (folder / f"tile/0/000.p/{INCOMING}00").write_bytes(b"half")
    for path in (folder / "tile/entries/000.p").iterdir():
        path.unlink()
    assert collect(folder, identity(house)).faults == []
    assert not (folder / "tile/0/000.p").exists()
    assert not (folder / "tile/entries/000.p").exists()


def test_a_copy_goes_on_after_it_and_is_what_one_without_it_is(
    tmp_path: Path,
) -> None:
    house = new_house(tmp_path / "house", SetClock())
    source, one, two = OfficeSource(house), tmp_path / "one", tmp_path / "two"
    for count in (99, 100, 100, 300):
        grow(house, count)
        for folder in (one, two):
            copy(source, folder, identity(house))
        collect(two, identity(house))
        assert files(one) == files(two)


def test_a_copy_that_follows_rotated_keys_is_collected_too(
    tmp_path: Path,
) -> None:
    house = new_house(tmp_path / "house", SetClock())
    old = identity(house)
    grow(house, 300)
    house.rotating.rotate(frozenset({Job.LOG}))
    grow(house, 1)
    folder = tmp_path / "copy"
    copy(OfficeSource(house), folder, old)
    partial = OfficeSource(house).read("tile/0/000.p/9", 1 << 20)
    assert partial is not None
    (folder / "tile/0/000.p").mkdir()
    (folder / "tile/0/000.p/9").write_bytes(partial)
    assert collect(folder, old).removed == 1


# --- what stays -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["tile/0/000.p/100", "tile/entries/001.p/7"])
def test_one_that_differs_is_named_and_stays_and_the_others_go(
    copied: tuple[Office, Path], path: str
) -> None:
    house, folder = copied
    spoil(folder / path)
    collected = collect(folder, identity(house))
    assert [fault.name for fault in collected.faults] == [path]
    assert collected.removed == len(PARTIALS) - 1
    assert set(files(folder)) & PARTIALS == {path}


@pytest.mark.parametrize("length", [0, HASH_SIZE, 99 * HASH_SIZE, 101 * HASH_SIZE])
def test_one_that_is_shorter_or_longer_than_its_name_says_stays(
    copied: tuple[Office, Path], length: int
) -> None:
    house, folder = copied
    (folder / "tile/0/000.p/100").write_bytes((folder / "tile/0/000").read_bytes()[:length])
    collected = collect(folder, identity(house))
    assert [fault.name for fault in collected.faults] == ["tile/0/000.p/100"]
    assert (folder / "tile/0/000.p/100").exists()


def cut(data: bytes) -> bytes:
    return data[:-HASH_SIZE]


def emptied(_data: bytes) -> bytes:
    return b""


def doubled(data: bytes) -> bytes:
    return data + data


@pytest.mark.parametrize("full", ["tile/0/000", "tile/entries/001"])
@pytest.mark.parametrize("damage", [cut, emptied, doubled])
def test_a_full_one_that_is_not_whole_takes_nobodys_place(
    copied: tuple[Office, Path], full: str, damage: Callable[[bytes], bytes]
) -> None:
    house, folder = copied
    (folder / full).chmod(0o644)
    (folder / full).write_bytes(damage((folder / full).read_bytes()))
    collected = collect(folder, identity(house))
    assert [fault.name for fault in collected.faults] == [full]
    assert set(files(folder)) & PARTIALS == {p for p in PARTIALS if p.startswith(f"{full}.p/")}


@pytest.mark.parametrize(
    "name", ["tile/0/000.p/0100", "tile/0/000.p/256", "tile/0/000.p/note", "tile/0/abc.p/3"]
)
def test_a_stranger_is_named_and_stays_and_stops_nothing(
    copied: tuple[Office, Path], name: str
) -> None:
    house, folder = copied
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"stranger")
    collected = collect(folder, identity(house))
    (fault,) = collected.faults
    assert name.startswith(fault.name)
    assert collected.removed == len(PARTIALS)
    assert (folder / name).read_bytes() == b"stranger"


def test_a_folder_in_the_place_of_one_is_named(copied: tuple[Office, Path]) -> None:
    house, folder = copied
    (folder / "tile/0/000.p/2").mkdir()
    collected = collect(folder, identity(house))
    assert [fault.name for fault in collected.faults] == ["tile/0/000.p/2"]


# --- nothing to do, no way to do it ---------------------------------------------------------------


def test_nothing_to_collect_is_success(copied: tuple[Office, Path], tmp_path: Path) -> None:
    house, folder = copied
    collect(folder, identity(house))
    before = files(folder)
    assert collect(folder, identity(house)).removed == 0
    assert files(folder) == before
    (tmp_path / "empty" / "tile" / "0").mkdir(parents=True)
    for empty in (tmp_path / "empty", tmp_path / "empty" / "tile"):
        collected = collect(empty, identity(house))
        assert (collected.removed, collected.kept, collected.faults) == (0, 0, [])


def test_a_folder_that_is_not_there_is_no_empty_one(
    copied: tuple[Office, Path], tmp_path: Path
) -> None:
    with pytest.raises(MalformedInput, match="no folder"):
        collect(tmp_path / "none", identity(copied[0]))


@pytest.mark.parametrize("note", [b"", b"not a checkpoint\n"])
def test_without_knowing_the_checkpoint_nothing_goes(
    copied: tuple[Office, Path], note: bytes
) -> None:
    house, folder = copied
    (folder / "checkpoint").chmod(0o644)
    (folder / "checkpoint").write_bytes(note)
    before = files(folder)
    with pytest.raises(MalformedInput):
        collect(folder, identity(house))
    assert files(folder) == before


def test_with_the_keys_of_another_log_nothing_goes(
    copied: tuple[Office, Path], tmp_path: Path
) -> None:
    _, folder = copied
    before = files(folder)
    with pytest.raises((MalformedInput, Unverifiable)):
        collect(folder, identity(new_house(tmp_path / "other", SetClock())))
    assert files(folder) == before


def test_a_disk_that_fails_says_so_and_the_rest_goes_later(
    copied: tuple[Office, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, folder = copied
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _failing(OSError(5, "I/O error"), at=3))
        with pytest.raises(Unreachable, match="I/O error"):
            collect(folder, identity(house))
    assert set(files(folder)) & PARTIALS
    collect(folder, identity(house))
    assert not set(files(folder)) & PARTIALS


# --- killed on the way ----------------------------------------------------------------------------


def _failing(error: BaseException, *, at: int) -> Callable[..., None]:
    """In place of `Path.unlink`: the call of this number raises, the others do as ever."""
    left = [at]

    def unlink(path: Path, missing_ok: bool = False) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise error
        try:
            os.unlink(path)
        except FileNotFoundError:
            assert missing_ok

    return unlink


@pytest.mark.parametrize("at", range(1, len(PARTIALS) + 1))
def test_killed_at_any_removal_it_leaves_a_whole_copy_and_goes_on(
    copied: tuple[Office, Path], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    house, folder = copied
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _failing(Killed(), at=at))
        with pytest.raises(Killed):
            collect(folder, identity(house))
    assert len(set(files(folder)) & PARTIALS) == len(PARTIALS) - at + 1
    assert derive(folder, identity(house)).faults == []
    assert collect(folder, identity(house)).removed == len(PARTIALS) - at + 1
    assert not set(files(folder)) & PARTIALS
    assert empty_folders(folder) == []


def test_two_at_once_take_nothing_twice_and_do_not_stumble(
    copied: tuple[Office, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, folder = copied
    inner: list[int] = []

    def progress(_what: str, done: int, _of: int) -> None:
        if done == 1:
            inner.append(collect(folder, identity(house)).removed)

    outer = collect(folder, identity(house), progress=progress)
    assert outer.removed + inner[0] == len(PARTIALS)
    assert outer.faults == []
    assert derive(folder, identity(house)).faults == []


def test_a_copy_does_not_stumble_over_partial_tiles_that_are_collected_as_it_drops_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, folder = new_house(tmp_path / "house", SetClock()), tmp_path / "copy"
    for count in (99, 100):
        grow(house, count)
        copy(OfficeSource(house), folder, identity(house))
    grow(house, 300)
    read = Path.read_bytes

    def collected_first(path: Path) -> bytes:
        if path.parent.name.endswith(".p"):
            path.unlink()
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", collected_first)
        assert copy(OfficeSource(house), folder, identity(house)).size == 500
    collect(folder, identity(house))
    assert not (folder / "tile/0/000.p").exists()
    assert derive(folder, identity(house)).faults == []


# --- the command ----------------------------------------------------------------------------------


def test_the_command_tells_by_its_status_what_it_found(
    copied: tuple[Office, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house, folder = copied
    key = house.trust.log_keys[0].encode()

    def notary(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["notary", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, printed.out + printed.err

    spoil(folder / "tile/0/000.p/100")
    status, said = notary("mirror", "--collect", folder, "--key", key)
    assert (status, "✗ tile/0/000.p/100: " in said) == (1, True), said
    assert f"{len(PARTIALS) - 1} partial files removed" in said
    (folder / "tile/0/000.p/100").unlink()
    status, said = notary("mirror", "--collect", "--verify", folder, "--key", key)
    assert (status, said.count(" 0 faults")) == (0, 2), said
    assert notary("mirror", "--collect", folder.parent / "none", "--key", key)[0] == 64
    assert notary("mirror", folder, "--key", key)[0] == 64
