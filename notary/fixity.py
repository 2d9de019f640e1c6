"""One deposit's original, read again from storage and compared with what its entry commits to.

What counts is the digest in the record whose hash the ledger's entry signs. A row says nothing
here: whoever changed an object can change its row as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from notary import register
from notary import statement as cose
from notary.digest import SHA256
from notary.errors import BadCertificate, DigestMismatch, Unverifiable
from notary.keyhistory import KeyHistory, check_signer
from notary.ledger import ENTRY
from notary.model import EventKind
from notary.originals import Originals
from notary.record import Record, disclosed, parse_record

DEPOSITS = sa.select(register.DEPOSIT, register.CASE.c.court, register.CASE.c.number).outerjoin(
    register.CASE, register.CASE.c.id == register.DEPOSIT.c.case_id
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What an entry commits to: the record's id, and the sections that its row discloses."""

    id: str
    sections: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The original as the ledger has it: `sha256` in hex, `size` in bytes. Not `stored`: only its
    digests were ever here."""

    stored: bool
    sha256: str
    size: int


def rows_between(
    connection: sa.Connection, rows: sa.Select[Any], first: int, end: int
) -> dict[int, sa.Row[Any]]:
    """By their ledger index."""
    idx = rows.selected_columns.idx
    found = connection.execute(rows.where(idx >= first, idx < end))
    return {row.idx: row for row in found}


def check_committed(row: sa.Row[Any], entry: bytes, history: KeyHistory) -> Committed:
    """The record and disclosures of a row (`idx`, `record`, `disclosures`), after its entry was
    found to be a statement over them by the key of its index. Raises NotaryError."""
    statement = cose.parse_statement(entry)
    check_signer(statement, row.idx, history)
    disclosures = tuple(row.disclosures.split())
    digest = Record(row.record, disclosures).digest()
    if statement.payload != digest:
        raise BadCertificate(
            f"is {digest.hex()}, entry signs {statement.payload.hex()}", code="record_mismatch"
        )
    record = parse_record(row.record)
    return Committed(id=str(record["id"]), sections=disclosed(record, disclosures))


def check_disposed(connection: sa.Connection, row: sa.Row[Any], history: KeyHistory) -> None:
    """A row that says that its deposit was disposed of (`id`, `disposed_at`) is borne out by an
    entry of the ledger. Raises NotaryError, Unverifiable where there is none."""
    said = (
        sa.select(register.CUSTODY, ENTRY.c.statement)
        .join(ENTRY, ENTRY.c.idx == register.CUSTODY.c.idx)
        .where(
            register.CUSTODY.c.deposit_id == row.id,
            register.CUSTODY.c.kind == EventKind.DISPOSED.value,
        )
    )
    event = connection.execute(said).first()
    if event is None:
        raise Unverifiable(
            f"its row says that it was disposed of at {row.disposed_at}, the ledger has no entry "
            "of that"
        )
    match check_committed(event, event.statement, history).sections:
        case {"act": {"kind": "disposed"}, "about": {"deposit": str(about)}} if about == row.id:
            return
    raise Unverifiable(f"entry {event.idx} is not of its disposal")


def read_expected(sections: Mapping[str, object]) -> Expected:
    """Raises Unverifiable where the sections prove no digest."""
    match sections.get("content"):
        case {"digests": {"sha-256": str(sha256)}, "size": int(size), "stored": bool(stored)}:
            return Expected(stored=stored, sha256=sha256, size=size)
    raise Unverifiable("its record discloses no digest of the original")


def check_original(
    originals: Originals,
    deposit_id: str,
    expected: Expected,
    *,
    data_key: bytes | None,
    version: str | None,
    take: Callable[[int], None] = lambda _bytes: None,
) -> int:
    """Reads all of it, of that version where storage has some, telling `take` the bytes of each
    chunk; gives how many there are.

    Raises DigestMismatch with both sides; Corrupt for an encrypted one that is not what was
    encrypted; KeyMissing; what the store raises, and what `take` raises.
    """
    state, size = hashlib.sha256(), 0
    opened = originals.open(deposit_id, data_key=data_key, size=expected.size, version=version)
    with closing(opened) as chunks:
        for chunk in chunks:
            state.update(chunk)
            size += len(chunk)
            take(len(chunk))
    if (computed := state.hexdigest()) != expected.sha256:
        raise DigestMismatch(
            f"{SHA256} is {computed} over {size} bytes, the ledger has {expected.sha256} over "
            f"{expected.size}"
        )
    return size
