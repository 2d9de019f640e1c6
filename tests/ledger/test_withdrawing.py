"""Certificates reissued and withdrawn, and what the house then says of them, signed and proved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certs.certificate import Key, parse_certificate
from certs.entry import Entry
from certs.errors import CertificateMalformed, SealInvalid, UnknownKey, UnsupportedFormat
from certs.status import CertificateStatus, parse_status, sign_status
from notary.errors import Conflict, Gone, MalformedInput, NotAllowed, NotFound
from notary.intake import Receipt
from notary.issue import Issued
from notary.judged import trusted_keys
from notary.model import Declared, EventKind, Principal, Role, uuid7
from notary.office import Office
from notary.superseding import Believed, judge_status
from notary.verdict import Status
from notary.versions import terms_of
from tests.harness.certified import deposit, depositor, open_house

REASON = "registered in the wrong case"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Office]:
    opened = open_house(tmp_path / "house")
    yield opened
    opened.close()


@pytest.fixture
def clerk(house: Office) -> Principal:
    account, _ = house.people.create_account("operator", "clerk", Role.CLERK)
    return Principal(
        account_id=account.id, name="clerk", role=Role.CLERK, authenticated_by="password"
    )


@pytest.fixture
def receipt(house: Office, clerk: Principal) -> Receipt:
    return deposit(house, clerk, b"minutes", Declared(name="minutes.txt"))


@pytest.fixture
def first(house: Office, clerk: Principal, receipt: Receipt) -> Issued:
    return house.issue.certificate(receipt.deposit, by=clerk)


def believed(house: Office) -> Believed:
    trust = house.trust
    return Believed(
        log=trust.log_keys,
        statement=trusted_keys(trust.statement_keys),
        certificate=trusted_keys(trust.certificate_keys),
    )


def status(house: Office, issued: Issued, receipt: Receipt) -> CertificateStatus:
    """As it is given out and read again, and judged as a verifier judges it."""
    said = house.withdrawing.status(issued.certificate.certificate_id, receipt.deposit.id)
    encoded = said.encode()
    assert parse_status(encoded) == said
    check, draft = judge_status(encoded, issued.certificate, receipt.deposit.id, believed(house))
    assert draft == said.draft, check
    return said


def test_a_certificate_that_is_the_newest_is_said_to_be_current_with_its_entry(
    house: Office, receipt: Receipt, first: Issued
) -> None:
    said = status(house, first, receipt).draft
    assert (said.status, said.version, said.newest, said.reason) == ("current", 1, 1, None)
    assert said.entry is not None


def test_more_timestamps_replace_the_version_before_them(
    house: Office, clerk: Principal, receipt: Receipt, first: Issued
) -> None:
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    second = house.issue.certificate(receipt.deposit, by=clerk)
    assert second.version == 2
    said = status(house, first, receipt).draft
    assert (said.status, said.version, said.newest) == ("superseded", 1, 2)
    assert status(house, second, receipt).draft.status == "current"


def test_a_version_replaced_twice_is_proved_by_the_entry_of_the_next_one(
    house: Office, clerk: Principal, receipt: Receipt, first: Issued
) -> None:
    second = house.issue.reissue(receipt.deposit, by=clerk, reason="a correction")
    third = house.issue.reissue(receipt.deposit, by=clerk, reason="another one")
    assert (second.version, third.version) == (2, 3)
    for issued, expected in ((first, ("superseded", 3)), (third, ("current", 3))):
        said = status(house, issued, receipt).draft
        assert (said.status, said.newest) == expected


def test_a_withdrawal_is_an_entry_with_its_reason_and_takes_back_every_version(
    house: Office, clerk: Principal, receipt: Receipt, first: Issued
) -> None:
    second = house.issue.reissue(receipt.deposit, by=clerk, reason="a correction")
    event = house.withdrawing.withdraw(clerk, receipt.deposit, reason=REASON)
    assert event.kind is EventKind.CERTIFICATE_WITHDRAWN
    assert terms_of(event)["reason"] == REASON
    for issued in (first, second):
        said = status(house, issued, receipt).draft
        assert (said.status, said.reason) == ("withdrawn", REASON)


def test_what_is_withdrawn_is_not_issued_again_by_itself_and_can_be_reissued(
    house: Office, clerk: Principal, receipt: Receipt, first: Issued
) -> None:
    house.withdrawing.withdraw(clerk, receipt.deposit, reason=REASON)
    with pytest.raises(Gone, match=REASON) as gone:
        house.issue.certificate(receipt.deposit, by=clerk)
    assert gone.value.code == "certificate_withdrawn"
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    with pytest.raises(Gone):
        house.issue.certificate(receipt.deposit, by=clerk)
    again = house.issue.reissue(receipt.deposit, by=clerk, reason="the right case")
    assert again.version == 2
    assert status(house, again, receipt).draft.status == "current"
    assert status(house, first, receipt).draft.status == "withdrawn"
    assert house.issue.certificate(receipt.deposit, by=clerk).json == again.json


def test_a_second_withdrawal_and_one_of_nothing_are_refused(
    house: Office, clerk: Principal, receipt: Receipt
) -> None:
    with pytest.raises(Conflict) as nothing:
        house.withdrawing.withdraw(clerk, receipt.deposit, reason=REASON)
    assert nothing.value.code == "certificate_not_issued"
    house.issue.certificate(receipt.deposit, by=clerk)
    house.withdrawing.withdraw(clerk, receipt.deposit, reason=REASON)
    with pytest.raises(Gone):
        house.withdrawing.withdraw(clerk, receipt.deposit, reason=REASON)


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "x" * 501])
def test_a_reason_that_nobody_could_read_is_refused(
    house: Office, clerk: Principal, receipt: Receipt, first: Issued, reason: str
) -> None:
    with pytest.raises(MalformedInput):
        house.withdrawing.withdraw(clerk, receipt.deposit, reason=reason)
    with pytest.raises(MalformedInput):
        house.issue.reissue(receipt.deposit, by=clerk, reason=reason)
    assert status(house, first, receipt).draft.status == "current"


def test_only_clerks_withdraw_and_reissue(house: Office, receipt: Receipt, first: Issued) -> None:
    agency = depositor(house)
    for role in set(Role) - {Role.CLERK}:
        other = replace(agency, role=role)
        with pytest.raises(NotAllowed):
            house.withdrawing.withdraw(other, receipt.deposit, reason=REASON)
        with pytest.raises(NotAllowed):
            house.issue.reissue(receipt.deposit, by=other, reason=REASON)


def test_whoever_does_not_know_both_numbers_learns_nothing(
    house: Office, clerk: Principal, receipt: Receipt, first: Issued
) -> None:
    other = deposit(house, clerk, b"other", Declared(name="other.txt"))
    theirs = house.issue.certificate(other.deposit, by=clerk)
    unknown = uuid7(house.clock.now(), b"0123456789")
    answers = set()
    for certificate_id, registration in (
        (unknown, receipt.deposit.id),
        (first.certificate.certificate_id, unknown),
        (first.certificate.certificate_id, other.deposit.id),
        (theirs.certificate.certificate_id, receipt.deposit.id),
        (first.certificate.certificate_id, ""),
        ("", ""),
    ):
        with pytest.raises(NotFound) as refused:
            house.withdrawing.status(certificate_id, registration)
        answers.add((refused.value.code, str(refused.value)))
    assert len(answers) == 1


def test_the_statement_names_neither_who_acted_nor_the_case(
    house: Office, clerk: Principal, receipt: Receipt, first: Issued
) -> None:
    house.withdrawing.withdraw(clerk, receipt.deposit, reason=REASON)
    said = status(house, first, receipt)
    assert said.draft.entry is not None
    assert len(said.draft.entry.disclosures) == 2
    assert b"clerk" not in said.encode()


# --- a statement that does not hold ---------------------------------------------------------------


def forged(entry: Entry, **otherwise: object) -> Entry:
    return replace(entry, **otherwise)  # type: ignore[arg-type]  # each test its own


def test_a_statement_signed_again_must_still_agree_with_the_ledger(
    house: Office, clerk: Principal, receipt: Receipt, first: Issued
) -> None:
    """Even the house's own key cannot say what its ledger does not."""
    from_now = status(house, first, receipt)
    house.withdrawing.withdraw(clerk, receipt.deposit, reason=REASON)
    withdrawn = status(house, first, receipt)
    entry, other = withdrawn.draft.entry, from_now.draft.entry
    assert entry is not None
    assert other is not None
    for draft in (
        replace(withdrawn.draft, status="current", reason=None),
        replace(withdrawn.draft, status="superseded", reason=None, newest=2),
        replace(withdrawn.draft, reason="another reason"),
        replace(withdrawn.draft, reason=None),
        replace(withdrawn.draft, entry=other),
        replace(withdrawn.draft, version=2),
        replace(withdrawn.draft, newest=2, version=3),
        replace(withdrawn.draft, origin="elsewhere.example/log"),
        replace(withdrawn.draft, registration=first.certificate.certificate_id),
        replace(withdrawn.draft, entry=forged(entry, index=other.index)),
        replace(withdrawn.draft, entry=forged(entry, inclusion_proof=())),
        replace(withdrawn.draft, entry=forged(entry, checkpoint=other.checkpoint)),
        replace(withdrawn.draft, entry=forged(entry, statement=other.statement)),
        replace(withdrawn.draft, entry=forged(entry, disclosures=entry.disclosures[:1])),
        replace(withdrawn.draft, entry=forged(entry, record=other.record)),
        replace(withdrawn.draft, entry=forged(entry, record=receipt.deposit.record)),
    ):
        signed = sign_status(draft, house.keys.certificate).encode()
        check, said = judge_status(signed, first.certificate, receipt.deposit.id, believed(house))
        assert (check.status, check.code) == (Status.NOT_MADE, "service_answer_invalid"), draft
        assert said is None


def test_every_byte_of_a_statement_that_is_flipped_makes_it_worthless(
    house: Office, receipt: Receipt, first: Issued
) -> None:
    data = status(house, first, receipt).encode()
    for at in range(0, len(data), 7):
        bad = bytearray(data)
        bad[at] ^= 1
        check, said = judge_status(
            bytes(bad), first.certificate, receipt.deposit.id, believed(house)
        )
        assert said is None, at
        assert check.status is Status.NOT_MADE


def test_a_statement_by_another_key_is_of_an_unknown_one(
    house: Office, receipt: Receipt, first: Issued
) -> None:
    said = status(house, first, receipt)
    with pytest.raises(UnknownKey):
        said.check_seal([Key.of(bytes(32))])
    with pytest.raises(SealInvalid):
        replace(said, draft=replace(said.draft, newest=9)).check_seal(believed(house).certificate)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"type":"other/v1"}'])
def test_what_is_no_statement_is_malformed(data: bytes) -> None:
    with pytest.raises(CertificateMalformed):
        parse_status(data)


def test_a_statement_of_a_newer_form_is_told_apart() -> None:
    with pytest.raises(UnsupportedFormat):
        parse_status(b'{"type":"evidence-certificate-status/v2"}')


def test_issues_name_what_they_replace_in_the_ledger(
    house: Office, clerk: Principal, receipt: Receipt, first: Issued
) -> None:
    second = house.issue.reissue(receipt.deposit, by=clerk, reason="a correction")
    events = house.withdrawing.events(receipt.deposit.id)
    assert terms_of(events[0]) == {
        "certificate": first.certificate.certificate_id, "version": "1",
    }  # fmt: skip
    assert terms_of(events[1]) == {
        "certificate": second.certificate.certificate_id,
        "version": "2",
        "replaces": first.certificate.certificate_id,
        "reason": "a correction",
    }
    assert parse_certificate(second.json).version == 2
