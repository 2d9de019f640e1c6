"""The signing keys of the house: made once by `notary init`, loaded ever after.

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
from storage.durable import write_file

LOG, LOG_PQ, STATEMENT, CERTIFICATE = "log-ed25519", "log-mldsa44", "statement", "certificate"


HouseKey = Ed25519PrivateKey | MLDSA44PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseKeys:
    log: Ed25519PrivateKey
    log_pq: MLDSA44PrivateKey
    statement: Ed25519PrivateKey
    certificate: Ed25519PrivateKey

    def by_name(self) -> dict[str, HouseKey]:
        """Each under the name of its kind."""
        return {
            LOG: self.log,
            LOG_PQ: self.log_pq,
            STATEMENT: self.statement,
            CERTIFICATE: self.certificate,
        }


def create_keys(folder: Path) -> HouseKeys:
    """New keys in a new folder. Raises Fork if any is there: a second set would be a second
    history."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = generate_keys()
    for name, key in keys.by_name().items():
        write_key(folder, name, key)
    return keys


def generate_keys() -> HouseKeys:
    """New keys, nowhere written yet."""
    return HouseKeys(
        log=Ed25519PrivateKey.generate(),
        log_pq=MLDSA44PrivateKey.generate(),
        statement=Ed25519PrivateKey.generate(),
        certificate=Ed25519PrivateKey.generate(),
    )


def load_keys(
    folder: Path, *, log: bytes, log_pq: bytes, statement: bytes, certificate: bytes
) -> HouseKeys:
    """The private halves of these raw public keys. Raises Corrupt naming the key file that is
    missing or is not the key it should be."""
    return HouseKeys(
        log=_ed25519(folder, LOG, log),
        log_pq=_mldsa44(folder, LOG_PQ, log_pq),
        statement=_ed25519(folder, STATEMENT, statement),
        certificate=_ed25519(folder, CERTIFICATE, certificate),
    )


def _ed25519(folder: Path, name: str, public_key: bytes) -> Ed25519PrivateKey:
    file = key_file(folder, name, public_key)
    key = load_key(folder, file)
    if not isinstance(key, Ed25519PrivateKey):
        raise Corrupt(f"key {folder / file}.pem is no Ed25519 key", name=file)
    _require(folder, file, name, key.public_key().public_bytes_raw(), public_key)
    return key


def _mldsa44(folder: Path, name: str, public_key: bytes) -> MLDSA44PrivateKey:
    file = key_file(folder, name, public_key)
    key = load_key(folder, file)
    if not isinstance(key, MLDSA44PrivateKey):
        raise Corrupt(f"key {folder / file}.pem is no ML-DSA-44 key", name=file)
    _require(folder, file, name, key.public_key().public_bytes_raw(), public_key)
    return key


def _require(folder: Path, file: str, name: str, is_: bytes, must: bytes) -> None:
    if is_ != must:
        raise Corrupt(
            f"key {folder / file}.pem is not the {name} key that the log registered, whose file "
            f"is {folder / rotated_name(name, must)}.pem",
            name=file,
        )


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
        for name in (LOG, LOG_PQ, STATEMENT, CERTIFICATE)
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
