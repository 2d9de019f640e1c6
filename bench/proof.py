"""Proofs in process: the head and the tiles read from the database, the path built.

At ten thousand entries and in the house of ten million. Beside it a proof from the same tree with
all its hashes in memory.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from bench.batch import rows
from bench.cache import large_office
from bench.house import deposit_rows, office, say
from bench.ledger import rate
from notary.ledger import Ledger
from notary.office import Office
from notary.tlog import merkle, tile

SMALL = 10_000
_ENTRIES = 100_000
"""Of so many the sizes are taken for those of all."""


def measure(*, quick: bool) -> dict[str, object]:
    with office() as (house, by):
        deposit_rows(house, by, rows(SMALL))
        figures = _figures(house, "10k", quick=quick)
    if quick:
        nothing = {f"{kind}_ms_10m": None for kind in ("proof", "consistency")}
        return {**figures, **nothing, "proof_ms_10m_yardstick": None}
    with large_office() as house:
        return {**figures, **_figures(house, "10m", quick=False), **_sizes(house)}


def _figures(house: Office, name: str, *, quick: bool) -> dict[str, object]:
    ledger, size = house.ledger, house.ledger.head().size
    chance = random.Random(size)
    say(f"proofs at {size} entries")
    seconds = 1.0 if quick else 5.0
    inclusion = rate(lambda: ledger.prove_inclusion(chance.randrange(size)), seconds)
    consistency = rate(lambda: ledger.prove_consistency(chance.randrange(1, size), size), seconds)
    bare = rate(_from_memory(ledger, size, chance), 1.0)
    return {
        f"proof_ms_{name}": round(1000 / inclusion, 3),
        f"proof_ms_{name}_yardstick": round(1000 / bare, 3),
        f"consistency_ms_{name}": round(1000 / consistency, 3),
    }


def _sizes(house: Office) -> dict[str, object]:
    """Bytes that a million deposits take: of the ledger's entries and tiles, and of the file."""
    with house.database.reading() as connection:
        statements = connection.exec_driver_sql(
            f"SELECT avg(length(statement)) FROM entry WHERE idx < {_ENTRIES}"
        ).scalar_one()
    size = house.ledger.head().size
    whole = (house.settings.home / "notary.db").stat().st_size
    hashes = 1 + 1 / tile.TILE_WIDTH
    return {
        "ledger_mib_per_million": round((statements + 32 * hashes) * 1e6 / 2**20),
        "database_mib_per_million": round(whole / size * 1e6 / 2**20),
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
