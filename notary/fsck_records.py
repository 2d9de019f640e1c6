"""The second half of fsck: rows against entries, originals and objects against rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from notary import register
from notary import statement as cose
from notary.digest import SHA256
from notary.digests import DIGEST, without_row
from notary.disposals import DISPOSAL
from notary.errors import Corrupt, DigestMismatch, KeyMissing, NotaryError, Unverifiable
from notary.findings import CHUNK, Depth, Findings, Progress
from notary.fixity import (
    DEPOSITS,
    Expected,
    check_committed,
    check_disposed,
    check_original,
    read_expected,
    rows_between,
)
from notary.fsck_columns import compare_deposit, compare_event
from notary.fsck_statements import Admissions, check_beyond, statement_rows
from notary.house import HOUSE
from notary.issued import CERTIFICATE
from notary.keyhistory import KeyHistory, check_signer
from notary.ledger import ENTRY, read_head
from notary.originals import Originals, object_key
from notary.stamps import STAMPED, TOKEN
from notary.sweep import orphans
from notary.tlog.note import parse_note
from notary.trust import Trust
from notary.tsp import parse_response, verify_token
from notary.verdict import Document, Verdict
from notary.verify import verify
from storage.database import Database
from storage.errors import InvalidKey, ObjectDiffers, ObjectNotFound
from storage.objects import ObjectStore

GENESIS_INDEX = 0
CHUNK_CERTIFICATES = 100


def check_tokens(database: Database, trust: Trust, findings: Findings) -> None:
    """Every token must verify over its checkpoint, or over its deposit's original."""
    with database.reading() as connection:
        over_checkpoints = connection.execute(
            sa.select(TOKEN, STAMPED.c.checkpoint).join(STAMPED, STAMPED.c.size == TOKEN.c.size)
        )
        for row in over_checkpoints:
            text = _note_text(row.checkpoint)
            _token(
                f"token {row.authority} at {row.size}", row.response,
                hashlib.sha256(text).digest(), trust, findings,
            )  # fmt: skip
        documents = connection.execute(
            sa.select(TOKEN, register.DEPOSIT.c.sha256).join(
                register.DEPOSIT, register.DEPOSIT.c.id == TOKEN.c.deposit_id
            )
        )
        for row in documents:
            _token(
                f"token {row.authority} of {row.deposit_id}", row.response,
                bytes.fromhex(row.sha256), trust, findings,
            )  # fmt: skip


def _note_text(note: bytes) -> bytes:
    try:
        return parse_note(note).text.encode("utf-8")
    except NotaryError:
        return b""  # its checkpoint is named already; the token then covers nothing


def _token(name: str, response: bytes, imprint: bytes, trust: Trust, findings: Findings) -> None:
    findings.tokens += 1
    try:
        verify_token(parse_response(response), imprint=imprint, roots=trust.timestamp_roots)
    except NotaryError as exc:
        findings.fault(name, f"{exc.code}: {exc}")


def check_records(
    database: Database,
    originals: Originals,
    history: KeyHistory,
    findings: Findings,
    depth: Depth,
    start: int,
    progress: Progress,
) -> None:
    """Every entry from `start` on must be the statement over exactly one row's record, or over a
    rotation, signed by the key that held at its index."""
    rotations = {each.index: each.document for each in history.registered}
    with database.reading() as connection:
        size = read_head(connection).size
    admissions = Admissions(database, history, findings)
    for first in range(start, size, CHUNK):
        end = min(first + CHUNK, size)
        with database.reading() as connection:
            entries = {
                row.idx: row.statement
                for row in connection.execute(
                    sa.select(ENTRY).where(ENTRY.c.idx >= first, ENTRY.c.idx < end)
                )
            }
            deposits = rows_between(connection, DEPOSITS, first, end)
            events = rows_between(connection, sa.select(register.CUSTODY), first, end)
            statements = statement_rows(connection, first, end)
            here = {i: row.sha256 for i, row in deposits.items() if row.disposed_at is None}
            lost = without_row(connection, here)
            genesis = connection.execute(sa.select(HOUSE.c.genesis)).scalar()
        for index in range(first, end):
            entry = entries.get(index)
            if entry is None:
                continue  # named by the tree's derivation
            if index == GENESIS_INDEX:
                _document("genesis", index, entry, genesis or "", history, findings)
            elif index in rotations:
                _document("key rotation", index, entry, rotations[index], history, findings)
            elif index in deposits:
                findings.deposits += 1
                row = deposits[index]
                if row.disposed_at is None:
                    _deposit(row, entry, originals, history, findings, depth)
                else:
                    _disposed(database, row, entry, history, findings)
            elif index in events:
                findings.events += 1
                sections = _committed(events[index], entry, history, findings)
                compare_event(events[index], sections, findings)
            elif not admissions.check(index, entry, statements):
                findings.fault(
                    f"entry {index}",
                    "no deposit, event, policy or outside statement has this index",
                )
        for index in sorted(lost):
            findings.fault(f"deposit {deposits[index].id}", "is not found by its SHA-256")
        for index in (deposits.keys() & events.keys()) - {GENESIS_INDEX}:
            findings.fault(f"entry {index}", "a deposit and an event both have this index")
        for index in statements.keys() & (deposits.keys() | events.keys()):
            findings.fault(f"entry {index}", "an outside statement and another row have this index")
        findings.reached = end
        progress(depth.value, end, size)
    _beyond(database, findings)


def _beyond(database: Database, findings: Findings) -> None:
    """Rows may not claim an index that the tree does not have. It may have grown meanwhile: rows
    and head are of one snapshot."""
    with database.reading() as connection:
        size = read_head(connection).size
        for table, name in ((register.DEPOSIT, "deposit"), (register.CUSTODY, "event")):
            for row in connection.execute(
                sa.select(table.c.id, table.c.idx).where(table.c.idx >= size)
            ):
                findings.fault(f"{name} {row.id}", f"has index {row.idx}, the tree ends at {size}")
        check_beyond(connection, size, findings)
        deposits, digests = (
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (register.DEPOSIT, DIGEST)
        )
        if deposits < digests:
            findings.fault("deposit_digest", f"has {digests} rows, there are {deposits} deposits")


def _document(
    name: str, index: int, entry: bytes, document: str, history: KeyHistory, findings: Findings
) -> None:
    """The genesis document, or a rotation, is what its entry commits to."""
    try:
        statement = cose.parse_statement(entry)
        check_signer(statement, index, history)
        digest = hashlib.sha256(document.encode("utf-8")).digest()
        if statement.payload != digest:
            findings.fault(
                name, f"is {digest.hex()}, entry {index} signs {statement.payload.hex()}"
            )
    except NotaryError as exc:
        findings.fault(f"entry {index}", exc)


def _deposit(
    row: sa.Row[Any],
    entry: bytes,
    originals: Originals,
    history: KeyHistory,
    findings: Findings,
    depth: Depth,
) -> None:
    sections = _committed(row, entry, history, findings)
    compare_deposit(row, sections, findings)
    if depth is Depth.ORIGINALS:
        _original(row, sections, originals, findings)


def _disposed(
    database: Database, row: sa.Row[Any], entry: bytes, history: KeyHistory, findings: Findings
) -> None:
    """The entry is still the record's, and another one says that the rest went."""
    compare_deposit(row, _committed(row, entry, history, findings), findings)
    findings.disposed += 1
    name = f"deposit {row.id}"
    try:
        with database.reading() as connection:
            check_disposed(connection, row, history)
    except NotaryError as exc:
        findings.fault(name, exc)
    if row.disclosures or row.data_key is not None or row.sha256:
        findings.fault(name, "was disposed of, and its row still has what should be gone")


def _committed(
    row: sa.Row[Any], entry: bytes, history: KeyHistory, findings: Findings
) -> Mapping[str, object]:
    """The record's sections, after its statement was checked to be the entry."""
    try:
        return check_committed(row, entry, history).sections
    except NotaryError as exc:
        findings.fault(f"record {row.idx}", exc)
        return {}


def _original(
    row: sa.Row[Any], sections: Mapping[str, object], originals: Originals, findings: Findings
) -> None:
    try:
        expected = read_expected(sections)
    except Unverifiable:  # withheld or named already: the row's own word is what there is
        expected = Expected(stored=row.stored, sha256=row.sha256, size=row.size)
    if not expected.stored:
        return
    name = f"original {row.id}"
    try:
        check_original(
            originals, row.id, expected, data_key=row.data_key, version=row.object_version
        )
        findings.originals += 1
    except DigestMismatch as exc:
        findings.originals += 1
        findings.fault(name, exc)
    except (ObjectNotFound, ObjectDiffers, InvalidKey, Corrupt, KeyMissing) as exc:
        findings.fault(name, exc)


def check_certificates(database: Database, trust: Trust, findings: Findings) -> None:
    """Every version that was issued must be confirmed as a stranger would confirm it."""
    rows = (
        sa.select(CERTIFICATE, register.DEPOSIT.c.sha256, register.DEPOSIT.c.size)
        .join_from(
            CERTIFICATE, register.DEPOSIT, register.DEPOSIT.c.id == CERTIFICATE.c.deposit_id,
            isouter=True,
        )
        .order_by(CERTIFICATE.c.deposit_id, CERTIFICATE.c.version)
    )  # fmt: skip
    with database.reading() as connection:
        for row in connection.execution_options(yield_per=CHUNK_CERTIFICATES).execute(rows):
            name = f"certificate {row.deposit_id} v{row.version}"
            if row.sha256 is None:
                findings.fault(name, "is of no deposit")
                continue
            document = Document(digests={SHA256: row.sha256}, size=row.size)
            report = verify(row.json, document, trust)
            if report.verdict is not Verdict.CONFIRMED:
                findings.fault(name, f"{report.verdict}: {report.code}")


def check_strays(
    database: Database, objects: ObjectStore, before: datetime, findings: Findings
) -> None:
    """Every object last touched before that must be some deposit's, and of none whose disposal
    came to its end."""
    for found in orphans(register.Register(database), objects, before):
        findings.fault(f"object {found.key}", "is no deposit's original")
    discarded = (
        sa.select(DISPOSAL.c.id, DISPOSAL.c.deposit_id)
        .where(DISPOSAL.c.discarded_at.is_not(None), DISPOSAL.c.stored)
        .order_by(DISPOSAL.c.id)
        .limit(CHUNK)
    )
    after = ""
    while True:
        with database.reading() as connection:
            found_ = connection.execute(discarded.where(DISPOSAL.c.id > after)).all()
        if not found_:
            return
        after = found_[-1].id
        for each in found_:
            key = object_key(each.deposit_id)
            with suppress(ObjectNotFound):
                objects.stat(key)
                findings.fault(f"object {key}", f"was disposed of ({each.id}) and is there")
