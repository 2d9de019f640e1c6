"""One large upload, and what the service's memory grew by while it came in.

Beside it one process that reads the same file, computes the same digests with hashlib, writes a
copy and fsyncs it. Both once with the digests of the default settings and once with SHA-256 alone
(`…_sha256`), since SM3 runs at a fifth of the speed that processors give SHA-256. The best of
several runs counts on both sides, and what a run wrote is removed before the next: a virtual
machine that fills memory for the first time waits for its host, and would measure that instead.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.house import folder, say, service
from bench.load import post
from notary.settings import Settings
from tests.harness.server import Service

CHUNK = 1 << 20
GIB = 1 << 30
HASHLIB = {"sm3": "sm3", "sha-512": "sha512"}
SETTINGS = {"": ",".join(Settings().digests), "_sha256": ""}


def measure(*, quick: bool) -> dict[str, object]:
    size, runs = (GIB // 4, 4) if quick else (2 * GIB, 4)
    figures: dict[str, object] = {}
    with folder() as where:
        file = where / "original"
        generate(file, size)
        for suffix, digests in SETTINGS.items():
            say(f"upload of {size >> 20} MiB, digests sha-256 {digests or 'alone'}")
            bare = max(_bare(file, where / "copy", digests) for _ in range(runs))
            with service(digests=digests) as (running, key):
                upload(running.port, key, file, CHUNK)
                ours = max(_upload_once(running, key, file, size) for _ in range(runs))
            figures |= {
                f"upload_ratio{suffix}": round(ours / bare, 3),
                f"upload_ratio{suffix}_yardstick": 1.0,
                f"upload_mb_per_s{suffix}": round(ours / 1e6),
                f"upload_mb_per_s{suffix}_yardstick": round(bare / 1e6),
            }
        if not quick:
            generate(file, 8 * GIB)
        growth = _growth(file)
    return {
        **figures,
        "upload_memory_growth_mib": round(growth, 1),
        "upload_memory_growth_mib_yardstick": CHUNK / (1 << 20),
        "upload_memory_growth_at_mib": size >> 20 if quick else 8 * GIB >> 20,
    }


def generate(file: Path, size: int) -> None:
    block = os.urandom(64 * CHUNK)
    with file.open("wb") as target:
        for _ in range(size // len(block)):
            target.write(block)
        target.flush()
        os.fsync(target.fileno())


def _bare(file: Path, copy: Path, digests: str) -> float:
    names = ["sha256", *(HASHLIB[name] for name in digests.split(",") if name)]
    states = [hashlib.new(name) for name in names]
    began = time.perf_counter()
    with file.open("rb", buffering=0) as source, copy.open("wb", buffering=0) as target:
        while chunk := source.read(CHUNK):
            for state in states:
                state.update(chunk)
            target.write(chunk)
        os.fsync(target.fileno())
    elapsed = time.perf_counter() - began
    copy.unlink()
    return file.stat().st_size / elapsed


def upload(port: int, key: str, file: Path, size: int) -> float:
    """Bytes a second, from the first byte sent to the answer."""
    head = post(
        "/v1/deposits",
        key,
        size,
        Content_Type="application/octet-stream",
        Content_Disposition='attachment; filename="large.bin"',
    )
    with (
        socket.create_connection(("127.0.0.1", port), timeout=600) as connection,
        file.open("rb") as source,
    ):
        began = time.perf_counter()
        connection.sendall(head)
        connection.sendfile(source, count=size)
        answer = connection.recv(CHUNK)
        elapsed = time.perf_counter() - began
    if not answer.startswith(b"HTTP/1.1 201"):
        raise RuntimeError(f"the upload was answered {answer[:300]!r}")
    return size / elapsed


def _upload_once(running: Service, key: str, file: Path, size: int) -> float:
    per_s = upload(running.port, key, file, size)
    for original in (running.home / "objects" / "originals").rglob("*"):
        if original.is_file():
            original.unlink()
    return per_s


def _growth(file: Path) -> float:
    """MiB by which all processes of the service together grew, at the worst moment."""
    with service() as (running, key):
        for _ in range(8):  # both processes have imported, and served, everything by then
            upload(running.port, key, file, 8 * CHUNK)
        before = resident_mib(running)
        with Watched(lambda: resident_mib(running)) as watched:
            upload(running.port, key, file, file.stat().st_size)
        return max(0.0, watched.highest - before)


class Watched:
    """The highest value that a probe gave while the block ran."""

    def __init__(self, probe: Callable[[], float]) -> None:
        self._probe = probe
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.highest = 0.0

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.highest = max(self.highest, self._probe())

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()


def resident_mib(running: Service) -> float:
    return sum(_anonymous_kib(pid) for pid in running.family()) / 1024


def _anonymous_kib(pid: int) -> int:
    try:
        lines: Sequence[str] = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
