"""The change of the house's keys as a document, and the history of keys that such documents make.

A rotation (`key-rotation/v1`) is canonical JSON, as the genesis document is, and an entry of the
ledger commits to its SHA-256. It names the document before it, so that the documents are a chain
from the genesis on, and it is signed by every key that it retires and by every key that it brings:

    signed bytes = "key-rotation/v1" || 0x0a || canonical JSON of the document without `signatures`

One of its signers may be in a place that signs short messages alone, as AWS KMS; then the document
is a `key-rotation/v2`, which differs in its type and in what is signed:

    signed bytes = "key-rotation/v2" || 0x0a || SHA-256 of that canonical JSON

Entry n, and a checkpoint of size n, are signed by the keys of the last rotation whose own entry
has an index below n. The entry of a rotation is therefore signed by the keys before it.

PURE.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from certs.canonical import canonical, parse_canonical
from certs.errors import CertificateMalformed
from notary.clock import parse_rfc3339, rfc3339
from notary.errors import BadRotation, MalformedInput
from notary.tlog.note import ED25519, MLDSA44_COSIGNATURE, VerifierKey, parse_vkey

ROTATION, DIGESTED_ROTATION = "key-rotation/v1", "key-rotation/v2"
_TYPES = (ROTATION, DIGESTED_ROTATION)
MAX_DOCUMENT_BYTES = 1 << 18
MAX_REASON = 1_000
_LOG_KEY_TYPES = (ED25519, MLDSA44_COSIGNATURE)
_HEX = re.compile(r"[0-9a-f]{64}")
_MEMBERS = frozenset(
    (
        "type",
        "origin",
        "serial",
        "previous",
        "rotated_at",
        "reason",
        "keys",
        "retired",
        "signatures",
    )
)


class Job(StrEnum):
    """What a key signs."""

    LOG = "log"
    """Checkpoints, and receipts."""
    STATEMENT = "statement"
    """Entries."""
    CERTIFICATE = "certificate"
    """Certificates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """Public keys by job. Those of statements and certificates are raw Ed25519."""

    log: tuple[VerifierKey, ...] = ()
    statement: tuple[bytes, ...] = ()
    certificate: tuple[bytes, ...] = ()

    def of(self, job: Job) -> tuple[VerifierKey, ...] | tuple[bytes, ...]:
        match job:
            case Job.LOG:
                return self.log
            case Job.STATEMENT:
                return self.statement
            case Job.CERTIFICATE:
                return self.certificate

    def raw(self) -> dict[str, tuple[int, bytes]]:
        """Each key as documents write it, to (signature type, raw public key), jobs in order."""
        found = {key.encode(): (key.type, key.public_key) for key in self.log}
        for key in (*self.statement, *self.certificate):
            found[_b64(key)] = (ED25519, key)
        return found

    def only(self, jobs: frozenset[Job]) -> KeySet:
        return KeySet(
            log=self.log if Job.LOG in jobs else (),
            statement=self.statement if Job.STATEMENT in jobs else (),
            certificate=self.certificate if Job.CERTIFICATE in jobs else (),
        )

    def encode(self) -> dict[str, list[str]]:
        return {
            "log": [key.encode() for key in self.log],
            "statement": [_b64(key) for key in self.statement],
            "certificate": [_b64(key) for key in self.certificate],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """One document. `previous` is the SHA-256 of the one before it, of the genesis for serial 1.
    `keys` are all that hold from here on, `retired` those that no longer do. `signatures` are
    (key as the document writes it, signature): the retired keys' in their order, then the new
    keys'."""

    origin: str
    serial: int
    previous: bytes
    at: datetime
    reason: str
    keys: KeySet
    retired: KeySet
    digested: bool = False
    """Signed over its digest: `key-rotation/v2`."""
    signatures: tuple[tuple[str, bytes], ...] = ()

    def jobs(self) -> frozenset[Job]:
        """The jobs whose keys change."""
        return frozenset(job for job in Job if self.retired.of(job))

    def signed_bytes(self) -> bytes:
        said = self._said()
        del said["signatures"]
        text = canonical(said)
        body = hashlib.sha256(text).digest() if self.digested else text
        return f"{self.type}\n".encode() + body

    @property
    def type(self) -> str:
        return DIGESTED_ROTATION if self.digested else ROTATION

    def signers(self) -> dict[str, tuple[int, bytes]]:
        """Who must sign it, in the order of `signatures`."""
        return self.retired.raw() | self.keys.only(self.jobs()).raw()

    def encode(self) -> str:
        return canonical(self._said()).decode("utf-8")

    def _said(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "origin": self.origin,
            "serial": self.serial,
            "previous": self.previous.hex(),
            "rotated_at": rfc3339(self.at),
            "reason": self.reason,
            "keys": self.keys.encode(),
            "retired": self.retired.encode(),
            "signatures": [{"key": key, "value": _b64(value)} for key, value in self.signatures],
        }


def sign_rotation(draft: Rotation, sign: Mapping[str, Callable[[bytes], bytes]]) -> Rotation:
    """The document with all its signatures; `sign` has every key of `draft.signers()`."""
    data = draft.signed_bytes()
    return replace(draft, signatures=tuple((key, sign[key](data)) for key in draft.signers()))


def parse_rotation(text: str) -> Rotation:
    """Raises BadRotation (`rotation_malformed`) for anything but the form that `encode` gives; no
    signature is looked at."""
    try:
        if len(text) > MAX_DOCUMENT_BYTES:
            raise ValueError(f"{len(text)} characters, at most {MAX_DOCUMENT_BYTES}")
        said: Any = parse_canonical(text.encode("utf-8"))
        if not isinstance(said, dict) or said.keys() != _MEMBERS or said["type"] not in _TYPES:
            raise ValueError(f"not the members of a {ROTATION}")
        serial, previous, reason = said["serial"], said["previous"], said["reason"]
        if isinstance(serial, bool) or not isinstance(serial, int) or serial < 1:
            raise ValueError(f"serial {serial!r} is no number from 1 on")
        if not _HEX.fullmatch(previous):
            raise ValueError("previous is not a SHA-256 in hex")
        if not isinstance(reason, str) or len(reason) > MAX_REASON:
            raise ValueError(f"reason is no text of at most {MAX_REASON} characters")
        origin = _text(said["origin"])
        rotation = Rotation(
            origin=origin,
            serial=serial,
            previous=bytes.fromhex(previous),
            at=parse_rfc3339(said["rotated_at"]),
            reason=reason,
            keys=_key_set(said["keys"], origin),
            retired=_key_set(said["retired"], origin),
            digested=said["type"] == DIGESTED_ROTATION,
            signatures=tuple(_signature(each) for each in said["signatures"]),
        )
        if rotation.encode() != text:
            raise ValueError("not in its only form")
    except (
        CertificateMalformed, MalformedInput, ValueError, TypeError, AttributeError, LookupError,
    ) as exc:  # fmt: skip
        raise BadRotation(f"rotation cannot be read: {exc}") from exc
    return rotation


def check_signatures(rotation: Rotation) -> None:
    """Raises BadRotation (`rotation_signature_invalid`) unless every key that is retired or new
    signed it, in their order, and nobody else."""
    signers, data = rotation.signers(), rotation.signed_bytes()
    if [key for key, _ in rotation.signatures] != list(signers):
        raise BadRotation(
            f"rotation {rotation.serial} is signed by {len(rotation.signatures)} keys, not by "
            f"exactly the {len(signers)} that it retires and brings",
            code="rotation_signature_invalid",
        )
    for key, value in rotation.signatures:
        type_, public_key = signers[key]
        try:
            if type_ == MLDSA44_COSIGNATURE:
                MLDSA44PublicKey.from_public_bytes(public_key).verify(value, data)
            else:
                Ed25519PublicKey.from_public_bytes(public_key).verify(value, data)
        except (InvalidSignature, ValueError) as exc:
            raise BadRotation(
                f"rotation {rotation.serial}: the signature by key {key[:80]} does not verify",
                code="rotation_signature_invalid",
            ) from exc


def parse_genesis_keys(genesis: str) -> tuple[str, KeySet]:
    """(origin, keys) of a genesis document. Raises BadRotation (`rotation_malformed`)."""
    try:
        said = json.loads(genesis)
        origin = _text(said["origin"])
        return origin, _key_set(said["keys"], origin)
    except (MalformedInput, ValueError, TypeError, LookupError, RecursionError) as exc:
        raise BadRotation(f"genesis document cannot be read: {exc}") from exc


def digest_of(document: str) -> bytes:
    """What the ledger's entry commits to, and the next document names."""
    return hashlib.sha256(document.encode("utf-8")).digest()


# --- reading values ---------------------------------------------------------------------------


def _key_set(said: Any, origin: str) -> KeySet:
    if not isinstance(said, dict) or said.keys() != {job.value for job in Job}:
        raise ValueError("keys are not those of log, statement and certificate")
    log = tuple(parse_vkey(line) for line in said["log"])
    for key in log:
        if key.name != origin or key.type not in _LOG_KEY_TYPES:
            raise ValueError(f"{key.encode()[:80]} is no key of the log {origin!r}")
    return KeySet(
        log=log,
        statement=tuple(_raw(key) for key in said["statement"]),
        certificate=tuple(_raw(key) for key in said["certificate"]),
    )


def _signature(said: Any) -> tuple[str, bytes]:
    if not isinstance(said, dict) or said.keys() != {"key", "value"}:
        raise ValueError("a signature is not key and value")
    return _text(said["key"]), _unb64(said["value"])


def _text(said: object) -> str:
    if not isinstance(said, str) or not said:
        raise ValueError(f"{said!r:.80} is no text")
    return said


def _raw(text: object) -> bytes:
    raw = _unb64(text)
    if len(raw) != 32:
        raise ValueError(f"key {text!r:.80} has {len(raw)} bytes, not 32")
    return raw


def _unb64(text: object) -> bytes:
    try:
        return base64.b64decode(_text(text), validate=True)
    except binascii.Error as exc:
        raise ValueError(f"{text!r:.80} is not base64") from exc


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
