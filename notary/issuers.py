"""What stands in the database for outside issuers: the registration policies, the statements that
were registered under them, and those that wait. Owns their tables.

A row repeats what an entry proves, so that people can search and `fsck` can compare; only what
waits stands nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from notary.admission import Policy, parse_policy_document
from notary.clock import rfc3339
from notary.errors import NotFound
from storage.database import METADATA, Database, Prepared, insert_if_absent

_INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")
POLICY = sa.Table(
    "registration_policy",
    METADATA,
    sa.Column("serial", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, nullable=False, unique=True),
    sa.Column("document", sa.Text, nullable=False),
)
STATEMENT = sa.Table(
    "signed_statement",
    METADATA,
    sa.Column("idx", _INDEX, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    sa.Column("iss", sa.Text, nullable=False),
    sa.Column("kid", sa.String(128), nullable=False),
    sa.Column("registered_at", sa.String(27), nullable=False),
)
WAITING = sa.Table(
    "waiting_statement",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("entry", sa.LargeBinary, nullable=False),
    sa.Column("since", sa.String(27), nullable=False, index=True),
    sa.Column("refused_at", sa.String(27), index=True),
    sa.Column("code", sa.String(40)),
    sa.Column("detail", sa.Text),
)
INSERT_POLICY = Prepared(sa.insert(POLICY).inline())
INSERT_STATEMENT = Prepared(sa.insert(STATEMENT).inline())


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPolicy:
    """`document` is the canonical JSON that the entry at `index` commits to."""

    index: int
    policy: Policy
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a statement stands: registered at an index, refused after it had been taken, or
    waiting (neither)."""

    index: int | None = None
    refused: tuple[str, str] | None = None
    """(code, detail)."""


class Issuers:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest: Policy | None = None

    def newest(self) -> Policy | None:
        """The policy in force, None before the first issuer was admitted."""
        with self._database.reading() as connection:
            self._newest = self.newest_in(connection)
        return self._newest

    def newest_in(self, connection: sa.Connection) -> Policy | None:
        """The same inside a transaction, which may yet be undone: nothing is remembered of it.
        The document is read only when it is another than the one known."""
        serial = connection.execute(sa.select(sa.func.max(POLICY.c.serial))).scalar()
        known = self._newest
        if serial is None or (known is not None and known.serial == serial):
            return None if serial is None else known
        document = connection.execute(
            sa.select(POLICY.c.document).where(POLICY.c.serial == serial)
        ).scalar_one()
        return parse_policy_document(document)

    def remember(self, policy: Policy) -> None:
        """Of a policy that is committed: spares reading it again."""
        self._newest = policy

    def policies(self, *, after: int = 0, limit: int = 50) -> tuple[KeptPolicy, ...]:
        """In the order of their serials, those after `after`."""
        query = sa.select(POLICY).where(POLICY.c.serial > after).order_by(POLICY.c.serial)
        with self._database.reading() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return tuple(
            KeptPolicy(
                index=row.idx, policy=parse_policy_document(row.document), document=row.document
            )
            for row in rows
        )

    def policy(self, serial: int) -> KeptPolicy:
        """Raises NotFound."""
        found = self.policies(after=serial - 1, limit=1)
        if not found or found[0].policy.serial != serial:
            raise NotFound(f"there is no registration policy {serial}", code="not_found")
        return found[0]

    def standing(self, id_: str) -> Standing | None:
        """None for an id that names no outside statement, whatever else it may name."""
        with self._database.reading() as connection:
            index = find_statement(connection, id_)
            if index is not None:
                return Standing(index=index)
            row = connection.execute(
                sa.select(WAITING.c.code, WAITING.c.detail).where(WAITING.c.id == id_)
            ).first()
        if row is None:
            return None
        return Standing(refused=None if row.code is None else (row.code, row.detail))

    def counts(self) -> tuple[int, int]:
        """(statements registered, statements waiting)."""
        with self._database.reading() as connection:
            registered = connection.execute(
                sa.select(sa.func.count()).select_from(STATEMENT)
            ).scalar_one()
            return registered, count_waiting(connection)

    def any_waiting(self) -> bool:
        with self._database.reading() as connection:
            return bool(waiting(connection, 1))

    def keep_waiting(self, id_: str, entry: bytes, at: datetime, *, most: int) -> bool:
        """Durable when it returns. False where `most` wait already; what waits or was registered
        already stays as it is, and what was refused waits anew."""
        with self._database.writing() as connection:
            if find_statement(connection, id_) is not None:
                return True
            if count_waiting(connection) >= most:
                return False
            connection.execute(
                sa.delete(WAITING).where(WAITING.c.id == id_, WAITING.c.code.is_not(None))
            )
            connection.execute(
                insert_if_absent(connection, WAITING).values(id=id_, entry=entry, since=rfc3339(at))
            )
            return True

    def forget_refused(self, before: datetime) -> None:
        """Refusals that nobody will ask for any more."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(WAITING).where(WAITING.c.refused_at < rfc3339(before)))


def find_statement(connection: sa.Connection, id_: str) -> int | None:
    """The index at which it was registered."""
    found: int | None = connection.execute(
        sa.select(STATEMENT.c.idx).where(STATEMENT.c.id == id_)
    ).scalar()
    return found


def count_waiting(connection: sa.Connection) -> int:
    return connection.execute(
        sa.select(sa.func.count()).select_from(WAITING).where(WAITING.c.code.is_(None))
    ).scalar_one()


def waiting(connection: sa.Connection, limit: int) -> tuple[tuple[str, bytes], ...]:
    """(id, entry) of those that wait, oldest first."""
    rows = connection.execute(
        sa.select(WAITING.c.id, WAITING.c.entry)
        .where(WAITING.c.code.is_(None))
        .order_by(WAITING.c.since, WAITING.c.id)
        .limit(limit)
    )
    return tuple((row.id, row.entry) for row in rows)


def end_waiting(connection: sa.Connection, id_: str) -> None:
    """In the transaction that registers it: it waits and is registered, or neither."""
    connection.execute(sa.delete(WAITING).where(WAITING.c.id == id_))


def refuse_waiting(
    connection: sa.Connection, id_: str, *, code: str, detail: str, at: datetime
) -> None:
    connection.execute(
        sa.update(WAITING)
        .where(WAITING.c.id == id_)
        .values(
            code=code, refused_at=rfc3339(at),
            # A stranger's words may be in it, and PostgreSQL keeps no NUL.
            detail=detail.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        )
    )  # fmt: skip
