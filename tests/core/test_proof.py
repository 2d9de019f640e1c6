from __future__ import annotations

from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from notary.errors import BadInclusion, MalformedInput, NotaryError
from notary.tlog.checkpoint import Checkpoint, encode_base64, parse_checkpoint_text
from notary.tlog.merkle import check_inclusion, leaf_hash, prove_inclusion
from notary.tlog.note import Ed25519Signer, open_note, parse_note, sign_note
from notary.tlog.proof import TlogProof, parse_proof
from tests.harness.oracle import Oracle, shared_bytes

ENTRIES = [b"entry %d" % i for i in range(15)]
ORACLE = Oracle(ENTRIES)
SIGNER = Ed25519Signer("log.example/court", Ed25519PrivateKey.from_private_bytes(bytes(32)))
CHECKPOINT = sign_note(
    Checkpoint(origin="log.example/court", size=15, root=ORACLE.mth(0, 15)).text(), [SIGNER]
).encode()
PROOF = TlogProof(index=7, path=tuple(ORACLE.path(7, 15)), checkpoint=CHECKPOINT)
HASH = encode_base64(bytes(32))
HASHES = st.binary(min_size=32, max_size=32)


def check(data: bytes, entry: bytes) -> None:
    """The four steps of the standard."""
    proof = parse_proof(data)
    note = parse_note(proof.checkpoint)
    open_note(note, [SIGNER.verifier])
    checkpoint = parse_checkpoint_text(note.text)
    check_inclusion(
        index=proof.index,
        size=checkpoint.size,
        leaf=leaf_hash(entry),
        proof=proof.path,
        root=checkpoint.root,
    )


@pytest.mark.parametrize("index", [0, 7, 14])
def test_published_proof_files_are_read_and_written_byte_for_byte(index: int) -> None:
    data = shared_bytes(f"generated/tessera_index_{index}.tlog-proof")
    proof = parse_proof(data)
    assert (proof.index, proof.extra) == (index, None)
    assert proof.encode() == data
    checkpoint = parse_checkpoint_text(parse_note(proof.checkpoint).text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/log/testdata", 15)


def test_every_entry_has_a_proof_file_that_holds() -> None:
    for index, entry in enumerate(ENTRIES):
        path = prove_inclusion(index, 15, partial(ORACLE.complete_subtree, 15))
        check(TlogProof(index=index, path=path, checkpoint=CHECKPOINT).encode(), entry)


def test_file_is_the_standards() -> None:
    lines = PROOF.encode().split(b"\n")
    assert lines[:2] == [b"c2sp.org/tlog-proof@v1", b"index 7"]
    assert lines[2:6] == [encode_base64(value).encode() for value in ORACLE.path(7, 15)]
    assert b"\n".join(lines[6:]) == b"\n" + CHECKPOINT


def test_proof_of_the_only_entry_has_an_empty_path() -> None:
    proof = TlogProof(index=0, path=(), checkpoint=CHECKPOINT)
    assert proof.encode() == b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + CHECKPOINT
    assert parse_proof(proof.encode()) == proof


@given(
    st.integers(0, 2**63 - 1),
    st.lists(HASHES, max_size=63),
    st.one_of(st.none(), st.binary(min_size=1)),
)
def test_proof_round_trip(index: int, path: list[bytes], extra: bytes | None) -> None:
    proof = TlogProof(index=index, path=tuple(path), checkpoint=CHECKPOINT, extra=extra)
    assert parse_proof(proof.encode()) == proof


PIECES = [
    b"c2sp.org/tlog-proof@v1\n", b"extra ", b"index ", b"7", b"\n", HASH.encode() + b"\n",
    CHECKPOINT, b"\xff", b"AA==",
]  # fmt: skip


@given(st.one_of(st.binary(), st.lists(st.sampled_from(PIECES)).map(b"".join)))
def test_any_bytes_are_a_proof_in_its_only_form_or_malformed(data: bytes) -> None:
    for candidate in (data, PIECES[0] + data, PIECES[0] + b"index 7\n" + data):
        try:
            proof = parse_proof(candidate)
        except MalformedInput:
            continue
        assert proof.encode() == candidate


def test_every_flipped_bit_of_a_proof_file_is_noticed() -> None:
    data = PROOF.encode()
    check(data, ENTRIES[7])
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises(NotaryError):
                check(bytes(changed), ENTRIES[7])


def test_proof_of_another_entry_is_refused() -> None:
    with pytest.raises(BadInclusion):
        check(PROOF.encode(), ENTRIES[8])


HEAD = "c2sp.org/tlog-proof@v1\n"


@pytest.mark.parametrize(
    "head",
    [
        "",
        "index 7\n\n",
        f"{HEAD}\n",
        f"{HEAD}index 7\n",
        f"{HEAD}index\n\n",
        f"{HEAD}index 07\n\n",
        f"{HEAD}index -7\n\n",
        f"{HEAD}index +7\n\n",
        f"{HEAD}index  7\n\n",
        f"{HEAD}index 7 \n\n",
        f"{HEAD}index 9223372036854775808\n\n",
        f"{HEAD}index 7\nindex 7\n\n",
        f"{HEAD}Index 7\n\n",
        f"{HEAD}index 7\n\n\n",
        f"{HEAD}index 7\n{HASH[:-1]}\n\n",
        f"{HEAD}index 7\n{HASH}=\n\n",
        f"{HEAD}index 7\n {HASH}\n\n",
        f"{HEAD}index 7\n{HASH[:-2]}B=\n\n",
        f"{HEAD}index 7\n{HASH} {HASH}\n\n",
        f"{HEAD}index 7\nAAAA\n\n",
        f"{HEAD}index 7\n{HASH}\r\n\n",
        HEAD + "index 7\n" + f"{HASH}\n" * 64 + "\n",
        f"{HEAD}extra \nindex 7\n\n",
        f"{HEAD}extra\nindex 7\n\n",
        f"{HEAD}extra AA\nindex 7\n\n",
        f"{HEAD}extra AA==\nextra AA==\nindex 7\n\n",
        f"{HEAD}index 7\nextra AA==\n\n",
        f"{HEAD}other AA==\nindex 7\n\n",
        f"\n{HEAD}index 7\n\n",
        f" {HEAD}index 7\n\n",
        "c2sp.org/tlog-proof@v2\nindex 7\n\n",
        "c2sp.org/tlog-proof@v1 \nindex 7\n\n",
        "c2sp.org/tlog-proof@v1\r\nindex 7\r\n\r\n",
    ],
)
def test_any_other_head_is_malformed(head: str) -> None:
    with pytest.raises(MalformedInput):
        parse_proof(head.encode() + CHECKPOINT)


@pytest.mark.parametrize(
    "checkpoint",
    [
        b"",
        b"\n",
        CHECKPOINT[:-1],
        CHECKPOINT + b"\n",
        b"\n" + CHECKPOINT,
        CHECKPOINT.partition(b"\n\n")[0] + b"\n",
        CHECKPOINT.replace(b"15\n", b"015\n", 1),
        sign_note("not a checkpoint\n", [SIGNER]).encode(),
        b"\xff" + CHECKPOINT,
    ],
)
def test_proof_without_a_signed_checkpoint_is_malformed(checkpoint: bytes) -> None:
    with pytest.raises(MalformedInput):
        parse_proof(b"c2sp.org/tlog-proof@v1\nindex 7\n\n" + checkpoint)


@pytest.mark.parametrize(
    "wrong",
    [
        {"index": -1},
        {"index": 2**63},
        {"path": (bytes(31),)},
        {"path": (b"",)},
        {"path": (bytes(32),) * 64},
        {"extra": b""},
    ],
)
def test_proof_that_could_not_be_read_back_is_not_made(wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {"index": 7, "path": (), "checkpoint": CHECKPOINT, **wrong}
    with pytest.raises(ValueError, match=r"index|path|extra"):
        TlogProof(**fields)  # type: ignore[arg-type]
