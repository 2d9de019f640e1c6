"""Hash trees over originals' digests (RFC 4998 §4). Owns their tables.

A tree covers the deposits of one period, in the order of the ledger, in chunks of 1,024: who asks
for one document's record reads one chunk and the roots of the others. A tree is built chunk by
chunk, each in a transaction that moves `next_idx` on: after a crash it goes on where it was, and
of two who build it one is first. Without its root a tree is unfinished; one that is finished with
an empty root covers no document.

What is kept of a document is the hash of its digest together with a secret of its own
(`blind_of`): neither these rows nor another document's record let anybody test a guess, and a
disposal, which takes the secret, makes them say nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from notary.clock import parse_rfc3339, rfc3339
from notary.register import DEPOSIT
from storage.database import METADATA, Database

CHUNK = 1_024
MAX_CHUNKS = 1_024
"""Of one tree: a million documents. What is beyond begins another."""
_BLIND = b"evidence-record-blind/v1\n"
_INDEX_BYTES = 8

TREE = sa.Table(
    "hash_tree",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("algorithm", sa.String(10), nullable=False),
    sa.Column("renews", sa.Integer, index=True),
    sa.Column("authority", sa.Text),
    sa.Column("after", sa.Integer),
    sa.Column("first_idx", sa.BigInteger, nullable=False, index=True),
    sa.Column("next_idx", sa.BigInteger, nullable=False),
    sa.Column("until", sa.String(27), nullable=False),
    sa.Column("documents", sa.Integer, nullable=False),
    sa.Column("left_out", sa.Integer, nullable=False),
    sa.Column("closed_at", sa.String(27)),
    sa.Column("root", sa.LargeBinary),
)
"""`renews`, `authority` and `after` of a hash-tree renewal: the tree whose documents these are, and
the sequence of that authority, of which it covers the chains up to the time-stamp `after` of the
newest chain."""
CHUNKS = sa.Table(
    "hash_tree_chunk",
    METADATA,
    sa.Column("tree_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("first_idx", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("idxs", sa.LargeBinary, nullable=False),
    sa.Column("nodes", sa.LargeBinary, nullable=False),
    sa.Column("renewed", sa.LargeBinary),
)
"""`idxs` are the deposits' indices, `nodes` their nodes, `renewed` what §5.3 stamps of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A tree; `root` is None while it is being built. Indices from `first` to before `next`."""

    id: int
    algorithm: str
    renews: int | None
    authority: str | None
    after: int | None
    first: int
    next: int
    until: datetime
    documents: int
    left_out: int
    root: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """Of a document: its deposit's index, its node in the tree, and what a renewal stamps."""

    index: int
    node: bytes
    renewed: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a leaf is made of: `blind` is the disclosures' text, gone with a disposal."""

    index: int
    deposit_id: str
    sha256: bytes
    sha512: bytes | None
    blind: str
    stored: bool
    registered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A document in a tree: the number of its chunk, the chunk's nodes, and which is its own."""

    number: int
    nodes: tuple[bytes, ...]
    position: int
    renewed: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    number: int
    idxs: tuple[bytes, ...]
    nodes: tuple[bytes, ...]
    renewed: tuple[bytes, ...]

    def place(self, index: int) -> Place | None:
        wanted = index.to_bytes(_INDEX_BYTES, "big")
        if wanted not in self.idxs:
            return None
        at = self.idxs.index(wanted)
        return Place(
            number=self.number, nodes=self.nodes, position=at,
            renewed=self.renewed[at] if self.renewed else None,
        )  # fmt: skip


def blind_of(algorithm: str, disclosures: str) -> bytes:
    """What stands beside a document's hash in its first list: 32 bytes of salt a section are in
    the disclosures' text, so that nobody without them knows it."""
    return hashlib.new(algorithm, _BLIND + disclosures.encode("utf-8")).digest()


class HashTrees:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- trees ----------------------------------------------------------------------------

    def unfinished(self, *, renews: int | None = None) -> tuple[Tree, ...]:
        """Trees that are being built: of periods, or those that renew a tree."""
        query = sa.select(TREE).where(TREE.c.root.is_(None), _renews(renews)).order_by(TREE.c.id)
        with self._database.reading() as connection:
            return tuple(tree_of_row(row) for row in connection.execute(query))

    def bases(self, *, after: int = 0, limit: int = 100) -> tuple[Tree, ...]:
        """Finished trees of periods, in order."""
        query = (
            sa.select(TREE)
            .where(TREE.c.renews.is_(None), TREE.c.root.is_not(None), TREE.c.id > after)
            .order_by(TREE.c.id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return tuple(tree_of_row(row) for row in connection.execute(query))

    def next_index(self) -> int:
        """The first ledger index that no tree of a period has looked at."""
        with self._database.reading() as connection:
            query = sa.select(sa.func.max(TREE.c.next_idx)).where(TREE.c.renews.is_(None))
            return connection.execute(query).scalar() or 0

    def has_waiting(self, first: int, until: datetime) -> bool:
        """Whether a deposit at or behind index `first` was registered before `until`."""
        query = (
            sa.select(DEPOSIT.c.registered_at)
            .where(DEPOSIT.c.idx >= first)
            .order_by(DEPOSIT.c.idx)
            .limit(1)
        )
        with self._database.reading() as connection:
            found = connection.execute(query).scalar()
        return found is not None and found < rfc3339(until)

    def begin(self, *, first: int, until: datetime) -> None:
        """A tree of a period, unless another was begun meanwhile."""
        with self._database.writing() as connection:
            query = sa.select(sa.func.max(TREE.c.next_idx)).where(TREE.c.renews.is_(None))
            if (connection.execute(query).scalar() or 0) == first:
                _insert_tree(connection, "sha256", first, until)

    def begin_renewal(self, base: Tree, *, algorithm: str, authority: str, after: int) -> None:
        """A tree that renews `base` for one sequence. What was begun before over another state of
        that sequence was dropped by whoever asked for this one."""
        with self._database.writing() as connection:
            _insert_tree(
                connection, algorithm, base.first, base.until,
                renews=base.id, authority=authority, after=after,
            )  # fmt: skip

    def drop(self, tree_id: int) -> None:
        """An unfinished tree."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(CHUNKS).where(CHUNKS.c.tree_id == tree_id))
            connection.execute(sa.delete(TREE).where(TREE.c.id == tree_id, TREE.c.root.is_(None)))

    def sources(self, first: int, *, end: int | None = None, limit: int) -> tuple[Source, ...]:
        """Deposits from index `first` on, before `end`; those disposed of have no sha256."""
        query = sa.select(
            DEPOSIT.c.idx, DEPOSIT.c.id, DEPOSIT.c.sha256, DEPOSIT.c.digests,
            DEPOSIT.c.disclosures, DEPOSIT.c.stored, DEPOSIT.c.registered_at,
        ).where(DEPOSIT.c.idx >= first)  # fmt: skip
        if end is not None:
            query = query.where(DEPOSIT.c.idx < end)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(DEPOSIT.c.idx).limit(limit))
            return tuple(_source(row) for row in rows.all())

    def keep_chunk(
        self, tree: Tree, leaves: Sequence[Leaf], *, root: bytes, end: int, left_out: int = 0
    ) -> bool:
        """Adds a chunk, and moves the tree on to index `end`; False where another did."""
        with self._database.writing() as connection:
            moved = connection.execute(
                sa.update(TREE)
                .where(TREE.c.id == tree.id, TREE.c.next_idx == tree.next, TREE.c.root.is_(None))
                .values(
                    next_idx=end,
                    documents=TREE.c.documents + len(leaves),
                    left_out=TREE.c.left_out + left_out,
                )
            )
            if moved.rowcount and leaves:
                number = connection.execute(
                    sa.select(sa.func.count()).where(CHUNKS.c.tree_id == tree.id)
                ).scalar_one()
                connection.execute(sa.insert(CHUNKS).values(_chunk(tree, number, leaves, root)))
            return moved.rowcount == 1

    def roots(self, tree_id: int) -> tuple[bytes, ...]:
        """Of the tree's chunks, in order."""
        query = sa.select(CHUNKS.c.root).where(CHUNKS.c.tree_id == tree_id)
        with self._database.reading() as connection:
            return tuple(connection.execute(query.order_by(CHUNKS.c.number)).scalars())

    def finish(self, tree: Tree, *, root: bytes, at: datetime) -> None:
        """Gives the tree its root; b"" where it covers no document."""
        with self._database.writing() as connection:
            connection.execute(
                sa.update(TREE)
                .where(TREE.c.id == tree.id, TREE.c.root.is_(None))
                .values(root=root, closed_at=rfc3339(at))
            )

    def of_document(self, index: int) -> Tree | None:
        """The finished tree of the period in which that ledger index is."""
        query = (
            sa.select(TREE)
            .where(
                TREE.c.renews.is_(None), TREE.c.root.is_not(None),
                TREE.c.first_idx <= index, TREE.c.next_idx > index,
            )
            .order_by(TREE.c.first_idx.desc())
            .limit(1)
        )  # fmt: skip
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else tree_of_row(row)

    def place_in(self, tree: Tree, index: int) -> Place | None:
        """The document of that ledger index in this tree, None where it is not in it."""
        query = (
            sa.select(CHUNKS)
            .where(CHUNKS.c.tree_id == tree.id, CHUNKS.c.first_idx <= index)
            .order_by(CHUNKS.c.first_idx.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _chunk_of(row, tree.algorithm).place(index)

    def renewals(self, base_id: int, authority: str) -> tuple[Tree, ...]:
        """The finished trees that renew a period's tree in that sequence, in order."""
        query = sa.select(TREE).where(
            TREE.c.renews == base_id, TREE.c.authority == authority, TREE.c.root.is_not(None)
        )
        with self._database.reading() as connection:
            return tuple(tree_of_row(row) for row in connection.execute(query.order_by(TREE.c.id)))


def _renews(base: int | None) -> sa.ColumnElement[bool]:
    return TREE.c.renews.is_(None) if base is None else TREE.c.renews == base


def _insert_tree(
    connection: sa.Connection, algorithm: str, first: int, until: datetime, **renewal: object
) -> None:
    connection.execute(
        sa.insert(TREE).values(
            algorithm=algorithm, first_idx=first, next_idx=first, until=rfc3339(until),
            documents=0, left_out=0, **renewal,
        )
    )  # fmt: skip


def _chunk(tree: Tree, number: int, leaves: Sequence[Leaf], root: bytes) -> dict[str, object]:
    renewed = b"".join(leaf.renewed or b"" for leaf in leaves)
    return {
        "tree_id": tree.id,
        "number": number,
        "first_idx": leaves[0].index,
        "root": root,
        "idxs": b"".join(leaf.index.to_bytes(_INDEX_BYTES, "big") for leaf in leaves),
        "nodes": b"".join(leaf.node for leaf in leaves),
        "renewed": renewed or None,
    }


def _cut(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def _chunk_of(row: sa.Row[Any], algorithm: str) -> _Chunk:
    size = hashlib.new(algorithm).digest_size
    return _Chunk(
        number=row.number, idxs=_cut(row.idxs, _INDEX_BYTES), nodes=_cut(row.nodes, size),
        renewed=_cut(row.renewed or b"", size),
    )  # fmt: skip


def _source(row: Any) -> Source:
    sha512 = json.loads(row.digests).get("sha-512")
    return Source(
        index=row.idx,
        deposit_id=row.id,
        sha256=bytes.fromhex(row.sha256),
        sha512=None if sha512 is None else bytes.fromhex(sha512),
        blind=row.disclosures,
        stored=row.stored,
        registered_at=parse_rfc3339(row.registered_at),
    )


def tree_of_row(row: sa.Row[Any]) -> Tree:
    return Tree(
        id=row.id, algorithm=row.algorithm, renews=row.renews, authority=row.authority,
        after=row.after, first=row.first_idx, next=row.next_idx, until=parse_rfc3339(row.until),
        documents=row.documents, left_out=row.left_out, root=row.root,
    )  # fmt: skip
