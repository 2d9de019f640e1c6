"""Wraps the data keys of originals under a key of the house, and unwraps them.

A wrapping key is a file of 32 bytes with mode 0600, `home/keys/wrapping-<UTC time>-<id>.key`;
the id is the first 16 hex digits of its SHA-256. New data keys are wrapped under the newest by
name; the older ones still unwrap what they wrapped. A wrapped data key is the wrapping key's id (8
bytes), a random nonce (12 bytes), and AES-256-GCM of the data key, with `evidence-data-key/v1`, a
NUL and the deposit's id as associated data: it opens for no other deposit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from notary.envelope import KEY_BYTES, TAG
from notary.errors import Corrupt, KeyMissing
from storage.durable import write_file

_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
WRAPPED_BYTES: Final = _ID_BYTES + _NONCE_BYTES + KEY_BYTES + TAG
_FILE = re.compile(r"wrapping-[0-9]{8}t[0-9]{6}z-([0-9a-f]{16})\.key")


class Wrapping:
    """The wrapping keys of a folder. New originals are encrypted where it is `on`."""

    def __init__(self, folder: Path, *, on: bool, randomness: Callable[[int], bytes]) -> None:
        self._folder = folder
        self.on = on
        self._randomness = randomness
        self._loaded: dict[str, bytes] = {}

    def check(self) -> None:
        """Raises KeyMissing where originals are to be encrypted and no key is there for it."""
        if self.on:
            self._newest()

    def new_data_key(self, deposit_id: str) -> tuple[bytes, bytes]:
        """(data key, the same wrapped). Raises KeyMissing, Corrupt."""
        id_, wrapping = self._newest()
        data_key = self._randomness(KEY_BYTES)
        nonce = self._randomness(_NONCE_BYTES)
        sealed = AESGCM(wrapping).encrypt(nonce, data_key, _about(deposit_id))
        return data_key, bytes.fromhex(id_) + nonce + sealed

    def unwrap(self, wrapped: bytes, deposit_id: str) -> bytes:
        """Raises KeyMissing where this node lacks the wrapping key, Corrupt for a wrapped key
        that was changed or is another deposit's."""
        name = f"data key {deposit_id}"
        if len(wrapped) != WRAPPED_BYTES:
            raise Corrupt(f"{name} has {len(wrapped)} bytes, not {WRAPPED_BYTES}", name=name)
        key = self._load(wrapped[:_ID_BYTES].hex())
        nonce = wrapped[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        try:
            return AESGCM(key).decrypt(
                nonce, wrapped[_ID_BYTES + _NONCE_BYTES :], _about(deposit_id)
            )
        except InvalidTag as exc:
            raise Corrupt(f"{name} was not wrapped for this deposit", name=name) from exc

    def _newest(self) -> tuple[str, bytes]:
        ids = [id_ for _, id_ in _files(self._folder)]
        if not ids:
            raise KeyMissing(
                f"originals are to be encrypted, and {self._folder} has no wrapping key: copy it "
                "from another node, or make the first with `notary wrapping-key`"
            )
        return ids[-1], self._load(ids[-1])

    def _load(self, id_: str) -> bytes:
        if id_ not in self._loaded:
            paths = [path for path, found in _files(self._folder) if found == id_]
            if not paths:
                raise KeyMissing(
                    f"{self._folder} has no wrapping key {id_}: copy wrapping-…-{id_}.key from "
                    "another node or from its backup"
                )
            self._loaded[id_] = _read(paths[0], id_)
        return self._loaded[id_]


def make_wrapping_key(folder: Path, at: datetime, randomness: Callable[[int], bytes]) -> Path:
    """A new one, under which data keys are wrapped from now on; durable when this returns."""
    key = randomness(KEY_BYTES)
    id_ = hashlib.sha256(key).hexdigest()[: 2 * _ID_BYTES]
    path = folder / f"wrapping-{at:%Y%m%dt%H%M%Sz}-{id_}.key"
    write_file(str(path), key, mode=0o600)
    return path


def _about(deposit_id: str) -> bytes:
    return b"evidence-data-key/v1\0" + deposit_id.encode("ascii")


def _files(folder: Path) -> list[tuple[Path, str]]:
    """(file, key's id), the oldest first."""
    named = ((path, _FILE.fullmatch(path.name)) for path in sorted(folder.glob("wrapping-*.key")))
    return [(path, match[1]) for path, match in named if match is not None]


def _read(path: Path, id_: str) -> bytes:
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise Corrupt(f"key {path} has mode {mode:o}, must be 600", name=str(path))
        key = path.read_bytes()
    except OSError as exc:
        raise Corrupt(f"key {path} cannot be read: {exc}", name=str(path)) from exc
    found = hashlib.sha256(key).hexdigest()[: 2 * _ID_BYTES]
    if len(key) != KEY_BYTES or found != id_:
        raise Corrupt(
            f"key {path} is {found} of {len(key)} bytes, its name says {id_}", name=str(path)
        )
    return key
