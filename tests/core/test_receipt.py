"""COSE receipts: ours judged by scitt-cose, the public vectors judged by us."""

from __future__ import annotations

import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from notary.errors import BadSignature, MalformedInput, NotaryError
from notary.receipt import (
    check_receipt,
    cose_key,
    key_set,
    parse_receipt,
    sign_consistency,
    sign_inclusion,
    transparent,
)
from notary.statement import EVIDENCE_TYPE, StatementSigner, key_thumbprint
from notary.tlog import merkle
from tests.harness.oracle import Oracle, shared_bytes, shared_vector

VECTORS = "cose-receipts/scitt-cose-v1/v1"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
PEM = (
    KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
SIGNER = StatementSigner("example.org/log", KEY)
ENTRIES = [
    SIGNER.sign(bytes([i]) * 32, preimage_type=EVIDENCE_TYPE, randomness=bytes([i]) * 16)
    for i in range(11)
]


TREE = Oracle(ENTRIES)
ROOT = TREE.mth(0, len(ENTRIES))


def receipt_of(index: int) -> bytes:
    return sign_inclusion(
        KEY,
        issuer="example.org/log",
        subject="urn:uuid:1",
        size=len(ENTRIES),
        index=index,
        path=TREE.path(index, len(ENTRIES)),
        root=ROOT,
    )


@pytest.mark.parametrize("index", range(len(ENTRIES)))
def test_scitt_cose_and_we_accept_every_receipt(index: int) -> None:
    data = receipt_of(index)
    judged = scitt_cose.verify_receipt(
        data, leaf_entry_hex=ENTRIES[index].hex(), log_public_key_pem=PEM
    )
    assert judged.ok, judged.errors
    root = check_receipt(parse_receipt(data), entry=ENTRIES[index], public_key=PUBLIC)
    assert root == ROOT


def test_a_receipt_proves_no_other_entry() -> None:
    data = receipt_of(3)
    with pytest.raises(NotaryError):
        check_receipt(parse_receipt(data), entry=ENTRIES[4], public_key=PUBLIC)
    judged = scitt_cose.verify_receipt(
        data, leaf_entry_hex=ENTRIES[4].hex(), log_public_key_pem=PEM
    )
    assert not judged.ok


def test_no_flipped_byte_is_accepted_by_either_but_in_the_size() -> None:
    # RFC 9942 signs the root alone: some other tree sizes give the same root from the same path
    # (10 and 11 for leaf 5). What is proved, this entry under this root, is the same.
    data = receipt_of(5)
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        judged = scitt_cose.verify_receipt(
            changed, leaf_entry_hex=ENTRIES[5].hex(), log_public_key_pem=PEM
        )
        try:
            receipt = parse_receipt(changed)
            root = check_receipt(receipt, entry=ENTRIES[5], public_key=PUBLIC)
        except NotaryError:
            assert not judged.ok, at
            continue
        assert (root, receipt.index, receipt.size) == (ROOT, 5, 10)


@pytest.mark.parametrize("signature", ["text", 7, None, [], True])
def test_a_signature_that_is_no_bytes_is_malformed(signature: object) -> None:
    tag = cbor2.loads(receipt_of(3))
    changed = cbor2.CBORTag(18, [*tag.value[:3], signature])
    with pytest.raises(MalformedInput, match="wrong type"):
        parse_receipt(cbor2.dumps(changed, canonical=True))


@pytest.mark.parametrize("unprotected", ["", [], {396: ""}, {396: []}, {}, 7, None])
def test_an_unprotected_header_that_holds_no_proof_is_malformed(unprotected: object) -> None:
    protected, _, *rest = cbor2.loads(receipt_of(3)).value
    changed = cbor2.CBORTag(18, [protected, unprotected, *rest])
    with pytest.raises(MalformedInput, match="cannot be read"):
        parse_receipt(cbor2.dumps(changed, canonical=True))


@pytest.mark.parametrize("changed", [{395: True}, {395: 1.0}, {1: -8.0}, {4: "kid"}, {15: {1: 7}}])
def test_a_header_of_the_wrong_type_is_malformed(changed: dict[int, object]) -> None:
    protected, *rest = cbor2.loads(receipt_of(3)).value
    head = cbor2.dumps({**cbor2.loads(protected), **changed}, canonical=True)
    with pytest.raises(MalformedInput, match="wrong type"):
        parse_receipt(cbor2.dumps(cbor2.CBORTag(18, [head, *rest]), canonical=True))


def test_a_receipt_that_wants_an_unknown_label_understood_is_refused_by_both() -> None:
    """RFC 9052 section 3.1: `crit` (2) names labels without which a receipt says another thing."""
    protected, unprotected, _, _ = cbor2.loads(receipt_of(3)).value
    head = cbor2.dumps({**cbor2.loads(protected), 2: [70_000], 70_000: 1}, canonical=True)
    signed = cbor2.dumps(["Signature1", head, b"", ROOT], canonical=True)
    body = [head, dict(unprotected), None, KEY.sign(signed)]
    data = cbor2.dumps(cbor2.CBORTag(18, body), canonical=True)
    with pytest.raises(MalformedInput, match="must be understood"):
        parse_receipt(data)
    judged = scitt_cose.verify_receipt(
        data, leaf_entry_hex=ENTRIES[3].hex(), log_public_key_pem=PEM
    )
    assert not judged.ok


def test_a_single_leaf_gets_no_receipt() -> None:
    with pytest.raises(ValueError, match="size 1"):
        sign_inclusion(KEY, issuer="x", subject="y", size=1, index=0, path=(), root=TREE.mth(0, 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_receipt_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        parse_receipt(data)


def test_a_transparent_statement_is_accepted_and_gives_its_receipt_back() -> None:
    data = transparent(ENTRIES[2], [receipt_of(2)])
    assert scitt_cose.extract_receipts(data) == [receipt_of(2)]
    protected, unprotected, _payload, _signature = cbor2.loads(data).value
    assert protected == cbor2.loads(ENTRIES[2]).value[0]
    assert {label: list(value) for label, value in unprotected.items()} == {394: [receipt_of(2)]}


def test_a_consistency_receipt_signs_the_newer_root() -> None:
    data = sign_consistency(
        KEY,
        issuer="example.org/log",
        subject="urn:uuid:1",
        old=7,
        new=len(ENTRIES),
        path=TREE.proof(7, len(ENTRIES)),
        root=ROOT,
    )
    assert scitt_cose.verify_sign1(data, public_key_pem=PEM, detached_payload=ROOT)
    old, new, path = cbor2.loads(cbor2.loads(data).value[1][396][-2][0])
    merkle.check_consistency(old=old, new=new, old_root=TREE.mth(0, 7), new_root=ROOT, proof=path)


def test_keys_stand_under_their_thumbprints() -> None:
    (key,) = cbor2.loads(key_set([PUBLIC]))
    assert key == cbor2.loads(cose_key(PUBLIC))
    assert key[2] == key_thumbprint(PUBLIC)
    assert (key[1], key[-1], key[-2]) == (1, 6, PUBLIC)


def test_the_public_receipt_is_accepted() -> None:
    expected = shared_vector(f"{VECTORS}/valid-eddsa/expected.json")
    receipt = parse_receipt(shared_bytes(f"{VECTORS}/valid-eddsa/receipt.cose"))
    root = check_receipt(
        receipt, entry=bytes.fromhex(expected["leaf_entry"]), public_key=log_key("valid-eddsa")
    )
    assert root.hex() == expected["reconstructed_root"]
    assert (receipt.index, receipt.size) == (expected["leaf_index"], expected["tree_size"])


def test_the_public_receipt_with_a_tampered_path_is_refused() -> None:
    expected = shared_vector(f"{VECTORS}/fail-tampered-path/expected.json")
    receipt = parse_receipt(shared_bytes(f"{VECTORS}/fail-tampered-path/receipt.cose"))
    with pytest.raises(BadSignature):
        check_receipt(
            receipt,
            entry=bytes.fromhex(expected["leaf_entry"]),
            public_key=log_key("fail-tampered-path"),
        )


@pytest.mark.parametrize("case", ["fail-unsupported-vds", "valid-ccf-vds2", "valid-es256"])
def test_public_receipts_of_other_kinds_are_refused_as_unreadable(case: str) -> None:
    with pytest.raises(MalformedInput):
        parse_receipt(shared_bytes(f"{VECTORS}/{case}/receipt.cose"))


def log_key(case: str) -> bytes:
    key = serialization.load_pem_public_key(shared_bytes(f"{VECTORS}/{case}/log-key.pub"))
    assert isinstance(key, Ed25519PublicKey)
    return key.public_bytes_raw()
