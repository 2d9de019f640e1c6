"""What we issue, before judges that nobody here wrote.

Go's golang.org/x/mod/sumdb is the reference for signed notes and tiled logs; tlog-scales is
a Python reader of C2SP logs that knows ML-DSA-44. Both must accept our notes, proofs and
tiles, and refuse them altered. tlog-scales reads sizes and base64 laxly, so it is not asked
about texts that are wrong only in their spelling.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from notary.tlog.checkpoint import Checkpoint
from notary.tlog.cosignature import Ed25519Cosigner, MLDSA44Signer
from notary.tlog.merkle import leaf_hash, prove_consistency, prove_inclusion
from notary.tlog.note import Ed25519Signer, NoteSigner, sign_note
from notary.tlog.proof import TlogProof, parse_proof
from notary.tlog.tile import (
    ENTRIES,
    TILE_WIDTH,
    TileReader,
    encode_bundle,
    grow,
    hash_reader,
    partial_width,
    tile_path,
)
from tests.harness.judges import Ask, Case, b64

ORIGIN = "log.example/court"
NOW = 1_790_000_000
SIZE = 66_000  # three levels of tiles, the last tile of each partial
CHOSEN = (0, 1, 255, 256, 4_711, 65_535, 65_536, 65_999)

ED25519 = Ed25519Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
ML_DSA = MLDSA44Signer(ORIGIN, MLDSA44PrivateKey.from_seed_bytes(bytes(32)), lambda: NOW)
WITNESS = Ed25519Cosigner(
    "witness.example", Ed25519PrivateKey.from_private_bytes(bytes(32)), lambda: NOW
)
SIGNERS: tuple[NoteSigner, ...] = (ED25519, ML_DSA, WITNESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A log in C2SP's layout on disk, and its tree."""

    folder: Path
    entries: tuple[bytes, ...]
    read_tile: TileReader
    root: bytes
    checkpoint: bytes


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("log")
    entries = tuple(b"entry %d" % i for i in range(SIZE))
    growth = grow(0, [leaf_hash(entry) for entry in entries], lambda level, n: b"")
    for (level, n), tile in growth.tiles.items():
        put(folder / tile_path(level, n, len(tile) // 32), tile)
    for n in range(SIZE // TILE_WIDTH + 1):
        bundle = entries[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]
        put(folder / tile_path(ENTRIES, n, len(bundle)), encode_bundle(bundle))
    text = Checkpoint(origin=ORIGIN, size=SIZE, root=growth.root).text()
    checkpoint = sign_note(text, SIGNERS).encode()
    put(folder / "checkpoint", checkpoint)
    return Log(
        folder=folder,
        entries=entries,
        read_tile=lambda level, n: growth.tiles[level, n],
        root=growth.root,
        checkpoint=checkpoint,
    )


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def root_at(size: int, log: Log) -> bytes:
    return grow(0, [leaf_hash(entry) for entry in log.entries[:size]], lambda level, n: b"").root


def flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << position % 8
    return bytes(changed)


# Go: golang.org/x/mod/sumdb


@pytest.fixture(scope="module")
def sumdb(go_judges: dict[str, Ask]) -> Ask:
    return go_judges["sumdb"]


def note_case(data: bytes) -> Case:
    return {"Kind": "checkpoint", "Vkey": ED25519.verifier.encode(), "Note": b64(data)[0]}


def inclusion_case(log: Log, index: int, values: list[bytes]) -> Case:
    entry, root, *proof = b64(*values)
    return {
        "Kind": "inclusion", "Index": index, "Size": SIZE, "Entry": entry, "Root": root,
        "Proof": proof,
    }  # fmt: skip


def consistency_case(old: int, values: list[bytes]) -> Case:
    old_root, root, *proof = b64(*values)
    return {
        "Kind": "consistency", "Old": old, "Size": SIZE, "From": old_root, "Root": root,
        "Proof": proof,
    }  # fmt: skip


def each_flipped(values: list[bytes]) -> Iterator[list[bytes]]:
    for i, value in enumerate(values):
        for position in (0, len(value) // 2, len(value) - 1):
            yield [*values[:i], flipped(value, position), *values[i + 1 :]]


def test_sumdb_opens_our_checkpoint_and_none_of_its_mutations(log: Log, sumdb: Ask) -> None:
    """Every byte of the text and of the Ed25519 line; the other lines are unknown to it."""
    text_and_first_line = log.checkpoint.index(b"\n", log.checkpoint.index(b"\n\n") + 2) + 1
    mutations = [flipped(log.checkpoint, i) for i in range(text_and_first_line)]
    accepted, *refused = sumdb([note_case(data) for data in (log.checkpoint, *mutations)])
    assert accepted == ""
    assert "" not in refused


def test_sumdb_accepts_our_inclusion_proofs_and_none_of_their_mutations(
    log: Log, sumdb: Ask
) -> None:
    good, bad = [], []
    for index in CHOSEN:
        path = prove_inclusion(index, SIZE, hash_reader(log.read_tile))
        values = [log.entries[index], log.root, *path]
        good.append(inclusion_case(log, index, values))
        bad += [inclusion_case(log, index, changed) for changed in each_flipped(values)]
        bad += [inclusion_case(log, index ^ 1, values), inclusion_case(log, index, values[:-1])]
    answers = sumdb(good + bad)
    assert answers[: len(good)] == [""] * len(good)
    assert "" not in answers[len(good) :]


def test_sumdb_accepts_our_consistency_proofs_and_none_of_their_mutations(
    log: Log, sumdb: Ask
) -> None:
    good, bad = [], []
    for old in (1, 2, 255, 256, 4_711, 65_536, SIZE - 1, SIZE):
        proof = prove_consistency(old, SIZE, hash_reader(log.read_tile))
        values = [root_at(old, log), log.root, *proof]
        good.append(consistency_case(old, values))
        bad += [consistency_case(old, changed) for changed in each_flipped(values)]
        bad.append(consistency_case(old, [*values, bytes(32)]))
    answers = sumdb(good + bad)
    assert answers[: len(good)] == [""] * len(good)
    assert "" not in answers[len(good) :]


def test_sumdb_reads_every_leaf_of_our_tiles_and_notices_a_flipped_bit(
    log: Log, sumdb: Ask
) -> None:
    case: Case = {
        "Kind": "tiles", "Size": SIZE, "Root": b64(log.root)[0], "Path": str(log.folder)
    }  # fmt: skip
    assert sumdb([case]) == [""]
    for level, n in (
        (0, 0),
        (0, 100),
        (1, 0),
        *((level, SIZE >> 8 * level + 8) for level in range(3)),
    ):
        tile = log.read_tile(level, n)
        path = log.folder / tile_path(level, n, len(tile) // 32)
        path.write_bytes(flipped(tile, len(tile) // 2))
        answer = sumdb([case])
        path.write_bytes(tile)
        assert answer != [""], path


# tlog-scales


@pytest.fixture(scope="module")
def scales() -> None:
    pytest.importorskip("tlog_scales", reason="tlog-scales is not installed: it was not asked")


def scales_program(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "tlog_scales.cli", *arguments],
        capture_output=True,
        check=False,
    )


@pytest.mark.usefixtures("scales")
def test_scales_program_prints_our_proof_file_byte_for_byte(log: Log) -> None:
    path = prove_inclusion(65_999, SIZE, hash_reader(log.read_tile))
    ours = TlogProof(index=65_999, path=path, checkpoint=log.checkpoint).encode()
    printed = scales_program("gen-proof", str(log.folder), "65999")
    assert printed.stdout == ours, printed.stderr.decode()
    assert parse_proof(printed.stdout).encode() == ours


@pytest.mark.usefixtures("scales")
def test_scales_reads_our_tiles_into_the_same_root_proofs_and_entries(log: Log) -> None:
    from tlog_scales.backend import LocalBackend
    from tlog_scales.reader import TilesReader

    reader = TilesReader(LocalBackend(log.folder))
    checkpoint = reader.get_checkpoint()
    assert reader.calculate_root_hash() == checkpoint.root_hash == log.root
    read = hash_reader(log.read_tile)
    for index in CHOSEN:
        proof = reader.get_inclusion_proof(index, SIZE)
        assert tuple(proof.node_hashes) == prove_inclusion(index, SIZE, read)
        assert reader.get_entry(index) == log.entries[index]
        proof.check(leaf_hash(log.entries[index]), log.root)
    for old in (1, 256, 4_711, 65_536, SIZE):
        theirs = reader.get_consistency_proof(old, SIZE)
        assert tuple(theirs.node_hashes) == prove_consistency(old, SIZE, read)
        theirs.check(root_at(old, log), log.root)


@pytest.mark.usefixtures("scales")
def test_scales_program_refuses_an_altered_entry_or_tile(log: Log) -> None:
    assert scales_program("get-leaf", "-c", str(log.folder), "4711").stdout == b"entry 4711"
    n = 4_711 // TILE_WIDTH
    for path in (
        log.folder / tile_path(ENTRIES, n),
        log.folder / tile_path(1, 1, partial_width(1, SIZE)),
    ):
        data = path.read_bytes()
        path.write_bytes(
            data.replace(b"entry 4711", b"entry 4712") if b"4711" in data else data[::-1]
        )
        refused = scales_program("get-leaf", "-c", str(log.folder), "4711")
        path.write_bytes(data)
        assert refused.returncode != 0, path
        assert b"InclusionProofInvalid" in refused.stderr


@pytest.mark.usefixtures("scales")
@pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: f"0x{signer.verifier.type:02x}")
def test_scales_verifies_each_of_our_signatures_and_no_altered_one(
    log: Log, signer: NoteSigner
) -> None:
    from tlog_scales.signing import Vkey
    from tlog_scales.tlog import Checkpoint as TheirCheckpoint

    checkpoint = TheirCheckpoint.from_text(log.checkpoint.decode())
    vkey = Vkey.from_string(signer.verifier.encode())
    checkpoint.verify(vkey)
    (payload,) = (found.payload for found in checkpoint.signatures if vkey.match(found))
    for position in (*range(min(len(payload), 80)), *range(80, len(payload), 97)):
        with pytest.raises(InvalidSignature):
            vkey.get_verifier().verify(flipped(payload, position), checkpoint)
    another = Checkpoint(origin=ORIGIN, size=SIZE - 1, root=log.root).text()
    note = another.encode() + log.checkpoint[log.checkpoint.index(b"\n\n") + 1 :]
    with pytest.raises(InvalidSignature):
        TheirCheckpoint.from_text(note.decode()).verify(vkey)
