"""What only files have: modes, a disk that is full or failing, and the order of system calls."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import durable
from storage.errors import (
    InvalidStoreURL,
    ObjectDiffers,
    ObjectNotFound,
    StoreFull,
    StoreUnavailable,
)
from storage.local import LocalStore
from storage.stores import open_store
from tests.contract.stores import put, read

KEY = "originals/3f/one"
LATER = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    opened = LocalStore(tmp_path / "kept")
    opened.prepare()
    return opened


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own. Skips where none can be mounted."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("a small disk needs root and mount")
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", options, "tmpfs", os.fspath(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"a small disk can't be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", os.fspath(folder)], check=True)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def test_file_is_read_only_and_the_folders_are_private(store: LocalStore, tmp_path: Path) -> None:
    put(store, KEY, b"x")
    assert stat.S_IMODE((tmp_path / "kept" / KEY).stat().st_mode) == 0o400
    for folder in ("kept", "kept/originals", "kept/originals/3f"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=256k") as disk:
        store = LocalStore(disk)
        put(store, "small", b"fits")
        incoming = store.begin(KEY)
        with pytest.raises(StoreFull, match="room"):
            incoming.write(bytes(1 << 20))
        with pytest.raises(RuntimeError, match="already"):
            incoming.commit()
        assert [path.name for path in files_below(disk)] == ["small"]
        put(store, KEY, b"fits again")
        assert read(store, KEY) == b"fits again"


def test_disk_without_room_for_another_name_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "nr_inodes=4") as disk:
        store = LocalStore(disk)
        with pytest.raises(StoreFull, match="room"):
            for number in range(4):
                put(store, f"object-{number}", b"x")
        assert not [path for path in files_below(disk) if path.name.startswith("+")]
        with pytest.raises(StoreFull, match="room"):
            store.check()


def test_read_only_volume_is_told_with_who_must_act(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "ro") as disk:
        with pytest.raises(StoreUnavailable, match="mounted for writing"):
            LocalStore(disk).check()
        with pytest.raises(StoreUnavailable, match="mounted for writing"):
            LocalStore(disk).begin("one")


def test_folder_of_another_user_is_told_with_who_must_act(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    store = LocalStore(tmp_path / "kept")
    store.prepare()
    (tmp_path / "kept").chmod(0o500)
    with pytest.raises(StoreUnavailable, match="service's own user"):
        store.check()


def test_missing_folder_is_told_and_never_made_by_a_commit(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "not mounted")
    with pytest.raises(StoreUnavailable, match="is not there"):
        store.check()
    for key in ("top", KEY):
        with pytest.raises(StoreUnavailable):
            store.begin(key)
    with pytest.raises(StoreUnavailable):
        list(store.walk())
    assert not (tmp_path / "not mounted").exists()


def test_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="is not there"):
        LocalStore(tmp_path / "file").check()


def test_key_below_an_object_is_refused(store: LocalStore) -> None:
    put(store, KEY, b"x")
    with pytest.raises(StoreUnavailable):
        store.begin(KEY + "/below")


def test_folder_removed_meanwhile_is_made_again(store: LocalStore, tmp_path: Path) -> None:
    put(store, KEY, b"x")
    store.discard(KEY)
    (tmp_path / "kept/originals/3f").rmdir()
    put(store, KEY, b"y")
    assert read(store, KEY) == b"y"


def test_link_is_neither_followed_nor_shown(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"not ours")
    (tmp_path / "kept/link").symlink_to(tmp_path / "secret")
    (tmp_path / "kept/folder").symlink_to(tmp_path)
    assert list(store.walk()) == []
    with pytest.raises(ObjectNotFound):
        store.stat("link")
    with pytest.raises(StoreUnavailable):
        store.open("link")
    store.discard("link")
    assert (tmp_path / "kept/link").is_symlink()


def test_foreign_files_are_not_shown(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "kept/lost+found").mkdir()
    (tmp_path / "kept/lost+found/x").write_bytes(b"")
    (tmp_path / "kept/README").write_bytes(b"")
    assert list(store.walk()) == []
    assert store.sweep_incoming(datetime.now(UTC) + LATER) == 0


def test_object_cut_short_while_read_is_told(store: LocalStore, tmp_path: Path) -> None:
    put(store, KEY, bytes(2 << 20))
    chunks = store.open(KEY)
    path = tmp_path / "kept" / KEY
    path.chmod(0o600)
    os.truncate(path, 1 << 20)
    with pytest.raises(ObjectDiffers, match="1048576 of 2097152"):
        list(chunks)


def test_sweep_goes_by_the_last_write(store: LocalStore, tmp_path: Path) -> None:
    abandoned = store.begin(KEY)
    (first,) = files_below(tmp_path)
    long_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    os.utime(first, (long_ago, long_ago))
    active = store.begin(KEY)
    assert store.sweep_incoming(datetime.now(UTC) - LATER) == 1
    with pytest.raises(StoreUnavailable):
        abandoned.commit()
    active.commit()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file://",
        "file:relative",
        "file://host/path",
        "file:///path?x=1",
        "file:///path#fragment",
        "file:///nul%00",
        "ftp://host/path",
        "/just/a/path",
    ],
)
def test_url_that_is_no_folder_is_refused(url: str) -> None:
    with pytest.raises(InvalidStoreURL):
        open_store(url)


def test_written_file_is_whole_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    durable.write_file(os.fspath(path), b"first", mode=0o600)
    with pytest.raises(FileExistsError):
        durable.write_file(os.fspath(path), b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert files_below(tmp_path) == [path]


_ONE_OBJECT = """
import sys
from storage.errors import StorageError
from storage.local import LocalStore
store = LocalStore(sys.argv[1])
try:
    with store.begin("one") as incoming:
        incoming.write(b"x" * 1024)
        incoming.commit()
except StorageError as error:
    print(type(error).__name__)
else:
    print("kept")
"""
_CALLS = "openat,write,fsync,linkat,unlinkat,close"


def traced(folder: Path, *options: str) -> tuple[int, str, list[str]]:
    """Puts "one" under strace: exit code, what was said, the calls that concern the store."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace here (apt-get install strace)")
    report = folder.with_suffix(".strace")
    command = [strace, "-qq", "-y", "-o", os.fspath(report), "-e", f"trace={_CALLS}"]
    done = subprocess.run(
        [*command, *options, sys.executable, "-B", "-c", _ONE_OBJECT, os.fspath(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    if not report.exists() or "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    lines = report.read_text().splitlines()
    return done.returncode, done.stdout.strip(), [line for line in lines if str(folder) in line]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "traced"
    made.mkdir()
    return made


def test_system_calls_are_those_the_docstring_promises(folder: Path) -> None:
    code, said, lines = traced(folder)
    assert (code, said) == (0, "kept")
    promised = re.findall(r"^    (\w+)\(", durable.__doc__ or "", re.MULTILINE)
    promised += ["close"]  # the two stand on one line there
    assert [line.partition("(")[0] for line in lines] == promised
    assert "+incoming-" in lines[promised.index("fsync")]  # the bytes first
    assert "+incoming-" not in lines[len(promised) - 1 - promised[::-1].index("fsync")]


ORDER = [("openat", 1), ("openat", 2), ("write", 1), ("fsync", 1), ("linkat", 1), ("unlinkat", 1)]
ORDER += [("fsync", 2)]


def injected(folder: Path, call: str, number: int, what: str) -> list[str]:
    # Only openat happens elsewhere in the program, too: count those on the folder alone.
    within = ["-P", os.fspath(folder)] if call == "openat" else []
    return [*within, "-e", f"inject={call}:{what}:when={number}"]


@pytest.mark.parametrize(("call", "number"), ORDER)
@pytest.mark.parametrize(
    ("error", "told"), [(errno.EIO, "StoreUnavailable"), (errno.ENOSPC, "StoreFull")]
)
def test_failing_call_is_told_and_leaves_nothing(
    folder: Path, call: str, number: int, error: int, told: str
) -> None:
    inject = injected(folder, call, number, f"error={errno.errorcode[error]}")
    code, said, lines = traced(folder, *inject)
    assert any("INJECTED" in line for line in lines)
    assert (code, said) == (0, told)
    assert files_below(folder) == []


@pytest.mark.parametrize(("call", "number"), ORDER)
def test_kill_at_any_call_leaves_a_whole_object_or_none(
    folder: Path, call: str, number: int
) -> None:
    code, _, _ = traced(folder, *injected(folder, call, number, "signal=SIGKILL"))
    assert code != 0
    store = LocalStore(folder)
    store.sweep_incoming(datetime.now(UTC) + LATER)
    assert [found.key for found in store.walk()] in ([], ["one"])
    if list(store.walk()):
        assert read(store, "one") == b"x" * 1024
    assert len(files_below(folder)) == len(list(store.walk()))
