"""The acts of `tests.harness.acts`, and those of the house about itself: its journal, its keys, the
issuers outside that it admits, and their statements."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from notary.errors import Conflict, Rejected
from notary.issuer_key import parse_issuer_key
from notary.issuers import STATEMENT, WAITING
from notary.journal import read_place, segment_key
from notary.journal_read import forwards
from notary.journal_tables import CHANGE
from notary.keyring import load_active
from notary.keystore import KeyStore
from notary.ledger import ENTRY
from notary.model import EventKind
from notary.office import Office
from notary.rebuild import rebuild
from notary.reconcile import Walker
from notary.register import CUSTODY
from notary.registering import Registered
from notary.remains import PASS, Kind
from notary.rotation import Job, digest_of
from notary.statement import POLICY_TYPE, ROTATION_TYPE, parse_statement
from notary.tlog.note import open_note, parse_note
from tests.harness import acts, disposal_acts
from tests.harness.acts import Act, house, rows_of
from tests.harness.archive_acts import ARCHIVE_ACTS
from tests.harness.issuer import OutsideIssuer, entry_of, id_of
from tests.harness.node_acts import NODE_ACTS
from tests.harness.restoring import rows_of as every_row


def _issuer(iss: str) -> OutsideIssuer:
    """Its key is made of its name, so that its statements have the same names again."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(iss.encode()).digest())
    return OutsideIssuer(iss=iss, alg="EdDSA", private=key, kid=b"key-1")


VENDOR, RETIRED = _issuer("https://vendor.example"), _issuer("https://retired.example")
STATEMENTS = tuple(VENDOR.statement(b"it is so: %d" % number) for number in range(2))
TOO_LATE = RETIRED.statement(b"it was so")


# --- the journal ------------------------------------------------------------------------------


def _journal(office: Office) -> object:
    return office.journal.run()


def _first_segment(root: Path) -> None:
    """The journal has one, and since then there is more."""
    with house(root, chance=7) as office:
        office.journal.run()
        acts.ACTS["digest"].run(office)
        acts.ACTS["stamp"].run(office)


def _journal_held(office: Office) -> None:
    """Its segments are one chain from the genesis document to what the database names, with each
    entry once, and the house can be made again of them."""
    with office.database.reading() as connection:
        place = read_place(connection)
    size = office.ledger.head().size
    assert (place.staged, place.entries, place.kept) == (None, size, size)
    assert rows_of(office, CHANGE) == []
    lies = {each.key for each in office.objects.walk("journal/")}
    assert lies == {segment_key(number) for number in range(place.number)}
    genesis = hashlib.sha256(office.house.genesis.encode()).digest()
    chain = list(forwards(office.objects, 0, place.number, genesis))
    assert chain[-1].digest == place.digest
    entered = [
        row[block.columns.index("statement")]
        for segment in chain
        for block in segment.blocks
        if block.table == ENTRY.name
        for row in block.rows
    ]
    assert entered == list(office.ledger.entries(0, size))
    _made_again(office)


def _made_again(office: Office) -> None:
    with TemporaryDirectory() as folder:
        settings = replace(office.settings, database=f"sqlite:///{folder}/again.db")
        rebuild(settings, mirror=None)
        with closing(Office(settings)) as again:
            # Serial numbers alone go on further up.
            assert every_row(again, "embedded_authority") == every_row(office, "embedded_authority")
            assert again.ledger.head() == office.ledger.head()


# --- keys ---------------------------------------------------------------------------------------


def _rotate(office: Office) -> object:
    return office.rotating.rotate(frozenset({Job.LOG, Job.STATEMENT}))


def _rotate_held(office: Office) -> None:
    """Asked for again it is another rotation. Each of them is one entry, and the keys that sign
    are those of the last one, in every process, from the files that are there."""
    history = office.keyring.history()
    assert history.serial >= 1
    entries = office.ledger.entries(0, office.ledger.head().size)
    entered = [
        (index, statement.payload)
        for index, statement in enumerate(map(parse_statement, entries))
        if statement.preimage_type == ROTATION_TYPE
    ]
    assert entered == [(each.index, digest_of(each.document)) for each in history.registered]
    load_active(KeyStore(office.settings.home / "keys"), history)
    head = office.ledger.head()
    assert len(open_note(parse_note(head.checkpoint), history.active.log)) == 2
    shown = (office.settings.home / "published.checkpoint").read_bytes()
    assert shown == head.checkpoint


# --- issuers outside ----------------------------------------------------------------------------


def _admitted(root: Path) -> None:
    with house(root, chance=7) as office:
        _admit(office)


def _admit(office: Office, issuer: OutsideIssuer = VENDOR) -> object:
    """Asked for again it says that the key is admitted: then it is."""
    key = parse_issuer_key(issuer.pem)
    try:
        return office.admitting.admit("operator", iss=issuer.iss, key=key, kid=issuer.kid)
    except Conflict as exc:
        assert exc.code == "issuer_key_exists"
        return None


def _admit_held(office: Office) -> None:
    (kept,) = office.issuers.policies()
    (entry,) = office.ledger.entries(kept.index, 1)
    statement = parse_statement(entry)
    assert statement.payload == hashlib.sha256(kept.document.encode()).digest()
    entries = office.ledger.entries(0, office.ledger.head().size)
    assert [parse_statement(each).preimage_type for each in entries].count(POLICY_TYPE) == 1
    (event,) = rows_of(office, CUSTODY, CUSTODY.c.kind == EventKind.ISSUER_ADMITTED.value)
    assert event.idx == kept.index + 1
    assert office.issuers.newest() == kept.policy
    assert [key.iss for key in kept.policy.keys] == [VENDOR.iss]


# --- their statements ---------------------------------------------------------------------------


def _taken(root: Path) -> None:
    """It waits already when somebody asks for it at once."""
    with house(root, chance=7) as office:
        _admit(office)
        _wait(office)


def _register(office: Office) -> object:
    return office.registering.register(STATEMENTS[0], later=False)


def _registered_once(office: Office, statement: bytes) -> int:
    """The index of the one entry that it is."""
    (row,) = rows_of(office, STATEMENT, STATEMENT.c.id == id_of(statement))
    entries = list(office.ledger.entries(0, office.ledger.head().size))
    index = entries.index(entry_of(statement))
    assert (row.idx, entries.count(entry_of(statement))) == (index, 1)
    assert rows_of(office, WAITING, WAITING.c.id == id_of(statement)) == []
    found = office.registering.resolve(id_of(statement))  # proved anew
    assert isinstance(found, Registered)
    assert found.index == index
    return index


def _register_held(office: Office) -> None:
    _registered_once(office, STATEMENTS[0])


def _wait(office: Office) -> object:
    return office.registering.register(STATEMENTS[0], later=True)


def _wait_held(office: Office) -> None:
    """It waits once, or was registered since; and the worker registers it once."""
    where: tuple[sa.Table, ...] = (WAITING, STATEMENT)
    stands = [len(rows_of(office, each, each.c.id == id_of(STATEMENTS[0]))) for each in where]
    assert sum(stands) == 1
    office.registering.run()
    _registered_once(office, STATEMENTS[0])


def _three_wait(root: Path) -> None:
    """Of which one is to be refused: its issuer's key was retired meanwhile."""
    with house(root, chance=7) as office:
        for issuer in (VENDOR, RETIRED):
            _admit(office, issuer)
        for statement in (*STATEMENTS, TOO_LATE):
            office.registering.register(statement, later=True)
        office.admitting.retire("operator", parse_issuer_key(RETIRED.pem).thumbprint())


def _register_waiting(office: Office) -> object:
    return office.registering.run()


def _waiting_held(office: Office) -> None:
    first, second = (_registered_once(office, each) for each in STATEMENTS)
    assert second == first + 1
    assert len(rows_of(office, STATEMENT)) == 2
    (refused,) = rows_of(office, WAITING)
    assert (refused.id, refused.code) == (id_of(TOO_LATE), "issuer_key_not_in_force")
    assert not office.registering.is_due()
    with contextlib.suppress(Rejected):
        office.registering.resolve(refused.id)
        raise AssertionError("what was refused is given out")


# --- the pass that mends and reports --------------------------------------------------------------

STRAY = f"statement-{'0' * 16}.pem"


@contextlib.contextmanager
def _impatient(root: Path, *, chance: int = 0) -> Iterator[Office]:
    """What is left is old at once."""
    with house(root, chance=chance, orphan_hours=0) as office:
        yield office


def _remain(root: Path) -> None:
    """An original without a deposit, halves of an upload and of a file, a key of a rotation that
    was killed two hours ago."""
    acts.litter(root)
    (root / "house" / "+incoming-half").write_bytes(b"left by a crash")
    stray = root / "house" / "keys" / STRAY
    stray.write_bytes(b"no key of ours")
    then = stray.stat().st_mtime - 7_200
    os.utime(stray, (then, then))


def _reconcile(office: Office) -> object:
    if office.reconciling.run(Walker()) is None:
        # The hold of the one that died runs out after a minute, for which no test waits.
        with office.database.writing() as connection:
            connection.execute(sa.update(PASS).values(held_until=""))
        assert office.reconciling.run(Walker()) is not None
    return None


def _reconcile_held(office: Office) -> None:
    """Met once, however often it was begun."""
    remains = office.reconciling.remains
    assert remains.passes()[0].finished_at is not None
    # By its path, which is another one in the copy that a crash is looked at in.
    found = [each.remnant for each in remains.findings()]
    assert {each.kind for each in found} == {Kind.KEY}
    assert {Path(each.name).name for each in found} == {STRAY}
    assert list(office.settings.home.rglob("+incoming-*")) == []


ACTS: dict[str, Act] = {
    **acts.ACTS,
    **disposal_acts.ACTS,
    **NODE_ACTS,
    **ARCHIVE_ACTS,
    "journal": Act(run=_journal, held=_journal_held),
    "journal-on": Act(run=_journal, held=_journal_held, spoil=_first_segment),
    "reconcile": Act(
        run=_reconcile, held=_reconcile_held, spoil=_remain, opened=_impatient, outside=(OSError,)
    ),
    "rotation": Act(run=_rotate, held=_rotate_held, outside=(OSError,)),
    "admission": Act(run=_admit, held=_admit_held),
    "statement": Act(run=_register, held=_register_held, spoil=_taken),
    "statement-later": Act(run=_wait, held=_wait_held, spoil=_admitted),
    "statements-waiting": Act(run=_register_waiting, held=_waiting_held, spoil=_three_wait),
}
