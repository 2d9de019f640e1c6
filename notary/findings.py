"""What a derivation finds: counts, and each fault by the name of the thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

CHUNK = 1_024  # a multiple of the tile width

Progress = Callable[[str, int, int], None]
"""Told (what is being read, how far, of how many)."""


class Depth(StrEnum):
    """How far down it derives. Each includes the ones before."""

    LEDGER = "ledger"
    """Entries, tiles, checkpoints and their tokens."""
    RECORDS = "records"
    """Also every row, record and statement."""
    ORIGINALS = "originals"
    """Also every original, read again from storage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`name` says which thing, `detail` both sides."""

    name: str
    detail: str


@dataclass(slots=True, kw_only=True)
class Findings:
    """`reached` is the index up to which records and originals were read, for going on there;
    `journal_lag` the number of entries that are not in the journal yet."""

    entries: int = 0
    deposits: int = 0
    disposed: int = 0
    events: int = 0
    statements: int = 0
    """Of outside issuers."""
    policies: int = 0
    originals: int = 0
    tokens: int = 0
    segments: int = 0
    journal_lag: int = 0
    reached: int = 0
    faults: list[Fault] = field(default_factory=list)

    def fault(self, name: str, detail: object) -> None:
        self.faults.append(Fault(name=name, detail=str(detail)))
