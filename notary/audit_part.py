"""Reads the originals of one range again, and says of each what contradicts the ledger.

The chain, from the outside in: the audit's checkpoint, signed by the log's keys; one proof from
it to the range's tile, whose path is made of the tile's own hashes, so that all of them are bound
by it; each entry against its hash; the statement's signature; the record it signs; the digest in
the record; the bytes. Read-only, in memory for one range of rows and one chunk of an original.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from notary import statement as cose
from notary.audits import WIDTH, Kind
from notary.errors import Corrupt, DigestMismatch, NotaryError
from notary.findings import Findings
from notary.fixity import (
    DEPOSITS,
    Expected,
    check_committed,
    check_disposed,
    check_original,
    read_expected,
    rows_between,
)
from notary.fsck_columns import compare_deposit
from notary.keyhistory import KeyHistory, check_signer
from notary.ledger import ENTRY, read_tile
from notary.originals import Originals
from notary.tlog import merkle, tile
from notary.tlog.checkpoint import Checkpoint
from storage.database import Database
from storage.errors import InvalidKey, ObjectDiffers, ObjectNotFound, StoreUnavailable

TRIES = 3
PAUSE_S = 2.0
"""How often a store that works is asked for an object that it does not give, and how long after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    kind: Kind
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One index of the range. `read` is whether an original was looked for, of which there were
    `size` bytes."""

    index: int
    is_deposit: bool = False
    deposit_id: str | None = None
    case_id: str | None = None
    read: bool = False
    size: int = 0
    contradictions: tuple[Contradiction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a range is read with. `take` is told the bytes of each chunk, `pause` waits for so
    many seconds; both may raise, which ends the reading."""

    database: Database
    originals: Originals
    history: KeyHistory
    checkpoint: Checkpoint
    take: Callable[[int], None]
    pause: Callable[[float], None]


def read_part(reading: Reading, first: int, end: int) -> Generator[Read, None, None]:
    """Every index from `first` up to `end`, which must be in one tile, in order.

    Raises StorageError where storage or database as a whole does not work: that says nothing of
    an original."""
    with reading.database.reading() as connection:
        entries = {
            row.idx: row.statement
            for row in connection.execute(
                sa.select(ENTRY).where(ENTRY.c.idx >= first, ENTRY.c.idx < end)
            )
        }
        rows = rows_between(connection, DEPOSITS, first, end)
        leaves, broken = _leaves(connection, reading.checkpoint, first)
    for index in range(first, end):
        row, entry = rows.get(index), entries.get(index)
        fault = broken
        if entry is None:
            fault = f"entry {index} is missing"
        elif fault is None and merkle.leaf_hash(entry) != leaves.get(index % WIDTH):
            fault = f"entry {index} is not the one whose hash the checkpoint signs"
        if row is None:
            yield _without_row(index, entry, reading.history)
        elif fault is not None or entry is None:
            yield _found(row, Contradiction(kind=Kind.UNPROVED, detail=str(fault)))
        else:
            yield _deposit(reading, row, entry)


def _leaves(
    connection: sa.Connection, checkpoint: Checkpoint, first: int
) -> tuple[Mapping[int, bytes], str | None]:
    """The hashes of the tile that `first` is in by their places, and what is wrong with them."""
    tiles = read_tile(connection)
    hashes = tiles(0, first // WIDTH)
    leaves = {
        at: hashes[at * merkle.HASH_SIZE : (at + 1) * merkle.HASH_SIZE]
        for at in range(len(hashes) // merkle.HASH_SIZE)
    }
    try:
        merkle.check_inclusion(
            index=first,
            size=checkpoint.size,
            leaf=leaves.get(first % WIDTH, b""),
            proof=merkle.prove_inclusion(first, checkpoint.size, tile.hash_reader(tiles)),
            root=checkpoint.root,
        )
    except NotaryError as exc:
        return leaves, f"its tile does not lead to the audit's checkpoint: {exc}"
    return leaves, None


def _without_row(index: int, entry: bytes | None, history: KeyHistory) -> Read:
    """Events, policies and outside statements have no original; a deposit has a row."""
    if entry is None:
        return _unnamed(index, f"entry {index} is missing")
    try:
        statement = cose.parse_statement(entry)
        if statement.preimage_type != cose.EVIDENCE_TYPE:
            return Read(index=index)
        check_signer(statement, index, history)
    except NotaryError:
        return Read(index=index)  # an outside issuer's, or fsck's to name
    return _unnamed(index, f"entry {index} is a deposit's, and the register has no row for it")


def _unnamed(index: int, detail: str) -> Read:
    fault = Contradiction(kind=Kind.UNPROVED, detail=detail)
    return Read(index=index, is_deposit=True, contradictions=(fault,))


def _found(row: sa.Row[Any], *faults: Contradiction, read: bool = False, size: int = 0) -> Read:
    return Read(
        index=row.idx,
        is_deposit=True,
        deposit_id=row.id,
        case_id=row.case_id,
        read=read,
        size=size,
        contradictions=faults,
    )


def _deposit(reading: Reading, row: sa.Row[Any], entry: bytes) -> Read:
    try:
        committed = check_committed(row, entry, reading.history)
        if row.disposed_at is not None:
            with reading.database.reading() as connection:
                check_disposed(connection, row, reading.history)
            return _found(row)
        expected = read_expected(committed.sections)
    except NotaryError as exc:
        return _found(row, Contradiction(kind=Kind.UNPROVED, detail=str(exc)))
    faults: list[Contradiction] = []
    compared = Findings()
    compare_deposit(row, committed.sections, compared)
    if compared.faults:
        # Their details name files and cases, which not everyone may know who reads findings.
        said = f"the row says otherwise than its record in {len(compared.faults)} places"
        faults.append(Contradiction(kind=Kind.ROW, detail=f"{said}; `notary fsck` names them"))
    if not expected.stored:
        return _found(row, *faults)
    fault, size = _original(reading, committed.id, expected, row)
    return _found(row, *faults, *fault, read=True, size=size)


def _original(
    reading: Reading, deposit_id: str, expected: Expected, row: sa.Row[Any]
) -> tuple[tuple[Contradiction, ...], int]:
    """What is wrong with it, if anything, and how many bytes were read."""
    counted = _Counted(reading.take)
    for tried in range(1, TRIES + 1):
        counted.size = 0
        try:
            check_original(
                reading.originals, deposit_id, expected,
                data_key=row.data_key, version=row.object_version, take=counted,
            )  # fmt: skip
        except (DigestMismatch, ObjectDiffers, Corrupt) as exc:
            return (Contradiction(kind=Kind.DIFFERS, detail=str(exc)),), counted.size
        except (ObjectNotFound, InvalidKey) as exc:
            return (Contradiction(kind=Kind.MISSING, detail=str(exc)),), 0
        except StoreUnavailable as exc:
            reading.originals.objects.check()  # raises where it is the store as a whole
            if tried == TRIES:
                return (Contradiction(kind=Kind.UNREADABLE, detail=str(exc)),), counted.size
            reading.pause(PAUSE_S)
        else:
            break
    return (), counted.size


class _Counted:
    """Passes the bytes on, and counts those of one original."""

    __slots__ = ("_take", "size")

    def __init__(self, take: Callable[[int], None]) -> None:
        self._take = take
        self.size = 0

    def __call__(self, size: int) -> None:
        self.size += size
        self._take(size)
