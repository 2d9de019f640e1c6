"""Time comes in as an argument: the one place that asks the machine for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The present as an aware UTC datetime."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`2026-11-24T14:03:05.123456Z`, always with six digits, so that text sorts as time."""
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment!r}: times here carry their zone")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_rfc3339(text: str) -> datetime:
    """The inverse of `rfc3339`; also takes other RFC 3339 offsets. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without zone {text!r}")
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError(f"time out of range {text!r}") from exc
