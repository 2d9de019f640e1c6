"""Keys change by an entry that old and new ones sign; nobody signs with the old ones after it."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest

from app import create_app
from certs.certificate import Key, parse_certificate
from notary import keystore, rotate
from notary.cli.verify import main as verify_main
from notary.errors import Conflict, IntegrityError, KeysRotated, MalformedInput, NotaryError
from notary.findings import Findings
from notary.fsck import fsck
from notary.halt import FILE as HALTED
from notary.model import Declared, EventKind, Principal
from notary.office import Office
from notary.receipt import check_receipt, parse_receipt, transparent
from notary.rotation import Job, digest_of, parse_rotation
from notary.settings import Settings
from notary.statement import ROTATION_TYPE, key_thumbprint, parse_statement
from notary.tlog import merkle
from notary.tlog.checkpoint import parse_checkpoint_text
from notary.tlog.note import open_note, parse_note, parse_vkey
from notary.tlog.proof import parse_proof
from notary.trust import parse_trust
from notary.verdict import Document, Report, Status, Verdict
from notary.verify import verify
from tests.harness.certified import deposit, depositor, open_house
from tests.harness.postgres import shared_postgres
from tests.harness.rotating import EVERY
from tests.harness.server import Service
from tests.harness.watching import Killed, sql


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Office]:
    office = open_house(tmp_path / "house")
    yield office
    office.close()


@pytest.fixture
def by(house: Office) -> Principal:
    return depositor(house)


@pytest.fixture
def other(house: Office) -> Iterator[Office]:
    """Another process of the same house: its own database connections, its own keys in memory."""
    office = Office(house.settings)
    yield office
    office.close()


def put(house: Office, by: Principal, text: str, **declared: Any) -> Any:
    return deposit(house, by, text.encode(), Declared(name=f"{text}.txt", **declared))


def signers_of(note: bytes) -> set[tuple[str, int]]:
    return {(line.name, line.key_id) for line in parse_note(note).signatures}


def ids(house: Office, size: int) -> set[tuple[str, int]]:
    return {(key.name, key.key_id) for key in house.log_keys_at(size)}


def kid_at(house: Office, index: int) -> bytes:
    (entry,) = house.ledger.entries(index, 1)
    return parse_statement(entry).kid


def derived(house: Office) -> Findings:
    return fsck(
        database=house.database, objects=house.objects, trust=house.trust,
        strays_before=house.clock.now(),
    )  # fmt: skip


def faults(house: Office) -> dict[str, str]:
    return {fault.name: fault.detail for fault in derived(house).faults}


def judged(certificate: bytes, text: str, trust: str | None) -> Report:
    data = text.encode()
    document = Document(digests={"sha-256": hashlib.sha256(data).hexdigest()}, size=len(data))
    return verify(certificate, document, None if trust is None else parse_trust(trust))


# --- what a rotation is ------------------------------------------------------------------------


def test_a_rotation_is_an_entry_by_the_old_statement_key_under_a_checkpoint_by_old_and_new_keys(
    house: Office,
) -> None:
    before, old = house.ledger.head(), house.trust
    rotated = house.rotating.rotate(EVERY, reason="every five years")
    assert (rotated.serial, rotated.index) == (1, before.size)
    (registered,) = house.keyring.history().registered
    statement = parse_statement(house.ledger.entries(rotated.index, 1)[0])
    assert statement.payload == digest_of(registered.document)
    assert statement.preimage_type == ROTATION_TYPE
    assert statement.kid == key_thumbprint(old.statement_keys[0])
    rotation = parse_rotation(registered.document)
    assert rotation.previous == hashlib.sha256(house.house.genesis.encode()).digest()
    assert rotation.reason == "every five years"
    assert rotation.retired.log == old.log_keys
    assert rotation.keys.log == house.trust.log_keys[:2]
    head = house.ledger.head()
    assert head.size == rotated.index + 1
    assert head.checkpoint.decode() == registered.checkpoint
    assert signers_of(head.checkpoint) == ids(house, before.size) | ids(house, head.size)
    assert (house.settings.home / "published.checkpoint").read_bytes() == head.checkpoint


def test_later_checkpoints_are_signed_by_the_new_keys_alone(house: Office, by: Principal) -> None:
    house.rotating.rotate(EVERY)
    note = put(house, by, "a").head.checkpoint
    assert signers_of(note) == ids(house, 10**6)
    assert len(signers_of(note)) == 2


def test_a_head_that_is_only_signed_anew_is_signed_by_the_new_keys_alone(house: Office) -> None:
    house.rotating.rotate(EVERY)
    now = house.clock.now()
    assert house.sequencer.refresh(now - now)
    assert signers_of(house.ledger.head().checkpoint) == ids(house, 10**6)
    house.examine()
    assert faults(house) == {}


def test_the_files_of_retired_keys_go_and_those_of_new_ones_are_for_the_owner_alone(
    house: Office,
) -> None:
    folder = house.settings.home / "keys"
    before = set(folder.iterdir())
    rotated = house.rotating.rotate(EVERY)
    after = set(folder.iterdir())
    assert {str(path) for path in before - after} == set(rotated.removed)
    assert len(rotated.removed) == len(after - before) == 4
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in after)
    assert rotated.strays == ()


def test_retired_keys_may_be_kept_and_are_not_taken_for_those_that_hold(house: Office) -> None:
    rotated = house.rotating.rotate(EVERY, keep_retired=True)
    assert rotated.removed == ()
    again = Office(house.settings)
    again.examine()
    assert again.keys.statement.public_key().public_bytes_raw() == rotated.keys.statement[0]
    again.close()


@pytest.mark.parametrize("job", list(Job))
def test_one_job_changes_alone(house: Office, by: Principal, job: Job) -> None:
    before = house.trust
    first = put(house, by, "before")
    rotated = house.rotating.rotate(frozenset([job]))
    second = put(house, by, "after")
    trust = house.trust
    counts = (len(trust.log_keys), len(trust.statement_keys), len(trust.certificate_keys))
    assert counts == {
        Job.LOG: (4, 1, 1), Job.STATEMENT: (2, 2, 1), Job.CERTIFICATE: (2, 1, 2),
    }[job]  # fmt: skip
    assert trust.log_keys[-2:] == before.log_keys
    changed = kid_at(house, second.deposit.index) != kid_at(house, first.deposit.index)
    assert changed == (job is Job.STATEMENT)
    assert len(rotated.removed) == (2 if job is Job.LOG else 1)
    for receipt, text in ((first, "before"), (second, "after")):
        issued = house.issue.certificate(receipt.deposit, by=by)
        assert judged(issued.json, text, trust.encode()).verdict is Verdict.CONFIRMED
    Office(house.settings).examine()
    assert faults(house) == {}


def test_two_rotations_in_a_row_are_a_chain(house: Office, by: Principal) -> None:
    papers = []
    for text in ("a", "b", "c"):
        receipt = put(house, by, text)
        papers.append((text, receipt, house.issue.certificate(receipt.deposit, by=by).json))
        house.rotating.rotate(EVERY)
    history = house.keyring.history()
    assert history.serial == 3
    for older, newer in zip(history.registered, history.rotations[1:], strict=False):
        assert newer.previous == digest_of(older.document)
    trust = house.trust
    assert (len(trust.log_keys), len(set(trust.statement_keys))) == (8, 4)
    for text, receipt, certificate in papers:
        assert judged(certificate, text, trust.encode()).verdict is Verdict.CONFIRMED
        again = house.issue.certificate(receipt.deposit, by=by).json
        assert judged(again, text, trust.encode()).verdict is Verdict.CONFIRMED
    assert len(list((house.settings.home / "keys").glob("*.pem"))) == 6
    opened = Office(house.settings)
    opened.examine()
    opened.close()
    assert faults(house) == {}


def test_a_rotation_needs_a_job_and_a_reason_of_some_length(house: Office) -> None:
    size = house.ledger.head().size
    with pytest.raises(MalformedInput):
        house.rotating.rotate(frozenset())
    with pytest.raises(MalformedInput):
        house.rotating.rotate(EVERY, reason="x" * 1_001)
    assert house.ledger.head().size == size


# --- other processes ---------------------------------------------------------------------------


def test_another_process_goes_on_with_the_new_keys_at_its_next_deposit(
    house: Office, other: Office, by: Principal
) -> None:
    put(other, by, "before")
    rotated = house.rotating.rotate(EVERY)
    receipt = put(other, by, "after")
    assert kid_at(house, receipt.deposit.index) == key_thumbprint(rotated.keys.statement[0])
    assert signers_of(receipt.head.checkpoint) == ids(house, 10**6)
    event = other.chronicle.record(EventKind.SIGNED_IN, actor="a", subject="b")
    assert kid_at(house, event.index) == key_thumbprint(rotated.keys.statement[0])
    assert faults(house) == {}


def test_a_statement_signed_before_and_entered_after_a_rotation_is_signed_anew(
    house: Office, other: Office, by: Principal
) -> None:
    """The rotation comes in between, each time that a deposit was signed and not yet entered."""
    real, count = other.sequencer.submit, [0]

    def submit(work: Any, *, under: int | None = None) -> Any:
        count[0] += 1
        if count[0] < 3:
            house.rotating.rotate(frozenset([Job.STATEMENT]))
        return real(work, under=under)

    other.sequencer.submit = submit  # type: ignore[method-assign]
    receipt = put(other, by, "in between")
    assert count == [3]
    assert kid_at(house, receipt.deposit.index) == key_thumbprint(house.trust.statement_keys[0])
    assert faults(house) == {}


def test_what_was_signed_under_retired_keys_is_turned_away_under_the_lock(house: Office) -> None:
    class Act:
        alone, asks = False, False

        def settled(self, connection: object) -> None:
            return None

        def enter(self, connection: object, growing: Any, at: object) -> None:
            raise AssertionError("it was entered")

    house.rotating.rotate(EVERY)
    before = house.ledger.head()
    for under in (0, 2):
        with pytest.raises(KeysRotated) as caught:
            house.sequencer.submit(Act(), under=under)
        assert caught.value.code == "keys_rotated"
    assert house.ledger.head() == before
    assert not (house.settings.home / HALTED).exists()


def test_a_batch_that_a_rotation_overtook_is_to_be_sent_again_and_nothing_of_it_is_there(
    house: Office, other: Office, by: Principal
) -> None:
    line = json.dumps({"size": 3, "digests": {"sha-256": hashlib.sha256(b"abc").hexdigest()}})

    def rows() -> Iterator[bytes]:
        yield line.encode()
        house.rotating.rotate(EVERY)
        yield line.encode()

    def receive(lines: Any) -> Any:
        return other.batches.receive(
            lines, by=by, key="one", atomic=False, check_end=lambda said, came: None
        )

    with pytest.raises(KeysRotated):
        receive(rows())
    size = house.ledger.head().size
    outcome = receive([line.encode()] * 2).outcome
    assert (outcome.registered, outcome.first_index) == (2, size)
    assert faults(house) == {}


def test_deposits_of_many_threads_in_two_processes_go_on_through_rotations(
    house: Office, other: Office, by: Principal
) -> None:
    failures: list[NotaryError] = []
    done = threading.Event()

    def work(office: Office, mark: str) -> None:
        try:
            number = 0
            while not done.is_set() or number < 3:
                put(office, by, f"{mark} {number}")
                number += 1
        except NotaryError as exc:
            failures.append(exc)

    threads = [
        threading.Thread(target=work, args=(office, f"{mark}{n}"))
        for office, mark in ((house, "a"), (other, "b"))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    third = Office(house.settings)
    for jobs in (EVERY, frozenset([Job.STATEMENT]), frozenset([Job.LOG])):
        third.rotating.rotate(jobs)
    done.set()
    for thread in threads:
        thread.join()
    third.close()
    assert failures == []
    assert faults(house) == {}


def test_it_is_the_same_on_postgresql(tmp_path: Path) -> None:
    """Where a writer that waited for the lock must see what was committed meanwhile."""
    with shared_postgres().database() as database:
        house = open_house(tmp_path / "house", database=database)
        by, others = depositor(house), [Office(house.settings) for _ in range(2)]
        done = threading.Event()
        failures: list[NotaryError] = []

        def work(office: Office) -> None:
            try:
                while not done.is_set():
                    put(office, by, "again")
            except NotaryError as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work, args=(office,)) for office in others for _ in "ab"]
        for thread in threads:
            thread.start()
        for jobs in (EVERY, frozenset([Job.STATEMENT]), EVERY):
            house.rotating.rotate(jobs)
        done.set()
        for thread in threads:
            thread.join()
        receipt = put(others[0], by, "at last")
        assert failures == []
        assert signers_of(receipt.head.checkpoint) == ids(house, 10**6)
        assert faults(house) == {}
        for office in (*others, house):
            office.examine()
            office.close()


def test_two_rotations_at_once_are_one_after_the_other_or_one_refused(
    house: Office, other: Office
) -> None:
    real = other.sequencer.hand_over

    def hand_over(enter: Any) -> None:
        house.rotating.rotate(EVERY)  # while the other's new keys are written already
        real(enter)

    other.sequencer.hand_over = hand_over  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        other.rotating.rotate(EVERY)
    other.sequencer.hand_over = real  # type: ignore[method-assign]
    rotated = other.rotating.rotate(EVERY)
    assert rotated.serial == 2
    assert len(rotated.strays) == 4  # those of the one that came second
    assert faults(house) == {}


def test_a_process_shows_the_new_keys_at_once_though_it_wrote_nothing(
    house: Office, other: Office
) -> None:
    assert len(other.trust.log_keys) == 2
    house.rotating.rotate(EVERY)
    assert other.trust == house.trust
    assert other.statements.kid == house.statements.kid
    other.examine()


def test_a_node_without_the_new_key_writes_nothing_names_it_and_reads_on(
    house: Office, by: Principal, tmp_path: Path
) -> None:
    shutil.copytree(house.settings.home / "keys", tmp_path / "node" / "keys")
    shutil.copy(house.settings.home / "tsa-chain.pem", tmp_path / "node")
    settings = replace(
        house.settings, home=tmp_path / "node", database=house.settings.database_url,
        objects=house.settings.objects_url,
    )  # fmt: skip
    node = Office(settings)
    first = put(node, by, "before")
    rotated = house.rotating.rotate(frozenset([Job.STATEMENT]))
    (name,) = [path.name for path in (house.settings.home / "keys").glob("statement-*.pem")]
    for _ in range(2):
        with pytest.raises(IntegrityError, match=name) as caught:
            put(node, by, "after")
        assert caught.value.code == "key_missing"
        with pytest.raises(IntegrityError, match=name):
            node.chronicle.record(EventKind.SIGNED_IN, actor="a", subject="b")
        with pytest.raises(IntegrityError, match=name):
            node.sequencer.refresh(house.clock.now() - house.clock.now())
    with pytest.raises(IntegrityError, match=name):
        Office(settings)
    assert not (settings.home / HALTED).exists()
    put(house, by, "elsewhere")
    node.check_log()
    assert node.trust == house.trust
    assert node.intake.known_deposit(by, first.deposit.id) == first.deposit
    shutil.copy(house.settings.home / "keys" / name, settings.home / "keys")
    receipt = put(node, by, "at last")
    assert kid_at(house, receipt.deposit.index) == key_thumbprint(rotated.keys.statement[0])
    node.close()
    # Originals of the refused deposits wait for the sweep, as after any outage.
    assert {name.split()[0] for name in faults(house)} <= {"object"}


# --- crashes -----------------------------------------------------------------------------------


def kill_at(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, call: int) -> None:
    """The process ends right before its call of that number."""
    real, count = getattr(module, name), [0]

    def dying(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if count[0] == call:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, dying)


@pytest.mark.parametrize(
    ("name", "call"),
    [("write_key", 1), ("write_key", 2), ("write_key", 3), ("write_key", 4),
     ("read_rotations", 1), ("sign_rotation", 1), ("head_signer", 1), ("insert_rotation", 1)],
)  # fmt: skip
def test_killed_before_the_commit_the_old_keys_go_on(
    house: Office, by: Principal, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    before, trust = house.ledger.head(), house.trust
    with monkeypatch.context() as patch:
        kill_at(patch, keystore if name == "write_key" else rotate, name, call)
        with pytest.raises(Killed):
            house.rotating.rotate(EVERY)
    house.close()
    again = Office(house.settings)
    again.examine()
    assert again.ledger.head() == before
    assert again.trust == trust
    put(again, by, "goes on")
    rotated = again.rotating.rotate(EVERY)
    assert rotated.serial == 1
    written = call - 1 if name == "write_key" else 4
    assert len(rotated.strays) == written
    assert not set(rotated.strays) & set(rotated.removed)
    for path in rotated.strays:
        Path(path).unlink()
    put(again, by, "and on")
    assert faults(again) == {}
    again.close()


@pytest.mark.parametrize("point", ["publish", "remove_file 1", "remove_file 3"])
def test_killed_after_the_commit_the_new_keys_are_in_force(
    house: Office, by: Principal, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    name, _, call = point.partition(" ")
    old = house.trust
    with monkeypatch.context() as patch:
        if name == "publish":
            patch.setattr(house.rotating, "_publish", lambda: (_ for _ in ()).throw(Killed))
        else:
            kill_at(patch, keystore, name, int(call))
        with pytest.raises(Killed):
            house.rotating.rotate(EVERY)
    house.close()
    again = Office(house.settings)
    again.examine()
    assert again.keyring.history().serial == 1
    assert again.trust.log_keys[2:] == old.log_keys
    receipt = put(again, by, "goes on")
    assert signers_of(receipt.head.checkpoint) == ids(again, 10**6)
    rotated = again.rotating.rotate(EVERY)
    assert (rotated.serial, rotated.strays) == (2, ())
    assert faults(again) == {}
    again.close()


def test_a_commit_that_fails_leaves_the_old_keys(house: Office, by: Principal) -> None:
    (house.settings.home / HALTED).write_text("{}")
    with pytest.raises(IntegrityError):
        house.rotating.rotate(EVERY)
    (house.settings.home / HALTED).unlink()
    assert house.keyring.history().serial == 0
    put(house, by, "goes on")
    assert faults(house) == {}


def test_a_database_from_before_a_rotation_that_was_published_is_refused(house: Office) -> None:
    house.close()
    kept = house.settings.home / "kept.db"
    shutil.copy(house.settings.home / "notary.db", kept)
    again = Office(house.settings)
    again.rotating.rotate(EVERY, keep_retired=True)
    again.close()
    for path in house.settings.home.glob("notary.db*"):
        path.unlink()
    shutil.copy(kept, house.settings.home / "notary.db")
    with pytest.raises(IntegrityError):
        Office(house.settings).examine()


# --- what was made before ----------------------------------------------------------------------


@pytest.fixture
def web(house: Office, by: Principal) -> Iterator[Callable[[str], bytes]]:
    """What the door of another process answers to the depositor."""
    account = house.accounts.get_by_name(by.name)
    _, secret = house.people.create_key("operator", account, label="k", scopes=None, days=1)
    app = create_app(Settings(home=house.settings.home))
    client = app.test_client()

    def get(path: str) -> bytes:
        answer = client.get(path, headers={"Authorization": f"Bearer {secret}"})
        assert answer.status_code == 200, answer.text
        return bytes(answer.data)

    yield get
    app.extensions["office"].close()


def check_scitt(get: Callable[[str], bytes], receipt: bytes, entry: bytes) -> bytes:
    """With the keys as they are served now; the kid of the one it took."""
    parsed = parse_receipt(receipt)
    keys = {each[2]: each[-2] for each in cbor2.loads(get("/.well-known/scitt-keys"))}
    assert parsed.kid is not None
    check_receipt(parsed, entry=entry, public_key=keys[parsed.kid])
    statement = parse_statement(entry)
    assert statement.kid in keys
    return parsed.kid


def check_proof(get: Callable[[str], bytes], data: bytes, entry: bytes) -> None:
    """A .tlog-proof with the keys as they are served now, any of which may have signed."""
    proof = parse_proof(data)
    note = parse_note(proof.checkpoint)
    open_note(note, [parse_vkey(line) for line in get("/log/keys").decode().splitlines()])
    said = parse_checkpoint_text(note.text)
    merkle.check_inclusion(
        index=proof.index, size=said.size, leaf=merkle.leaf_hash(entry), proof=proof.path,
        root=said.root,
    )  # fmt: skip


def test_proofs_receipts_bundles_and_certificates_made_before_a_rotation_verify_after_it(
    house: Office, by: Principal, web: Callable[[str], bytes], tmp_path: Path
) -> None:
    made = put(house, by, "the document", document_timestamp=True)
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    at = f"/v1/deposits/{made.deposit.id}"
    files = ("certificate.json", "certificate.pdf", "bundle.zip", "proof.tlog-proof")
    before = {name: web(f"{at}/{name}") for name in files}
    scitt = web(f"{at}/receipt.cose")
    entry = web(f"{at}/statement.cose")
    whole = web(f"{at}/transparent-statement.cose")
    old_kid = check_scitt(web, scitt, entry)
    house.rotating.rotate(EVERY)
    put(house, by, "another")
    house.rotating.rotate(EVERY)

    (tmp_path / "trust.toml").write_bytes(web("/v1/trust.toml"))
    (tmp_path / "document").write_bytes(b"the document")
    trust = ("--trust", str(tmp_path / "trust.toml"))
    for name in files[:3]:
        (tmp_path / name).write_bytes(before[name])
        given = [] if name == "bundle.zip" else [str(tmp_path / "document")]
        assert verify_main([*given, "--certificate", str(tmp_path / name), *trust]) == 0, name
    check_proof(web, before["proof.tlog-proof"], entry)
    assert check_scitt(web, scitt, entry) == old_kid
    assert transparent(entry, [scitt]) == whole
    assert web("/.well-known/scitt-keys/" + _b64url(old_kid))

    # And what is made after it, of a deposit from before.
    new_kid = check_scitt(web, web(f"{at}/receipt.cose"), web(f"{at}/statement.cose"))
    assert new_kid == key_thumbprint(house.keys.log.public_key().public_bytes_raw())
    assert web(f"{at}/statement.cose") == entry
    check_proof(web, web(f"{at}/proof.tlog-proof"), entry)


def _b64url(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def test_the_public_lists_have_the_active_keys_first_and_the_retired_ones_after(
    house: Office, web: Callable[[str], bytes]
) -> None:
    old_lines = web("/log/keys").decode().splitlines()
    old_set = cbor2.loads(web("/.well-known/scitt-keys"))
    assert json.loads(web("/log/rotations.json")) == []
    house.rotating.rotate(EVERY)
    lines = web("/log/keys").decode().splitlines()
    assert lines[2:] == old_lines
    assert lines[:2] == [key.encode() for key in house.trust.log_keys[:2]]
    keys = cbor2.loads(web("/.well-known/scitt-keys"))
    assert len(keys) == 4
    assert keys[0][-2] == house.keys.log.public_key().public_bytes_raw()
    assert all(each in keys for each in old_set)
    ((shown),) = json.loads(web("/log/rotations.json"))
    registered = house.keyring.history().registered[0]
    assert shown == registered.encode()
    trust = parse_trust(web("/v1/trust.toml").decode())
    assert trust == replace(house.trust)


def test_a_certificate_issued_after_it_for_a_deposit_before_it_needs_nothing_else(
    house: Office, by: Principal
) -> None:
    """It carries the keys that it needs: the old ones of statement and checkpoint, the new seal."""
    old = house.trust
    made = put(house, by, "the document")
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    house.rotating.rotate(EVERY)
    issued = house.issue.certificate(made.deposit, by=by)
    keys = parse_certificate(issued.json).keys
    assert keys.log == tuple(key.encode() for key in old.log_keys)
    assert keys.statement == (Key.of(old.statement_keys[0]),)
    assert keys.certificate == (Key.of(house.trust.certificate_keys[0]),)
    assert judged(issued.json, "the document", house.trust.encode()).code == "match"
    alone = judged(issued.json, "the document", None)
    assert (alone.verdict, alone.trusted_keys) == (Verdict.CONFIRMED, False)


@pytest.mark.parametrize("job", list(Job))
def test_a_trust_file_of_before_cannot_judge_what_came_after_and_never_says_altered(
    house: Office, by: Principal, job: Job
) -> None:
    old = house.trust.encode()
    before = house.issue.certificate(put(house, by, "before").deposit, by=by).json
    house.rotating.rotate(frozenset([job]))
    after = house.issue.certificate(put(house, by, "after").deposit, by=by).json
    assert judged(before, "before", old).verdict is Verdict.CONFIRMED
    report = judged(after, "after", old)
    assert (report.verdict, report.code) == (Verdict.UNDECIDED, "unknown_key")
    assert not any(check.status is Status.FAILED for check in report.checks)
    assert judged(after, "after", house.trust.encode()).verdict is Verdict.CONFIRMED


def test_a_certificate_that_a_rotation_overtook_is_sealed_anew(
    house: Office, other: Office, by: Principal
) -> None:
    made = put(house, by, "the document")
    real, count = other.chronicle.record, [0]

    def record(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if count[0] == 1:  # its certificate is sealed already
            house.rotating.rotate(frozenset([Job.CERTIFICATE]))
        return real(*args, **kwargs)

    other.chronicle.record = record  # type: ignore[method-assign]
    issued = other.issue.certificate(made.deposit, by=by)
    assert count == [2]
    assert issued.certificate.signature.kid == key_thumbprint(house.trust.certificate_keys[0])
    assert issued.version == 1


# --- fsck ---------------------------------------------------------------------------------------


def test_fsck_names_a_statement_by_a_key_that_was_retired_before(
    house: Office, by: Principal
) -> None:
    stale = house.statements
    house.rotating.rotate(frozenset([Job.STATEMENT]))
    house.keyring._held = replace(house.keyring.held(), statements=stale)  # a defect, as it were
    made = put(house, by, "with the wrong key")
    (fault,) = faults(house).items()
    assert fault[0] == f"record {made.deposit.index}"
    assert "retired before" in fault[1]


def test_fsck_names_a_statement_by_a_key_that_was_not_in_force_yet(
    house: Office, by: Principal
) -> None:
    made = put(house, by, "a")
    house.rotating.rotate(frozenset([Job.STATEMENT]))
    record = house.register.deposit(made.deposit.id).record
    later = house.statements.sign(
        hashlib.sha256(record.encode()).digest(), preimage_type=parse_statement(
            made.statement).preimage_type, randomness=bytes(16),
    )  # fmt: skip
    index = made.deposit.index
    sql(house, "UPDATE entry SET statement = ? WHERE idx = ?", later, index)
    assert "not in force yet" in faults(house)[f"record {index}"]


def test_fsck_names_a_rotation_that_is_not_what_its_entry_commits_to(house: Office) -> None:
    first = house.rotating.rotate(EVERY)
    house.rotating.rotate(EVERY)
    sql(house, "UPDATE key_rotation SET idx = idx + 1 WHERE serial = 1")
    assert "key rotation 1" in faults(house)
    sql(house, "UPDATE key_rotation SET idx = ? WHERE serial = 1", first.index)
    assert faults(house) == {}
    sql(house, "UPDATE key_rotation SET document = replace(document, 'log', 'Log')"
               " WHERE serial = 2")  # fmt: skip
    assert "rotation_malformed" in faults(house)["key rotation 2"]


def test_fsck_names_a_rotation_whose_row_was_deleted(house: Office, by: Principal) -> None:
    rotated = house.rotating.rotate(EVERY)
    put(house, by, "a")
    sql(house, "DELETE FROM key_rotation WHERE serial = 1")
    named = faults(house)
    assert f"entry {rotated.index}" in named  # nothing has this index
    assert any(name.startswith("checkpoint ") for name in named)  # signed by keys unknown


def test_fsck_names_a_head_that_only_retired_keys_signed(house: Office, by: Principal) -> None:
    old = house.keyring.held().sign
    house.rotating.rotate(EVERY)
    put(house, by, "a")
    head = house.ledger.head()
    forged = old(head.size, head.root, house.clock.now())
    sql(house, "UPDATE tree_head SET checkpoint = ?", forged)
    assert list(faults(house)) == [f"checkpoint {head.size}"]
    with pytest.raises(IntegrityError):
        house.check_log()


def test_a_published_checkpoint_by_the_keys_of_its_time_is_accepted_and_by_others_not(
    house: Office, by: Principal
) -> None:
    old = house.keyring.held().sign
    path = house.settings.home / "published.checkpoint"
    shown = path.read_bytes()
    house.rotating.rotate(EVERY)
    put(house, by, "a")
    path.write_bytes(shown)
    house.examine()
    head = house.ledger.head()
    path.write_bytes(old(head.size, head.root, house.clock.now()))
    with pytest.raises(IntegrityError, match=r"published\.checkpoint"):
        house.examine()


def test_a_process_does_not_go_back_to_fewer_rotations(house: Office, by: Principal) -> None:
    house.rotating.rotate(EVERY, keep_retired=True)
    sql(house, "DELETE FROM key_rotation WHERE serial = 1")
    with pytest.raises(IntegrityError) as caught:
        put(house, by, "a")
    assert caught.value.code == "rollback"
    assert (house.settings.home / HALTED).exists()


def test_the_command_changes_keys_and_says_so(house: Office) -> None:
    service = Service(home=house.settings.home)
    said = service.cli("rotate", "--statement", "--reason", "lost laptop").stdout
    assert "Key rotation 1 is entry" in said
    assert "statement.pem: its key is retired" in said
    assert house.keyring.history().rotations[0].jobs() == {Job.STATEMENT}
    said = service.cli("rotate", "--keep-retired").stdout
    assert "removed" not in said
    assert house.keyring.history().rotations[1].jobs() == EVERY
    for line in house.trust.log_keys[:2]:
        assert line.encode() in said
    assert service.cli("fsck").returncode == 0
    assert b64decode(said.split("certificate ")[1].split()[0]) == house.trust.certificate_keys[0]
