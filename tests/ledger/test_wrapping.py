"""Wrapping keys in a PKCS#11 token and in AWS KMS (a stand-in's) as in files; and data keys brought
from one to another while the house serves."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import Attribute, PKCS11Error

from notary import hsm, kms
from notary import wrapping as wrapping_room
from notary.envelope import CHUNK, MAGIC
from notary.errors import Corrupt, KeyMissing, MalformedInput, NotaryError, Unreachable
from notary.fsck import fsck
from notary.keyplace import TokenPlace, parse_key_place
from notary.model import Declared, Deposit, Principal, Role
from notary.office import Office, found
from notary.originals import object_key
from notary.rebuild import rebuild
from notary.rewrapping import Rewrapped, rewrap
from notary.settings import Settings
from storage.errors import StorageError
from tests.harness.disposing import clerks, dispose
from tests.harness.kms import ENVIRONMENT, StandIn, running_kms
from tests.harness.restoring import lose_database
from tests.harness.server import Service
from tests.harness.softhsm import SoftHsm, SoftToken

BY = Principal(account_id="0" * 36, name="clerk", role=Role.CLERK, authenticated_by="password")
DATA = os.urandom(CHUNK + 11)
OTHERS = ("token", "kms")


@pytest.fixture(scope="module")
def soft_hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    return SoftHsm(tmp_path_factory.mktemp("softhsm") / "hsm")


@pytest.fixture
def token(soft_hsm: SoftHsm) -> SoftToken:
    return soft_hsm.token(f"court-{secrets.token_hex(4)}")


def place_of(token: SoftToken) -> TokenPlace:
    place = parse_key_place(token.uri)
    assert isinstance(place, TokenPlace)
    return place


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


def uri_of(which: str, request: pytest.FixtureRequest) -> str:
    if which == "file":
        return "file:"
    made = request.getfixturevalue("token" if which == "token" else "stand_in")
    uri: str = made.uri if which == "token" else made.uri()
    return uri


@pytest.fixture(params=OTHERS)
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
    """Whose wrapping key is in a token or in KMS, and whose other keys are files."""
    settings = Settings(home=tmp_path / "house", encryption=uri_of(request.param, request))
    found(settings)
    office = Office(settings)
    yield office
    office.close()


def deposit(house: Office, data: bytes = DATA) -> Deposit:
    declared = Declared(name="a.bin")
    with house.intake.receive(house.intake.admit(BY, declared)) as reception:
        reception.write(data)
        return reception.register(declared).deposit


def read(house: Office, which: Deposit) -> bytes:
    which = house.register.deposit(which.id)
    return b"".join(house.originals.open(which.id, data_key=which.data_key, size=which.size))


def faults(house: Office) -> list[str]:
    findings = fsck(
        database=house.database, objects=house.objects, wrapping=house.wrapping,
        trust=house.trust, strays_before=house.clock.now() - timedelta(hours=1),
    )  # fmt: skip
    return [fault.name for fault in findings.faults]


def id_of(house: Office, which: Deposit) -> bytes:
    key = house.register.deposit(which.id).data_key
    assert key is not None
    return key[:8]


def again(house: Office, **changed: Any) -> Office:
    return Office(replace(house.settings, **changed))


def sql(house: Office, statement: str, *values: object) -> None:
    with sqlite3.connect(house.settings.home / "notary.db") as connection:
        connection.execute(statement, values)
    connection.close()


# --- one place ----------------------------------------------------------------------------------


def test_originals_are_encrypted_and_no_wrapping_key_is_in_the_home(house: Office) -> None:
    house.examine()
    made = deposit(house)
    path = house.settings.home / "objects" / object_key(made.id)
    assert path.read_bytes().startswith(MAGIC)
    assert list((house.settings.home / "keys").glob("wrapping-*")) == []
    assert read(house, made) == read(again(house), made) == DATA
    assert faults(house) == []


def test_a_wrapped_key_that_was_moved_to_another_deposit_is_refused(house: Office) -> None:
    first, second = deposit(house), deposit(house)
    sql(house, "UPDATE deposit SET data_key = ? WHERE id = ?", second.data_key, first.id)
    with pytest.raises(Corrupt, match="not wrapped for this deposit"):
        read(house, first)
    assert read(house, second) == DATA


def test_no_byte_of_a_wrapped_key_may_be_another(house: Office) -> None:
    made = deposit(house)
    assert made.data_key is not None
    for at in range(len(made.data_key)):
        bent = bytearray(made.data_key)
        bent[at] ^= 1
        with pytest.raises((Corrupt, KeyMissing)):
            house.wrapping.unwrap(bytes(bent), made.id)
    for cut in (made.data_key[:-1], made.data_key[:20], b"", made.data_key + b"x"):
        with pytest.raises((Corrupt, KeyMissing)):
            house.wrapping.unwrap(cut, made.id)
    assert read(house, made) == DATA


def test_a_newer_key_wraps_what_comes_and_the_older_still_opens_its_own(
    house: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = deposit(house)
    house.wrapping.make(house.clock.now() + timedelta(days=1))
    new = deposit(house)
    assert id_of(house, old) != id_of(house, new)
    assert read(again(house), old) == read(again(house), new) == DATA


def test_another_process_sees_a_newer_key_after_a_moment(
    house: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = again(house)
    old = deposit(other)
    house.wrapping.make(house.clock.now() + timedelta(days=1))
    assert id_of(house, deposit(other)) == id_of(house, old)
    monkeypatch.setattr(wrapping_room, "LOOK_AGAIN_S", 0.0)
    other.wrapping._known = None
    assert id_of(house, deposit(other)) != id_of(house, old)


def test_a_place_that_unwraps_otherwise_than_it_wrapped_takes_no_original(
    house: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = house.ledger.head().size
    for room in (hsm, kms):
        monkeypatch.setattr(room, "unwrap", lambda *_: bytes(32))
    with pytest.raises(KeyMissing, match="what it has just wrapped"):
        deposit(house)
    for room in (hsm, kms):
        monkeypatch.setattr(room, "unwrap", lambda *_: None)
    with pytest.raises(KeyMissing, match="what it has just wrapped"):
        deposit(house)
    assert house.ledger.head().size == size


def test_the_key_never_leaves_the_token(tmp_path: Path, token: SoftToken) -> None:
    settings = Settings(home=tmp_path / "house", encryption=token.uri)
    found(settings)
    place = place_of(token)
    (label,) = hsm.wrapping_labels(place)
    key = hsm._library(place.module_path).wrapping_key(place, bytes.fromhex(label[-16:]))
    assert (key[Attribute.EXTRACTABLE], key[Attribute.SENSITIVE]) == (False, True)
    with pytest.raises(PKCS11Error):
        key[Attribute.VALUE]


def test_a_token_that_is_away_answers_unreachable_and_nothing_is_lost(
    tmp_path: Path, token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hsm, "SILENCE_S", 0.0)
    settings = Settings(home=tmp_path / "house", encryption=token.uri)
    found(settings)
    house = Office(settings)
    made = deposit(house)
    token.take_away()
    hsm._library(place_of(token).module_path).forget()
    try:
        with pytest.raises(Unreachable) as refused:
            read(house, made)
        assert refused.value.code == "keys_unreachable"
        with pytest.raises(Unreachable):
            deposit(house)
    finally:
        token.bring_back()
    assert read(house, made) == read(house, deposit(house)) == DATA


def test_kms_away_answers_unreachable_and_a_disabled_key_says_who_must_act(
    tmp_path: Path, stand_in: StandIn
) -> None:
    settings = Settings(home=tmp_path / "house", encryption=stand_in.uri())
    found(settings)
    house = Office(settings)
    made = deposit(house)
    stand_in.broken = 10_000
    with pytest.raises(Unreachable) as refused:
        read(house, made)
    assert refused.value.code == "keys_unreachable"
    stand_in.broken = 0
    (key,) = [key for key in stand_in.keys.values() if key.secret is not None]
    for state, said in (("Disabled", "DisabledException"), ("PendingDeletion", "pending deletion")):
        key.state = state
        with pytest.raises(KeyMissing, match=said):
            read(house, made)
        with pytest.raises(KeyMissing, match=said):
            house.examine()
    key.state = "Enabled"
    assert read(house, made) == DATA


def test_a_house_without_the_place_that_wrapped_names_the_key(house: Office) -> None:
    made = deposit(house)
    with pytest.raises(KeyMissing, match="NOTARY_ENCRYPTION"):
        read(again(house, encryption=""), made)


def test_turned_off_the_place_still_opens_what_it_wrapped(house: Office) -> None:
    made = deposit(house)
    off = again(house, encryption=f"none {house.settings.encryption}")
    plain = deposit(off)
    assert plain.data_key is None
    assert read(off, made) == read(off, plain) == DATA


@pytest.mark.parametrize(
    "text", ["yes", "file: none", "pkcs11:token=x", "awskms:///alias/aws/x", "none nowhere:"]
)
def test_a_setting_that_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(MalformedInput, match="NOTARY_ENCRYPTION"):
        Settings.from_env({"NOTARY_ENCRYPTION": text})


# --- from one to another ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [("file", "token"), ("token", "kms"), ("kms", "file"), ("file", "kms"), ("token", "token")],
)
def test_all_data_keys_are_brought_under_a_new_key_and_the_old_one_may_go(
    tmp_path: Path, request: pytest.FixtureRequest, before: str, after: str
) -> None:
    old_uri, new_uri = uri_of(before, request), uri_of(after, request)
    settings = Settings(home=tmp_path / "house", encryption=old_uri)
    found(settings)
    house = Office(settings)
    made = [deposit(house, DATA + bytes([n])) for n in range(3)]
    moved = again(house, encryption=" ".join(dict.fromkeys((new_uri, old_uri))))
    moved.wrapping.make(house.clock.now() + timedelta(days=1))
    done = rewrap(moved.database, moved.wrapping)
    assert done == Rewrapped(done=3, already=0, failed=())
    assert rewrap(moved.database, moved.wrapping) == Rewrapped(done=0, already=3, failed=())
    moved.journal.run()
    for path in (house.settings.home / "keys").glob("wrapping-*"):
        if before == "file":
            path.unlink()
    alone = again(house, encryption=new_uri)
    for n, each in enumerate(made):
        assert id_of(house, each) != each.data_key[:8] if each.data_key else False
        assert read(alone, each) == DATA + bytes([n])
    assert faults(alone) == []
    moved.close()
    alone.close()
    lose_database(house)
    rebuild(alone.settings, mirror=None)
    back = Office(alone.settings)
    assert [read(back, each) for each in made] == [DATA + bytes([n]) for n in range(3)]


def encrypted(tmp_path: Path, count: int) -> tuple[Office, list[Deposit]]:
    """With a newer key in the folder, under which nothing is yet."""
    settings = Settings(home=tmp_path / "house", encryption="file:")
    found(settings)
    house = Office(settings)
    made = [deposit(house) for _ in range(count)]
    house.wrapping.make(house.clock.now() + timedelta(days=1))
    return house, made


def test_broken_off_it_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notary.rewrapping.CHUNK", 2)
    house, made = encrypted(tmp_path, 5)

    def killed(_so_far: Rewrapped) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rewrap(house.database, house.wrapping, progress=killed)
    assert rewrap(house.database, house.wrapping) == Rewrapped(done=3, already=2)
    assert [read(house, each) for each in made] == [DATA] * 5


def test_a_deposit_that_is_disposed_of_meanwhile_gets_no_data_key_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, (first, second) = encrypted(tmp_path, 2)
    both = clerks(house)
    wrapped = house.wrapping.rewrap

    def late(key: bytes, deposit_id: str) -> bytes | None:
        anew = wrapped(key, deposit_id)
        if deposit_id == first.id:
            dispose(house, both, house.register.deposit(first.id))
        return anew

    monkeypatch.setattr(house.wrapping, "rewrap", late)
    assert rewrap(house.database, house.wrapping).done == 1
    assert house.register.deposit(first.id).data_key is None
    assert read(house, second) == DATA
    assert faults(house) == []


def test_one_that_can_not_be_unwrapped_keeps_its_data_key_and_is_named(tmp_path: Path) -> None:
    house, (first, second) = encrypted(tmp_path, 2)
    assert second.data_key is not None
    sql(house, "UPDATE deposit SET data_key = ? WHERE id = ?", second.data_key, first.id)
    done = rewrap(house.database, house.wrapping)
    assert (done.done, [id_ for id_, _ in done.failed]) == (1, [first.id])
    assert house.register.deposit(first.id).data_key == second.data_key


def test_without_a_wrapping_key_it_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    found(Settings(home=tmp_path / "house"))
    house = Office(Settings(home=tmp_path / "house"))
    with pytest.raises(KeyMissing, match="has no wrapping key"):
        rewrap(house.database, house.wrapping)


def test_deposits_and_readers_go_on_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notary.rewrapping.CHUNK", 1)
    house, made = encrypted(tmp_path, 20)
    more: list[Deposit] = []
    wrong: list[Exception] = []

    def serve() -> None:
        other = again(house)
        try:
            for each in made:
                more.append(deposit(other))
                assert read(other, each) == DATA
        except (NotaryError, StorageError, AssertionError) as exc:
            wrong.append(exc)

    serving = threading.Thread(target=serve)
    serving.start()
    rewrap(house.database, house.wrapping)
    serving.join()
    assert wrong == []
    rewrap(house.database, house.wrapping)
    assert {id_of(house, each) for each in (*made, *more)} == {id_of(house, more[-1])}
    assert faults(house) == []


# --- as an operator types it ----------------------------------------------------------------------


def test_the_commands_make_a_key_and_bring_everything_under_it(tmp_path: Path) -> None:
    service = Service(home=tmp_path / "house", settings={"encryption": "file:"})
    service.init()
    house = Office(Settings(home=service.home, encryption="file:"))
    made = deposit(house)
    (first,) = (service.home / "keys").glob("wrapping-*")
    time.sleep(1.1)  # names have whole seconds
    second = Path(service.cli("wrapping-key").stdout.strip())
    assert second.parent == first.parent
    assert "1 data keys wrapped anew" in service.cli("rewrap", "--rate", "100").stdout
    assert "0 data keys wrapped anew, 1 were under" in service.cli("rewrap").stdout
    first.unlink()
    assert read(again(house), made) == DATA
    second.unlink()
    done = service.cli("rewrap", check=False)
    assert done.returncode == 70
    assert "has no wrapping key" in done.stderr
