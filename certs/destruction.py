"""The destruction certificate: that a deposit was disposed of, by whom, and what became of it.

`destruction.json` is RFC 8785 canonical JSON without a final newline. It says nothing of what the
deposit was: only its id and its place in the ledger, the two people's acts, and the ledger's own
entry of the disposal with its proof. The signature is Ed25519 over the type, a line feed and the
canonical form of everything else. `docs/format.md` is the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certs.canonical import canonical, parse_canonical
from certs.certificate import Issuer, Key, Signature, read_signature, signature_members
from certs.entry import Entry, read_entry
from certs.errors import CertificateMalformed, UnsupportedFormat
from certs.reading import Node, rfc3339
from certs.seal import SealingKey, check_signature, sign

TYPE = "evidence-destruction/v1"
MEDIA_TYPE = "application/vnd.evidence-destruction+json"
FILE_NAME = "destruction.json"
MAX_BYTES = 1024 * 1024
OBJECT_STATES = ("removed", "waiting", "never_stored")
_FAMILY = "evidence-destruction/"
_PREFIX = f"{TYPE}\n".encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who, by account name, and when."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroyed:
    """`details_at`: when salts and details were gone from register and journal; `key_at`: when the
    wrapped data key was, None where the original was not encrypted. `object` is one of
    OBJECT_STATES, `object_at` when it was removed, or until when its lock stands, as far as that is
    known."""

    details_at: datetime
    key_at: datetime | None
    object: str
    object_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestructionDraft:
    """Everything but the signature."""

    disposal_id: str
    deposit_id: str
    deposit_index: int
    issuer: Issuer
    reason: str
    basis: str
    requested: Act
    approved: Act
    destroyed: Destroyed
    entry: Entry
    issued_at: datetime

    def said(self) -> dict[str, Any]:
        done = self.destroyed
        return {
            "type": TYPE,
            "disposal": self.disposal_id,
            "deposit": {"id": self.deposit_id, "index": self.deposit_index},
            "issuer": {
                "name": self.issuer.name,
                "origin": self.issuer.origin,
                "software": self.issuer.software,
            },
            "reason": self.reason,
            "basis": self.basis,
            "requested": {"by": self.requested.by, "at": rfc3339(self.requested.at)},
            "approved": {"by": self.approved.by, "at": rfc3339(self.approved.at)},
            "destroyed": {
                "details_at": rfc3339(done.details_at),
                "key_at": None if done.key_at is None else rfc3339(done.key_at),
                "object": done.object,
                "object_at": None if done.object_at is None else rfc3339(done.object_at),
            },
            "entry": self.entry.members(),
            "issued_at": rfc3339(self.issued_at),
        }

    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return _PREFIX + canonical(self.said())


@dataclass(frozen=True, slots=True, kw_only=True)
class Destruction:
    """A destruction certificate as it is given out."""

    draft: DestructionDraft
    signature: Signature

    def encode(self) -> bytes:
        said = self.draft.said()
        said["signature"] = signature_members(self.signature)
        return canonical(said)

    def check_seal(self, keys: Sequence[Key]) -> Key:
        """The key of `keys` that signed it. Raises SealInvalid, UnknownKey."""
        of = f"destruction certificate {self.draft.disposal_id}"
        return check_signature(keys, self.signature, self.draft.signed_bytes(), of=of)


def sign_destruction(draft: DestructionDraft, key: SealingKey) -> Destruction:
    """Signed by the certificates' key."""
    return Destruction(draft=draft, signature=sign(key, draft.signed_bytes()))


def parse_destruction(data: bytes) -> Destruction:
    """The certificate in the bytes of a `destruction.json`; its signature is not looked at.

    Raises CertificateMalformed for anything that is not exactly its canonical form,
    UnsupportedFormat for another version.
    """
    if len(data) > MAX_BYTES:
        raise CertificateMalformed(f"it has {len(data)} bytes, the limit is {MAX_BYTES}")
    root = Node(parse_canonical(data), "destruction")
    said = root.members(
        "type", "disposal", "deposit", "issuer", "reason", "basis", "requested", "approved",
        "destroyed", "entry", "issued_at", "signature",
    )  # fmt: skip
    type_ = said["type"].text()
    if type_ != TYPE:
        known = UnsupportedFormat if type_.startswith(_FAMILY) else CertificateMalformed
        raise known(f"type is {type_!r:.60}, this reads {TYPE}")
    deposit = said["deposit"].members("id", "index")
    issuer = said["issuer"].members("name", "origin", "software")
    return Destruction(
        draft=DestructionDraft(
            disposal_id=said["disposal"].text(),
            deposit_id=deposit["id"].text(),
            deposit_index=deposit["index"].integer(least=0),
            issuer=Issuer(**{name: node.text() for name, node in issuer.items()}),
            reason=said["reason"].text(),
            basis=said["basis"].text(),
            requested=_act(said["requested"]),
            approved=_act(said["approved"]),
            destroyed=_destroyed(said["destroyed"]),
            entry=read_entry(said["entry"]),
            issued_at=said["issued_at"].time(),
        ),
        signature=read_signature(said["signature"]),
    )


def _act(node: Node) -> Act:
    said = node.members("by", "at")
    return Act(by=said["by"].text(), at=said["at"].time())


def _destroyed(node: Node) -> Destroyed:
    said = node.members("details_at", "key_at", "object", "object_at")
    return Destroyed(
        details_at=said["details_at"].time(),
        key_at=_time_or_none(said["key_at"]),
        object=said["object"].one_of(OBJECT_STATES),
        object_at=_time_or_none(said["object_at"]),
    )


def _time_or_none(node: Node) -> datetime | None:
    return None if node.text_or_none() is None else node.time()
