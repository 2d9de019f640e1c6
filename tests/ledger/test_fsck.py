"""fsck makes the damage's name: each of these spoils one thing and must see it called by it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from notary.errors import Rollback
from notary.findings import Depth, Findings
from notary.fsck import fsck
from notary.house import check_published
from notary.model import Declared, EventKind, Principal, Role
from notary.office import Office, found
from notary.originals import object_key
from notary.settings import Settings
from tests.harness.disposing import Clerks, clerks, dispose
from tests.harness.disposing import deposit as handed_in

BY = Principal(account_id="0" * 36, name="agency", role=Role.API_CLIENT, authenticated_by="api-key")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house with 300 events, three originals, and tokens over all of it."""
    home = tmp_path_factory.mktemp("made") / "house"
    found(Settings(home=home))
    office = Office(Settings(home=home))
    for number in range(300):
        office.chronicle.record(EventKind.SIGNED_IN, actor="a", subject=str(number))
    for number in range(3):
        deposit(office, b"original %d" % number)
    (name,) = office.stamping.authorities
    office.stamping.run(name)
    office.close()
    return home


@pytest.fixture
def house(made: Path, tmp_path: Path) -> Office:
    """A copy of it, to be spoilt."""
    shutil.copytree(made, tmp_path / "house")
    return Office(Settings(home=tmp_path / "house"))


def deposit(office: Office, content: bytes) -> str:
    declared = Declared(name="a.txt", document_timestamp=True)
    with office.intake.receive(office.intake.admit(BY, declared)) as reception:
        reception.write(content)
        return reception.register(declared).deposit.id


def check(
    office: Office,
    depth: Depth = Depth.ORIGINALS,
    start: int = 0,
    strays: datetime | None = None,
) -> Findings:
    return fsck(
        database=office.database,
        objects=office.objects,
        trust=office.trust,
        strays_before=strays or office.clock.now(),
        depth=depth,
        start=start,
    )


def names(office: Office) -> set[str]:
    return {fault.name for fault in check(office).faults}


def sql(office: Office, statement: str, *values: object) -> None:
    with sqlite3.connect(office.settings.home / "notary.db") as connection:
        connection.execute(statement, values)
    connection.close()


def path_of(office: Office, deposit_id: str) -> Path:
    return office.settings.home / "objects" / object_key(deposit_id)


def ids(office: Office) -> list[str]:
    return [each.id for each in office.register.deposits()]


def test_a_sound_house_has_no_faults(house: Office) -> None:
    findings = check(house)
    assert findings.faults == []
    assert (findings.deposits, findings.events, findings.originals) == (3, 300, 3)
    assert findings.entries == house.ledger.head().size == findings.reached
    assert findings.tokens == 4


def test_a_flipped_byte_in_an_original_is_named(house: Office) -> None:
    (first, *_) = ids(house)
    path = path_of(house, first)
    os.chmod(path, 0o600)
    path.write_bytes(b"Original 0")
    assert names(house) == {f"original {first}"}


def test_a_missing_original_is_named(house: Office) -> None:
    (first, *_) = ids(house)
    path_of(house, first).unlink()
    assert names(house) == {f"original {first}"}


def test_an_object_that_is_nobodys_is_named_once_it_is_old(house: Office) -> None:
    with house.objects.begin("originals/00/stray") as incoming:
        incoming.write(b"x")
        incoming.commit()
    assert names(house) == {"object originals/00/stray"}
    yesterday = house.clock.now() - timedelta(days=1)
    assert check(house, strays=yesterday).faults == []


RECORD = "UPDATE {table} SET record = replace(record, 'sha-256', 'sha-255') WHERE idx = {idx}"


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        (RECORD.format(table="deposit", idx=301), "record 301"),
        (RECORD.format(table="custody_event", idx=7), "record 7"),
        ("UPDATE deposit SET size = size + 1 WHERE idx = 301", "deposit"),
        ("UPDATE deposit SET name = 'b.txt' WHERE idx = 301", "deposit"),
        ("DELETE FROM custody_event WHERE idx = 9", "entry 9"),
        ("DELETE FROM deposit_digest WHERE idx = 301", "deposit"),
        ("UPDATE deposit_digest SET start = start + 1 WHERE idx = 301", "deposit"),
        ("INSERT INTO deposit_digest VALUES (0, 7, 301)", "deposit_digest"),
        ("DELETE FROM deposit WHERE idx = 302", "entry 302"),
        ("UPDATE custody_event SET idx = 9000 WHERE idx = 9", "entry 9"),
        ("UPDATE house SET genesis = genesis || ' '", "genesis"),
        ("DELETE FROM entry WHERE idx = 100", "entry 100"),
        ("UPDATE tile SET hashes = zeroblob(8192) WHERE level = 0 AND n = 0", "tile tile/0/000"),
        ("DELETE FROM tile WHERE level = 1", "tile tile/1/000"),
        ("INSERT INTO tile VALUES (3, 9, zeroblob(32))", "tile"),
        ("UPDATE tree_head SET root = zeroblob(32)", "checkpoint 304"),
        ("UPDATE stamped_checkpoint SET root = zeroblob(32)", "checkpoint 304"),
    ],
)
def test_a_row_changed_by_hand_is_named(house: Office, statement: str, name: str) -> None:
    sql(house, statement)
    assert any(found_.startswith(name) for found_ in names(house)), names(house)


def flip(column: str, table: str, where: str) -> str:
    """Flips the last byte of a blob."""
    return (
        f"UPDATE {table} SET {column} = CAST(substr({column}, 1, length({column}) - 9) "
        f"|| x'00' || substr({column}, length({column}) - 7) AS BLOB) WHERE {where}"
    )


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        (flip("statement", "entry", "idx = 301"), "record 301"),
        (flip("checkpoint", "tree_head", "1"), "checkpoint 304"),
        (flip("checkpoint", "stamped_checkpoint", "1"), "checkpoint 304"),
        (flip("response", "timestamp_token", "deposit_id IS NULL"), "token "),
        (flip("response", "timestamp_token", "deposit_id IS NOT NULL"), "token "),
    ],
)
def test_a_flipped_byte_in_the_database_is_named(house: Office, statement: str, name: str) -> None:
    sql(house, statement)
    assert any(found_.startswith(name) for found_ in names(house)), names(house)


def test_a_rolled_back_database_is_named_by_its_rows_and_refused_on_start(house: Office) -> None:
    house.publish()
    sql(house, "UPDATE tree_head SET size = 2, root = ?", house.ledger.root_at(2))
    named = names(house)
    assert "checkpoint 2" in named  # the signed one is of another size
    assert any(name.startswith("deposit ") for name in named)  # rows beyond the tree's end
    with pytest.raises(Rollback):
        check_published(house.settings.home, house.ledger, house.log_keys_at)


def test_a_derivation_goes_on_where_it_stopped(house: Office) -> None:
    reached: list[int] = []
    fsck(
        database=house.database,
        objects=house.objects,
        trust=house.trust,
        strays_before=house.clock.now(),
        depth=Depth.RECORDS,
        progress=lambda _what, done, _of: reached.append(done),
    )
    second = check(house, Depth.RECORDS, start=302)
    assert reached[-1] == house.ledger.head().size
    assert (second.deposits, second.events, second.faults) == (2, 0, [])


def test_the_ledger_alone_reads_no_rows(house: Office) -> None:
    sql(house, "DELETE FROM custody_event")
    assert check(house, Depth.LEDGER).faults == []
    assert len(check(house, Depth.RECORDS).faults) == 300


# --- retentions, holds, disposals ---------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house with a retention and two holds, of which one was released, and with disposals:
    withdrawn, requested, and carried out."""
    home = tmp_path_factory.mktemp("kept") / "house"
    found(Settings(home=home))
    office = Office(Settings(home=home))
    both = clerks(office)
    deposits = [handed_in(office, both.first, b"original %d" % number) for number in range(3)]
    until = office.clock.now() + timedelta(days=30)
    _withdraw(office, both, deposits[0].id)
    dispose(office, both, deposits[1])
    office.disposing.request(both.first, deposits[2], reason="over", basis="section 5")
    office.keeping.retain(both.first, deposits[0], until=until, basis="section 6")
    office.keeping.place(both.first, deposits[0], reason="order 1")
    lifted = office.keeping.place(both.first, deposits[2], reason="order 2")
    office.keeping.release(both.second, lifted, reason="order 3")
    office.journal.run()
    office.close()
    return home


def _withdraw(office: Office, both: Clerks, deposit_id: str) -> None:
    asked = office.disposing.request(
        both.first, office.register.deposit(deposit_id), reason="over", basis="section 5"
    )
    office.disposing.withdraw(both.second, asked, reason="a mistake")


@pytest.fixture
def keeping(kept: Path, tmp_path: Path) -> Office:
    shutil.copytree(kept, tmp_path / "house")
    return Office(Settings(home=tmp_path / "house"))


def test_a_house_with_retentions_holds_and_disposals_has_no_faults(keeping: Office) -> None:
    assert check(keeping).faults == []


RELEASED, DONE = "released_at IS NOT NULL", "approved_at IS NOT NULL"
WITHDRAWN, ASKED = "withdrawn_at IS NOT NULL", "approved_at IS NULL AND withdrawn_at IS NULL"
COPIED = (
    "INSERT INTO {table} SELECT replace(id, '-7', '-8'), {rest} FROM {table} WHERE {where} LIMIT 1"
)
RETENTION_REST = "deposit_id, case_id, until, basis, set_by, set_at, applied_to"
HOLD_REST = (
    "deposit_id, case_id, reason, placed_by, placed_at, released_by, released_at, applied_to, "
    "lifted"
)
DISPOSAL_REST = (
    "deposit_id, NULL, reason, basis, stored, encrypted, requested_by, requester, requested_at, "
    "approved_by, approver, approved_at, withdrawn_by, withdrawn_at, erased_at, waits_until, "
    "discarded_at"
)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("DELETE FROM retention", "retention "),
        ("UPDATE retention SET until = '2026-01-01T00:00:00.000000Z'", "retention "),
        ("UPDATE retention SET basis = 'none'", "retention "),
        ("UPDATE retention SET set_by = 'somebody'", "retention "),
        ("UPDATE retention SET set_at = replace(set_at, '.', '.9')", "retention "),
        ("UPDATE retention SET deposit_id = 'x'", "retention "),
        ("UPDATE retention SET case_id = 'x'", "retention "),
        (COPIED.format(table="retention", rest=RETENTION_REST, where="1"), "retention "),
        ("DELETE FROM legal_hold WHERE released_at IS NULL", "hold "),
        (f"DELETE FROM legal_hold WHERE {RELEASED}", "hold "),
        (
            "UPDATE legal_hold SET released_at = placed_at, released_by = placed_by "
            "WHERE released_at IS NULL",
            "hold ",
        ),
        ("UPDATE legal_hold SET released_at = NULL, released_by = NULL", "hold "),
        (f"UPDATE legal_hold SET released_by = 'somebody' WHERE {RELEASED}", "hold "),
        (f"UPDATE legal_hold SET released_at = placed_at WHERE {RELEASED}", "hold "),
        ("UPDATE legal_hold SET reason = 'another'", "hold "),
        ("UPDATE legal_hold SET placed_by = 'somebody'", "hold "),
        ("UPDATE legal_hold SET placed_at = replace(placed_at, '.', '.9')", "hold "),
        ("UPDATE legal_hold SET deposit_id = 'x'", "hold "),
        ("UPDATE legal_hold SET id = replace(id, '-7', '-8')", "hold "),
        (COPIED.format(table="legal_hold", rest=HOLD_REST, where="1"), "hold "),
        (f"DELETE FROM disposal WHERE {ASKED}", "disposal "),
        (f"DELETE FROM disposal WHERE {DONE}", "disposal "),
        (f"DELETE FROM disposal WHERE {WITHDRAWN}", "disposal "),
        (
            "UPDATE disposal SET approved_at = requested_at, approver = requester, "
            f"approved_by = requested_by WHERE {ASKED}",
            "disposal ",
        ),
        (
            f"UPDATE disposal SET withdrawn_at = requested_at, withdrawn_by = 'x' WHERE {ASKED}",
            "disposal ",
        ),
        (f"UPDATE disposal SET standing = NULL WHERE {ASKED}", "disposal "),
        (f"UPDATE disposal SET encrypted = 1 WHERE {ASKED}", "disposal "),
        (f"UPDATE disposal SET stored = 0 WHERE {DONE}", "disposal "),
        (f"UPDATE disposal SET reason = 'another' WHERE {DONE}", "disposal "),
        (f"UPDATE disposal SET basis = 'another' WHERE {DONE}", "disposal "),
        (f"UPDATE disposal SET requester = 'somebody' WHERE {DONE}", "disposal "),
        (f"UPDATE disposal SET requested_by = approved_by WHERE {DONE}", "disposal "),
        (f"UPDATE disposal SET approved_by = requested_by WHERE {DONE}", "disposal "),
        (f"UPDATE disposal SET approver = requester WHERE {DONE}", "disposal "),
        (f"UPDATE disposal SET approved_at = requested_at WHERE {DONE}", "disposal "),
        (f"UPDATE disposal SET erased_at = NULL WHERE {DONE}", "disposal "),
        (f"UPDATE disposal SET erased_at = requested_at WHERE {ASKED}", "disposal "),
        (f"UPDATE disposal SET withdrawn_by = 'somebody' WHERE {WITHDRAWN}", "disposal "),
        (f"UPDATE disposal SET withdrawn_at = requested_at WHERE {WITHDRAWN}", "disposal "),
        (
            f"UPDATE disposal SET withdrawn_at = NULL, withdrawn_by = NULL WHERE {WITHDRAWN}",
            "disposal ",
        ),
        (COPIED.format(table="disposal", rest=DISPOSAL_REST, where=ASKED), "disposal "),
        ("DELETE FROM custody_event WHERE kind = 'retention-set'", "retention "),
        ("DELETE FROM custody_event WHERE kind = 'hold-released'", "hold "),
        ("DELETE FROM custody_event WHERE kind = 'disposed'", "disposal "),
        ("UPDATE custody_event SET kind = 'hold-placed' WHERE kind = 'hold-released'", "hold "),
        ("UPDATE custody_event SET subject = 'x' WHERE kind = 'hold-placed'", "hold "),
    ],
)
def test_what_people_set_changed_by_hand_is_named(
    keeping: Office, statement: str, name: str
) -> None:
    sql(keeping, statement)
    assert any(found_.startswith(name) for found_ in names(keeping)), names(keeping)
