"""A house in which everything has happened once, and its tables row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from notary.audit_part import Contradiction, Read
from notary.auditing import Worker
from notary.audits import Kind
from notary.digest import SHA256
from notary.intake import Receipt
from notary.issuer_key import parse_issuer_key
from notary.journal_tables import WAYS, Way
from notary.model import Case, Declared, Deposit, EventKind, Principal, Role, uuid7
from notary.office import Office
from notary.originals import object_key
from notary.register import insert_case, insert_party
from notary.retention import INSERT_DUE, Due, due_row
from notary.witness import Witnessed, WitnessState
from storage.database import METADATA
from tests.harness.certified import deposit, depositor
from tests.harness.issuer import OutsideIssuer
from tests.harness.rotating import EVERY

PASSWORD = "correct horse battery staple"

Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """What was made. `certificates` are the JSON and PDF bytes by deposit id."""

    by: Principal
    api_key: str
    declared: Declared
    receipt: Receipt
    certificates: dict[str, tuple[bytes, bytes]]


def live(house: Office) -> Busy:
    """Accounts, a key, a case with a party, deposits of every kind, a batch, events, tokens; the
    house's keys rotated in the middle of it; an outside issuer with a statement and one that
    waits."""
    by = depositor(house, "agency")
    account = house.accounts.get(by.account_id)
    _, api_key = house.people.create_key("operator", account, label="k", scopes=None, days=9)
    gone, _ = house.people.create_account("operator", "left us", Role.CLERK)
    house.people.disable("operator", gone)
    case = open_case(house, by)
    declared = Declared(
        name="判决 1.txt", case=case.number, court=case.court, document_timestamp=True,
        idempotency_key="once", client_reference="ours-1",
    )  # fmt: skip
    receipt = deposit(house, by, b"an original", declared)
    deposits = [receipt.deposit]
    deposits.append(deposit(house, by, b"another", Declared(case=case.number)).deposit)
    by_digest = Declared(size=3, digests={SHA256: "ab" * 32}, provenance={"source": "scanner"})
    deposits.append(house.intake.register_digests(by, by_digest).deposit)
    house.batches.receive(
        batch_lines(40), by=by, key="batch-once", atomic=False, check_end=lambda _said, _rows: None
    )
    house.rotating.rotate(EVERY)
    vendor = OutsideIssuer.new("https://vendor.example")
    house.admitting.admit(
        "operator", iss=vendor.iss, key=parse_issuer_key(vendor.pem), kid=vendor.kid
    )
    house.registering.register(vendor.statement(b"at once"), later=False)
    house.registering.register(vendor.statement(b"later"), later=True)
    house.chronicle.record(EventKind.OPENED, actor="clerk", deposit_id=receipt.deposit.id)
    house.people.set_password(account, PASSWORD, keep="")
    keep(house, case, deposits)
    stamp(house)
    archive(house)
    cosign(house)
    audit(house, receipt.deposit)
    unretained(house, receipt.deposit)
    return Busy(
        by=by,
        api_key=api_key,
        declared=declared,
        receipt=receipt,
        certificates={each.id: certify(house, each, by) for each in deposits},
    )


def open_case(house: Office, by: Principal) -> Case:
    now = house.clock.now()
    case = Case(
        id=uuid7(now, house.randomness(10)),
        court="Court",
        number="(2026) 1",
        title="A v. B",
        opened_at=now,
    )

    def rows(connection: sa.Connection, _at: object) -> None:
        insert_case(connection, case)
        insert_party(connection, case.id, by.account_id)

    house.chronicle.record(
        EventKind.CASE_OPENED, actor="clerk", case_id=case.id, subject=case.number, also=rows
    )
    return case


def keep(house: Office, case: Case, deposits: list[Deposit]) -> None:
    """A disposal that was asked for, a retention, and two holds of which one was released."""
    account, _ = house.people.create_account("operator", "keeper", Role.CLERK)
    by = Principal(
        account_id=account.id, name=account.name, role=Role.CLERK, authenticated_by="password"
    )
    house.disposing.request(by, deposits[1], reason="term is over", basis="section 5")
    until = house.clock.now() + timedelta(days=365)
    house.keeping.retain(by, case, until=until, basis="section 6")
    lifted = house.keeping.place(by, deposits[0], reason="order 1")
    house.keeping.release(by, lifted, reason="order 2")
    house.keeping.place(by, case, reason="order 3")
    house.keeping.apply()


def batch_lines(count: int) -> Iterable[bytes]:
    """Rows of digests, of which the last is a duplicate."""
    for number in range(count):
        reference = f"row-{min(number, count - 2)}"
        digest = f"{min(number, count - 2):064x}"
        row = {"digests": {SHA256: digest}, "size": 7, "client_reference": reference}
        yield json.dumps(row).encode()


def stamp(house: Office) -> None:
    for name in house.stamping.authorities:
        house.stamping.run(name)


def archive(house: Office) -> None:
    """A period's tree with its token, and its renewal by SHA-512; what is known of a revocation."""
    now = house.clock.now()
    house.trees.begin(first=0, until=now)
    house.archiving.build()
    assert house.archiving.stamp() == 1
    assert house.rehashing.run() == 1
    house.revocations.keep(b"a certificate", crl=b"x", response=None, due_at=now, error="slow")


def cosign(house: Office) -> None:
    """What a witness and a quiet hour leave in the rows."""
    head, now = house.ledger.head(), house.clock.now()
    given = Witnessed(size=head.size, root=head.root, checkpoint=head.checkpoint)
    house.witnesses.keep(given, now)
    state = WitnessState(
        name="court-b", size=head.size, failures=2, last_error="slow", last_cosigned_at=now
    )
    house.witnesses.note(state)
    covering = house.stamps.covering(0)
    assert covering is not None
    house.stamps.keep_fresh(covering.size, covering.tokens[0])


def audit(house: Office, deposit: Deposit) -> None:
    """A finished audit that found something, and an unfinished one."""
    worker = Worker(stop=lambda: False, wait=lambda _: None, told=lambda _: None)
    run = house.auditing.begin("operator")
    read = Read(index=deposit.index, is_deposit=True, deposit_id=deposit.id)
    house.auditing.keep(run, read, Contradiction(kind=Kind.UNREADABLE, detail="for a while"))
    while house.auditing.step(run, worker):
        pass
    house.auditing.begin("operator", sample=1)


def unretained(house: Office, of: Deposit) -> None:
    """A deposit that waits to be retained."""
    due = Due(key=object_key(of.id), version="v1", until=of.registered_at)
    with house.database.writing() as connection:
        INSERT_DUE.run(connection, **due_row(due, of.registered_at))


def certify(house: Office, which: Deposit, by: Principal) -> tuple[bytes, bytes]:
    issued = house.issue.certificate(which, by=by)
    return issued.json, drawn(house.issue.pdf(issued, lang="zh"))


def drawn(pdf: bytes) -> bytes:
    """The paper before it was sealed: a seal made again has other tokens."""
    return pdf.partition(b"%%EOF")[0]


def rows_of(house: Office, *without: str) -> Rows:
    """Every row of every table that must survive, those made again from others included."""
    found: Rows = {}
    with house.database.reading() as connection:
        for table in METADATA.sorted_tables:
            if WAYS[table.name] not in (Way.LOST, Way.OWN) and table.name not in without:
                rows = connection.execute(sa.select(table).order_by(*table.primary_key))
                found[table.name] = [tuple(row) for row in rows]
    return found


def lose_database(house: Office) -> None:
    house.close()
    for path in house.settings.home.glob("notary.db*"):
        path.unlink()


def segments(home: Path) -> list[Path]:
    """The journal's files, the oldest first."""
    return sorted(path for path in (home / "objects/journal").rglob("*") if path.is_file())
