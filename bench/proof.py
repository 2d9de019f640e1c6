"""Inclusion proofs in process: the head and the tiles read from the database, the path built.

The tree of ten million entries is grown once from cheap statements and kept in a folder
(BENCH_CACHE, by default one for this user among the temporary files), since it takes minutes.
Beside it a proof from the same tree with all its hashes in memory.
"""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.house import folder, say
from bench.ledger import rate
from notary.ledger import Growing, Ledger, SignHead, create_log, read_head
from notary.tlog import merkle, tile
from storage.database import Database

CHUNK = 100_000


def measure(*, quick: bool) -> dict[str, object]:
    with folder() as where:
        figures = _at(10_000, where / "small.db", "10k", quick=quick)
    if quick:
        return {**figures, "proof_ms_10m": None, "proof_ms_10m_yardstick": None}
    return {**figures, **_at(10_000_000, _cache() / "ten-million.db", "10m", quick=False)}


def _cache() -> Path:
    default = Path(tempfile.gettempdir()) / f"evidence-bench-{os.getuid()}"
    cache = Path(os.environ.get("BENCH_CACHE", default))
    cache.mkdir(mode=0o700, exist_ok=True)
    return cache


def _at(size: int, path: Path, name: str, *, quick: bool) -> dict[str, object]:
    database = Database(f"sqlite:///{path}")
    _grow(database, size)
    ledger, chance = Ledger(database), random.Random(size)
    say(f"proofs at {size} entries")

    def prove() -> None:
        ledger.prove_inclusion(chance.randrange(size))

    per_s = rate(prove, 1.0 if quick else 5.0)
    bare = rate(_from_memory(ledger, size, chance), 1.0)
    database.close()
    return {
        f"proof_ms_{name}": round(1000 / per_s, 3),
        f"proof_ms_{name}_yardstick": round(1000 / bare, 3),
    }


def _from_memory(ledger: Ledger, size: int, chance: random.Random) -> Callable[[], object]:
    """Proves from hashes that were read before; a few leaves, so that they fit."""
    indices = [chance.randrange(size) for _ in range(50)]
    tiles: dict[tuple[int, int], bytes] = {}

    def read(level: int, n: int) -> bytes:
        if (level, n) not in tiles:
            width = min(tile.TILE_WIDTH, (size >> 8 * level) - n * tile.TILE_WIDTH)
            tiles[level, n] = ledger.hash_tile(level, n, width)
        return tiles[level, n]

    reader = tile.hash_reader(read)
    for index in indices:
        merkle.prove_inclusion(index, size, reader)
    return lambda: merkle.prove_inclusion(chance.choice(indices), size, reader)


def _grow(database: Database, size: int) -> None:
    """Up to `size`, on from where an earlier run stopped."""
    sign: SignHead = lambda size, root, _at: b"%d %s" % (size, root.hex().encode())  # noqa: E731
    now = datetime.now(UTC)
    if not database.has_tables():
        with database.writing() as connection:
            database.create_tables(connection)
            create_log(connection, b"genesis", now, sign)
    edge: dict[tuple[int, int], bytes] = {}
    began = time.perf_counter()
    while (at := Ledger(database).head().size) < size:
        with database.writing() as connection:
            growing = Growing(connection, read_head(connection, lock=True), edge)
            end = min(at + CHUNK, size)
            for first in range(at, end, 1000):
                growing.append([_entry(i) for i in range(first, min(first + 1000, end))])
            growing.seal(now, sign)
            edge = growing.edge()
        if end % 1_000_000 == 0:
            say(f"grown to {end} of {size} in {time.perf_counter() - began:.0f} s")


def _entry(index: int) -> bytes:
    return hashlib.sha256(index.to_bytes(8, "big")).digest()
