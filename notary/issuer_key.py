"""Public keys of outside issuers, and what they sign. PURE.

An algorithm is bound to its key: EdDSA to Ed25519, ES256 to P-256, ES384 to P-384 (RFC 9053),
ML-DSA-44 to its own (RFC 9964). A key is kept as its COSE_Key of only the members that RFC 9679
hashes, in deterministic form, so that one key has one spelling and one thumbprint.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from notary.cbor import read_map
from notary.errors import BadSignature, MalformedInput

EDDSA, ES256, ES384, ML_DSA_44 = -8, -7, -35, -48
ALGORITHMS = {EDDSA: "EdDSA", ES256: "ES256", ES384: "ES384", ML_DSA_44: "ML-DSA-44"}
"""COSE's numbers, and their names."""

_KTY, _ALG, _CRV, _X, _Y = 1, 3, -1, -2, -3
_OKP, _EC2, _AKP, _ED25519 = 1, 2, 7, 6
_CURVES: dict[int, tuple[int, ec.EllipticCurve, hashes.HashAlgorithm]] = {
    ES256: (1, ec.SECP256R1(), hashes.SHA256()),
    ES384: (2, ec.SECP384R1(), hashes.SHA384()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKey:
    """`alg` is COSE's number, `cose_key` the deterministic COSE_Key."""

    alg: int
    cose_key: bytes

    def thumbprint(self) -> bytes:
        """RFC 9679, SHA-256."""
        return hashlib.sha256(self.cose_key).digest()


def parse_issuer_key(data: bytes) -> IssuerKey:
    """From PEM (SubjectPublicKeyInfo) or a COSE_Key. Raises MalformedInput
    (`issuer_key_malformed`), also for a private key: it has no place here."""
    if b"PRIVATE KEY" in data:
        raise _wrong("this is a private key: it stays with its issuer, send the public one")
    if data.lstrip().startswith(b"-----BEGIN"):
        return _from_pem(data)
    try:
        members = read_map(data)
    except MalformedInput as exc:
        raise _wrong(f"neither PEM nor a COSE_Key: {exc}") from exc
    if -4 in members and members.get(_KTY) in (_OKP, _EC2):
        raise _wrong("this is a private key: it stays with its issuer, send the public one")
    return _from_members(dict(members))


def check_signature(key: IssuerKey, signature: bytes, signed: bytes) -> None:
    """Raises BadSignature (`signature_invalid`). The signature is as COSE writes it: r and s of
    ECDSA side by side, each as long as the curve's field."""
    members = read_map(key.cose_key)
    try:
        if key.alg == EDDSA:
            Ed25519PublicKey.from_public_bytes(members[_X]).verify(signature, signed)
        elif key.alg == ML_DSA_44:
            MLDSA44PublicKey.from_public_bytes(members[_CRV]).verify(signature, signed)
        else:
            _, curve, digest = _CURVES[key.alg]
            half = (curve.key_size + 7) // 8
            if len(signature) != 2 * half:
                raise BadSignature(f"signature has {len(signature)} bytes, need {2 * half}")
            r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
            point = b"\x04" + members[_X] + members[_Y]
            ec.EllipticCurvePublicKey.from_encoded_point(curve, point).verify(
                encode_dss_signature(r, s), signed, ec.ECDSA(digest)
            )
    except (InvalidSignature, ValueError) as exc:
        raise BadSignature(
            f"the signature does not verify with key {key.thumbprint().hex()[:16]}…"
        ) from exc


def _from_pem(data: bytes) -> IssuerKey:
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise _wrong(f"PEM cannot be read: {exc}") from exc
    if isinstance(key, Ed25519PublicKey):
        return _from_members({_KTY: _OKP, _CRV: _ED25519, _X: key.public_bytes_raw()})
    if isinstance(key, MLDSA44PublicKey):
        return _from_members({_KTY: _AKP, _ALG: ML_DSA_44, _CRV: key.public_bytes_raw()})
    if isinstance(key, ec.EllipticCurvePublicKey):
        for number, curve, _ in _CURVES.values():
            if key.curve.name == curve.name:
                half = (curve.key_size + 7) // 8
                at = key.public_numbers()
                x, y = at.x.to_bytes(half, "big"), at.y.to_bytes(half, "big")
                return _from_members({_KTY: _EC2, _CRV: number, _X: x, _Y: y})
    raise _wrong(f"{type(key).__name__} is not a key of {', '.join(ALGORITHMS.values())}")


def _from_members(members: dict[Any, Any]) -> IssuerKey:
    """Only what the thumbprint covers is kept; an `alg` that is there must be the key's own."""
    kty, crv = members.get(_KTY), members.get(_CRV)
    by_curve = {number: alg for alg, (number, _, _) in _CURVES.items()}
    names: tuple[int, ...]
    if kty == _OKP and crv == _ED25519:
        alg, names = EDDSA, (_KTY, _CRV, _X)
    elif kty == _EC2 and isinstance(crv, int) and crv in by_curve:
        alg, names = by_curve[crv], (_KTY, _CRV, _X, _Y)
    elif kty == _AKP and members.get(_ALG) == ML_DSA_44:
        alg, names = ML_DSA_44, (_KTY, _ALG, _CRV)
    else:
        raise _wrong(f"not a key of {', '.join(ALGORITHMS.values())}")
    if members.get(_ALG, alg) != alg:
        raise _wrong(f"alg is {members[_ALG]!r:.20}, a key of this kind signs {ALGORITHMS[alg]}")
    kept = {name: members.get(name) for name in names}
    _check_point(alg, kept)
    return IssuerKey(alg=alg, cose_key=cbor2.dumps(kept, canonical=True))


def _check_point(alg: int, kept: dict[Any, Any]) -> None:
    raw = [kept[name] for name in kept if name in (_X, _Y) or (alg == ML_DSA_44 and name == _CRV)]
    if not all(isinstance(each, bytes) for each in raw):
        raise _wrong("a coordinate is no byte string; compressed points are not taken")
    try:
        if alg == EDDSA:
            Ed25519PublicKey.from_public_bytes(raw[0])
        elif alg == ML_DSA_44:
            MLDSA44PublicKey.from_public_bytes(raw[0])
        else:
            _, curve, _ = _CURVES[alg]
            if any(len(each) != (curve.key_size + 7) // 8 for each in raw):
                raise ValueError("a coordinate has the wrong length")
            ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + raw[0] + raw[1])
    except ValueError as exc:
        raise _wrong(f"no key of {ALGORITHMS[alg]}: {exc}") from exc


def _wrong(what: str) -> MalformedInput:
    return MalformedInput(f"key cannot be read: {what}", code="issuer_key_malformed")
