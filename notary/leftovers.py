"""The looks of a pass that need no walk through storage: files, rows and jobs that stand still.

Each says what it found, or does away with it. What waits for a job is mended by that job, which
asks the database what is due; a look only says that it has waited too long. Looks change nothing
that a job under way still needs: their ages are far longer than any job takes between two signs
of life.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from notary.accounts import SESSION, SIGN_IN_LINK
from notary.audits import RANGE, Audits
from notary.clock import rfc3339
from notary.errors import IntegrityError, Rollback
from notary.halt import Halt
from notary.issuers import WAITING
from notary.journal import Journal, read_place
from notary.journal_rows import entered_at
from notary.keyring import Keyring, retired_keys, stray_keys
from notary.ledger import read_head
from notary.remains import Kind, Remnant
from notary.stamps import Stamps
from notary.witness import Witnesses
from storage.database import Database
from storage.durable import drop_unfinished, unfinished

NEAR = 8
"""Entries looked at for a time: those of founding, rotations and policies bear none in a row."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EXPIRING: Final = (SESSION.c.expires_at, SIGN_IN_LINK.c.expires_at)
"""Columns with the time from which on their rows are worth nothing. A settled Idempotency-Key has
none: it gives its answer back for as long as the deposit is there."""


class Leftovers:
    def __init__(
        self,
        *,
        database: Database,
        home: Path,
        keyring: Keyring,
        journal: Journal,
        stamps: Stamps,
        witnesses: Witnesses,
    ) -> None:
        self._database = database
        self._home = home
        self._keyring = keyring
        self._journal = journal
        self._stamps = stamps
        self._witnesses = witnesses
        self._audits = Audits(database)

    # --- mended -----------------------------------------------------------------------------

    def half_files(self, before: datetime) -> list[str]:
        """In the folders that the house writes to, storage's own apart."""
        return [
            path for folder in self._folders() for path in unfinished(folder, before.timestamp())
        ]

    def drop_half_files(self, before: datetime) -> int:
        return sum(drop_unfinished(folder, before.timestamp()) for folder in self._folders())

    def _folders(self) -> list[str]:
        folders = (self._home, self._home / "keys")
        return [str(folder) for folder in folders if folder.is_dir()]

    def expired(self, now: datetime) -> int:
        """How many rows are worth nothing any more."""
        with self._database.reading() as connection:
            return sum(
                connection.execute(
                    sa.select(sa.func.count()).select_from(column.table).where(
                        column <= rfc3339(now)
                    )
                ).scalar_one()
                for column in EXPIRING
            )  # fmt: skip

    def drop_expired(self, now: datetime) -> int:
        if not self.expired(now):
            return 0  # the common case takes no writer's turn
        with self._database.writing() as connection:
            return sum(
                connection.execute(sa.delete(column.table).where(column <= rfc3339(now))).rowcount
                for column in EXPIRING
            )

    # --- reported ---------------------------------------------------------------------------

    def waiting(self, now: datetime) -> Iterator[Remnant]:
        """Everything that has stood still for longer than its job takes."""
        looks: tuple[Callable[[datetime], Iterator[Remnant]], ...] = (
            self._journals, self._timestamps, self._silent, self._statements, self._audit,
            self._keys, self._halt,
        )  # fmt: skip
        for look in looks:
            yield from look(now)

    def foreign_segment(self) -> str | None:
        """What `Journal.check_end` says of a segment that this database has not written."""
        try:
            self._journal.check_end()
        except Rollback as exc:
            return str(exc)
        return None

    def _journals(self, now: datetime) -> Iterator[Remnant]:
        if (said := self.foreign_segment()) is not None:
            yield Remnant(kind=Kind.FOREIGN_JOURNAL, name="journal", detail=said)
        with self._database.reading() as connection:
            place, head = read_place(connection), read_head(connection)
        since = self._journal.lag().since
        if since is None and place.signed_at != rfc3339(head.signed_at):
            since = head.signed_at
        if since is not None and since < now - HOUR:
            half = "" if place.staged is None else f"; segment {place.number - 1} is half written"
            yield Remnant(
                kind=Kind.JOURNAL, name="journal",
                detail=f"lacks what was entered since {rfc3339(since)}; has {place.kept} entries"
                f"{half}",
            )  # fmt: skip

    def _timestamps(self, now: datetime) -> Iterator[Remnant]:
        covered = self._stamps.newest_size()
        with self._database.reading() as connection:
            head = read_head(connection)
            times = (entered_at(connection, at) for at in range(covered, covered + NEAR))
            since = next((each for each in times if each is not None), head.signed_at)
        if covered < head.size and since < now - HOUR:
            yield Remnant(
                kind=Kind.TIMESTAMP, name="checkpoint",
                detail=f"entries from {covered} on have no timestamp, the first since "
                f"{rfc3339(since)}",
            )  # fmt: skip
        count, waits = self._stamps.waiting()
        if waits is not None and waits < now - HOUR:
            yield Remnant(
                kind=Kind.DOCUMENT, name="documents",
                detail=f"{count} wait for a timestamp of their own, since {rfc3339(waits)}",
            )  # fmt: skip

    def _silent(self, now: datetime) -> Iterator[Remnant]:
        for state in self._witnesses.states().values():
            last = state.last_cosigned_at
            if state.failures and (last is None or last < now - HOUR):
                said = "never" if last is None else rfc3339(last)
                yield Remnant(
                    kind=Kind.WITNESS, name=state.name,
                    detail=f"failed {state.failures} times in a row; cosigned last: {said}, "
                    f"size {state.size}",
                )  # fmt: skip

    def _statements(self, now: datetime) -> Iterator[Remnant]:
        query = sa.select(sa.func.count(), sa.func.min(WAITING.c.since)).where(
            WAITING.c.refused_at.is_(None)
        )
        with self._database.reading() as connection:
            count, since = connection.execute(query).one()
        if since is not None and since < rfc3339(now - HOUR):
            yield Remnant(
                kind=Kind.STATEMENT, name="statements",
                detail=f"{count} wait to be registered, since {since}",
            )  # fmt: skip

    def _audit(self, now: datetime) -> Iterator[Remnant]:
        run = self._audits.unfinished()
        if run is None:
            return
        query = sa.select(sa.func.max(RANGE.c.done_at), sa.func.max(RANGE.c.held_until)).where(
            RANGE.c.run_id == run.id
        )
        with self._database.reading() as connection:
            signs = connection.execute(query).one()
        last = max((each for each in signs if each is not None), default=rfc3339(run.started_at))
        if last < rfc3339(now - DAY):
            yield Remnant(
                kind=Kind.AUDIT, name=run.id,
                detail=f"{run.counts.done} of {run.counts.ranges} ranges are done; the last sign "
                f"of a worker is of {last}",
            )  # fmt: skip

    def _keys(self, now: datetime) -> Iterator[Remnant]:
        history, store = self._keyring.history(), self._keyring.store
        for where in stray_keys(store, history):
            if _is_older(where, now - HOUR):
                yield Remnant(
                    kind=Kind.KEY, name=where, detail="signs nothing and never will: remove it"
                )
        newest = history.rotations[-1].at if history.rotations else now
        for where in retired_keys(store, history) if newest < now - HOUR else ():
            yield Remnant(
                kind=Kind.RETIRED_KEY, name=where,
                detail="signs nothing any more, but what it signed outside the house would look "
                "like its own: destroy it, or move it to where it is kept on purpose",
            )  # fmt: skip

    def _halt(self, now: datetime) -> Iterator[Remnant]:
        try:
            Halt(self._home).check()
        except IntegrityError as exc:
            yield Remnant(kind=Kind.HALTED, name="writing", detail=str(exc))


def _is_older(where: str, than: datetime) -> bool:
    """A key in a token bears no time: it is older."""
    with suppress(OSError):
        return os.stat(where).st_mtime < than.timestamp()
    return True
