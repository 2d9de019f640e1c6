"""Derives everything again, from the originals up, and names what contradicts.

Entries give leaves, leaves give tiles and roots, roots must be those of the head and of every
checkpoint that was stamped; each deposit's record must be what its statement signs, each original
what its record says. Read-only, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from notary import statement as cose
from notary.digest import SHA256, Digester
from notary.errors import NotaryError
from notary.intake import object_key
from notary.ledger import ENTRY, TILE, read_head
from notary.model import CustodyEvent, Deposit
from notary.record import Record, check_disclosures
from notary.register import Register
from notary.stamps import STAMPED
from notary.tlog import merkle, tile
from notary.tlog.checkpoint import parse_checkpoint_text
from notary.tlog.note import VerifierKey, open_note, parse_note
from storage.database import Database
from storage.errors import ObjectDiffers, ObjectNotFound
from storage.objects import ObjectStore

CHUNK = 1_024  # a multiple of the tile width


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`name` says which thing, `detail` both sides."""

    name: str
    detail: str


@dataclass(slots=True, kw_only=True)
class Findings:
    entries: int = 0
    deposits: int = 0
    originals: int = 0
    faults: list[Fault] = field(default_factory=list)

    def fault(self, name: str, detail: object) -> None:
        self.faults.append(Fault(name=name, detail=str(detail)))


def fsck(
    *,
    database: Database,
    register: Register,
    objects: ObjectStore,
    log_keys: Sequence[VerifierKey],
    statement_key: bytes,
    originals: bool,
) -> Findings:
    """`originals` False leaves the originals unread. Nothing is changed."""
    findings = Findings()
    _tree(database, log_keys, findings)
    for deposit in _deposits(register):
        findings.deposits += 1
        _deposit(database, deposit, statement_key, findings)
        if originals and deposit.stored:
            _original(objects, deposit, findings)
    for event in _events(register):
        _committed(database, event.index, event.record, event.disclosures, statement_key, findings)
    return findings


def _tree(database: Database, log_keys: Sequence[VerifierKey], findings: Findings) -> None:
    with database.reading() as connection:
        head = read_head(connection)
        wanted = {
            row.size: (row.root, row.checkpoint) for row in connection.execute(sa.select(STAMPED))
        }
        wanted[head.size] = (head.root, head.checkpoint)
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
                if size in wanted:
                    _checkpoint(size, root, *wanted[size], log_keys, findings)
            _compare_tiles(connection, tiles, findings, final=size == head.size)
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


def _stops(size: int, count: int, wanted: dict[int, tuple[bytes, bytes]]) -> list[int]:
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


def _deposits(register: Register) -> Iterator[Deposit]:
    after = -1
    while page := register.deposits(after=after, limit=CHUNK):
        yield from page
        after = page[-1].index


def _events(register: Register) -> Iterator[CustodyEvent]:
    after = -1
    while page := register.events(after=after, limit=CHUNK):
        yield from page
        after = page[-1].index


def _deposit(
    database: Database, deposit: Deposit, statement_key: bytes, findings: Findings
) -> None:
    name = f"deposit {deposit.id}"
    sections = _committed(
        database, deposit.index, deposit.record, deposit.disclosures, statement_key, findings
    )
    match sections.get("content"):
        case {"digests": {"sha-256": sha256}, "size": size}:
            if (sha256, size) != (deposit.sha256, deposit.size):
                findings.fault(
                    name,
                    f"row says {deposit.size} bytes {deposit.sha256}, record {size} {sha256}",
                )


def _committed(
    database: Database,
    index: int,
    text: str,
    disclosures: tuple[str, ...],
    statement_key: bytes,
    findings: Findings,
) -> dict[str, object]:
    """The record's sections, after its statement was checked to be entry `index`."""
    with database.reading() as connection:
        entry = connection.execute(
            sa.select(ENTRY.c.statement).where(ENTRY.c.idx == index)
        ).scalar()
    if entry is None:
        findings.fault(f"entry {index}", "is missing")
        return {}
    try:
        statement = cose.parse_statement(entry)
        cose.check_statement(statement, statement_key)
        digest = Record(text, disclosures).digest()
        if statement.payload != digest:
            findings.fault(
                f"record {index}", f"is {digest.hex()}, entry signs {statement.payload.hex()}"
            )
        return check_disclosures(text, disclosures)
    except NotaryError as exc:
        findings.fault(f"record {index}", exc)
        return {}


def _original(objects: ObjectStore, deposit: Deposit, findings: Findings) -> None:
    name = f"original {deposit.id}"
    digester = Digester(deposit.digests)
    try:
        for chunk in objects.open(object_key(deposit.id)):
            digester.update(chunk)
    except (ObjectNotFound, ObjectDiffers) as exc:
        findings.fault(name, exc)
        return
    findings.originals += 1
    computed = digester.digests()
    if computed[SHA256] != deposit.sha256:
        findings.fault(name, f"sha-256 is {computed[SHA256]}, registered {deposit.sha256}")
