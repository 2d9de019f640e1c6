"""What crashes, faults and hands leave behind: what is looked for, and what was found. Owns the
tables of the passes that look, of their findings, and of originals that may go.

`LOOKS` says of each kind what becomes of it. A finding stands from the pass that met it first to
the pass that meets it no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from notary.clock import parse_rfc3339, rfc3339
from storage.database import METADATA, Database, Prepared, insert_if_absent


class Kind(StrEnum):
    UNFINISHED_UPLOAD = "unfinished-upload"
    ORPHAN = "orphan"
    HALF_FILE = "half-file"
    EXPIRED_ROW = "expired-row"
    UNCLAIMED = "unclaimed-original"
    MISSING = "missing-original"
    DIFFERS = "original-differs"
    STRANGER = "strange-object"
    JOURNAL = "journal-behind"
    FOREIGN_JOURNAL = "journal-ahead"
    TIMESTAMP = "timestamp-waits"
    DOCUMENT = "document-timestamp-waits"
    WITNESS = "witness-silent"
    STATEMENT = "statement-waits"
    AUDIT = "audit-stands-still"
    KEY = "unregistered-key"
    RETIRED_KEY = "retired-key"
    HALTED = "halted"
    RETENTION = "retention-waits"


class After(StrEnum):
    """The age from which something is looked at; those without a fixed one are settings."""

    ORPHAN = "NOTARY_ORPHAN_HOURS"
    UNCLAIMED = "NOTARY_UNCLAIMED_DAYS"
    AT_ONCE = "at once"
    HOUR = "1 h"
    DAY = "24 h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """`mends`: the pass does away with it by itself; else it says so until a person did."""

    kind: Kind
    what: str
    mends: bool
    after: After


def _look(kind: Kind, after: After, what: str, *, mends: bool = False) -> Look:
    return Look(kind=kind, what=what, mends=mends, after=after)


LOOKS: Final = (
    _look(
        Kind.UNFINISHED_UPLOAD, After.ORPHAN,
        "bytes in storage that never became an object", mends=True,
    ),
    _look(
        Kind.ORPHAN, After.ORPHAN,
        "an original that came since this database began, and no deposit", mends=True,
    ),
    _look(
        Kind.UNCLAIMED, After.UNCLAIMED,
        "an original older than this database, and no deposit; reported until its time has come",
        mends=True,
    ),
    _look(
        Kind.HALF_FILE, After.ORPHAN,
        "a file in the home folder that was being written", mends=True,
    ),
    _look(
        Kind.EXPIRED_ROW, After.AT_ONCE,
        "a session or one-time link whose time is over", mends=True,
    ),
    _look(Kind.MISSING, After.AT_ONCE, "a deposit whose original is not in storage"),
    _look(Kind.DIFFERS, After.AT_ONCE, "an original of another size than its deposit has"),
    _look(Kind.STRANGER, After.AT_ONCE, "an object among the originals that no deposit can be of"),
    _look(Kind.JOURNAL, After.HOUR, "rows that are not in the journal, or a segment half written"),
    _look(Kind.FOREIGN_JOURNAL, After.AT_ONCE, "a journal segment of another database"),
    _look(Kind.TIMESTAMP, After.HOUR, "a checkpoint that no timestamp covers"),
    _look(Kind.DOCUMENT, After.HOUR, "a document without the timestamp that was asked for it"),
    _look(Kind.WITNESS, After.HOUR, "a witness that does not cosign"),
    _look(Kind.STATEMENT, After.HOUR, "a signed statement that was taken and not registered"),
    _look(Kind.AUDIT, After.DAY, "an audit that nobody goes on with"),
    _look(Kind.KEY, After.HOUR, "a key that a killed rotation made and nobody registered"),
    _look(Kind.RETIRED_KEY, After.HOUR, "a key file that is retired and still there"),
    _look(Kind.RETENTION, After.AT_ONCE, "an original that storage does not retain yet"),
    _look(Kind.HALTED, After.AT_ONCE, "writing that has stopped, and nobody has looked"),
)  # fmt: skip
"""Everything a pass looks for. docs/operating.md has the same table."""

HOLD = timedelta(seconds=60)
"""For how long a pass is a worker's after it last said so."""
MOST_FINDINGS = 10_000
"""Kept of one pass; the others are counted. An emptied bucket must not fill the database."""
PASSES_KEPT = 50

PASS = sa.Table(
    "remains_pass",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    # 1 while it is unfinished, else NULL, which is never equal to another: one at a time.
    sa.Column("unfinished", sa.SmallInteger, unique=True),
    sa.Column("started_by", sa.String(200), nullable=False),
    sa.Column("started_at", sa.String(27), nullable=False),
    sa.Column("finished_at", sa.String(27)),
    sa.Column("worker", sa.String(36), nullable=False),
    sa.Column("held_until", sa.String(27), nullable=False),
    sa.Column("place", sa.String(512), nullable=False, server_default=""),
    sa.Column("objects", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("deposits", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("mended", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("findings", sa.BigInteger, nullable=False, server_default="0"),
)
FINDING = sa.Table(
    "remains_finding",
    METADATA,
    sa.Column("kind", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(600), primary_key=True),
    sa.Column("pass_id", sa.String(36), nullable=False),
    sa.Column("deposit_id", sa.String(36), index=True),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("since", sa.String(27), nullable=False),
    sa.Column("seen_at", sa.String(27), nullable=False),
)
CONDEMNED = sa.Table(
    "condemned_original",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("at", sa.String(27), nullable=False),
)
BEGAN = sa.Table(
    "database_began",
    METADATA,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String(27), nullable=False),
)
_ONLY = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Remnant:
    """One thing found. `name` is the key, path or job; `deposit_id` where it is a deposit's."""

    kind: Kind
    name: str
    detail: str
    deposit_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A remnant that stands; `since` it was first met."""

    remnant: Remnant
    since: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """`place` is the key of the last original that was compared; counts as of then."""

    id: str
    started_by: str
    started_at: datetime
    finished_at: datetime | None
    worker: str
    place: str
    objects: int
    deposits: int
    mended: int
    findings: int


class HoldLost(Exception):
    """The pass went to another worker meanwhile."""


class Remains:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- passes -----------------------------------------------------------------------------

    def claim(self, pass_id: str, worker: str, by: str, now: datetime) -> Pass | None:
        """A new pass, or the unfinished one whose worker has not been heard of for `HOLD`. None
        while that one is at work."""
        with self._database.writing() as connection:
            connection.execute(
                insert_if_absent(connection, PASS).values(
                    id=pass_id, unfinished=1, started_by=by, started_at=rfc3339(now),
                    worker=worker, held_until=rfc3339(now),
                )
            )  # fmt: skip
            row = connection.execute(
                sa.update(PASS)
                .where(PASS.c.unfinished == 1, PASS.c.held_until <= rfc3339(now))
                .values(worker=worker, held_until=rfc3339(now + HOLD))
                .returning(PASS)
            ).first()
        return None if row is None else _pass(row)

    def note(self, given: Pass, now: datetime, *, released: bool = False) -> None:
        """How far it came, durable, and the hold prolonged or given back. Raises HoldLost."""
        until = now if released else now + HOLD
        with self._database.writing() as connection:
            self._noted(connection, given, held_until=rfc3339(until))

    def finish(self, given: Pass, now: datetime) -> tuple[Finding, ...]:
        """Ends it, once; gives the findings that were not met again and are gone now, at most
        `MOST_FINDINGS`. Raises HoldLost."""
        with self._database.writing() as connection:
            self._noted(connection, given, unfinished=None, finished_at=rfc3339(now))
            gone = FINDING.c.pass_id != given.id
            rows = connection.execute(sa.select(FINDING).where(gone).limit(MOST_FINDINGS)).all()
            connection.execute(sa.delete(FINDING).where(gone))
            newest = sa.select(PASS.c.id).order_by(PASS.c.started_at.desc()).limit(PASSES_KEPT)
            connection.execute(sa.delete(PASS).where(PASS.c.id.not_in(newest)))
        return tuple(_finding(row) for row in rows)

    def _noted(self, connection: sa.Connection, given: Pass, **values: Any) -> None:
        changed = connection.execute(
            sa.update(PASS)
            .where(PASS.c.id == given.id, PASS.c.worker == given.worker, PASS.c.unfinished == 1)
            .values(
                place=given.place, objects=given.objects, deposits=given.deposits,
                mended=given.mended, findings=given.findings, **values,
            )
        ).rowcount  # fmt: skip
        if changed != 1:
            raise HoldLost(f"pass {given.id} is another worker's now")

    def passes(self, limit: int = PASSES_KEPT) -> tuple[Pass, ...]:
        """The newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                sa.select(PASS).order_by(PASS.c.started_at.desc(), PASS.c.id.desc()).limit(limit)
            )
            return tuple(_pass(row) for row in rows)

    def newest_finished(self) -> Pass | None:
        return next((each for each in self.passes() if each.finished_at is not None), None)

    # --- findings ---------------------------------------------------------------------------

    def keep(self, pass_id: str, found: Sequence[Remnant], now: datetime) -> tuple[Remnant, ...]:
        """Those of them that were not known before; all of them stand from now on."""
        fresh: list[Remnant] = []
        with self._database.writing() as connection:
            for each in found:
                seen = {"pass_id": pass_id, "detail": each.detail, "seen_at": rfc3339(now)}
                inserted = connection.execute(
                    insert_if_absent(connection, FINDING)
                    .values(
                        kind=each.kind.value, name=each.name, deposit_id=each.deposit_id,
                        since=rfc3339(now), **seen,
                    )
                    .returning(FINDING.c.kind)
                ).first()  # fmt: skip
                if inserted is not None:
                    fresh.append(each)
                    continue
                connection.execute(
                    sa.update(FINDING)
                    .where(FINDING.c.kind == each.kind.value, FINDING.c.name == each.name)
                    .values(**seen)
                )
        return tuple(fresh)

    def findings(
        self, *, after: tuple[str, str] = ("", ""), limit: int = 50
    ) -> tuple[Finding, ...]:
        """By kind and name, those after (kind, name)."""
        place = (FINDING.c.kind > after[0]) | (
            (FINDING.c.kind == after[0]) & (FINDING.c.name > after[1])
        )
        query = sa.select(FINDING).where(place).order_by(FINDING.c.kind, FINDING.c.name)
        with self._database.reading() as connection:
            return tuple(_finding(row) for row in connection.execute(query.limit(limit)))

    def counts(self) -> dict[Kind, int]:
        """How many findings stand now, of each kind that has any."""
        query = sa.select(FINDING.c.kind, sa.func.count()).group_by(FINDING.c.kind)
        with self._database.reading() as connection:
            return {Kind(kind): count for kind, count in connection.execute(query).all()}

    def of_deposits(self, deposit_ids: Collection[str]) -> dict[str, Finding]:
        """By deposit id, what stands against its original."""
        query = sa.select(FINDING).where(FINDING.c.deposit_id.in_(list(deposit_ids)))
        with self._database.reading() as connection:
            found = [_finding(row) for row in connection.execute(query)]
        return {str(each.remnant.deposit_id): each for each in found}

    # --- this database ----------------------------------------------------------------------

    def began(self, now: datetime, *, write: bool = True) -> datetime:
        """Since when this database has been the house's without a gap: its founding, or its first
        pass where it was made again. What is older may be known to a database before it."""
        with self._database.reading() as connection:
            at: str | None = connection.execute(sa.select(BEGAN.c.at)).scalar()
        if at is not None:
            return parse_rfc3339(at)
        if write:
            with self._database.writing() as connection:
                insert_began(connection, now)
        return now


# --- inside a transaction -------------------------------------------------------------------


def insert_began(connection: sa.Connection, now: datetime) -> None:
    connection.execute(insert_if_absent(connection, BEGAN).values(id=_ONLY, at=rfc3339(now)))


ANY_CONDEMNED: Final = Prepared(sa.select(sa.literal_column("1")).select_from(CONDEMNED).limit(1))
_CONDEMNED: Final = Prepared(
    sa.select(CONDEMNED.c.id).where(CONDEMNED.c.id == sa.bindparam("deposit_id"))
)


def is_condemned(connection: sa.Connection, deposit_id: str) -> bool:
    return _CONDEMNED.first(connection, deposit_id=deposit_id) is not None


def condemn(connection: sa.Connection, deposit_ids: Iterable[str], at: datetime) -> None:
    """From the commit on none of these can become a deposit. The transaction must hold the head's
    lock, and have looked that none of them is one."""
    for each in deposit_ids:
        connection.execute(insert_if_absent(connection, CONDEMNED).values(id=each, at=rfc3339(at)))


def forget_condemned(connection: sa.Connection, before: datetime) -> None:
    """Whoever was still uploading one of them then does so no more."""
    connection.execute(sa.delete(CONDEMNED).where(CONDEMNED.c.at < rfc3339(before)))


def _pass(row: sa.Row[Any]) -> Pass:
    return Pass(
        id=row.id,
        started_by=row.started_by,
        started_at=parse_rfc3339(row.started_at),
        finished_at=None if row.finished_at is None else parse_rfc3339(row.finished_at),
        worker=row.worker,
        place=row.place,
        objects=row.objects,
        deposits=row.deposits,
        mended=row.mended,
        findings=row.findings,
    )


def _finding(row: sa.Row[Any]) -> Finding:
    return Finding(
        remnant=Remnant(
            kind=Kind(row.kind), name=row.name, detail=row.detail, deposit_id=row.deposit_id
        ),
        since=parse_rfc3339(row.since),
        seen_at=parse_rfc3339(row.seen_at),
    )
