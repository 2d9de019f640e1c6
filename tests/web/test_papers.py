"""Court profiles and redacted papers over HTTP."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pypdf
import pytest

from notary.model import Role
from tests.harness.people import Staff
from tests.harness.server import Client, Service

CONTENT = b"minutes of the meeting\n" * 50
PROFILES = (
    "cn-spc-16", "eu-ts-41", "generic", "in-bsa-63", "iso-27037", "uk-cea-9", "us-902-13",
    "us-902-14", "us-vt-1913",
)  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(home=tmp_path_factory.mktemp("papers"), settings={"timestamp_interval": "0.2"})
    made.init()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def clerk(service: Service) -> Client:
    with Staff(service) as staff:
        return staff.client(Role.CLERK)


@pytest.fixture(scope="module")
def path(service: Service, clerk: Client) -> str:
    """Of a deposit in a case, timestamped."""
    opened = clerk.post(
        "/v1/cases", json={"court": "LG Ulm", "number": "1 O 7/26", "title": "A v B"}
    )
    given = clerk.post(
        f"/v1/deposits?case={opened.json()['id']}",
        data=CONTENT,
        headers={"Content-Disposition": 'attachment; filename="minutes.txt"'},
    )
    assert given.status_code == 201, given.text
    where = f"/v1/deposits/{given.json()['id']}"
    service.wait_for(lambda: clerk.get(where).json()["times"]["timestamped_at"] is not None)
    return where


def text_of(pdf: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return "".join("".join(page.extract_text().split()) for page in pages)


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_the_profiles_are_listed_for_anyone(service: Service) -> None:
    items = Client(service.base).get("/v1/profiles").json()["items"]
    assert tuple(item["id"] for item in items) == PROFILES
    for item in items:
        assert item["draft"] is True
        assert item["title"].keys() == {"en", "zh"}
        assert {fact["by"] for fact in item["facts"]} >= {"system", "party"} or item[
            "id"
        ] == "eu-ts-41"
        assert all(fact["by"] == "system" or not fact["refused_without"] for fact in item["facts"])


@pytest.mark.parametrize("lang", ["en", "zh", "en+zh", "en%2Bzh"])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_given_in_every_language(
    clerk: Client, path: str, profile: str, lang: str
) -> None:
    given = clerk.get(f"{path}/certificate.pdf?profile={profile}&lang={lang}")
    assert given.status_code == 200, given.text
    attached = {
        each.name: each.content
        for each in pypdf.PdfReader(io.BytesIO(given.content)).attachment_list
    }
    form = json.loads(attached["profile.json"])
    assert form["profile"] == profile
    assert form["lang"] == lang.replace("%2B", "+")
    assert form["unsatisfied"]
    assert attached["certificate.json"] == clerk.get(f"{path}/certificate.json").content
    text = text_of(given.content)
    assert ("Draftforreviewbycounsel" in text) == ("en" in lang)
    assert ("须经律师审阅" in text) == ("zh" in lang)


def test_without_a_profile_the_paper_is_the_certificate_alone(clerk: Client, path: str) -> None:
    reader = pypdf.PdfReader(io.BytesIO(clerk.get(f"{path}/certificate.pdf?lang=en").content))
    names = [each.name for each in reader.attachment_list]
    assert "certificate.json" in names
    assert "profile.json" not in names


def test_the_form_is_given_as_data_too(clerk: Client, path: str) -> None:
    form = clerk.get(f"{path}/profile.json?profile=uk-cea-9&lang=en").json()
    assert form["unsatisfied"] == [
        "organisation", "officer", "position", "forms_part", "date", "signature",
    ]  # fmt: skip
    said = {each["id"]: each["value"] for each in form["statements"]}
    assert said["digests"][0] == f"SHA-256: {hashlib.sha256(CONTENT).hexdigest()}"
    assert said["case_number"] == ["1 O 7/26"]
    assert said["officer"] == []


def test_the_tokens_of_an_eu_statement_are_those_of_the_certificate(
    clerk: Client, path: str
) -> None:
    form = clerk.get(f"{path}/profile.json?profile=eu-ts-41&lang=en").json()
    (tokens,) = [each["value"] for each in form["statements"] if each["id"] == "tokens"]
    assert tokens
    assert all("serial number" in token and "SHA-256" in token for token in tokens)


def test_the_custody_record_has_the_ledger_s_events(clerk: Client, path: str) -> None:
    form = clerk.get(f"{path}/profile.json?profile=iso-27037&lang=en").json()
    (events,) = [each["value"] for each in form["statements"] if each["id"] == "events"]
    assert "registered, by account" in events[0]
    assert any("certificate issued" in event for event in events)


def test_a_party_that_may_not_read_the_trail_gets_no_custody_record(
    service: Service, clerk: Client, path: str
) -> None:
    case = clerk.get(path).json()["case"]
    with Staff(service) as staff:
        account = staff.account(Role.PARTY)
        party = staff.client(account)
    assert clerk.post(f"/v1/cases/{case}/parties", json={"account": account.name}).ok
    assert party.get(f"{path}/certificate.pdf?profile=uk-cea-9").status_code == 200
    refused = party.get(f"{path}/certificate.pdf?profile=iso-27037")
    assert problem(refused) == (403, "not_allowed")


def test_what_a_person_states_is_on_the_paper_as_theirs_and_in_the_ledger_by_digest(
    clerk: Client, path: str
) -> None:
    facts = {
        "officer": {"value": "Dr. Anna Falk", "stated_by": "Anna Falk", "capacity": "registrar"}
    }
    given = clerk.post(f"{path}/certificate.pdf?profile=uk-cea-9&lang=en", json={"facts": facts})
    assert given.status_code == 200, given.text
    text = text_of(given.content)
    assert "Dr.AnnaFalk" in text
    assert "StatedbyAnnaFalk,registrar.Writtendownbytheaccount" in text
    (form,) = [
        each.content
        for each in pypdf.PdfReader(io.BytesIO(given.content)).attachment_list
        if each.name == "profile.json"
    ]
    events = clerk.get(f"{path}/custody?limit=200").json()["items"]
    subject = (
        f"certificate.pdf for uk-cea-9, profile.json sha-256 {hashlib.sha256(form).hexdigest()}"
    )
    assert subject in [event["subject"] for event in events]
    blank = clerk.get(f"{path}/certificate.pdf?profile=uk-cea-9&lang=en")
    assert "AnnaFalk" not in text_of(blank.content)


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({}, (400, "json_malformed")),
        ({"facts": []}, (400, "json_malformed")),
        ({"facts": {}, "more": 1}, (400, "json_malformed")),
        ({"facts": {"officer": "A"}}, (400, "json_malformed")),
        ({"facts": {"officer": {"value": "A"}}}, (400, "json_malformed")),
        ({"facts": {"officer": {"value": 1, "stated_by": "A"}}}, (400, "json_malformed")),
        (
            {"facts": {"officer": {"value": "A", "stated_by": "A", "capacity": 1}}},
            (400, "json_malformed"),
        ),
        (
            {"facts": {"officer": {"value": "A", "stated_by": "A", "sworn": True}}},
            (400, "json_malformed"),
        ),
        ({"facts": {"signature": {"value": "A", "stated_by": "A"}}}, (400, "fact_refused")),
        ({"facts": {"digests": {"value": "A", "stated_by": "A"}}}, (400, "fact_refused")),
        ({"facts": {"nothing": {"value": "A", "stated_by": "A"}}}, (400, "fact_refused")),
    ],
)
def test_statements_that_the_form_cannot_take_are_refused(
    clerk: Client, path: str, body: Any, refused: tuple[int, str]
) -> None:
    given = clerk.post(f"{path}/certificate.pdf?profile=uk-cea-9", json=body)
    assert problem(given) == refused


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("profile=us-902-99", (404, "profile_not_found")),
        ("profile=", (404, "profile_not_found")),
        ("lang=fr", (400, "value_malformed")),
        ("lang=zh%2Ben", (400, "value_malformed")),
        ("sections=", (400, "section_unknown")),
        ("sections=content,content", (400, "section_unknown")),
        ("sections=content,links", (400, "section_unknown")),
        ("sections=contents", (400, "section_unknown")),
        ("profile=in-bsa-63&sections=case", (409, "fact_missing")),
    ],
)
def test_a_paper_that_cannot_be_made_is_refused_by_name(
    clerk: Client, path: str, query: str, refused: tuple[int, str]
) -> None:
    assert problem(clerk.get(f"{path}/certificate.pdf?{query}")) == refused


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_form_without_a_profile_is_refused(clerk: Client, path: str, method: str) -> None:
    where = f"{path}/profile.json" if method == "GET" else f"{path}/certificate.pdf"
    given = clerk.request(method, where, json={"facts": {}} if method == "POST" else None)
    assert problem(given) == (400, "value_malformed")


def test_a_redacted_certificate_is_confirmed_and_says_what_it_withholds(
    service: Service, clerk: Client, path: str
) -> None:
    redacted = clerk.get(f"{path}/certificate.json?sections=content,case").content
    assert [each["section"] for each in json.loads(redacted)["withheld"]] == ["depositor"]
    paper = clerk.get(f"{path}/certificate.pdf?sections=content,case&lang=en").content
    text = text_of(paper)
    assert "Depositor–Withheldinthiscertificate–" in text
    assert "1O7/26" in text
    attached = {
        each.name: each.content for each in pypdf.PdfReader(io.BytesIO(paper)).attachment_list
    }
    assert attached["certificate.json"] == redacted
    for certificate in (redacted, paper):
        report = Client(service.base).post(
            "/v1/verify", files={"certificate": certificate, "file": CONTENT}
        )
        assert report.json()["verdict"] == "confirmed", report.text
        (check,) = [each for each in report.json()["checks"] if each["name"] == "withheld"]
        assert check["status"] == "passed"
        assert "withheld, provably unchanged" in check["detail"]


def test_the_certificate_s_only_version_stays_the_only_one_when_it_is_redacted(
    clerk: Client, path: str
) -> None:
    whole = clerk.get(f"{path}/certificate.json").json()
    redacted = clerk.get(f"{path}/certificate.json?sections=content").json()
    assert (redacted["certificate_id"], redacted["version"]) == (
        whole["certificate_id"], whole["version"],
    )  # fmt: skip
    assert clerk.get(f"{path}/certificate.json").json() == whole
