"""The log as it stands in the database: its rows, its reads, its growth inside a transaction.

The mathematics is in tlog/; here are the tables. A hash tile row holds the longest prefix known,
so each partial tile that any published checkpoint implies is a prefix of a row: there are no
partial files to collect. Entry bundles are read straight from the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from notary.clock import parse_rfc3339, rfc3339
from notary.errors import Corrupt, Fork, MalformedInput, NotFound
from notary.tlog import merkle, tile
from storage.database import METADATA, Database, Prepared

ENTRY = sa.Table(
    "entry",
    METADATA,
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("statement", sa.LargeBinary, nullable=False),
)
TILE = sa.Table(
    "tile",
    METADATA,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)
TREE_HEAD = sa.Table(
    "tree_head",
    METADATA,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("checkpoint", sa.LargeBinary, nullable=False),
    sa.Column("signed_at", sa.String(27), nullable=False),
    sa.Column("halted", sa.Text),
)
_ONLY = 1
MOST_WAITING = 1_000
"""Entries that wait in memory at most before they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """The newest signed state. `checkpoint` is the signed note, verbatim. `halted` is the evidence
    for which writing has stopped on all nodes, as JSON, None while it has not."""

    size: int
    root: bytes
    checkpoint: bytes
    signed_at: datetime
    halted: str | None = None


SignHead = Callable[[int, bytes, datetime], bytes]
"""(size, root, time) to the signed checkpoint's bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    head: TreeHead
    read: merkle.HashReader
    """Reads the tree as of `head`; the right edge comes from memory."""


class Ledger:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- reading: whoever reads sees one snapshot ---------------------------------------

    def head(self) -> TreeHead:
        with self._database.reading() as connection:
            return read_head(connection)

    def hash_tile(self, level: int, n: int, width: int) -> bytes:
        """`width` hashes of a tile. Raises NotFound where the tree has not so many."""
        row = self._database.first(_ASK_TILE, level=level, n=n) if level <= 63 else None
        hashes: bytes = b"" if row is None else row[0]
        if len(hashes) < width * merkle.HASH_SIZE:
            raise NotFound(f"tile {level}/{n} has no {width} hashes yet", code="tile_not_found")
        return hashes[: width * merkle.HASH_SIZE]

    def entries(self, first: int, count: int) -> tuple[bytes, ...]:
        """Exactly `count` entries from index `first` on. Raises NotFound."""
        if first + count > 1 << 62:
            raise NotFound(f"there is no entry {first}", code="tile_not_found")
        with self._database.reading() as connection:
            found = tuple(row[0] for row in _ENTRIES.all(connection, low=first, end=first + count))
        if len(found) < count:
            raise NotFound(
                f"entries {first} to {first + count - 1} are not all there yet",
                code="tile_not_found",
            )
        return found

    def prove_inclusion(
        self, index: int, size: int | None = None
    ) -> tuple[TreeHead, int, tuple[bytes, ...]]:
        """(newest head, size used, path) for an index at `size`, by default the newest."""
        with self._database.reading() as connection:
            head = read_head(connection)
            at = head.size if size is None else size
            if not 0 <= index < at <= head.size:
                raise MalformedInput(
                    f"need 0 ≤ index < size ≤ {head.size}, got index {index}, size {at}",
                    code="proof_range",
                )
            read = tile.hash_reader(read_tile(connection))
            return head, at, merkle.prove_inclusion(index, at, read)

    def prove_consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        with self._database.reading() as connection:
            head = read_head(connection)
            if not 0 <= old <= new <= head.size:
                raise MalformedInput(
                    f"need 0 ≤ old ≤ new ≤ {head.size}, got old {old}, new {new}",
                    code="proof_range",
                )
            return merkle.prove_consistency(old, new, tile.hash_reader(read_tile(connection)))

    def root_at(self, size: int) -> bytes:
        with self._database.reading() as connection:
            return merkle.root_hash(size, tile.hash_reader(read_tile(connection)))

    def check_right_edge(self) -> TreeHead:
        """The head, after its root was computed again from the tiles and the last bundle hashed.

        Raises Corrupt naming what contradicts the head.
        """
        with self._database.reading() as connection:
            head = read_head(connection)
            root = merkle.root_hash(head.size, tile.hash_reader(read_tile(connection)))
            if root != head.root:
                raise Corrupt(
                    f"root hash mismatch at size {head.size}: head has {head.root.hex()}, "
                    f"tiles give {root.hex()}",
                    name=f"tiles at size {head.size}",
                )
            first = (head.size - 1) // tile.TILE_WIDTH * tile.TILE_WIDTH
            hashes = read_tile(connection)(0, first // tile.TILE_WIDTH)
            rows = connection.execute(
                sa.select(ENTRY.c.idx, ENTRY.c.statement).where(ENTRY.c.idx >= first)
            ).all()
        if len(rows) != head.size - first:
            raise Corrupt(
                f"tree size is {head.size}, but {len(rows)} entries stand from {first} on",
                name="entry",
            )
        for idx, statement in rows:
            at = (idx - first) * merkle.HASH_SIZE
            if merkle.leaf_hash(statement) != hashes[at : at + merkle.HASH_SIZE]:
                raise Corrupt(f"entry {idx} does not hash to its leaf", name=f"entry {idx}")
        return head


# --- inside a transaction -------------------------------------------------------------------


def read_head(connection: sa.Connection, *, lock: bool = False) -> TreeHead:
    """With `lock`, the row is held until the transaction ends: writers of all nodes queue here."""
    row = _LOCK_HEAD.first(connection) if lock else connection.execute(_HEAD).first()
    assert row is not None
    size, root, checkpoint, signed_at, halted = row
    return TreeHead(
        size=size,
        root=root,
        checkpoint=checkpoint,
        signed_at=parse_rfc3339(signed_at),
        halted=halted,
    )


def read_tile(connection: sa.Connection) -> tile.TileReader:
    def read(level: int, n: int) -> bytes:
        found: bytes | None = connection.execute(_TILE, {"level": level, "n": n}).scalar()
        return found or b""

    return read


class Growing:
    """Appends inside one transaction, which must hold the head's lock. Call `append` and `insert`
    any number of times, then `seal` once; then commit. A crash before the commit leaves the old
    tree.

    What is entered waits in memory, so that a group of deposits costs as many statements as one:
    `flush` before asking the database about what this very transaction entered.
    """

    def __init__(
        self, connection: sa.Connection, head: TreeHead, edge: Mapping[tuple[int, int], bytes]
    ) -> None:
        self._connection = connection
        self._stored = read_tile(connection)
        self._head = head
        self._tiles: dict[tuple[int, int], bytes] = dict(edge)
        self._changed: set[tuple[int, int]] = set()
        self._waiting: list[bytes] = []
        self._rows: dict[Prepared, list[Mapping[str, object]]] = {}
        self._asked: dict[Prepared, tuple[object, ...] | None] = {}
        self.size = head.size
        self.root = head.root

    def read_tile(self, level: int, n: int) -> bytes:
        found = self._tiles.get((level, n))
        if found is None:
            found = self._tiles[level, n] = self._stored(level, n)
        return found

    def append(self, statements: Sequence[bytes]) -> None:
        """The next entries; `size` counts them at once."""
        self._waiting.extend(statements)
        self.size += len(statements)
        if len(self._waiting) >= MOST_WAITING:
            self.flush()

    def insert(self, into: Prepared, row: Mapping[str, object]) -> None:
        """A row that belongs to an entry, written with the others like it."""
        self._rows.setdefault(into, []).append(row)

    def asked(self, question: Prepared) -> tuple[object, ...] | None:
        """The first row of what nothing in this transaction changes, asked once for all of it."""
        if question not in self._asked:
            self._asked[question] = question.first(self._connection)
        return self._asked[question]

    def flush(self) -> None:
        """Writes all that waits."""
        for into, rows in self._rows.items():
            into.run_many(self._connection, rows)
        self._rows = {}
        if not self._waiting:
            return
        statements, self._waiting = self._waiting, []
        before = self.size - len(statements)
        _INSERT_ENTRY.run_many(
            self._connection,
            [{"idx": i, "statement": s} for i, s in enumerate(statements, start=before)],
        )
        leaves = [merkle.leaf_hash(statement) for statement in statements]
        growth = tile.grow(before, leaves, self.read_tile, expected_root=self.root)
        self._tiles.update(growth.tiles)
        self._changed.update(growth.tiles)
        self.root = growth.root
        self._write_full()

    def _write_full(self) -> None:
        # Full tiles never change again: write them now and forget them, so that a batch of a
        # million needs no more memory than its chunks.
        full = [k for k in self._changed if len(self._tiles[k]) == tile.TILE_WIDTH * 32]
        if len(full) > 64:
            self._write(full)
            for key in full:
                del self._tiles[key]

    def _write(self, keys: Iterable[tuple[int, int]]) -> None:
        written = list(keys)
        _UPSERT_TILE.run_many(
            self._connection,
            [{"level": k[0], "n": k[1], "hashes": self._tiles[k]} for k in written],
        )
        self._changed.difference_update(written)

    def seal(self, at: datetime, sign: SignHead) -> Appended:
        """Signs the new head and swaps it for the old one, by size. Raises Fork if another
        writer got there without the lock: its head and ours are both in the error."""
        self.flush()
        self._write(self._changed)
        note = sign(self.size, self.root, at)
        swapped = _SWAP_HEAD.run(
            self._connection,
            old_size=self._head.size,
            new_size=self.size,
            new_root=self.root,
            new_checkpoint=note,
            new_signed_at=rfc3339(at),
        )
        if swapped != 1:
            theirs = read_head(self._connection)
            raise Fork(
                f"the tree grew from {self._head.size} to {theirs.size} under our lock",
                ours=note,
                theirs=theirs.checkpoint,
            )
        head = TreeHead(size=self.size, root=self.root, checkpoint=note, signed_at=at)
        return Appended(head=head, read=self.hash_reader())

    def hash_reader(self) -> merkle.HashReader:
        """Of the tree as grown so far. After the transaction it still proves what was appended
        here, from memory, unless that filled more tiles than are kept."""
        return tile.hash_reader(self.read_tile)

    def edge(self) -> dict[tuple[int, int], bytes]:
        """The tiles on the right edge of the new tree: all that the next growth will read."""
        edge: dict[tuple[int, int], bytes] = {}
        level, width = 0, self.size
        while width:
            n = width // tile.TILE_WIDTH if width % tile.TILE_WIDTH else width // 256 - 1
            edge[level, n] = self.read_tile(level, n)
            level, width = level + 1, width // tile.TILE_WIDTH
        return edge


_HEAD = sa.select(
    TREE_HEAD.c.size,
    TREE_HEAD.c.root,
    TREE_HEAD.c.checkpoint,
    TREE_HEAD.c.signed_at,
    TREE_HEAD.c.halted,
).where(TREE_HEAD.c.id == _ONLY)
_LOCK_HEAD = Prepared(_HEAD.with_for_update())
_SWAP_HEAD = Prepared(
    sa.update(TREE_HEAD)
    .where(TREE_HEAD.c.id == _ONLY, TREE_HEAD.c.size == sa.bindparam("old_size"))
    .values(
        {name: sa.bindparam(f"new_{name}") for name in ("size", "root", "checkpoint", "signed_at")}
    )
)
_TILE = sa.select(TILE.c.hashes).where(
    TILE.c.level == sa.bindparam("level"), TILE.c.n == sa.bindparam("n")
)
_ASK_TILE = Prepared(_TILE)
_ENTRIES = Prepared(
    sa.select(ENTRY.c.statement)
    .where(ENTRY.c.idx >= sa.bindparam("low"), ENTRY.c.idx < sa.bindparam("end"))
    .order_by(ENTRY.c.idx)
)
_INSERT_ENTRY = Prepared(sa.insert(ENTRY).inline())
_SQLITE_TILE = sqlite.insert(TILE).inline()
_POSTGRES_TILE = postgresql.insert(TILE).inline()
_UPSERT_TILE = Prepared(
    {
        "sqlite": _SQLITE_TILE.on_conflict_do_update(
            index_elements=["level", "n"], set_={"hashes": _SQLITE_TILE.excluded.hashes}
        ),
        "postgresql": _POSTGRES_TILE.on_conflict_do_update(
            index_elements=["level", "n"], set_={"hashes": _POSTGRES_TILE.excluded.hashes}
        ),
    }
)


def resign_head(connection: sa.Connection, head: TreeHead, at: datetime, sign: SignHead) -> None:
    """The same tree, signed anew with a later time; the head's lock must be held."""
    connection.execute(
        sa.update(TREE_HEAD)
        .where(TREE_HEAD.c.id == _ONLY)
        .values(checkpoint=sign(head.size, head.root, at), signed_at=rfc3339(at))
    )


def halt_writing(connection: sa.Connection, evidence: str) -> None:
    """Tells all nodes, at their next commit. What came first stays."""
    connection.execute(
        sa.update(TREE_HEAD)
        .where(TREE_HEAD.c.id == _ONLY, TREE_HEAD.c.halted.is_(None))
        .values(halted=evidence)
    )


def resume_writing(connection: sa.Connection) -> None:
    connection.execute(sa.update(TREE_HEAD).where(TREE_HEAD.c.id == _ONLY).values(halted=None))


def begin_log(connection: sa.Connection, at: datetime) -> None:
    """An empty tree, unsigned. Raises Fork where there is a tree."""
    if connection.execute(sa.select(TREE_HEAD.c.size)).first() is not None:
        raise Fork("this database already holds a log", ours=b"", theirs=b"")
    connection.execute(
        sa.insert(TREE_HEAD).values(
            id=_ONLY, size=0, root=merkle.EMPTY_ROOT, checkpoint=b"", signed_at=rfc3339(at)
        )
    )


def create_log(connection: sa.Connection, genesis: bytes, at: datetime, sign: SignHead) -> None:
    """The first act, by `notary init` alone: a tree with entry 0. Raises Fork if there is one."""
    begin_log(connection, at)
    growing = Growing(connection, read_head(connection), {})
    growing.append([genesis])
    growing.seal(at, sign)
