"""verify.html as a person meets it: nothing sent, two languages, keyboard, paper, large files."""

from __future__ import annotations

import hashlib
import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from certs.wording import LANGS, Lang, load_wording
from notary.clock import parse_rfc3339
from tests.harness.browser_page import BrowserPage, browser_page
from tests.page.test_same_verdicts import MATCH, VECTORS

NARROW = {"width": 360, "height": 740}
RULES = {"rules": {"color-contrast-enhanced": {"enabled": True}}}
TRUST = MATCH / "trust.toml"
CERTIFICATE = MATCH / "certificate.json"
FOUR_GIB = 4 << 30


@pytest.fixture
def fresh(browser: Any, tmp_path: Path) -> Iterator[BrowserPage]:
    with browser_page(browser, tmp_path) as opened:
        yield opened


def test_nothing_but_the_page_itself_is_asked_for(fresh: BrowserPage) -> None:
    fresh.judge(CERTIFICATE, MATCH / "content", TRUST)
    fresh.wait("whole")
    address = fresh.page.url.partition("#")[0]
    assert {url.partition("#")[0] for url in fresh.requests if not url.startswith("blob:")} == {
        address
    }


@pytest.mark.parametrize(
    "attempt",
    [
        "fetch('http://127.0.0.1:9/')",
        "new Promise((done, fail) => { const i = new Image(); i.onload = done; i.onerror = fail;"
        " i.src = 'http://127.0.0.1:9/x.png'; })",
        "import('http://127.0.0.1:9/x.js')",
    ],
)
def test_its_own_policy_refuses_it_any_network(fresh: BrowserPage, attempt: str) -> None:
    refused = fresh.page.evaluate(f"({attempt}).then(() => false, () => true)")
    assert refused
    assert any("Content Security Policy" in text for text in fresh.complaints)


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize(
    "case", ["match", "signature_fail", "no_document_fail", "unknown_key_of_certificate_fail"]
)
def test_a_verdict_has_the_words_of_the_papers_and_no_fault_for_eye_or_ear(
    browser: Any, tmp_path: Path, lang: Lang, case: str
) -> None:
    axe_room = pytest.importorskip("axe_playwright_python.sync_playwright")
    folder = VECTORS / case
    with browser_page(browser, tmp_path, lang=lang) as opened:
        check_page(opened.page, axe_room)
        document = folder / "content"
        report = opened.judge(
            folder / "certificate.json", document if document.exists() else None, TRUST
        )
        facts = report["facts"]
        registered = None if facts is None else parse_rfc3339(facts["registered_at"])
        words = load_wording(lang).verdict(report["code"], registered_at=registered)
        assert opened.page.locator("h1:visible").inner_text() == words.headline
        assert words.explanation in opened.page.locator("#result").inner_text()
        assert words.class_label in opened.page.locator(".verdict .class").inner_text()
        check_page(opened.page, axe_room)


def check_page(page: Any, axe_room: Any) -> None:
    found = axe_room.Axe().run(page, options=RULES)
    assert not [(fault["id"], fault["impact"]) for fault in found.response["violations"]]
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    page.set_viewport_size({"width": 1280, "height": 900})


def test_the_language_changes_without_a_second_check(fresh: BrowserPage) -> None:
    english = fresh.judge(CERTIFICATE, MATCH / "content", TRUST)
    fresh.page.locator("#language").click()
    chinese = fresh.report()
    assert chinese["headline"] != english["headline"]
    assert chinese["explanation"] == load_wording("zh").texts["verdict.confirmed.match.explanation"]
    assert fresh.page.evaluate("document.documentElement.lang") == "zh-Hans"


@pytest.mark.parametrize("lang", LANGS)
def test_the_result_can_be_printed(browser: Any, tmp_path: Path, lang: Lang) -> None:
    with browser_page(browser, tmp_path, lang=lang) as opened:
        report = opened.judge(CERTIFICATE, MATCH / "content", TRUST)
        printed = PdfReader(io.BytesIO(opened.page.pdf(format="A4")))
    text = folded("".join(page.extract_text() for page in printed.pages))
    digest = report["document"]["digests"]["sha-256"]
    for said in (report["headline"], report["explanation"], digest):
        assert folded(said) in text
    assert len(printed.pages) <= 4


def folded(text: str) -> str:
    """Without spaces and ligatures."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def test_names_are_shown_and_never_obeyed(fresh: BrowserPage) -> None:
    name = "<img src=x onerror=alert(1)>‮fdp.exe"
    fresh.judge(CERTIFICATE, b"another", TRUST, name=name)
    assert fresh.page.locator("#result img").count() == 0
    assert name in fresh.page.locator("#result").inner_text()
    assert not fresh.complaints


def test_without_a_certificate_it_asks_for_one(fresh: BrowserPage) -> None:
    fresh.give(document=b"document")
    assert fresh.said() == "Choose the certificate first."
    assert fresh.page.evaluate("document.activeElement.id") == "certificate"


@pytest.mark.parametrize(
    "trust",
    [
        b"", b"\xff", b"format = 1", b'format = "evidence-trust/v2"', b"origin = [",
        TRUST.read_bytes() + b'more = "x"\n',
        TRUST.read_bytes() + b'origin = "twice"\n',
        TRUST.read_bytes().replace(b"log_keys", b"log_kez"),
        TRUST.read_bytes().replace(b"MII", b"MIJ", 1),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_trust_file_that_cannot_be_read_leads_to_no_verdict(
    fresh: BrowserPage, trust: bytes
) -> None:
    fresh.give(certificate=CERTIFICATE, document=MATCH / "content", trust=trust)
    fresh.wait("failed")
    assert fresh.said().startswith("The trust file cannot be read. No check was made.")
    assert fresh.page.locator("#result").is_hidden()


def test_a_file_that_is_dropped_is_taken(fresh: BrowserPage) -> None:
    fresh.page.evaluate(
        """([name, text]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([text], name));
          document.getElementById("certificate").dispatchEvent(
            new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
        }""",
        ["certificate.json", CERTIFICATE.read_text("utf-8")],
    )
    assert fresh.judge(None, MATCH / "content", TRUST)["code"] == "match"


def test_it_works_by_keyboard_alone(fresh: BrowserPage) -> None:
    for place, path in (("certificate", CERTIFICATE), ("document", MATCH / "content")):
        fresh.page.set_input_files(f"#{place}", str(path))
    fresh.page.locator("#related").focus()
    fresh.page.keyboard.press("Tab")
    fresh.page.keyboard.press("Enter")
    fresh.page.wait_for_selector("#result:not([hidden])")
    assert fresh.page.evaluate("document.activeElement.id") == "result"


@pytest.mark.parametrize(
    "size", [0, 1, 63, 64, 65, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 26_000_001]
)
def test_digests_are_those_of_the_bytes(fresh: BrowserPage, tmp_path: Path, size: int) -> None:
    data = (hashlib.sha256(b"seed").digest() * (size // 32 + 1))[:size]
    path = tmp_path / "data"
    path.write_bytes(data)
    report = fresh.judge(CERTIFICATE, path, TRUST)
    assert report["document"]["digests"]["sha-256"] == hashlib.sha256(data).hexdigest()
    fresh.wait("whole")
    assert fresh.report()["document"]["digests"]["sm3"] == hashlib.new("sm3", data).hexdigest()


@pytest.mark.slow
def test_four_gib_are_hashed_piece_by_piece(fresh: BrowserPage, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(FOUR_GIB)
        file.seek(FOUR_GIB - 9)
        file.write(b"last bytes")
    with path.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    report = fresh.judge(CERTIFICATE, path, TRUST, timeout_s=280)
    assert report["document"] == {"digests": {"sha-256": expected}, "size": FOUR_GIB + 1}
    assert report["code"] == "digest_mismatch"
