"""Papers made to order on the pages: what is chosen, what people state, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
from typing import Any

import pypdf
import pytest

from certs.form import DRAFT
from certs.profile import Profile, load_profiles
from notary.web.problems import TITLES
from tests.harness.person import NOWHERE, Court, Person, create, words

PROFILES = sorted(load_profiles())
SECTIONS = ["content", "case", "depositor", "provenance"]
UK: dict[str, Any] = {"profile": "uk-cea-9", "language": "en", "size": "a4", "show": SECTIONS}
HEAVY = '"><script>alert(1)</script>'


@pytest.fixture(scope="module")
def exhibit(court: Court) -> str:
    """Its page; timestamped, with an origin stated."""
    path = court.hand_in("minutes.txt", b"the minutes", **{"provenance.source": "a mail"})
    court.service.wait_for(
        lambda: court.clerk.get(f"/v1{path}").json()["times"]["timestamped_at"] is not None
    )
    return path


def page(court: Court, exhibit: str, lang: str = "en", **fields: Any) -> Any:
    return court.clerk.get(f"{exhibit}/paper", params={"lang": lang, **fields})


def make(court: Court, exhibit: str, **fields: Any) -> Any:
    return court.clerk.submit(f"{exhibit}/paper?lang=en", **{**UK, **fields})


def statement(court: Court, exhibit: str, **fields: Any) -> dict[str, Any]:
    """profile.json of the paper that is made."""
    return parsed(make(court, exhibit, **fields))


def parsed(given: Any) -> dict[str, Any]:
    assert given.headers["Content-Type"] == "application/pdf", words(given)
    attached = pypdf.PdfReader(io.BytesIO(given.content)).attachment_list
    (form,) = [each.content for each in attached if each.name == "profile.json"]
    read: dict[str, Any] = json.loads(form)
    return read | {"digest": hashlib.sha256(form).hexdigest()}


def subjects(court: Court, exhibit: str) -> list[str]:
    found: list[str] = []
    after = ""
    while True:
        answer = court.clerk.get(f"/v1{exhibit}/custody?limit=200{after}").json()
        found += [event["subject"] or "" for event in answer["items"]]
        if not answer["next"]:
            return [each for each in found if each.startswith("certificate.pdf for")]
        after = f"&after={answer['next']}"


def said(form: dict[str, Any]) -> dict[str, Any]:
    return {each["id"]: each for each in form["statements"]}


def refusal(given: Any) -> tuple[int, bool]:
    return given.status_code, TITLES["fact_refused"] in words(given)


# --- the way to it -------------------------------------------------------------------------------


def test_an_exhibits_page_leads_to_it_and_the_auditors_does_not(court: Court, exhibit: str) -> None:
    assert f'href="{exhibit}/paper?lang=' in court.clerk.get(exhibit).text
    assert f"{exhibit}/paper" not in court.auditor.get(exhibit).text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_profile_and_section_can_be_chosen(court: Court, exhibit: str, lang: str) -> None:
    given = page(court, exhibit, lang)
    assert given.status_code == 200
    for each in load_profiles().values():
        assert each.title.zh in given.text if lang == "zh" else each.title.en in words(given)
    assert re.findall(r'name="show" value="(\w+)" checked', given.text) == SECTIONS
    assert re.findall(r'name="language" value="([^"]+)" checked', given.text) == [lang]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("profile", PROFILES)
def test_each_form_says_that_it_is_a_draft_and_what_it_shows_and_does_not(
    court: Court, exhibit: str, profile: str, lang: str
) -> None:
    given = page(court, exhibit, lang, profile=profile, show=SECTIONS)
    assert given.status_code == 200, words(given)
    text, known = words(given), load_profiles()[profile]
    assert DRAFT.of("zh" if lang == "zh" else "en") in text
    for sentence in (*known.proves, *known.proves_not, known.purpose):
        assert (sentence.zh if lang == "zh" else sentence.en) in text
    for fact in known.facts():
        assert (fact.label.zh if lang == "zh" else fact.label.en) in text
    assert fields_of(given) == typed(known)
    form = court.clerk.get(f"/v1{exhibit}/profile.json?profile={profile}&lang={lang}").json()
    assert str(len(form["unsatisfied"])) in text.partition("尚缺" if lang == "zh" else "Not yet")[2]


def typed(profile: Profile) -> set[str]:
    return {fact.id for fact in profile.facts() if fact.kind in ("text", "choice")}


def fields_of(given: Any) -> set[str]:
    return set(re.findall(r'name="value\.(\w+)"', given.text))


def test_going_back_to_the_choices_keeps_them(court: Court, exhibit: str) -> None:
    asked = {**UK, "language": "en+zh", "size": "letter", "show": ["content", "case", "depositor"]}
    again = re.search(r'href="([^"]+change=1[^"]*)"', page(court, exhibit, **asked).text)
    assert again is not None
    given = court.clerk.get(again.group(1).replace("&amp;", "&")).text
    for name, value in (("profile", "uk-cea-9"), ("language", "en+zh"), ("size", "letter")):
        assert re.findall(rf'name="{name}" value="([^"]*)"[^>]* checked', given) == [value]
    assert 'value="provenance">' in given


# --- the paper -----------------------------------------------------------------------------------


def test_without_a_profile_the_certificate_itself_is_downloaded(court: Court, exhibit: str) -> None:
    asked = {**UK, "profile": "", "language": "en+zh", "size": "letter", "lang": "en"}
    given = court.clerk.get(f"{exhibit}/paper", params=asked, allow_redirects=False)
    assert given.status_code == 303
    where = given.headers["Location"]
    assert where.startswith(f"/v1{exhibit}/certificate.pdf?")
    assert "sections" not in where
    paper = court.clerk.get(where)
    assert paper.headers["Content-Disposition"].startswith("attachment")
    assert float(pypdf.PdfReader(io.BytesIO(paper.content)).pages[0].mediabox.width) == 612
    fewer = court.clerk.get(f"{exhibit}/paper", params={**asked, "show": ["content"]})
    attached = pypdf.PdfReader(io.BytesIO(fewer.content)).attachment_list
    (certificate,) = [each.content for each in attached if each.name == "certificate.json"]
    withheld = [each["section"] for each in json.loads(certificate)["withheld"]]
    assert sorted(withheld) == ["case", "depositor", "provenance"]


def test_what_is_stated_is_on_the_paper_and_in_the_ledger_as_the_api_has_it(
    court: Court, exhibit: str
) -> None:
    given = make(
        court,
        exhibit,
        **{
            "value.officer": "Dr. Anna Falk",
            "value.position": "registrar\r\nof records",
            "person.certificate.party": " Anna Falk ",
            "capacity.certificate.party": "registrar",
            "person.position": "Ben Roth",
        },
    )
    assert given.headers["Content-Disposition"].startswith("attachment; filename=certificate-")
    assert given.headers["X-Content-Type-Options"] == "nosniff"
    form = parsed(given)
    stated = said(form)
    assert stated["officer"]["stated"] == {
        "value": "Dr. Anna Falk", "stated_by": "Anna Falk", "capacity": "registrar",
        "entered_by": "the clerk",
    }  # fmt: skip
    assert stated["position"]["stated"] == {
        "value": "registrar\nof records", "stated_by": "Ben Roth", "capacity": None,
        "entered_by": "the clerk",
    }  # fmt: skip
    assert "organisation" in form["unsatisfied"]
    facts = {
        "officer": {"value": "Dr. Anna Falk", "stated_by": "Anna Falk", "capacity": "registrar"},
        "position": {"value": "registrar\nof records", "stated_by": "Ben Roth"},
    }
    asked = f"/v1{exhibit}/certificate.pdf?profile=uk-cea-9&lang=en"
    answer = court.clerk.post(
        asked, json={"facts": facts}, headers={"X-CSRF-Token": court.clerk.csrf}
    )
    assert parsed(answer)["digest"] == form["digest"]
    line = f"certificate.pdf for uk-cea-9, profile.json sha-256 {form['digest']}"
    assert subjects(court, exhibit).count(line) == 2


def test_a_form_left_blank_leaves_everything_to_the_hand(court: Court, exhibit: str) -> None:
    blank = statement(
        court, exhibit, **{"value.officer": " \r\n ", "person.certificate.party": "A"}
    )
    api = court.clerk.get(f"/v1{exhibit}/profile.json?profile=uk-cea-9&lang=en").json()
    assert blank["unsatisfied"] == api["unsatisfied"]
    assert all("stated" not in each for each in blank["statements"])


def test_a_choice_is_ticked_by_its_person(court: Court, exhibit: str) -> None:
    form = statement(
        court,
        exhibit,
        profile="us-902-14",
        **{"value.place_of_signing": "inside_us", "person.place_of_signing": "A. Falk"},
    )
    assert said(form)["place_of_signing"]["stated"]["value"] == "inside_us"


def test_what_the_depositor_stated_stands_beside_the_field_and_is_repeated(
    court: Court, exhibit: str
) -> None:
    asked = {**UK, "profile": "generic"}
    given = page(court, exhibit, **asked)
    assert "repeated as the depositor stated it at registration, unchecked: a mail" in " ".join(
        words(given).split()
    )
    form = statement(court, exhibit, profile="generic")
    answered = {each["id"]: each["answered"] for each in form["statements"]}
    assert "stated_by_depositor" in answered.values()


def test_looking_at_what_would_stay_open_makes_nothing_and_keeps_what_was_typed(
    court: Court, exhibit: str
) -> None:
    before = subjects(court, exhibit)
    given = make(
        court,
        exhibit,
        preview="1",
        **{"value.officer": HEAVY, "person.certificate.party": "Anna Falk"},
    )
    assert given.headers["Content-Type"].startswith("text/html")
    assert "Not yet satisfied: 5" in words(given)
    assert 'value="&#34;&gt;&lt;script&gt;' in given.text
    assert "<script>" not in given.text
    assert 'value="Anna Falk"' in given.text
    assert subjects(court, exhibit) == before


def test_what_is_withheld_is_named_before_and_on_the_paper(court: Court, exhibit: str) -> None:
    show = ["content", "case"]
    asked = page(court, exhibit, **{**UK, "profile": "generic", "show": [*show, "depositor"]})
    assert "Withheld" in words(asked)
    form = statement(court, exhibit, show=show)
    assert form["withheld"] == ["depositor", "provenance"]


# --- what it does not take -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"value.digests": "abc", "person.digests": "A"},
        {"value.certificate": "another", "person.certificate.party": "A"},
        {"value.signature": "Anna Falk", "person.signature": "Anna Falk"},
        {"value.forms_part": "yes", "person.forms_part": "Anna Falk"},
        {"value.date": "2026-01-01", "person.date": "Anna Falk"},
        {"value.nothing": "x", "person.nothing": "A"},
        {"value.": "x", "person.": "A"},
        {"value.officer": "Dr. Anna Falk"},
        {"value.officer": "Dr. Anna Falk", "capacity.certificate.party": "registrar"},
        {"value.officer": "", "person.officer": "Anna Falk"},
        {"value.officer": "", "capacity.officer": "registrar"},
        {"value.officer": "x" * 2001, "person.officer": "A"},
        {"value.officer": "x", "person.officer": "A" * 301},
        {"value.officer": "x", "person.officer": "A", "capacity.officer": "c" * 301},
        {"value.officer": "x", "person.officer": "A\nB"},
        {"value.officer": "x\x07y", "person.officer": "A"},
    ],
)
def test_a_statement_that_the_form_cannot_take_is_refused_and_nothing_is_made(
    court: Court, exhibit: str, fields: dict[str, str]
) -> None:
    before = subjects(court, exhibit)
    for more in ({}, {"preview": "1"}):
        given = make(court, exhibit, **fields, **more)
        assert refusal(given) == (400, True)
        assert given.headers["Content-Type"].startswith("text/html")
        assert "Not yet satisfied: 6" in words(given)
    assert subjects(court, exhibit) == before


def test_a_choice_that_the_form_has_not_is_refused(court: Court, exhibit: str) -> None:
    fields = {"value.place_of_signing": "the moon", "person.place_of_signing": "A"}
    assert refusal(make(court, exhibit, profile="us-902-14", **fields)) == (400, True)


def test_who_states_it_is_asked_for_by_the_facts_own_name_and_nothing_typed_is_lost(
    court: Court, exhibit: str
) -> None:
    given = make(court, exhibit, **{"value.officer": HEAVY})
    assert "Name the person who states each of these" in words(given)
    assert "Name of the officer" in words(given).partition("Name the person")[2][:120]
    assert 'value="&#34;&gt;&lt;script&gt;' in given.text
    assert "<script>" not in given.text


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"profile": "us-902-99"}, 404, "profile_not_found"),
        ({"profile": HEAVY}, 404, "profile_not_found"),
        ({"language": "fr"}, 400, "value_malformed"),
        ({"size": "a5"}, 400, "value_malformed"),
        ({"show": []}, 400, "section_unknown"),
        ({"show": ["content", "links"]}, 400, "section_unknown"),
        ({"show": [*SECTIONS, "links"]}, 400, "section_unknown"),
        ({"profile": "in-bsa-63", "show": ["case"]}, 409, "fact_missing"),
        ({"profile": "iso-27037", "show": ["content"]}, 409, "fact_missing"),
    ],
)
def test_a_paper_that_cannot_be_made_is_refused_on_a_page(
    court: Court, exhibit: str, fields: dict[str, Any], status: int, code: str
) -> None:
    before = subjects(court, exhibit)
    for given in (page(court, exhibit, **{**UK, **fields}), make(court, exhibit, **fields)):
        assert given.status_code == status
        assert TITLES[code] in words(given)
        assert given.headers["Content-Type"].startswith("text/html")
        assert "<script>" not in given.text
    assert subjects(court, exhibit) == before


def test_a_choice_that_does_not_do_is_shown_again_to_be_mended(court: Court, exhibit: str) -> None:
    given = page(court, exhibit, profile="in-bsa-63", show=["case"])
    assert re.findall(r'name="profile" value="([^"]*)"[^>]* checked', given.text) == ["in-bsa-63"]
    assert re.findall(r'name="show" value="(\w+)" checked', given.text) == ["case"]
    alone = page(court, exhibit, profile="", language="en")
    assert (alone.status_code, TITLES["section_unknown"] in words(alone)) == (400, True)


def test_a_form_that_names_no_profile_is_refused(court: Court, exhibit: str) -> None:
    assert make(court, exhibit, profile="").status_code == 400


def test_without_the_sessions_token_nothing_is_made(court: Court, exhibit: str) -> None:
    before = subjects(court, exhibit)
    for token in ({}, {"csrf": "wrong"}):
        answer = court.clerk.post(f"{exhibit}/paper", data={**UK, **token})
        assert (answer.status_code, TITLES["csrf"] in answer.text) == (403, True)
    assert subjects(court, exhibit) == before


# --- who ----------------------------------------------------------------------------------------


def test_who_may_not_know_of_it_is_answered_as_if_it_were_not_there(
    court: Court, exhibit: str
) -> None:
    elsewhere = Person(court.service.base)
    elsewhere.spend(create(court.administrator, f"party {uuid.uuid4()}", "party"))
    for query in ("", "?profile=uk-cea-9&show=content", "?profile=us-902-99", "?profile="):
        answers = [
            elsewhere.get(f"{path}/paper{query}") for path in (exhibit, f"/deposits/{NOWHERE}")
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert anonymous(answers[0], exhibit) == anonymous(answers[1], f"/deposits/{NOWHERE}")
    answers = [
        elsewhere.submit(f"{path}/paper", **UK) for path in (exhibit, f"/deposits/{NOWHERE}")
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert anonymous(answers[0], exhibit) == anonymous(answers[1], f"/deposits/{NOWHERE}")


def anonymous(answer: Any, path: str) -> str:
    text: str = answer.text.replace(answer.headers["X-Request-Id"], "").replace(path, "")
    return text


def test_a_party_gets_the_papers_of_its_case_but_no_custody_record(court: Court) -> None:
    case = court.new_case(f"papers {uuid.uuid4()}")
    assert court.clerk.submit(f"{case}/parties", account="the party").ok
    answer = court.party.submit(f"{case}/deposits", files={"file": ("x", b"x")}, stay=True)
    exhibit = answer.headers["Location"].partition("?")[0]
    offered = court.party.get(f"{exhibit}/paper").text
    assert 'value="uk-cea-9"' in offered
    assert 'value="iso-27037"' not in offered
    asked = {**UK, "show": ["content", "case", "depositor"]}
    assert parsed(court.party.submit(f"{exhibit}/paper", **asked))["profile"] == "uk-cea-9"
    for given in (
        court.party.get(f"{exhibit}/paper", params={**asked, "profile": "iso-27037"}),
        court.party.submit(f"{exhibit}/paper", **{**asked, "profile": "iso-27037"}),
    ):
        assert given.status_code == 403


def test_of_a_withdrawn_certificate_no_paper_is_made(court: Court) -> None:
    exhibit = court.hand_in("withdrawn.txt", b"withdrawn")
    assert court.clerk.get(f"/v1{exhibit}/certificate.json").ok
    shown = {"show": ["content", "case", "depositor"]}
    withdrawal = court.clerk.submit(f"{exhibit}/certificate/withdrawal", reason="a wrong case")
    assert withdrawal.status_code == 200
    assert f"{exhibit}/paper" not in withdrawal.text
    for given in (
        court.clerk.get(f"{exhibit}/paper"),
        page(court, exhibit, **{**UK, **shown}),
        page(court, exhibit, **{**UK, **shown, "profile": ""}),
        make(court, exhibit, **shown),
        make(court, exhibit, **shown, preview="1"),
    ):
        assert given.status_code == 410
        assert TITLES["certificate_withdrawn"] in words(given)
    assert subjects(court, exhibit) == []
    assert court.clerk.submit(f"{exhibit}/certificate/reissue", reason="put right").ok
    assert parsed(make(court, exhibit, **shown))["certificate_version"] == 2


@pytest.mark.parametrize("profile", [None, "in-bsa-63"])
def test_no_script_and_no_style_stands_in_the_page(
    court: Court, exhibit: str, profile: str | None
) -> None:
    given = page(court, exhibit, **({} if profile is None else {**UK, "profile": profile}))
    assert "script-src 'self'; style-src 'self'" in given.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=", given.text)
