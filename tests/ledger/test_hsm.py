"""Keys in a token of a real PKCS#11 module: they sign everything, and never leave it."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certs.certificate import parse_certificate
from notary import keys, keystore
from notary.cli.verify import main as verify_main
from notary.errors import (
    Corrupt,
    IntegrityError,
    KeyMissing,
    MalformedInput,
    NotaryError,
    Unreachable,
)
from notary.fsck import fsck
from notary.halt import FILE as HALTED
from notary.keyplace import FolderPlace, TokenPlace, parse_key_place
from notary.keystore import KeyStore, TokenKey
from notary.model import Declared, Principal
from notary.office import Office
from notary.receipt import check_receipt, parse_receipt, sign_inclusion
from notary.rotation import Job
from notary.settings import Settings
from notary.statement import check_statement, parse_statement
from notary.tlog.note import open_note, parse_note
from tests.harness.certified import confirmed, deposit, depositor, open_house
from tests.harness.judges import Ask, b64
from tests.harness.rotating import EVERY
from tests.harness.server import REPOSITORY
from tests.harness.softhsm import SoftHsm, SoftToken
from tests.harness.watching import Killed


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    return SoftHsm(tmp_path_factory.mktemp("softhsm") / "hsm")


@pytest.fixture
def token(hsm: SoftHsm) -> SoftToken:
    return hsm.token(f"court-{secrets.token_hex(4)}")


@pytest.fixture
def second(hsm: SoftHsm) -> SoftToken:
    return hsm.token(f"second-{secrets.token_hex(4)}")


@pytest.fixture
def house(tmp_path: Path, token: SoftToken) -> Iterator[Office]:
    office = open_house(tmp_path / "house", keys=(token.uri,))
    yield office
    office.close()


@pytest.fixture
def by(house: Office) -> Principal:
    return depositor(house)


def place_of(token: SoftToken) -> TokenPlace:
    place = parse_key_place(token.uri)
    assert isinstance(place, TokenPlace)
    return place


def put(house: Office, by: Principal, text: str) -> Any:
    return deposit(house, by, text.encode(), Declared(name=f"{text}.txt"))


def files(house: Office) -> set[str]:
    return {path.stem for path in (house.settings.home / "keys").iterdir()}


def faults(house: Office) -> list[str]:
    found = fsck(
        database=house.database, objects=house.objects, trust=house.trust,
        strays_before=house.clock.now(),
    ).faults  # fmt: skip
    return [f"{fault.name}: {fault.detail}" for fault in found]


def places(house: Office) -> tuple[type, ...]:
    """Where log, statement and certificate sign."""
    held = house.keys
    return tuple(type(key) for key in (held.log, held.statement, held.certificate))


# --- they sign everything ----------------------------------------------------------------------


def test_a_house_in_a_token_deposits_certifies_and_derives_without_a_fault(
    house: Office, by: Principal
) -> None:
    receipt = put(house, by, "a")
    (entry,) = house.ledger.entries(receipt.deposit.index, 1)
    check_statement(parse_statement(entry), house.trust.statement_keys[0])
    note = parse_note(receipt.head.checkpoint)
    assert {found.key for found in open_note(note, house.trust.log_keys)} == set(
        house.trust.log_keys
    )
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    confirmed(house, by, receipt, "a")
    house.journal.run()
    house.examine()
    assert faults(house) == []


def test_only_the_key_that_no_token_can_hold_is_a_file(house: Office) -> None:
    stems = {path.stem for path in (house.settings.home / "keys").glob("*.pem")}
    assert stems == {keys.LOG_PQ, "tsa"}
    assert places(house) == (TokenKey, TokenKey, TokenKey)


def test_the_private_half_cannot_be_read_out_of_the_token(house: Office, token: SoftToken) -> None:
    import pkcs11

    session = pkcs11.lib(str(token.module)).get_token(token_label=token.label).open()
    found = list(session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}))
    assert len(found) == 4  # the seal of papers is the fourth
    for key in found:
        assert key[pkcs11.Attribute.SENSITIVE] and not key[pkcs11.Attribute.EXTRACTABLE]
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]
    session.close()


def test_a_key_is_found_by_the_hash_of_its_public_half(house: Office, token: SoftToken) -> None:
    from notary import hsm

    public = house.trust.statement_keys[0]
    assert keys.rotated_name(keys.STATEMENT, public) in hsm.labels(place_of(token))
    assert len(hsm.labels(place_of(token))) == 4


def test_foreign_judges_accept_its_checkpoint_and_its_receipt_and_refuse_them_altered(
    house: Office, by: Principal
) -> None:
    pytest.importorskip("tlog_scales", reason="tlog-scales is not installed: it was not asked")
    pytest.importorskip("scitt_cose", reason="scitt-cose is not installed: it was not asked")
    import scitt_cose
    from cryptography.exceptions import InvalidSignature
    from tlog_scales.signing import Vkey
    from tlog_scales.tlog import Checkpoint as TheirCheckpoint

    receipt = put(house, by, "a")
    text = receipt.head.checkpoint.decode()
    for key in house.trust.log_keys:
        vkey = Vkey.from_string(key.encode())
        TheirCheckpoint.from_text(text).verify(vkey)
        with pytest.raises(InvalidSignature):
            TheirCheckpoint.from_text(text.replace("\n3\n", "\n4\n", 1)).verify(vkey)
    (entry,) = house.ledger.entries(receipt.deposit.index, 1)
    head, size, path = house.ledger.prove_inclusion(receipt.deposit.index)
    data = sign_inclusion(
        house.keys.log, issuer=house.house.origin, subject=parse_statement(entry).subject,
        size=size, index=receipt.deposit.index, path=path, root=head.root,
    )  # fmt: skip
    raw = house.keys.log.public_key()
    assert check_receipt(parse_receipt(data), entry=entry, public_key=raw.public_bytes_raw())
    pem = TokenKey(place=FOREIGN, public=raw.public_bytes_raw()).public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    for leaf, ok in ((entry, True), (entry[:-1] + bytes([entry[-1] ^ 1]), False)):
        judged = scitt_cose.verify_receipt(data, leaf_entry_hex=leaf.hex(), log_public_key_pem=pem)
        assert bool(judged.ok) is ok


def test_go_s_reference_opens_its_checkpoint(
    house: Office, by: Principal, go_judges: dict[str, Ask]
) -> None:
    note = put(house, by, "a").head.checkpoint
    vkey = house.trust.log_keys[0].encode()
    altered = note.replace(b"\n3\n", b"\n4\n", 1)
    good, bad = go_judges["sumdb"](
        [{"Kind": "checkpoint", "Vkey": vkey, "Note": b64(each)[0]} for each in (note, altered)]
    )
    assert good == ""
    assert bad != ""


FOREIGN = TokenPlace(module_path="/nowhere", pin_source="env:PIN", token="x")


def test_a_fork_signs_with_a_session_of_its_own(house: Office, by: Principal) -> None:
    put(house, by, "before")
    key = house.keys.statement
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            key.sign(b"child")
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    put(house, by, "after")


# --- rotation from place to place --------------------------------------------------------------


def test_keys_move_from_files_into_a_token_into_another_and_back(
    tmp_path: Path, token: SoftToken, second: SoftToken
) -> None:
    house = open_house(tmp_path / "house", keys=("file:", token.uri, second.uri))
    by, papers = depositor(house), []
    other = Office(house.settings)  # another process, which learns of it when it writes
    for to, expected in (
        (token, TokenKey), (second, TokenKey), (None, type(house.keys.statement)),
    ):  # fmt: skip
        papers.append((f"paper {to}", put(house, by, f"paper {to}")))
        place = FolderPlace() if to is None else place_of(to)
        rotated = house.rotating.rotate(EVERY, to=place)
        assert places(house) == (expected,) * 3
        assert rotated.strays == ()
        assert len(rotated.removed) == 4
        put(other, by, f"from the other process {to}")
    from notary import hsm

    assert hsm.labels(place_of(token)) == hsm.labels(place_of(second)) == ()
    for text, receipt in papers:
        confirmed(house, by, receipt, text)
    again = Office(replace(house.settings, keys=()))
    again.examine()
    assert faults(house) == []
    for office in (again, other, house):
        office.close()


def test_one_job_moves_alone(tmp_path: Path, token: SoftToken) -> None:
    house = open_house(tmp_path / "house", keys=("file:", token.uri))
    by = depositor(house)
    file = type(house.keys.log)
    house.rotating.rotate(frozenset([Job.CERTIFICATE]), to=place_of(token))
    assert places(house) == (file, file, TokenKey)
    confirmed(house, by, put(house, by, "a"), "a")
    house.close()


def test_keys_do_not_move_to_where_no_node_was_told_to_look(
    house: Office, second: SoftToken
) -> None:
    size = house.ledger.head().size
    with pytest.raises(MalformedInput, match="set it on every node first"):
        house.rotating.rotate(EVERY, to=place_of(second))
    assert house.ledger.head().size == size


def test_retired_keys_may_be_kept_in_the_token(house: Office, token: SoftToken) -> None:
    from notary import hsm

    house.rotating.rotate(EVERY, keep_retired=True)
    assert len(hsm.labels(place_of(token))) == 7


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_rotation_that_was_killed_leaves_keys_that_the_next_one_names(
    house: Office, by: Principal, token: SoftToken, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    from notary import hsm

    real, made = hsm.create, [0]

    def dying(place: TokenPlace, label: Callable[[bytes], str]) -> bytes:
        made[0] += 1
        if made[0] == call:
            raise Killed
        return real(place, label)

    trust = house.trust
    with monkeypatch.context() as patch:
        patch.setattr(hsm, "create", dying)
        with pytest.raises(Killed):
            house.rotating.rotate(EVERY)
    assert house.trust == trust
    put(house, by, "goes on")
    rotated = house.rotating.rotate(EVERY)
    assert len([where for where in rotated.strays if token.label in where]) == call - 1
    put(house, by, "and on")


# --- what fails --------------------------------------------------------------------------------


def test_a_token_that_is_taken_away_is_try_again_and_works_when_it_is_back(
    house: Office, by: Principal, token: SoftToken
) -> None:
    put(house, by, "before")
    head = house.ledger.head()
    token.take_away()
    for _ in range(2):
        with pytest.raises(Unreachable, match=token.label) as caught:
            put(house, by, "during")
        assert caught.value.code == "keys_unreachable"
        with pytest.raises(Unreachable):
            house.sequencer.check_writing()
        with pytest.raises(Unreachable):
            Office(house.settings)
    assert house.ledger.head() == head
    house.check_log()
    token.bring_back()
    receipt = put(house, by, "after")
    house.sequencer.check_writing()
    confirmed(house, by, receipt, "after")
    assert not (house.settings.home / HALTED).exists()


def test_a_session_that_ended_is_opened_anew(house: Office, by: Principal) -> None:
    import pkcs11

    put(house, by, "before")
    for module in pkcs11._loaded.values():
        module.reinitialize()  # as the device's driver does: every handle of ours is void
    put(house, by, "after")
    assert faults(house) == []


def test_a_wrong_pin_is_a_missing_key_is_tried_once_and_is_nowhere_said(
    house: Office, token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    from notary import hsm

    wrong = "8213-not-the-pin"
    monkeypatch.setenv("COURT_PIN", wrong)
    settings = replace(house.settings, keys=(token.reached_by("env:COURT_PIN"),))
    hsm._libraries.clear()  # as a process that has not logged in yet
    for said in ("PinIncorrect", "not tried again"):
        with pytest.raises(KeyMissing, match=said) as caught:
            Office(settings)
        assert caught.value.code == "key_missing"
        assert wrong not in "".join(traceback.format_exception(caught.value))
    monkeypatch.setenv("COURT_PIN", token.pin)
    Office(settings).close()


@pytest.mark.parametrize("mode", [0o644, 0o640, None])
def test_a_pin_file_that_others_may_read_or_that_is_not_there_is_refused(
    house: Office, token: SoftToken, mode: int | None
) -> None:
    from notary import hsm

    hsm._libraries.clear()
    if mode is None:
        token.pin_file.unlink()
    else:
        token.pin_file.chmod(mode)
    with pytest.raises(KeyMissing, match="PIN file") as caught:
        Office(house.settings)
    assert token.pin not in str(caught.value)


def test_a_node_without_access_names_what_it_lacks(house: Office) -> None:
    with pytest.raises(IntegrityError, match="this node cannot sign: no log-ed25519 key") as caught:
        Office(replace(house.settings, keys=()))
    assert caught.value.code == "key_missing"


def test_a_module_that_is_not_there_is_a_missing_key(house: Office, token: SoftToken) -> None:
    uri = token.uri.replace(str(token.module), "/nowhere/module.so")
    with pytest.raises(KeyMissing, match=r"no PKCS#11 module /nowhere/module\.so"):
        Office(replace(house.settings, keys=(uri,)))


def test_another_key_under_the_id_of_the_registered_one_signs_nothing(
    house: Office, by: Principal, token: SoftToken
) -> None:
    import pkcs11

    from notary import hsm

    place, public = place_of(token), house.trust.statement_keys[0]
    hsm.remove(place, public)
    other = hsm.create(place, lambda _public: "forged")
    session = pkcs11.lib(str(token.module)).get_token(token_label=token.label).open(rw=True)
    kind = pkcs11.ObjectClass.PRIVATE_KEY
    (forged,) = session.get_objects(
        {pkcs11.Attribute.CLASS: kind, pkcs11.Attribute.ID: hashlib.sha256(other).digest()}
    )
    forged[pkcs11.Attribute.ID] = hashlib.sha256(public).digest()
    session.close()
    head = house.ledger.head()
    with pytest.raises(KeyMissing, match="another key than the one that was registered"):
        put(house, by, "a")
    with pytest.raises(KeyMissing):
        Office(house.settings)
    assert house.ledger.head() == head
    assert not (house.settings.home / HALTED).exists()


def test_a_second_house_is_refused_before_it_makes_a_key_in_the_token(
    tmp_path: Path, token: SoftToken
) -> None:
    from notary import hsm

    store = KeyStore(tmp_path / "keys", (place_of(token),))
    store.found()
    with pytest.raises(NotaryError, match="exists already"):
        store.found()
    assert len(hsm.labels(place_of(token))) == 3


def test_a_key_that_is_in_no_place_says_all_that_were_asked(
    tmp_path: Path, token: SoftToken
) -> None:
    store = KeyStore(tmp_path, (place_of(token),))
    with pytest.raises(KeyMissing, match=rf"statement.pem.*{token.label} has no private key"):
        store.find(keys.STATEMENT, bytes(32))
    with pytest.raises(Corrupt):
        keys.file_key(tmp_path, keys.STATEMENT, bytes(32))


# --- only where it is asked for ----------------------------------------------------------------


def test_a_house_whose_keys_are_files_loads_nothing_of_it(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from notary.office import Office, found\n"
        "from notary.settings import Settings\n"
        "settings = Settings(home=pathlib.Path(sys.argv[1]))\n"
        "found(settings)\n"
        "Office(settings).examine()\n"
        "print(sorted({'pkcs11', 'notary.hsm'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "house")], cwd=REPOSITORY,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_the_offline_verifier_takes_its_certificates(
    house: Office, by: Principal, tmp_path: Path
) -> None:
    receipt = put(house, by, "a")
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    issued = house.issue.certificate(receipt.deposit, by=by)
    assert parse_certificate(issued.json).keys.certificate[0].public_key in (
        house.trust.certificate_keys
    )
    for name, data in (
        ("a.txt", b"a"), ("a.json", issued.json), ("trust.toml", house.trust.encode().encode()),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
    arguments = [str(tmp_path / name) for name in ("a.txt", "a.json", "trust.toml")]
    assert verify_main([arguments[0], "--certificate", arguments[1], "--trust", arguments[2]]) == 0


def test_a_rebuild_asks_the_token_for_the_keys(house: Office, tmp_path: Path) -> None:
    from notary.rebuild import rebuild

    by = depositor(house)
    put(house, by, "a")
    house.journal.run()
    house.publish()
    head = house.ledger.head()
    lost = tmp_path / "lost"
    shutil.copytree(house.settings.home, lost)
    for path in lost.glob("notary.db*"):
        path.unlink()
    settings: Settings = replace(house.settings, home=lost)
    rebuild(settings, mirror=None)
    again = Office(settings)
    again.examine()
    assert again.ledger.head().root == head.root
    again.close()


def test_what_goes_to_a_signing_process_is_a_place_and_no_secret(
    house: Office, token: SoftToken
) -> None:
    packed = keystore.pack_key(house.statements.key)
    assert packed == (place_of(token).encode(), house.trust.statement_keys[0])
    assert token.pin not in packed[0]
    assert keystore.unpack_key(packed) == house.statements.key
