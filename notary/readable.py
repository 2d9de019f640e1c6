"""What a log is read from, as those who read it see it. PURE."""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """Several threads may read at once."""

    name: str
    """Says in messages what is read."""

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """What stands at `path` (C2SP tlog-tiles, below the log's prefix); None where nothing
        does. More than `max_bytes` is given cut off after the first byte too many, or refused.
        Raises Unreachable."""
