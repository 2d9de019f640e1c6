"""The signed report of a verification of many certificates, for the file of the court.

`verification.json` is RFC 8785 canonical JSON without a final newline: who verified, when, with
what, how many of each verdict, and the SHA-256 of the table that has a line for each certificate.
The signature is the verifier's own, Ed25519 over the type, a line feed and the canonical form of
everything else; a report without one says so. `docs/format.md` is the specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from certs.canonical import canonical, parse_canonical
from certs.certificate import ALGORITHM, Key
from certs.errors import CertificateMalformed, SealInvalid, UnknownKey
from certs.reading import Node, b64, b64url, rfc3339
from certs.seal import SealingKey

TYPE = "evidence-verification/v1"
MAX_BYTES = 1024 * 1024
VERDICTS = ("confirmed", "not_this_file", "not_genuine", "undecided", "superseded")
_PREFIX = f"{TYPE}\n".encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationDraft:
    """Everything but the signature. `table` is the file name of the lines, `table_sha256` of its
    bytes, in hex; `trust_sha256` of the trust file's, None where only embedded keys were used."""

    made_at: datetime
    software: str
    trust_sha256: str | None
    total: int
    verdicts: Mapping[str, int]
    codes: Mapping[str, int]
    table: str
    table_sha256: str

    def said(self) -> dict[str, Any]:
        return {
            "type": TYPE,
            "made_at": rfc3339(self.made_at),
            "software": self.software,
            "trust_sha256": self.trust_sha256,
            "total": self.total,
            "verdicts": dict(self.verdicts),
            "codes": dict(self.codes),
            "table": {"name": self.table, "sha256": self.table_sha256},
        }

    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return _PREFIX + canonical(self.said())


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A report as it is given out. `signature` is None where nobody signed it."""

    draft: VerificationDraft
    key: Key | None
    signature: bytes | None

    def encode(self) -> bytes:
        signed: dict[str, str] | None = None
        if self.key is not None and self.signature is not None:
            signed = {
                "alg": ALGORITHM,
                "kid": b64url(self.key.kid),
                "public_key": b64(self.key.public_key),
                "value": b64(self.signature),
            }
        return canonical(self.draft.said() | {"signature": signed})

    def check_signature(self, public_key: bytes) -> None:
        """By the raw Ed25519 key of whom the reader believes. Raises UnknownKey for a report of
        another key or of none, SealInvalid."""
        if self.key is None or self.signature is None:
            raise UnknownKey("the report is not signed")
        if self.key.public_key != public_key:
            raise UnknownKey(f"the report is signed by key {self.key.kid.hex()}, not by this one")
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(
                self.signature, self.draft.signed_bytes()
            )
        except (InvalidSignature, ValueError) as exc:
            raise SealInvalid("the report is not what its key signed") from exc


def make_verification(draft: VerificationDraft, key: SealingKey | None) -> Verification:
    """Signed by `key`; unsigned without one."""
    if key is None:
        return Verification(draft=draft, key=None, signature=None)
    signer = Key.of(key.public_key().public_bytes_raw())
    return Verification(draft=draft, key=signer, signature=key.sign(draft.signed_bytes()))


def parse_verification(data: bytes) -> Verification:
    """The report in the bytes of a `verification.json`; its signature is not looked at. Raises
    CertificateMalformed for anything that is not exactly its canonical form."""
    if len(data) > MAX_BYTES:
        raise CertificateMalformed(f"it has {len(data)} bytes, the limit is {MAX_BYTES}")
    said = Node(parse_canonical(data), "verification").members(
        "type", "made_at", "software", "trust_sha256", "total", "verdicts", "codes", "table",
        "signature",
    )  # fmt: skip
    said["type"].one_of((TYPE,))
    table = said["table"].members("name", "sha256")
    draft = VerificationDraft(
        made_at=said["made_at"].time(),
        software=said["software"].text(),
        trust_sha256=said["trust_sha256"].text_or_none(),
        total=said["total"].integer(least=0),
        verdicts=_counts(said["verdicts"]),
        codes=_counts(said["codes"]),
        table=table["name"].text(),
        table_sha256=table["sha256"].text(),
    )
    if said["signature"].value is None:
        return Verification(draft=draft, key=None, signature=None)
    signed = said["signature"].members("alg", "kid", "public_key", "value")
    signed["alg"].one_of((ALGORITHM,))
    try:
        key = Key(
            kid=signed["kid"].base64url(exactly=32),
            public_key=signed["public_key"].base64(exactly=32),
        )
    except ValueError as exc:
        raise CertificateMalformed(f"signature: {exc}") from exc
    return Verification(draft=draft, key=key, signature=signed["value"].base64(exactly=64))


def _counts(node: Node) -> dict[str, int]:
    return {name: each.integer(least=0) for name, each in node.items()}
