"""A million registrations in one call: NDJSON rows of digests, entered contiguously, in order.

 1. Rows are read, checked and turned into signed statements while they stream in, and wait in
    spool files: memory holds a few chunks of rows. The last may still be signed in step 2.
 2. One transaction enters them all, after each other, so that their indices are contiguous and
    in the order sent. Rows refused (a taken exhibit, a reused reference) are noted and skipped;
    with `atomic` the first of them rolls everything back.
 3. The answer is read back from the register, by the code that also answers a repetition.

Afterwards, if we crash: before the commit nothing was entered and the nameless spool file is
gone; after it, the same Idempotency-Key gives the same answer.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from notary import access, register
from notary.batch_rows import CHUNK_BYTES, CHUNK_ROWS, RowBuilder
from notary.clock import rfc3339
from notary.digests import SortedDigests
from notary.errors import Conflict, MalformedInput, NotFound, TooLarge
from notary.intake import Intake
from notary.ledger import Growing
from notary.model import Principal, uuid7
from notary.row_signing import RowSigning
from notary.sequencer import Committed, Sequencer
from notary.signing import Row
from storage.database import METADATA, Database

ANSWER_ROWS = 5_000

BATCH = sa.Table(
    "batch",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("account_id", sa.String(36), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("registered", sa.Integer, nullable=False),
    sa.Column("duplicates", sa.Integer, nullable=False),
    sa.Column("refused", sa.Integer, nullable=False),
    sa.Column("first_index", sa.BigInteger),
    sa.Column("at", sa.String(27), nullable=False),
)
NOTE = sa.Table(
    "batch_note",
    METADATA,
    sa.Column("batch_id", sa.String(36), primary_key=True),
    sa.Column("batch_row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("line", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What became of a batch."""

    id: str
    rows: int
    registered: int
    duplicates: int
    refused: int
    first_index: int | None


class _BatchWork:
    """The work of a whole batch under the ledger's lock. It gets a transaction to itself."""

    alone = True
    asks = True

    def __init__(
        self,
        signing: RowSigning,
        totals: Totals,
        by: Principal,
        *,
        key: str | None,
        print_: bytes,
        atomic: bool,
    ) -> None:
        self._signing, self._totals, self._by = signing, totals, by
        self._key, self._print, self._atomic = key, print_, atomic
        self._count: Counter[str] = Counter()

    def settled(self, connection: sa.Connection) -> Totals | None:
        if self._key is None:
            return None
        found = register.find_settled(connection, self._by.account_id, self._key)
        if found is None:
            return None
        totals = read_totals(connection, found[1])
        if found[0] != self._print or totals is None:
            raise Conflict(
                f"Idempotency-Key {self._key!r} was used for another request",
                code="idempotency_key_reused",
            )
        return totals

    def enter(self, connection: sa.Connection, growing: Growing, at: datetime) -> Totals:
        first = growing.size
        registered_at = rfc3339(at)
        digests = SortedDigests(connection)
        for rows in self._signing.chunks():
            fresh, notes = self._sift(connection, rows)
            self._count["refused"] += sum("problem" in note for note in notes)
            self._count["duplicates"] += sum("duplicate" in note for note in notes)
            if notes:
                self._note(connection, notes)
            if not fresh:
                continue
            statements = [row.pop("statement") for row in fresh]
            for index, row in enumerate(fresh, start=growing.size):
                row["idx"] = index
                row["registered_at"] = registered_at
                row["batch_id"] = self._totals.id
                digests.add(index, row["sha256"])
            growing.append(statements)
            register.INSERT_DEPOSIT.run_many(connection, fresh)
        digests.write()
        return self._finish(connection, first, growing.size, at)

    def _sift(
        self, connection: sa.Connection, rows: list[Row]
    ) -> tuple[list[Row], list[dict[str, Any]]]:
        """(rows to enter, notes on the others). What an earlier chunk entered is in the database
        already, so only this chunk's own rows are compared in memory."""
        references = [row["client_reference"] for row in rows if row.get("client_reference")]
        known: dict[str, tuple[str, int | None, str]] = dict(
            register.by_references(connection, self._by.account_id, references)
            if references
            else {}
        )
        taken = self._taken(connection, rows)
        fresh: list[Row] = []
        notes: list[dict[str, Any]] = []
        for row in rows:
            if "problem" in row:
                notes.append(_refused(row["batch_row"], *row["problem"]))
                continue
            reference, place = row["client_reference"], (row["case_id"], row["exhibit"])
            earlier = known.get(reference) if reference is not None else None
            if earlier is not None:
                notes.append(_earlier(row, earlier))
            elif row["case_id"] is not None and place in taken:
                detail = f"the case has an exhibit {row['exhibit']!r} already"
                notes.append(_refused(row["batch_row"], "exhibit_taken", detail))
            else:
                fresh.append(row)
                taken.add(place)
                if reference is not None:
                    known[reference] = (row["id"], None, row["sha256"])
        return fresh, notes

    def _taken(
        self, connection: sa.Connection, rows: list[Row]
    ) -> set[tuple[str | None, str | None]]:
        asked: dict[str, list[str]] = {}
        for row in rows:
            if row.get("case_id") is not None:
                asked.setdefault(row["case_id"], []).append(row["exhibit"])
        return {
            (case_id, exhibit)
            for case_id, exhibits in asked.items()
            for exhibit in register.exhibits_taken(connection, case_id, exhibits)
        }

    def _note(self, connection: sa.Connection, notes: list[dict[str, Any]]) -> None:
        if self._atomic and (bad := next((n for n in notes if "problem" in n), None)):
            raise Conflict(
                f"row {bad['row']}: {bad['problem']['code']}: {bad['problem']['detail']}; "
                "nothing of the batch was registered",
                code="batch_refused",
            )
        connection.execute(
            sa.insert(NOTE),
            [
                {
                    "batch_id": self._totals.id,
                    "batch_row": note["row"],
                    "line": json.dumps(note, ensure_ascii=False),
                }
                for note in notes
            ],
        )

    def _finish(self, connection: sa.Connection, first: int, end: int, at: datetime) -> Totals:
        totals = replace(
            self._totals,
            registered=end - first,
            duplicates=self._count["duplicates"],
            refused=self._count["refused"],
            first_index=first if end > first else None,
        )
        connection.execute(
            sa.insert(BATCH).values(
                id=totals.id,
                account_id=self._by.account_id,
                rows=totals.rows,
                registered=totals.registered,
                duplicates=totals.duplicates,
                refused=totals.refused,
                first_index=totals.first_index,
                at=rfc3339(at),
            )
        )
        if self._key is not None:
            register.INSERT_SETTLED.run(
                connection,
                account_id=self._by.account_id,
                key=self._key,
                fingerprint=self._print,
                outcome_id=totals.id,
                at=rfc3339(at),
            )
        return totals


class BatchIntake:
    def __init__(
        self,
        *,
        database: Database,
        intake: Intake,
        sequencer: Sequencer,
        folder: Path,
        max_rows: int,
    ) -> None:
        """`folder` is for the rows that wait: some 3 KiB each."""
        self._database = database
        self._intake = intake
        self._sequencer = sequencer
        self._folder = folder
        self.max_rows = max_rows

    def receive(
        self,
        lines: Iterable[bytes],
        *,
        by: Principal,
        key: str | None,
        atomic: bool,
        check_end: Callable[[int | None, int], None],
    ) -> Committed[Totals]:
        """Enters all rows; returns when they are durable under a signed checkpoint.

        `lines` are the body's lines, without line feeds, and may be cut behind one byte too many
        for a row; `check_end` is told the row count that
        a closing `{"end": n}` line stated, or None, and the rows that came, and raises where the
        body may have been cut. Raises NotAllowed, TooLarge (`batch_too_long`), Conflict,
        KeysRotated.
        """
        access.check(by, access.Act.BATCH)
        builder = RowBuilder(self._intake, by)
        with RowSigning(self._folder, self._intake) as signing:
            count, print_ = self._read(lines, signing, builder, check_end, atomic=atomic)
            id_ = uuid7(self._intake.clock.now(), self._intake.randomness(10))
            totals = Totals(
                id=id_, rows=count, registered=0, duplicates=0, refused=0, first_index=None
            )
            work = _BatchWork(signing, totals, by, key=key, print_=print_, atomic=atomic)
            return self._sequencer.submit(work, under=signing.under)

    def _read(
        self,
        lines: Iterable[bytes],
        signing: RowSigning,
        builder: RowBuilder,
        check_end: Callable[[int | None, int], None],
        *,
        atomic: bool,
    ) -> tuple[int, bytes]:
        print_ = hashlib.sha256(b"atomic" if atomic else b"rows")
        count, weight, end = 0, 0, None
        chunk: list[tuple[int, bytes]] = []
        for line in lines:
            print_.update(line + b"\n")
            if not line.strip():
                continue
            if end is not None:
                raise MalformedInput("rows follow the closing line", code="batch_malformed")
            end = _closing(line)
            if end is not None:
                continue
            count += 1
            if count > self.max_rows:
                raise TooLarge(
                    f"more than {self.max_rows} rows in one batch", code="batch_too_long"
                )
            chunk.append((count, line))
            weight += len(line)
            if len(chunk) == CHUNK_ROWS or weight > CHUNK_BYTES:
                signing.put(builder.build(chunk))
                chunk, weight = [], 0
        check_end(end, count)
        signing.put(builder.build(chunk))
        signing.finish()
        return count, print_.digest()

    def totals(self, batch_id: str, by: Principal) -> Totals:
        """Raises NotFound, also for a batch of another account."""
        access.check(by, access.Act.BATCH)
        with self._database.reading() as connection:
            found = read_totals(connection, batch_id, by.account_id)
        if found is None:
            raise NotFound("no such batch", code="not_found")
        return found

    def answer(self, totals: Totals) -> Iterator[bytes]:
        """NDJSON, one line a row in the order sent: its index and id, or its problem."""
        for low in range(0, totals.rows, ANSWER_ROWS):
            high = low + ANSWER_ROWS
            with self._database.reading() as connection:
                entered = connection.execute(
                    _ENTERED, {"batch": totals.id, "low": low, "high": high}
                ).all()
                notes = connection.execute(
                    _NOTES, {"batch": totals.id, "low": low, "high": high}
                ).all()
            lines = [(row, _entered(row, id_, idx, ref)) for row, id_, idx, ref in entered]
            lines += [(note.batch_row, note.line + "\n") for note in notes]
            if notes:
                lines.sort(key=lambda line: line[0])
            yield "".join(text for _, text in lines).encode("utf-8")


_COLUMNS = register.DEPOSIT.c
_ENTERED = (
    sa.select(_COLUMNS.batch_row, _COLUMNS.id, _COLUMNS.idx, _COLUMNS.client_reference)
    .where(
        _COLUMNS.batch_id == sa.bindparam("batch"),
        _COLUMNS.batch_row > sa.bindparam("low"),
        _COLUMNS.batch_row <= sa.bindparam("high"),
    )
    .order_by(_COLUMNS.batch_row)
)
_NOTES = (
    sa.select(NOTE.c.batch_row, NOTE.c.line)
    .where(
        NOTE.c.batch_id == sa.bindparam("batch"),
        NOTE.c.batch_row > sa.bindparam("low"),
        NOTE.c.batch_row <= sa.bindparam("high"),
    )
    .order_by(NOTE.c.batch_row)
)


def read_totals(
    connection: sa.Connection, batch_id: str, account_id: str | None = None
) -> Totals | None:
    query = sa.select(BATCH).where(BATCH.c.id == batch_id)
    if account_id is not None:
        query = query.where(BATCH.c.account_id == account_id)
    row = connection.execute(query).first()
    if row is None:
        return None
    return Totals(
        id=row.id,
        rows=row.rows,
        registered=row.registered,
        duplicates=row.duplicates,
        refused=row.refused,
        first_index=row.first_index,
    )


def _closing(line: bytes) -> int | None:
    """The row count of a closing line `{"end": n}`, or None for any other line."""
    if len(line) > 40 or not line.lstrip().startswith(b'{"end"'):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    match value:
        case {"end": int(count), **rest} if not rest and not isinstance(count, bool):
            return count
    return None


def _entered(row: int, id_: str, index: int, reference: str | None) -> str:
    said = "" if reference is None else f',"client_reference":{json.dumps(reference)}'
    return f'{{"row":{row},"index":{index},"id":"{id_}"{said}}}\n'


def _earlier(row: Row, earlier: tuple[str, int | None, str]) -> dict[str, Any]:
    id_, index, sha256 = earlier
    if sha256 != row["sha256"]:
        return _refused(
            row["batch_row"],
            "client_reference_reused",
            f"client reference {row['client_reference']!r} was registered with sha-256 {sha256}",
        )
    note = {
        "row": row["batch_row"],
        "id": id_,
        "duplicate": True,
        "client_reference": row["client_reference"],
    }
    return note if index is None else {**note, "index": index}


def _refused(row: int, code: str, detail: str) -> dict[str, Any]:
    return {"row": row, "problem": {"code": code, "detail": detail}}
