"""Digests of an original, all computed in one pass over its bytes. PURE.

SHA-256 always; SM3 (GB/T 32905) and SHA-512 (FIPS 180-4) beside it where configured. Also the
header fields of RFC 9530 that carry them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from notary.errors import DigestMismatch, MalformedInput

SHA256 = "sha-256"
SM3 = "sm3"
SHA512 = "sha-512"
SIZES = {SHA256: 32, SM3: 32, SHA512: 64}
"""Algorithm name (RFC 9530's, and `sm3`) to digest length in bytes."""

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_HASHLIB = {SHA256: "sha256", SM3: "sm3", SHA512: "sha512"}
_HEX = re.compile(r"[0-9a-f]+")
_FIELD = re.compile(r"\s*([a-z0-9*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):\s*")


class _Hash(Protocol):
    def update(self, chunk: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class Digester:
    """Feeds every chunk to every algorithm. `algorithms` always contains SHA-256."""

    def __init__(self, algorithms: Iterable[str] = (SHA256,)) -> None:
        names = dict.fromkeys((SHA256, *algorithms))
        self._hashes: dict[str, _Hash] = {name: hashlib.new(_HASHLIB[name]) for name in names}
        self.size = 0

    def update(self, chunk: bytes | memoryview) -> None:
        for state in self._hashes.values():
            state.update(chunk)
        self.size += len(chunk)

    def digests(self) -> dict[str, str]:
        """Algorithm name to lower-case hex, of all bytes so far."""
        return {name: state.hexdigest() for name, state in self._hashes.items()}


def parse_digest_field(value: str) -> dict[str, str]:
    """RFC 9530 `Repr-Digest`/`Content-Digest` to {algorithm: lower-case hex}.

    Unknown algorithms are left out, as RFC 9530 section 2 asks. Raises MalformedInput
    (`digest_field_malformed`) when the field is no dictionary of byte sequences or a known
    algorithm's value has the wrong length.
    """
    found: dict[str, str] = {}
    for member in value.split(","):
        match = _FIELD.fullmatch(member)
        if match is None:
            raise MalformedInput(
                f"digest field member {member!r} is not <algorithm>=:<base64>: (RFC 9530)",
                code="digest_field_malformed",
            )
        name, encoded = match.groups()
        if name not in SIZES:
            continue
        try:
            raw = base64.b64decode(encoded, validate=True)
        except binascii.Error as exc:
            raise MalformedInput(
                f"digest of {name} is not base64: {encoded!r}", code="digest_field_malformed"
            ) from exc
        if len(raw) != SIZES[name]:
            raise MalformedInput(
                f"digest of {name} has {len(raw)} bytes, not {SIZES[name]}",
                code="digest_field_malformed",
            )
        found[name] = raw.hex()
    return found


def encode_digest_field(digests: Mapping[str, str]) -> str:
    """{algorithm: hex} to the RFC 9530 field value. SM3 is not registered there: left out."""
    return ", ".join(
        f"{name}=:{base64.b64encode(bytes.fromhex(value)).decode()}:"
        for name, value in digests.items()
        if name != SM3
    )


def parse_digests(given: Mapping[str, object]) -> dict[str, str]:
    """{algorithm: hex} as a depositor states it, checked for names and lengths.

    Raises MalformedInput (`digests_malformed`); SHA-256 must be among them.
    """
    digests: dict[str, str] = {}
    for name, value in given.items():
        size = SIZES.get(name)
        if size is None:
            raise MalformedInput(
                f"unknown digest algorithm {name!r}; known: {', '.join(SIZES)}",
                code="digests_malformed",
            )
        if not isinstance(value, str) or len(value) != size * 2 or not _HEX.fullmatch(value):
            raise MalformedInput(
                f"digest {name} must be {size * 2} lower-case hex digits, got {value!r:.80}",
                code="digests_malformed",
            )
        digests[name] = value
    if SHA256 not in digests:
        raise MalformedInput("digests must contain sha-256", code="digests_malformed")
    return digests


def check_declared(declared: Mapping[str, str], computed: Mapping[str, str]) -> None:
    """Raises DigestMismatch showing both values where a declared digest was computed too."""
    for name, value in declared.items():
        ours = computed.get(name)
        if ours is not None and ours != value:
            raise DigestMismatch(f"{name} mismatch: declared {value}, computed {ours}")
