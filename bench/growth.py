"""Does a full house grow as fast as an empty one? The same batch over HTTP to both, in turn, so
that whatever else the machine does meets both alike."""

from __future__ import annotations

import time

from bench.batch import post_rows, rows
from bench.cache import large
from bench.house import say, service

ROWS = 200_000
ROUNDS = 3
SMALL = 10_000


def measure(*, quick: bool) -> dict[str, object]:
    if quick:
        return {"growth_ratio": None, "growth_ratio_yardstick": None}
    with large() as (full, full_key), service() as (empty, empty_key):
        post_rows(empty.port, empty_key, b"".join(rows(SMALL)))
        at_large, at_small = 0.0, 0.0
        for number in range(ROUNDS):
            say(f"growth: {ROWS} rows to each house, {number + 1} of {ROUNDS}")
            at_small += _seconds(empty.port, empty_key)
            at_large += _seconds(full.port, full_key)
    return {
        "growth_ratio": round(at_small / at_large, 2),
        "growth_ratio_yardstick": 1.0,
        "batch_entries_per_s_at_10k": round(ROUNDS * ROWS / at_small),
        "batch_entries_per_s_at_10m": round(ROUNDS * ROWS / at_large),
    }


def _seconds(port: int, key: str) -> float:
    body = b"".join(rows(ROWS))
    began = time.perf_counter()
    post_rows(port, key, body)
    return time.perf_counter() - began
