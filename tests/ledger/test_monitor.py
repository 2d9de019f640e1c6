"""The monitor believes nothing that it has not proved, and keeps the evidence of every lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from notary.cosigner import Cosigner
from notary.errors import MalformedInput, Unreachable, Unverifiable
from notary.follow import Withheld
from notary.monitor import MOST_EVIDENCE, Monitor, Stale, keep_evidence
from notary.office import Office
from notary.readable import Source
from notary.signed_head import Contradiction, Identity, Kind
from notary.tlog.checkpoint import Checkpoint, encode_base64, parse_checkpoint_text
from notary.tlog.cosignature import Ed25519Cosigner
from notary.tlog.note import Ed25519Signer, Note, parse_note, sign_note
from notary.tlog.policy import Policy, parse_policy
from notary.tlog.tile import tile_path
from tests.harness.watching import (
    Killed,
    OfficeSource,
    SetClock,
    grow,
    identity,
    new_house,
    sql,
    stored_tile,
    twin_of,
)


@pytest.fixture
def monitor(house: Office, source: OfficeSource, state: Path, clock: SetClock) -> Monitor:
    return Monitor(
        source=source, identity=identity(house), state=state, clock=clock, max_age_s=1800,
        entries=True,
    )  # fmt: skip


def contradicted(monitor: Monitor, kind: Kind) -> Contradiction:
    """What it says; and it must not have moved on."""
    with pytest.raises(Contradiction) as caught:
        monitor.look()
    assert caught.value.kind is kind
    return caught.value


def head_note(house: Office) -> bytes:
    return house.ledger.head().checkpoint


# --- an honest log ---------------------------------------------------------------------------


def test_an_honest_log_is_followed_through_every_shape_of_tree(
    house: Office, monitor: Monitor, state: Path, clock: SetClock
) -> None:
    size = 1
    assert monitor.look().size == 1
    for count in (1, 253, 1, 1, 511, 1, 65_024, 3, 300):  # ends at 256, 257, 768, 65 793 …
        grow(house, count)
        clock.pass_(seconds=5)
        look = monitor.look()
        assert (look.old, look.size, look.age_s) == (size, size + count, 5)
        assert state.read_bytes() == head_note(house)
        size += count


def test_a_log_that_rests_is_looked_at_again_and_its_newer_signature_is_kept(
    house: Office, monitor: Monitor, state: Path, clock: SetClock
) -> None:
    monitor.look()
    before = state.read_bytes()
    clock.pass_(minutes=11)
    house.sequencer.refresh(clock.now() - clock.now())
    assert monitor.look().size == 1
    assert state.read_bytes() != before


def test_only_the_new_part_is_read(house: Office, monitor: Monitor, source: OfficeSource) -> None:
    grow(house, 5_000)
    monitor.look()
    source.read_paths.clear()
    grow(house, 10)
    monitor.look()
    assert len(source.read_paths) < 10, source.read_paths


def test_a_partial_tile_that_is_gone_is_cut_from_the_full_one(
    house: Office, monitor: Monitor, source: OfficeSource
) -> None:
    grow(house, 99)
    source.shown["checkpoint"] = head_note(house)
    grow(house, 900)
    source.absent |= {tile_path(level, 0, 100) for level in (0, "entries")}
    assert monitor.look().size == 100


@pytest.mark.parametrize("entries", [True, False])
def test_a_monitor_killed_at_any_read_goes_on_where_it_was(
    house: Office, source: OfficeSource, state: Path, clock: SetClock, entries: bool
) -> None:
    def new() -> Monitor:
        return Monitor(
            source=source, identity=identity(house), state=state, clock=clock, entries=entries
        )

    new().look()
    first = state.read_bytes()
    grow(house, 1_300)
    dies_at = 0
    while state.read_bytes() == first:
        dies_at += 1
        source.die_at(dies_at)
        try:
            assert new().look().old == 1
        except Killed:
            assert state.read_bytes() == first
    assert dies_at > 6
    assert state.read_bytes() == head_note(house)


# --- a log that contradicts itself -------------------------------------------------------------


def test_a_log_that_went_back_is_shown_with_both_notes(
    house: Office, monitor: Monitor, state: Path
) -> None:
    older = house.ledger.head()
    grow(house, 3)
    monitor.look()
    newer = state.read_bytes()
    sql(house, "UPDATE tree_head SET size = ?, root = ?, checkpoint = ?",
        older.size, older.root, older.checkpoint)  # fmt: skip
    said = contradicted(monitor, Kind.ROLLBACK).evidence()
    assert newer.decode() in said
    assert older.checkpoint.decode() in said
    assert state.read_bytes() == newer


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [(5, 5, Kind.FORK), (5, 6, Kind.INCONSISTENT), (300, 999, Kind.INCONSISTENT),
     (255, 65_600, Kind.INCONSISTENT), (5, 4, Kind.ROLLBACK)],
)  # fmt: skip
def test_a_twin_with_the_same_keys_is_found_out_whatever_its_size(
    house: Office, source: OfficeSource, monitor: Monitor, state: Path, tmp_path: Path,
    ours: int, theirs: int, kind: Kind,
) -> None:  # fmt: skip
    twin = twin_of(house, tmp_path / "twin")
    grow(house, ours)
    grow(twin, theirs)
    monitor.look()
    source.house = twin
    said = contradicted(monitor, kind).evidence()
    assert head_note(house).decode() in said
    assert head_note(twin).decode() in said
    assert state.read_bytes() == head_note(house)


def test_a_twin_that_shows_the_tiles_of_the_known_history_does_not_fit_its_own_root(
    house: Office, source: OfficeSource, monitor: Monitor, tmp_path: Path
) -> None:
    twin = twin_of(house, tmp_path / "twin")
    grow(house, 300)
    grow(twin, 300)
    monitor.look()
    grow(house, 300)
    grow(twin, 300)
    source.shown["checkpoint"] = head_note(twin)
    contradicted(monitor, Kind.TILE)


@pytest.mark.parametrize(("level", "n"), [(0, 0), (0, 1), (0, 2), (0, 257), (1, 0), (1, 1), (2, 0)])
def test_a_bit_that_flipped_in_any_tile_is_named(
    house: Office, monitor: Monitor, state: Path, level: int, n: int
) -> None:
    grow(house, 66_000)
    hashes = stored_tile(house, level, n)
    flipped = hashes[:-1] + bytes([hashes[-1] ^ 4])
    sql(house, "UPDATE tile SET hashes = ? WHERE level = ? AND n = ?", flipped, level, n)
    said = contradicted(monitor, Kind.TILE)
    assert tile_path(level, n, len(hashes) // 32) in str(said)
    assert head_note(house).decode() in said.evidence()
    assert not state.exists()


@pytest.mark.parametrize("index", [0, 255, 256, 299])
def test_an_entry_changed_by_hand_is_named_where_entries_are_read(
    house: Office, monitor: Monitor, source: OfficeSource, state: Path, clock: SetClock, index: int
) -> None:
    grow(house, 299)
    sql(house, "UPDATE entry SET statement = x'00ff' WHERE idx = ?", index)
    assert f"entry {index} " in str(contradicted(monitor, Kind.ENTRY))
    blind = Monitor(source=source, identity=identity(house), state=state, clock=clock)
    assert blind.look().size == 300  # the tree is as signed; nobody asked for the entries


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(64 * 32 + 1), bytes(300 * 32)])
def test_a_tile_of_another_length_is_wrong(
    house: Office, monitor: Monitor, source: OfficeSource, data: bytes
) -> None:
    grow(house, 63)
    source.shown[tile_path(0, 0, 64)] = data
    contradicted(monitor, Kind.TILE)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x00" * 65, b"\x00\x00" * 300])
def test_a_bundle_of_other_entries_is_wrong(
    house: Office, monitor: Monitor, source: OfficeSource, data: bytes
) -> None:
    grow(house, 63)
    source.shown[tile_path("entries", 0, 64)] = data
    contradicted(monitor, Kind.ENTRY)


@pytest.mark.parametrize("line", [0, 1])
def test_a_false_signature_by_either_key_of_the_log_is_evidence(
    house: Office, monitor: Monitor, source: OfficeSource, state: Path, line: int
) -> None:
    monitor.look()
    grow(house, 1)
    note = parse_note(head_note(house))
    lines = list(note.signatures)
    lines[line] = parse_note(state.read_bytes()).signatures[line]  # of another text
    source.shown["checkpoint"] = Note(text=note.text, signatures=tuple(lines)).encode()
    said = contradicted(monitor, Kind.SIGNATURE).evidence()
    assert source.shown["checkpoint"].decode() in said
    assert state.read_text() in said


def test_what_the_key_of_the_log_must_not_sign_is_evidence(
    house: Office, monitor: Monitor, source: OfficeSource
) -> None:
    signer = Ed25519Signer(house.house.origin, house.keys.log)
    other = Checkpoint(origin="other.example/log", size=0, root=hashlib.sha256(b"").digest())
    source.shown["checkpoint"] = sign_note(other.text(), [signer]).encode()
    contradicted(monitor, Kind.ORIGIN)
    source.shown["checkpoint"] = sign_note("three\nlines, but\nno checkpoint\n", [signer]).encode()
    contradicted(monitor, Kind.MALFORMED)


# --- what cannot be looked at ------------------------------------------------------------------


def test_a_key_that_is_not_known_is_no_contradiction(
    house: Office, monitor: Monitor, source: OfficeSource, state: Path, tmp_path: Path
) -> None:
    monitor.look()
    source.house = new_house(tmp_path / "another", house.clock)
    before = state.read_bytes()
    with pytest.raises(Unverifiable):
        monitor.look()
    assert state.read_bytes() == before


@pytest.mark.parametrize(
    "answer", [b"", b"<html>sign in to the hotel</html>", b"\xff\xfe", b"a\n\n"]
)
def test_an_answer_that_is_no_note_is_no_contradiction(
    monitor: Monitor, source: OfficeSource, answer: bytes
) -> None:
    source.shown["checkpoint"] = answer
    with pytest.raises(Unreachable):
        monitor.look()


@pytest.mark.parametrize(
    "path", ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000"]
)
def test_what_the_log_withholds_is_named_and_nothing_is_remembered(
    house: Office, monitor: Monitor, source: OfficeSource, state: Path, path: str
) -> None:
    grow(house, 299)
    source.absent.add(path)
    with pytest.raises(Unreachable, match="no " if path == "checkpoint" else "implies") as caught:
        monitor.look()
    assert path == "checkpoint" or isinstance(caught.value, Withheld)
    assert not state.exists()


def test_a_stale_checkpoint_is_told_but_remembered(
    house: Office, monitor: Monitor, state: Path, clock: SetClock
) -> None:
    clock.pass_(minutes=29)
    monitor.look()
    grow(house, 1)
    clock.pass_(minutes=31)
    with pytest.raises(Stale, match="1860 s ago"):
        monitor.look()
    assert state.read_bytes() == head_note(house)
    clock.pass_(hours=-2)
    with pytest.raises(Stale, match="from now"):
        monitor.look()


def test_an_age_that_no_known_key_signs_cannot_be_judged(
    house: Office, source: OfficeSource, state: Path, clock: SetClock
) -> None:
    (ed25519,) = (key for key in house.trust.log_keys if key.type == 1)
    only = Identity(origin=house.house.origin, keys=(ed25519,))
    asked = Monitor(source=source, identity=only, state=state, clock=clock, max_age_s=60)
    with pytest.raises(Unverifiable, match="ML-DSA-44"):
        asked.look()
    assert Monitor(source=source, identity=only, state=state, clock=clock).look().age_s is None


@pytest.mark.parametrize("content", [b"", b"not a note", b"x\n1\nAAAA\n\n"])
def test_a_state_that_is_no_checkpoint_is_refused_and_left_as_it_is(
    monitor: Monitor, state: Path, content: bytes
) -> None:
    state.write_bytes(content)
    with pytest.raises(MalformedInput):
        monitor.look()
    assert state.read_bytes() == content


def test_a_state_whose_size_was_edited_is_refused(
    house: Office, monitor: Monitor, state: Path
) -> None:
    grow(house, 8)
    state.write_bytes(head_note(house).replace(b"\n9\n", b"\n1\n"))
    with pytest.raises(MalformedInput):
        monitor.look()


# --- witnesses -----------------------------------------------------------------------------------

NAME = "court-b.example/w"


class WitnessSource:
    """A witness's own door, in this process."""

    name = "https://court-b.example"

    def __init__(self, cosigner: Cosigner) -> None:
        self.cosigner = cosigner
        self.up = True

    def read(self, path: str, max_bytes: int) -> bytes | None:
        if not self.up:
            raise Unreachable("court-b.example: connection refused")
        return self.cosigner.latest(path.removesuffix("/checkpoint"))


class Court:
    """A witness, and the policy that wants it."""

    def __init__(self, house: Office, home: Path) -> None:
        home.mkdir()
        self.signer = Ed25519Cosigner(
            NAME, Ed25519PrivateKey.generate(), lambda: int(house.clock.now().timestamp())
        )
        self.source = WitnessSource(
            Cosigner(home, logs=house.trust.log_keys, signers=[self.signer])
        )
        self.size = 0

    def policy(self, url: str = "https://court-b.example") -> Policy:
        return parse_policy(f"witness b {self.signer.verifier.encode()} {url}\nquorum b\n")

    def cosign(self, house: Office) -> None:
        """As the house asks it."""
        note = head_note(house)
        size = parse_checkpoint_text(parse_note(note).text).size
        proof = house.ledger.prove_consistency(self.size, size) if self.size else ()
        lines = "".join(f"{encode_base64(node)}\n" for node in proof)
        body = f"old {self.size}\n{lines}\n".encode() + note
        assert self.source.cosigner.add_checkpoint(body).status == 200
        self.size = size


@pytest.fixture
def court(house: Office, tmp_path: Path) -> Court:
    return Court(house, tmp_path / "court")


@pytest.fixture
def watching(
    house: Office, source: OfficeSource, state: Path, clock: SetClock, court: Court
) -> Monitor:
    def witness_source(url: str) -> Source:
        assert url == "https://court-b.example"
        return court.source

    return Monitor(
        source=source, identity=identity(house, court.policy()), state=state, clock=clock,
        witness_source=witness_source,
    )  # fmt: skip


def test_a_quorum_is_met_by_what_the_witnesses_show_themselves(
    house: Office, watching: Monitor, court: Court, clock: SetClock
) -> None:
    grow(house, 300)
    court.cosign(house)
    grow(house, 300)
    assert watching.look().size == 601  # the witness is one checkpoint behind, as it may be
    court.cosign(house)
    clock.pass_(minutes=5)
    grow(house, 1)
    assert watching.look().size == 602


def test_a_quorum_is_met_by_lines_on_the_checkpoint_itself(
    house: Office, watching: Monitor, source: OfficeSource, court: Court
) -> None:
    note = parse_note(head_note(house))
    line = court.signer.sign(note.text)
    source.shown["checkpoint"] = Note(text=note.text, signatures=(*note.signatures, line)).encode()
    assert watching.look().size == 1


def test_a_false_line_by_a_witness_is_evidence(
    house: Office, watching: Monitor, source: OfficeSource, court: Court
) -> None:
    note = parse_note(head_note(house))
    line = court.signer.sign(note.text.replace("\n1\n", "\n2\n"))
    source.shown["checkpoint"] = Note(text=note.text, signatures=(*note.signatures, line)).encode()
    contradicted(watching, Kind.SIGNATURE)


def test_a_quorum_that_has_never_seen_this_log_is_missing(
    house: Office, watching: Monitor, state: Path
) -> None:
    assert head_note(house).decode() in contradicted(watching, Kind.QUORUM).evidence()
    assert not state.exists()


def test_a_quorum_that_stays_behind_is_missing_when_its_time_is_over(
    house: Office, watching: Monitor, court: Court, clock: SetClock
) -> None:
    court.cosign(house)
    grow(house, 1)
    watching.look()
    grow(house, 1)
    watching.look()  # what was seen last was signed just now: it may still be on its way
    clock.pass_(minutes=2)
    contradicted(watching, Kind.QUORUM)
    court.cosign(house)
    watching.look()


def test_a_witness_that_does_not_answer_leaves_it_open(watching: Monitor, court: Court) -> None:
    court.source.up = False
    with pytest.raises(Unreachable, match="connection refused"):
        watching.look()


def test_two_histories_shown_to_us_and_to_a_witness_are_found_at_the_first_look(
    house: Office, watching: Monitor, court: Court, tmp_path: Path
) -> None:
    twin = twin_of(house, tmp_path / "twin")
    grow(house, 50)
    grow(twin, 20)
    court.cosign(twin)
    said = contradicted(watching, Kind.INCONSISTENT).evidence()
    assert head_note(house).decode() in said
    assert head_note(twin).decode().split("\n\n")[0] in said
    assert f"— {NAME} " in said


def test_a_log_that_shows_us_less_than_a_witness_saw_before_is_found(
    house: Office, source: OfficeSource, watching: Monitor, court: Court
) -> None:
    source.shown["checkpoint"] = head_note(house)
    grow(house, 5)
    court.cosign(house)
    contradicted(watching, Kind.ROLLBACK)


def test_growth_between_the_witness_and_the_log_is_no_rollback(
    house: Office, source: OfficeSource, watching: Monitor, court: Court
) -> None:
    court.cosign(house)

    def meanwhile(path: str) -> None:
        if path == "checkpoint":
            grow(house, 1)
            court.cosign(house)

    source.before = meanwhile
    assert watching.look().size == 2


# --- evidence ------------------------------------------------------------------------------------


def test_evidence_is_kept_once_and_never_written_over(tmp_path: Path) -> None:
    def evidence(text: str) -> Contradiction:
        return Contradiction(Kind.FORK, text, exhibits=())

    state = tmp_path / "place"
    first = keep_evidence(evidence("first"), state)
    assert first == tmp_path / "place.evidence"
    second = keep_evidence(evidence("second"), state)
    assert second != first
    assert keep_evidence(evidence("first"), state) == first
    assert "first" in first.read_text()
    assert "second" in second.read_text()
    for number in range(3, MOST_EVIDENCE + 1):
        keep_evidence(evidence(str(number)), state)
    with pytest.raises(Unreachable, match="already"):
        keep_evidence(evidence("one too many"), state)
