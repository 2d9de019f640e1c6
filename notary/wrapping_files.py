"""Wrapping keys in files: 32 bytes with mode 0600, `home/keys/wrapping-<UTC time>-<id>.key`.

The id is the first 16 hex digits of the key's SHA-256, so that a file that was changed or renamed
is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from notary.envelope import KEY_BYTES
from notary.errors import Corrupt, KeyMissing
from storage.durable import write_file

NONCE_BYTES: Final = 12
ID_BYTES: Final = 8
_ENDING: Final = ".key"


def make_wrapping_key(folder: Path, at: datetime, randomness: Callable[[int], bytes]) -> Path:
    """A new one, under which data keys are wrapped from now on; durable when this returns."""
    key = randomness(KEY_BYTES)
    path = folder / f"wrapping-{at:%Y%m%dt%H%M%Sz}-{_id(key)}{_ENDING}"
    write_file(str(path), key, mode=0o600)
    return path


def labels(folder: Path) -> tuple[str, ...]:
    """Names without their ending, the oldest first."""
    return tuple(path.stem for path in sorted(folder.glob(f"wrapping-*{_ENDING}")))


def read_key(folder: Path, id_: bytes) -> bytes:
    """Raises KeyMissing, and Corrupt for a file that others may read or that is not the key which
    its name says."""
    paths = sorted(folder.glob(f"wrapping-*-{id_.hex()}{_ENDING}"))
    if not paths:
        raise KeyMissing(
            f"{folder} has no wrapping key {id_.hex()}: copy wrapping-…-{id_.hex()}.key from "
            "another node or from its backup"
        )
    path = paths[0]
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise Corrupt(f"key {path} has mode {mode:o}, must be 600", name=str(path))
        key = path.read_bytes()
    except OSError as exc:
        raise Corrupt(f"key {path} cannot be read: {exc}", name=str(path)) from exc
    if len(key) != KEY_BYTES or _id(key) != id_.hex():
        raise Corrupt(
            f"key {path} is {_id(key)} of {len(key)} bytes, its name says {id_.hex()}",
            name=str(path),
        )
    return key


def seal(key: bytes, data: bytes, about: bytes, nonce: bytes) -> bytes:
    """AES-256-GCM: the nonce, then ciphertext and tag."""
    return nonce + AESGCM(key).encrypt(nonce, data, about)


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes | None:
    """The inverse; None for what was not sealed so."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
    except (InvalidTag, ValueError):
        return None


def _id(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[: 2 * ID_BYTES]
