"""Disposal: two people, nothing that stands against it, then nothing that opens or proves it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from notary.access import Act
from notary.auditing import Worker
from notary.digest import SHA256, Digester
from notary.disposals import Disposal, State
from notary.errors import Conflict, Gone, MalformedInput, NotAllowed, NotaryError
from notary.journal import segment_key, segment_objects, set_place
from notary.model import Declared, Deposit, EventKind, Principal, Role
from notary.office import Office, found
from notary.originals import object_key
from notary.rebuild import rebuild
from notary.record import parse_disclosure
from notary.settings import Settings
from notary.verdict import Document
from notary.verify import verify
from storage.errors import ObjectNotFound
from tests.harness.disposing import (
    BASIS,
    REASON,
    SECRET,
    Clerks,
    all_segments,
    clerk,
    clerks,
    deposit,
    dispose,
    faults,
    journalled,
    with_papers,
)
from tests.harness.restoring import lose_database, open_case, rows_of


@pytest.fixture(params=["", "file:"], ids=["plain", "encrypted"])
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
    settings = Settings(home=tmp_path / "house", encryption=request.param)
    found(settings)
    office = Office(settings)
    yield office
    office.close()


@pytest.fixture
def both(house: Office) -> Clerks:
    return clerks(house)


def ask(house: Office, both: Clerks, which: Deposit) -> Disposal:
    return house.disposing.request(both.first, which, reason=REASON, basis=BASIS)


# --- what is gone, and what stays ---------------------------------------------------------------


def test_what_was_disposed_of_is_gone_from_rows_journal_and_storage(
    house: Office, both: Clerks
) -> None:
    which = deposit(house, both.first)
    kept = deposit(house, both.first, b"something else")
    with_papers(house, both.first, which)
    salt = parse_salt(which.disclosures[0])
    assert which.sha256 in journalled(house)
    assert salt in journalled(house)
    done = dispose(house, both, which)
    assert done.state is State.DISPOSED
    with pytest.raises(ObjectNotFound):
        house.objects.stat(object_key(which.id))
    rows = repr(rows_of(house))
    for text in (which.sha256, salt, *which.disclosures):
        assert text not in journalled(house)
        assert text not in rows
    if which.data_key is not None:
        assert repr(which.data_key) not in journalled(house)
    left = house.register.deposit(which.id)
    assert (left.disclosures, left.sha256, left.size, left.data_key) == ((), "", 0, None)
    assert left.disposed_at is not None
    assert house.register.deposit(kept.id) == kept
    assert faults(house) == []


def parse_salt(disclosure: str) -> str:
    assert parse_disclosure(disclosure)
    return disclosure[8:40]


def test_the_bytes_are_in_no_file_of_the_house_any_more(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    with_papers(house, both.first, which)
    dispose(house, both, which)
    house.journal.run()
    house.close()
    for path in house.settings.home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert SECRET not in data, path
            assert bytes.fromhex(which.sha256[:12]) not in data, path
            assert which.sha256.encode() not in data, path
            assert which.disclosures[0].encode() not in data, path


def test_the_holder_of_file_and_certificate_still_gets_a_confirmation(
    house: Office, both: Clerks
) -> None:
    which = deposit(house, both.first)
    certificate = with_papers(house, both.first, which)
    dispose(house, both, which)
    digester = Digester()
    digester.update(SECRET)
    document = Document(digests={SHA256: digester.digests()[SHA256]}, size=len(SECRET))
    report = verify(certificate, document, house.trust)
    assert (report.verdict.value, report.code) == ("confirmed", "match")


def test_papers_and_content_are_gone_with_a_code_of_their_own(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    stale = house.register.deposit(which.id)
    with_papers(house, both.first, which)
    dispose(house, both, which)
    from_rows = house.register.deposit(which.id)
    for act in (Act.READ_CONTENT, Act.ISSUE_CERTIFICATE):
        with pytest.raises(Gone) as caught:
            house.intake.known_deposit(both.first, which.id, act)
        assert caught.value.code == "deposit_disposed"
    with pytest.raises(Gone):
        house.issue.certificate(stale, by=both.first)
    with pytest.raises(NotaryError):
        house.issue.certificate(from_rows, by=both.first)
    assert faults(house) == []


def test_the_trail_says_who_asked_who_approved_and_on_what_basis(
    house: Office, both: Clerks
) -> None:
    which = deposit(house, both.first)
    dispose(house, both, which)
    events = house.register.events(deposit_id=which.id)
    assert [(event.kind, event.actor) for event in events] == [
        (EventKind.DISPOSAL_REQUESTED, "first"),
        (EventKind.DISPOSED, "second"),
    ]
    sections = dict(parse_disclosure(text) for text in events[1].disclosures)
    terms = sections["terms"]
    assert isinstance(terms, dict)
    assert (terms["reason"], terms["basis"], terms["requested_by"]) == (REASON, BASIS, "first")


def test_audits_know_a_disposal_from_a_loss(house: Office, both: Clerks) -> None:
    which, lost = deposit(house, both.first), deposit(house, both.first, b"lost")
    dispose(house, both, which)
    house.objects.discard(object_key(lost.id))
    run = house.auditing.begin("operator")
    worker = Worker(stop=lambda: False, wait=lambda _: None, told=lambda _: None)
    while house.auditing.step(run, worker):
        pass
    last = house.auditing.rereads.last((which.index, lost.index))
    assert last[which.index].finding is None
    assert last[lost.index].finding is not None
    assert [name for name, _ in faults(house)] == [f"original {lost.id}"]


def test_a_row_that_only_says_so_is_a_fault(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    with house.database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE deposit SET disposed_at = registered_at, disclosures = '', sha256 = '', "
            f"data_key = NULL WHERE id = '{which.id}'"
        )
    house.objects.discard(object_key(which.id))
    assert (f"deposit {which.id}", True) in [
        (name, "no entry of that" in detail) for name, detail in faults(house)
    ]


def test_an_object_that_came_back_is_a_fault(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    dispose(house, both, which)
    with house.objects.begin(object_key(which.id)) as incoming:
        incoming.write(SECRET)
        incoming.commit()
    assert [name for name, _ in faults(house)] == [f"object {object_key(which.id)}"]


def test_the_account_has_its_room_again(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    assert house.register.stored_bytes(both.first.account_id) == len(SECRET)
    dispose(house, both, which)
    assert house.register.stored_bytes(both.first.account_id) == 0


def test_a_repeated_request_for_what_was_disposed_of_does_not_bring_it_back(
    house: Office, both: Clerks
) -> None:
    declared = Declared(name="a", idempotency_key="same")
    with house.intake.receive(house.intake.admit(both.first, declared)) as reception:
        reception.write(SECRET)
        which = reception.register(declared).deposit
    dispose(house, both, which)
    with (
        house.intake.receive(house.intake.admit(both.first, declared)) as reception,
        pytest.raises(Gone),
    ):
        reception.write(SECRET)
        reception.register(declared)
    assert faults(house) == []


# --- two people ---------------------------------------------------------------------------------


def test_one_person_is_not_two_whatever_the_key(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    asked = house.disposing.request(both.first, which, reason=REASON, basis=BASIS)
    account = house.accounts.get(both.first.account_id)
    for label in ("one", "two"):
        _, secret = house.people.create_key("operator", account, label=label, scopes=None, days=1)
        again = house.accounts.by_api_key(secret, house.clock.now())
        with pytest.raises(NotAllowed) as caught:
            house.disposing.approve(again, asked)
        assert caught.value.code == "same_person"
    with pytest.raises(NotAllowed):
        house.disposing.approve(both.first, asked)
    assert house.register.deposit(which.id).disposed_at is None


@pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.AUDITOR, Role.PARTY, Role.API_CLIENT])
def test_only_clerks_ask_and_approve(house: Office, both: Clerks, role: Role) -> None:
    which = deposit(house, both.first)
    other = clerk(house, "other", role)
    with pytest.raises(NotAllowed):
        house.disposing.request(other, which, reason=REASON, basis=BASIS)
    asked = house.disposing.request(both.first, which, reason=REASON, basis=BASIS)
    with pytest.raises(NotAllowed):
        house.disposing.approve(other, asked)
    with pytest.raises(NotAllowed):
        house.disposing.withdraw(other, asked, reason="no")


def test_a_request_dies_with_the_right_of_who_asked(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    asked = ask(house, both, which)
    house.people.disable("operator", house.accounts.get(both.first.account_id))
    with pytest.raises(Conflict) as caught:
        house.disposing.approve(both.second, asked)
    assert caught.value.code == "disposal_role_lost"


def test_who_lost_the_role_since_signing_in_approves_nothing(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    asked = ask(house, both, which)
    house.people.change_role("operator", house.accounts.get(both.second.account_id), Role.AUDITOR)
    with pytest.raises(Conflict, match="may no longer approve-disposal"):
        house.disposing.approve(both.second, asked)


def test_an_approval_counts_once(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    asked = ask(house, both, which)
    house.disposing.approve(both.second, asked)
    with pytest.raises(Conflict) as caught:
        house.disposing.approve(both.second, asked)
    assert caught.value.code == "disposal_not_open"
    with pytest.raises(Gone):
        house.disposing.request(both.first, which, reason=REASON, basis=BASIS)


def test_of_two_approvals_at_once_one_counts(house: Office, both: Clerks) -> None:
    third = clerk(house, "third")
    which = deposit(house, both.first)
    asked = house.disposing.request(both.first, which, reason=REASON, basis=BASIS)
    ends: list[str] = []

    def approve(by: Principal) -> None:
        try:
            house.disposing.approve(by, asked)
            ends.append("approved")
        except Conflict as exc:
            ends.append(exc.code)

    threads = [threading.Thread(target=approve, args=(by,)) for by in (both.second, third)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["approved", "disposal_not_open"]
    kinds = [event.kind for event in house.register.events(deposit_id=which.id)]
    assert kinds.count(EventKind.DISPOSED) == 1


def test_a_withdrawn_request_is_approved_by_nobody_and_may_be_made_anew(
    house: Office, both: Clerks
) -> None:
    which = deposit(house, both.first)
    asked = house.disposing.request(both.first, which, reason=REASON, basis=BASIS)
    with pytest.raises(Conflict) as caught:
        house.disposing.request(both.second, which, reason=REASON, basis=BASIS)
    assert caught.value.code == "disposal_exists"
    house.disposing.withdraw(both.second, asked, reason="the appeal is open")
    with pytest.raises(Conflict):
        house.disposing.approve(both.second, asked)
    with pytest.raises(Conflict):
        house.disposing.withdraw(both.first, asked, reason="again")
    again = house.disposing.request(both.second, which, reason=REASON, basis=BASIS)
    with pytest.raises(NotAllowed):
        house.disposing.approve(both.second, again)
    house.disposing.approve(both.first, again)


@pytest.mark.parametrize("said", ["", " ", "a\nb", "x" * 501])
def test_reason_and_basis_must_be_said(house: Office, both: Clerks, said: str) -> None:
    which = deposit(house, both.first)
    for reason, basis in ((said, BASIS), (REASON, said)):
        with pytest.raises(MalformedInput):
            house.disposing.request(both.first, which, reason=reason, basis=basis)


# --- what stands against it ---------------------------------------------------------------------


def test_the_longest_retention_counts_whoever_set_it(house: Office, both: Clerks) -> None:
    case = open_case(house, both.first)
    which = deposit(house, both.first, case=case)
    now = house.clock.now()
    house.keeping.retain(both.first, case, until=now + timedelta(days=9), basis="case rule")
    house.keeping.retain(both.first, which, until=now + timedelta(days=3), basis="exhibit rule")
    with pytest.raises(Conflict, match=r"the rule of the case \('case rule'\)") as caught:
        ask(house, both, which)
    assert caught.value.code == "retention_stands"
    house.keeping.retain(both.second, which, until=now + timedelta(days=30), basis="appeal")
    with pytest.raises(Conflict, match="appeal"):
        ask(house, both, which)
    assert house.keeping.standing(which).retained_until == now + timedelta(days=30)


def test_the_deployment_has_a_rule_too(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    ruled = Office(
        Settings(home=house.settings.home, encryption=house.settings.encryption, retention_days=10)
    )
    with pytest.raises(Conflict, match="NOTARY_RETENTION_DAYS=10"):
        ask(ruled, both, which)


@pytest.mark.parametrize("days", [0, -1, 400_000])
def test_a_retention_lasts_into_the_future(house: Office, both: Clerks, days: int) -> None:
    which = deposit(house, both.first)
    with pytest.raises(MalformedInput) as caught:
        house.keeping.retain(
            both.first, which, until=house.clock.now() + timedelta(days=days), basis="b"
        )
    assert caught.value.code == "retention_malformed"


def test_a_hold_beats_everything_until_it_is_released(house: Office, both: Clerks) -> None:
    case = open_case(house, both.first)
    which = deposit(house, both.first, case=case)
    on_case = house.keeping.place(both.first, case, reason="order 4/26")
    on_it = house.keeping.place(both.second, which, reason="appeal")
    with pytest.raises(Conflict, match=r"order 4/26.*and 1 more") as caught:
        ask(house, both, which)
    assert caught.value.code == "hold_stands"
    house.keeping.release(both.second, on_case, reason="order lifted")
    with pytest.raises(Conflict, match="appeal"):
        ask(house, both, which)
    house.keeping.release(both.first, on_it, reason="appeal over")
    with pytest.raises(Conflict) as caught:
        house.keeping.release(both.first, on_it, reason="again")
    assert caught.value.code == "hold_released"
    ask(house, both, which)


@pytest.mark.parametrize("what", ["exhibit", "case"])
def test_a_hold_between_request_and_approval_counts(house: Office, both: Clerks, what: str) -> None:
    case = open_case(house, both.first)
    which = deposit(house, both.first, case=case)
    asked = ask(house, both, which)
    house.keeping.place(both.first, which if what == "exhibit" else case, reason="order")
    with pytest.raises(Conflict) as caught:
        house.disposing.approve(both.second, asked)
    assert caught.value.code == "hold_stands"
    assert house.register.deposit(which.id).disposed_at is None


def test_a_hold_after_the_approval_is_refused_and_changes_nothing(
    house: Office, both: Clerks
) -> None:
    which = deposit(house, both.first)
    asked = ask(house, both, which)
    house.disposing.approve(both.second, asked)
    with pytest.raises(Gone):
        house.keeping.place(both.first, which, reason="too late")
    with pytest.raises(Gone):
        house.keeping.retain(
            both.first, which, until=house.clock.now() + timedelta(days=1), basis="too late"
        )
    house.disposing.run()
    assert house.disposing.disposals.get(asked.id).state is State.DISPOSED


def test_storage_is_told_of_holds_and_retentions_and_waits_are_listed(
    house: Office, both: Clerks
) -> None:
    case = open_case(house, both.first)
    which = deposit(house, both.first, case=case)
    key = object_key(which.id)
    until = house.clock.now() + timedelta(days=2)
    house.keeping.retain(both.first, case, until=until, basis="rule")
    hold = house.keeping.place(both.first, case, reason="order")
    assert house.keeping.is_due()
    house.keeping.apply()
    assert not house.keeping.is_due()
    protection = house.objects.protection(key, version=None)
    assert protection.held
    assert protection.until is not None
    assert protection.until >= until
    late = deposit(house, both.first, b"came later", case=case)
    house.keeping.apply(every=True)
    assert house.objects.protection(object_key(late.id), version=None).held
    house.keeping.release(both.second, hold, reason="over")
    house.keeping.apply()
    assert not house.objects.protection(key, version=None).held


def test_an_object_whose_lock_stands_waits_for_it(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    key = object_key(which.id)
    house.objects.retain(key, version=None, until=house.clock.now() + timedelta(seconds=2))
    done = dispose(house, both, which)
    assert done.state is State.WAITING
    assert done.waits_until is not None
    assert house.disposing.disposals.list(unfinished=True) == (done,)
    assert not house.disposing.is_due()
    assert which.sha256 not in journalled(house)
    assert faults(house) == []
    while not house.disposing.is_due():
        threading.Event().wait(0.1)
    house.disposing.run()
    assert house.disposing.disposals.get(done.id).state is State.DISPOSED
    assert faults(house) == []


# --- the journal --------------------------------------------------------------------------------


def test_a_rebuild_ends_in_the_same_state_and_brings_nothing_back(
    house: Office, both: Clerks
) -> None:
    which = deposit(house, both.first)
    with_papers(house, both.first, which)
    asked = ask(house, both, which)
    house.disposing.approve(both.second, asked)
    house.disposing.run()
    assert any(segment.rewritten for segment in all_segments(house))
    house.journal.run()
    before = rows_of(house, "embedded_authority")
    lose_database(house)
    rebuild(house.settings, mirror=None)
    again = Office(house.settings)
    assert rows_of(again, "embedded_authority") == before
    again.examine()
    assert again.register.deposit(which.id).disclosures == ()
    assert faults(again) == []


def test_a_rebuild_before_the_journal_was_cleaned_goes_on_with_it(
    house: Office, both: Clerks
) -> None:
    which = deposit(house, both.first)
    with_papers(house, both.first, which)
    asked = ask(house, both, which)
    house.disposing.approve(both.second, asked)
    house.journal.run()
    assert which.sha256 in journalled(house)
    lose_database(house)
    rebuild(house.settings, mirror=None)
    again = Office(house.settings)
    assert again.disposing.is_due()
    again.disposing.run()
    assert which.sha256 not in journalled(again)
    assert again.disposing.disposals.get(asked.id).state is State.DISPOSED
    assert faults(again) == []


def test_a_segment_written_anew_needs_a_signature_of_the_house(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    with_papers(house, both.first, which)
    dispose(house, both, which)
    number = next(at for at, each in enumerate(all_segments(house)) if each.rewritten)
    (key,) = segment_objects(house.objects, number)
    path = house.settings.home / "objects" / key
    data = bytearray(path.read_bytes())
    at = data.index(all_segments(house)[number].signature)
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))
    assert [name for name, _ in faults(house)] == [f"journal segment {number}"]
    house.journal.run()
    lose_database(house)
    with pytest.raises(NotaryError):
        rebuild(house.settings, mirror=None)


def test_a_damaged_journal_is_named_and_nothing_is_signed_anew(house: Office, both: Clerks) -> None:
    which = deposit(house, both.first)
    with_papers(house, both.first, which)
    path = house.settings.home / "objects" / segment_key(0)
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))
    asked = ask(house, both, which)
    house.disposing.approve(both.second, asked)
    with pytest.raises(NotaryError, match="journal segment 0"):
        house.disposing.run()
    assert house.disposing.disposals.get(asked.id).state is State.ERASING
    assert not any(
        segment_objects(house.objects, number) != (segment_key(number),) for number in range(2)
    )


def test_an_old_database_is_still_found_out_when_its_next_segment_was_written_anew(
    house: Office, both: Clerks
) -> None:
    which = deposit(house, both.first)
    with_papers(house, both.first, which)
    place = house.journal.place()
    with_papers(house, both.first, deposit(house, both.first, b"more"))
    dispose(house, both, house.register.deposits(limit=9)[-1])
    assert segment_objects(house.objects, place.number) == (f"{segment_key(place.number)}.1",)
    with house.database.writing() as connection:
        set_place(connection, place)
    with pytest.raises(NotaryError, match="old copy"):
        house.journal.check_end()
