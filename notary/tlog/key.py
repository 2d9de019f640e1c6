"""What a signing key can do, wherever its private half lies. PURE.

The keys of `cryptography` are such keys; so is one in a hardware security module, which signs
without ever giving its private half away.
"""

from __future__ import annotations

from typing import Protocol


class PublicHalf(Protocol):
    def public_bytes_raw(self) -> bytes:
        """The raw public key: 32 bytes of Ed25519, 1,312 of ML-DSA-44."""


class SigningKey(Protocol):
    def public_key(self) -> PublicHalf:
        """Whose signatures they are."""

    def sign(self, data: bytes, /) -> bytes:
        """Raises TryAgain or KeyMissing where the private half is elsewhere, and does not
        answer."""
