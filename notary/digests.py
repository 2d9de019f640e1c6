"""Which deposits have a digest: one row each, by the digest's start. Owns their table.

Digests land anywhere in an index, so that for a batch every page of a large one would be read and
written again. Here each million of the ledger's entries has its own part, as good as an index by
itself: what a batch costs does not grow with the house, and a search asks each part once. A batch
enters its own sorted, page after page. Derived: a rebuild makes the rows again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import sqlalchemy as sa

from storage.database import METADATA, Prepared

DIGEST = sa.Table(
    "deposit_digest",
    METADATA,
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""`part` is the index without its last 20 bits. `start` are the first 48 bits of the SHA-256, as a
number: SQLite keeps it in six bytes, and what shares it by chance is told apart by the deposit's
own row."""

INSERT_DIGEST = Prepared(sa.insert(DIGEST).inline())
_START_CHARS = 12
_INDEX_BITS = 40
_PART_BITS = 20
_SORTED_AT_ONCE = 250_000
"""Some 10 MiB of numbers."""
_WRITTEN_AT_ONCE = 1_000


def start_of(sha256: str) -> int:
    """Of a SHA-256 in hex."""
    return int(sha256[:_START_CHARS], 16)


def digest_row(index: int, sha256: str) -> dict[str, int]:
    """For INSERT_DIGEST."""
    return {"part": index >> _PART_BITS, "start": start_of(sha256), "idx": index}


def found_by(sha256: str, after: int, newest: int) -> sa.ColumnElement[bool]:
    """That a row may be of this digest, and of a deposit behind `after` and up to `newest`: the
    deposits' own digests are still to be compared."""
    parts = range(max(after, 0) >> _PART_BITS, (newest >> _PART_BITS) + 1)
    return sa.and_(
        DIGEST.c.part.in_(parts), DIGEST.c.start == start_of(sha256), DIGEST.c.idx > after
    )


def remove(connection: sa.Connection, index: int, sha256: str) -> None:
    row = digest_row(index, sha256)
    connection.execute(sa.delete(DIGEST).where(*(DIGEST.c[name] == row[name] for name in row)))


class SortedDigests:
    """The rows of many deposits, written in the order of their digests."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._waiting: list[int] = []
        self._part = 0

    def add(self, index: int, sha256: str) -> None:
        part = index >> _PART_BITS
        if part != self._part or len(self._waiting) == _SORTED_AT_ONCE:
            self.write()
            self._part = part
        self._waiting.append(start_of(sha256) << _INDEX_BITS | index)

    def write(self) -> None:
        """All that wait."""
        waiting, self._waiting = sorted(self._waiting), []
        for some in _sliced(waiting):
            INSERT_DIGEST.run_many(self._connection, map(_row, some))


def without_row(connection: sa.Connection, deposits: Mapping[int, str]) -> frozenset[int]:
    """Those of the indices whose SHA-256 here has no row, or is none."""
    starts: dict[int, int] = {}
    for index, sha256 in deposits.items():
        with suppress(ValueError):
            starts[index] = start_of(sha256)
    parts = {index >> _PART_BITS for index in starts}
    found: set[int] = set()
    for some in _sliced(sorted(set(starts.values()))):
        query = sa.select(DIGEST).where(DIGEST.c.part.in_(parts), DIGEST.c.start.in_(some))
        rows = connection.execute(query)
        found.update(row.idx for row in rows if starts.get(row.idx) == row.start)
    return frozenset(deposits.keys() - found)


def _row(packed: int) -> dict[str, int]:
    index = packed & (1 << _INDEX_BITS) - 1
    return {"part": index >> _PART_BITS, "start": packed >> _INDEX_BITS, "idx": index}


def _sliced(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(numbers), _WRITTEN_AT_ONCE):
        yield numbers[at : at + _WRITTEN_AT_ONCE]
