"""A bit that flips at rest, in each thing that the house keeps: found by the start or by fsck, by
name. The rows of the crash and loss table that are no writes.

`start` is what `notary serve` looks at before it opens a door, so a damage that is found there
keeps it shut; the others are found by `notary fsck`. Damage of other kinds (rows deleted, indices
moved, a database that went back): tests/ledger/test_fsck.py, test_start.py and test_halt.py.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from notary.errors import IntegrityError
from notary.fsck import fsck
from notary.model import Declared
from notary.office import Office
from notary.settings import Settings
from tests.harness.acts import ACTS, copied, deposit, house, make_house
from tests.harness.disposing import clerks, dispose
from tests.harness.disposing import deposit as handed_in

Flip = Callable[[Path], object]


def row(table: str, column: str, where: str = "1", bit: int = 1) -> Flip:
    """One bit in the middle of the column's value in the first such row."""

    def flip(home: Path) -> None:
        with sqlite3.connect(home / "notary.db") as rows:
            found = rows.execute(
                f"SELECT rowid, {column} FROM {table} WHERE {where} ORDER BY rowid LIMIT 1"
            ).fetchone()
            assert found is not None
            id_, value = found
            rows.execute(
                f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (_bent(value, bit), id_)
            )
        rows.close()

    return flip


def _bent(value: bytes | str | int, bit: int) -> bytes | str | int:
    if isinstance(value, int):
        return value ^ bit
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    raw[len(raw) // 2] ^= bit
    return raw.decode() if isinstance(value, str) else bytes(raw)


def file(pattern: str) -> Flip:
    """One bit in the middle of the first such file."""

    def flip(home: Path) -> None:
        path = sorted(each for each in home.glob(pattern) if each.is_file())[0]
        data, mode = _bent(path.read_bytes(), 1), path.stat().st_mode
        assert isinstance(data, bytes)
        os.chmod(path, 0o600)
        path.write_bytes(data)
        os.chmod(path, mode)

    return flip


STORED, BATCHED = "name = 'a.txt'", "batch_row = 2"
PDF = "name = 'scan.pdf'"
LIVED = ("deposit", "digest", "event", "batch", "stamp", "witness", "certificate", "publish")

# What, how, and the name under which the start refuses or fsck reports.
TABLE: dict[str, tuple[Flip, str, str]] = {
    "original": (file("objects/originals/*/*"), "fsck", "original "),
    "entry": (row("entry", "statement", "idx = 1"), "start", "entry 1"),
    "tile": (row("tile", "hashes"), "start", "tiles at size"),
    "head's size": (row("tree_head", "size", bit=4), "start", ""),
    "head's root": (row("tree_head", "root"), "start", "tiles at size"),
    "head's checkpoint": (row("tree_head", "checkpoint"), "start", "newest checkpoint"),
    "genesis": (row("house", "genesis", bit=2), "start", "genesis"),
    "deposit's record": (row("deposit", "record"), "fsck", "record "),
    "deposit's disclosures": (row("deposit", "disclosures", bit=2), "fsck", "record "),
    "deposit's id": (row("deposit", "id", STORED, bit=1), "fsck", "deposit "),
    "deposit's sha256": (row("deposit", "sha256", STORED), "fsck", "deposit "),
    "deposit's digests": (row("deposit", "digests", STORED), "fsck", "deposit "),
    "deposit's size": (row("deposit", "size"), "fsck", "deposit "),
    "deposit's name": (row("deposit", "name"), "fsck", "deposit "),
    "deposit's stored": (row("deposit", "stored"), "fsck", "deposit "),
    "deposit's exhibit": (row("deposit", "exhibit", STORED), "fsck", "deposit "),
    "deposit's case": (row("deposit", "case_id", STORED), "fsck", "deposit "),
    "deposit's detected type": (row("deposit", "media_type_detected", PDF), "fsck", "deposit "),
    "deposit's declared type": (row("deposit", "media_type_declared", PDF), "fsck", "deposit "),
    "deposit's receipt time": (row("deposit", "received_at"), "fsck", "deposit "),
    "batch row's sha256": (row("deposit", "sha256", BATCHED), "fsck", "deposit "),
    "batch row's digests": (row("deposit", "digests", BATCHED), "fsck", "deposit "),
    "event's record": (row("custody_event", "record"), "fsck", "record "),
    "event's kind": (row("custody_event", "kind"), "fsck", "event "),
    "event's actor": (row("custody_event", "actor"), "fsck", "event "),
    "event's deposit": (
        row("custody_event", "deposit_id", "deposit_id IS NOT NULL"), "fsck", "event ",
    ),
    "event's case": (row("custody_event", "case_id", "case_id IS NOT NULL"), "fsck", "event "),
    "event's subject": (row("custody_event", "subject", "subject = 'once'"), "fsck", "event "),
    "event's time": (row("custody_event", "at"), "fsck", "event "),
    "token over a checkpoint": (
        row("timestamp_token", "response", "deposit_id IS NULL"), "fsck", "token ",
    ),
    "token over an original": (
        row("timestamp_token", "response", "deposit_id IS NOT NULL"), "fsck", "token ",
    ),
    "stamped checkpoint": (row("stamped_checkpoint", "checkpoint"), "fsck", "checkpoint "),
    "stamped checkpoint's root": (row("stamped_checkpoint", "root"), "fsck", "checkpoint "),
    "witnessed checkpoint": (row("witnessed_checkpoint", "checkpoint"), "fsck", "checkpoint "),
    "witnessed checkpoint's root": (row("witnessed_checkpoint", "root"), "fsck", "checkpoint "),
    "certificate": (row("certificate", "json"), "fsck", "certificate "),
    **{
        f"retention's {column}": (row("retention", column, bit=2), "fsck", "retention ")
        for column in ("id", "deposit_id", "until", "basis", "set_by", "set_at")
    },
    **{
        f"hold's {column}": (row("legal_hold", column, bit=2), "fsck", "hold ")
        for column in ("id", "deposit_id", "reason", "placed_by", "placed_at", "released_by",
                       "released_at")
    },
    **{
        f"disposal's {column}": (row("disposal", column, bit=2), "fsck", "disposal ")
        for column in ("id", "deposit_id", "standing", "reason", "basis", "requested_by",
                       "requester", "requested_at", "approved_by", "approver", "approved_at")
    },
    "disposal's stored": (row("disposal", "stored"), "fsck", "disposal "),
    "disposal's erased_at": (row("disposal", "erased_at"), "fsck", "disposal "),
    "disposal's discarded_at": (row("disposal", "discarded_at"), "fsck", "disposal "),
    "published checkpoint": (file("published.checkpoint"), "start", "published.checkpoint"),
    "log's key": (file("keys/log-ed25519.pem"), "start", "key"),
    "log's second key": (file("keys/log-mldsa44.pem"), "start", "key"),
    "statements' key": (file("keys/statement.pem"), "start", "key"),
    "certificates' key": (file("keys/certificate.pem"), "start", "key"),
    "authority's key": (file("keys/tsa.pem"), "start", "tsa"),
    "authority's chain": (file("tsa-chain.pem"), "start", "tsa"),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house that did everything once."""
    root = tmp_path_factory.mktemp("flips") / "made"
    make_house(root)
    for number, name in enumerate(LIVED):
        with ACTS[name].opened(root, chance=number) as office:
            ACTS[name].run(office)
    with house(root) as office:
        deposit(office, b"%PDF-1.7\n", Declared(name="scan.pdf", media_type="application/pdf"))
        both = clerks(office)
        held = handed_in(office, both.first)
        office.keeping.retain(
            both.first, held, until=office.clock.now() + timedelta(days=1), basis="section 6"
        )
        office.keeping.release(
            both.second, office.keeping.place(both.first, held, reason="order 1"), reason="order 2"
        )
        dispose(office, both, handed_in(office, both.first, b"over"))
    return root


@pytest.mark.parametrize("thing", TABLE)
def test_a_flipped_bit_is_found_and_named(made: Path, tmp_path: Path, thing: str) -> None:
    flip, by, name = TABLE[thing]
    home = copied(made, tmp_path / "spoilt") / "house"
    flip(home)
    if by == "start":
        with pytest.raises(IntegrityError) as refused:
            Office(Settings(home=home)).examine()
        assert name in str(refused.value) or name in getattr(refused.value, "name", "")
        return
    office = Office(Settings(home=home))
    findings = fsck(
        database=office.database, objects=office.objects, trust=office.trust,
        strays_before=office.clock.now(),
    )  # fmt: skip
    named = [fault.name for fault in findings.faults]
    assert any(each.startswith(name) for each in named), named
    office.close()


def test_the_house_before_the_flip_has_no_fault(made: Path, tmp_path: Path) -> None:
    office = Office(Settings(home=copied(made, tmp_path / "sound") / "house"))
    office.examine()
    findings = fsck(
        database=office.database, objects=office.objects, trust=office.trust,
        strays_before=office.clock.now(),
    )  # fmt: skip
    assert findings.faults == []
    office.close()
