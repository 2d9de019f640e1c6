"""How fast may go what could go faster."""

from __future__ import annotations

from collections.abc import Callable


class Pace:
    """`rate` is in units a second, 0 for no limit; `now` counts seconds and never goes back."""

    def __init__(self, rate: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._now = now
        self._due = now()

    def owed(self, amount: int) -> float:
        """The seconds to wait, now that `amount` was taken. Time that went by unused is not saved
        up for a burst."""
        if not self._rate:
            return 0.0
        now = self._now()
        self._due = max(self._due, now) + amount / self._rate
        return self._due - now
