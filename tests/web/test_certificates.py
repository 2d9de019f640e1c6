"""Certificates withdrawn and issued anew, over HTTP and by the forms of an exhibit's page."""

from __future__ import annotations

from typing import Any

import pytest

from notary.model import Role
from tests.harness.people import Staff
from tests.harness.person import Court, Person, words
from tests.harness.server import Client

SAID = {"reason": "registered in the wrong case"}
ACTS = ("withdrawal", "reissue")


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture(scope="module")
def staff(court: Court) -> Any:
    with Staff(court.service) as opened:
        yield opened


def handed_in(court: Court, name: str = "withdrawn.txt") -> str:
    return court.hand_in(name, b"what is withdrawn later").rsplit("/", 1)[1]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("role", [Role.AUDITOR, Role.API_CLIENT, Role.PARTY, Role.ADMINISTRATOR])
def test_others_than_clerks_neither_withdraw_nor_reissue(
    court: Court, staff: Staff, role: Role, act: str
) -> None:
    where = f"/v1/deposits/{handed_in(court)}/certificate/{act}"
    assert staff.client(role).post(where, json=SAID).status_code == 403
    assert Client(court.service.base).post(where, json=SAID).status_code == 401


@pytest.mark.parametrize("act", ACTS)
def test_a_key_without_the_scope_does_neither(court: Court, staff: Staff, act: str) -> None:
    key = staff.key(Role.CLERK, scopes=["issue-certificate"])
    where = f"/v1/deposits/{handed_in(court)}/certificate/{act}"
    answer = Client(court.service.base, key).post(where, json=SAID)
    assert code(answer) == (403, "scope_missing")


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": 7}, {"reason": "r", "more": "m"}])
@pytest.mark.parametrize("act", ACTS)
def test_a_reason_must_be_given(court: Court, staff: Staff, act: str, body: dict[str, Any]) -> None:
    where = f"/v1/deposits/{handed_in(court)}/certificate/{act}"
    assert staff.client(Role.CLERK).post(where, json=body).status_code == 400


def test_the_papers_of_a_withdrawn_certificate_are_gone_and_the_original_is_not(
    court: Court, staff: Staff
) -> None:
    clerk = staff.client(Role.CLERK)
    base = f"/v1/deposits/{handed_in(court)}"
    assert code(clerk.post(f"{base}/certificate/withdrawal", json=SAID)) == (
        409, "certificate_not_issued",
    )  # fmt: skip
    clerk.get(f"{base}/certificate.json")
    withdrawn = clerk.post(f"{base}/certificate/withdrawal", json=SAID)
    assert withdrawn.status_code == 201, withdrawn.text
    assert withdrawn.json()["event"]["kind"] == "certificate-withdrawn"
    for paper in ("certificate.json", "certificate.pdf", "bundle.zip", "bundle.asice",
                  "bundle.asics", "proof.tlog-proof"):  # fmt: skip
        refused = clerk.get(f"{base}/{paper}")
        assert code(refused) == (410, "certificate_withdrawn"), paper
        assert SAID["reason"] in refused.json()["detail"]
    assert clerk.get(f"{base}/content").content == b"what is withdrawn later"
    assert clerk.post(f"{base}/certificate/reissue", json=SAID).status_code == 201
    assert clerk.get(f"{base}/certificate.json").status_code == 200


def test_a_clerk_withdraws_and_reissues_by_forms(court: Court) -> None:
    exhibit = court.hand_in("by-forms-withdrawn.txt", b"more bytes")
    assert "Withdraw the certificate" not in words(court.clerk.get(exhibit))
    api = f"/v1{exhibit.partition('?')[0]}"
    court.clerk.get(f"{api}/certificate.json")
    assert "Withdraw the certificate" in words(court.clerk.get(exhibit))
    page = court.clerk.submit(f"{exhibit}/certificate/withdrawal", reason="order 7/26")
    assert "This certificate was withdrawn: order 7/26" in words(page)
    assert "certificate.json" not in words(page)
    assert "Certificate withdrawn" in words(page)
    page = court.clerk.submit(f"{exhibit}/certificate/reissue", reason="a new one")
    assert "This certificate was withdrawn" not in words(page)
    assert "certificate.json" in words(page)


@pytest.mark.parametrize("act", ACTS)
def test_a_form_without_its_token_does_nothing(court: Court, act: str) -> None:
    exhibit = court.hand_in(f"token-{act}.txt", b"bytes of it")
    stolen = Person(court.service.base)
    stolen.cookies = court.clerk.cookies
    assert stolen.submit(f"{exhibit}/certificate/{act}", reason="r").status_code == 403
    assert court.party.submit(f"{exhibit}/certificate/{act}", reason="r").status_code == 403
