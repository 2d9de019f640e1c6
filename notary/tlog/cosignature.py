"""Cosignatures (C2SP tlog-cosignature): signers that say when they saw a checkpoint.

"As of this time, this is the largest consistent tree I have seen of this origin." The log
itself signs this way with ML-DSA-44 (0x06), beside its Ed25519 note signature; a witness
with either. The signed bytes are in `note.signed_message`; verification is `open_note`.

Whoever holds a signer answers for the promise: it signs any checkpoint it is given, and
only its holder can know whether that one extends the last.
"""

from __future__ import annotations

from collections.abc import Callable

from notary.tlog.key import SigningKey
from notary.tlog.note import (
    ED25519_COSIGNATURE,
    MLDSA44_COSIGNATURE,
    TIMESTAMP_BYTES,
    NoteSignature,
    VerifierKey,
    require_text,
    signed_message,
)


class Ed25519Cosigner:
    """cosignature/v1, type 0x04. `now` gives POSIX seconds."""

    def __init__(self, name: str, key: SigningKey, now: Callable[[], int]) -> None:
        self._key, self._now = key, now
        public_key = key.public_key().public_bytes_raw()
        self.verifier = VerifierKey.derive(name, ED25519_COSIGNATURE, public_key)

    def sign(self, text: str) -> NoteSignature:
        """Raises MalformedInput where `text` is no checkpoint, ValueError where it is no note."""
        return _cosign(self.verifier, self._key.sign, text, self._now())


class MLDSA44Signer:
    """subtree/v1 over a whole checkpoint, type 0x06. `now` gives POSIX seconds."""

    def __init__(self, name: str, key: SigningKey, now: Callable[[], int]) -> None:
        self._key, self._now = key, now
        public_key = key.public_key().public_bytes_raw()
        self.verifier = VerifierKey.derive(name, MLDSA44_COSIGNATURE, public_key)

    def sign(self, text: str) -> NoteSignature:
        """Raises MalformedInput where `text` is no checkpoint, ValueError where it is no note
        or name or origin are over 255 bytes."""
        return _cosign(self.verifier, self._key.sign, text, self._now())


def _cosign(
    verifier: VerifierKey, sign: Callable[[bytes], bytes], text: str, timestamp: int
) -> NoteSignature:
    require_text(text)
    message = signed_message(verifier.name, verifier.type, text, timestamp)
    return NoteSignature(
        name=verifier.name,
        key_id=verifier.key_id,
        signature=timestamp.to_bytes(TIMESTAMP_BYTES, "big") + sign(message),
    )
