"""Signed notes (C2SP signed-note) and the keys that verify them.

    This is an example message.

    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYj…

The text, with its final newline, is what is signed. A key is written on one line:

    example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k

name, key ID, and base64 of type byte and public key. The type says what bytes a signature
covers; `signed_message` has all three that are known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from notary.errors import BadSignature, MalformedInput, Unverifiable
from notary.remembered import KEPT
from notary.tlog.checkpoint import decode_base64, encode_base64, parse_checkpoint_text
from notary.tlog.key import SigningKey

ED25519: Final = 0x01
ED25519_COSIGNATURE: Final = 0x04
MLDSA44_COSIGNATURE: Final = 0x06

PUBLIC_KEY_BYTES: Final = {ED25519: 32, ED25519_COSIGNATURE: 32, MLDSA44_COSIGNATURE: 1312}
SIGNATURE_BYTES: Final = {ED25519: 64, ED25519_COSIGNATURE: 72, MLDSA44_COSIGNATURE: 2428}
TIMESTAMP_BYTES: Final = 8
MAX_TIMESTAMP: Final = 2**63 - 1
MAX_NOTE_BYTES: Final = 1 << 20
MAX_SIGNATURES: Final = 100
MAX_KEY_ID: Final = 2**32 - 1

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_VKEY = re.compile(r"(?P<name>[^+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line; `signature` is what follows the key ID, timestamp included."""

    name: str
    key_id: int
    signature: bytes

    def __post_init__(self) -> None:
        _require_name(self.name)
        if not 0 <= self.key_id <= MAX_KEY_ID:
            raise ValueError(f"key id {self.key_id} is not 32 bits")
        if not self.signature:
            raise ValueError(f"empty signature by {self.name!r}")

    def encode(self) -> str:
        """The line, with its newline."""
        return f"— {self.name} {encode_base64(self.key_id.to_bytes(4, 'big') + self.signature)}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text and who claims to have signed it; `open_note` says who did."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        require_text(self.text)
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise ValueError(f"{len(self.signatures)} signatures, not 1 to {MAX_SIGNATURES}")

    def encode(self) -> bytes:
        lines = "".join(signature.encode() for signature in self.signatures)
        return f"{self.text}\n{lines}".encode()


def parse_note(data: bytes) -> Note:
    """A signed note from its bytes. Raises MalformedInput; nothing is verified.

    At most 1 MiB and 100 signatures. Text and signatures part at the last empty line.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise MalformedInput(f"note of {len(data)} bytes, at most {MAX_NOTE_BYTES}")
    try:
        text, blank, lines = data.decode().rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise MalformedInput("note has no empty line before whole signature lines")
        signatures = tuple(map(parse_signature_line, lines[:-1].split("\n")))
        return Note(text=f"{text}\n", signatures=signatures)
    except ValueError as exc:
        raise MalformedInput(f"not a signed note: {exc}") from exc


def parse_signature_line(line: str) -> NoteSignature:
    """One signature line without its newline. Raises MalformedInput."""
    dash, name, encoded = (*line.split(" ", 2), "", "")[:3]
    if dash != "—":
        raise MalformedInput(f"signature line does not begin with an em dash: {line[:100]!r}")
    blob = decode_base64(encoded)
    try:
        return NoteSignature(name=name, key_id=int.from_bytes(blob[:4], "big"), signature=blob[4:])
    except ValueError as exc:
        raise MalformedInput(f"not a signature line: {exc}") from exc


def key_id(name: str, type_byte: int, public_key: bytes) -> int:
    """First four bytes, big-endian, of SHA-256(name || newline || type byte || public key)."""
    material = name.encode() + b"\n" + bytes([type_byte]) + public_key
    return int.from_bytes(sha256(material).digest()[:4], "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key under a name (a "vkey"). `type` is 0x01, 0x04 or 0x06."""

    name: str
    key_id: int
    type: int
    public_key: bytes

    def __post_init__(self) -> None:
        _require_name(self.name)
        expected = PUBLIC_KEY_BYTES.get(self.type)
        if expected is None:
            raise ValueError(f"key type 0x{self.type:02x} is not known")
        if len(self.public_key) != expected:
            raise ValueError(f"public key of {len(self.public_key)} bytes, not {expected}")
        derived = key_id(self.name, self.type, self.public_key)
        if self.key_id != derived:
            raise ValueError(f"key id {self.key_id:08x}, but the key gives {derived:08x}")

    @classmethod
    def derive(cls, name: str, type_byte: int, public_key: bytes) -> VerifierKey:
        """The key under this name, its key ID computed. Raises ValueError."""
        derived = key_id(name, type_byte, public_key)
        return cls(name=name, key_id=derived, type=type_byte, public_key=public_key)

    def encode(self) -> str:
        """The vkey line, without a newline."""
        encoded = encode_base64(bytes([self.type]) + self.public_key)
        return f"{self.name}+{self.key_id:08x}+{encoded}"

    def verify(self, text: str, signature: bytes) -> int | None:
        """Checks `signature` (as in NoteSignature) over a note's text.

        Gives a cosignature's time in POSIX seconds (of 0x06, 0 means that no statement is
        made about the time), None for a plain signature. That time is the cosigner's word,
        not a trusted timestamp. Raises BadSignature.
        """
        if len(signature) != SIGNATURE_BYTES[self.type]:
            raise BadSignature(
                f"signature of {len(signature)} bytes by {self.name!r}, "
                f"not {SIGNATURE_BYTES[self.type]}"
            )
        timestamp: int | None = None
        if self.type != ED25519:
            timestamp = int.from_bytes(signature[:TIMESTAMP_BYTES], "big")
            signature = signature[TIMESTAMP_BYTES:]
        try:
            message = signed_message(self.name, self.type, text, timestamp)
            _loaded(self.type, self.public_key).verify(signature, message)
        except (InvalidSignature, MalformedInput, ValueError) as exc:
            raise BadSignature(
                f"signature by {self.name!r}, key id {self.key_id:08x}, does not verify"
            ) from exc
        return timestamp


@lru_cache(maxsize=KEPT)
def _loaded(type_byte: int, raw: bytes) -> MLDSA44PublicKey | Ed25519PublicKey:
    """An ML-DSA-44 key takes half as long to load as to verify with. Raises ValueError."""
    if type_byte == MLDSA44_COSIGNATURE:
        return MLDSA44PublicKey.from_public_bytes(raw)
    return Ed25519PublicKey.from_public_bytes(raw)


def parse_vkey(line: str) -> VerifierKey:
    """A vkey line, without a newline. Raises MalformedInput, also where the key ID is not
    that of the key or the type is not 0x01, 0x04 or 0x06."""
    match = _VKEY.fullmatch(line)
    if match is None:
        raise MalformedInput(f"not a vkey: {line[:100]!r}")
    blob = decode_base64(match["key"])
    try:
        return VerifierKey(
            name=match["name"], key_id=int(match["id"], 16), type=blob[0], public_key=blob[1:]
        )
    except ValueError as exc:
        raise MalformedInput(f"not a vkey: {line[:100]!r}: {exc}") from exc


def signed_message(name: str, type_byte: int, text: str, timestamp: int | None) -> bytes:
    """The bytes that a signature of this type by `name` covers.

    0x01: the text. 0x04: the whole checkpoint text under a line with the time. 0x06: origin,
    size and root of the checkpoint and the time, as C2SP's subtree/v1 from 0 to size;
    extension lines are not covered. `timestamp` is in POSIX seconds, None for 0x01 alone.
    Raises MalformedInput where a cosigned text is no checkpoint, ValueError for a time out
    of range or a name or origin over 255 bytes (0x06).
    """
    if type_byte == ED25519:
        return text.encode()
    if timestamp is None or not 0 <= timestamp <= MAX_TIMESTAMP:
        raise ValueError(f"cosignature time {timestamp} is not 0 to {MAX_TIMESTAMP}")
    checkpoint = parse_checkpoint_text(text)
    if type_byte == ED25519_COSIGNATURE:
        return f"cosignature/v1\ntime {timestamp}\n{text}".encode()
    return b"".join(
        (
            b"subtree/v1\n\x00",
            _short_vector(name),
            timestamp.to_bytes(8, "big"),
            _short_vector(checkpoint.origin),
            bytes(8),  # start; end:
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


class NoteSigner(Protocol):
    """Whoever can sign notes: a key in memory, a token, a remote service."""

    @property
    def verifier(self) -> VerifierKey:
        """The key that verifies what this signer signs."""

    def sign(self, text: str) -> NoteSignature:
        """Signs a note's text, final newline included. Raises ValueError for what is none."""


class Ed25519Signer:
    """Plain note signatures, type 0x01."""

    def __init__(self, name: str, key: SigningKey) -> None:
        self._key = key
        self.verifier = VerifierKey.derive(name, ED25519, key.public_key().public_bytes_raw())

    def sign(self, text: str) -> NoteSignature:
        require_text(text)
        signature = self._key.sign(signed_message(self.verifier.name, ED25519, text, None))
        return NoteSignature(
            name=self.verifier.name, key_id=self.verifier.key_id, signature=signature
        )


def sign_note(text: str, signers: Iterable[NoteSigner]) -> Note:
    """The text signed by each, in this order. Raises what a signer raises."""
    return Note(text=text, signatures=tuple(signer.sign(text) for signer in signers))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSignature:
    """A signature that holds; `timestamp` as `VerifierKey.verify` gives it."""

    key: VerifierKey
    timestamp: int | None


def open_note(note: Note, keys: Sequence[VerifierKey]) -> tuple[VerifiedSignature, ...]:
    """Which of `keys` signed the note, in the note's order, each key once.

    Lines by other keys (name or key ID differs) are passed over. Raises BadSignature where a
    line by one of `keys` does not verify, whatever the others do; Unverifiable(unknown_key)
    where no line is by one of them; Unverifiable(ambiguous_key) where two different keys
    have one name and key ID.
    """
    known: dict[tuple[str, int], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise Unverifiable(
                f"two keys are named {key.name!r} with key id {key.key_id:08x}",
                code="ambiguous_key",
            )
    verified: dict[VerifierKey, VerifiedSignature] = {}
    for line in note.signatures:
        signer = known.get((line.name, line.key_id))
        if signer is not None:
            timestamp = signer.verify(note.text, line.signature)
            verified.setdefault(signer, VerifiedSignature(key=signer, timestamp=timestamp))
    if not verified:
        names = ", ".join(f"{line.name!r} {line.key_id:08x}" for line in note.signatures[:16])
        raise Unverifiable(f"no signature by a known key, only by {names}", code="unknown_key")
    return tuple(verified.values())


def require_text(text: str) -> None:
    """Raises ValueError unless `text` can be a note's: UTF-8 that ends with a newline and
    has no control character but newlines."""
    text.encode()
    if not text.endswith("\n"):
        raise ValueError("note text does not end with a newline")
    if _CONTROL.search(text):
        raise ValueError("note text has control characters")


def _require_name(name: str) -> None:
    name.encode()
    if not name or "+" in name or _CONTROL.search(name) or any(map(str.isspace, name)):
        raise ValueError(f"key name {name[:100]!r} is empty, or has spaces, controls or a +")


def _short_vector(text: str) -> bytes:
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"{text[:100]!r} is {len(data)} bytes, at most 255")
    return bytes([len(data)]) + data
