"""Reading the log as monitors do: full tiles over HTTP, 16 connections that are kept open.

Beside it the same number of bytes from the same server software, which does nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from bench.batch import post_rows, rows
from bench.house import say, service
from bench.load import drive
from notary.tlog.tile import TILE_WIDTH, tile_path

CLIENTS = 16


def measure(*, quick: bool) -> dict[str, object]:
    seconds, entries = (3.0, 20_000) if quick else (15.0, 100_000)
    with service() as (running, key):
        post_rows(running.port, key, b"".join(rows(entries)))
        say(f"tile reads: {CLIENTS} clients for {seconds:.0f} s, a tree of {entries}")
        tiles = drive(
            running.port,
            _reads(entries // TILE_WIDTH),
            clients=CLIENTS,
            seconds=seconds,
            status=200,
        )
        bare = drive(
            running.port, _same("/healthz"), clients=CLIENTS, seconds=seconds / 3, status=200
        )
    if tiles.refused:
        raise RuntimeError(f"{len(tiles.refused)} reads were refused: {tiles.refused[0]!r}")
    return {
        "tile_reads_per_s": round(tiles.per_s),
        "tile_reads_per_s_yardstick": round(bare.per_s),
        "tile_read_p99_ms": round(tiles.percentile_ms(0.99), 1),
    }


def _reads(tiles: int) -> Iterator[bytes]:
    chance = random.Random(tiles)
    while True:
        yield _get(f"/log/{tile_path(0, chance.randrange(tiles))}")


def _same(path: str) -> Iterator[bytes]:
    while True:
        yield _get(path)


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
