"""A real service in its own process group, made by the same commands that a clerk types."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

REPOSITORY = Path(__file__).resolve().parents[2]
START_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True, kw_only=True)
class Service:
    """`home` is the house; `settings` are further NOTARY_* values without the prefix."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    link: str = ""
    """The administrator's one-time sign-in link, printed by `notary init`."""
    log_name: str = "log"
    """The file in `home` that its log goes to: nodes that share a home have one each."""
    under: tuple[str, ...] = ()
    """What its command line begins with: a program that becomes it."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("NOTARY_")}
        inherited.pop("PROMETHEUS_MULTIPROC_DIR", None)
        ours = {f"NOTARY_{name.upper()}": value for name, value in self.settings.items()}
        return {
            **inherited,
            "PYTHONPATH": str(REPOSITORY),
            "NOTARY_HOME": str(self.home),
            "NOTARY_PORT": str(self.port),
            "NOTARY_LOG_LEVEL": "warning",
            # An hour that ends during a test would give its certificates a record more.
            "NOTARY_RECORD_INTERVAL": "0",
            # What a killed service leaves behind goes when the test's folder goes.
            "TMPDIR": str(self.home / "tmp"),
            **ours,
        }

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs `notary …` in this house. Shows what it complained of where it failed."""
        done = subprocess.run(
            [sys.executable, "-m", "notary.cli.main", *arguments],
            env=self.environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def init(self) -> None:
        found = re.search(r"/sign-in/\S+", self.cli("init").stdout)
        assert found is not None
        self.link = self.base + found.group()

    def key(self, name: str, *scopes: str) -> str:
        """A new API key of the API client `name`."""
        narrowed = [part for scope in scopes for part in ("--scope", scope)]
        return self.cli("key", "create", name, *narrowed).stdout.strip()

    def start(self) -> None:
        """Returns when the service answers. Its log goes to `home`/log."""
        self.spawn()
        self.await_answer()

    def await_answer(self) -> None:
        """After `spawn`."""
        assert self.process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"service ended with {self.process.returncode}: {self.log()}")
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.base}/healthz", timeout=5).ok:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"service did not start: {self.log()}")

    def spawn(self) -> None:
        """As `start`, but does not wait."""
        (self.home / "tmp").mkdir(exist_ok=True)
        with (self.home / self.log_name).open("ab") as log:
            self.process = subprocess.Popen(
                [*self.under, sys.executable, "-m", "notary.cli.main", "serve"],
                env=self.environment,
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self) -> str:
        return (self.home / self.log_name).read_text("utf-8", "replace")[-4000:]

    def stop(self) -> int:
        """As Ctrl-C does; gives the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(45)

    def kill(self) -> None:
        """kill -9 of every process of the service at once."""
        assert self.process is not None
        family = self.family()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        self.wait_for(lambda: not any(map(_is_running, family)))

    def family(self) -> list[int]:
        """Every process of the service, the one that was started first."""
        assert self.process is not None
        mine = {self.process.pid}
        found = [self.process.pid]
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    stat = (entry / "stat").read_text()
                    parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
        grown = True
        while grown:
            children = [pid for pid, parent in parents.items() if parent in mine - {0}]
            new = [pid for pid in children if pid not in mine]
            mine.update(new)
            found.extend(new)
            grown = bool(new)
        return found

    def wait_for(self, question: Any, *, seconds: float = 30.0) -> Any:
        """The first true answer to `question()`. Raises AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := question():
                return answer
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds} s in vain for {question!r}: {self.log()}")


def _is_running(pid: int) -> bool:
    """A process that was killed stays a while, as a zombie, until its parent asks."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


class Client(requests.Session):
    """A client of one service with one key."""

    def __init__(self, base: str, key: str | None = None) -> None:
        super().__init__()
        self.base = base
        if key is not None:
            self.headers["Authorization"] = f"Bearer {key}"

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("timeout", 60)
        path = url.decode() if isinstance(url, bytes) else url
        return super().request(
            method, path if path.startswith("http") else self.base + path, *args, **kwargs
        )
