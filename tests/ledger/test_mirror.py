"""A copy of a log is proved as it is made, survives its maker's death, and is read by others."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from notary.cli.main import main
from notary.clock import SystemClock
from notary.errors import MalformedInput, Unreachable, Unverifiable
from notary.mirror import copy, derive
from notary.monitor import Monitor
from notary.office import Office
from notary.signed_head import Contradiction, Identity, Kind
from notary.source import FolderSource, HttpSource
from notary.tlog.cosignature import Ed25519Cosigner
from notary.tlog.note import Ed25519Signer, parse_vkey
from notary.tlog.proof import TlogProof, parse_proof
from notary.tlog.tile import tile_path
from storage.durable import INCOMING
from tests.harness.server import Client, Service
from tests.harness.watching import (
    Killed,
    OfficeSource,
    SetClock,
    grow,
    http_door,
    identity,
    new_house,
    sql,
    twin_of,
)


def spoilt(data: bytes) -> bytes:
    """The same with one bit of the last byte flipped: surely another content."""
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.fixture
def house(tmp_path: Path) -> Office:
    return new_house(tmp_path / "house", SetClock())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mirrors" / "log"


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def contradicted(source: OfficeSource, folder: Path, kind: Kind) -> Contradiction:
    """What it says; and the copy's checkpoint must be as it was."""
    before = files(folder).get("checkpoint")
    with pytest.raises(Contradiction) as caught:
        copy(source, folder, identity(source.house))
    assert caught.value.kind is kind
    assert files(folder).get("checkpoint") == before
    return caught.value


# --- an honest log --------------------------------------------------------------------------------


def test_a_copy_has_exactly_what_the_checkpoint_implies_in_the_layout_of_tlog_tiles(
    house: Office, source: OfficeSource, folder: Path
) -> None:
    grow(house, 599)
    copied = copy(source, folder, identity(house))
    assert (copied.old, copied.size) == (0, 600)
    made = files(folder)
    assert sorted(made) == sorted(
        ["checkpoint", "genesis.json", "tile/1/000.p/2"]
        + [f"tile/{kind}/{n}" for kind in ("0", "entries") for n in ("000", "001", "002.p/88")]
    )
    assert copied.files == len(made) - 1
    for path, data in made.items():
        assert data == source.read(path, 1 << 20)
    assert derive(folder, identity(house)).faults == []


def test_a_copy_grows_with_the_log_and_sheds_partial_tiles_once_they_are_full(
    house: Office, source: OfficeSource, folder: Path
) -> None:
    size, copied_size = 1, 0
    for count in (0, 99, 100, 56, 1, 700, 1):
        if count:
            grow(house, count)
        copied = copy(source, folder, identity(house))
        size += count
        assert (copied.old, copied.size) == (copied_size, size)
        copied_size = size
        derived = derive(folder, identity(house))
        assert (derived.faults, derived.beyond) == ([], 0)
        if size == 200:
            assert (folder / "tile/0/000.p/100").exists()  # as long as its full tile is not there
        if size == 256:
            assert not (folder / "tile/0/000.p").exists()
    before = files(folder)
    assert copy(source, folder, identity(house)).files == 0
    assert files(folder) == before


def test_a_copy_killed_at_any_read_is_whole_for_its_old_checkpoint_and_goes_on(
    house: Office, source: OfficeSource, folder: Path, tmp_path: Path
) -> None:
    grow(house, 99)
    copy(source, folder, identity(house))
    grow(house, 1_000)
    done = tmp_path / "done"
    shutil.copytree(folder, done)
    source.die_at(0)
    copy(source, done, identity(house))
    reads = len(source.read_paths)
    assert reads > 8
    for dies_at in range(1, reads + 1):
        killed = tmp_path / f"killed{dies_at}"
        shutil.copytree(folder, killed)
        source.die_at(dies_at)
        with pytest.raises(Killed):
            copy(source, killed, identity(house))
        assert derive(killed, identity(house)).faults == []
        assert files(killed)["checkpoint"] == files(folder)["checkpoint"]
        source.die_at(0)
        copy(source, killed, identity(house))
        assert files(killed) == files(done)


def test_a_copy_killed_after_any_write_goes_on_to_the_same_end(
    house: Office, source: OfficeSource, folder: Path, tmp_path: Path
) -> None:
    grow(house, 99)
    copy(source, folder, identity(house))
    grow(house, 700)
    done = tmp_path / "done"
    shutil.copytree(folder, done)
    copy(source, done, identity(house))
    written = sorted(
        (path for path in done.rglob("*") if path.is_file()), key=lambda p: p.stat().st_mtime_ns
    )
    assert written[-1].name == "checkpoint"
    for count in range(len(written)):
        killed = tmp_path / f"killed{count}"
        shutil.copytree(folder, killed)
        for path in written[:count]:
            target = killed / path.relative_to(done)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        assert derive(killed, identity(house)).faults == []
        copy(source, killed, identity(house))
        assert files(killed) == files(done)


def test_what_a_killed_copy_left_is_proved_again_and_not_fetched_again(
    house: Office, source: OfficeSource, folder: Path
) -> None:
    grow(house, 2_000)
    copy(source, folder, identity(house))
    (folder / "checkpoint").unlink()
    (folder / f"tile/0/{INCOMING}0123").write_bytes(b"half a ti")
    source.read_paths.clear()
    copied = copy(source, folder, identity(house))
    assert (copied.old, copied.files) == (0, 0)
    assert [path for path in source.read_paths if path.startswith("tile/")] and all(
        ".p/" in path for path in source.read_paths if path.startswith("tile/")
    )
    assert derive(folder, identity(house)).faults == []


def test_a_copy_removes_what_a_killed_one_left_and_not_what_is_being_written(
    house: Office, source: OfficeSource, tmp_path: Path
) -> None:
    copy(source, tmp_path / "copy", identity(house))
    old, young = (tmp_path / "copy" / where / f"{INCOMING}1" for where in ("tile/0", "tile"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (old.stat().st_mtime - 7_200,) * 2)
    copy(source, tmp_path / "copy", identity(house))
    assert (old.exists(), young.exists()) == (False, True)


def test_a_copy_is_a_source_for_monitors_and_for_other_copies(
    house: Office, source: OfficeSource, folder: Path, tmp_path: Path
) -> None:
    grow(house, 700)
    copy(source, folder, identity(house))
    again = tmp_path / "again"
    copy(FolderSource(folder), again, identity(house))
    assert files(again) == files(folder)
    watching = Monitor(
        source=FolderSource(again), identity=identity(house), state=tmp_path / "place",
        clock=house.clock, max_age_s=60, entries=True,
    )  # fmt: skip
    assert watching.look().size == 701


# --- a log, or a copy, that is not what was signed ------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "kind"), [(300, Kind.FORK), (301, Kind.INCONSISTENT), (5, Kind.ROLLBACK)]
)
def test_a_twin_is_never_copied_over_the_history_that_is_there(
    house: Office, source: OfficeSource, folder: Path, tmp_path: Path, theirs: int, kind: Kind
) -> None:
    twin = twin_of(house, tmp_path / "twin")
    grow(house, 300)
    copy(source, folder, identity(house))
    before = files(folder)
    grow(twin, theirs)
    source.house = twin
    said = contradicted(source, folder, kind).evidence()
    assert before["checkpoint"].decode() in said
    assert twin.ledger.head().checkpoint.decode() in said
    assert files(folder) == before


@pytest.mark.parametrize(
    ("statement", "kind", "name"),
    [
        (
            "UPDATE tile SET hashes = zeroblob(8192) WHERE level = 0 AND n = 1",
            Kind.TILE,
            "tile/0/001",
        ),
        ("UPDATE entry SET statement = x'00ff' WHERE idx = 300", Kind.ENTRY, "tile/entries/001"),
        (
            "UPDATE entry SET statement = x'00ff' WHERE idx = 599",
            Kind.ENTRY,
            "tile/entries/002.p/88",
        ),
    ],
)
def test_what_was_changed_by_hand_in_the_log_does_not_get_into_a_copy(
    house: Office, source: OfficeSource, folder: Path, statement: str, kind: Kind, name: str
) -> None:
    grow(house, 599)
    sql(house, statement)
    assert contradicted(source, folder, kind).name == name
    assert name not in files(folder)


@pytest.mark.parametrize("name", ["tile/0/000", "tile/entries/001", "tile/1/000.p/2",
                                  "tile/entries/002.p/88"])  # fmt: skip
def test_a_file_that_differs_is_never_written_over(
    house: Office, source: OfficeSource, folder: Path, name: str
) -> None:
    grow(house, 599)
    copy(source, folder, identity(house))
    (folder / "checkpoint").unlink()
    path = folder / name
    path.chmod(0o644)
    path.write_bytes(spoilt(path.read_bytes()))
    before = files(folder)
    assert contradicted(source, folder, Kind.COPY).name == name
    assert files(folder) == before


def test_a_partial_tile_that_differs_is_kept_as_evidence_when_its_full_one_comes(
    house: Office, source: OfficeSource, folder: Path
) -> None:
    grow(house, 99)
    copy(source, folder, identity(house))
    path = folder / "tile/entries/000.p/100"
    path.write_bytes(spoilt(path.read_bytes()))
    grow(house, 200)
    assert contradicted(source, folder, Kind.COPY).name == "tile/entries/000.p/100"
    assert path.exists()


def test_a_genesis_that_entry_0_does_not_commit_to_is_refused(
    house: Office, source: OfficeSource, folder: Path
) -> None:
    source.shown["genesis.json"] = house.house.genesis.replace("evidence", "Evidence").encode()
    assert contradicted(source, folder, Kind.ENTRY).name == "genesis.json"


def test_a_log_that_withholds_a_bundle_is_not_copied_as_if_whole(
    house: Office, source: OfficeSource, folder: Path
) -> None:
    grow(house, 599)
    source.absent.add("tile/entries/001")
    with pytest.raises(Unreachable, match="tile/entries/001"):
        copy(source, folder, identity(house))
    assert "checkpoint" not in files(folder)


def test_a_folder_of_another_log_is_refused(
    house: Office, source: OfficeSource, folder: Path, tmp_path: Path
) -> None:
    copy(source, folder, identity(house))
    other = new_house(tmp_path / "other", house.clock)
    with pytest.raises(Unverifiable):
        copy(OfficeSource(other), folder, identity(other))
    (folder / "checkpoint").write_bytes(b"something else")
    with pytest.raises(MalformedInput):
        copy(source, folder, identity(house))


# --- deriving a folder again ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Office, Path]:
    """A copy of a log of 66,000 entries; tests take it apart in copies of their own."""
    home = tmp_path_factory.mktemp("derive")
    house = new_house(home / "house", SetClock())
    grow(house, 65_999)
    copy(OfficeSource(house), home / "copy", identity(house))
    return house, home / "copy"


@pytest.fixture
def copied(made: tuple[Office, Path]) -> Iterator[tuple[Office, Path]]:
    """What a test damages in it is put back."""
    house, folder = made
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    yield house, folder
    for path in folder.rglob("*"):
        if path.is_file() and path not in before:
            path.unlink()
    source = OfficeSource(house)
    for path, at in before.items():
        if not path.exists() or path.stat().st_mtime_ns != at:
            data = source.read(path.relative_to(folder).as_posix(), 1 << 24)
            assert data is not None
            path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage"),
    [("tile/0/000", "flip"), ("tile/0/255", "cut"), ("tile/0/256", "remove"),
     ("tile/1/000", "flip"), ("tile/1/000", "cut"), ("tile/1/000", "remove"),
     ("tile/entries/000", "flip"), ("tile/entries/256", "cut"), ("tile/entries/000", "remove"),
     ("tile/entries/257.p/208", "flip"), ("tile/entries/257.p/208", "remove"),
     ("genesis.json", "flip")],
)  # fmt: skip
def test_each_damaged_file_of_a_copy_is_named_and_no_other(
    copied: tuple[Office, Path], name: str, damage: str
) -> None:
    house, folder = copied
    path = folder / name
    data = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[:-1])
    else:
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert [fault.name for fault in derive(folder, identity(house)).faults] == [name]


@pytest.mark.parametrize("name", ["tile/0/257.p/208", "tile/1/001.p/1", "tile/2/000.p/1"])
def test_a_damaged_right_edge_does_not_give_the_signed_root(
    copied: tuple[Office, Path], name: str
) -> None:
    house, folder = copied
    path = folder / name
    path.write_bytes(spoilt(path.read_bytes()))
    with pytest.raises(Contradiction, match=name):
        derive(folder, identity(house))


def test_a_damaged_checkpoint_is_a_false_signature(copied: tuple[Office, Path]) -> None:
    house, folder = copied
    path = folder / "checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n66000\n", b"\n65999\n"))
    with pytest.raises(Contradiction):
        derive(folder, identity(house))


@pytest.mark.parametrize(
    "name", ["tile/0/000.txt", "tile/0/0", "tile/7/000 ", "notes.txt", "tile/entries/000.p/0"]
)
def test_a_stranger_in_the_folder_is_named(copied: tuple[Office, Path], name: str) -> None:
    house, folder = copied
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(b"stranger")
    assert [fault.name for fault in derive(folder, identity(house)).faults] == [name]


def test_partial_tiles_of_earlier_checkpoints_are_proved_too(copied: tuple[Office, Path]) -> None:
    house, folder = copied
    for path in ("tile/0/257.p/9", "tile/entries/257.p/9"):
        data = OfficeSource(house).read(path, 1 << 20)
        assert data is not None
        (folder / path).write_bytes(data)
        assert derive(folder, identity(house)).faults == []
        (folder / path).write_bytes(spoilt(data))
        assert [fault.name for fault in derive(folder, identity(house)).faults] == [path]
        (folder / path).unlink()


def test_what_lies_beyond_the_checkpoint_is_counted_and_not_believed(
    copied: tuple[Office, Path],
) -> None:
    house, folder = copied
    (folder / tile_path(0, 258)).write_bytes(bytes(8192))
    derived = derive(folder, identity(house))
    assert (derived.faults, derived.beyond) == ([], 1)


# --- read by a program that is not ours -----------------------------------------------------------


@pytest.mark.parametrize("index", [0, 300, 65_999])
def test_scales_derives_our_proof_file_from_the_copy_byte_for_byte(
    made: tuple[Office, Path], index: int
) -> None:
    pytest.importorskip("tlog_scales", reason="tlog-scales is not installed: it was not asked")
    house, folder = made
    printed = scales("gen-proof", str(folder), str(index))
    head, _, path = house.ledger.prove_inclusion(index)
    ours = TlogProof(index=index, path=path, checkpoint=head.checkpoint).encode()
    assert printed.stdout == ours, printed.stderr.decode()
    leaf = scales("get-leaf", "-c", str(folder), str(index))
    assert leaf.stdout == house.ledger.entries(index, 1)[0], leaf.stderr.decode()


def scales(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-X", "utf8", "-m", "tlog_scales.cli"]
    return subprocess.run([*command, *arguments], capture_output=True, check=False)


# --- the commands ---------------------------------------------------------------------------------


@pytest.fixture
def notary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """`notary …` in this process: its exit status and all that it printed."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["notary", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as end:
            assert isinstance(end.code, int)
            status = end.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def test_the_commands_tell_by_their_status_what_they_found(
    tmp_path: Path, notary: Callable[..., tuple[int, str]]
) -> None:
    house = new_house(tmp_path / "house", SystemClock())
    state, folder, trust = tmp_path / "place", tmp_path / "mirror", tmp_path / "trust.toml"
    trust.write_text(house.trust.encode())
    key = house.trust.log_keys[0].encode()
    with http_door(OfficeSource(house)) as url:
        look = ("monitor", url, "--state", state, "--once", "--entries", "--trust", trust)
        assert notary(*look)[0] == 0
        before, old = state.read_bytes(), house.ledger.head()
        grow(house, 600)
        status, said = notary(*look)
        assert (status, "size 601 (+600)" in said) == (0, True), said
        after = state.read_bytes()
        status, said = notary("mirror", url, folder, "--key", key, "--verify")
        assert (status, " 0 faults" in said) == (0, True), said

        stranger = Ed25519Signer("other.example/log", Ed25519PrivateKey.generate()).verifier
        other = ("--key", stranger.encode())
        status, said = notary("monitor", url, "--state", tmp_path / "new", "--once", *other)
        assert (status, "unknown_key" in said) == (2, True), said
        assert notary("mirror", url, tmp_path / "new", *other)[0] == 2

        sql(house, "UPDATE tree_head SET size = ?, root = ?, checkpoint = ?",
            old.size, old.root, old.checkpoint)  # fmt: skip
        for command, kept in ((look, state), (("mirror", url, folder, "--key", key), folder)):
            status, said = notary(*command)
            assert status == 1, said
            for text in (said, Path(f"{kept}.evidence").read_text()):
                assert text.startswith("rollback: ")
                assert before.decode() in text
                assert after.decode() in text
        assert state.read_bytes() == after
    status, said = notary(*look)
    assert (status, "unreachable" in said) == (2, True), said
    victim = folder / "tile/entries/000"
    victim.write_bytes(spoilt(victim.read_bytes()))
    status, said = notary("mirror", "--verify", folder, "--trust", trust)
    assert (status, "✗ tile/entries/000" in said) == (1, True), said


def test_the_policy_of_the_trust_file_holds_where_no_other_is_given(
    tmp_path: Path, notary: Callable[..., tuple[int, str]]
) -> None:
    house = new_house(tmp_path / "house", SystemClock())
    witness = Ed25519Cosigner("court-b.example/w", Ed25519PrivateKey.generate(), lambda: 0)
    policy = f"witness b {witness.verifier.encode()}\\nquorum b\\n"
    trust = tmp_path / "trust.toml"
    trust.write_text(f'{house.trust.encode()}witness_policy = "{policy}"\n')
    (tmp_path / "none").write_text("quorum none\n")
    with http_door(OfficeSource(house)) as url:
        look = ("monitor", url, "--state", tmp_path / "place", "--once", "--trust", trust)
        status, said = notary(*look)
        assert (status, "witness_quorum_missing" in said) == (1, True), said
        assert notary(*look, "--policy", tmp_path / "none")[0] == 0


def test_a_monitor_waits_for_what_passes_and_ends_with_what_does_not(
    tmp_path: Path, notary: Callable[..., tuple[int, str]]
) -> None:
    house = new_house(tmp_path / "house", SystemClock())
    source = OfficeSource(house)
    first, looks = house.ledger.head().checkpoint, iter(range(10))

    def each_look(path: str) -> None:
        if path != "checkpoint":
            return
        source.shown.clear()
        look = next(looks)
        if look == 1:
            source.shown["checkpoint"] = b"<html>out of order</html>"
        elif look == 2:
            grow(house, 5)
        elif look == 3:
            source.shown["checkpoint"] = first

    source.before = each_look
    with http_door(source) as url:
        status, said = notary("monitor", url, "--state", tmp_path / "place", "--interval", "0.01",
                              "--key", house.trust.log_keys[1].encode())  # fmt: skip
    assert status == 1
    assert said.index("size 1 (+1)") < said.index("size 6 (+5)") < said.index("rollback: ")
    assert "unreachable" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("monitor", "https://log.example", "--state", "place", "--once"),
        ("monitor", "no-such-folder", "--state", "place", "--key", "KEY", "--once"),
        ("monitor", "https://log.example", "--state", "no/such/folder", "--key", "KEY", "--once"),
        ("monitor", "https://log.example", "--state", "place", "--key", "KEY", "--key", "OTHER"),
        ("monitor", "https://log.example", "--state", "place", "--key", "example.com/log+0+AA=="),
        ("mirror", "only-one", "--key", "KEY"),
        ("mirror", "https://log.example", "one", "two", "--key", "KEY"),
        ("mirror", "https://log.example", "folder"),
    ],
)
def test_commands_that_make_no_sense_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notary: Callable[..., tuple[int, str]],
    arguments: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    keys = {
        name: Ed25519Signer(f"{name.lower()}.example/log", Ed25519PrivateKey.generate())
        for name in ("KEY", "OTHER")
    }
    filled = [keys[each].verifier.encode() if each in keys else each for each in arguments]
    assert notary(*filled)[0] == 64
    assert list(tmp_path.iterdir()) == []


# --- a real service -------------------------------------------------------------------------------


class Earlier:
    """The service's log as it was at an earlier checkpoint."""

    def __init__(self, url: str, note: bytes) -> None:
        self.name = url
        self._note = note
        self._log = HttpSource(url)

    def read(self, path: str, max_bytes: int) -> bytes | None:
        return self._note if path == "checkpoint" else self._log.read(path, max_bytes)


def test_a_real_service_is_watched_copied_and_read_by_another_program(
    tmp_path: Path, service: Service, agency: Client, notary: Callable[..., tuple[int, str]]
) -> None:
    """tlog-scales makes, from a copy at the checkpoint of it, the proof file that was given out."""
    url, trust = f"{service.base}/log", tmp_path / "trust.toml"
    trust.write_text(agency.get("/v1/trust.toml").text)
    made = agency.post("/v1/deposits", data=b"copied").json()
    look = ("monitor", url, "--state", tmp_path / "place", "--once", "--entries", "--trust", trust)
    status, said = notary(*look)
    assert status == 0, said
    given = agency.get(made["links"]["proof"])
    assert given.status_code == 200, given.text
    proof = parse_proof(given.content)
    status, said = notary(*look)
    assert (status, "(+" in said) == (0, True), said
    keys = tuple(map(parse_vkey, agency.get("/log/keys").text.splitlines()))
    known = Identity(origin=keys[0].name, keys=keys)
    folder = tmp_path / "copy"
    copy(Earlier(url, proof.checkpoint), folder, known)
    if importlib.util.find_spec("tlog_scales") is not None:
        printed = scales("gen-proof", str(folder), str(proof.index))
        assert printed.stdout == given.content, printed.stderr.decode()
    status, said = notary("mirror", url, folder, "--trust", trust, "--verify")
    assert (status, " 0 faults" in said) == (0, True), said
