"""Retention, holds and disposal over HTTP and on the pages, of a house that encrypts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pypdf
import pytest

from certs.certificate import Key
from certs.destruction import parse_destruction
from notary.model import Role
from notary.web.problems import TITLES
from tests.harness.people import Staff
from tests.harness.person import NOWHERE, Court, Person, create, open_court, words
from tests.harness.server import Client, Service

DATA = b"what is disposed of later"
SAID = {"reason": "term is over", "basis": "section 5"}


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    service = Service(
        home=tmp_path_factory.mktemp("disposing"),
        settings={"encryption": "file:", "timestamp_interval": "0.2", "journal_interval": "0.2"},
    )
    service.init()
    service.start()
    try:
        yield open_court(service)
    finally:
        service.stop()


@pytest.fixture(scope="module")
def clients(court: Court) -> Iterator[dict[str, Client]]:
    with Staff(court.service) as staff:
        yield {
            "first": staff.client(Role.CLERK),
            "second": staff.client(Role.CLERK),
            "auditor": staff.client(Role.AUDITOR),
            "program": staff.client(Role.API_CLIENT),
        }


@pytest.fixture(scope="module")
def second(court: Court) -> Person:
    person = Person(court.service.base)
    person.spend(create(court.administrator, "the second clerk", "clerk"))
    return person


def handed_in(court: Court) -> str:
    return court.hand_in("secret.txt", DATA).rsplit("/", 1)[1]


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def finished(clients: dict[str, Client], court: Court, disposal: str) -> dict[str, Any]:
    def look() -> Any:
        found = clients["first"].get(f"/v1/disposals/{disposal}").json()
        return found if found["state"] == "disposed" else None

    done: dict[str, Any] = court.service.wait_for(look)
    return done


# --- the interface ------------------------------------------------------------------------------


def test_an_encrypted_original_is_downloaded_whole_and_in_parts(
    court: Court, clients: dict[str, Client]
) -> None:
    where = f"/v1/deposits/{handed_in(court)}/content"
    assert clients["first"].get(where).content == DATA
    part = clients["first"].get(where, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, DATA[5:10])


def test_from_request_to_certificate(court: Court, clients: dict[str, Client]) -> None:
    first, other = clients["first"], clients["second"]
    deposit = handed_in(court)
    base = f"/v1/deposits/{deposit}"
    court.service.wait_for(lambda: first.get(base).json()["times"]["timestamped_at"] is not None)
    certificate = first.get(f"{base}/certificate.json").text
    asked = first.post(f"{base}/disposal", json=SAID)
    assert asked.status_code == 201, asked.text
    disposal = asked.json()["id"]
    assert asked.headers["Location"] == f"/v1/disposals/{disposal}"
    assert asked.json()["state"] == "requested"
    assert code(first.post(f"/v1/disposals/{disposal}/approve")) == (403, "same_person")
    assert code(first.get(f"/v1/disposals/{disposal}/certificate.json")) == (
        409, "disposal_unfinished",
    )  # fmt: skip
    approved = other.post(f"/v1/disposals/{disposal}/approve")
    assert approved.status_code == 200, approved.text
    done = finished(clients, court, disposal)
    assert done["requested_by"] != done["approved_by"]
    for paper in ("content", "certificate.json", "certificate.pdf", "bundle.zip",
                  "bundle.asice", "bundle.asics", "proof.tlog-proof", "timestamp.tsr"):  # fmt: skip
        assert code(first.get(f"{base}/{paper}")) == (410, "deposit_disposed")
    chosen: dict[str, Any] = {"profile": "generic", "show": ["content"]}
    for page in (
        court.clerk.get(f"/deposits/{deposit}/paper"),
        court.clerk.get(f"/deposits/{deposit}/paper", params=chosen),
        court.clerk.submit(f"/deposits/{deposit}/paper", **chosen),
    ):
        assert page.status_code == 410
        assert TITLES["deposit_disposed"] in words(page)
    shown = first.get(base).json()
    assert (shown["size"], shown["digests"], shown["name"]) == (None, None, None)
    assert (shown["sections"], shown["fixity"]) == ({}, None)
    assert shown["disposed_at"] == done["approved_at"][:19] + shown["disposed_at"][19:]
    digests = {"sha-256": hashlib.sha256(DATA).hexdigest()}
    verdict = Client(court.service.base).post(
        "/v1/verify", json={"certificate": certificate, "digests": digests, "size": len(DATA)}
    )
    assert (verdict.json()["verdict"], verdict.json()["code"]) == ("confirmed", "match_disposed")
    wrong = {"sha-256": "0" * 64}
    verdict = Client(court.service.base).post(
        "/v1/verify", json={"certificate": certificate, "digests": wrong, "size": len(DATA)}
    )
    assert verdict.json()["code"] == "digest_mismatch"
    events = first.get(f"{base}/custody").json()["items"]
    assert events[0]["subject"] is None
    assert [each["kind"] for each in events if "dispos" in each["kind"]] == [
        "disposal-requested",
        "disposed",
    ]


def test_the_destruction_certificate_is_signed_and_on_paper(
    court: Court, clients: dict[str, Client]
) -> None:
    deposit = handed_in(court)
    disposal = clients["first"].post(f"/v1/deposits/{deposit}/disposal", json=SAID).json()["id"]
    clients["second"].post(f"/v1/disposals/{disposal}/approve")
    finished(clients, court, disposal)
    answer = clients["auditor"].get(f"/v1/disposals/{disposal}/certificate.json")
    paper = parse_destruction(answer.content)
    with Staff(court.service) as staff:
        paper.check_seal([Key.of(key) for key in staff.office.trust.certificate_keys])
    assert paper.encode() == answer.content
    assert (paper.draft.deposit_id, paper.draft.destroyed.object) == (deposit, "removed")
    assert (paper.draft.reason, paper.draft.basis) == (SAID["reason"], SAID["basis"])
    assert paper.draft.destroyed.key_at is not None
    for lang, title in (("en", "Destruction certificate"), ("zh", "销毁证明")):
        pdf = clients["first"].get(f"/v1/disposals/{disposal}/certificate.pdf?lang={lang}")
        assert pdf.headers["Content-Type"] == "application/pdf"
        with (court.service.home / f"destruction-{lang}.pdf").open("wb") as file:
            file.write(pdf.content)
        reader = pypdf.PdfReader(court.service.home / f"destruction-{lang}.pdf")
        text = "".join(page.extract_text() for page in reader.pages)
        assert title in text
        assert SAID["reason"] in text
        assert list(reader.attachments) == ["destruction.json"]


def test_holds_and_retentions_stand_against_it(court: Court, clients: dict[str, Client]) -> None:
    first = clients["first"]
    deposit = handed_in(court)
    base = f"/v1/deposits/{deposit}"
    case = court.case.rsplit("/", 1)[1]
    placed = first.post(f"{base}/holds", json={"reason": "order 7"})
    assert placed.status_code == 201
    assert code(first.post(f"{base}/disposal", json=SAID)) == (409, "hold_stands")
    on_case = first.post(f"/v1/cases/{case}/holds", json={"reason": "order 8"}).json()
    assert len(first.get(f"{base}/standing").json()["holds"]) == 2
    assert len(first.get(f"/v1/cases/{case}/standing").json()["holds"]) == 1
    for hold in (placed.json()["id"], on_case["id"]):
        where = f"/v1/holds/{hold}/release"
        assert first.post(where, json={"reason": "over"}).status_code == 204
        assert code(first.post(where, json={"reason": "over"})) == (409, "hold_released")
    with Staff(court.service) as staff:
        until = (staff.office.clock.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"until": until, "basis": "rule 9"}
    assert first.post(f"{base}/retention", json=said).status_code == 204
    refused = first.post(f"{base}/disposal", json=SAID)
    assert code(refused) == (409, "retention_stands")
    assert "rule 9" in refused.json()["detail"]
    standing = first.get(f"{base}/standing").json()
    assert standing["retentions"][0]["rule"] == "exhibit"


@pytest.mark.parametrize("who", ["auditor", "program"])
def test_others_ask_place_and_approve_nothing(
    court: Court, clients: dict[str, Client], who: str
) -> None:
    deposit = handed_in(court)
    base = f"/v1/deposits/{deposit}"
    for where, body in (
        (f"{base}/disposal", SAID),
        (f"{base}/holds", {"reason": "r"}),
        (f"{base}/retention", {"until": "2100-01-01T00:00:00Z", "basis": "b"}),
        (f"/v1/disposals/{NOWHERE}/approve", {}),
        (f"/v1/disposals/{NOWHERE}/withdraw", {"reason": "r"}),
    ):
        assert code(clients[who].post(where, json=body)) == (403, "not_allowed")


def test_a_key_without_the_scope_approves_nothing(court: Court, clients: dict[str, Client]) -> None:
    with Staff(court.service) as staff:
        key = staff.key(Role.CLERK, scopes=["read-disposals", "request-disposal"])
    disposal = (
        clients["first"].post(f"/v1/deposits/{handed_in(court)}/disposal", json=SAID).json()["id"]
    )
    answer = Client(court.service.base, key).post(f"/v1/disposals/{disposal}/approve")
    assert code(answer) == (403, "scope_missing")


@pytest.mark.parametrize("until", ["", "2036", "tomorrow", "2036-11-24", "9999-99-99T00:00:00Z"])
def test_a_retention_until_no_time_is_refused(
    court: Court, clients: dict[str, Client], until: str
) -> None:
    answer = clients["first"].post(
        f"/v1/deposits/{handed_in(court)}/retention", json={"until": until, "basis": "b"}
    )
    assert code(answer) == (400, "retention_malformed")


@pytest.mark.parametrize("path", ["", "/certificate.json", "/certificate.pdf"])
def test_a_disposal_that_is_none_is_not_found(clients: dict[str, Client], path: str) -> None:
    answer = clients["first"].get(f"/v1/disposals/{NOWHERE}{path}")
    assert code(answer) == (404, "disposal_not_found")


# --- the pages ----------------------------------------------------------------------------------


def test_two_people_dispose_of_an_exhibit_by_forms(court: Court, second: Person) -> None:
    exhibit = court.hand_in("by-forms.txt", DATA)
    assert "Retention and disposal" in words(court.clerk.get(exhibit))
    page = court.clerk.submit(f"{exhibit}/holds", reason="order 12")
    assert "order 12" in words(page)
    refused = court.clerk.submit(f"{exhibit}/disposal", reason="term is over", basis="section 5")
    assert refused.status_code == 409
    assert "A hold stands" in words(refused)
    released = re.search(r'action="([^"]*/holds/[^"]*/release[^"]*)"', page.text)
    assert released is not None
    second.submit(released[1].partition("?")[0], reason="over")
    mine = court.clerk.submit(f"{exhibit}/disposal", reason="term is over", basis="section 5")
    assert "another person must approve it" in words(mine)
    where = mine.url.partition("?")[0].removeprefix(court.service.base)
    assert court.clerk.submit(f"{where}/approve", sure="1").status_code == 403
    theirs = second.get(where)
    assert "by-forms.txt" in words(theirs)
    assert "Approve and destroy" in words(theirs)
    assert second.submit(f"{where}/approve", sure="1").status_code == 200
    court.service.wait_for(lambda: "Destruction certificate" in words(second.get(where)))
    gone = court.clerk.get(exhibit)
    assert gone.status_code == 200
    assert "by-forms.txt" not in gone.text
    assert "Disposed of" in words(gone)
    assert "by-forms.txt" not in court.clerk.get(court.case).text
    assert "Disposed of" in words(second.get("/disposals"))


def test_a_form_without_its_token_does_nothing(court: Court, second: Person) -> None:
    exhibit = court.hand_in("token.txt", DATA)
    stolen = Person(court.service.base)
    stolen.cookies = second.cookies
    for what in ("holds", "retention", "disposal"):
        answer = stolen.submit(f"{exhibit}/{what}", reason="r", basis="b", until="2100-01-01")
        assert answer.status_code == 403


def test_a_retention_by_form_holds_for_the_whole_case(court: Court) -> None:
    case = court.new_case("kept")
    page = court.clerk.submit(f"{case}/retention", until="2099-12-31", basis="archive law")
    assert "archive law" in words(page)
    assert "for the whole case" in words(page)


def test_auditors_see_disposals_and_decide_nothing(court: Court) -> None:
    page = court.auditor.get("/disposals")
    assert page.status_code == 200
    assert "Approve and destroy" not in page.text
    assert court.party.get("/disposals").status_code == 403
