"""Which worker does which background job. Owns their table.

A worker that finds something due takes the job for a while, and no other does it meanwhile; what
it held when it was killed is free again when that while is over. Two that do the same work all the
same, because their clocks differ, harm nothing: each job asks the database what is due.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from notary.clock import rfc3339
from storage.database import METADATA, Database, Prepared

JOB_LEASE = sa.Table(
    "job_lease",
    METADATA,
    sa.Column("job", sa.String(300), primary_key=True),
    sa.Column("holder", sa.String(100), nullable=False),
    sa.Column("until", sa.String(27), nullable=False),
)


def _taking(insert: type[sqlite.Insert] | type[postgresql.Insert]) -> sa.Executable:
    new = insert(JOB_LEASE)
    return new.on_conflict_do_update(
        index_elements=["job"],
        set_={"holder": new.excluded.holder, "until": new.excluded.until},
        where=sa.or_(
            JOB_LEASE.c.holder == new.excluded.holder, JOB_LEASE.c.until <= sa.bindparam("now")
        ),
    )


_TAKE = Prepared({"sqlite": _taking(sqlite.Insert), "postgresql": _taking(postgresql.Insert)})
_HELD = Prepared(
    sa.select(JOB_LEASE.c.holder, JOB_LEASE.c.until).where(JOB_LEASE.c.job == sa.bindparam("job"))
)


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, job: str, *, holder: str, now: datetime, span: timedelta) -> bool:
        """Whether `holder` has the job now, for at least half of `span`. Asked again by who has
        it, it costs a read most of the time."""
        held = self._database.first(_HELD, job=job)
        if held is not None:
            if held[0] != holder and held[1] > rfc3339(now):
                return False
            if held[0] == holder and held[1] > rfc3339(now + span / 2):
                return True
        with self._database.writing() as connection:
            taken = _TAKE.run(
                connection, job=job, holder=holder, until=rfc3339(now + span), now=rfc3339(now)
            )
        return taken == 1

    def release(self, holder: str) -> None:
        """All that it holds, so that nobody waits for a worker that ended."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(JOB_LEASE).where(JOB_LEASE.c.holder == holder))
