"""Archive time-stamps over hash trees, chain by chain (RFC 4998 §4, §5). Owns their table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from notary.clock import parse_rfc3339, rfc3339
from notary.ers import ArchiveTimestamp, Lists, encode_lists, read_lists
from notary.hash_trees import TREE, Tree, tree_of_row
from storage.database import METADATA, Database, insert_if_absent

STAMP = sa.Table(
    "archive_timestamp",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tree_id", sa.Integer, nullable=False),
    sa.Column("authority", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("is_last", sa.Boolean, nullable=False),
    sa.Column("given_by", sa.Text, nullable=False),
    sa.Column("self_operated", sa.Boolean, nullable=False),
    sa.Column("gen_time", sa.String(27), nullable=False),
    sa.Column("expires_at", sa.String(27), nullable=False),
    sa.Column("reduced", sa.LargeBinary),
    sa.Column("token", sa.LargeBinary, nullable=False),
    sa.Column("chain", sa.Text, nullable=False),
    sa.UniqueConstraint("tree_id", "authority", "position"),
)
"""`authority` names the sequence, `given_by` who gave this token. `is_last`: nothing renews it yet,
and a renewal will be due."""
sa.Index("archive_timestamp_due", STAMP.c.is_last, STAMP.c.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """One archive time-stamp, as it stands in a chain."""

    id: int
    tree_id: int
    authority: str
    position: int
    given_by: str
    self_operated: bool
    gen_time: datetime
    expires_at: datetime
    reduced: Lists | None
    token: bytes
    chain: tuple[bytes, ...]

    def archive_timestamp(self) -> ArchiveTimestamp:
        return ArchiveTimestamp(token=self.token, reduced=self.reduced)


class ArchiveStamps:
    def __init__(self, database: Database) -> None:
        self._database = database

    def chain(self, tree_id: int, authority: str) -> tuple[Stamp, ...]:
        query = sa.select(STAMP).where(STAMP.c.tree_id == tree_id, STAMP.c.authority == authority)
        with self._database.reading() as connection:
            return tuple(
                _stamp(row) for row in connection.execute(query.order_by(STAMP.c.position))
            )

    def sequences(self, tree_id: int) -> tuple[str, ...]:
        """The authorities that stamped a period's tree first, in the order they did."""
        query = sa.select(STAMP.c.authority).where(
            STAMP.c.tree_id == tree_id, STAMP.c.position == 0
        )
        with self._database.reading() as connection:
            return tuple(connection.execute(query.order_by(STAMP.c.id)).scalars())

    def unstamped(self, authority: str, *, since: datetime, limit: int) -> tuple[Tree, ...]:
        """Finished trees of periods that wait for this authority's token: those that nobody
        stamped, and those closed `since` then."""
        mine = sa.exists().where(STAMP.c.tree_id == TREE.c.id, STAMP.c.authority == authority)
        anybody = sa.exists().where(STAMP.c.tree_id == TREE.c.id)
        late = sa.or_(TREE.c.closed_at >= rfc3339(since), ~anybody)
        return self._waiting(TREE.c.renews.is_(None), ~mine, late, limit=limit)

    def unstamped_renewals(self, *, limit: int) -> tuple[Tree, ...]:
        """Finished trees of hash-tree renewals that wait for their token."""
        anybody = sa.exists().where(STAMP.c.tree_id == TREE.c.id)
        return self._waiting(TREE.c.renews.is_not(None), ~anybody, limit=limit)

    def _waiting(self, *where: sa.ColumnElement[bool], limit: int) -> tuple[Tree, ...]:
        query = sa.select(TREE).where(TREE.c.root.is_not(None), TREE.c.documents > 0, *where)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(TREE.c.id).limit(limit))
            return tuple(tree_of_row(row) for row in rows)

    def ageing(self, now: datetime, before: datetime, *, limit: int) -> tuple[Stamp, ...]:
        """The last of their chains whose certificates end after `now` and `before` that, the
        soonest first."""
        query = (
            sa.select(STAMP)
            .where(
                STAMP.c.is_last.is_(True),
                STAMP.c.expires_at > rfc3339(now),
                STAMP.c.expires_at < rfc3339(before),
            )
            .order_by(STAMP.c.expires_at, STAMP.c.id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return tuple(_stamp(row) for row in connection.execute(query))

    def ended(self, now: datetime) -> tuple[tuple[str, int], ...]:
        """(authority, number of its sequences) that were not renewed in time."""
        query = (
            sa.select(STAMP.c.authority, sa.func.count())
            .where(STAMP.c.is_last.is_(True), STAMP.c.expires_at <= rfc3339(now))
            .group_by(STAMP.c.authority)
            .order_by(STAMP.c.authority)
        )
        with self._database.reading() as connection:
            return tuple((name, count) for name, count in connection.execute(query))

    def algorithm_of(self, tree_id: int) -> str:
        with self._database.reading() as connection:
            query = sa.select(TREE.c.algorithm).where(TREE.c.id == tree_id)
            found: str = connection.execute(query).scalar_one()
            return found

    def keep(self, stamps: Sequence[Stamp], *, ends: Sequence[tuple[int, str]] = ()) -> None:
        """Adds time-stamps, each the next of its chain. One whose place is taken is dropped: a job
        that ran twice harms nothing. `ends` are chains (tree, authority) that go on no more."""
        with self._database.writing() as connection:
            for stamp in stamps:
                chain = (STAMP.c.tree_id == stamp.tree_id, STAMP.c.authority == stamp.authority)
                length = sa.select(sa.func.count()).select_from(STAMP).where(*chain)
                if connection.execute(length).scalar_one() != stamp.position:
                    continue
                connection.execute(sa.update(STAMP).where(*chain).values(is_last=False))
                row = _stamp_row(stamp)
                connection.execute(insert_if_absent(connection, STAMP).values(**row))
            for tree_id, authority in ends:
                connection.execute(
                    sa.update(STAMP)
                    .where(STAMP.c.tree_id == tree_id, STAMP.c.authority == authority)
                    .values(is_last=False)
                )

    def chains_of_certificates(self) -> Iterator[tuple[bytes, ...]]:
        """The certificate chains of time-stamps that stand last, each once."""
        query = sa.select(STAMP.c.chain).where(STAMP.c.is_last.is_(True)).distinct()
        with self._database.reading() as connection:
            texts = connection.execute(query).scalars().all()
        for text in texts:
            yield tuple(bytes.fromhex(der) for der in json.loads(text))


def _stamp(row: sa.Row[Any]) -> Stamp:
    return Stamp(
        id=row.id, tree_id=row.tree_id, authority=row.authority, position=row.position,
        given_by=row.given_by, self_operated=row.self_operated,
        gen_time=parse_rfc3339(row.gen_time), expires_at=parse_rfc3339(row.expires_at),
        reduced=None if row.reduced is None else read_lists(row.reduced), token=row.token,
        chain=tuple(bytes.fromhex(der) for der in json.loads(row.chain)),
    )  # fmt: skip


def _stamp_row(stamp: Stamp) -> dict[str, object]:
    return {
        "tree_id": stamp.tree_id,
        "authority": stamp.authority,
        "position": stamp.position,
        "is_last": True,
        "given_by": stamp.given_by,
        "self_operated": stamp.self_operated,
        "gen_time": rfc3339(stamp.gen_time),
        "expires_at": rfc3339(stamp.expires_at),
        "reduced": None if stamp.reduced is None else encode_lists(stamp.reduced),
        "token": stamp.token,
        "chain": json.dumps([der.hex() for der in stamp.chain]),
    }
