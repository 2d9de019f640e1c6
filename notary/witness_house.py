"""A witness's own folder: its name and keys, the logs it watches, what it saw last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from notary.clock import SystemClock
from notary.cosigner import Cosigner
from notary.errors import Corrupt, MalformedInput
from notary.keys import load_key, write_key
from notary.tlog.cosignature import Ed25519Cosigner, MLDSA44Signer
from notary.tlog.note import VerifierKey, parse_vkey
from storage.durable import replace_file, write_file

NAME, LOGS = "name", "logs"
ED25519, MLDSA44 = "witness-ed25519", "witness-mldsa44"


def found_witness(home: Path, *, name: str, logs: Sequence[str]) -> None:
    """Makes the folder with new keys where there is none; notes the logs to be watched (vkeys).

    Raises MalformedInput for a name or vkey that cannot be one, or another name than it has.
    """
    parsed = [parse_vkey(line).encode() for line in logs]
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (home / NAME).exists():
        try:
            key = Ed25519PrivateKey.generate()
            Ed25519Cosigner(name, key, _now)
        except ValueError as exc:
            raise MalformedInput(f"witness name {name!r}: {exc}", code="settings") from exc
        write_key(home, ED25519, key)
        write_key(home, MLDSA44, MLDSA44PrivateKey.generate())
        write_file(str(home / NAME), name.encode(), mode=0o644)
    elif (home / NAME).read_text("utf-8") != name:
        raise MalformedInput(
            f"{home} is the witness {(home / NAME).read_text('utf-8')!r}, not {name!r}",
            code="settings",
        )
    if parsed:
        replace_file(str(home / LOGS), "".join(f"{line}\n" for line in parsed).encode())


def open_witness(home: Path) -> Cosigner:
    """Raises Corrupt where the folder is not a witness's."""
    return Cosigner(home, logs=_logs(home), signers=_signers(home))


def witness_keys(home: Path) -> tuple[VerifierKey, ...]:
    """What a policy needs to know of this witness."""
    return tuple(signer.verifier for signer in _signers(home))


def _signers(home: Path) -> tuple[Ed25519Cosigner, MLDSA44Signer]:
    try:
        name = (home / NAME).read_text("utf-8")
    except OSError as exc:
        raise Corrupt(f"{home} is no witness's folder: {exc}", name=str(home)) from exc
    ed25519, mldsa44 = load_key(home, ED25519), load_key(home, MLDSA44)
    if not isinstance(ed25519, Ed25519PrivateKey) or not isinstance(mldsa44, MLDSA44PrivateKey):
        raise Corrupt(f"keys in {home} are of other kinds", name=str(home))
    return Ed25519Cosigner(name, ed25519, _now), MLDSA44Signer(name, mldsa44, _now)


def _logs(home: Path) -> tuple[VerifierKey, ...]:
    try:
        lines = (home / LOGS).read_text("utf-8").splitlines()
    except OSError as exc:
        raise Corrupt(f"{home} watches no log: {exc}", name=str(home / LOGS)) from exc
    return tuple(parse_vkey(line) for line in lines)


def _now() -> int:
    return int(SystemClock().now().timestamp())
