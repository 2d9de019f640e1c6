"""All data keys wrapped anew under the newest wrapping key, while the house serves.

What a data key is wrapped under is written at its beginning, so that nothing else need be
remembered: broken off anywhere, the next run passes over what is done. A row is changed only where
it still has the data key that was read: one that was disposed of meanwhile stays without. The
journal takes up each changed row like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from notary.errors import Corrupt, KeyMissing
from notary.pace import Pace
from notary.register import DEPOSIT
from notary.wrapping import Wrapping
from storage.database import Database

CHUNK = 100
"""Data keys in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrapped:
    """`already` were under the newest key. `failed` are deposits with what was wrong: those keep
    the data key that they have."""

    done: int = 0
    already: int = 0
    failed: tuple[tuple[str, str], ...] = field(default=())


def rewrap(
    database: Database,
    wrapping: Wrapping,
    *,
    rate: float = 0.0,
    wait: Callable[[float], object] = time.sleep,
    progress: Callable[[Rewrapped], None] = lambda _so_far: None,
) -> Rewrapped:
    """`rate` is in data keys a second, 0 for no limit. Raises KeyMissing where there is no newest
    wrapping key, Unreachable, and what the database raises: what was done stays done.

    An upload under way may still come to its end with a data key under the key that was the newest
    when it began.
    """
    pace = Pace(rate, time.monotonic)
    now = Rewrapped()
    wrapping.check_newest()
    last = -1
    while rows := _wrapped(database, last):
        last = rows[-1].idx
        fresh: list[tuple[Any, bytes]] = []
        failed: list[tuple[str, str]] = []
        for row in rows:
            try:
                anew = wrapping.rewrap(row.data_key, row.id)
            except (Corrupt, KeyMissing) as exc:
                failed.append((row.id, str(exc)))
            else:
                if anew is not None:
                    fresh.append((row, anew))
        done = _keep(database, fresh)
        now = Rewrapped(
            done=now.done + done,
            already=now.already + len(rows) - len(fresh) - len(failed),
            failed=(*now.failed, *failed),
        )
        progress(now)
        if (owed := pace.owed(len(fresh))) > 0:
            wait(owed)
    return now


def _wrapped(database: Database, last: int) -> Sequence[Any]:
    query = (
        sa.select(DEPOSIT.c.id, DEPOSIT.c.idx, DEPOSIT.c.data_key)
        .where(DEPOSIT.c.data_key.is_not(None), DEPOSIT.c.idx > last)
        .order_by(DEPOSIT.c.idx)
        .limit(CHUNK)
    )
    with database.reading() as connection:
        return connection.execute(query).all()


def _keep(database: Database, fresh: Sequence[tuple[Any, bytes]]) -> int:
    """Gives how many rows still had the data key that was read."""
    if not fresh:
        return 0
    with database.writing() as connection:
        return sum(
            connection.execute(
                sa.update(DEPOSIT)
                .where(DEPOSIT.c.id == row.id, DEPOSIT.c.data_key == row.data_key)
                .values(data_key=anew)
            ).rowcount
            for row, anew in fresh
        )
