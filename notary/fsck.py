"""Derives everything again, from the originals up, and names what contradicts.

Entries give leaves, leaves give tiles and roots; roots must be those of the head and of every
checkpoint that was stamped, and each token must cover its checkpoint. Every entry must be the
statement over exactly one row's record, every original what its record says, every object some
deposit's. Read-only, in bounded memory. The second half is in fsck_records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa

from notary.errors import NotaryError
from notary.findings import CHUNK, Depth, Findings, Progress
from notary.fsck_journal import check_journal
from notary.fsck_records import check_records, check_strays, check_tokens
from notary.ledger import ENTRY, TILE, read_head
from notary.stamps import STAMPED
from notary.tlog import merkle, tile
from notary.tlog.checkpoint import parse_checkpoint_text
from notary.tlog.note import VerifierKey, open_note, parse_note
from notary.trust import Trust
from storage.database import Database
from storage.objects import ObjectStore


def fsck(
    *,
    database: Database,
    objects: ObjectStore,
    trust: Trust,
    strays_before: datetime,
    depth: Depth = Depth.ORIGINALS,
    start: int = 0,
    progress: Progress = lambda what, done, of: None,
) -> Findings:
    """Nothing is changed. Records and originals are read from index `start` on; the tree always
    from its beginning, since that is what the rest is compared with.

    An object without a deposit that was touched since `strays_before` is an upload on its way,
    or what a crash left for the sweep; an older one is a fault.
    """
    findings = Findings()
    derive_tree(database, trust.log_keys, findings, progress)
    check_tokens(database, trust, findings)
    if depth is not Depth.LEDGER:
        check_records(database, objects, trust, findings, depth, start, progress)
    if depth is not Depth.LEDGER and start == 0:
        check_journal(database, objects, trust.statement_keys[0], findings)
    if depth is Depth.ORIGINALS and start == 0:
        check_strays(database, objects, strays_before, findings)
    return findings


def derive_tree(
    database: Database, log_keys: Sequence[VerifierKey], findings: Findings, progress: Progress
) -> None:
    """Entries → leaves → tiles → roots, compared with what is stored and signed."""
    with database.reading() as connection:
        head = read_head(connection)
        wanted: dict[int, list[tuple[bytes, bytes]]] = {head.size: [(head.root, head.checkpoint)]}
        for row in connection.execute(sa.select(STAMPED)):
            wanted.setdefault(row.size, []).append((row.root, row.checkpoint))
        tiles: dict[tuple[int, int], bytes] = {}
        size, root = 0, merkle.EMPTY_ROOT
        for statements in _entries(connection, head.size, findings):
            leaves = [merkle.leaf_hash(statement) for statement in statements]
            # Stops at each size that a checkpoint names, to compare the root there.
            for count in _stops(size, len(leaves), wanted):
                growth = tile.grow(
                    size, leaves[:count], lambda level, n: tiles.get((level, n), b"")
                )
                leaves = leaves[count:]
                tiles.update(growth.tiles)
                size, root = growth.size, growth.root
                for claimed, note in wanted.get(size, ()):
                    _checkpoint(size, root, claimed, note, log_keys, findings)
            _compare_tiles(connection, tiles, findings, final=size == head.size)
            progress("entries", size, head.size)
        findings.entries = size
        if size != head.size:
            findings.fault("tree_head", f"size is {head.size}, {size} entries were found")
        stored = connection.execute(sa.select(sa.func.count()).select_from(TILE)).scalar_one()
        expected = _tile_count(head.size)
        if stored != expected:
            findings.fault(
                "tile", f"{stored} tiles are stored, a tree of {head.size} has {expected}"
            )


def _entries(connection: sa.Connection, size: int, findings: Findings) -> Iterator[list[bytes]]:
    for first in range(0, size, CHUNK):
        rows = connection.execute(
            sa.select(ENTRY.c.idx, ENTRY.c.statement)
            .where(ENTRY.c.idx >= first, ENTRY.c.idx < min(first + CHUNK, size))
            .order_by(ENTRY.c.idx)
        ).all()
        for at, row in enumerate(rows, start=first):
            if row.idx != at:
                findings.fault(f"entry {at}", "is missing")
                return
        if len(rows) < min(CHUNK, size - first):
            findings.fault(f"entry {first + len(rows)}", "is missing")
        yield [row.statement for row in rows]


def _stops(size: int, count: int, wanted: Iterable[int]) -> list[int]:
    marks = sorted(at for at in wanted if size < at <= size + count)
    ends = [*marks, size + count] if not marks or marks[-1] != size + count else marks
    return [b - a for a, b in zip([size, *ends], ends, strict=False)]


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


def _compare_tiles(
    connection: sa.Connection,
    tiles: dict[tuple[int, int], bytes],
    findings: Findings,
    *,
    final: bool,
) -> None:
    """Full tiles are compared and forgotten; partial ones at the end."""
    for key in list(tiles):
        hashes = tiles[key]
        full = len(hashes) == tile.TILE_WIDTH * merkle.HASH_SIZE
        if not full and not final:
            continue
        stored = connection.execute(
            sa.select(TILE.c.hashes).where(TILE.c.level == key[0], TILE.c.n == key[1])
        ).scalar()
        if stored != hashes:
            what = "is missing" if stored is None else "differs from what the entries give"
            findings.fault(f"tile {tile.tile_path(key[0], key[1])}", what)
        if full:
            del tiles[key]


def _tile_count(size: int) -> int:
    count = 0
    while size:
        count += -(-size // tile.TILE_WIDTH)
        size //= tile.TILE_WIDTH
    return count
