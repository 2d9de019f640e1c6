"""The page /verify over HTTP: the verdict of POST /v1/verify, in the same words."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
import requests

from notary.verify_page import pack_page
from tests.harness.person import Court, Person, words


def certificate(court: Court, exhibit: str) -> bytes:
    found: bytes = court.clerk.get(f"/v1{exhibit}/certificate.json").content
    return found


def check(
    person: Person, certificate: bytes, file: tuple[str, bytes] | None, lang: str = "en"
) -> Any:
    files: dict[str, Any] = {"certificate": ("c.json", certificate)}
    if file is not None:
        files["file"] = file
    return person.post(f"/verify?lang={lang}", files=files)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_and_the_api_give_the_same_verdict_in_the_same_words(
    court: Court, stranger: Person, lang: str
) -> None:
    paper = certificate(court, court.hand_in("a.txt", b"verify me"))
    for content in (b"verify me", b"something else", b"", paper):
        page = check(stranger, paper, ("a.txt", content), lang)
        report = requests.post(
            f"{court.service.base}/v1/verify?lang={lang}",
            files={"certificate": ("c", paper), "file": ("a.txt", content)},
            timeout=60,
        ).json()
        assert page.status_code == 200
        text = words(page)
        assert report["headline"] in text
        assert report["explanation"] in text
        for each in report["checks"]:
            assert each["sentence"] in text
            assert each["detail"] in text


def test_the_verdict_shows_both_files_and_says_what_was_sent(
    court: Court, stranger: Person
) -> None:
    paper = certificate(court, court.hand_in("registered.txt", b"registered"))
    page = check(stranger, paper, ("mine <1>.txt", b"mine"))
    text = words(page)
    for each in ("mine <1>.txt", "4 bytes", "registered.txt", "10 bytes", "hashed as they arrived",
                 "That the content is true, complete or lawful."):  # fmt: skip
        assert each in text
    for content in (b"mine", b"registered"):
        assert f"starts {hashlib.sha256(content).hexdigest()[:4]}" in text


def test_of_a_certificate_that_is_not_genuine_nothing_is_shown_as_fact(
    court: Court, stranger: Person
) -> None:
    exhibit = court.hand_in("secret name.txt", b"genuine")
    forged = certificate(court, exhibit).replace(b'"version":1', b'"version":2', 1)
    page = words(check(stranger, forged, ("a", b"genuine")))
    assert "Certificate not genuine" in page
    assert "What the certificate says" not in page
    assert "secret name" not in page


def test_what_is_no_certificate_is_undecided_and_accuses_nobody(stranger: Person) -> None:
    page = check(stranger, b"%PDF-1.7 not one", ("a", b"b"))
    assert page.status_code == 200
    assert "Cannot be decided" in words(page)


def test_without_a_file_only_the_certificate_is_checked(court: Court, stranger: Person) -> None:
    page = check(stranger, certificate(court, court.hand_in()), None)
    assert "no file given" in words(page)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_without_a_certificate_the_form_comes_again_with_the_reason(
    stranger: Person, lang: str
) -> None:
    page = stranger.post(f"/verify?lang={lang}", files={"file": ("a", b"b")})
    assert page.status_code == 400
    assert 'role="alert"' in page.text
    assert 'name="certificate"' in page.text


def test_the_verdict_can_be_read_in_the_other_language_without_the_file(
    court: Court, stranger: Person
) -> None:
    paper = certificate(court, court.hand_in("名.txt", b"twice"))
    page = check(stranger, paper, ("mine.txt", b"twice"))
    form = page.text.partition('action="/verify?lang=zh"')[2].partition("</form>")[0]
    carried = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))
    again = stranger.post("/verify?lang=zh", data=carried)
    assert again.status_code == 200
    assert "核验一致" in again.text
    assert "mine.txt" in again.text


@pytest.mark.parametrize(
    "carried",
    [
        {"certificate": "not base64!"},
        {"certificate": "AA==", "sha256": "zz", "size": "1"},
        {"certificate": "AA==", "sha256": "0" * 64, "size": "-1"},
        {"certificate": "AA==", "sha256": "0" * 64, "size": "1e9"},
        {"certificate": "AA==", "sha256": "0" * 64, "size": "1", "name": "a\x00"},
    ],
)
def test_what_a_verdict_page_would_not_carry_is_refused(
    stranger: Person, carried: dict[str, str]
) -> None:
    assert stranger.post("/verify", data=carried).status_code == 400


def test_verifying_needs_no_account_and_leaves_no_cookie(court: Court, stranger: Person) -> None:
    assert stranger.get("/verify").status_code == 200
    check(stranger, certificate(court, court.hand_in()), ("a", b"bytes"))
    assert not stranger.cookies


def test_the_verifier_for_a_browser_is_a_download(court: Court, stranger: Person) -> None:
    page = stranger.get("/verify").text
    assert 'href="/verify.html" download' in page
    given = stranger.get("/verify.html")
    assert given.headers["Content-Disposition"] == "attachment; filename=verify.html"
    assert given.headers["Content-Type"] == "text/html; charset=utf-8"
    assert given.content == pack_page()
