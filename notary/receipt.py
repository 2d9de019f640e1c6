"""COSE receipts (RFC 9942, verifiable data structure 1: RFC9162_SHA256) and what wraps them. PURE.

    18([ << {1: -8, 4: kid, 15: {1: iss, 2: sub}, 395: 1} >>,
         {396: {-1: [ << [size, index, [path…]] >> ]}}, nil, signature over the root ])

The signed payload is the Merkle root, detached: a verifier computes it from the proof. The key is
the log's Ed25519 key; its notes are text and its receipts CBOR, so that neither can pass for the
other. A transparent statement (RFC 9943) is a statement with its receipts in the unprotected
header under label 394.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from notary.errors import BadSignature, MalformedInput
from notary.statement import ALG, CWT_CLAIMS, EDDSA, ISS, KID, SUB, key_thumbprint
from notary.tlog import merkle
from notary.tlog.key import SigningKey

RECEIPTS, VDS, VDP = 394, 395, 396
CRIT = 2
RFC9162_SHA256 = 1
INCLUSION, CONSISTENCY = -1, -2
_COSE_SIGN1 = 18
_UNREADABLE = (
    *(cbor2.CBORDecodeError, cbor2.CBOREncodeError),
    *(ValueError, TypeError, LookupError, AttributeError),
)

RECEIPT_TYPE = "application/scitt-receipt+cose"
STATEMENT_TYPE = "application/scitt-statement+cose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A parsed inclusion receipt. `protected` are the exact header bytes that were signed.

    `kid`, `issuer` and `subject` are None where a log other than ours leaves them out, as RFC 9942
    lets it.
    """

    protected: bytes
    kid: bytes | None
    issuer: str | None
    subject: str | None
    size: int
    index: int
    path: tuple[bytes, ...]
    signature: bytes


def sign_inclusion(
    key: SigningKey,
    *,
    issuer: str,
    subject: str,
    size: int,
    index: int,
    path: Sequence[bytes],
    root: bytes,
) -> bytes:
    """The receipt's bytes. Raises ValueError at size 1: RFC 9942 knows no empty path."""
    if size < 2 or not path:
        raise ValueError(f"no receipt at tree size {size}")
    proof = cbor2.dumps([size, index, list(path)], canonical=True)
    return _sign(key, issuer, subject, {INCLUSION: [proof]}, root)


def sign_consistency(
    key: SigningKey,
    *,
    issuer: str,
    subject: str,
    old: int,
    new: int,
    path: Sequence[bytes],
    root: bytes,
) -> bytes:
    """A receipt that the tree of `new` leaves, of root `root`, extends the one of `old`."""
    proof = cbor2.dumps([old, new, list(path)], canonical=True)
    return _sign(key, issuer, subject, {CONSISTENCY: [proof]}, root)


def _sign(
    key: SigningKey, issuer: str, subject: str, proofs: dict[int, list[bytes]], root: bytes
) -> bytes:
    protected = cbor2.dumps(
        {
            ALG: EDDSA,
            KID: key_thumbprint(key.public_key().public_bytes_raw()),
            CWT_CLAIMS: {ISS: issuer, SUB: subject},
            VDS: RFC9162_SHA256,
        },
        canonical=True,
    )
    signature = key.sign(_signed_bytes(protected, root))
    body = [protected, {VDP: proofs}, None, signature]
    return cbor2.dumps(cbor2.CBORTag(_COSE_SIGN1, body), canonical=True)


def _signed_bytes(protected: bytes, root: bytes) -> bytes:
    return cbor2.dumps(["Signature1", protected, b"", root], canonical=True)


def parse_receipt(data: bytes) -> Receipt:
    """An inclusion receipt. Raises MalformedInput (`receipt_malformed`) for anything but the
    deterministic form with exactly one proof."""
    try:
        tag = cbor2.loads(data)
        if not isinstance(tag, cbor2.CBORTag) or tag.tag != _COSE_SIGN1:
            raise ValueError("not a tagged COSE_Sign1")
        protected, unprotected, payload, signature = tag.value
        header = cbor2.loads(protected)
        claims = header.get(CWT_CLAIMS, {})
        (encoded,) = unprotected[VDP][INCLUSION]
        size, index, path = cbor2.loads(encoded)
        kid, issuer, subject = header.get(KID), claims.get(ISS), claims.get(SUB)
        _require_types((header[ALG], header[VDS], size, index), kid, (issuer, subject), signature)
        receipt = Receipt(
            protected=protected,
            kid=kid,
            issuer=issuer,
            subject=subject,
            size=size,
            index=index,
            path=tuple(path),
            signature=signature,
        )
        if (header[ALG], header[VDS], payload) != (EDDSA, RFC9162_SHA256, None):
            raise ValueError("not an EdDSA receipt of an RFC9162_SHA256 tree")
        if CRIT in header:
            raise ValueError("labels are named that must be understood, and are not")
        if cbor2.dumps(tag, canonical=True) != data:
            raise ValueError("not in deterministic form")
        if not 0 <= index < size:
            raise ValueError(f"index {index!r} is not in a tree of {size!r}")
        if not all(isinstance(node, bytes) for node in path) or not path:
            raise ValueError("the path is not one or more byte strings")
    except _UNREADABLE as exc:
        raise MalformedInput(f"receipt cannot be read: {exc}", code="receipt_malformed") from exc
    return receipt


def _require_types(
    numbers: Sequence[object], kid: object, texts: Sequence[object], signature: object
) -> None:
    """CBOR has types of its own, and Python takes true for 1 and -8.0 for -8."""
    if not (
        all(type(number) is int for number in numbers)
        and all(text is None or isinstance(text, str) for text in texts)
        and (kid is None or isinstance(kid, bytes))
        and isinstance(signature, bytes)
    ):
        raise ValueError("a member has the wrong type")


def check_receipt(receipt: Receipt, *, entry: bytes, public_key: bytes) -> bytes:
    """The root that the receipt proves `entry` to be under.

    Computes the root from the path (RFC 9162 section 2.1.3.2), then checks the signature over
    it. Raises BadInclusion for a path of the wrong shape, BadSignature (`signature_invalid`).
    """
    root = merkle.implied_root(
        index=receipt.index,
        size=receipt.size,
        leaf=merkle.leaf_hash(entry),
        proof=receipt.path,
    )
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(
            receipt.signature, _signed_bytes(receipt.protected, root)
        )
    except (InvalidSignature, ValueError) as exc:
        raise BadSignature(
            f"receipt for leaf {receipt.index} of {receipt.size} is not signed by key "
            f"{key_thumbprint(public_key).hex()[:16]}…"
        ) from exc
    return root


def transparent(statement: bytes, receipts: Sequence[bytes]) -> bytes:
    """The statement with its receipts in the unprotected header (RFC 9943)."""
    tag = cbor2.loads(statement)
    protected, _, payload, signature = tag.value
    body = [protected, {RECEIPTS: list(receipts)}, payload, signature]
    return cbor2.dumps(cbor2.CBORTag(_COSE_SIGN1, body), canonical=True)


def key_set(public_keys: Sequence[bytes]) -> bytes:
    """A COSE Key Set (RFC 9052 section 7) of raw Ed25519 keys, each under its thumbprint."""
    return cbor2.dumps([_cose_key(key) for key in public_keys], canonical=True)


def cose_key(public_key: bytes) -> bytes:
    return cbor2.dumps(_cose_key(public_key), canonical=True)


def _cose_key(public_key: bytes) -> dict[int, object]:
    return {1: 1, 2: key_thumbprint(public_key), 3: EDDSA, -1: 6, -2: public_key}
