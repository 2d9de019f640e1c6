"""Each act of the house that writes, so that it can be done, broken off, and asked for again.

Doing one twice is what a client does who got no answer: where the act has an Idempotency-Key, the
second time has the same. `held` raises AssertionError where what the act promised is not so.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from unittest import mock

import sqlalchemy as sa

from notary.clock import Clock, SystemClock, parse_rfc3339
from notary.cosigner import Cosigner
from notary.errors import Conflict
from notary.fsck import fsck
from notary.issued import CERTIFICATE, PAPER
from notary.journal import read_place, segment_key
from notary.model import Case, Declared, Deposit, EventKind, Principal, Role, uuid7
from notary.office import Office, found
from notary.originals import object_key
from notary.register import CUSTODY, DEPOSIT, insert_case
from notary.settings import Settings
from notary.stamps import TOKEN
from notary.sweep import sweep
from notary.tlog.checkpoint import Checkpoint, parse_checkpoint_text
from notary.tlog.merkle import check_consistency
from notary.tlog.note import open_note, parse_note
from notary.witness_house import found_witness, open_witness, witness_keys
from storage.local_lock import PREFIX as PROTECTION

CLERK = Principal(account_id="0" * 36, name="clerk", role=Role.CLERK, authenticated_by="api-key")
CASE_NUMBER = "12 O 34/26"
ORIGINAL = b"the original of a deposit, as it came\n"
DIGEST_ONLY = hashlib.sha256(b"kept by the depositor").hexdigest()
ROWS = tuple(hashlib.sha256(b"row %d" % number).hexdigest() for number in range(3))


# --- houses -----------------------------------------------------------------------------------


def make_house(root: Path, settings: Settings | None = None, clock: Clock | None = None) -> None:
    """A house with a case and two deposits, of which the first has its tokens and the second
    waits for them; beside it a witness that watches its log."""
    settings = settings or Settings(home=root / "house")
    randomness = random.Random("made").randbytes
    found(settings, clock=clock)
    office = Office(settings, clock=clock, randomness=randomness)
    case = Case(
        id=uuid7(office.clock.now(), bytes(10)), court="Court", number=CASE_NUMBER,
        title="A v. B", opened_at=office.clock.now(),
    )  # fmt: skip
    office.chronicle.record(
        EventKind.CASE_OPENED, actor="clerk", case_id=case.id,
        also=lambda connection, _at: insert_case(connection, case),
    )  # fmt: skip
    deposit(office, b"first", Declared(name="first", document_timestamp=True))
    for authority in office.stamping.authorities:
        office.stamping.run(authority)
    deposit(office, b"second", Declared(name="second", document_timestamp=True))
    office.publish()
    keys = [key.encode() for key in office.trust.log_keys]
    office.close()
    found_witness(root / "witness", name="court-b.example/w", logs=keys)


@contextmanager
def house(
    root: Path, *, chance: int = 0, clock: Clock | None = None, **more: Any
) -> Iterator[Office]:
    """Opens it; its randomness is that of `chance`, so that folders have the same names again."""
    settings = Settings(home=root / "house", **more)
    office = Office(settings, clock=clock, randomness=random.Random(f"{chance}").randbytes)
    try:
        yield office
    finally:
        office.close()


@contextmanager
def witnessed_house(root: Path, *, chance: int = 0) -> Iterator[Office]:
    """The same with its witness behind a door of loopback."""
    cosigner = open_witness(root / "witness")
    (key, _) = witness_keys(root / "witness")
    with _witness_door(cosigner) as url:
        policy = root / "policy"
        policy.write_text(f"witness w {key.encode()} {url}\nquorum w\n")
        with house(root, chance=chance, witness_policy=policy) as office:
            yield office


@contextmanager
def _witness_door(cosigner: Cosigner) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            answer = cosigner.add_checkpoint(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.end_headers()
            self.wfile.write(answer.body.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


# --- the acts ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """`outside` are errors that the act's caller expects beside the house's own family."""

    run: Callable[[Office], object]
    held: Callable[[Office], None]
    opened: Callable[..., Any] = house
    spoil: Callable[[Path], None] = lambda _root: None
    """What has to be so for the act to have something to do."""
    outside: tuple[type[Exception], ...] = ()


def deposit(office: Office, data: bytes, declared: Declared) -> Deposit:
    with office.intake.receive(office.intake.admit(CLERK, declared)) as reception:
        reception.write(data)
        return reception.register(declared).deposit


def rows_of(office: Office, table: sa.Table, *where: sa.ColumnElement[bool]) -> list[Any]:
    with office.database.reading() as connection:
        return list(connection.execute(sa.select(table).where(*where)))


def _deposit(office: Office) -> object:
    declared = Declared(
        name="a.txt", case=CASE_NUMBER, document_timestamp=True, idempotency_key="deposit"
    )
    return deposit(office, ORIGINAL, declared)


def _deposit_held(office: Office) -> None:
    (row,) = rows_of(office, DEPOSIT, DEPOSIT.c.sha256 == hashlib.sha256(ORIGINAL).hexdigest())
    assert b"".join(office.objects.open(object_key(row.id))) == ORIGINAL
    assert row.exhibit is not None
    assert row.id in [id_ for id_, _ in office.stamps.documents_due(10)]
    office.intake.receipt_of(office.register.deposit(row.id))


def _digest(office: Office) -> object:
    declared = Declared(size=21, digests={"sha-256": DIGEST_ONLY}, idempotency_key="digest")
    return office.intake.register_digests(CLERK, declared)


def _digest_held(office: Office) -> None:
    (row,) = rows_of(office, DEPOSIT, DEPOSIT.c.sha256 == DIGEST_ONLY)
    office.intake.receipt_of(office.register.deposit(row.id))


def _event(office: Office) -> object:
    return office.chronicle.record(EventKind.SIGNED_IN, actor="clerk", subject="once")


def _event_held(office: Office) -> None:
    # It has no key: asked for again, what was done unanswered is done once more, and both stand.
    found_ = rows_of(office, CUSTODY, CUSTODY.c.subject == "once")
    assert found_
    assert len({row.idx for row in found_}) == len(found_)


def _batch(office: Office) -> object:
    rows = [{"size": 5, "digests": {"sha-256": each}, "case": CASE_NUMBER} for each in ROWS]
    rows.append({"size": 5, "digests": {"sha-256": ROWS[0]}, "case": "none", "name": "refused"})
    return office.batches.receive(
        [json.dumps(row).encode() for row in rows],
        by=CLERK, key="batch", atomic=False, check_end=lambda _stated, _rows: None,
    )  # fmt: skip


def _batch_held(office: Office) -> None:
    found_ = [rows_of(office, DEPOSIT, DEPOSIT.c.sha256 == each) for each in ROWS]
    assert [len(each) for each in found_] == [1, 1, 1]
    ((first,), (second,), (third,)) = found_
    assert (first.idx + 1, first.idx + 2) == (second.idx, third.idx)
    lines = b"".join(office.batches.answer(office.batches.totals(first.batch_id, CLERK)))
    said = [json.loads(line) for line in lines.splitlines()]
    assert [line.get("index") for line in said] == [first.idx, second.idx, third.idx, None]


def _refresh(office: Office) -> object:
    return office.sequencer.refresh(timedelta(0))


def _nothing_more(_office: Office) -> None: ...


def _stamp(office: Office) -> object:
    return [office.stamping.run(authority) for authority in office.stamping.authorities]


def _stamp_held(office: Office) -> None:
    assert office.stamps.documents_due(10) == ()
    over = [row.size for row in rows_of(office, TOKEN, TOKEN.c.size.is_not(None))]
    assert len(over) == len(set(over)) == 2
    documents = [row.deposit_id for row in rows_of(office, TOKEN, TOKEN.c.size.is_(None))]
    assert len(documents) == len(set(documents)) == 2
    assert over[-1] == office.ledger.head().size


def _witness(office: Office) -> object:
    assert office.witnessing is not None
    return office.witnessing.run()


def _witness_held(office: Office) -> None:
    newest = office.witnesses.newest()
    assert newest is not None
    assert newest.size == office.ledger.head().size
    assert office.witnessing is not None
    keys = [witness.key for witness in office.witnessing.policy.witnesses]
    assert open_note(parse_note(newest.checkpoint), keys)


def _first(office: Office) -> Deposit:
    (row,) = rows_of(office, DEPOSIT, DEPOSIT.c.name == "first")
    return office.register.deposit(row.id)


def _certificate(office: Office) -> object:
    return office.issue.certificate(_first(office), by=CLERK)


def _certified(root: Path) -> None:
    with house(root) as office:
        _certificate(office)


def _paper(office: Office) -> object:
    return office.issue.pdf(office.issue.certificate(_first(office), by=CLERK), lang="en")


def _paper_held(office: Office) -> None:
    (row,) = rows_of(office, PAPER)
    assert _paper(office) == row.pdf


def _certificate_held(office: Office) -> None:
    (row,) = rows_of(office, CERTIFICATE)
    assert office.issue.certificate(_first(office), by=CLERK).json == row.json
    issued = rows_of(office, CUSTODY, CUSTODY.c.kind == EventKind.CERTIFICATE_ISSUED.value)
    assert [event.subject for event in issued] == [f"{row.id} v1"]


def _publish(office: Office) -> object:
    office.publish()
    return None


def _publish_held(office: Office) -> None:
    shown = (office.settings.home / "published.checkpoint").read_bytes()
    assert shown == office.ledger.head().checkpoint


def _recover(office: Office) -> object:
    """What `notary serve` and its worker do first."""
    office.examine()
    sweep(office.register, office.objects, SystemClock().now())
    office.publish()
    return None


def litter(root: Path) -> None:
    """An original without a deposit, and half an upload."""
    folder = root / "house" / "objects" / "originals" / "zz"
    folder.mkdir()
    for name in ("00000000-0000-7000-8000-0000000000zz", "+incoming-half"):
        (folder / name).write_bytes(b"left by a crash")


def _discard(office: Office) -> object:
    """A deposit that the ledger refuses: its exhibit number is taken."""
    office.intake.register_digests(
        CLERK,
        Declared(
            size=1, digests={"sha-256": DIGEST_ONLY}, case=CASE_NUMBER, exhibit="K 1",
            idempotency_key="taken",
        ),
    )  # fmt: skip
    with contextlib.suppress(Conflict):
        deposit(office, ORIGINAL, Declared(name="b.txt", case=CASE_NUMBER, exhibit="K 1"))
    return None


def _discard_held(office: Office) -> None:
    assert rows_of(office, DEPOSIT, DEPOSIT.c.name == "b.txt") == []


@contextmanager
def retaining_house(root: Path, *, chance: int = 0, **more: Any) -> Iterator[Office]:
    """The same with a setting that retains originals."""
    objects = f"{(root / 'house' / 'objects').as_uri()}?days=7"
    with house(root, chance=chance, objects=objects, **more) as office:
        yield office


def _retained_held(office: Office) -> None:
    """What is not retained at once is due, and the pulse's code does it."""
    assert office.retention.run(timedelta(0)).failed == ()
    assert office.retention.waiting() == 0
    for row in rows_of(office, DEPOSIT, DEPOSIT.c.name.in_(["a.txt", "unretained"])):
        there = office.objects.protection(object_key(row.id), version=row.object_version)
        assert there.until is not None
        assert there.until >= parse_rfc3339(row.registered_at) + timedelta(days=7)


def _retained_deposit_held(office: Office) -> None:
    _deposit_held(office)
    _retained_held(office)


def _unretained(root: Path) -> None:
    """A deposit whose process ended before the store was asked to retain it."""
    with (
        retaining_house(root) as office,
        mock.patch.object(office.retention, "apply", return_value=False),
    ):
        deposit(office, b"unretained", Declared(name="unretained"))


def _retain(office: Office) -> object:
    return office.retention.run(timedelta(0))


ACTS: dict[str, Act] = {
    "deposit": Act(run=_deposit, held=_deposit_held),
    "deposit-retained": Act(run=_deposit, held=_retained_deposit_held, opened=retaining_house),
    "retention": Act(run=_retain, held=_retained_held, opened=retaining_house, spoil=_unretained),
    "digest": Act(run=_digest, held=_digest_held),
    "refusal": Act(run=_discard, held=_discard_held),
    "event": Act(run=_event, held=_event_held),
    "batch": Act(run=_batch, held=_batch_held),
    "refresh": Act(run=_refresh, held=_nothing_more),
    "stamp": Act(run=_stamp, held=_stamp_held),
    "witness": Act(run=_witness, held=_witness_held, opened=witnessed_house),
    "certificate": Act(run=_certificate, held=_certificate_held),
    "paper": Act(run=_paper, held=_paper_held, spoil=_certified),
    "publish": Act(run=_publish, held=_publish_held, outside=(OSError,)),
    "recovery": Act(run=_recover, held=_publish_held, spoil=litter, outside=(OSError,)),
}


# --- what must be so of every house -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What strangers know of a house: checkpoints they saw, deposits they were promised."""

    checkpoints: tuple[Checkpoint, ...] = ()
    deposits: tuple[tuple[str, int, str], ...] = ()

    def and_of(self, office: Office) -> Told:
        """As well as what this house shows now."""
        deposits = (
            (row.id, row.idx, row.sha256) for row in rows_of(office, DEPOSIT) if row.idx >= 0
        )
        return replace(
            self,
            checkpoints=(*self.checkpoints, newest(office)),
            deposits=tuple(dict.fromkeys((*self.deposits, *deposits))),
        )


def newest(office: Office) -> Checkpoint:
    """The newest checkpoint, after its signatures held."""
    note = parse_note(office.ledger.head().checkpoint)
    said = parse_checkpoint_text(note.text)
    keys = office.log_keys_at(said.size)
    assert len(open_note(note, keys)) == len(keys)
    return said


def check_house(office: Office, told: Told) -> None:
    """It stands, it only grew, everything promised is there once, nothing is left lying about,
    and everything can be derived again."""
    office.examine()
    now = newest(office)
    for old in told.checkpoints:
        check_consistency(
            old=old.size, new=now.size, old_root=old.root, new_root=now.root,
            proof=office.ledger.prove_consistency(old.size, now.size),
        )  # fmt: skip
    there = rows_of(office, DEPOSIT)
    disposed = {(row.id, row.idx) for row in there if row.disposed_at is not None}
    whole = {(row.id, row.idx, row.sha256) for row in there}
    assert {each for each in told.deposits if each[:2] not in disposed} <= whole
    ever = SystemClock().now() + timedelta(minutes=1)  # files bear the machine's own time
    sweep(office.register, office.objects, ever)
    again = sweep(office.register, office.objects, ever)
    assert (again.unfinished, again.orphans) == (0, ())
    check_nothing_lies_about(office)
    findings = fsck(
        database=office.database, objects=office.objects, trust=office.trust, strays_before=ever,
        wrapping=office.wrapping,
    )  # fmt: skip
    assert findings.faults == []


def check_nothing_lies_about(office: Office) -> None:
    stored = {
        row.id for row in rows_of(office, DEPOSIT, DEPOSIT.c.stored) if row.disposed_at is None
    }
    folder = office.settings.home / "objects"
    objects = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    with office.database.reading() as connection:
        place = read_place(connection)
    segments = {segment_key(number) for number in range(place.number)}
    if place.staged is not None:  # its object may be there or not
        segments -= {last := segment_key(place.number - 1)}
        objects = (path for path in objects if path.as_posix() != last)
    kept = {path.as_posix() for path in objects}
    journal = [path for path in kept if path.startswith("journal/")]
    assert sorted(path.partition(".")[0] for path in journal) == sorted(segments)
    beside = {Path(path).name for path in kept if Path(path).name.startswith(PROTECTION)}
    assert {name.removeprefix(PROTECTION) for name in beside} <= stored
    assert {Path(path).name for path in kept - set(journal)} - beside == stored


def copied(root: Path, to: Path) -> Path:
    shutil.copytree(root, to)
    return to
