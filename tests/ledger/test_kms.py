"""Keys in AWS KMS, as far as a stand-in of our own shows it: `tests.harness.kms` says how far."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from notary import kms
from notary.errors import BadRotation, KeyMissing, MalformedInput, Unreachable
from notary.fsck import fsck
from notary.keyhistory import read_history
from notary.keyplace import KmsPlace, parse_key_place
from notary.keyring import read_rotations
from notary.keys import rotated_name
from notary.keystore import KeyStore, TokenKey, pack_key, unpack_key
from notary.model import Declared, Principal
from notary.office import Office, found
from notary.reconcile import Walker
from notary.rotation import DIGESTED_ROTATION, ROTATION, Job, check_signatures, parse_rotation
from notary.settings import Settings
from tests.harness.certified import confirmed, deposit, depositor, open_house
from tests.harness.kms import ENVIRONMENT, StandIn, running_kms
from tests.harness.restoring import batch_lines
from tests.harness.server import Client, Service

NDJSON = {"Content-Type": "application/x-ndjson"}
KMS_JOBS = frozenset({Job.LOG, Job.STATEMENT})


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(kms, "SILENCE_S", 0.0)
    with running_kms() as running:
        yield running


@pytest.fixture
def house(tmp_path: Path, stand_in: StandIn) -> Iterator[Office]:
    office = open_house(tmp_path / "house", keys=(stand_in.uri(), "file:"))
    yield office
    office.close()


@pytest.fixture
def by(house: Office) -> Principal:
    return depositor(house)


def place_of(stand_in: StandIn) -> KmsPlace:
    place = parse_key_place(stand_in.uri())
    assert isinstance(place, KmsPlace)
    return place


def in_kms(house: Office) -> dict[str, bool]:
    return {name: isinstance(key, TokenKey) for name, key in house.keys.by_name().items()}


def put(house: Office, by: Principal, text: str) -> Any:
    return deposit(house, by, text.encode(), Declared(name=f"{text}.txt"))


def faults(house: Office) -> list[str]:
    return [
        f"{fault.name}: {fault.detail}"
        for fault in fsck(
            database=house.database, objects=house.objects, trust=house.trust,
            strays_before=house.clock.now(),
        ).faults
    ]  # fmt: skip


# --- they sign what fits --------------------------------------------------------------------------


def test_log_and_statement_keys_live_in_kms_and_the_others_in_files(
    house: Office, by: Principal, stand_in: StandIn
) -> None:
    assert in_kms(house) == {
        "log-ed25519": True, "log-mldsa44": False, "statement": True, "certificate": False,
    }  # fmt: skip
    receipt = put(house, by, "a")
    house.batches.receive(
        batch_lines(40), by=by, key=None, atomic=False, check_end=lambda _said, _rows: None
    )
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    house.journal.run()
    confirmed(house, by, receipt, "a")
    assert faults(house) == []
    assert 100 < stand_in.longest <= kms.MAX_MESSAGE
    assert sorted(key.description for key in stand_in.keys.values()) == [
        "evidence notary: log-ed25519 of alias/court", "evidence notary: statement of alias/court",
    ]  # fmt: skip


def test_a_house_whose_only_place_is_kms_is_refused_before_anything_is_made(
    tmp_path: Path, stand_in: StandIn
) -> None:
    with pytest.raises(MalformedInput, match=r"4096 bytes, and a certificate has more") as refused:
        found(Settings(home=tmp_path / "house", keys=(stand_in.uri(),)))
    assert refused.value.code == "key_message_too_long"
    assert stand_in.keys == {}
    assert not (tmp_path / "house" / "keys").exists()


def test_a_message_that_does_not_fit_is_refused_here(house: Office, stand_in: StandIn) -> None:
    before = stand_in.counts["Sign"]
    house.keys.statement.sign(bytes(kms.MAX_MESSAGE))
    with pytest.raises(MalformedInput) as refused:
        house.keys.statement.sign(bytes(kms.MAX_MESSAGE + 1))
    assert refused.value.code == "key_message_too_long"
    assert stand_in.counts["Sign"] == before + 1


# --- rotation -------------------------------------------------------------------------------------


def test_keys_move_into_kms_and_out_of_it_again(tmp_path: Path, stand_in: StandIn) -> None:
    house = open_house(tmp_path / "house", keys=("file:", stand_in.uri()))
    by = depositor(house)
    first = put(house, by, "in files")
    with pytest.raises(MalformedInput) as refused:
        house.rotating.rotate(frozenset(Job), to=place_of(stand_in))
    assert refused.value.code == "key_message_too_long"
    assert "--log --statement" in str(refused.value)
    assert stand_in.keys == {}
    house.rotating.rotate(KMS_JOBS, to=place_of(stand_in), reason="由文件移入" * 100)
    assert in_kms(house)["log-ed25519"] and in_kms(house)["statement"]
    second = put(house, by, "in kms")
    rotated = house.rotating.rotate(KMS_JOBS, to=parse_key_place("file:"))
    assert not any(in_kms(house).values())
    assert len(rotated.removed) == 3
    assert {key.state for key in stand_in.keys.values()} == {"PendingDeletion"}
    assert stand_in.aliases == {}
    third = put(house, by, "in files again")
    for receipt, text in ((first, "in files"), (second, "in kms"), (third, "in files again")):
        confirmed(house, by, receipt, text)
    assert faults(house) == []
    house.close()


def test_a_document_too_long_for_a_signer_is_signed_by_its_digest_and_no_other(
    house: Office, tmp_path: Path
) -> None:
    """A rotation of the log's keys has 4,165 bytes and more: two ML-DSA-44 keys are in it."""
    house.rotating.rotate(frozenset({Job.STATEMENT}))
    house.rotating.rotate(frozenset({Job.LOG}), reason="r" * 900)
    assert [each.type for each in house.keyring.history().rotations] == [
        ROTATION, DIGESTED_ROTATION,
    ]  # fmt: skip
    for each in house.keyring.history().registered:
        assert parse_rotation(each.document).encode() == each.document
    plain = open_house(tmp_path / "plain")
    plain.rotating.rotate(frozenset(Job))
    assert [each.type for each in plain.keyring.history().rotations] == [ROTATION]
    plain.close()


def test_a_digested_document_that_was_changed_is_refused(house: Office) -> None:
    house.rotating.rotate(frozenset({Job.LOG}), reason="r" * 900)
    rotation = house.keyring.history().rotations[-1]
    assert rotation.digested
    check_signatures(rotation)
    for other in (
        replace(rotation, reason="other"), replace(rotation, digested=False),
        replace(rotation, serial=9),
    ):  # fmt: skip
        with pytest.raises(BadRotation) as refused:
            check_signatures(other)
        assert refused.value.code == "rotation_signature_invalid"


def test_another_process_finds_the_keys_by_their_aliases(
    house: Office, by: Principal, stand_in: StandIn
) -> None:
    put(house, by, "a")
    kms._ids.clear()
    kms._clients.clear()
    again = Office(house.settings)
    put(again, by, "b")
    assert stand_in.counts["ListAliases"] > 0
    again.close()


def test_a_key_goes_into_another_process_as_its_place(house: Office) -> None:
    key = house.keys.statement
    other = unpack_key(pack_key(key))
    assert other == key
    assert b"SECRET" not in repr(pack_key(key)).encode()


def test_what_a_killed_rotation_left_in_kms_is_named(house: Office, stand_in: StandIn) -> None:
    public = kms.create(place_of(stand_in), lambda raw: rotated_name("statement", raw))
    (stray,) = [each.remnant.name for each in _reconciled(house)]
    assert stray == f"statement-{hashlib.sha256(public).hexdigest()[:16]} in awskms:///alias/court"


def _reconciled(house: Office) -> Any:
    house.reconciling.run(Walker())
    return house.reconciling.remains.findings()


# --- it does not answer, or wrongly ---------------------------------------------------------------


def test_throttling_is_waited_for_within_bounds(
    house: Office, by: Principal, stand_in: StandIn
) -> None:
    stand_in.throttled = 2
    put(house, by, "a")
    assert stand_in.throttled == 0
    stand_in.throttled = 10_000
    with pytest.raises(Unreachable) as refused:
        put(house, by, "b")
    assert refused.value.code == "keys_unreachable"
    assert 10_000 - stand_in.throttled <= kms.ATTEMPTS
    stand_in.throttled = 0
    put(house, by, "c")
    assert faults(house)[1:] == []  # the original of the refused one waits for the next pass


def test_a_server_that_is_silent_is_given_up_and_the_house_goes_on_by_itself(
    house: Office, by: Principal, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kms, "READ_S", 0.2)
    kms._clients.clear()
    stand_in.silent = 1.0
    with pytest.raises(Unreachable) as refused:
        put(house, by, "a")
    assert refused.value.code == "keys_unreachable"
    stand_in.silent = 0.0
    put(house, by, "b")


def test_those_who_come_right_after_a_failure_are_told_at_once(
    house: Office, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kms, "SILENCE_S", 60.0)
    stand_in.broken = 10_000
    with pytest.raises(Unreachable):
        house.keys.statement.sign(b"1")
    asked = stand_in.counts["Sign"]
    with pytest.raises(Unreachable, match="did not answer just now"):
        house.keys.statement.sign(b"2")
    assert stand_in.counts["Sign"] == asked
    stand_in.broken = 0
    kms._silent_until.clear()
    house.keys.statement.sign(b"3")


def test_an_alias_that_was_turned_to_another_key_signs_nothing(
    house: Office, by: Principal, stand_in: StandIn
) -> None:
    size = house.ledger.head().size
    log, statement = sorted(stand_in.aliases)
    stand_in.aliases[statement] = stand_in.aliases[log]
    kms._ids.clear()
    with pytest.raises(KeyMissing, match="with another key than the one that was registered"):
        put(house, by, "a")
    assert house.ledger.head().size == size


@pytest.mark.parametrize("what", ["denied", "disabled", "deleted", "no credentials"])
def test_a_key_that_may_not_be_used_is_missing_and_the_words_say_why(
    house: Office, stand_in: StandIn, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = house.keys.statement
    said = {
        "denied": "AccessDenied", "disabled": "DisabledException", "deleted": "pending deletion",
        "no credentials": "must set AWS_ACCESS_KEY_ID",
    }[what]  # fmt: skip
    if what == "denied":
        stand_in.denied = True
    elif what == "no credentials":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        kms._clients.clear()
    else:
        for each in stand_in.keys.values():
            each.state = "Disabled" if what == "disabled" else "PendingDeletion"
    with pytest.raises(KeyMissing, match=said):
        key.sign(b"x")


@pytest.mark.slow
def test_a_served_house_answers_503_while_kms_is_away_and_goes_on_after(
    tmp_path: Path, stand_in: StandIn
) -> None:
    service = Service(
        home=tmp_path / "house",
        settings={"keys": f"{stand_in.uri()} file:", "timestamp_interval": "0.2"},
    )
    service.init()
    service.start()
    try:
        agency = Client(service.base, service.key("agency"))
        assert agency.post("/v1/deposits", data=b"one").status_code == 201
        rows = b"".join(
            json.dumps({"digests": {"sha-256": f"{n:064x}"}, "size": 1}).encode() + b"\n"
            for n in range(600)
        )
        assert agency.post("/v1/batches", data=rows, headers=NDJSON).status_code == 201
        stand_in.broken = 10_000
        answer = agency.post("/v1/deposits", data=b"two")
        assert (answer.status_code, answer.json()["code"]) == (503, "keys_unreachable")
        assert agency.get("/v1/deposits").status_code == 200
        stand_in.broken = 0
        until = time.monotonic() + 30
        while (answer := agency.post("/v1/deposits", data=b"two")).status_code != 201:
            assert time.monotonic() < until, answer.text
            time.sleep(0.2)
    finally:
        service.stop()


# --- the place ------------------------------------------------------------------------------------


def test_keys_of_a_place_are_those_behind_its_alias(stand_in: StandIn) -> None:
    names = ("court", "court2", "court/chamber")
    for name in names:
        place = parse_key_place(stand_in.uri(name))
        assert isinstance(place, KmsPlace)
        kms.create(place, lambda raw: rotated_name("statement", raw))
    assert len(kms.labels(place_of(stand_in))) == 2  # its own and, below it, the chamber's
    store = KeyStore(Path("/nowhere"), (place_of(stand_in),))
    assert len(store.strays(())) == 1


def test_a_history_with_both_forms_is_read_from_the_rows(house: Office) -> None:
    house.rotating.rotate(KMS_JOBS)
    house.rotating.rotate(frozenset({Job.CERTIFICATE}))
    with house.database.reading() as connection:
        history = read_history(house.house.genesis, read_rotations(connection))
    assert [each.digested for each in history.rotations] == [True, False]
