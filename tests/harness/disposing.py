"""Two clerks, something to dispose of, and what must be gone afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from notary.disposals import Disposal
from notary.fsck import fsck
from notary.journal_read import list_journal, read_segment
from notary.journal_segment import Segment, parse_segment
from notary.model import Case, Declared, Deposit, Principal, Role
from notary.office import Office

REASON, BASIS = "retention is over", "Court Records Act, section 5"
SECRET = b"what nobody may read any more: \xe6\xb3\x95\xe9\x99\xa2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clerks:
    first: Principal
    second: Principal


def clerk(house: Office, name: str, role: Role = Role.CLERK) -> Principal:
    account, _ = house.people.create_account("operator", name, role)
    return Principal(
        account_id=account.id, name=account.name, role=role, authenticated_by="password"
    )


def clerks(house: Office) -> Clerks:
    return Clerks(first=clerk(house, "first"), second=clerk(house, "second"))


def deposit(
    house: Office, by: Principal, data: bytes = SECRET, case: Case | None = None
) -> Deposit:
    declared = Declared(
        name="判决.txt",
        case=None if case is None else case.number,
        document_timestamp=True,
        idempotency_key=f"once {len(house.register.deposits(limit=100))}",
    )
    with house.intake.receive(house.intake.admit(by, declared)) as reception:
        reception.write(data)
        return reception.register(declared).deposit


def with_papers(house: Office, by: Principal, which: Deposit) -> bytes:
    """Tokens and a certificate, in the journal like everything else; gives certificate.json."""
    for name in house.stamping.authorities:
        house.stamping.run(name)
    issued = house.issue.certificate(which, by=by)
    house.journal.run()
    return issued.json


def dispose(house: Office, both: Clerks, which: Deposit) -> Disposal:
    asked = house.disposing.request(both.first, which, reason=REASON, basis=BASIS)
    house.disposing.approve(both.second, asked)
    house.disposing.run()
    return house.disposing.disposals.get(asked.id)


def faults(house: Office) -> list[tuple[str, str]]:
    found = fsck(
        database=house.database, objects=house.objects, wrapping=house.wrapping,
        trust=house.trust, strays_before=house.clock.now() + timedelta(minutes=1),
    )  # fmt: skip
    return [(fault.name, fault.detail) for fault in found.faults]


def all_segments(house: Office) -> list[Segment]:
    objects = house.objects
    return [
        parse_segment(read_segment(objects, number)) for number in range(list_journal(objects).end)
    ]


def journalled(house: Office) -> str:
    """Everything that the journal says, as one text."""
    return repr([segment.blocks for segment in all_segments(house)])
