"""Single documents over HTTP: each 201 means stored, durable, proved. 32 clients keep it busy;
then so many come a second as the service must answer without anybody waiting.

Beside it a server that does only what can't be left out: the same server software takes the same
body, hashes it, keeps it in a file of its own, fsyncs, and answers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.house import folder, say, service
from bench.load import Load, drive, offer, post, random_documents
from tests.harness.server import REPOSITORY, free_port

CLIENTS = 32
DOCUMENT_BYTES = 1024
OFFERED = 100


def measure(*, quick: bool) -> dict[str, object]:
    seconds = 5.0 if quick else 30.0
    say(f"single deposits: {CLIENTS} clients for {seconds:.0f} s")
    with service() as (running, key):
        ours = _drive(running.port, _head("/v1/deposits", key), seconds)
        say(f"single deposits: {OFFERED} offered a second")
        documents = random_documents(_head("/v1/deposits", key), DOCUMENT_BYTES)
        offered = offer(
            running.port, documents, per_s=OFFERED, seconds=min(seconds, 20.0), status=201
        )
    say("single deposits: the bare server")
    with _bare() as port:
        bare = _drive(port, _head("/", "none"), min(seconds, 10.0))
    return {
        "single_deposits_per_s": round(ours.per_s),
        "single_deposits_per_s_yardstick": round(bare.per_s),
        "single_deposit_p50_ms": round(ours.percentile_ms(0.5), 1),
        "single_deposit_p50_ms_yardstick": round(bare.percentile_ms(0.5), 1),
        "single_deposit_p99_ms": round(ours.percentile_ms(0.99), 1),
        "single_deposit_p99_ms_yardstick": round(bare.percentile_ms(0.99), 1),
        "single_deposits_refused": len(ours.refused) + len(offered.refused),
        "offered_100_p50_ms": round(offered.percentile_ms(0.5), 1),
        "offered_100_p99_ms": round(offered.percentile_ms(0.99), 1),
    }


def _head(path: str, key: str) -> bytes:
    return post(
        path,
        key,
        DOCUMENT_BYTES,
        Content_Type="application/octet-stream",
        Content_Disposition='attachment; filename="document.bin"',
    )


def _drive(port: int, head: bytes, seconds: float) -> Load:
    documents = random_documents(head, DOCUMENT_BYTES)
    drive(port, documents, clients=CLIENTS, seconds=1.0, status=201)
    return drive(port, documents, clients=CLIENTS, seconds=seconds, status=201)


@contextlib.contextmanager
def _bare() -> Iterator[int]:
    with folder() as where:
        port = free_port()
        process = subprocess.Popen(
            [
                sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", "2",
                "--blocking-threads", "16", "--host", "127.0.0.1", "--port", str(port),
                "--no-ws", "--no-log", "bench.bare:application",
            ],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "BARE_FOLDER": str(where)},
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait_for(where / "ready")
            yield port
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the bare server did not start")
        time.sleep(0.05)
    time.sleep(0.5)  # the other worker
