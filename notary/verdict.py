"""What verification says: a class, a code, the checks one by one; never just a tick. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    CONFIRMED = "confirmed"
    NOT_THIS_FILE = "not_this_file"
    NOT_GENUINE = "not_genuine"
    UNDECIDED = "undecided"
    SUPERSEDED = "superseded"


EXIT_STATUS: dict[Verdict, int] = {
    Verdict.CONFIRMED: 0,
    Verdict.NOT_THIS_FILE: 1,
    Verdict.NOT_GENUINE: 1,
    Verdict.UNDECIDED: 2,
    Verdict.SUPERSEDED: 3,
}


class Status(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_MADE = "not_made"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `code` says what failed or why it was not made; `detail` shows both sides."""

    name: str
    status: Status
    code: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The bytes in hand, as their digests and size."""

    digests: Mapping[str, str]
    size: int
    is_certificate: bool = False
    """It is itself a certificate: handed in by mistake more often than not."""
    name: str | None = None
    """What the file is called where it lies."""
    near: str | None = None
    """Where it is not the registered file: the code of the likely reason that was tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a genuine certificate says. Never filled from one that does not check out."""

    certificate_id: str
    issuer: str
    origin: str
    deposit_id: str
    sections: Mapping[str, object]
    index: int
    size: int
    received_at: str
    registered_at: str
    timestamped_at: str | None
    issued_at: str
    self_operated_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`trusted_keys` is False when only the keys embedded in the certificate were used."""

    verdict: Verdict
    code: str
    checks: tuple[Check, ...]
    trusted_keys: bool
    facts: Facts | None
    document: Document | None

    @property
    def exit_status(self) -> int:
        return EXIT_STATUS[self.verdict]
