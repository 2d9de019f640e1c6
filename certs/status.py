"""What the issuer says of a certificate now: current, superseded or withdrawn; a signed statement.

RFC 8785 canonical JSON without a final newline. It carries the ledger's own entry of the event that
made the certificate what it is: its issue, the issue of the next version, or its withdrawal. The
signature is Ed25519 over the type, a line feed and the canonical form of everything else.
`docs/format.md` is the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certs.canonical import canonical, parse_canonical
from certs.certificate import Key, Signature, read_signature, signature_members
from certs.entry import Entry, read_entry
from certs.errors import CertificateMalformed, UnsupportedFormat
from certs.reading import Node, rfc3339
from certs.seal import SealingKey, check_signature, sign

TYPE = "evidence-certificate-status/v1"
MEDIA_TYPE = "application/vnd.evidence-certificate-status+json"
MAX_BYTES = 256 * 1024
STATES = ("current", "superseded", "withdrawn")
_FAMILY = "evidence-certificate-status/"
_PREFIX = f"{TYPE}\n".encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusDraft:
    """Everything but the signature. `newest` is the newest version that there is; `since` is when
    the event was; `reason` is that of a withdrawal. `entry` is None for events of before entries
    named certificates."""

    certificate_id: str
    registration: str
    origin: str
    version: int
    status: str
    newest: int
    since: datetime
    reason: str | None
    disposed: bool
    stated_at: datetime
    entry: Entry | None

    def said(self) -> dict[str, Any]:
        return {
            "type": TYPE,
            "certificate_id": self.certificate_id,
            "registration": self.registration,
            "origin": self.origin,
            "version": self.version,
            "status": self.status,
            "newest": self.newest,
            "since": rfc3339(self.since),
            "reason": self.reason,
            "disposed": self.disposed,
            "stated_at": rfc3339(self.stated_at),
            "entry": None if self.entry is None else self.entry.members(),
        }

    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return _PREFIX + canonical(self.said())


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateStatus:
    """A statement as it is given out. That it was parsed says nothing about its signature."""

    draft: StatusDraft
    signature: Signature

    def encode(self) -> bytes:
        said = self.draft.said()
        said["signature"] = signature_members(self.signature)
        return canonical(said)

    def check_seal(self, keys: Sequence[Key]) -> Key:
        """The key of `keys` that signed it. Raises SealInvalid, UnknownKey."""
        of = f"status of certificate {self.draft.certificate_id}"
        return check_signature(keys, self.signature, self.draft.signed_bytes(), of=of)


def sign_status(draft: StatusDraft, key: SealingKey) -> CertificateStatus:
    """Signed by the certificates' key."""
    return CertificateStatus(draft=draft, signature=sign(key, draft.signed_bytes()))


def parse_status(data: bytes) -> CertificateStatus:
    """The statement in `data`; its signature is not looked at.

    Raises CertificateMalformed for anything that is not exactly its canonical form,
    UnsupportedFormat for another version.
    """
    if len(data) > MAX_BYTES:
        raise CertificateMalformed(f"it has {len(data)} bytes, the limit is {MAX_BYTES}")
    top = Node(parse_canonical(data), "status")
    type_ = top.member("type").text()
    if type_ != TYPE and type_.startswith(_FAMILY):
        raise UnsupportedFormat(f"status is of type {type_!r:.60}, known is {TYPE!r}")
    said = top.members(
        "type", "certificate_id", "registration", "origin", "version", "status", "newest", "since",
        "reason", "disposed", "stated_at", "entry", "signature",
    )  # fmt: skip
    said["type"].one_of((TYPE,))
    return CertificateStatus(
        draft=StatusDraft(
            certificate_id=said["certificate_id"].text(),
            registration=said["registration"].text(),
            origin=said["origin"].text(),
            version=said["version"].integer(least=1),
            status=said["status"].one_of(STATES),
            newest=said["newest"].integer(least=1),
            since=said["since"].time(),
            reason=said["reason"].text_or_none(),
            disposed=said["disposed"].boolean(),
            stated_at=said["stated_at"].time(),
            entry=None if said["entry"].value is None else read_entry(said["entry"]),
        ),
        signature=read_signature(said["signature"]),
    )
