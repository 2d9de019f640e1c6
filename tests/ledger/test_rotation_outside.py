"""Who follows a log from outside follows it over a rotation, from the keys that he knew before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from notary import monitor, succession
from notary.cli.watch import mirror as mirror_command
from notary.cli.watch import monitor as monitor_command
from notary.cosigner import Cosigner
from notary.errors import MalformedInput, Unverifiable
from notary.keyhistory import encode_rotations
from notary.keyring import head_signer
from notary.mirror import copy, derive
from notary.monitor import Monitor
from notary.office import Office
from notary.rotation import Job
from notary.signed_head import Contradiction, Identity, Kind
from notary.source import FolderSource
from notary.tlog.checkpoint import encode_base64
from notary.tlog.cosignature import Ed25519Cosigner
from notary.tlog.note import parse_note
from notary.tlog.policy import parse_policy
from tests.harness.rotating import EVERY, Chain
from tests.harness.watching import (
    Killed,
    OfficeSource,
    SetClock,
    grow,
    http_door,
    identity,
    new_house,
    twin_of,
)


@pytest.fixture
def old(house: Office) -> Identity:
    """What a reader knew before any rotation."""
    return identity(house)


def watcher(source: OfficeSource, known: Identity, state: Path, clock: SetClock) -> Monitor:
    return Monitor(
        source=source, identity=known, state=state, clock=clock, max_age_s=1800, entries=True
    )


def rotate(house: Office, *, entries: int = 3, jobs: frozenset[Job] = EVERY) -> None:
    """A rotation, and entries after it, so that only new keys sign the newest checkpoint."""
    house.rotating.rotate(jobs)
    grow(house, entries)


def memory(state: Path) -> Path:
    return state.with_name(f"{state.name}.rotations.json")


# --- the monitor -------------------------------------------------------------------------------


def test_a_monitor_of_the_old_keys_follows_over_rotations_says_so_and_remembers(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    assert watcher(source, old, state, clock).look().learned == ()
    assert not memory(state).exists()
    for serial in (1, 2):
        rotate(house)
        look = watcher(source, old, state, clock).look()
        assert [each.serial for each in look.learned] == [serial]
        assert look.size == house.ledger.head().size
    assert memory(state).read_bytes() == encode_rotations(house.keyring.history().registered)
    source.absent |= {"rotations.json", "genesis.json"}  # it has them by now
    grow(house, 300)
    assert watcher(source, old, state, clock).look().learned == ()


def test_several_rotations_are_learned_at_once(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    for jobs in (EVERY, frozenset([Job.STATEMENT]), frozenset([Job.LOG])):
        rotate(house, entries=100, jobs=jobs)
    look = watcher(source, old, state, clock).look()
    assert [each.serial for each in look.learned] == [1, 2, 3]


def test_one_of_the_two_old_keys_is_enough(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    rotate(house)
    for number, key in enumerate(old.keys):
        known = replace(old, keys=(key,))
        place = state.with_name(f"place{number}")
        assert len(watcher(source, known, place, clock).look().learned) == 1


def test_the_hand_over_itself_is_read_with_the_old_keys_alone(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    house.rotating.rotate(EVERY)
    source.absent |= {"rotations.json"}
    assert watcher(source, old, state, clock).look().size == house.ledger.head().size


def test_a_rotation_of_other_jobs_than_the_logs_needs_no_learning(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    rotate(house, jobs=frozenset([Job.STATEMENT, Job.CERTIFICATE]))
    assert watcher(source, old, state, clock).look().learned == ()


def test_a_monitor_killed_at_any_read_learns_it_again(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    watcher(source, old, state, clock).look()
    rotate(house, entries=300)
    for number in range(1, 40):
        source.die_at(number)
        try:
            watcher(source, old, state, clock).look()
        except Killed:
            continue
        break
    source.die_at(0)
    assert number > 3
    assert watcher(source, old, state, clock).look().size == house.ledger.head().size


@pytest.mark.parametrize("file", ["genesis.json", "rotations.json", "place"])
def test_a_monitor_killed_while_it_remembers_goes_on(
    house: Office,
    source: OfficeSource,
    old: Identity,
    state: Path,
    clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
) -> None:
    watcher(source, old, state, clock).look()
    rotate(house)
    with monkeypatch.context() as patch:
        for module in (succession, monitor):
            real: Callable[..., None] = module.replace_file

            def dying(
                path: str, data: bytes, *, mode: int, real: Callable[..., None] = real
            ) -> None:
                if path.endswith(file):
                    raise Killed
                real(path, data, mode=mode)

            patch.setattr(module, "replace_file", dying)
        with pytest.raises(Killed):
            watcher(source, old, state, clock).look()
    look = watcher(source, old, state, clock).look()
    assert look.size == house.ledger.head().size


def test_without_rotations_to_read_an_unknown_key_is_an_unknown_key(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    watcher(source, old, state, clock).look()
    before = state.read_bytes()
    rotate(house)
    for absent in ("rotations.json", "genesis.json"):
        source.absent = {absent}
        with pytest.raises(Unverifiable) as caught:
            watcher(source, old, state, clock).look()
        assert caught.value.code == "unknown_key"
    assert state.read_bytes() == before


def test_a_reader_of_other_keys_learns_nothing_from_a_chain_of_strangers(
    house: Office, source: OfficeSource, state: Path, clock: SetClock, tmp_path: Path
) -> None:
    other = new_house(tmp_path / "other", clock)
    stranger = Identity(origin=house.house.origin, keys=identity(other).keys)
    rotate(house)
    with pytest.raises(Unverifiable) as caught:
        watcher(source, stranger, state, clock).look()
    assert caught.value.code == "unknown_key"


def forged(house: Office) -> bytes:
    """Rotations as somebody would write them who has new keys but not the old ones."""
    (real,) = house.keyring.history().registered
    said = json.loads(real.document)
    for each in said["signatures"][:4]:
        each["value"] = said["signatures"][-1]["value"]
    document = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return encode_rotations([replace(real, document=document)])


def test_a_rotation_not_signed_by_the_old_keys_is_not_believed(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    watcher(source, old, state, clock).look()
    before = state.read_bytes()
    rotate(house)
    for shown, code in (
        (forged(house), "rotation_signature_invalid"),
        (b"nothing", "rotation_malformed"),
        (encode_rotations(Chain().registered), "unknown_key"),
    ):
        source.shown["rotations.json"] = shown
        with pytest.raises(Unverifiable) as caught:
            watcher(source, old, state, clock).look()
        assert caught.value.code == code
    assert state.read_bytes() == before
    assert not memory(state).exists()


def test_a_rotation_that_the_tree_does_not_have_is_a_contradiction(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock, tmp_path: Path
) -> None:
    """Signed by all that must; but the log went on as if it had never been entered."""
    watcher(source, old, state, clock).look()
    twin = twin_of(house, tmp_path / "twin")
    grow(twin, 1)
    rotate(house)
    held = house.keyring.held()
    sign, _ = head_signer(twin.house.origin, held.keys)
    grow(twin, 5)
    head = twin.ledger.head()
    lying = OfficeSource(twin)
    lying.shown["checkpoint"] = sign(head.size, head.root, clock.now())
    lying.shown["rotations.json"] = encode_rotations(house.keyring.history().registered)
    with pytest.raises(Contradiction) as caught:
        watcher(lying, old, state, clock).look()
    assert caught.value.kind is Kind.ENTRY
    assert caught.value.name == "rotations.json"
    assert "key-rotation/v1" in caught.value.evidence()
    assert not memory(state).exists()


def test_a_hand_over_of_another_tree_is_a_contradiction(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    before = house.keyring.held().keys
    rotate(house)
    (real,) = house.keyring.history().registered
    sign, _ = head_signer(house.house.origin, before, house.keys)
    note = sign(real.index + 1, bytes(32), clock.now()).decode()
    source.shown["rotations.json"] = encode_rotations([replace(real, checkpoint=note)])
    with pytest.raises(Contradiction) as caught:
        watcher(source, old, state, clock).look()
    assert caught.value.kind is Kind.INCONSISTENT


def test_a_retired_key_signs_no_later_checkpoint(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    """Whoever stole it: a monitor that met the rotation does not take its word any more."""
    stale = house.keyring.held().sign
    rotate(house)
    watcher(source, old, state, clock).look()
    grow(house, 1)
    head = house.ledger.head()
    source.shown["checkpoint"] = stale(head.size, head.root, clock.now())
    with pytest.raises(Contradiction) as caught:
        watcher(source, old, state, clock).look()
    assert caught.value.kind is Kind.RETIRED


def test_two_rotations_of_one_serial_are_a_contradiction(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock, tmp_path: Path
) -> None:
    twin = twin_of(house, tmp_path / "twin")
    rotate(house)
    watcher(source, old, state, clock).look()
    rotate(twin)
    with pytest.raises(Contradiction) as caught:
        watcher(OfficeSource(twin), old, state, clock).look()
    assert caught.value.kind is Kind.FORK
    assert caught.value.evidence().count("key-rotation/v1") == 2


def test_spoilt_memory_is_told(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock
) -> None:
    rotate(house)
    watcher(source, old, state, clock).look()
    memory(state).write_bytes(forged(house))
    with pytest.raises(MalformedInput):
        watcher(source, old, state, clock).look()


def test_what_a_witness_saw_after_the_rotation_counts_for_a_monitor_of_the_old_keys(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock, tmp_path: Path
) -> None:
    signer = Ed25519Cosigner("w.example/1", Ed25519PrivateKey.generate(), lambda: 1_800_000_000)
    line = signer.verifier.encode()
    policy = parse_policy(f"witness w {line} https://w.example\ngroup g 1 w\nquorum g\n")
    rotate(house)
    cosigned = parse_note(house.ledger.head().checkpoint)
    note = replace(cosigned, signatures=(*cosigned.signatures, signer.sign(cosigned.text)))

    class Witness:
        name = "the witness"

        def read(self, path: str, max_bytes: int) -> bytes:
            return note.encode()

    watching = Monitor(
        source=source, identity=replace(old, policy=policy), state=state, clock=clock,
        witness_source=lambda url: Witness(),
    )  # fmt: skip
    assert len(watching.look().learned) == 1


def test_the_command_says_that_keys_changed(
    house: Office, source: OfficeSource, old: Identity, tmp_path: Path
) -> None:
    rotate(house)
    keys = [part for key in old.keys for part in ("--key", key.encode())]
    state = str(tmp_path / "place")
    with http_door(source) as url:
        arguments = [url, "--state", state, *keys, "--once", "--max-age", "0"]
        first = CliRunner().invoke(monitor_command, arguments)
        again = CliRunner().invoke(monitor_command, arguments)
        source.shown["rotations.json"] = b"[]"
        unknown = CliRunner().invoke(monitor_command, [*arguments, "--state", f"{state}2"])
    assert first.exit_code == again.exit_code == 0, first.output
    assert "key rotation 1, signed by the keys before it" in first.output
    assert "key rotation" not in again.output
    assert unknown.exit_code == 2
    assert "unknown_key" in unknown.output


# --- the mirror --------------------------------------------------------------------------------


def test_a_mirror_copies_the_rotations_and_is_proved_with_the_old_keys(
    house: Office, source: OfficeSource, old: Identity, tmp_path: Path
) -> None:
    folder = tmp_path / "mirror"
    copy(source, folder, old)
    assert not (folder / "rotations.json").exists()
    for _ in range(2):
        rotate(house, entries=300)
        copied = copy(source, folder, old)
        assert copied.size == house.ledger.head().size
        shown = encode_rotations(house.keyring.history().registered)
        assert (folder / "rotations.json").read_bytes() == shown
        assert derive(folder, old).faults == []
        assert derive(folder, identity(house)).faults == []
    assert copy(source, folder, old).files == 0


def test_a_mirror_of_the_new_keys_is_as_complete(
    house: Office, source: OfficeSource, tmp_path: Path
) -> None:
    rotate(house)
    new = replace(identity(house), keys=identity(house).keys[:2])
    copy(source, tmp_path / "mirror", new)
    assert (tmp_path / "mirror" / "rotations.json").exists()
    assert derive(tmp_path / "mirror", new).faults == []


def test_a_copy_serves_a_monitor_and_another_copy_over_a_rotation(
    house: Office, source: OfficeSource, old: Identity, state: Path, clock: SetClock, tmp_path: Path
) -> None:
    rotate(house)
    copy(source, tmp_path / "mirror", old)
    there = FolderSource(tmp_path / "mirror")
    watching = Monitor(source=there, identity=old, state=state, clock=clock)
    assert len(watching.look().learned) == 1
    assert copy(there, tmp_path / "second", old).size == house.ledger.head().size


def test_a_mirror_killed_at_any_read_goes_on_over_the_rotation(
    house: Office, source: OfficeSource, old: Identity, tmp_path: Path
) -> None:
    folder = tmp_path / "mirror"
    copy(source, folder, old)
    rotate(house, entries=300)
    for number in range(1, 60):
        source.die_at(number)
        try:
            copy(source, folder, old)
        except Killed:
            continue
        break
    source.die_at(0)
    copy(source, folder, old)
    assert derive(folder, old).faults == []


def test_damage_to_the_copied_rotations_has_their_name(
    house: Office, source: OfficeSource, old: Identity, tmp_path: Path
) -> None:
    rotate(house)
    folder = tmp_path / "mirror"
    copy(source, folder, old)
    everything = identity(house)
    (folder / "rotations.json").write_bytes(forged(house))
    (fault,) = derive(folder, everything).faults
    assert fault.name == "rotations.json"
    with pytest.raises(Unverifiable):
        derive(folder, old)
    with pytest.raises(MalformedInput):
        copy(source, folder, everything)


def test_rotations_that_are_not_in_the_tree_are_not_copied(
    house: Office, source: OfficeSource, tmp_path: Path
) -> None:
    """Here the log never rotated, and shows the rotation of its twin."""
    twin = twin_of(house, tmp_path / "twin")
    grow(twin, 5)
    rotate(house)
    lying = OfficeSource(twin)
    lying.shown["rotations.json"] = encode_rotations(house.keyring.history().registered)
    with pytest.raises(Contradiction) as caught:
        copy(lying, tmp_path / "mirror", identity(twin))
    assert caught.value.kind in (Kind.ENTRY, Kind.RETIRED)
    assert not (tmp_path / "mirror" / "checkpoint").exists()
    assert not (tmp_path / "mirror" / "rotations.json").exists()


def test_a_mirror_refuses_a_head_by_retired_keys_even_if_it_was_told_of_them(
    house: Office, source: OfficeSource, tmp_path: Path, clock: SetClock
) -> None:
    """A trust file of after has the retired keys too; the rotations say until when they held."""
    stale = house.keyring.held().sign
    rotate(house)
    head = house.ledger.head()
    source.shown["checkpoint"] = stale(head.size, head.root, clock.now())
    with pytest.raises(Contradiction) as caught:
        copy(source, tmp_path / "mirror", identity(house))
    assert caught.value.kind is Kind.RETIRED


def test_the_mirror_command_follows_too(
    house: Office, source: OfficeSource, old: Identity, tmp_path: Path
) -> None:
    rotate(house)
    keys = [part for key in old.keys for part in ("--key", key.encode())]
    with http_door(source) as url:
        done = CliRunner().invoke(
            mirror_command, [url, str(tmp_path / "mirror"), *keys, "--verify"]
        )
    assert done.exit_code == 0, done.output
    assert "0 faults" in done.output


# --- the witness -------------------------------------------------------------------------------


def asked(house: Office, note: bytes, old: int, size: int) -> bytes:
    proof = house.ledger.prove_consistency(old, size) if old else ()
    lines = "".join(f"{encode_base64(node)}\n" for node in proof)
    return f"old {old}\n{lines}\n".encode() + note


def test_a_witness_that_knows_only_the_old_keys_cosigns_the_hand_over_and_then_needs_the_new_ones(
    house: Office, old: Identity, tmp_path: Path
) -> None:
    """Its operator adds the new keys: it goes on from the very checkpoint that it saw last."""
    home = tmp_path / "witness"
    home.mkdir()
    signer = Ed25519Cosigner("w.example/1", Ed25519PrivateKey.generate(), lambda: 1_800_000_000)
    witness = Cosigner(home, logs=old.keys, signers=[signer])
    first = house.ledger.head()
    assert witness.add_checkpoint(asked(house, first.checkpoint, 0, first.size)).status == 200
    house.rotating.rotate(EVERY)
    handover = house.ledger.head()
    body = asked(house, handover.checkpoint, first.size, handover.size)
    assert witness.add_checkpoint(body).status == 200
    grow(house, 2)
    later = house.ledger.head()
    body = asked(house, later.checkpoint, handover.size, later.size)
    assert witness.add_checkpoint(body).status == 403
    told = Cosigner(home, logs=[*old.keys, *identity(house).keys[:2]], signers=[signer])
    assert told.add_checkpoint(body).status == 200


def test_a_witness_of_the_new_keys_alone_takes_the_hand_over_too(
    house: Office, tmp_path: Path
) -> None:
    house.rotating.rotate(EVERY)
    head = house.ledger.head()
    signer = Ed25519Cosigner("w.example/1", Ed25519PrivateKey.generate(), lambda: 1_800_000_000)
    witness = Cosigner(tmp_path, logs=identity(house).keys[:2], signers=[signer])
    assert witness.add_checkpoint(asked(house, head.checkpoint, 0, head.size)).status == 200
