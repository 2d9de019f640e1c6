"""Retention for what was registered before NOTARY_OBJECTS asked for any, or for less.

Each original gets what it would have had: from its own registration on, as many days as the setting
says now. The store only ever extends, so that everything may be asked for twice: broken off
anywhere, it goes on at the index it came to, or from the beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from notary.clock import parse_rfc3339
from notary.errors import MalformedInput
from notary.originals import object_key
from notary.pace import Pace
from notary.register import DEPOSIT
from storage.database import Database
from storage.errors import ObjectLocked, ObjectNotFound
from storage.objects import ObjectStore

CHUNK = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """`longer` are retained beyond it, `over` are those whose time has passed, `missing` are
    deposits whose original is not there. All deposits before index `reached` were seen."""

    retained: int = 0
    longer: int = 0
    over: int = 0
    missing: tuple[str, ...] = ()
    reached: int = 0


def retain_registered(
    database: Database,
    objects: ObjectStore,
    now: datetime,
    *,
    start: int = 0,
    rate: float = 0.0,
    wait: Callable[[float], object] = time.sleep,
    progress: Callable[[Caught], None] = lambda _so_far: None,
) -> Caught:
    """Every stored original from ledger index `start` on; `rate` is in originals a second, 0 for no
    limit. Deposits made meanwhile have theirs by themselves, and are met at the end.

    Raises MalformedInput (`settings`) where the setting asks for no retention, and what the store
    raises: what was done stays done, up to what `progress` was told last.
    """
    if objects.retention is None:
        raise MalformedInput(
            "NOTARY_OBJECTS asks for no retention: add days=N (and lock= for S3) to it first",
            code="settings",
        )
    pace = Pace(rate, time.monotonic)
    caught = Caught(reached=start)
    while rows := _stored(database, caught.reached):
        for row in rows:
            until = parse_rfc3339(row.registered_at) + objects.retention
            if until <= now:
                caught = replace(caught, over=caught.over + 1)
                continue
            try:
                objects.retain(object_key(row.id), version=row.object_version, until=until)
            except ObjectLocked:
                caught = replace(caught, longer=caught.longer + 1)
            except ObjectNotFound:
                caught = replace(caught, missing=(*caught.missing, row.id))
            else:
                caught = replace(caught, retained=caught.retained + 1)
        caught = replace(caught, reached=rows[-1].idx + 1)
        progress(caught)
        if (owed := pace.owed(len(rows))) > 0:
            wait(owed)
    return caught


def _stored(database: Database, start: int) -> Sequence[Any]:
    query = (
        sa.select(
            DEPOSIT.c.id, DEPOSIT.c.idx, DEPOSIT.c.registered_at, DEPOSIT.c.object_version
        )
        .where(DEPOSIT.c.idx >= start, DEPOSIT.c.stored, DEPOSIT.c.disposed_at.is_(None))
        .order_by(DEPOSIT.c.idx)
        .limit(CHUNK)
    )  # fmt: skip
    with database.reading() as connection:
        return connection.execute(query).all()
