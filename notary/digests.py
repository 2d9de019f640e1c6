"""Which deposits have a digest: one row each, by the digest's start. Owns their table.

A table and no index of `deposit`, whose rows come in the ledger's order: their digests land
anywhere, and every page of a large index would be read and written again for a handful of them. A
batch enters its own sorted, page after page. Derived: a rebuild makes the rows again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import sqlalchemy as sa

from storage.database import METADATA, Prepared

DIGEST = sa.Table(
    "deposit_digest",
    METADATA,
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""`start` are the first 48 bits of the SHA-256, as a number: SQLite keeps it in six bytes, and
what shares it by chance is told apart by the deposit's own row."""

INSERT_DIGEST = Prepared(sa.insert(DIGEST).inline())
_START_CHARS = 12
_INDEX_BITS = 40
_SORTED_AT_ONCE = 250_000
"""Some 10 MiB of numbers."""
_WRITTEN_AT_ONCE = 1_000


def start_of(sha256: str) -> int:
    """Of a SHA-256 in hex."""
    return int(sha256[:_START_CHARS], 16)


def digest_row(index: int, sha256: str) -> dict[str, int]:
    """For INSERT_DIGEST."""
    return {"start": start_of(sha256), "idx": index}


class SortedDigests:
    """The rows of many deposits, written in the order of their digests."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._waiting: list[int] = []

    def add(self, index: int, sha256: str) -> None:
        self._waiting.append(start_of(sha256) << _INDEX_BITS | index)
        if len(self._waiting) == _SORTED_AT_ONCE:
            self.write()

    def write(self) -> None:
        """All that wait."""
        waiting, self._waiting = sorted(self._waiting), []
        for part in _parts(waiting):
            INSERT_DIGEST.run_many(self._connection, map(_row, part))


def without_row(connection: sa.Connection, deposits: Mapping[int, str]) -> frozenset[int]:
    """Those of the indices whose SHA-256 here has no row, or is none."""
    starts: dict[int, int] = {}
    for index, sha256 in deposits.items():
        with suppress(ValueError):
            starts[index] = start_of(sha256)
    found: set[int] = set()
    for part in _parts(sorted(set(starts.values()))):
        query = sa.select(DIGEST.c.start, DIGEST.c.idx).where(DIGEST.c.start.in_(part))
        rows = connection.execute(query)
        found.update(row.idx for row in rows if starts.get(row.idx) == row.start)
    return frozenset(deposits.keys() - found)


def _row(packed: int) -> dict[str, int]:
    return {"start": packed >> _INDEX_BITS, "idx": packed & (1 << _INDEX_BITS) - 1}


def _parts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(numbers), _WRITTEN_AT_ONCE):
        yield numbers[at : at + _WRITTEN_AT_ONCE]
