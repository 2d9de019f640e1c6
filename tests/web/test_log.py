"""/log and /v1/log as a stranger sees them: a log to be copied, checked and held to its word.

The judges are not ours: Go's golang.org/x/mod/sumdb and tlog-scales.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import uuid
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from notary.statement import parse_statement
from notary.tlog.checkpoint import Checkpoint
from notary.tlog.merkle import check_inclusion, leaf_hash
from notary.tlog.note import VerifierKey
from notary.tlog.tile import TILE_WIDTH, parse_bundle, partial_width
from tests.core.test_foreign_log_judges import each_flipped, flipped, put, scales, sumdb
from tests.harness.judges import Ask, Case, b64
from tests.harness.oracle import Oracle
from tests.harness.receipts import check_growth, check_receipt, log_keys, open_checkpoint
from tests.harness.server import Client, Service

__all__ = ["scales", "sumdb"]  # fixtures of another module, used here by their names

ROWS = 700  # two full tiles and the beginning of a third, at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A copy of the log, made by nothing but GETs below /log."""

    folder: Path
    checkpoint: Checkpoint
    note: bytes
    keys: tuple[VerifierKey, ...]

    @property
    def size(self) -> int:
        return self.checkpoint.size

    def entries(self) -> list[bytes]:
        return [
            entry
            for n in range((self.size + TILE_WIDTH - 1) // TILE_WIDTH)
            for entry in parse_bundle((self.folder / path_of("entries", n, self.size)).read_bytes())
        ]


def path_of(level: int | str, n: int, size: int) -> str:
    """As C2SP tlog-tiles writes it, for a tree of `size`, written down here a second time."""
    hashes = partial_width(0 if level == "entries" else int(level), size)
    here = size >> (8 * (0 if level == "entries" else int(level)))
    full = n < here // TILE_WIDTH
    return f"tile/{level}/{n:03d}" + ("" if full else f".p/{hashes}")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A house of its own, so that its log is small enough to be copied by hand."""
    running = Service(home=tmp_path_factory.mktemp("log"))
    running.init()
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def agency(service: Service) -> Client:
    return Client(service.base, service.key("agency"))


@pytest.fixture(scope="module")
def mirror(agency: Client, tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    rows = (
        json.dumps({"size": 1, "digests": {"sha-256": hashlib.sha256(b"%d" % n).hexdigest()}})
        for n in range(ROWS)
    )
    sent = agency.post(
        "/v1/batches", data="\n".join(rows), headers={"Content-Type": "application/x-ndjson"}
    )
    assert sent.status_code == 201
    stranger, folder = Client(agency.base), tmp_path_factory.mktemp("mirror")
    note = stranger.get("/log/checkpoint").content
    keys = log_keys(stranger)
    checkpoint = open_checkpoint(note, keys)
    put(folder / "checkpoint", note)
    level, width = 0, checkpoint.size
    while width:
        for n in range((width + TILE_WIDTH - 1) // TILE_WIDTH):
            for kind in (level, "entries") if level == 0 else (level,):
                path = path_of(kind, n, checkpoint.size)
                got = stranger.get(f"/log/{path}")
                assert got.status_code == 200, path
                put(folder / path, got.content)
        level, width = level + 1, width // TILE_WIDTH
    return Mirror(folder=folder, checkpoint=checkpoint, note=note, keys=keys)


def path_in(answer: Any) -> list[bytes]:
    assert answer.status_code == 200, answer.text
    return [b64decode(node) for node in answer.json()["path"]]


def inclusion(client: Client, index: int, size: int) -> list[bytes]:
    return path_in(client.get("/v1/log/proof/inclusion", params={"index": index, "size": size}))


def consistency(client: Client, old: int, new: int) -> list[bytes]:
    return path_in(client.get("/v1/log/proof/consistency", params={"old": old, "new": new}))


# --- judges that nobody here wrote ---------------------------------------------------------------


def test_sumdb_opens_the_checkpoint_with_the_published_key(mirror: Mirror, sumdb: Ask) -> None:
    (vkey,) = (key.encode() for key in mirror.keys if key.type == 1)

    def case(note: bytes) -> Case:
        return {"Kind": "checkpoint", "Vkey": vkey, "Note": b64(note)[0]}

    text = mirror.note.index(b"\n\n")
    bad = [case(flipped(mirror.note, at)) for at in range(0, text, 3)]
    accepted, *refused = sumdb([case(mirror.note), *bad])
    assert accepted == ""
    assert "" not in refused


def test_sumdb_reads_every_leaf_of_the_copy_and_notices_a_flipped_bit(
    mirror: Mirror, sumdb: Ask
) -> None:
    case: Case = {
        "Kind": "tiles",
        "Size": mirror.size,
        "Root": b64(mirror.checkpoint.root)[0],
        "Path": str(mirror.folder),
    }
    assert sumdb([case]) == [""]
    for level, n in ((0, 0), (0, 1), (0, mirror.size // TILE_WIDTH), (1, 0)):
        path = mirror.folder / path_of(level, n, mirror.size)
        data = path.read_bytes()
        path.write_bytes(flipped(data, len(data) // 2))
        answer = sumdb([case])
        path.write_bytes(data)
        assert answer != [""], path


def test_sumdb_accepts_the_proofs_and_none_of_their_mutations(
    agency: Client, mirror: Mirror, sumdb: Ask
) -> None:
    entries, good, bad = mirror.entries(), [], []
    for index in (0, 1, 255, 256, 511, mirror.size - 1):
        values = [entries[index], mirror.checkpoint.root]
        values += inclusion(agency, index, mirror.size)
        good.append(judged("inclusion", values, Index=index, Size=mirror.size))
        bad += [
            judged("inclusion", changed, Index=index, Size=mirror.size)
            for changed in each_flipped(values)
        ]
    for old in (1, 2, 255, 256, 600, mirror.size):
        values = [root_of(mirror, old), mirror.checkpoint.root]
        values += consistency(agency, old, mirror.size)
        good.append(judged("consistency", values, Old=old, Size=mirror.size))
        bad += [
            judged("consistency", changed, Old=old, Size=mirror.size)
            for changed in each_flipped(values)
        ]
    answers = sumdb(good + bad)
    assert answers[: len(good)] == [""] * len(good)
    assert "" not in answers[len(good) :]


def judged(kind: str, values: list[bytes], **numbers: int) -> Case:
    first, root, *proof = b64(*values)
    name = "Entry" if kind == "inclusion" else "From"
    return {"Kind": kind, name: first, "Root": root, "Proof": proof, **numbers}


def root_of(mirror: Mirror, size: int) -> bytes:
    return Oracle(mirror.entries()).mth(0, size)


@pytest.mark.usefixtures("scales")
def test_scales_reads_the_service_itself(agency: Client, mirror: Mirror) -> None:
    """Over HTTP, not the copy: its reader finds all that it needs below /log."""
    from tlog_scales.backend import HttpBackend
    from tlog_scales.reader import TilesReader

    reader = TilesReader(HttpBackend(f"{agency.base}/log"))
    checkpoint = reader.get_checkpoint()
    assert reader.calculate_root_hash() == checkpoint.root_hash
    entries = mirror.entries()
    for index in (0, 255, 256, mirror.size - 1):
        assert reader.get_entry(index) == entries[index]
        proof = reader.get_inclusion_proof(index, mirror.size)
        proof.check(leaf_hash(entries[index]), mirror.checkpoint.root)
        assert list(proof.node_hashes) == inclusion(agency, index, mirror.size)


@pytest.mark.usefixtures("scales")
def test_scales_program_believes_no_altered_copy(mirror: Mirror) -> None:
    def leaf(index: int) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "tlog_scales.cli", "get-leaf", "-c"]
        return subprocess.run(
            [*command, str(mirror.folder), str(index)], capture_output=True, check=False
        )

    assert leaf(300).stdout == mirror.entries()[300]
    path = mirror.folder / path_of("entries", 1, mirror.size)
    data = path.read_bytes()
    path.write_bytes(flipped(data, data.index(mirror.entries()[300]) + 40))
    answer = leaf(300)
    path.write_bytes(data)
    assert answer.returncode != 0
    assert b"InclusionProofInvalid" in answer.stderr


# --- what is in it, and what is not --------------------------------------------------------------


def test_the_entries_are_the_statements_and_the_first_is_the_genesis(
    agency: Client, mirror: Mirror
) -> None:
    first = parse_statement(mirror.entries()[0])
    genesis = agency.get("/log/genesis.json")
    assert first.payload == hashlib.sha256(genesis.content).digest()
    registered = json.loads(genesis.content)["keys"]["log"]
    assert agency.get("/log/keys").text.splitlines() == registered
    receipt = agency.post("/v1/deposits", data=b"in the log").json()
    index = receipt["leaf_index"]
    asked = f"/log/{path_of('entries', index // TILE_WIDTH, index + 1)}"
    (*_, entry) = parse_bundle(agency.get(asked).content)
    assert entry == b64decode(receipt["statement"])


def test_the_log_says_nothing_of_who_or_what(agency: Client) -> None:
    data, name = uuid.uuid4().bytes, f"{uuid.uuid4()}.txt"
    head = {"Content-Disposition": f"attachment; filename={name}"}
    receipt = agency.post("/v1/deposits", data=data, headers=head).json()
    again = agency.post("/v1/deposits", data=data, headers=head).json()
    digest = hashlib.sha256(data).digest()
    for said in (receipt, again):
        entry = b64decode(said["statement"])
        for secret in (digest, digest.hex().encode(), name.encode(), said["id"].encode()):
            assert secret not in entry
    first, second = (parse_statement(b64decode(said["statement"])) for said in (receipt, again))
    assert first.payload != second.payload


# --- growth --------------------------------------------------------------------------------------


def test_old_receipts_hold_against_every_later_checkpoint(agency: Client, mirror: Mirror) -> None:
    receipts = []
    for _ in range(5):
        receipts.append(agency.post("/v1/deposits", data=uuid.uuid4().bytes).json())
        for receipt in receipts:
            old = check_receipt(receipt, mirror.keys)
            new = check_growth(agency, old, mirror.keys)
            assert new.size > receipt["leaf_index"]
            check_inclusion(
                index=receipt["leaf_index"],
                size=new.size,
                leaf=leaf_hash(b64decode(receipt["statement"])),
                proof=tuple(inclusion(agency, receipt["leaf_index"], new.size)),
                root=new.root,
            )
    check_growth(agency, mirror.checkpoint, mirror.keys)


def test_whoever_watches_sees_one_history_grow(
    service: Service, agency: Client, mirror: Mirror
) -> None:
    """Checkpoints taken while eight clients deposit, from whichever process answers."""
    key, ended = service.key("watched"), threading.Event()
    seen = [mirror.checkpoint]

    def watch() -> None:
        stranger = Client(service.base)
        while not ended.is_set():
            new = open_checkpoint(stranger.get("/log/checkpoint").content, mirror.keys)
            assert new.size >= seen[-1].size
            if new.size > seen[-1].size:
                seen.append(check_growth(stranger, seen[-1], mirror.keys))

    def deposit(_: int) -> dict[str, Any]:
        given: dict[str, Any] = Client(service.base, key).post("/v1/deposits", data=b"x").json()
        return given

    with ThreadPoolExecutor(9) as pool:
        watching = pool.submit(watch)
        try:
            receipts = list(pool.map(deposit, range(80)))
        finally:
            ended.set()
        watching.result()
    assert len(seen) > 2
    seen += [check_receipt(receipt, mirror.keys) for receipt in receipts]
    by_size: dict[int, bytes] = {}
    for checkpoint in seen:
        assert by_size.setdefault(checkpoint.size, checkpoint.root) == checkpoint.root
    for checkpoint in seen[-20:]:
        check_growth(agency, checkpoint, mirror.keys)


# --- the read side of C2SP tlog-tiles ------------------------------------------------------------


def test_a_full_tile_never_changes_and_a_partial_one_is_its_beginning(
    agency: Client, mirror: Mirror
) -> None:
    full = agency.get("/log/tile/0/000").content
    assert full == (mirror.folder / "tile/0/000").read_bytes()
    assert len(full) == 32 * TILE_WIDTH
    for width in (1, 2, 128, 255):
        assert agency.get(f"/log/tile/0/000.p/{width}").content == full[: 32 * width]
    for width in (1, 2):
        assert agency.get(f"/log/tile/1/000.p/{width}").status_code == 200


def test_caches_may_keep_tiles_for_ever_and_the_checkpoint_not_at_all(agency: Client) -> None:
    for path in ("tile/0/000", "tile/0/000.p/7", "tile/entries/000", "tile/1/000.p/1"):
        given = agency.get(f"/log/{path}")
        assert given.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert given.headers["Content-Type"] == "application/octet-stream"
    checkpoint = agency.get("/log/checkpoint")
    assert checkpoint.headers["Cache-Control"] == "no-cache"
    assert checkpoint.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_bundles_are_the_same_with_and_without_compression(agency: Client) -> None:
    plain = agency.get("/log/tile/entries/000", headers={"Accept-Encoding": "identity"})
    packed = agency.get("/log/tile/entries/000", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert plain.content == packed.content


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0", "tile/0/00", "tile/0/0000", "tile/00/000", "tile/-1/000", "tile/64/000",
        "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p",
        "tile/0/x000/000", "tile/0/x999/999", "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/000/", "tile/entries/x000", "tile/entries/999", "tile/data/000", "tile/0/+00",
        "tile/0/٠٠٠", "tile/3/000.p/1", "tile/1/000", "tile/8/0/000", "tile", "tile/",
        "tile/0/..%2F000", "checkpoint/", "x",
    ],
)  # fmt: skip
def test_a_path_that_is_no_tile_or_none_yet_is_not_found(agency: Client, path: str) -> None:
    given = agency.get(f"/log/{path}", allow_redirects=False)
    assert given.status_code == 404
    assert given.json()["code"] in ("tile_not_found", "not_found")


def test_a_tile_wider_than_the_tree_is_not_found(agency: Client) -> None:
    size = open_checkpoint(agency.get("/log/checkpoint").content, log_keys(agency)).size
    n, width = divmod(size, TILE_WIDTH)
    for level in ("0", "entries"):
        if width:
            assert agency.get(f"/log/tile/{level}/{n:03d}.p/{width}").status_code == 200
        assert agency.get(f"/log/tile/{level}/{n:03d}").status_code == 404
        if width < TILE_WIDTH - 1:
            assert agency.get(f"/log/tile/{level}/{n:03d}.p/{width + 1}").status_code == 404


def wrong_ranges() -> Iterator[tuple[str, dict[str, str]]]:
    for value in ("-1", "x", "", "1.0", "٣", "9" * 17, "9" * 15, " 1"):
        yield "inclusion", {"index": value}
        yield "inclusion", {"index": "0", "size": value}
        yield "consistency", {"old": value, "new": "2"}
        yield "consistency", {"old": "1", "new": value}
    yield "inclusion", {}
    yield "inclusion", {"index": "2", "size": "2"}
    yield "inclusion", {"index": "0", "size": "0"}
    yield "consistency", {"old": "2"}
    yield "consistency", {"old": "2", "new": "1"}


@pytest.mark.parametrize(("kind", "asked"), list(wrong_ranges()))
def test_a_proof_that_cannot_be_is_refused(
    agency: Client, kind: str, asked: dict[str, str]
) -> None:
    given = agency.get(f"/v1/log/proof/{kind}", params=asked)
    assert (given.status_code, given.json()["code"]) == (400, "proof_range")


def test_a_proof_from_nothing_or_to_itself_is_empty(agency: Client) -> None:
    assert consistency(agency, 0, 5) == consistency(agency, 5, 5) == []
    assert inclusion(agency, 0, 1) == []
