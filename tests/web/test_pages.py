"""The pages over HTTP, without scripts: getting in, tokens, and what every page keeps to."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests

from notary.web.problems import TITLES
from tests.harness.person import NOWHERE, PASSWORD, Court, Person, create
from tests.harness.server import Client, Service

PATHS = ("/cases", f"/cases/{NOWHERE}", f"/deposits/{NOWHERE}", f"/deposits/{NOWHERE}/custody",
         "/accounts", f"/accounts/{NOWHERE}", "/password")  # fmt: skip


# --- getting in ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_is_led_to_the_sign_in_form_and_back(stranger: Person, path: str) -> None:
    answer = stranger.get(path, params={"lang": "zh"}, allow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/sign-in?lang=zh&next=")
    assert f'name="next" value="{path}?lang=zh"' in stranger.get(path, params={"lang": "zh"}).text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/secret"])
def test_a_sign_in_form_that_is_not_ours_is_refused(
    stranger: Person, path: str, headers: dict[str, str]
) -> None:
    given = {"name": "the clerk", "password": PASSWORD}
    answer = stranger.post(path, data=given, headers=headers)
    assert answer.status_code == 403
    assert TITLES["csrf"] in answer.text
    assert not stranger.cookies


def test_a_wrong_password_and_an_unknown_name_are_refused_in_the_same_words(
    stranger: Person,
) -> None:
    wrong = stranger.submit("/sign-in", name="the clerk", password="not it at all")
    unknown = stranger.submit("/sign-in", name="nobody", password="not it at all")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.text.replace("the clerk", "nobody") == unknown.text
    assert "not it at all" not in wrong.text
    assert not stranger.cookies


@pytest.mark.parametrize("name", ["", "\x00", "x" * 300, "' OR 1=1 --"])
def test_a_name_that_no_account_can_have_is_refused_like_any_other(
    stranger: Person, name: str
) -> None:
    assert stranger.submit("/sign-in", name=name, password=PASSWORD).status_code == 401


def test_the_session_cookie_is_not_for_scripts_nor_for_other_sites(stranger: Person) -> None:
    answer = stranger.submit("/sign-in", stay=True, name="the clerk", password=PASSWORD)
    cookie = answer.headers["Set-Cookie"]
    assert "; HttpOnly" in cookie
    assert "; SameSite=Lax" in cookie
    assert "; Path=/" in cookie
    assert "Secure" not in cookie


def test_the_session_cookie_is_secure_where_the_setting_says_so(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(secure_cookies="1")
    answer = Person(service.base).submit(service.link, stay=True)
    assert "; Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)",
     "/cases\r\nX: y", "cases", ""],
)  # fmt: skip
def test_after_signing_in_nobody_is_led_to_another_site(stranger: Person, elsewhere: str) -> None:
    form = stranger.get("/sign-in", params={"next": elsewhere})
    assert 'name="next"' not in form.text
    answer = stranger.submit(
        "/sign-in", stay=True, name="the clerk", password=PASSWORD, next=elsewhere
    )
    assert answer.headers["Location"] == "/cases?lang=en"


def test_after_signing_in_one_gets_to_the_page_that_was_wanted(
    stranger: Person, court: Court
) -> None:
    answer = stranger.submit(
        "/sign-in", stay=True, name="the clerk", password=PASSWORD, next=f"{court.case}?lang=zh"
    )
    assert answer.headers["Location"] == f"{court.case}?lang=zh"


def test_looking_at_a_one_time_link_does_not_spend_it(court: Court, stranger: Person) -> None:
    link = create(court.administrator, f"looker {uuid.uuid4()}", "clerk")
    for _ in range(3):
        assert stranger.get(link).status_code == 200
    answer = stranger.submit(link, stay=True)
    assert answer.headers["Location"] == "/password?lang=en"


def test_a_one_time_link_works_once(court: Court, stranger: Person) -> None:
    link = create(court.administrator, f"once {uuid.uuid4()}", "clerk")
    assert stranger.submit(link).status_code == 200
    second = Person(court.service.base).submit(link)
    assert second.status_code == 401
    assert TITLES["link_spent"] in second.text


def test_signing_out_needs_the_token_and_ends_the_session_here(
    court: Court, stranger: Person
) -> None:
    stranger.sign_in("the clerk")
    cookies = dict(stranger.cookies)
    refused = stranger.post("/sign-out", headers={"Origin": court.service.base})
    assert refused.status_code == 403
    assert stranger.get("/cases", allow_redirects=False).status_code == 200
    stranger.submit("/sign-out")
    kept = requests.get(
        f"{court.service.base}/cases",
        cookies=cookies,
        headers={"Accept": "text/html"},
        allow_redirects=False,
        timeout=60,
    )
    assert kept.status_code == 303


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"old": PASSWORD, "new": "short", "again": "short"}, "password_too_weak"),
        ({"old": PASSWORD, "new": "x" * 201, "again": "x" * 201}, "password_too_weak"),
        ({"old": "wrong password", "new": "y" * 20, "again": "y" * 20}, "sign_in_refused"),
        ({"new": "y" * 20, "again": "y" * 20}, "sign_in_refused"),
    ],
)
def test_a_password_is_not_changed(
    court: Court, stranger: Person, fields: dict[str, Any], code: str
) -> None:
    stranger.sign_in("the auditor")
    answer = stranger.submit("/password", **fields)
    assert answer.status_code in (400, 401)
    assert TITLES[code] in answer.text
    Person(court.service.base).sign_in("the auditor")


def test_two_new_passwords_that_differ_are_refused(stranger: Person) -> None:
    stranger.sign_in("the auditor")
    answer = stranger.submit("/password", old=PASSWORD, new="y" * 20, again="z" * 20)
    assert answer.status_code == 400
    assert "The two new passwords differ" in answer.text


def test_an_api_key_opens_no_page(court: Court) -> None:
    program = Client(court.service.base, court.service.key("a program"))
    program.headers["Accept"] = "text/html"
    assert program.get("/cases", allow_redirects=False).status_code == 303
    taken = program.post("/password", data={"new": PASSWORD, "again": PASSWORD})
    assert taken.status_code == 401


# --- forms and tokens ------------------------------------------------------------------------


@pytest.mark.parametrize("as_multipart", [False, True])
@pytest.mark.parametrize(
    ("who", "path"),
    [
        ("clerk", "/cases"),
        ("clerk", "{case}/parties"),
        ("clerk", "{case}/deposits"),
        ("clerk", f"/deposits/{NOWHERE}/paper"),
        ("clerk", "/password"),
        ("administrator", "/accounts"),
        ("administrator", f"/accounts/{NOWHERE}/role"),
        ("administrator", f"/accounts/{NOWHERE}/disable"),
        ("administrator", f"/accounts/{NOWHERE}/keys"),
        ("administrator", f"/accounts/{NOWHERE}/keys/k/revoke"),
    ],
)
def test_a_form_without_the_sessions_token_changes_nothing(
    court: Court, who: str, path: str, as_multipart: bool
) -> None:
    person: Person = getattr(court, who)
    files = {"file": ("x", b"x")} if as_multipart else None
    answer = person.post(path.format(case=court.case), data={"csrf": "wrong"}, files=files)
    assert answer.status_code == 403
    assert TITLES["csrf"] in answer.text


def test_the_api_too_takes_no_session_without_a_token_however_the_body_is_called(
    court: Court,
) -> None:
    body = json.dumps({"court": "C", "number": "forged", "title": "T"})
    for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain"):
        answer = court.clerk.post("/v1/cases", data=body, headers={"Content-Type": kind})
        assert answer.json()["code"] == "csrf", kind


# --- every page ------------------------------------------------------------------------------


def test_the_api_page_names_every_operation_and_every_problem(
    court: Court, stranger: Person
) -> None:
    page = stranger.get("/docs").text
    for path, methods in stranger.get("/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"<b>{method.upper()}</b> {path}</code>" in page
    for code in TITLES:
        assert f'id="problem-{code}"' in page


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_error_is_a_page_for_people_and_a_problem_for_programs(
    stranger: Person, lang: str
) -> None:
    page = stranger.get(f"/nothing/here?lang={lang}")
    assert page.status_code == 404
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Request-Id"] in page.text
    assert "/docs?lang=" in page.text
    assert "#problem-not_found" in page.text
    program = requests.get(f"{stranger.base}/nothing/here", timeout=60)
    assert program.headers["Content-Type"] == "application/problem+json"


def test_a_wrong_method_is_a_page_that_says_which_are_right(stranger: Person) -> None:
    answer = stranger.submit("/docs")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
    assert answer.headers["Content-Type"].startswith("text/html")


def test_too_many_sign_ins_are_slowed_down_and_the_form_still_shows(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(sign_in_per_minute="2", web_processes="1")
    person = Person(service.base)
    answers = [person.submit("/sign-in", name="x", password="y").status_code for _ in range(4)]
    assert 429 in answers
    assert person.get("/sign-in").status_code == 200
    page = person.submit("/sign-in", name="x", password="y")
    assert page.headers["Retry-After"]
    assert TITLES["rate_limited"] in page.text


@pytest.mark.parametrize("path", ["/", "/sign-in", "/verify", "/docs", "/nowhere"])
def test_a_public_page_allows_no_script_or_style_but_ours(stranger: Person, path: str) -> None:
    page = stranger.get(path)
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "private, no-store"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=\"/static/)", page.text)
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert stranger.get(address).status_code == 200, address


def test_the_language_stays_in_every_link_and_the_switch_keeps_the_page(court: Court) -> None:
    page = court.clerk.get(f"{court.case}?lang=zh&limit=3")
    assert '<html lang="zh-Hans">' in page.text
    assert f'href="{court.case}?limit=3&amp;lang=en" lang="en"' in page.text
    for address in re.findall(
        r'(?:href|action)="(/(?:cases|verify|docs|sign-out)[^"]*)"', page.text
    ):
        assert "lang=" in address, address


@pytest.mark.parametrize(
    ("accepted", "asked", "spoken"),
    [
        ("zh-CN,zh;q=0.9", "", "zh-Hans"),
        ("fr", "", "en"),
        ("zh-CN", "?lang=en", "en"),
        ("en", "?lang=zh", "zh-Hans"),
        ("en", "?lang=klingon", "en"),
    ],
)
def test_the_language_is_the_one_asked_for_else_the_browsers(
    stranger: Person, accepted: str, asked: str, spoken: str
) -> None:
    page = stranger.get(f"/{asked}", headers={"Accept-Language": accepted})
    assert f'<html lang="{spoken}">' in page.text
    assert page.headers["Content-Language"] == spoken
