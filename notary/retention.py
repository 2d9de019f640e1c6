"""Originals are retained once their entry is durable, and not before.

What never becomes a deposit can so be removed at once, and no lock begins before the promise that
it keeps. The transaction that makes the entry durable also writes a row that says what is to be
retained, exactly which version, and until when. Before the answer the store is asked for it; where
it does not answer promptly, the worker's pulse asks again, by the same code.

A crash before the commit leaves nothing to retain; between the commit and the store's answer, the
row, and the original unretained until the pulse comes to it; between the store's answer and the
row's removal, the same retention is asked for once more, which changes nothing. Owns the table.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from notary.clock import Clock, parse_rfc3339, rfc3339
from storage.database import METADATA, Database, Prepared
from storage.errors import ObjectLocked, ObjectNotFound, StorageError
from storage.objects import ObjectStore

AT_ONCE = 256
LEFT_TO_THE_DEPOSIT = timedelta(seconds=10)
"""How old a row is before the pulse takes it: a younger one is its own deposit's business."""
GATHERED = 64
SETTLE_EVERY_S = 1.0
"""Rows done are removed together: one more commit for each deposit would be felt."""

DUE = sa.Table(
    "retention_due",
    METADATA,
    sa.Column("key", sa.String(512), primary_key=True),
    sa.Column("version", sa.Text),
    sa.Column("until", sa.String(27), nullable=False),
    sa.Column("at", sa.String(27), nullable=False, index=True),
)
INSERT_DUE = Prepared(sa.insert(DUE).inline())
_DROP = Prepared(sa.delete(DUE).where(DUE.c.key == sa.bindparam("key_")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An original to be retained: its key and version in the store."""

    key: str
    version: str | None
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What a pass did. `failed` are keys with what the store said; they stay due."""

    done: int
    failed: tuple[tuple[str, str], ...]


class Retention:
    def __init__(
        self,
        *,
        database: Database,
        objects: ObjectStore,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._objects = objects
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._done: list[str] = []
        self._settled_at = -SETTLE_EVERY_S

    @property
    def configured(self) -> bool:
        return self._objects.retention is not None

    def due(self, key: str, version: str | None, at: datetime) -> Due | None:
        """What is to be retained of an original whose entry becomes durable `at`; None where
        NOTARY_OBJECTS asks for no retention."""
        if self._objects.retention is None:
            return None
        return Due(key=key, version=version, until=at + self._objects.retention)

    def apply(self, due: Due) -> bool:
        """Asks the store once. False where it did not do it: then it stays due, and the pulse
        asks again. Does not raise what storage raises: the deposit stands without it."""
        try:
            self._retain(due)
        except StorageError:
            return False
        self._settle(due.key)
        return True

    def is_due(self) -> bool:
        return bool(self._older(LEFT_TO_THE_DEPOSIT, limit=1))

    def run(self, older_than: timedelta = LEFT_TO_THE_DEPOSIT) -> Retained:
        """Retains what is still due, the oldest first, at most AT_ONCE. Safe to run twice at
        once. An original that is gone stays due, and is named: that is a loss, not a job done."""
        done: list[str] = []
        failed: list[tuple[str, str]] = []
        for due in self._older(older_than, limit=AT_ONCE):
            try:
                self._retain(due)
            except StorageError as exc:
                failed.append((due.key, f"{exc.__class__.__name__}: {exc}"))
                if not isinstance(exc, ObjectNotFound):
                    break  # the store does not answer: the others would not fare better
            else:
                done.append(due.key)
        self._drop(done)
        return Retained(done=len(done), failed=tuple(failed))

    def waiting(self) -> int:
        """How many originals are registered and not known to be retained."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(DUE)).scalar_one()

    def _retain(self, due: Due) -> None:
        try:
            self._objects.retain(due.key, version=due.version, until=due.until)
        except ObjectLocked:
            return  # it is retained for longer already

    def _settle(self, key: str) -> None:
        with self._lock:
            self._done.append(key)
            now = self._monotonic()
            if len(self._done) < GATHERED and now - self._settled_at < SETTLE_EVERY_S:
                return
            done, self._done, self._settled_at = self._done, [], now
        try:
            self._drop(done)
        except StorageError:
            return  # they stay due; the pulse finds them retained already

    def _older(self, than: timedelta, *, limit: int) -> Sequence[Due]:
        query = (
            sa.select(DUE)
            .where(DUE.c.at <= rfc3339(self._clock.now() - than))
            .order_by(DUE.c.at, DUE.c.key)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [
                Due(key=row.key, version=row.version, until=parse_rfc3339(row.until))
                for row in connection.execute(query)
            ]

    def _drop(self, keys: Sequence[str]) -> None:
        if keys:
            with self._database.writing() as connection:
                _DROP.run_many(connection, [{"key_": key} for key in keys])


def due_row(due: Due, at: datetime) -> dict[str, object]:
    """For INSERT_DUE, in the transaction that makes the entry durable."""
    return {
        "key": due.key,
        "version": due.version,
        "until": rfc3339(due.until),
        "at": rfc3339(at),
    }
