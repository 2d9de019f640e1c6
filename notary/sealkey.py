"""The private half of a seal certificate, wherever it lies: a file `seal*.pem` of the house's keys,
or a key labelled `seal…` in a PKCS#11 token. ECDSA on P-256 or RSA; found by its public half.

Each signature of a token is verified before it goes out: a key with that label may be another.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from notary.errors import KeyMissing, MalformedInput
from notary.keyplace import FolderPlace, KeyPlace, TokenPlace
from notary.keys import load_key, write_key

PREFIX = "seal"
MIN_RSA_BITS = 2048

SealPublic = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SealKey:
    """`mechanism` is asn1crypto's name of what `sign` does, hashing included. `where` says where
    the private half lies. `sign` raises Unreachable (`keys_unreachable`), KeyMissing."""

    mechanism: str
    where: str
    sign: Callable[[bytes], bytes]


def key_label(public_key: SealPublic) -> str:
    """What the house calls a seal's key of its own, in the folder and in tokens."""
    return f"{PREFIX}-{hashlib.sha256(_spki(public_key)).hexdigest()[:16]}"


def make_key(folder: Path, place: KeyPlace) -> ec.EllipticCurvePublicKey:
    """A new P-256 key in that place, durable. A crash leaves a key that no certificate names.

    Raises MalformedInput (`settings`) for a place that has none of these, and what a token does.
    """
    if isinstance(place, FolderPlace):
        key = ec.generate_private_key(ec.SECP256R1())
        write_key(folder, key_label(key.public_key()), key)
        return key.public_key()
    if not isinstance(place, TokenPlace):
        raise MalformedInput(
            f"{place.shown()} holds no seal keys: file: or a PKCS#11 token does", code="settings"
        )
    spki: bytes = _hsm().create_p256(place, lambda spki: key_label(_on_p256(spki)))
    return _on_p256(spki)


def find_key(folder: Path, places: Sequence[KeyPlace], certificate: x509.Certificate) -> SealKey:
    """Raises KeyMissing where none of them has it, MalformedInput (`settings`) for a certificate
    of another kind of key, and what a token does."""
    public_key = certificate.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise MalformedInput("the seal certificate's key is neither EC nor RSA", code="settings")
    mechanism = _mechanism(public_key)
    for path in sorted(folder.glob(f"{PREFIX}*.pem")):
        key = load_key(folder, path.stem)
        if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) and _spki(
            key.public_key()
        ) == _spki(public_key):
            return SealKey(mechanism=mechanism, where=str(path), sign=_file_signer(key))
    label = key_label(public_key)
    for place in places:
        if isinstance(place, TokenPlace) and _hsm().has_label(place, (label, PREFIX)):
            return SealKey(
                mechanism=mechanism,
                where=f"{label} in {place.shown()}",
                sign=_token_signer(place, (label, PREFIX), public_key),
            )
    raise KeyMissing(
        f"no private key for the seal certificate of {certificate.subject.rfc4514_string()}: it "
        f"would be {folder}/{label}.pem, or {label!r} or {PREFIX!r} in a token of NOTARY_KEYS"
    )


def _mechanism(public_key: SealPublic) -> str:
    if isinstance(public_key, rsa.RSAPublicKey):
        if public_key.key_size < MIN_RSA_BITS:
            raise MalformedInput(
                f"the seal certificate's key has {public_key.key_size} bits, the least is "
                f"{MIN_RSA_BITS}",
                code="settings",
            )
        return "sha256_rsa"
    if not isinstance(public_key.curve, ec.SECP256R1):
        raise MalformedInput(
            f"the seal certificate's key is on {public_key.curve.name}, known is secp256r1",
            code="settings",
        )
    return "sha256_ecdsa"


def _file_signer(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> Callable[[bytes], bytes]:
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return lambda data: key.sign(data, ec.ECDSA(hashes.SHA256()))


def _token_signer(
    place: TokenPlace, labels: tuple[str, ...], public_key: SealPublic
) -> Callable[[bytes], bytes]:
    is_rsa = isinstance(public_key, rsa.RSAPublicKey)

    def sign(data: bytes) -> bytes:
        signature: bytes = _hsm().sign_labelled(place, labels, data, rsa=is_rsa)
        try:
            if isinstance(public_key, rsa.RSAPublicKey):
                public_key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            else:
                public_key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as exc:
            raise KeyMissing(
                f"{place.shown()} signs as {labels[0]!r} or {labels[1]!r} with another key than "
                "the seal certificate's"
            ) from exc
        return signature

    return sign


def _spki(public_key: SealPublic) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _on_p256(spki: bytes) -> ec.EllipticCurvePublicKey:
    key = load_der_public_key(spki)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _hsm() -> Any:
    # What a token needs is loaded at its first use, as in `keystore`.
    return importlib.import_module("notary.hsm")
