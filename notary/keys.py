"""The signing keys of the house, and their files; those in tokens are the matter of `keystore`.

Three keys with three jobs: the log's (checkpoints; Ed25519 and ML-DSA-44 side by side), the
statements' (entries) and the certificates'. Files of mode 0600 in `home/keys`: `<name>.pem` from
`notary init`, `<name>-<first 16 hex digits of SHA-256(public key)>.pem` from a rotation, so that
several lie side by side and the public key finds its file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from notary.errors import Corrupt, Fork
from notary.tlog.key import SigningKey
from storage.durable import write_file

LOG, LOG_PQ, STATEMENT, CERTIFICATE = "log-ed25519", "log-mldsa44", "statement", "certificate"
NAMES = (LOG, LOG_PQ, STATEMENT, CERTIFICATE)

HouseKey = Ed25519PrivateKey | MLDSA44PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseKeys:
    log: SigningKey
    log_pq: SigningKey
    statement: SigningKey
    certificate: SigningKey

    def by_name(self) -> dict[str, SigningKey]:
        """Each under the name of its kind."""
        return {
            LOG: self.log,
            LOG_PQ: self.log_pq,
            STATEMENT: self.statement,
            CERTIFICATE: self.certificate,
        }


def raw_public(key: SigningKey) -> bytes:
    return key.public_key().public_bytes_raw()


def new_key(name: str) -> HouseKey:
    """A key for the job of that name, nowhere written yet."""
    return MLDSA44PrivateKey.generate() if name == LOG_PQ else Ed25519PrivateKey.generate()


def file_key(folder: Path, name: str, public_key: bytes) -> HouseKey:
    """The private half of this raw public key. Raises Corrupt naming the file that is missing or
    is not the key that it should be."""
    file = key_file(folder, name, public_key)
    key = load_key(folder, file)
    if name == LOG_PQ:
        if not isinstance(key, MLDSA44PrivateKey):
            raise Corrupt(f"key {folder / file}.pem is no ML-DSA-44 key", name=file)
    elif not isinstance(key, Ed25519PrivateKey):
        raise Corrupt(f"key {folder / file}.pem is no Ed25519 key", name=file)
    if raw_public(key) != public_key:
        raise Corrupt(
            f"key {folder / file}.pem is not the {name} key that the log registered, whose file "
            f"is {folder / rotated_name(name, public_key)}.pem",
            name=file,
        )
    return key


def rotated_name(name: str, public_key: bytes) -> str:
    """The name of the file, without its ending, of a key that a rotation brings."""
    return f"{name}-{hashlib.sha256(public_key).hexdigest()[:16]}"


def key_file(folder: Path, name: str, public_key: bytes) -> str:
    """The same of any key: the plain name where there is no file of a rotation's."""
    rotated = rotated_name(name, public_key)
    return rotated if (folder / f"{rotated}.pem").exists() else name


def unregistered_files(folder: Path, known: Iterable[tuple[str, bytes]]) -> tuple[Path, ...]:
    """Key files that a rotation made and did not come to register, of all but the `known`
    (name, public key). They sign nothing and never will."""
    files = {rotated_name(name, public_key) for name, public_key in known}
    return tuple(
        path
        for name in NAMES
        for path in sorted(folder.glob(f"{name}-{'[0-9a-f]' * 16}.pem"))
        if path.stem not in files
    )


def write_key(
    folder: Path,
    name: str,
    key: HouseKey | EllipticCurvePrivateKey,
) -> None:
    path = folder / f"{name}.pem"
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        write_file(str(path), pem, mode=0o600)
    except FileExistsError as exc:
        raise Fork(f"key {path} exists already", ours=b"", theirs=b"") from exc


def load_key(folder: Path, name: str) -> PrivateKeyTypes:
    """Raises Corrupt also where others than the owner may read it."""
    path = folder / f"{name}.pem"
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise Corrupt(f"key {path} has mode {mode:o}, must be 600", name=str(path))
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as exc:
        raise Corrupt(f"key {path} cannot be read: {exc}", name=str(path)) from exc
