"""How many requests are under way in all web processes of a service: they share their counters
through files in one folder. A room of its own, so that the parent, which asks when the house is
to close, need not load the web.
"""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.multiprocess import MultiProcessCollector

IN_FLIGHT = Gauge("evidence_requests_in_flight", "Requests under way", multiprocess_mode="livesum")


def in_flight(folder: Path) -> int:
    """How many requests the web processes work on that share their counters in `folder`."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # theirs
    value = registry.get_sample_value("evidence_requests_in_flight")
    return int(value or 0)
