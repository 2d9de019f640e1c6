"""Accounts and sign-in: what is refused, what is written down, what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import argon2
import pytest

from notary.accounts import NOBODY
from notary.errors import Conflict, Unauthenticated
from notary.model import EventKind, Role
from notary.office import Office, found
from notary.settings import Settings

PASSWORD = "correct horse battery"


@pytest.fixture
def house(tmp_path: Path) -> Office:
    founded = found(Settings(home=tmp_path / "house"))
    office = Office(Settings(home=tmp_path / "house"))
    office.accounts.spend_link(founded.link_secret, office.clock.now())
    return office


def kinds(house: Office) -> list[EventKind]:
    return [event.kind for event in house.register.events(limit=1_000)]


def test_the_only_administrator_can_be_neither_disabled_nor_demoted(house: Office) -> None:
    only = house.accounts.get_by_name("administrator")
    before = house.ledger.head().size
    attempts: tuple[Callable[[], None], ...] = (
        lambda: house.people.disable("x", only),
        lambda: house.people.change_role("x", only, Role.CLERK),
    )
    for attempt in attempts:
        with pytest.raises(Conflict) as caught:
            attempt()
        assert caught.value.code == "last_administrator"
    assert house.ledger.head().size == before  # what was refused left no entry
    house.people.create_account("x", "second", Role.ADMINISTRATOR)
    house.people.change_role("x", only, Role.CLERK)
    assert house.accounts.get_by_name("administrator").role is Role.CLERK


def test_a_lost_link_is_replaced_and_each_signs_in_once(house: Office) -> None:
    account, lost = house.people.create_account("administrator", "clerk", Role.CLERK)
    secret = house.people.new_link("administrator", account)
    now = house.clock.now()
    assert house.accounts.spend_link(secret, now).id == account.id
    with pytest.raises(Unauthenticated):
        house.accounts.spend_link(secret, now)
    assert house.accounts.spend_link(lost, now).id == account.id
    assert EventKind.LINK_MADE in kinds(house)


def test_a_new_password_ends_the_other_sessions(house: Office) -> None:
    account, _ = house.people.create_account("administrator", "clerk", Role.CLERK)
    here = house.people.sign_in(account, by="link")
    elsewhere = house.people.sign_in(account, by="link")
    house.people.set_password(account, PASSWORD, keep=here)
    now = house.clock.now()
    assert house.accounts.by_session(here, now).principal.account_id == account.id
    with pytest.raises(Unauthenticated):
        house.accounts.by_session(elsewhere, now)
    assert house.people.check_password("clerk", PASSWORD).id == account.id
    house.people.sign_out("clerk", here)
    with pytest.raises(Unauthenticated):
        house.accounts.by_session(here, now)
    assert kinds(house)[-2:] == [EventKind.PASSWORD_SET, EventKind.SIGNED_OUT]


def test_a_refusal_is_written_down_and_what_was_typed_as_an_unknown_name_is_not(
    house: Office,
) -> None:
    account, _ = house.people.create_account("administrator", "clerk", Role.CLERK)
    with pytest.raises(Unauthenticated) as known:
        house.people.check_password(account.name, "wrong")
    with pytest.raises(Unauthenticated) as unknown:
        house.people.check_password(PASSWORD, "typed into the wrong field")
    assert str(known.value) == str(unknown.value)
    refused = [
        event for event in house.register.events() if event.kind is EventKind.SIGN_IN_REFUSED
    ]
    assert [event.subject for event in refused] == ["clerk", "no such account"]
    stored = (house.settings.home / "notary.db-wal").read_bytes()
    assert PASSWORD.encode() not in stored


def test_an_unknown_name_costs_as_much_work_as_a_known_one(house: Office) -> None:
    assert not argon2.PasswordHasher().check_needs_rehash(NOBODY)
    with pytest.raises(Unauthenticated):
        house.accounts.by_password("nobody", "an account that does not exist")
