"""A web whose first process is killed leaves no other ones that nobody would end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.harness.server import Service
from tests.harness.world import ready, roles


def test_what_a_killed_web_leaves_is_ended_before_another_is_started(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(web_processes="1")
    (first,) = [pid for role, pid in roles(service) if role == "web"]
    left = [pid for role, pid in roles(service) if role == "web-process"]
    assert left
    os.kill(first, signal.SIGKILL)
    service.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
    service.wait_for(lambda: ready(service))
