"""What audits found: each finding, and when an original was last read again.

That is not kept for each original: it is when the newest range that covers its index was done,
unless something was found there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from notary.audits import FINDING, RANGE, RUN, WIDTH, Kind, Run
from notary.clock import parse_rfc3339, rfc3339
from storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`detail` shows both sides and nothing of the content; `whole_at` is when the original was
    last read again and found whole. `deposit_id` is None where no row names the deposit."""

    run_id: str
    index: int
    kind: Kind
    deposit_id: str | None
    detail: str
    found_at: datetime
    whole_at: datetime | None

    def row(self) -> dict[str, object]:
        """For `audits.insert_finding`."""
        return {
            "run_id": self.run_id,
            "idx": self.index,
            "kind": self.kind.value,
            "deposit_id": self.deposit_id,
            "detail": self.detail,
            "found_at": rfc3339(self.found_at),
            "whole_at": None if self.whole_at is None else rfc3339(self.whole_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRead:
    """`at` is when the original was last read again, `finding` what was wrong then, None where it
    was whole; `whole_at` when it was last found whole."""

    run_id: str
    at: datetime
    finding: Kind | None
    whole_at: datetime | None


class Rereads:
    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self, indices: Collection[int]) -> Mapping[int, LastRead]:
        """By ledger index; none for what no audit has read yet. An original that changed after
        its range was done is found by the next audit, not here."""
        with self._database.reading() as connection:
            done = _done(connection, indices)
            found = _found(connection, indices)
        last: dict[int, LastRead] = {}
        for index in indices:
            read, finding = done.get(index), found.get(index)
            if finding is not None and (
                read is None or read[1] == finding.run_id or read[0] < finding.found_at
            ):
                last[index] = LastRead(
                    run_id=finding.run_id,
                    at=finding.found_at,
                    finding=finding.kind,
                    whole_at=finding.whole_at,
                )
            elif read is not None:
                last[index] = LastRead(run_id=read[1], at=read[0], finding=None, whole_at=read[0])
        return last

    def findings(
        self, run_id: str, *, after: tuple[int, str] = (-1, ""), limit: int = 50
    ) -> tuple[Finding, ...]:
        """In ledger order, those after (index, kind)."""
        place = (FINDING.c.idx > after[0]) | (
            (FINDING.c.idx == after[0]) & (FINDING.c.kind > after[1])
        )
        query = (
            sa.select(FINDING)
            .where(FINDING.c.run_id == run_id, place)
            .order_by(FINDING.c.idx, FINDING.c.kind)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return tuple(_finding(row) for row in connection.execute(query))

    def open_findings(self, since: Run | None) -> int:
        """How many `since`, the newest full audit, and those begun after it have."""
        query = sa.select(sa.func.count()).select_from(FINDING)
        if since is not None:
            query = query.join(RUN, RUN.c.id == FINDING.c.run_id).where(
                RUN.c.started_at >= rfc3339(since.started_at)
            )
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one()


def _done(
    connection: sa.Connection, indices: Collection[int]
) -> Mapping[int, tuple[datetime, str]]:
    """Index to (time, run) of the newest done range that covers it."""
    starts = {index - index % WIDTH for index in indices} | set(indices)
    rows = connection.execute(
        sa.select(RANGE.c.first, RANGE.c.end, RANGE.c.done_at, RANGE.c.run_id)
        .where(RANGE.c.first.in_(starts), RANGE.c.done_at.is_not(None))
        .order_by(RANGE.c.done_at)
    ).all()
    newest: dict[int, tuple[datetime, str]] = {}
    for row in rows:
        for index in indices:
            if row.first <= index < row.end:
                newest[index] = (parse_rfc3339(row.done_at), row.run_id)
    return newest


def _found(connection: sa.Connection, indices: Collection[int]) -> Mapping[int, Finding]:
    rows = connection.execute(
        sa.select(FINDING).where(FINDING.c.idx.in_(indices)).order_by(FINDING.c.found_at)
    )
    return {row.idx: _finding(row) for row in rows}


def _finding(row: sa.Row[Any]) -> Finding:
    return Finding(
        run_id=row.run_id,
        index=row.idx,
        kind=Kind(row.kind),
        deposit_id=row.deposit_id,
        detail=row.detail,
        found_at=parse_rfc3339(row.found_at),
        whole_at=None if row.whole_at is None else parse_rfc3339(row.whole_at),
    )
