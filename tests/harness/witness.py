"""A real witness in a process of its own, started by the one command another court types."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import requests

from notary.tlog.note import parse_vkey
from notary.tlog.policy import parse_policy
from tests.harness.server import REPOSITORY, free_port

START_S = 30.0


@dataclass(slots=True, kw_only=True)
class WitnessProcess:
    home: Path
    name: str
    port: int = field(default_factory=free_port)
    vkeys: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *logs: str) -> None:
        """Watches the logs of these vkeys; returns when it answers."""
        watched = [part for log in logs for part in ("--log", log)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "notary.cli.main", "witness", str(self.home),
             "--name", self.name, "--port", str(self.port), *watched],
            cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.vkeys = tuple(self.process.stdout.readline().strip() for _ in range(2))
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self.url}/healthz", timeout=2).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise RuntimeError(f"witness {self.name} did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def policy_line(self, label: str) -> str:
        line = f"witness {label} {parse_vkey(self.vkeys[0]).encode()} {self.url}\n"
        parse_policy(f"{line}quorum {label}\n")
        return line
