"""What keeps a deposit from being disposed of: retention and holds. PURE.

Of several retentions the longest counts, whichever rule set it: the deployment's, the case's or
the exhibit's. A hold counts beside them and has no end of its own: while one stands, nothing else
matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from notary.clock import rfc3339
from notary.errors import Conflict


class Rule(StrEnum):
    """Who set it: the setting of the house, or people for a whole case or for one exhibit."""

    DEPLOYMENT = "deployment"
    CASE = "case"
    EXHIBIT = "exhibit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """`set_by` and `set_at` are None for the deployment's own rule."""

    rule: Rule
    until: datetime
    basis: str
    set_by: str | None = None
    set_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """It stands until it is released."""

    id: str
    rule: Rule
    deposit_id: str | None
    case_id: str | None
    reason: str
    placed_by: str
    placed_at: datetime
    released_by: str | None = None
    released_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All retentions of a deposit, the longest first, and the holds that were not released."""

    retentions: tuple[Retention, ...]
    holds: tuple[Hold, ...]

    @property
    def retained_until(self) -> datetime | None:
        return self.retentions[0].until if self.retentions else None

    def check_disposable(self, at: datetime) -> None:
        """Raises Conflict (`hold_stands`, `retention_stands`): until when, and by which rule."""
        if self.holds:
            hold = self.holds[0]
            more = f", and {len(self.holds) - 1} more" if len(self.holds) > 1 else ""
            raise Conflict(
                f"a hold on the {hold.rule} stands since {rfc3339(hold.placed_at)}, placed by "
                f"{hold.placed_by!r}: {hold.reason!r}{more}; it must be released first",
                code="hold_stands",
            )
        if self.retentions and self.retentions[0].until > at:
            longest = self.retentions[0]
            raise Conflict(
                f"it is retained until {rfc3339(longest.until)} by the rule of the "
                f"{longest.rule} ({longest.basis!r}); now it is {rfc3339(at)}",
                code="retention_stands",
            )
