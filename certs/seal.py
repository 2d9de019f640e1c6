"""The issuer's Ed25519 signature over a certificate (RFC 8032), made and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from certs.certificate import (
    Certificate,
    Key,
    Signature,
    UnsignedCertificate,
    signed_part,
)
from certs.errors import SealInvalid, UnknownKey


class PublicHalf(Protocol):
    def public_bytes_raw(self) -> bytes:
        """The raw Ed25519 public key."""


class SealingKey(Protocol):
    """An Ed25519 key, wherever its private half lies."""

    def public_key(self) -> PublicHalf:
        """Whose signatures they are."""

    def sign(self, data: bytes, /) -> bytes:
        """64 bytes. Raises what its holder raises."""


def sign_certificate(draft: UnsignedCertificate, key: SealingKey) -> Certificate:
    """The certificate that says what `draft` says, signed by `key`.

    Raises ValueError when `draft.keys.certificate` lacks the public half: nobody could check it.
    """
    signer = Key.of(key.public_key().public_bytes_raw())
    if signer not in draft.keys.certificate:
        raise ValueError(f"signing key {signer.kid.hex()} is not among the certificate's keys")
    said = {field.name: getattr(draft, field.name) for field in fields(UnsignedCertificate)}
    signature = Signature(kid=signer.kid, value=key.sign(draft.unsigned_bytes()))
    return Certificate(**said, signature=signature)


def check_seal(
    certificate: Certificate, keys: Sequence[Key] | None = None, *, data: bytes | None = None
) -> Key:
    """The key that the certificate's signature verifies with.

    `keys` are those the caller trusts; None takes the embedded ones, which proves only that the
    certificate is in itself unchanged. `data` are the bytes it was parsed from, where they are at
    hand: what was signed is then cut from them and not written anew.

    Raises SealInvalid when the signature does not hold or names a key that the certificate itself
    does not carry, UnknownKey when it names none of `keys`.
    """
    signature = certificate.signature
    known = certificate.keys.certificate if keys is None else keys
    signed = certificate.unsigned_bytes() if data is None else signed_part(certificate, data)
    try:
        return check_signature(
            known, signature, signed, of=f"certificate {certificate.certificate_id}"
        )
    except UnknownKey as exc:
        if keys is not None:
            raise
        raise SealInvalid(str(exc)) from exc


def sign(key: SealingKey, data: bytes) -> Signature:
    """What stands under a paper whose signed bytes are `data`."""
    kid = Key.of(key.public_key().public_bytes_raw()).kid
    return Signature(kid=kid, value=key.sign(data))


def check_signature(keys: Sequence[Key], signature: Signature, signed: bytes, *, of: str) -> Key:
    """The key of `keys` that made it. Raises UnknownKey, SealInvalid; `of` names the paper in its
    message."""
    signer = next((key for key in keys if key.kid == signature.kid), None)
    if signer is None:
        known = ", ".join(key.kid.hex() for key in keys) or "none"
        raise UnknownKey(f"signed by key {signature.kid.hex()}, known are {known}")
    try:
        Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signature.value, signed)
    except (InvalidSignature, ValueError) as exc:
        raise SealInvalid(f"{of} is not what key {signer.kid.hex()} signed") from exc
    return signer
