"""Statements of outside issuers in the ledger: once each, under the policy of their moment, lost by
no crash, and every row of theirs held against the entries by fsck."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from notary import registering, sequencer
from notary.clock import rfc3339
from notary.errors import (
    Conflict,
    IntegrityError,
    MalformedInput,
    NotFound,
    Pushback,
    Rejected,
    Unreachable,
)
from notary.findings import Findings
from notary.fsck import fsck
from notary.issuer_key import parse_issuer_key
from notary.issuers import INSERT_STATEMENT, KeptPolicy
from notary.keyring import head_signer
from notary.ledger import Growing, read_head
from notary.model import EventKind
from notary.monitor import Monitor
from notary.office import Office
from notary.registering import Registered, Waiting
from notary.signed_statement import parse_signed_statement
from notary.statement import POLICY_TYPE, check_statement, parse_statement
from notary.tlog import merkle
from tests.harness.issuer import OutsideIssuer, entry_of, id_of
from tests.harness.watching import OfficeSource, SetClock, identity

VENDOR = OutsideIssuer.new("https://vendor.example", "ES256")
OTHER = OutsideIssuer.new("https://other.example", "EdDSA", kid=b"other")


def again(house: Office) -> Office:
    """The same house, opened by another process after this one died."""
    house.close()
    return Office(house.settings, clock=house.clock)


def admit(house: Office, issuer: OutsideIssuer, **more: Any) -> KeptPolicy:
    key = parse_issuer_key(issuer.pem)
    return house.admitting.admit("operator", iss=issuer.iss, key=key, kid=issuer.kid, **more)


def retire(house: Office, issuer: OutsideIssuer) -> KeptPolicy:
    return house.admitting.retire("operator", parse_issuer_key(issuer.pem).thumbprint())


def enter(house: Office, statement: bytes) -> Registered:
    found = house.registering.register(statement, later=False)
    assert isinstance(found, Registered)
    return found


def wait(house: Office, statement: bytes) -> str:
    found = house.registering.register(statement, later=True)
    assert isinstance(found, Waiting)
    return found.id


def entry_at(house: Office, index: int) -> bytes:
    (entry,) = house.ledger.entries(index, 1)
    return entry


def check(house: Office) -> Findings:
    return fsck(
        database=house.database, objects=house.objects, trust=house.trust,
        strays_before=house.clock.now(),
    )  # fmt: skip


def names(house: Office) -> list[str]:
    return sorted({fault.name for fault in check(house).faults})


def sql(house: Office, statement: str, *values: object) -> None:
    with sqlite3.connect(house.settings.home / "notary.db") as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(Rejected) as caught:
        act()
    return caught.value.code


# --- policies -----------------------------------------------------------------------------------


def test_each_change_is_an_entry_that_commits_to_the_next_policy_of_one_chain(
    house: Office, clock: SetClock
) -> None:
    made = [admit(house, VENDOR)]
    clock.pass_(hours=1)
    made += [admit(house, OTHER), retire(house, VENDOR)]
    previous = None
    for serial, kept in enumerate(made, start=1):
        assert house.issuers.policy(serial) == kept
        statement = parse_statement(entry_at(house, kept.index))
        check_statement(statement, house.trust.statement_keys[0])
        assert statement.preimage_type == POLICY_TYPE
        assert statement.payload == hashlib.sha256(kept.document.encode()).digest()
        said = json.loads(kept.document)
        assert (said["serial"], said["previous"]) == (serial, previous)
        previous = statement.payload.hex()
    assert house.issuers.policies() == tuple(made)
    assert house.issuers.newest() == made[-1].policy


def test_who_admitted_and_retired_is_an_event_beside_the_policy(house: Office) -> None:
    kept = admit(house, VENDOR)
    gone = retire(house, VENDOR)
    admitted, retired = house.register.events()[-2:]
    assert (admitted.kind, admitted.index) == (EventKind.ISSUER_ADMITTED, kept.index + 1)
    assert (retired.kind, retired.index) == (EventKind.ISSUER_RETIRED, gone.index + 1)
    assert admitted.actor == "operator"
    assert VENDOR.iss in (admitted.subject or "")


def test_a_change_that_is_refused_leaves_nothing(house: Office) -> None:
    admit(house, VENDOR)
    size = house.ledger.head().size
    with pytest.raises(Conflict):
        admit(house, VENDOR)
    with pytest.raises(NotFound):
        retire(house, OTHER)
    assert house.ledger.head().size == size
    assert len(house.issuers.policies()) == 1


def test_the_house_s_own_keys_and_name_are_not_admitted(house: Office) -> None:
    for key in (house.keys.log, house.keys.statement, house.keys.certificate):
        assert isinstance(key, Ed25519PrivateKey)
        own = OutsideIssuer(iss="https://x.example", alg="EdDSA", private=key, kid=b"k")
        with pytest.raises(MalformedInput):
            admit(house, own)
    with pytest.raises(MalformedInput):
        admit(house, OutsideIssuer.new(f"https://{house.house.origin}"))
    with pytest.raises(MalformedInput):
        admit(house, VENDOR, start=house.clock.now(), end=house.clock.now())
    with pytest.raises(MalformedInput):
        admit(house, OutsideIssuer.new("https://x.example", kid=bytes(65)))


def test_many_changes_at_once_make_one_chain(house: Office) -> None:
    issuers = [OutsideIssuer.new(f"https://v{n}.example", "EdDSA") for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda each: admit(house, each), issuers))
    assert sorted(kept.policy.serial for kept in made) == list(range(1, 13))
    newest = house.issuers.newest()
    assert newest is not None
    assert {key.iss for key in newest.keys} == {issuer.iss for issuer in issuers}
    assert check(house).faults == []


# --- registration -------------------------------------------------------------------------------


def test_without_an_admitted_issuer_everything_is_refused(house: Office) -> None:
    size = house.ledger.head().size
    assert refusal(lambda: enter(house, VENDOR.statement())) == "issuer_not_admitted"
    assert refusal(lambda: wait(house, VENDOR.statement())) == "issuer_not_admitted"
    assert house.ledger.head().size == size


def test_the_entry_is_the_statement_without_its_unprotected_header(house: Office) -> None:
    admit(house, VENDOR)
    data = VENDOR.statement(unprotected={394: [b"another log's receipt"]})
    found = enter(house, data)
    assert entry_at(house, found.index) == entry_of(data) != data
    merkle.check_inclusion(
        index=found.index, size=found.head.size, leaf=merkle.leaf_hash(entry_of(data)),
        proof=found.path, root=found.head.root,
    )  # fmt: skip


def test_a_statement_is_entered_once_and_its_proof_grows(house: Office) -> None:
    admit(house, VENDOR)
    data = VENDOR.statement()
    first = enter(house, data)
    enter(house, VENDOR.statement(b"another"))
    second = enter(house, data)
    assert second.index == first.index
    assert second.head.size == first.head.size + 1
    assert house.issuers.counts() == (2, 0)


def test_many_at_once_get_one_index(house: Office) -> None:
    admit(house, VENDOR)
    beside = Office(house.settings, clock=house.clock)
    data = VENDOR.statement()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: enter((house, beside)[n % 2], data), range(32)))
    assert len({each.index for each in found}) == 1
    assert house.issuers.counts() == (1, 0)
    assert check(house).faults == []


def test_the_policy_that_counts_is_the_one_under_the_lock(
    house: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = admit(house, VENDOR)
    other = Office(house.settings, clock=house.clock)
    retire(other, VENDOR)
    # The door still believes in the first policy.
    monkeypatch.setattr(house.issuers, "newest", lambda: kept.policy)
    assert refusal(lambda: enter(house, VENDOR.statement())) == "issuer_key_not_in_force"


def test_a_kid_that_names_another_key_under_the_lock_has_its_signature_checked_again(
    house: Office, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = admit(house, VENDOR)
    retire(house, VENDOR)
    clock.pass_(seconds=1)
    admit(house, OutsideIssuer.new(VENDOR.iss, "ES256", kid=VENDOR.kid))
    monkeypatch.setattr(house.issuers, "newest", lambda: kept.policy)
    assert refusal(lambda: enter(house, VENDOR.statement())) == "issuer_signature_invalid"


def test_a_key_opens_and_ends_at_its_times(house: Office, clock: SetClock) -> None:
    now = clock.now()
    clock.pass_(hours=1)
    opens = clock.now()
    clock.pass_(hours=1)
    ends = clock.now()
    clock.moment = now
    admit(house, VENDOR, start=opens, end=ends)
    assert refusal(lambda: enter(house, VENDOR.statement(b"1"))) == "issuer_key_not_in_force"
    clock.pass_(hours=1)
    enter(house, VENDOR.statement(b"2"))
    clock.pass_(hours=1)
    assert refusal(lambda: enter(house, VENDOR.statement(b"3"))) == "issuer_key_not_in_force"
    assert check(house).faults == []


def test_what_a_retired_key_registered_stays(house: Office, clock: SetClock) -> None:
    admit(house, VENDOR)
    data = VENDOR.statement()
    found = enter(house, data)
    clock.pass_(hours=1)
    retire(house, VENDOR)
    resolved = house.registering.resolve(id_of(data))
    assert isinstance(resolved, Registered)
    assert resolved.index == found.index
    assert enter(house, data).index == found.index
    assert refusal(lambda: enter(house, VENDOR.statement(b"new"))) == "issuer_key_not_in_force"
    assert check(house).faults == []


# --- waiting ------------------------------------------------------------------------------------


def test_what_waits_is_registered_once_by_the_worker(house: Office) -> None:
    admit(house, VENDOR)
    datas = [VENDOR.statement(b"%d" % n) for n in range(5)]
    for data in datas + datas:
        wait(house, data)
    assert house.issuers.counts() == (0, 5)
    assert house.registering.is_due()
    assert house.registering.resolve(id_of(datas[0])) == Waiting(id=id_of(datas[0]))
    assert house.registering.run() == 5
    assert not house.registering.is_due()
    found = [house.registering.resolve(id_of(data)) for data in datas]
    assert len({each.index for each in found if isinstance(each, Registered)}) == 5
    assert house.issuers.counts() == (5, 0)
    assert check(house).faults == []


def test_a_restart_between_taking_and_registering_loses_nothing(house: Office) -> None:
    admit(house, VENDOR)
    data = VENDOR.statement()
    id_ = wait(house, data)
    house = again(house)
    assert isinstance(house.registering.resolve(id_), Waiting)
    house.registering.run()
    house = again(house)
    assert isinstance(house.registering.resolve(id_), Registered)
    assert house.registering.run() == 0


def test_a_worker_that_dies_in_its_transaction_leaves_all_waiting(
    house: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(house, VENDOR)
    ids = [wait(house, VENDOR.statement(b"%d" % n)) for n in range(3)]
    size = house.ledger.head().size

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Growing, "seal", die)
        with pytest.raises(Died):
            house.registering.run()
    house = again(house)
    assert house.ledger.head().size == size
    assert all(isinstance(house.registering.resolve(id_), Waiting) for id_ in ids)
    assert house.registering.run() == 3
    assert check(house).faults == []


def test_two_workers_register_each_statement_once(house: Office) -> None:
    admit(house, VENDOR)
    beside = Office(house.settings, clock=house.clock)
    for n in range(40):
        wait(house, VENDOR.statement(b"%d" % n))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: each.registering.run(), (house, beside)))
    assert house.issuers.counts() == (40, 0)
    assert check(house).faults == []


def test_what_waits_and_is_then_registered_at_once_waits_no_more(house: Office) -> None:
    admit(house, VENDOR)
    data = VENDOR.statement()
    wait(house, data)
    found = enter(house, data)
    assert house.issuers.counts() == (1, 0)
    assert house.registering.run() == 0
    again_ = house.registering.register(data, later=True)
    assert isinstance(again_, Registered)
    assert (again_.index, house.issuers.counts()) == (found.index, (1, 0))


def test_what_was_taken_and_is_then_not_admitted_is_told_why(
    house: Office, clock: SetClock
) -> None:
    admit(house, VENDOR)
    admit(house, OTHER)
    refused, good = VENDOR.statement(), OTHER.statement()
    wait(house, refused)
    wait(house, good)
    retire(house, VENDOR)
    house.registering.run()
    assert refusal(lambda: house.registering.resolve(id_of(refused))) == "issuer_key_not_in_force"
    assert isinstance(house.registering.resolve(id_of(good)), Registered)
    assert not house.registering.is_due()
    admit(house, VENDOR)
    wait(house, refused)  # admitted again: it waits anew
    assert isinstance(house.registering.resolve(id_of(refused)), Waiting)
    retire(house, VENDOR)
    house.registering.run()
    clock.pass_(days=2)
    house.registering.run()
    with pytest.raises(NotFound):
        house.registering.resolve(id_of(refused))


def test_more_than_the_worker_can_hold_is_turned_away(
    house: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(house, VENDOR)
    monkeypatch.setattr(registering, "MOST_WAITING", 2)
    for n in range(2):
        wait(house, VENDOR.statement(b"%d" % n))
    with pytest.raises(Pushback):
        wait(house, VENDOR.statement(b"2"))
    house.registering.run()
    wait(house, VENDOR.statement(b"2"))


def test_where_the_ledger_s_queue_is_full_a_statement_waits(
    house: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(house, VENDOR)
    data = VENDOR.statement()
    with monkeypatch.context() as patched:
        patched.setattr(sequencer, "MAX_WAITING", 0)
        assert house.registering.register(data, later=False) == Waiting(id=id_of(data))
    house.registering.run()
    assert isinstance(house.registering.resolve(id_of(data)), Registered)


@pytest.mark.parametrize("id_", ["", "0", "x" * 64, "A" * 64, "0" * 63, "0" * 65, "é" * 64])
def test_a_locator_has_one_form(house: Office, id_: str) -> None:
    with pytest.raises(MalformedInput):
        house.registering.resolve(id_)


def test_entries_of_the_house_are_not_found_here(house: Office) -> None:
    kept = admit(house, VENDOR)
    for index in range(kept.index + 2):
        id_ = hashlib.sha256(entry_at(house, index)).hexdigest()
        with pytest.raises(NotFound):
            house.registering.resolve(id_)


def test_while_writing_is_stopped_nothing_is_taken(house: Office) -> None:
    admit(house, VENDOR)
    data = VENDOR.statement()
    enter(house, data)
    (house.settings.home / "halted.json").write_text("{}")
    for act in (enter, wait):
        with pytest.raises(IntegrityError):
            act(house, VENDOR.statement(b"2"))
    with pytest.raises(IntegrityError):
        retire(house, VENDOR)
    assert isinstance(house.registering.resolve(id_of(data)), Registered)  # reading goes on


def test_while_the_clock_is_behind_nothing_is_registered_and_what_waits_goes_on_waiting(
    house: Office, clock: SetClock
) -> None:
    admit(house, VENDOR, start=clock.now())
    id_ = wait(house, VENDOR.statement())
    clock.pass_(seconds=-10)
    with pytest.raises(Unreachable) as caught:
        house.registering.run()
    assert caught.value.code == "clock_behind"
    assert isinstance(house.registering.resolve(id_), Waiting)
    clock.pass_(seconds=10)
    house.registering.run()
    assert isinstance(house.registering.resolve(id_), Registered)


# --- seen from outside, and by fsck -------------------------------------------------------------


def test_a_monitor_follows_a_log_with_outside_entries(
    house: Office, tmp_path: Path, clock: SetClock
) -> None:
    admit(house, VENDOR)
    for n in range(300):
        wait(house, VENDOR.statement(bytes(n)))
    house.registering.run()
    enter(house, VENDOR.statement(bytes(65_000)))
    monitor = Monitor(
        source=OfficeSource(house), identity=identity(house), state=tmp_path / "place", clock=clock,
        max_age_s=1800, entries=True,
    )  # fmt: skip
    monitor.look()
    assert check(house).faults == []


@pytest.fixture
def filled(house: Office, clock: SetClock) -> Office:
    """Policies at 1 and 3, statements at 5 (under the second) and 8 (after VENDOR retired)."""
    admit(house, VENDOR)
    admit(house, OTHER)
    enter(house, VENDOR.statement())
    clock.pass_(hours=1)
    retire(house, VENDOR)
    enter(house, OTHER.statement())
    assert check(house).faults == []
    return house


def test_fsck_counts_policies_and_statements(filled: Office) -> None:
    found = check(filled)
    assert (found.policies, found.statements) == (3, 2)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE signed_statement SET iss = 'https://x.example' WHERE idx = 5",
         ["signed statement 5"]),
        ("UPDATE signed_statement SET kid = '00' WHERE idx = 5", ["signed statement 5"]),
        (f"UPDATE signed_statement SET id = '{'0' * 64}' WHERE idx = 5", ["signed statement 5"]),
        ("UPDATE signed_statement SET registered_at = '2026-11-24T11:00:00.000000Z' WHERE idx = 5",
         ["signed statement 5"]),
        ("UPDATE signed_statement SET registered_at = 'noon' WHERE idx = 5",
         ["signed statement 5"]),
        ("DELETE FROM signed_statement WHERE idx = 5", ["entry 5"]),
        ("UPDATE signed_statement SET idx = 99 WHERE idx = 5", ["entry 5", "signed statement 99"]),
        ("UPDATE signed_statement SET idx = 2 WHERE idx = 5", ["entry 2", "entry 5"]),
        ("DELETE FROM registration_policy WHERE serial = 3", ["entry 6"]),
        ("DELETE FROM registration_policy WHERE serial = 2",
         ["entry 3", "policy 3"]),
        ("UPDATE registration_policy SET document = replace(document, 'vendor', 'wendor') "
         "WHERE serial = 2", ["policy 2", "policy 3", "signed statement 5"]),
        ("UPDATE registration_policy SET document = '{}' WHERE serial = 3", ["policy 3"]),
        ("UPDATE registration_policy SET idx = 77 WHERE serial = 3", ["entry 6", "policy 77"]),
    ],
)  # fmt: skip
def test_fsck_names_what_was_changed_by_hand(filled: Office, damage: str, named: list[str]) -> None:
    sql(filled, damage)
    found = names(filled)
    # Whatever hangs on the damage may be named too; the damage itself must be.
    assert set(named) <= set(found), found


def test_fsck_of_a_house_that_grows_meanwhile_names_nothing(filled: Office) -> None:
    def grow(what: str, done: int, _of: int) -> None:
        admit(filled, OutsideIssuer.new(f"urn:{what}:{done}", "EdDSA"))
        enter(filled, OTHER.statement(f"{what} {done}".encode()))

    found = fsck(
        database=filled.database, objects=filled.objects, trust=filled.trust,
        strays_before=filled.clock.now(), progress=grow,
    )  # fmt: skip
    assert found.faults == []


def test_fsck_names_an_entry_that_its_policy_does_not_admit(filled: Office) -> None:
    # As one who can write the database might slip it in, with every hash and head made to fit.
    sign, _ = head_signer(filled.house.origin, filled.keys)
    entry = VENDOR.statement(b"after it was retired")
    with filled.database.writing() as connection:
        head = read_head(connection, lock=True)
        growing = Growing(connection, head, {})
        registering._enter(connection, growing, parse_signed_statement(entry), filled.clock.now())
        growing.seal(filled.clock.now(), sign)
    (fault,) = check(filled).faults
    assert fault.name == f"signed statement {head.size}"
    assert "issuer_key_not_in_force" in fault.detail


def test_fsck_names_an_entry_that_kept_its_unprotected_header(filled: Office) -> None:
    sign, _ = head_signer(filled.house.origin, filled.keys)
    body = cbor2.loads(OTHER.statement(b"x")).value
    entry = cbor2.dumps(cbor2.CBORTag(18, [body[0], {99: 1}, body[2], body[3]]))
    statement = parse_signed_statement(entry)
    with filled.database.writing() as connection:
        head = read_head(connection, lock=True)
        growing = Growing(connection, head, {})
        growing.append([entry])
        growing.insert(
            INSERT_STATEMENT,
            {"idx": head.size, "id": statement.id(), "iss": OTHER.iss, "kid": OTHER.kid.hex(),
             "registered_at": rfc3339(filled.clock.now())},
        )  # fmt: skip
        growing.seal(filled.clock.now(), sign)
    assert names(filled) == [f"signed statement {head.size}"]
