from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from notary.errors import BadSignature, MalformedInput
from notary.tlog.checkpoint import Checkpoint, encode_base64
from notary.tlog.cosignature import Ed25519Cosigner, MLDSA44Signer
from notary.tlog.note import (
    ED25519_COSIGNATURE,
    MLDSA44_COSIGNATURE,
    Ed25519Signer,
    Note,
    NoteSigner,
    VerifierKey,
    open_note,
    parse_note,
    parse_signature_line,
    parse_vkey,
    sign_note,
    signed_message,
)
from tests.harness.oracle import shared_vector

NOW = 1_790_000_000
CHECKPOINT = Checkpoint(origin="log.example/court", size=42, root=bytes(range(32)))
TEXT = CHECKPOINT.text()
ED_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
ML_KEY = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
WITNESS = Ed25519Cosigner("witness.example/ed", ED_KEY, lambda: NOW)
LOG_ML = MLDSA44Signer("log.example/court", ML_KEY, lambda: NOW)
BOTH: list[NoteSigner] = [WITNESS, LOG_ML]


def signature_of(signer: NoteSigner, text: str = TEXT) -> bytes:
    return sign_note(text, [signer]).signatures[0].signature


def test_mldsa_vector_has_our_message_and_its_signature_verifies() -> None:
    vector = shared_vector("generated/mldsa44_cosignature.json")
    key = parse_vkey(vector["vkey"])
    assert key.type == MLDSA44_COSIGNATURE
    assert key.encode() == vector["vkey"]
    body, timestamp = vector["checkpoint_body"], vector["timestamp"]
    message = signed_message(key.name, key.type, body, timestamp)
    assert message.hex() == vector["signed_message_hex"]
    line = parse_signature_line(vector["signature_line"].removesuffix("\n"))
    assert (line.name, line.key_id) == (key.name, key.key_id)
    assert key.verify(body, line.signature) == timestamp


def test_mldsa_vectors_seed_gives_its_vkey() -> None:
    vector = shared_vector("generated/mldsa44_cosignature.json")
    seed = bytes.fromhex(vector["seed_hex"])
    signer = MLDSA44Signer(
        "witness.example/ml1", MLDSA44PrivateKey.from_seed_bytes(seed), lambda: 0
    )
    assert signer.verifier.encode() == vector["vkey"]


def test_messages_are_the_standards_bytes() -> None:
    assert signed_message("any", ED25519_COSIGNATURE, TEXT, 7) == (
        b"cosignature/v1\ntime 7\n" + TEXT.encode()
    )
    assert signed_message("name", MLDSA44_COSIGNATURE, TEXT, 7) == (
        b"subtree/v1\n\x00\x04name" + (7).to_bytes(8, "big") + b"\x11log.example/court"
        + bytes(8) + (42).to_bytes(8, "big") + bytes(range(32))
    )  # fmt: skip


@pytest.mark.parametrize("signer", BOTH)
def test_cosignature_begins_with_its_time_and_gives_it_back(signer: NoteSigner) -> None:
    signature = signature_of(signer)
    assert signature[:8] == NOW.to_bytes(8, "big")
    assert len(signature) == {0x04: 72, 0x06: 2428}[signer.verifier.type]
    assert signer.verifier.verify(TEXT, signature) == NOW


def test_checkpoint_signed_by_log_and_witness_is_opened_with_times() -> None:
    log = Ed25519Signer("log.example/court", Ed25519PrivateKey.from_private_bytes(bytes([7] * 32)))
    data = sign_note(TEXT, [log, LOG_ML, WITNESS]).encode()
    keys = [WITNESS.verifier, LOG_ML.verifier, log.verifier]
    assert [(found.key.type, found.timestamp) for found in open_note(parse_note(data), keys)] == [
        (0x01, None),
        (0x06, NOW),
        (0x04, NOW),
    ]


def test_one_key_has_another_id_for_each_type_and_name() -> None:
    public = ED_KEY.public_key().public_bytes_raw()
    keys = [
        VerifierKey.derive(name, type_byte, public)
        for name in ("one", "two")
        for type_byte in (0x01, 0x04)
    ]
    assert len({key.key_id for key in keys}) == 4


@pytest.mark.parametrize("signer", BOTH)
def test_every_flipped_bit_of_a_cosignature_is_refused(signer: NoteSigner) -> None:
    """All bytes of the time and of Ed25519; of ML-DSA's 2,420 every fifth."""
    signature = signature_of(signer)
    for position in [*range(80), *range(80, len(signature), 5)]:
        if position < len(signature):
            changed = bytearray(signature)
            changed[position] ^= 1 << position % 8
            with pytest.raises(BadSignature):
                signer.verifier.verify(TEXT, bytes(changed))


@pytest.mark.parametrize("signer", BOTH)
@pytest.mark.parametrize(
    "other",
    [
        Checkpoint(origin="log.example/other", size=42, root=CHECKPOINT.root),
        Checkpoint(origin=CHECKPOINT.origin, size=43, root=CHECKPOINT.root),
        Checkpoint(origin=CHECKPOINT.origin, size=42, root=bytes(32)),
    ],
)
def test_cosignature_over_another_checkpoint_is_refused(
    signer: NoteSigner, other: Checkpoint
) -> None:
    with pytest.raises(BadSignature):
        signer.verifier.verify(other.text(), signature_of(signer))


@pytest.mark.parametrize("signer", BOTH)
@pytest.mark.parametrize("length", [1, 8, 64, 71, 73, 2427, 2429])
def test_cosignature_of_another_length_is_refused(signer: NoteSigner, length: int) -> None:
    with pytest.raises(BadSignature, match=f"signature of {length} bytes"):
        signer.verifier.verify(TEXT, bytes(length))


@pytest.mark.parametrize("signer", BOTH)
def test_text_that_is_no_checkpoint_is_neither_cosigned_nor_accepted(signer: NoteSigner) -> None:
    for text in ("only a message\n", TEXT.replace("42", "042"), f"{TEXT}\n"):
        with pytest.raises(MalformedInput):
            signer.sign(text)
        with pytest.raises(BadSignature):
            signer.verifier.verify(text, signature_of(signer))


@pytest.mark.parametrize("signer", BOTH)
@pytest.mark.parametrize("text", ["", TEXT[:-1], TEXT.replace("log", "l\tg")])
def test_text_that_no_note_can_have_is_not_cosigned(signer: NoteSigner, text: str) -> None:
    with pytest.raises(ValueError, match=r"newline|control"):
        signer.sign(text)


def test_extension_lines_are_covered_by_ed25519_and_not_by_mldsa() -> None:
    extended = f"{TEXT}extension\n"
    with pytest.raises(BadSignature):
        WITNESS.verifier.verify(extended, signature_of(WITNESS))
    assert LOG_ML.verifier.verify(extended, signature_of(LOG_ML)) == NOW


def test_plain_signature_does_not_pass_for_a_cosignature_nor_the_reverse() -> None:
    plain = Ed25519Signer("witness.example/ed", ED_KEY)
    with pytest.raises(BadSignature):
        WITNESS.verifier.verify(TEXT, NOW.to_bytes(8, "big") + signature_of(plain))
    with pytest.raises(BadSignature):
        plain.verifier.verify(TEXT, signature_of(WITNESS)[8:])


def test_mldsa_cosignature_holds_under_no_other_cosigner_name() -> None:
    renamed = VerifierKey.derive(
        "witness.example/other", MLDSA44_COSIGNATURE, ML_KEY.public_key().public_bytes_raw()
    )
    with pytest.raises(BadSignature):
        renamed.verify(TEXT, signature_of(LOG_ML))


@pytest.mark.parametrize("now", [-1, 2**63])
def test_time_out_of_range_is_neither_signed_nor_accepted(now: int) -> None:
    for signer in (
        Ed25519Cosigner("w", ED_KEY, lambda: now),
        MLDSA44Signer("w", ML_KEY, lambda: now),
    ):
        with pytest.raises(ValueError, match="cosignature time"):
            signer.sign(TEXT)
    late = b"\x80" + bytes(7) + ED_KEY.sign(f"cosignature/v1\ntime {2**63}\n{TEXT}".encode())
    with pytest.raises(BadSignature):
        WITNESS.verifier.verify(TEXT, late)


def test_mldsa_time_zero_makes_no_statement_and_is_given_back_as_zero() -> None:
    signer = MLDSA44Signer("log.example/court", ML_KEY, lambda: 0)
    assert signer.verifier.verify(TEXT, signature_of(signer)) == 0


def test_name_or_origin_over_255_bytes_is_not_signed_with_mldsa() -> None:
    long = "é" * 128
    text = Checkpoint(origin=long, size=1, root=bytes(32)).text()
    for signer, signed in ((MLDSA44Signer(long, ML_KEY, lambda: 0), TEXT), (LOG_ML, text)):
        with pytest.raises(ValueError, match="256 bytes, at most 255"):
            signer.sign(signed)


def test_mldsa_vkey_round_trip_and_changed_key_is_malformed() -> None:
    line = LOG_ML.verifier.encode()
    assert parse_vkey(line) == LOG_ML.verifier
    public = LOG_ML.verifier.public_key
    wrong = encode_base64(bytes([MLDSA44_COSIGNATURE]) + bytes([public[0] ^ 1]) + public[1:])
    with pytest.raises(MalformedInput, match="key id"):
        parse_vkey(f"{line.rsplit('+', line.count('+') - 1)[0]}+{wrong}")


def test_note_signed_by_both_is_read_back() -> None:
    note = sign_note(TEXT, BOTH)
    assert isinstance(note, Note)
    assert parse_note(note.encode()) == note
