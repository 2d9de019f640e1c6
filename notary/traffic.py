"""What the parent and the web processes of a service tell one another, through files in one folder:
how many requests are under way, and that this node is about to leave. A room of its own, so that
the parent need not load the web.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.multiprocess import MultiProcessCollector

IN_FLIGHT = Gauge("evidence_requests_in_flight", "Requests under way", multiprocess_mode="livesum")


FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The environment's name of that folder."""
PARENT: Final = "EVIDENCE_PARENT"
"""In a child's environment: who started it. Whoever was killed before the child could ask would
not be noticed otherwise."""
_LEAVING: Final = "leaving"


def leave(folder: Path) -> None:
    """From now on this node is not ready, and asks its clients for new connections elsewhere."""
    (folder / _LEAVING).touch()


def is_leaving() -> bool:
    folder = os.environ.get(FOLDER)
    return folder is not None and os.path.exists(os.path.join(folder, _LEAVING))


def in_flight(folder: Path) -> int:
    """How many requests the web processes work on that share their counters in `folder`."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # theirs
    value = registry.get_sample_value("evidence_requests_in_flight")
    return int(value or 0)
