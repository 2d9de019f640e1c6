"""The signing keys of the house: made once by `notary init`, loaded ever after.

Three keys with three jobs: the log's (checkpoints; Ed25519 and ML-DSA-44 side by side), the
statements' (entries) and the certificates'. Files of mode 0600 in `home/keys`.
"""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseKeys:
    log: Ed25519PrivateKey
    log_pq: MLDSA44PrivateKey
    statement: Ed25519PrivateKey
    certificate: Ed25519PrivateKey


def create_keys(folder: Path) -> HouseKeys:
    """New keys in a new folder. Raises Fork if any is there: a second set would be a second
    history."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = HouseKeys(
        log=Ed25519PrivateKey.generate(),
        log_pq=MLDSA44PrivateKey.generate(),
        statement=Ed25519PrivateKey.generate(),
        certificate=Ed25519PrivateKey.generate(),
    )
    for name, key in (
        (LOG, keys.log),
        (LOG_PQ, keys.log_pq),
        (STATEMENT, keys.statement),
        (CERTIFICATE, keys.certificate),
    ):
        write_key(folder, name, key)
    return keys


def load_keys(folder: Path) -> HouseKeys:
    """Raises Corrupt naming the key file that is missing or is not the key it should be."""
    log, log_pq = load_key(folder, LOG), load_key(folder, LOG_PQ)
    statement, certificate = load_key(folder, STATEMENT), load_key(folder, CERTIFICATE)
    for key, name, kind in (
        (log, LOG, Ed25519PrivateKey),
        (log_pq, LOG_PQ, MLDSA44PrivateKey),
        (statement, STATEMENT, Ed25519PrivateKey),
        (certificate, CERTIFICATE, Ed25519PrivateKey),
    ):
        if not isinstance(key, kind):
            raise Corrupt(f"key {name} is no {kind.__name__}", name=name)
    assert isinstance(log, Ed25519PrivateKey)
    assert isinstance(log_pq, MLDSA44PrivateKey)
    assert isinstance(statement, Ed25519PrivateKey)
    assert isinstance(certificate, Ed25519PrivateKey)
    return HouseKeys(log=log, log_pq=log_pq, statement=statement, certificate=certificate)


def write_key(
    folder: Path,
    name: str,
    key: Ed25519PrivateKey | MLDSA44PrivateKey | EllipticCurvePrivateKey,
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
