"""The register: deposits, cases, custody events. Owns their tables.

A row only repeats what its record and the ledger prove, so that people can search. Texts that
are evidence (record, disclosures) are kept as the exact bytes that were hashed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from notary.clock import parse_rfc3339, rfc3339
from notary.digests import DIGEST, found_by
from notary.errors import Conflict, Gone, MalformedInput, NotFound
from notary.model import Case, CustodyEvent, Deposit, EventKind
from storage.database import METADATA, Database, Prepared

MAX_PLACE_BYTES = 2_000
"""Court and number of a case together: an index of PostgreSQL takes no more than 2,704 bytes."""

CASE = sa.Table(
    "court_case",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("court", sa.String(500), nullable=False),
    sa.Column("number", sa.String(500), nullable=False),
    sa.Column("title", sa.String(500), nullable=False),
    sa.Column("opened_at", sa.String(27), nullable=False),
    sa.Column("next_exhibit", sa.Integer, nullable=False, server_default="1"),
    sa.UniqueConstraint("number", "court"),
)
PARTY = sa.Table(
    "party",
    METADATA,
    sa.Column("case_id", sa.ForeignKey("court_case.id"), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("account.id"), primary_key=True),
)
DEPOSIT = sa.Table(
    "deposit",
    METADATA,
    sa.Column(
        "idx",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("account_id", sa.String(36), nullable=False),
    sa.Column("case_id", sa.String(36)),
    sa.Column("exhibit", sa.String(500)),
    sa.Column("client_reference", sa.String(500)),
    sa.Column("name", sa.Text),
    sa.Column("media_type_declared", sa.Text),
    sa.Column("media_type_detected", sa.Text),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("digests", sa.Text, nullable=False),
    sa.Column("stored", sa.Boolean, nullable=False),
    sa.Column("document_timestamp", sa.Boolean, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("disclosures", sa.Text, nullable=False),
    sa.Column("received_at", sa.String(27), nullable=False),
    sa.Column("registered_at", sa.String(27), nullable=False),
    sa.Column("batch_id", sa.String(36)),
    sa.Column("batch_row", sa.Integer),
    sa.Column("data_key", sa.LargeBinary),
    sa.Column("disposed_at", sa.String(27)),
    sa.Column("object_version", sa.Text),
    sa.UniqueConstraint("account_id", "client_reference"),
)
# What a row of a batch costs is mostly what its indices cost: they hold only rows that have the
# value. Digests are in a table of their own.


def _index(name: str, *columns: sa.Column[Any], unique: bool) -> sa.Index:
    present = columns[0].is_not(None)
    return sa.Index(name, *columns, unique=unique, sqlite_where=present, postgresql_where=present)


_index("deposit_exhibit", DEPOSIT.c.case_id, DEPOSIT.c.exhibit, unique=True)
# Stored originals in the order of their keys in storage. All ids have one shape, so that every
# collation sorts them alike.
ORIGINAL_PLACE = sa.func.substr(DEPOSIT.c.id, sa.literal_column("35")).concat(DEPOSIT.c.id)
_kept = DEPOSIT.c.stored.is_(True)
sa.Index("deposit_original", ORIGINAL_PLACE, sqlite_where=_kept, postgresql_where=_kept)
_index("deposit_batch", DEPOSIT.c.batch_id, DEPOSIT.c.batch_row, unique=False)

USAGE = sa.Table(
    "usage",
    METADATA,
    sa.Column("account_id", sa.String(36), primary_key=True),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False),
)
CUSTODY = sa.Table(
    "custody_event",
    METADATA,
    sa.Column(
        "idx",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("deposit_id", sa.String(36), index=True),
    sa.Column("case_id", sa.String(36), index=True),
    sa.Column("subject", sa.String(500)),
    sa.Column("at", sa.String(27), nullable=False),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("disclosures", sa.Text, nullable=False),
)
IDEMPOTENCY = sa.Table(
    "idempotency",
    METADATA,
    sa.Column("account_id", sa.String(36), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("outcome_id", sa.String(36), nullable=False),
    sa.Column("at", sa.String(27), nullable=False),
)

INSERT_DEPOSIT = Prepared(sa.insert(DEPOSIT).inline())
INSERT_EVENT = Prepared(sa.insert(CUSTODY).inline())
INSERT_SETTLED = Prepared(sa.insert(IDEMPOTENCY).inline())
_SQLITE_USAGE = sqlite.insert(USAGE).inline()
_POSTGRES_USAGE = postgresql.insert(USAGE).inline()
ADD_STORED_BYTES = Prepared(
    {
        name: insert.on_conflict_do_update(
            index_elements=["account_id"],
            set_={"stored_bytes": USAGE.c.stored_bytes + insert.excluded.stored_bytes},
        )
        for name, insert in (("sqlite", _SQLITE_USAGE), ("postgresql", _POSTGRES_USAGE))
    }
)


class Register:
    def __init__(self, database: Database) -> None:
        self.database = self._database = database

    def deposit(self, deposit_id: str) -> Deposit:
        """Raises NotFound (`deposit_not_found`)."""
        with self._database.reading() as connection:
            found = find_deposit(connection, DEPOSIT.c.id == deposit_id)
        if found is None:
            raise NotFound("no such deposit", code="deposit_not_found")
        return found

    def deposits(
        self,
        *,
        case_id: str | None = None,
        account_id: str | None = None,
        sha256: str | None = None,
        client_reference: str | None = None,
        after: int = -1,
        limit: int = 50,
    ) -> tuple[Deposit, ...]:
        """In ledger order, those after index `after`."""
        wanted = [DEPOSIT.c.idx > after]
        for column, value in (
            (DEPOSIT.c.case_id, case_id),
            (DEPOSIT.c.account_id, account_id),
            (DEPOSIT.c.client_reference, client_reference),
        ):
            if value is not None:
                wanted.append(column == value)
        query = sa.select(DEPOSIT).order_by(DEPOSIT.c.idx).limit(limit)
        with self._database.reading() as connection:
            if sha256 is not None:
                newest = connection.execute(sa.select(sa.func.max(DEPOSIT.c.idx))).scalar() or 0
                query = query.join(DIGEST, DIGEST.c.idx == DEPOSIT.c.idx)
                wanted += (found_by(sha256, after, newest), DEPOSIT.c.sha256 == sha256)
            return tuple(_deposit(row) for row in connection.execute(query.where(*wanted)))

    def case(self, case_id: str) -> Case:
        """Raises NotFound (`case_not_found`)."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(CASE).where(CASE.c.id == case_id)).first()
        if row is None:
            raise NotFound("no such case", code="case_not_found")
        return _case(row)

    def find_case(self, number_or_id: str, court: str | None, *, party: str | None = None) -> Case:
        """By id, or by number where only one court has it; with `party` (an account's id) only
        its cases are there. Raises NotFound, or Conflict (`case_ambiguous`) when courts share the
        number and none is named."""
        query = sa.select(CASE).where((CASE.c.id == number_or_id) | (CASE.c.number == number_or_id))
        if court is not None:
            query = query.where(CASE.c.court == court)
        if party is not None:
            query = query.join(PARTY).where(PARTY.c.account_id == party)
        with self._database.reading() as connection:
            rows = connection.execute(query.limit(2)).all()
        if not rows:
            raise NotFound(f"no case {number_or_id!r}: open it first", code="case_not_found")
        if len(rows) > 1:
            raise Conflict(
                f"several courts have a case {number_or_id!r}: name the court",
                code="case_ambiguous",
            )
        return _case(rows[0])

    def cases(self, *, party: str | None, after: str = "", limit: int = 50) -> tuple[Case, ...]:
        query = sa.select(CASE).where(CASE.c.id > after).order_by(CASE.c.id).limit(limit)
        if party is not None:
            query = query.join(PARTY).where(PARTY.c.account_id == party)
        with self._database.reading() as connection:
            return tuple(_case(row) for row in connection.execute(query))

    def is_party(self, case_id: str | None, account_id: str) -> bool:
        if case_id is None:
            return False
        with self._database.reading() as connection:
            row = connection.execute(
                sa.select(PARTY.c.case_id).where(
                    PARTY.c.case_id == case_id, PARTY.c.account_id == account_id
                )
            ).first()
        return row is not None

    def parties(self, case_id: str) -> tuple[str, ...]:
        with self._database.reading() as connection:
            return tuple(
                connection.execute(
                    sa.select(PARTY.c.account_id).where(PARTY.c.case_id == case_id)
                ).scalars()
            )

    def events(
        self,
        *,
        deposit_id: str | None = None,
        case_id: str | None = None,
        after: int = -1,
        limit: int = 100,
    ) -> tuple[CustodyEvent, ...]:
        query = sa.select(CUSTODY).where(CUSTODY.c.idx > after)
        if deposit_id is not None:
            query = query.where(CUSTODY.c.deposit_id == deposit_id)
        if case_id is not None:
            query = query.where(CUSTODY.c.case_id == case_id)
        query = query.order_by(CUSTODY.c.idx).limit(limit)
        with self._database.reading() as connection:
            return tuple(_event(row) for row in connection.execute(query))

    def known_ids(self, deposit_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids that are deposits."""
        query = sa.select(DEPOSIT.c.id).where(DEPOSIT.c.id.in_(deposit_ids))
        with self._database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def reserve_exhibits(self, case_id: str, count: int) -> int:
        """The first of `count` numbers in a row that no exhibit has and no one else will get. A
        deposit that then fails leaves a gap, never a number used twice."""
        with self._database.writing() as connection:
            while True:
                first: int = connection.execute(
                    sa.update(CASE)
                    .where(CASE.c.id == case_id)
                    .values(next_exhibit=CASE.c.next_exhibit + count)
                    .returning(CASE.c.next_exhibit - count)
                ).scalar_one()
                numbers = [str(first + at) for at in range(count)]
                if not exhibits_taken(connection, case_id, numbers):
                    return first

    def stored_bytes(self, account_id: str) -> int:
        with self._database.reading() as connection:
            return stored_bytes(connection, account_id)

    def settled(self, account_id: str, key: str) -> tuple[bytes, str] | None:
        """(fingerprint, outcome id) of an earlier request with this Idempotency-Key."""
        with self._database.reading() as connection:
            return find_settled(connection, account_id, key)


# --- inside a transaction -------------------------------------------------------------------


def find_settled(connection: sa.Connection, account_id: str, key: str) -> tuple[bytes, str] | None:
    row = connection.execute(
        sa.select(IDEMPOTENCY.c.fingerprint, IDEMPOTENCY.c.outcome_id).where(
            IDEMPOTENCY.c.account_id == account_id, IDEMPOTENCY.c.key == key
        )
    ).first()
    return None if row is None else (row.fingerprint, row.outcome_id)


def find_deposit(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> Deposit | None:
    row = connection.execute(sa.select(DEPOSIT).where(*where)).first()
    return None if row is None else _deposit(row)


def find_events(
    connection: sa.Connection, deposit_id: str, kinds: Collection[EventKind]
) -> tuple[CustodyEvent, ...]:
    """The deposit's events of these kinds, in the order of the ledger."""
    query = (
        sa.select(CUSTODY)
        .where(CUSTODY.c.deposit_id == deposit_id, CUSTODY.c.kind.in_([k.value for k in kinds]))
        .order_by(CUSTODY.c.idx)
    )
    return tuple(_event(row) for row in connection.execute(query))


def check_not_disposed(deposit: Deposit | None) -> None:
    """Raises Gone (`deposit_disposed`)."""
    if deposit is not None and deposit.disposed_at is not None:
        raise Gone(
            f"deposit {deposit.id} was disposed of at {rfc3339(deposit.disposed_at)}; its entry "
            f"{deposit.index} stays in the ledger"
        )


def deposit_row(deposit: Deposit) -> dict[str, Any]:
    """For INSERT_DEPOSIT."""
    return {
        "idx": deposit.index,
        "id": deposit.id,
        "account_id": deposit.account_id,
        "case_id": deposit.case_id,
        "exhibit": deposit.exhibit,
        "client_reference": deposit.client_reference,
        "name": deposit.name,
        "media_type_declared": deposit.media_type_declared,
        "media_type_detected": deposit.media_type_detected,
        "size": deposit.size,
        "sha256": deposit.sha256,
        "digests": json.dumps(dict(deposit.digests)),
        "stored": deposit.stored,
        "document_timestamp": deposit.document_timestamp,
        "record": deposit.record,
        "disclosures": " ".join(deposit.disclosures),
        "received_at": rfc3339(deposit.received_at),
        "registered_at": rfc3339(deposit.registered_at),
        "data_key": deposit.data_key,
        "object_version": deposit.object_version,
    }


def stored_bytes(connection: sa.Connection, account_id: str) -> int:
    found = connection.execute(
        sa.select(USAGE.c.stored_bytes).where(USAGE.c.account_id == account_id)
    ).scalar()
    return found or 0


def insert_case(connection: sa.Connection, case: Case) -> None:
    """Raises Conflict (`case_exists`), MalformedInput (`label_malformed`)."""
    length = len((case.court + case.number).encode("utf-8"))
    if length > MAX_PLACE_BYTES:
        raise MalformedInput(
            f"court and number together have {length} bytes in UTF-8; the limit is "
            f"{MAX_PLACE_BYTES}",
            code="label_malformed",
        )
    taken = connection.execute(
        sa.select(CASE.c.id).where(CASE.c.number == case.number, CASE.c.court == case.court)
    ).first()
    if taken is not None:
        raise Conflict(f"{case.court!r} has a case {case.number!r} already", code="case_exists")
    connection.execute(
        sa.insert(CASE).values(
            id=case.id,
            court=case.court,
            number=case.number,
            title=case.title,
            opened_at=rfc3339(case.opened_at),
        )
    )


def insert_party(connection: sa.Connection, case_id: str, account_id: str) -> None:
    """Raises Conflict (`party_exists`)."""
    taken = connection.execute(
        sa.select(PARTY.c.case_id).where(
            PARTY.c.case_id == case_id, PARTY.c.account_id == account_id
        )
    ).first()
    if taken is not None:
        raise Conflict("this account is a party to the case already", code="party_exists")
    connection.execute(sa.insert(PARTY).values(case_id=case_id, account_id=account_id))


def event_row(event: CustodyEvent) -> dict[str, object]:
    """For INSERT_EVENT."""
    return {
        "idx": event.index,
        "id": event.id,
        "kind": event.kind.value,
        "actor": event.actor,
        "deposit_id": event.deposit_id,
        "case_id": event.case_id,
        "subject": event.subject,
        "at": rfc3339(event.at),
        "record": event.record,
        "disclosures": " ".join(event.disclosures),
    }


def exhibits_taken(
    connection: sa.Connection, case_id: str, exhibits: Sequence[str]
) -> frozenset[str]:
    rows = connection.execute(
        sa.select(DEPOSIT.c.exhibit).where(
            DEPOSIT.c.case_id == case_id, DEPOSIT.c.exhibit.in_(exhibits)
        )
    ).scalars()
    return frozenset(rows)


def by_references(
    connection: sa.Connection, account_id: str, references: Sequence[str]
) -> Mapping[str, tuple[str, int, str]]:
    """Client reference to (deposit id, index, sha256) of those registered before."""
    rows = connection.execute(
        sa.select(DEPOSIT.c.client_reference, DEPOSIT.c.id, DEPOSIT.c.idx, DEPOSIT.c.sha256).where(
            DEPOSIT.c.account_id == account_id, DEPOSIT.c.client_reference.in_(references)
        )
    )
    return {row.client_reference: (row.id, row.idx, row.sha256) for row in rows}


def _deposit(row: sa.Row[Any]) -> Deposit:
    return Deposit(
        id=row.id,
        index=row.idx,
        account_id=row.account_id,
        case_id=row.case_id,
        exhibit=row.exhibit,
        client_reference=row.client_reference,
        name=row.name,
        media_type_declared=row.media_type_declared,
        media_type_detected=row.media_type_detected,
        size=row.size,
        sha256=row.sha256,
        digests=json.loads(row.digests),
        stored=row.stored,
        document_timestamp=row.document_timestamp,
        record=row.record,
        disclosures=tuple(row.disclosures.split()),
        received_at=parse_rfc3339(row.received_at),
        registered_at=parse_rfc3339(row.registered_at),
        data_key=row.data_key,
        disposed_at=None if row.disposed_at is None else parse_rfc3339(row.disposed_at),
        object_version=row.object_version,
    )


def _case(row: sa.Row[Any]) -> Case:
    return Case(
        id=row.id,
        court=row.court,
        number=row.number,
        title=row.title,
        opened_at=parse_rfc3339(row.opened_at),
    )


def _event(row: sa.Row[Any]) -> CustodyEvent:
    return CustodyEvent(
        id=row.id,
        index=row.idx,
        kind=EventKind(row.kind),
        actor=row.actor,
        deposit_id=row.deposit_id,
        case_id=row.case_id,
        subject=row.subject,
        at=parse_rfc3339(row.at),
        record=row.record,
        disclosures=tuple(row.disclosures.split()),
    )
