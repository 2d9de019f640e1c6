"""The nouns of the house. Frozen values, no behaviour beyond refusing nonsense. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from notary.errors import MalformedInput

MAX_NAME_BYTES = 1024
"""File names: file systems stop at 255 bytes; names from the web may be longer."""
MAX_LABEL_CHARS = 500
"""Case numbers, titles, exhibit labels: long enough for any court, short enough to print."""


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def uuid7(moment: datetime, randomness: bytes) -> str:
    """RFC 9562 section 5.7 from a time (millisecond resolution) and 10 random bytes."""
    milliseconds = int(moment.timestamp() * 1000)
    raw = bytearray(milliseconds.to_bytes(6, "big") + randomness)
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


class Role(StrEnum):
    ADMINISTRATOR = "administrator"
    CLERK = "clerk"
    AUDITOR = "auditor"
    PARTY = "party"
    API_CLIENT = "api-client"


class EventKind(StrEnum):
    """What can happen to an exhibit, a case or an account. Each is an entry of the ledger."""

    REGISTERED = "registered"
    OPENED = "opened"
    DOWNLOADED = "downloaded"
    CERTIFICATE_ISSUED = "certificate-issued"
    CERTIFICATE_WITHDRAWN = "certificate-withdrawn"
    SIGNED_IN = "signed-in"
    SIGN_IN_REFUSED = "sign-in-refused"
    SIGNED_OUT = "signed-out"
    PASSWORD_SET = "password-set"  # noqa: S105  # the name of an event
    LINK_MADE = "link-made"
    ROLE_CHANGED = "role-changed"
    ACCOUNT_CREATED = "account-created"
    ACCOUNT_DISABLED = "account-disabled"
    KEY_CREATED = "key-created"
    KEY_REVOKED = "key-revoked"
    CASE_OPENED = "case-opened"
    PARTY_ADDED = "party-added"
    ISSUER_ADMITTED = "issuer-admitted"
    ISSUER_RETIRED = "issuer-retired"
    FIXITY_FAILED = "fixity-failed"
    AUDIT_FINISHED = "audit-finished"
    RETENTION_SET = "retention-set"
    HOLD_PLACED = "hold-placed"
    HOLD_RELEASED = "hold-released"
    DISPOSAL_REQUESTED = "disposal-requested"
    DISPOSAL_WITHDRAWN = "disposal-withdrawn"
    DISPOSED = "disposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking: an account, its role, how it proved itself, and what the key may do."""

    account_id: str
    name: str
    role: Role
    authenticated_by: str
    scopes: frozenset[str] | None = None
    """None: everything the role allows. A key can only narrow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    id: str
    court: str
    number: str
    title: str
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the depositor says of a deposit before or beside its bytes."""

    name: str | None = None
    media_type: str | None = None
    size: int | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    case: str | None = None
    court: str | None = None
    exhibit: str | None = None
    provenance: Mapping[str, object] | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    client_reference: str | None = None
    idempotency_key: str | None = None
    document_timestamp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """One registration, as the register keeps it."""

    id: str
    index: int
    account_id: str
    case_id: str | None
    exhibit: str | None
    client_reference: str | None
    name: str | None
    media_type_declared: str | None
    media_type_detected: str | None
    size: int
    sha256: str
    digests: Mapping[str, str]
    stored: bool
    document_timestamp: bool
    record: str
    disclosures: tuple[str, ...]
    received_at: datetime
    registered_at: datetime
    data_key: bytes | None = None
    """What the stored original is encrypted with, wrapped. None where it is not encrypted."""
    disposed_at: datetime | None = None
    """Since then the original and what proves the record's sections are gone from here."""
    object_version: str | None = None
    """Storage's own name for the original's very bytes, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodyEvent:
    """Who did what, when. `record` and `disclosures` are what the ledger's entry commits to."""

    id: str
    index: int
    kind: EventKind
    actor: str
    deposit_id: str | None
    case_id: str | None
    subject: str | None
    at: datetime
    record: str
    disclosures: tuple[str, ...]


def check_label(text: str, *, what: str, limit: int = MAX_LABEL_CHARS) -> str:
    """A printable one-line text of at most `limit` characters, stripped.

    Raises MalformedInput (`label_malformed`) for an empty one, one with control characters, or a
    lone surrogate, which no UTF-8 could carry.
    """
    label = text.strip()
    if not label or len(label) > limit:
        raise MalformedInput(
            f"{what} must have 1 to {limit} characters, got {len(label)}", code="label_malformed"
        )
    if _CONTROL.search(label) or _SURROGATE.search(label):
        raise MalformedInput(f"{what} contains control characters", code="label_malformed")
    return label


def check_name(name: str) -> str:
    """A file name exactly as given. It is evidence, not a path: nothing is opened by it.

    Raises MalformedInput (`name_malformed`) when empty, over MAX_NAME_BYTES in UTF-8, or with
    NUL, line breaks or lone surrogates. `../x` is kept as it is.
    """
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise MalformedInput("file name is not valid Unicode", code="name_malformed") from exc
    if not 1 <= length <= MAX_NAME_BYTES:
        raise MalformedInput(
            f"file name must have 1 to {MAX_NAME_BYTES} bytes in UTF-8, got {length}",
            code="name_malformed",
        )
    if _CONTROL.search(name):
        raise MalformedInput("file name contains control characters", code="name_malformed")
    return name
