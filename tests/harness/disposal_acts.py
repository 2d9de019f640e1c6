"""Acts of retention, holds and disposal, for the crash table: each may be asked for again."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from notary.clock import parse_rfc3339
from notary.disposals import DISPOSAL, State
from notary.errors import Conflict, Gone
from notary.forgetting import FORGET
from notary.holds import HOLD, RETENTION
from notary.journal_read import list_journal, read_segment
from notary.journal_segment import parse_segment
from notary.model import Declared, Deposit, EventKind, Principal, Role
from notary.office import Office
from notary.originals import object_key
from notary.register import CUSTODY, DEPOSIT
from notary.rewrapping import rewrap
from storage.errors import ObjectNotFound
from tests.harness.acts import Act, deposit, house, rows_of

FAR: datetime = parse_rfc3339("2999-01-01T00:00:00Z")


def _clerk(office: Office, name: str) -> Principal:
    account = office.accounts.get_by_name(name)
    return Principal(account_id=account.id, name=name, role=Role.CLERK, authenticated_by="password")


def _first(office: Office) -> Deposit:
    (row,) = rows_of(office, DEPOSIT, DEPOSIT.c.idx == _first_index(office))
    return office.register.deposit(row.id)


def _first_index(office: Office) -> int:
    index: int = min(row.idx for row in rows_of(office, DEPOSIT))
    return index


def _with_clerks(root: Path) -> None:
    with house(root, chance=7) as office:
        for name in ("one", "two"):
            office.people.create_account("operator", name, Role.CLERK)


# --- retention and holds ------------------------------------------------------------------------


def _retain(office: Office) -> object:
    office.keeping.retain(_clerk(office, "one"), _first(office), until=FAR, basis="law")
    return None


def _retain_held(office: Office) -> None:
    """Asked for again it is set once more beside the first."""
    rows = rows_of(office, RETENTION)
    events = rows_of(office, CUSTODY, CUSTODY.c.kind == EventKind.RETENTION_SET.value)
    assert rows
    assert {row.id for row in rows} == {event.subject for event in events}


def _hold(office: Office) -> object:
    return office.keeping.place(_clerk(office, "one"), _first(office), reason="order")


def _hold_held(office: Office) -> None:
    rows = rows_of(office, HOLD)
    events = rows_of(office, CUSTODY, CUSTODY.c.kind == EventKind.HOLD_PLACED.value)
    assert rows
    assert {row.id for row in rows} == {event.subject for event in events}


# --- disposal -----------------------------------------------------------------------------------


def _request(office: Office) -> object:
    with suppress(Conflict):
        return office.disposing.request(
            _clerk(office, "one"), _first(office), reason="over", basis="law"
        )
    return None


def _request_held(office: Office) -> None:
    (row,) = rows_of(office, DISPOSAL)
    events = rows_of(office, CUSTODY, CUSTODY.c.kind == EventKind.DISPOSAL_REQUESTED.value)
    assert [event.subject for event in events] == [row.id]


def _requested(root: Path) -> None:
    """With a certificate, everything in the journal, and a request."""
    _with_clerks(root)
    with house(root, chance=8) as office:
        office.issue.certificate(_first(office), by=_clerk(office, "one"))
        office.journal.run()
        _request(office)


def _approve(office: Office) -> object:
    (row,) = rows_of(office, DISPOSAL)
    with suppress(Conflict, Gone):
        return office.disposing.approve(
            _clerk(office, "two"), office.disposing.disposals.get(row.id)
        )
    return None


def _approve_held(office: Office) -> None:
    (row,) = rows_of(office, DISPOSAL)
    events = rows_of(office, CUSTODY, CUSTODY.c.kind == EventKind.DISPOSED.value)
    assert [event.subject for event in events] == [row.id]
    assert _first(office).disclosures == ()
    office.disposing.run()
    _erase_held(office)


def _approved(root: Path) -> None:
    _requested(root)
    with house(root, chance=9) as office:
        _approve(office)


def _erase(office: Office) -> object:
    return office.disposing.run()


def _erase_held(office: Office) -> None:
    """No segment has what should be gone, and the object is gone too."""
    (row,) = rows_of(office, DISPOSAL)
    assert office.disposing.disposals.get(row.id).state is State.DISPOSED
    for number in range(list_journal(office.objects).end):
        for block in parse_segment(read_segment(office.objects, number)).blocks:
            rule = FORGET.get(block.table)
            if rule is None:
                continue
            for values in block.rows:
                said = dict(zip(block.columns, values, strict=True))
                if said[rule.by] == row.deposit_id:
                    assert rule.instead is not None
                    assert {name: said[name] for name in rule.instead} == rule.instead
    with suppress(ObjectNotFound):
        office.objects.stat(object_key(row.deposit_id))
        raise AssertionError("the object is there")


# --- data keys ----------------------------------------------------------------------------------


def _wrapped_before(root: Path) -> None:
    """An encrypted original, and a newer wrapping key."""
    with house(root, chance=8, encryption="file:") as office:
        office.wrapping.make(office.clock.now())
        deposit(office, b"encrypted", Declared(name="encrypted"))
        office.wrapping.make(office.clock.now() + timedelta(days=1))


def _rewrap(office: Office) -> object:
    return rewrap(office.database, office.wrapping)


def _rewrap_held(office: Office) -> None:
    """Every data key is under the newest key, and opens its original."""
    for row in rows_of(office, DEPOSIT, DEPOSIT.c.data_key.is_not(None)):
        assert office.wrapping.rewrap(row.data_key, row.id) is None
        opened = office.originals.open(row.id, data_key=row.data_key, size=row.size)
        assert b"".join(opened) == b"encrypted"


ACTS: dict[str, Act] = {
    "retention-set": Act(run=_retain, held=_retain_held, spoil=_with_clerks),
    "hold": Act(run=_hold, held=_hold_held, spoil=_with_clerks),
    "disposal-request": Act(run=_request, held=_request_held, spoil=_with_clerks),
    "disposal": Act(run=_approve, held=_approve_held, spoil=_requested),
    "disposal-end": Act(run=_erase, held=_erase_held, spoil=_approved),
    "rewrap": Act(
        run=_rewrap,
        held=_rewrap_held,
        spoil=_wrapped_before,
        opened=partial(house, encryption="file:"),
    ),
}
