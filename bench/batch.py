"""A batch of digests over HTTP, from the first byte sent to the signed checkpoint in hand.

Beside it, in one process, what a row can't do without: its JSON read, one section and the record
hashed, one Ed25519 signature, one durable row.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.house import folder, say, service
from bench.ledger import durable

SEND = 1 << 18


def measure(*, quick: bool) -> dict[str, object]:
    count = 50_000 if quick else 500_000
    body = b"".join(rows(count))
    say(f"batch: {count} rows, {len(body) >> 20} MiB")
    with service() as (running, key):
        post_rows(running.port, key, b"".join(rows(1_000)))
        began = time.perf_counter()
        last = post_rows(running.port, key, body)
        elapsed = time.perf_counter() - began
    if last["registered"] != count:
        raise RuntimeError(f"{count} rows were sent, the service says {last}")
    return {
        "batch_entries_per_s": round(count / elapsed),
        "batch_entries_per_s_yardstick": round(_bare_rows_per_s(body)),
    }


def rows(count: int) -> Iterator[bytes]:
    for number in range(count):
        digest = hashlib.sha256(os.urandom(16)).hexdigest()
        yield (
            f'{{"size":{1000 + number},"digests":{{"sha-256":"{digest}"}},'
            f'"name":"scan-{number:07}.tiff"}}\n'
        ).encode()


def post_rows(port: int, key: str, body: bytes) -> dict[str, object]:
    """The closing line of the answer, after all of it was read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, blocksize=SEND, timeout=600)
    connection.request(
        "POST",
        "/v1/batches",
        body,
        {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"},
    )
    response = connection.getresponse()
    tail = b""
    while chunk := response.read(SEND):
        tail = (tail + chunk)[-20_000:]
    connection.close()
    if response.status != 201:
        raise RuntimeError(f"{response.status}: {tail[:500]!r}")
    last: dict[str, object] = json.loads(tail.rstrip(b"\n").rpartition(b"\n")[2])
    return last


def _bare_rows_per_s(body: bytes) -> float:
    key = Ed25519PrivateKey.generate()
    lines = body.split(b"\n")[:20_000]
    with folder() as where:
        connection = durable(where)
        began = time.perf_counter()
        entries = []
        for index, line in enumerate(lines):
            row = json.loads(line) if line else {}
            section = hashlib.sha256(os.urandom(32) + repr(row).encode()).digest()
            record = hashlib.sha256(section).digest()
            entries.append((index, record + key.sign(record * 6)))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO entry VALUES (?, ?)", entries)
        connection.execute("COMMIT")
        elapsed = time.perf_counter() - began
        connection.close()
    return len(lines) / elapsed
