"""A second real S3 server with versions and Object Lock: Ceph's, from Debian's packages.

One monitor, one OSD that keeps everything in memory, one gateway; on loopback only, on ports free
at the moment, without systemd and without a manager, one for the whole test session. It is ended
with SIGKILL, by the pids of its own processes, and dies with the test process.

What it does otherwise than SeaweedFS (Ceph 16): `If-None-Match: *` is ignored in a bucket that
keeps versions, and so is `x-amz-checksum-sha256`, a wrong one too.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.harness.weed import ACCESS_KEY, SECRET_KEY, S3Server, dying_with_us, free_ports

ABSENT: Final = "no Ceph here: apt-get install ceph-mon ceph-osd radosgw ceph-common"
PROGRAMS: Final = (
    "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool"
)  # fmt: skip
_START_TIMEOUT_S: Final = 90

# `crc` since the gateway asks for "secure", which hangs without authentication. Without the short
# Paxos times every change of a map takes a second.
_CONFIGURATION: Final = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{monitor}
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
ms bind ipv6 = false
ms mon client mode = crc
ms mon service mode = crc
ms cluster mode = crc
ms bind port min = {low}
ms bind port max = {high}
paxos propose interval = 0.05
paxos min wait = 0.01
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/log/$name.log
log to stderr = false
err to stderr = false
mon cluster log file = {folder}/log/cluster.log
pid file =
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail warn = 1
mon data avail crit = 1
mon osd nearfull ratio = 0.95
mon osd backfillfull ratio = 0.96
mon osd full ratio = 0.97
[mon.a]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = memstore
osd memory target = 939524096
osd op num shards = 2
memstore device bytes = 2147483648
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
rgw enable usage log = false
rgw enable ops log = false
rgw thread pool size = 64
rgw num rados handles = 1
rgw gc max objs = 1
rgw lc max objs = 1
rgw objexp hints num shards = 1
rgw usage max shards = 1
rgw data log num shards = 1
rgw md log max shards = 1
rgw run sync thread = false
rgw dns name = localhost
"""


@functools.cache
def shared_ceph() -> S3Server:
    """The session's one cluster. Skips where the packages are not installed."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{ABSENT} (missing {', '.join(missing)})")
    holder = contextlib.ExitStack()
    atexit.register(holder.close)
    return holder.enter_context(running())


@contextlib.contextmanager
def running() -> Iterator[S3Server]:
    folder = Path(tempfile.mkdtemp(prefix="ceph-"))
    with contextlib.ExitStack() as parts:
        parts.callback(shutil.rmtree, folder, ignore_errors=True)
        cluster = _Cluster(folder, parts)
        yield cluster.start()


class _Cluster:
    def __init__(self, folder: Path, parts: contextlib.ExitStack) -> None:
        self._folder, self._parts = folder, parts
        self._monitor, self._gateway, self._low = free_ports(3)
        self._fsid = str(uuid.uuid4())
        self._deadline = time.monotonic() + _START_TIMEOUT_S
        for name in ("mon", "osd", "log", "run"):
            (folder / name).mkdir()
        (folder / "ceph.conf").write_text(
            _CONFIGURATION.format(
                folder=folder, fsid=self._fsid, monitor=self._monitor, gateway=self._gateway,
                low=self._low, high=min(self._low + 200, 65_535),
            )
        )  # fmt: skip

    def start(self) -> S3Server:
        there = f"[v2:127.0.0.1:{self._monitor}]"
        monmap = os.fspath(self._folder / "monmap")
        self._run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", there, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._serve("ceph-mon", "-f", "-i", "a")
        self._await("ceph", "--connect-timeout", "2", "mon", "stat")
        osd = str(uuid.uuid4())
        self._run("ceph", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._serve("ceph-osd", "-f", "-i", "0")
        self._await("ceph", "osd", "stat", says=" 1 up")
        self._run(
            "radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=tester",
            "--display-name=tester", f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}",
        )  # fmt: skip
        pid = self._serve("radosgw", "-f", "-n", "client.rgw")
        server = S3Server(endpoint=f"http://127.0.0.1:{self._gateway}", pid=pid)
        self._await_bucket(server)
        return server

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": os.fspath(self._folder / "ceph.conf"), "CEPH_ARGS": ""}

    def _run(self, *command: str) -> None:
        done = self._try(*command)
        if done.returncode != 0:
            raise RuntimeError(f"Ceph does not start: {command[0]}: {done.stderr[-2000:]}")

    def _try(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False,
            timeout=_START_TIMEOUT_S,
        )  # fmt: skip

    def _serve(self, *command: str) -> int:
        output = (self._folder / "log" / f"{command[0]}.out").open("wb")
        self._parts.callback(output.close)
        process = subprocess.Popen(
            [*dying_with_us(), *command],
            env=self._environment(), stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self._parts.callback(process.wait)
        self._parts.callback(process.send_signal, signal.SIGKILL)
        return process.pid

    def _await(self, *command: str, says: str = "") -> None:
        while True:
            done = self._try(*command)
            if done.returncode == 0 and says in done.stdout:
                return
            self._give_up_or_wait(f"{command}: {done.stderr[-500:]}")

    def _await_bucket(self, server: S3Server) -> None:
        client = server.client()
        while True:
            try:
                client.create_bucket(Bucket="first-write")
                client.put_object(Bucket="first-write", Key="first", Body=b"write")
            except (BotoCoreError, ClientError) as error:
                self._give_up_or_wait(str(error))
            else:
                return

    def _give_up_or_wait(self, said: str) -> None:
        if time.monotonic() > self._deadline:
            raise RuntimeError(f"Ceph does not start: {said}")
        time.sleep(0.1)
