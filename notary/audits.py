"""Audits of originals: the runs, and the ranges they are cut into. Owns their tables.

A range is what one tile of the ledger covers, or one index of a sample. A worker holds a range
for a while and notes how far it came; where it dies its hold runs out, and another one goes on
from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any

import sqlalchemy as sa

from notary.clock import parse_rfc3339, rfc3339
from notary.errors import Conflict, NotFound
from storage.database import METADATA, Database, Prepared, insert_if_absent

WIDTH = 256
"""Indices of a range: what one tile of level 0 covers."""
HOLD = timedelta(seconds=60)
"""For how long a range is a worker's after it last said so."""
_INSERT_AT_ONCE = 1_000


class Scope(StrEnum):
    ALL = "all"
    SAMPLE = "sample"


class Kind(StrEnum):
    """What can be wrong with an original."""

    MISSING = "missing"
    DIFFERS = "differs"
    UNREADABLE = "unreadable"
    """The store works and does not give this one."""
    UNPROVED = "unproved"
    """What the ledger says of it can't be established: entry, tile, statement or record."""
    ROW = "row"
    """The register's row says otherwise than the record."""


RUN = sa.Table(
    "audit_run",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    # 1 while it is unfinished, else NULL, which is never equal to another: one at a time.
    sa.Column("unfinished", sa.SmallInteger, unique=True),
    sa.Column("scope", sa.String(10), nullable=False),
    sa.Column("rate", sa.BigInteger, nullable=False),
    sa.Column("started_by", sa.String(200), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("checkpoint", sa.LargeBinary, nullable=False),
    sa.Column("started_at", sa.String(27), nullable=False),
    sa.Column("finished_at", sa.String(27)),
    sa.Column("ranges", sa.BigInteger, nullable=False),
    sa.Column("deposits", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("originals", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("findings", sa.BigInteger, nullable=False, server_default="0"),
)
RANGE = sa.Table(
    "audit_range",
    METADATA,
    sa.Column("run_id", sa.String(36), primary_key=True),
    sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False, index=True),
    sa.Column("end", sa.BigInteger, nullable=False),
    sa.Column("next", sa.BigInteger, nullable=False),
    sa.Column("worker", sa.String(36)),
    sa.Column("held_until", sa.String(27)),
    sa.Column("done_at", sa.String(27)),
    sa.Column("deposits", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("originals", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0"),
)
_open = RANGE.c.done_at.is_(None)
sa.Index(
    "audit_range_open", RANGE.c.run_id, RANGE.c.first, sqlite_where=_open, postgresql_where=_open
)
FINDING = sa.Table(
    "audit_finding",
    METADATA,
    sa.Column("run_id", sa.String(36), primary_key=True),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False, index=True),
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("deposit_id", sa.String(36)),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("found_at", sa.String(27), nullable=False),
    sa.Column("whole_at", sa.String(27)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """`done` of the `ranges` that it was cut into; `originals` were read again, `bytes` of them."""

    ranges: int = 0
    done: int = 0
    deposits: int = 0
    originals: int = 0
    bytes: int = 0
    findings: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`checkpoint` is the signed note of the tree of `size` entries that it compares with; `rate`
    is in bytes per second over all workers, 0 for none. `counts` are as of now."""

    id: str
    scope: Scope
    rate: int
    started_by: str
    size: int
    checkpoint: bytes
    started_at: datetime
    finished_at: datetime | None
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A range that a worker holds: it goes on at index `next`, up to `end`. `sharing` workers
    hold one now."""

    run_id: str
    first: int
    end: int
    next: int
    worker: str
    sharing: int
    deposits: int
    originals: int
    bytes: int


class HoldLost(Conflict):
    """The range went to another worker meanwhile, or its run was finished."""


class Audits:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- runs -------------------------------------------------------------------------------

    def begin(self, run: Run, ranges: Iterable[tuple[int, int]]) -> Run:
        """The run with its ranges (first, end), or the unfinished one where there is one."""
        with self._database.writing() as connection:
            begun = connection.execute(
                insert_if_absent(connection, RUN).values(
                    id=run.id, unfinished=1, scope=run.scope.value, rate=run.rate,
                    started_by=run.started_by, size=run.size, checkpoint=run.checkpoint,
                    started_at=rfc3339(run.started_at), ranges=run.counts.ranges,
                ).returning(RUN.c.id)
            ).first()  # fmt: skip
            if begun is not None:
                nothing = {"deposits": 0, "originals": 0, "bytes": 0}
                rows = (
                    {"run_id": run.id, "first": first, "end": end, "next": first, **nothing}
                    for first, end in ranges
                )
                while chunk := list(islice(rows, _INSERT_AT_ONCE)):
                    _INSERT_RANGE.run_many(connection, chunk)
        found = self.unfinished()
        return run if found is None else found

    def unfinished(self) -> Run | None:
        with self._database.reading() as connection:
            row = connection.execute(sa.select(RUN).where(RUN.c.unfinished == 1)).first()
            return None if row is None else _run(connection, row)

    def run(self, run_id: str) -> Run:
        """Raises NotFound (`audit_not_found`)."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(RUN).where(RUN.c.id == run_id)).first()
            if row is None:
                raise NotFound("no such audit", code="audit_not_found")
            return _run(connection, row)

    def runs(self, *, before: str = "", limit: int = 50) -> tuple[Run, ...]:
        """The newest first; those begun before the one with this id."""
        query = sa.select(RUN).order_by(RUN.c.id.desc()).limit(limit)
        if before:
            query = query.where(RUN.c.id < before)
        with self._database.reading() as connection:
            return tuple(_run(connection, row) for row in connection.execute(query).all())

    def newest_finished(self) -> Run | None:
        """Of those that read every original, the one that was begun last."""
        query = (
            sa.select(RUN)
            .where(RUN.c.finished_at.is_not(None), RUN.c.scope == Scope.ALL.value)
            .order_by(RUN.c.started_at.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
            return None if row is None else _run(connection, row)

    # --- ranges -----------------------------------------------------------------------------

    def claim(self, run_id: str, worker: str, now: datetime) -> Part | None:
        """The first range that nobody holds, held from now on. None where there is none now."""
        free = RANGE.c.held_until.is_(None) | (RANGE.c.held_until < rfc3339(now))
        mine = (
            sa.select(RANGE)
            .where(RANGE.c.run_id == run_id, _open, free)
            .order_by(RANGE.c.first)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self._database.writing() as connection:
            row = connection.execute(mine).first()
            if row is None:
                return None
            connection.execute(
                sa.update(RANGE)
                .where(RANGE.c.run_id == run_id, RANGE.c.first == row.first)
                .values(worker=worker, held_until=rfc3339(now + HOLD))
            )
            held = _open & (RANGE.c.held_until >= rfc3339(now))
            sharing = connection.execute(
                sa.select(sa.func.count(RANGE.c.worker.distinct())).where(
                    RANGE.c.run_id == run_id, held
                )
            ).scalar_one()
        return Part(
            run_id=run_id, first=row.first, end=row.end, next=row.next, worker=worker,
            sharing=sharing, deposits=row.deposits, originals=row.originals, bytes=row.bytes,
        )  # fmt: skip

    def note(self, part: Part, now: datetime, *, released: bool = False) -> None:
        """How far it came, durable, and the hold prolonged or given back. A range that came to
        its end is done. Raises HoldLost."""
        done = part.next >= part.end
        noted = sa.update(RANGE).where(
            RANGE.c.run_id == part.run_id, RANGE.c.first == part.first,
            RANGE.c.worker == part.worker, _open,
        )  # fmt: skip
        with self._database.writing() as connection:
            changed = connection.execute(
                noted.values(
                    next=part.next, deposits=part.deposits, originals=part.originals,
                    bytes=part.bytes, done_at=rfc3339(now) if done else None,
                    held_until=None if done or released else rfc3339(now + HOLD),
                )
            ).rowcount  # fmt: skip
        if changed != 1:
            raise HoldLost(f"range {part.first} of audit {part.run_id} is another worker's now")

    def is_done(self, run_id: str) -> bool:
        with self._database.reading() as connection:
            left = connection.execute(
                sa.select(RANGE.c.first).where(RANGE.c.run_id == run_id, _open).limit(1)
            ).first()
        return left is None


# --- inside a transaction -------------------------------------------------------------------


def finish(connection: sa.Connection, run: Run, now: datetime) -> None:
    """Only once. Drops the ranges of finished runs that this one read again. Raises Conflict."""
    counts = _counts(connection, run.id)
    finished = connection.execute(
        sa.update(RUN)
        .where(RUN.c.id == run.id, RUN.c.unfinished == 1)
        .values(
            unfinished=None, finished_at=rfc3339(now), deposits=counts.deposits,
            originals=counts.originals, bytes=counts.bytes, findings=counts.findings,
        )
    ).rowcount  # fmt: skip
    if finished != 1:
        raise Conflict(f"audit {run.id} was finished meanwhile")
    if run.scope is Scope.ALL:
        connection.execute(
            sa.delete(RANGE).where(
                RANGE.c.run_id != run.id, RANGE.c.done_at < rfc3339(run.started_at)
            )
        )


def insert_finding(connection: sa.Connection, finding: dict[str, object]) -> None:
    """Raises Conflict (`audit_finding_known`) where this run has found it before."""
    inserting = insert_if_absent(connection, FINDING).values(**finding)
    if connection.execute(inserting.returning(FINDING.c.idx)).first() is None:
        raise Conflict("this was found before")


def ranges_of(size: int) -> Iterator[tuple[int, int]]:
    for first in range(0, size, WIDTH):
        yield first, min(first + WIDTH, size)


def _counts(connection: sa.Connection, run_id: str) -> Counts:
    columns = (RANGE.c.deposits, RANGE.c.originals, RANGE.c.bytes)
    sums = [sa.func.coalesce(sa.func.sum(column), 0) for column in columns]
    done, deposits, originals, read = connection.execute(
        sa.select(sa.func.count(RANGE.c.done_at), *sums).where(RANGE.c.run_id == run_id)
    ).one()
    findings = connection.execute(
        sa.select(sa.func.count()).select_from(FINDING).where(FINDING.c.run_id == run_id)
    ).scalar_one()
    return Counts(
        done=done, deposits=int(deposits), originals=int(originals),
        bytes=int(read), findings=findings,
    )  # fmt: skip


def _run(connection: sa.Connection, row: sa.Row[Any]) -> Run:
    if row.finished_at is None:
        counts = replace(_counts(connection, row.id), ranges=row.ranges)
    else:
        counts = Counts(
            ranges=row.ranges, done=row.ranges, deposits=row.deposits, originals=row.originals,
            bytes=row.bytes, findings=row.findings,
        )  # fmt: skip
    return Run(
        id=row.id,
        scope=Scope(row.scope),
        rate=row.rate,
        started_by=row.started_by,
        size=row.size,
        checkpoint=row.checkpoint,
        started_at=parse_rfc3339(row.started_at),
        finished_at=None if row.finished_at is None else parse_rfc3339(row.finished_at),
        counts=counts,
    )


_INSERT_RANGE = Prepared(sa.insert(RANGE).inline())
