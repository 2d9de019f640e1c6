"""No process outlives whoever would end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.harness.server import REPOSITORY, Service, free_port
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


def test_a_web_whose_parent_was_gone_before_it_looked_ends(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(web_processes="1")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    web = subprocess.Popen(
        [sys.executable, "-m", "notary.cli.main", "web"],
        env={
            **service.environment,
            "NOTARY_PORT": str(free_port()),
            "EVIDENCE_PARENT": str(gone.pid),
        },
        cwd=REPOSITORY,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    web.wait(60)
