"""Cases and exhibits over HTTP: who sees what, what is handed in, what is recorded."""

from __future__ import annotations

import hashlib
import html
import re
import uuid
from typing import Any

import pytest

from notary.web.problems import TITLES
from tests.harness.person import FILE_LIMIT, NOWHERE, Court, path_of, words
from tests.harness.server import Client

# --- who sees what ---------------------------------------------------------------------------


def test_an_administrator_sees_no_evidence(court: Court) -> None:
    exhibit = court.hand_in()
    for path in ("/cases", court.case, exhibit, f"{exhibit}/custody"):
        assert court.administrator.get(path).status_code == 403, path
    answer = court.administrator.submit(f"{court.case}/deposits", files={"file": ("x", b"x")})
    assert answer.status_code == 403


def test_a_party_gets_the_same_answer_for_what_is_not_its_own_and_what_does_not_exist(
    court: Court,
) -> None:
    exhibit = court.hand_in()
    for there, missing in (
        (court.case, f"/cases/{NOWHERE}"),
        (exhibit, f"/deposits/{NOWHERE}"),
        ("/cases?number=1", "/cases?number=none"),
    ):
        hidden, unknown = court.party.get(there), court.party.get(missing)
        assert hidden.status_code == unknown.status_code == 404

        def anonymous(page: Any, path: str) -> str:
            text = page.text.replace(page.headers["X-Request-Id"], "")
            return re.sub(r'(href="/(cases|deposits)|number=)[^"]*|no case [^<]*', "", text)

        assert anonymous(hidden, there) == anonymous(unknown, missing)


def test_a_party_sees_its_case_and_hands_in_there_and_reads_no_trail(court: Court) -> None:
    case = court.new_case(f"party {uuid.uuid4()}")
    assert court.clerk.submit(f"{case}/parties", account="the party").ok
    page = court.party.get(case)
    assert page.status_code == 200
    assert "Add a party" not in words(page)
    answer = court.party.submit(f"{case}/deposits", files={"file": ("x", b"x")}, stay=True)
    assert answer.status_code == 303
    exhibit = path_of(answer)
    assert "for court staff and auditors" in words(court.party.get(exhibit))
    assert court.party.get(f"{exhibit}/custody").status_code == 403


def test_an_auditor_reads_the_trail_and_is_offered_no_content(court: Court) -> None:
    exhibit = court.hand_in()
    page = court.auditor.get(exhibit)
    assert "Custody trail" in words(page)
    assert f"/v1{exhibit}/content" not in page.text
    assert f"/v1{exhibit}/certificate" not in page.text
    assert "Hand in" not in words(court.auditor.get(court.case))
    answer = court.auditor.submit(f"{court.case}/deposits", files={"file": ("x", b"x")})
    assert answer.status_code == 403


def test_a_clerk_manages_no_accounts_but_holds_keys_of_its_own(court: Court) -> None:
    assert court.clerk.get("/accounts").status_code == 403
    own = re.search(r'href="(/accounts/[^"?]+)', court.clerk.get("/cases").text)
    assert own is not None
    assert "Change the role" not in words(court.clerk.get(own.group(1)))
    page = court.clerk.submit(f"{own.group(1)}/keys", label="scanner", days="30")
    key = re.search(r"nk_[0-9a-f]{16}_[\w-]{43}", page.text)
    assert key is not None
    assert Client(court.service.base, key.group()).get("/v1/cases").status_code == 200


# --- cases -----------------------------------------------------------------------------------


def test_a_case_is_opened_listed_and_found_by_its_number(court: Court) -> None:
    number = f"find {uuid.uuid4()}"
    case = court.new_case(number, "Zhang v. Li")
    assert court.clerk.get("/cases", params={"number": number}).url.partition("?")[0] == (
        court.service.base + case
    )
    page = words(court.clerk.get(case))
    assert number in page
    assert "Zhang v. Li" in page


def test_a_case_that_cannot_be_opened_leaves_the_form_as_it_was_filled_in(court: Court) -> None:
    answer = court.clerk.submit("/cases", court="Court", number="1", title="a <second> one")
    assert answer.status_code == 409
    assert TITLES["case_exists"] in answer.text
    assert 'value="a &lt;second&gt; one"' in answer.text


@pytest.mark.parametrize("field", ["court", "number", "title"])
def test_a_case_without_a_court_number_or_title_is_refused(court: Court, field: str) -> None:
    given: dict[str, Any] = {"court": "C", "number": str(uuid.uuid4()), "title": "T", field: " "}
    answer = court.clerk.submit("/cases", **given)
    assert answer.status_code == 400
    assert TITLES["label_malformed"] in answer.text


def test_an_unknown_account_does_not_become_a_party(court: Court) -> None:
    answer = court.clerk.submit(f"{court.case}/parties", account="no such person")
    assert answer.status_code == 404
    assert 'value="no such person"' in answer.text


def test_long_lists_are_paged_without_losing_anything(court: Court) -> None:
    case = court.new_case(f"paged {uuid.uuid4()}")
    for number in range(5):
        answer = court.clerk.submit(
            f"{case}/deposits", files={"file": (f"f{number}", str(number))}, stay=True
        )
        assert answer.status_code == 303
    seen: list[str] = []
    address: str | None = f"{case}?limit=2&lang=en"
    while address:
        page = court.clerk.get(address)
        seen += re.findall(r'<bdi class="given">(f\d)</bdi>', page.text)
        further = re.search(r'href="([^"]+)" rel="next"', page.text)
        address = None if further is None else html.unescape(further.group(1)) + "&limit=2"
    assert seen == ["f0", "f1", "f2", "f3", "f4"]


def test_a_cursor_that_is_none_is_refused(court: Court) -> None:
    assert court.clerk.get("/cases?after=x").status_code == 400
    assert court.clerk.get(f"{court.case}?limit=0").status_code == 400


# --- handing in ------------------------------------------------------------------------------


def test_the_limits_stand_beside_the_choice(court: Court) -> None:
    assert "At most 40 MiB a file." in words(court.clerk.get(court.case))


def test_a_plain_form_hands_in_a_file_with_a_timestamp_of_its_own(court: Court) -> None:
    exhibit = court.hand_in("a.txt", b"plain form", timestamp="document", exhibit="")
    given = court.clerk.get(f"/v1{exhibit}").json()
    assert given["digests"]["sha-256"] == hashlib.sha256(b"plain form").hexdigest()
    assert given["exhibit"].isdigit()
    court.service.wait_for(lambda: court.clerk.get(f"/v1{exhibit}/timestamp.tsr").ok)
    assert "timestamp.tsr</a>" in court.clerk.get(exhibit).text


def test_the_form_asks_for_a_document_timestamp_by_itself(court: Court) -> None:
    assert '<input type="hidden" name="timestamp" value="document">' in (
        court.clerk.get(court.case).text
    )


def test_what_the_form_says_of_the_origin_is_stated_by_the_depositor(court: Court) -> None:
    fields: dict[str, Any] = {
        "provenance.source": " mail account ",
        "provenance.device": "",
        "provenance.captured_at": "2026-11-20T10:30",
        "provenance.captured_zone": "+08:00",
        "provenance.steps": "open the mailbox\r\n\r\n save the mail \r\n",
    }
    exhibit = court.hand_in(**fields)
    stated = court.clerk.get(f"/v1{exhibit}").json()["sections"]["provenance"]
    assert stated["stated_by_depositor"] == {
        "source": "mail account",
        "captured_at": "2026-11-20T10:30:00+08:00",
        "steps": ["open the mailbox", "save the mail"],
    }
    page = words(court.clerk.get(exhibit))
    assert "Stated by the depositor, not checked" in page
    assert "save the mail" in page


def test_an_origin_left_blank_is_not_stated(court: Court) -> None:
    blank: dict[str, Any] = {"provenance.source": " ", "provenance.captured_zone": "+08:00"}
    exhibit = court.hand_in(**blank)
    assert "provenance" not in court.clerk.get(f"/v1{exhibit}").json()["sections"]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"provenance.captured_at": "yesterday"}, 400, "provenance_malformed"),
        ({"provenance.weather": "fine"}, 400, "provenance_malformed"),
        ({"provenance.source": "x" * 2001}, 400, "provenance_malformed"),
        ({"colour": "blue"}, 400, "form_malformed"),
        ({"exhibit": "x" * 501}, 400, "label_malformed"),
    ],
)
def test_a_hand_in_that_cannot_be_read_is_refused_on_a_page(
    court: Court, fields: dict[str, Any], status: int, code: str
) -> None:
    answer = court.clerk.submit(f"{court.case}/deposits", files={"file": ("x", b"x")}, **fields)
    assert answer.status_code == status
    assert TITLES[code] in answer.text


def test_an_exhibit_number_that_is_taken_is_refused(court: Court) -> None:
    court.hand_in(exhibit="A-7")
    answer = court.clerk.submit(
        f"{court.case}/deposits", files={"file": ("x", b"x")}, exhibit="A-7"
    )
    assert answer.status_code == 409
    assert TITLES["exhibit_taken"] in answer.text


def test_a_file_over_the_limit_is_refused_in_the_readers_language(court: Court) -> None:
    answer = court.clerk.submit(
        f"{court.case}/deposits?lang=zh", files={"file": ("x", b"x" * (FILE_LIMIT + 1))}
    )
    assert answer.status_code == 413
    assert "文件超过允许的大小" in answer.text


def test_an_empty_file_is_refused_unless_it_is_meant(court: Court) -> None:
    refused = court.clerk.submit(f"{court.case}/deposits", files={"file": ("empty", b"")})
    assert refused.status_code == 400
    assert TITLES["empty_file"] in refused.text
    court.hand_in("empty", b"", allow_empty="1")


def test_a_hand_in_that_is_no_form_with_a_file_is_refused(court: Court) -> None:
    assert court.clerk.submit(f"{court.case}/deposits", exhibit="1").status_code == 400


def test_the_script_gets_the_address_and_has_not_opened_the_exhibit(court: Court) -> None:
    answer = court.clerk.post(
        f"{court.case}/deposits",
        data={"csrf": court.clerk.csrf},
        files={"file": ("x", uuid.uuid4().bytes)},
        headers={"X-Requested-With": "XMLHttpRequest"},
    )
    assert answer.status_code == 201
    assert not answer.content
    trail = court.clerk.get(f"/v1{path_of(answer)}/custody").json()["items"]
    assert [event["kind"] for event in trail] == ["registered"]


def test_the_script_that_tries_again_does_not_register_twice(court: Court) -> None:
    content = uuid.uuid4().bytes

    def send() -> str:
        answer = court.clerk.post(
            f"{court.case}/deposits",
            data={"csrf": court.clerk.csrf},
            files={"file": ("x", content)},
            headers={"X-Requested-With": "XMLHttpRequest", "Idempotency-Key": content.hex()},
        )
        assert answer.status_code == 201
        return path_of(answer)

    assert send() == send()


# --- exhibits --------------------------------------------------------------------------------


def test_a_look_at_an_exhibit_is_recorded_and_stands_in_its_trail(court: Court) -> None:
    exhibit = court.hand_in()
    court.auditor.get(exhibit)
    court.clerk.get(exhibit)
    trail = court.clerk.get(f"/v1{exhibit}/custody").json()["items"]
    assert [(event["kind"], event["actor"]) for event in trail] == [
        ("registered", "the clerk"),
        ("opened", "the auditor"),
        ("opened", "the clerk"),
    ]
    page = court.clerk.get(f"{exhibit}/custody")
    for event in trail:
        assert event["at"] in page.text
        assert f">{event['leaf_index']}</td>" in page.text


def test_the_trails_pages_go_on_where_they_ended(court: Court) -> None:
    exhibit = court.hand_in()
    for _ in range(3):
        court.clerk.get(exhibit)
    first = court.clerk.get(f"{exhibit}/custody?limit=2")
    further = re.search(r'href="([^"]+)" rel="next"', first.text)
    assert further is not None
    second = court.clerk.get(html.unescape(further.group(1)))
    assert first.text.count('<tr role="row">') == 1 + 3
    assert second.text.count('<tr role="row">') == 1 + 1
    assert "Registered" not in words(second).partition("Entry")[2]


def test_an_exhibit_shows_its_digest_in_groups_of_four_that_copy_as_one(court: Court) -> None:
    exhibit = court.hand_in(content=b"groups")
    digest = hashlib.sha256(b"groups").hexdigest()
    page = court.clerk.get(exhibit).text
    spans = "<wbr>".join(f"<span>{digest[at : at + 4]}</span>" for at in range(0, 64, 4))
    assert spans in page


def test_every_download_on_an_exhibits_page_is_there(court: Court) -> None:
    exhibit = court.hand_in(timestamp="document")
    court.service.wait_for(lambda: court.clerk.get(f"/v1{exhibit}/timestamp.tsr").ok)
    found = re.findall(rf'href="(/v1{exhibit}/[^"]+)"', court.clerk.get(exhibit).text)
    assert {address.rpartition("/")[2] for address in found} == {
        "certificate.pdf?lang=en",
        "certificate.pdf?lang=zh",
        "certificate.json",
        "bundle.zip",
        "bundle.asice",
        "bundle.asics",
        "content",
        "proof.tlog-proof",
        "timestamp.tsr",
    }
    for address in found:
        assert court.clerk.get(address).status_code == 200, address


def test_a_download_that_fails_under_a_person_is_a_page(court: Court) -> None:
    exhibit = court.hand_in()
    followed = {"Sec-Fetch-Dest": "document"}
    answer = court.clerk.get(f"/v1{exhibit}/timestamp.tsr", headers=followed)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    program = court.clerk.get(f"/v1{exhibit}/timestamp.tsr")
    assert program.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ('"><img src=x>', "&#34;&gt;&lt;img src=x&gt;"),
        ("a\u202egnp.exe", 'a<span class="code-point">U+202E</span>gnp.exe'),
        ("👨\u200d👩\u200d👧.png", "👨\u200d👩\u200d👧.png"),
        ("a\u200db", 'a<span class="code-point">U+200D</span>b'),
        ("עדות.pdf", "עדות.pdf"),
        ("x" * 251 + ".pdf", "x" * 251 + ".pdf"),
    ],
)
def test_a_name_is_shown_exactly_and_runs_nothing(court: Court, name: str, shown: str) -> None:
    exhibit = court.hand_in(name)
    for path in (exhibit, f"{exhibit}/custody", court.case):
        page = court.clerk.get(f"{path}?limit=200").text
        assert f'<bdi class="given">{shown}</bdi>' in page, path
        assert "<script>" not in page


def test_an_exhibit_whose_original_stayed_at_home_offers_none(court: Court) -> None:
    program = Client(court.service.base, court.service.key("digester"))
    body = {"size": 3, "digests": {"sha-256": hashlib.sha256(b"abc").hexdigest()}}
    given = program.post("/v1/deposits", json=body).json()
    page = court.clerk.get(f"/deposits/{given['id']}")
    assert "NOT STORED" in words(page)
    assert "/content" not in page.text
