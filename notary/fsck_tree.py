"""The first half of fsck: entries → leaves → tiles → roots, against what is stored and signed.

The full tiles of level 0, by far most of the work, are derived by processes beside our own, a
part of the tree each; where the tree is small, here. What they hand back is the row of hashes
above, from which all upper levels and the root at any size follow.

Entries never change and a full tile is never written again, so the processes need no common
snapshot with us: they look only at indices below the head that we have read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context

import sqlalchemy as sa

from notary.errors import NotaryError
from notary.findings import CHUNK, Fault, Findings, Progress
from notary.keyhistory import KeyHistory, handover
from notary.ledger import ENTRY, TILE, TreeHead, read_head
from notary.stamps import STAMPED
from notary.tlog import merkle, tile
from notary.tlog.checkpoint import parse_checkpoint_text
from notary.tlog.note import VerifierKey, open_note, parse_note
from notary.witness import WITNESSED
from storage.database import Database, Prepared

PART_TILES = 256
"""Tiles that a process derives at a time: what is under one hash of level 2."""
READ_TILES = 16
"""Tiles whose entries are in memory at once."""
ALONE_TILES = 4 * PART_TILES
"""Up to here starting processes takes longer than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """`roots` has one hash for each full tile, up to the first entry that is missing."""

    roots: bytes
    faults: tuple[Fault, ...]


def derive_tree(
    database: Database, history: KeyHistory, findings: Findings, progress: Progress
) -> None:
    """Every tile must be what the entries give, and every root that was signed, by the keys that
    held at its size."""
    with database.reading() as connection:
        head = read_head(connection)
        derived = _Derived(connection, _level_1(database, head.size, findings, progress))
        findings.entries = derived.extend(head.size, findings)
        if findings.entries != head.size:
            findings.fault(
                "tree_head", f"size is {head.size}, entries are whole up to {findings.entries}"
            )
        derived.compare(head.size, findings)
        _checkpoints(connection, head, derived, history, findings)
        _count_tiles(connection, head, findings)
        progress("entries", findings.entries, head.size)


class _Derived:
    """The hashes of the tree as its entries give them: `levels[0]` has those of the last, partial
    tile alone, the levels above have all."""

    def __init__(self, connection: sa.Connection, level_1: bytes) -> None:
        self._connection = connection
        self.size = len(level_1) // merkle.HASH_SIZE * tile.TILE_WIDTH
        self.levels = [b"", level_1]
        while full := len(self.levels[-1]) // tile.TILE_BYTES:
            row = self.levels[-1][: full * tile.TILE_BYTES]
            self.levels.append(tile.tile_roots(row))

    def extend(self, size: int, findings: Findings) -> int:
        """The entries behind the last full tile; gives the size that was reached."""
        if size - self.size < tile.TILE_WIDTH:  # otherwise an entry before was missing
            leaves, faults = _leaves(self._connection, self.size, size - self.size)
            findings.faults += faults
            self.levels[0] = leaves
            self.size += len(leaves) // merkle.HASH_SIZE
        return self.size

    def read_tile(self, level: int, n: int) -> bytes:
        if level:
            return self.levels[level][n * tile.TILE_BYTES : (n + 1) * tile.TILE_BYTES]
        first = n * tile.TILE_WIDTH
        if first + tile.TILE_WIDTH > self.size:
            return self.levels[0]
        return _leaves(self._connection, first, tile.TILE_WIDTH)[0]

    def compare(self, size: int, findings: Findings) -> None:
        """All stored tiles but the full ones of level 0; partial ones where the tree is whole."""
        for level, row in enumerate(self.levels):
            first = self.size // tile.TILE_WIDTH if level == 0 else 0
            for n, at in enumerate(range(0, len(row), tile.TILE_BYTES), start=first):
                hashes = row[at : at + tile.TILE_BYTES]
                if len(hashes) == tile.TILE_BYTES or self.size == size:
                    self._compare(level, n, hashes, findings)

    def _compare(self, level: int, n: int, hashes: bytes, findings: Findings) -> None:
        rows = _TILES.all(self._connection, level=level, low=n, high=n + 1)
        findings.faults += _differences(level, {n: hashes}, dict(rows))


def _level_1(database: Database, size: int, findings: Findings, progress: Progress) -> bytes:
    """One hash for each full tile of level 0, after each was compared with the stored one."""
    tiles = size // tile.TILE_WIDTH
    roots = bytearray()
    for part in _parts(database, tiles):
        roots += part.roots
        findings.faults += part.faults
        done = len(roots) // merkle.HASH_SIZE
        progress("entries", done * tile.TILE_WIDTH, size)
        if done < tiles and done % PART_TILES:
            break  # an entry is missing: nothing behind it has a place in a tree
    return bytes(roots)


def _parts(database: Database, tiles: int) -> Iterator[Part]:
    """In order."""
    url = database.url.render_as_string(hide_password=False)
    starts = range(0, tiles, PART_TILES)
    wanted = [(url, first, min(first + PART_TILES, tiles)) for first in starts]
    if tiles <= ALONE_TILES:
        yield from map(derive_part, wanted)
        return
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        ahead: list[Future[Part]] = []
        for each in wanted:
            ahead.append(pool.submit(derive_part, each))
            if len(ahead) > 2 * workers:
                yield ahead.pop(0).result()
        for future in ahead:
            yield future.result()


def derive_part(wanted: tuple[str, int, int]) -> Part:
    """(database's URL, first tile, end) of full tiles of level 0, in whatever process."""
    url, first, end = wanted
    database = Database(url)
    roots: list[bytes] = []
    faults: list[Fault] = []
    try:
        with database.reading() as connection:
            for low in range(first, end, READ_TILES):
                high = min(low + READ_TILES, end)
                at, count = low * tile.TILE_WIDTH, (high - low) * tile.TILE_WIDTH
                leaves, missing = _leaves(connection, at, count)
                full = len(leaves) // tile.TILE_BYTES * tile.TILE_BYTES
                roots.append(tile.tile_roots(leaves[:full]))
                hashes = {
                    low + i // tile.TILE_BYTES: leaves[i : i + tile.TILE_BYTES]
                    for i in range(0, full, tile.TILE_BYTES)
                }
                stored = dict(_TILES.all(connection, level=0, low=low, high=high))
                faults += _differences(0, hashes, stored)
                faults += missing
                if missing:
                    break
    finally:
        database.close()
    return Part(roots=b"".join(roots), faults=tuple(faults))


def _leaves(connection: sa.Connection, first: int, count: int) -> tuple[bytes, tuple[Fault, ...]]:
    """The leaf hashes from index `first` on, joined, up to the first entry that is missing."""
    rows = _ENTRIES.all(connection, low=first, high=first + count)
    faults: tuple[Fault, ...] = ()
    if len(rows) != count:
        there = {index for index, _ in rows}
        gap = next(index for index in range(first, first + count) if index not in there)
        rows = [row for row in rows if row[0] < gap]
        faults = (Fault(name=f"entry {gap}", detail="is missing"),)
    return b"".join([sha256(b"\x00" + statement).digest() for _, statement in rows]), faults


def _differences(level: int, derived: dict[int, bytes], stored: dict[int, bytes]) -> list[Fault]:
    if derived == stored:
        return []
    return [
        Fault(
            name=f"tile {tile.tile_path(level, n)}",
            detail="differs from what the entries give" if n in stored else "is missing",
        )
        for n, hashes in derived.items()
        if stored.get(n) != hashes
    ]


def _checkpoints(
    connection: sa.Connection,
    head: TreeHead,
    derived: _Derived,
    history: KeyHistory,
    findings: Findings,
) -> None:
    """As far as entries were found."""
    for size, root, note in _claims(connection, head, history):
        if size <= derived.size:
            given = tile.edge_root(size, derived.read_tile)
            _checkpoint(size, given, root, note, history.at(size).log, findings)


def _claims(
    connection: sa.Connection, head: TreeHead, history: KeyHistory
) -> Iterator[tuple[int, bytes, bytes]]:
    """(size, root, note) of the head, of all that was stamped or witnessed, and of each checkpoint
    at which keys were handed over."""
    yield head.size, head.root, head.checkpoint
    for table in (STAMPED, WITNESSED):
        columns = (table.c.size, table.c.root, table.c.checkpoint)
        rows = sa.select(*columns).order_by(table.c.size)
        # There is one for every few seconds that the house took deposits: never all at once.
        for row in connection.execute(rows, execution_options={"yield_per": CHUNK}):
            yield row.size, row.root, row.checkpoint
    for each in history.registered:
        yield each.index + 1, handover(each).root, each.checkpoint.encode("utf-8")


def _checkpoint(
    size: int, root: bytes, stored: bytes, note_bytes: bytes, log_keys: Sequence[VerifierKey],
    findings: Findings,
) -> None:  # fmt: skip
    name = f"checkpoint {size}"
    if stored != root:
        findings.fault(name, f"root is {stored.hex()}, entries give {root.hex()}")
    try:
        note = parse_note(note_bytes)
        open_note(note, log_keys)
        said = parse_checkpoint_text(note.text)
        if (said.size, said.root) != (size, root):
            findings.fault(
                name, f"signed {said.root.hex()} at {said.size}, entries give {root.hex()}"
            )
    except NotaryError as exc:
        findings.fault(name, exc)


def _count_tiles(connection: sa.Connection, head: TreeHead, findings: Findings) -> None:
    stored = connection.execute(sa.select(sa.func.count()).select_from(TILE)).scalar_one()
    expected, size = 0, head.size
    while size:
        expected += -(-size // tile.TILE_WIDTH)
        size //= tile.TILE_WIDTH
    if stored != expected:
        findings.fault("tile", f"{stored} tiles are stored, a tree of {head.size} has {expected}")


_ENTRIES = Prepared(
    sa.select(ENTRY.c.idx, ENTRY.c.statement)
    .where(ENTRY.c.idx >= sa.bindparam("low"), ENTRY.c.idx < sa.bindparam("high"))
    .order_by(ENTRY.c.idx)
)
_TILES = Prepared(
    sa.select(TILE.c.n, TILE.c.hashes).where(
        TILE.c.level == sa.bindparam("level"),
        TILE.c.n >= sa.bindparam("low"),
        TILE.c.n < sa.bindparam("high"),
    )
)
