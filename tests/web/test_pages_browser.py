"""The pages in a real browser: by keyboard alone, for screen readers, narrow, in both languages."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.person import FILE_LIMIT, PASSWORD, Court, create

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: install requirements-dev.txt"
)
axe_room = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="no axe here: install requirements-dev.txt"
)
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: install Debian's package chromium"
)

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 320, "height": 640}
NASTY = "עדות‮fdp.exe 合同（最终版）👨‍👩‍👧 " + "very_long_name_" * 12 + ".pdf"
# Contrast 7:1 is a level AAA rule, which axe leaves off unless asked.
RULES = {"rules": {"color-contrast-enhanced": {"enabled": True}}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Any, court: Court) -> Iterator[Callable[..., Any]]:
    """A window of its own, signed in as one of the court's people, or as nobody. Whatever the
    browser complains of (a policy broken, a script that failed) fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def make(who: str | None = None, **settings: Any) -> Any:
        context = browser.new_context(base_url=court.service.base, viewport=WIDE, **settings)
        contexts.append(context)
        if who is not None:
            for cookie in getattr(court, who).cookies:
                context.add_cookies(
                    [{"name": cookie.name, "value": cookie.value, "url": court.service.base}]
                )
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if _bad(said) else None)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not complaints


def _bad(said: Any) -> bool:
    """An answer that refuses and a connection that breaks are what some tests are about."""
    meant = ("the server responded with a status of 4", "net::ERR_FAILED")
    return said.type == "error" and not any(each in said.text for each in meant)


@pytest.fixture(scope="module")
def exhibit(court: Court) -> str:
    stated: dict[str, Any] = {"provenance.source": "a mail", "timestamp": "document"}
    path = court.hand_in(NASTY, b"exhibit", **stated)
    court.service.wait_for(lambda: court.clerk.get(f"/v1{path}/timestamp.tsr").ok)
    return path


@pytest.fixture(scope="module")
def certificate(court: Court, exhibit: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = tmp_path_factory.mktemp("papers") / "certificate.pdf"
    kept.write_bytes(court.clerk.get(f"/v1{exhibit}/certificate.pdf").content)
    return kept


def check_page(page: Any) -> None:
    """Neither a serious fault that axe finds, nor a line that runs over a narrow edge."""
    found = axe_room.Axe().run(page, options=RULES)
    serious = [
        (fault["id"], fault["impact"], [node["html"] for node in fault["nodes"]][:3])
        for fault in found.response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    assert not serious, page.url
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], page.url
    page.set_viewport_size(WIDE)


# --- for everybody's eyes and ears ----------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("who", "path"),
    [
        (None, "/"),
        (None, "/sign-in"),
        (None, "/sign-in/some-secret"),
        (None, "/verify"),
        (None, "/docs"),
        (None, "/nowhere"),
        ("clerk", "/"),
        ("clerk", "/cases"),
        ("clerk", "{case}"),
        ("clerk", "{exhibit}?new=1"),
        ("clerk", "{exhibit}/custody"),
        ("clerk", "{exhibit}/paper"),
        ("clerk", "{exhibit}/paper?profile=in-bsa-63&show=content&show=case&show=depositor"),
        ("clerk", "{exhibit}/paper?profile=iso-27037&show=content&show=depositor"),
        ("clerk", "/password"),
        ("clerk", "/accounts"),
        ("auditor", "{exhibit}"),
        ("clerk", "/disposals"),
        ("party", "/cases"),
        ("administrator", "/accounts"),
        ("administrator", "{account}"),
    ],
)
def test_a_page_has_no_serious_fault_and_fits_a_narrow_window(
    court: Court, exhibit: str, open_page: Callable[..., Any], who: str | None, path: str, lang: str
) -> None:
    page = open_page(who)
    account = ""
    if "{account}" in path:
        page.goto("/accounts")
        account = page.locator("main .list a").first.get_attribute("href").partition("?")[0]
    address = path.format(case=court.case, exhibit=exhibit, account=account)
    page.goto(f"{address}{'&' if '?' in address else '?'}lang={lang}")
    for closed in page.locator("details").all():
        closed.evaluate("each => { each.open = true; }")
    check_page(page)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("content", "shown"),
    [(b"exhibit", "confirmed"), (b"another", "not_this_file"), (None, "undecided")],
)
def test_a_verdict_has_no_serious_fault(
    open_page: Callable[..., Any], certificate: Path, lang: str, content: bytes | None, shown: str
) -> None:
    page = open_page()
    page.goto(f"/verify?lang={lang}")
    page.set_input_files("#certificate", certificate)
    if content is not None:
        given = {"name": NASTY, "mimeType": "application/pdf", "buffer": content}
        page.set_input_files("#file", given)
    page.click("form.card button")
    page.locator(f".verdict.{shown}").wait_for()
    check_page(page)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_form_with_an_error_has_no_serious_fault(
    open_page: Callable[..., Any], lang: str
) -> None:
    page = open_page()
    page.goto(f"/sign-in?lang={lang}")
    page.fill("#name", "nobody")
    page.fill("#password", "wrong")
    page.press("#password", "Enter")
    assert page.locator("[role=alert]").is_visible()
    check_page(page)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_statement_without_its_person_has_no_serious_fault(
    exhibit: str, open_page: Callable[..., Any], lang: str
) -> None:
    page = open_page("clerk")
    shown = "show=content&show=case&show=depositor"
    page.goto(f"{exhibit}/paper?lang={lang}&profile=uk-cea-9&{shown}")
    page.fill("#value-officer", NASTY)
    page.click("form.facts button:not([name])")
    page.wait_for_selector("[role=alert]")
    assert page.input_value("#value-officer") == NASTY
    check_page(page)


def test_what_is_shown_once_has_no_serious_fault(
    court: Court, open_page: Callable[..., Any]
) -> None:
    page = open_page("administrator")
    page.goto("/accounts?lang=en")
    page.fill("#name", "shown in a browser")
    page.check("#role-party")
    page.click("main form button")
    assert "/sign-in/" in page.inner_text("code.value")
    check_page(page)


def test_every_page_has_one_heading_and_a_title_in_its_language(
    court: Court, exhibit: str, open_page: Callable[..., Any]
) -> None:
    page = open_page("clerk")
    titles = set()
    for path in ("/", "/cases", court.case, exhibit, f"{exhibit}/custody", "/verify", "/docs"):
        for lang in ("en", "zh"):
            page.goto(f"{path}?lang={lang}")
            assert page.locator("h1").count() == 1
            titles.add(page.title())
    assert len(titles) == 14


# --- by keyboard alone ----------------------------------------------------------------------


def tab_to(page: Any, selector: str) -> None:
    """Presses Tab until the focus is there, as a person does who has no mouse."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{selector} does not show that it has the focus"
            return
    raise AssertionError(f"{selector} cannot be reached by keyboard on {page.url}")


def choose(page: Any, selector: str, file: Any) -> None:
    """Enter opens the file chooser; what happens in there is the system's."""
    tab_to(page, selector)
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(file)


def test_from_signing_in_to_the_verdict_by_keyboard_alone(
    court: Court, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page()
    # Choosers are caught from the start: switched on for one key press, it may come too late.
    page.on("filechooser", lambda _chooser: None)
    file = tmp_path / "租赁合同.pdf"
    file.write_bytes(b"%PDF-1.7 by keyboard")
    page.goto("/?lang=en")
    tab_to(page, ".skip")
    page.keyboard.press("Enter")
    tab_to(page, "main a.button.second")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in*")
    tab_to(page, "#name")
    page.keyboard.type("the clerk")
    tab_to(page, "#password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases*")

    tab_to(page, "#court")
    page.keyboard.type("District Court")
    tab_to(page, "#number")
    page.keyboard.type("by keyboard")
    tab_to(page, "#title")
    page.keyboard.type("A v. B")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases/*")

    choose(page, "#file", file)
    tab_to(page, "form[data-upload] button:not([type])")
    page.keyboard.press("Enter")
    page.wait_for_url("**/deposits/*")
    assert page.locator("[role=status]", has_text="Registered").is_visible()

    tab_to(page, "a[href*='certificate.pdf?lang=en']")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    certificate = tmp_path / "certificate.pdf"
    download.value.save_as(certificate)

    page.goto("/verify?lang=en")
    choose(page, "#certificate", certificate)
    choose(page, "#file", file)
    tab_to(page, "form.card button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".verdict.confirmed")
    assert page.inner_text("h1").startswith("This is exactly the file registered on")

    tab_to(page, "button.language")
    page.keyboard.press("Enter")
    page.wait_for_selector("html[lang=zh-Hans] .verdict.confirmed")
    assert "租赁合同.pdf" in page.inner_text(".compare")


# --- with and without scripts ---------------------------------------------------------------


def start_upload(page: Any, court: Court, file: Any, lang: str = "en") -> None:
    page.goto(f"{court.case}?lang={lang}")
    page.set_input_files("#file", file)
    page.click("form[data-upload] button:not([type])")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    file = tmp_path / "large.bin"
    file.write_bytes(b"0123456789abcdef" * (1 << 21))  # 32 MiB
    return file


def slow_down(page: Any) -> None:
    """2 MiB/s upwards: time enough to see the bar move."""
    session = page.context.new_cdp_session(page)
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2 << 20},
    )


def test_an_upload_shows_how_far_it_is_and_can_be_cancelled(
    court: Court, open_page: Callable[..., Any], large: Path
) -> None:
    page = open_page("clerk")
    before = court.clerk.get(f"{court.case}?limit=200&lang=en").text.count('class="exhibit"')
    page.goto(f"{court.case}?lang=en")
    slow_down(page)
    page.set_input_files("#file", large)
    page.click("form[data-upload] button:not([type])")
    page.locator("[data-status]", has_text=re.compile(r"[1-9]\d % sent")).wait_for()
    assert page.evaluate("document.querySelector('progress').value") >= 10
    assert page.evaluate("document.activeElement.matches('[data-cancel]')")
    page.keyboard.press("Enter")
    assert page.inner_text("[data-status]") == "Cancelled. Nothing was registered."
    assert page.locator("[data-progress]").is_hidden()
    after = court.clerk.get(f"{court.case}?limit=200&lang=en").text.count('class="exhibit"')
    assert after == before


def test_an_upload_ends_on_its_exhibits_page_and_is_opened_once(
    court: Court, open_page: Callable[..., Any], large: Path
) -> None:
    page = open_page("clerk")
    start_upload(page, court, large)
    page.wait_for_url("**/deposits/*")
    digest = hashlib.sha256(large.read_bytes()).hexdigest()
    assert page.locator("code.digest").first.text_content() == digest
    path = page.evaluate("location.pathname")
    trail = court.clerk.get(f"/v1{path}/custody").json()["items"]
    assert [event["kind"] for event in trail] == ["registered", "opened"]


@pytest.mark.parametrize(("lang", "told"), [("en", "The file is empty"), ("zh", "文件为空")])
def test_a_refused_upload_says_why_and_leaves_the_form_to_try_again(
    court: Court, open_page: Callable[..., Any], lang: str, told: str
) -> None:
    page = open_page("clerk")
    empty = {"name": "empty", "mimeType": "text/plain", "buffer": b""}
    start_upload(page, court, empty, lang)
    page.wait_for_selector("[role=alert]")
    assert told in page.inner_text("[role=alert]")
    assert page.evaluate("document.activeElement.matches('[role=alert]')")
    good = {"name": "full", "mimeType": "text/plain", "buffer": b"not empty"}
    page.set_input_files("#file", good)
    page.click("form[data-upload] button:not([type])")
    page.wait_for_url("**/deposits/*")


def test_a_file_over_the_limit_is_not_even_sent(
    court: Court, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page("clerk")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    file = tmp_path / "too-large"
    with file.open("wb") as sparse:
        sparse.truncate(FILE_LIMIT + 1)
    start_upload(page, court, file)
    page.wait_for_selector("[role=alert]")
    assert "larger than the limit of 40 MiB" in page.inner_text("[role=alert]")
    assert "POST" not in sent


def test_a_connection_that_breaks_is_told_and_the_retry_registers_once(
    court: Court, open_page: Callable[..., Any]
) -> None:
    page = open_page("clerk")
    page.goto(f"{court.case}?lang=en")
    keys: list[str] = []

    def lose_the_answer(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()  # the service has it; the browser never learns
            route.abort()
        else:
            route.continue_()

    page.route("**/deposits?*", lose_the_answer)
    page.set_input_files("#file", {"name": "once", "mimeType": "text/plain", "buffer": b"once"})
    page.click("form[data-upload] button:not([type])")
    page.wait_for_selector("[role=alert]")
    page.click("form[data-upload] button:not([type])")
    page.wait_for_url("**/deposits/*")
    assert keys[0] == keys[1]
    digest = hashlib.sha256(b"once").hexdigest()
    found = court.clerk.get("/v1/deposits", params={"sha256": digest}).json()["items"]
    assert len(found) == 1


def test_without_scripts_everything_works_as_well(
    court: Court, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page("clerk", java_script_enabled=False)
    start_upload(page, court, {"name": "plain", "mimeType": "text/plain", "buffer": b"no script"})
    page.wait_for_url("**/deposits/*")
    assert page.locator("[role=status]", has_text="Registered").is_visible()
    assert page.locator("[data-cancel]").count() == 0
    with page.expect_download() as download:
        page.click("text=certificate.json")
    paper = tmp_path / "certificate.json"
    download.value.save_as(paper)
    page.goto("/verify?lang=en")
    page.set_input_files("#certificate", paper)
    given = {"name": "plain", "mimeType": "text/plain", "buffer": b"no script"}
    page.set_input_files("#file", given)
    page.click("form.card button")
    page.locator(".verdict.confirmed").wait_for()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_court_form_is_filled_in_by_keyboard_alone_and_downloaded(
    exhibit: str, open_page: Callable[..., Any], tmp_path: Path, scripts: bool
) -> None:
    page = open_page("clerk", java_script_enabled=scripts)
    page.goto(f"{exhibit}?lang=en")
    page.focus(f"a[href^='{exhibit}/paper']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/paper*")
    page.focus("#profile-none")
    while page.locator("#profile-uk-cea-9:checked").count() == 0:
        page.keyboard.press("ArrowDown")
    page.focus("#show-provenance")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_url("**/paper?*profile=uk-cea-9*")
    assert "What the depositor stated of its origin" in page.inner_text("main dl")
    page.focus("[id='person-certificate.party']")
    page.keyboard.type("Anna Falk")
    page.focus("#value-officer")
    page.keyboard.type("Dr. Anna Falk")
    page.keyboard.press("Enter")  # shows what would stay open, and makes nothing
    page.wait_for_url("**/paper?lang=en#open")
    assert page.inner_text("#open h2") == "Not yet satisfied: 5"
    assert page.input_value("#value-officer") == "Dr. Anna Falk"
    page.focus("form.facts button:not([name])")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    paper = tmp_path / "paper.pdf"
    download.value.save_as(paper)
    assert download.value.suggested_filename.endswith("-uk-cea-9-en.pdf")
    assert paper.read_bytes().startswith(b"%PDF-")


def test_a_browser_signs_in_by_link_and_by_password(
    court: Court, open_page: Callable[..., Any]
) -> None:
    """What a browser says of where a form comes from is what the check asks for."""
    page = open_page()
    page.goto(create(court.administrator, "browser person", "clerk"))
    page.click("main button")
    page.fill("#new", PASSWORD)
    page.fill("#again", PASSWORD)
    page.click("main button")
    page.locator("[role=status]").wait_for()
    page.locator("header form button").first.click()
    page.goto("/sign-in?lang=en")
    page.fill("#name", "browser person")
    page.fill("#password", PASSWORD)
    page.click("main button")
    page.wait_for_url("**/cases*")


def test_a_digest_is_copied_whole(
    court: Court, exhibit: str, open_page: Callable[..., Any]
) -> None:
    page = open_page("clerk")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{exhibit}?lang=en")
    page.locator("button.copy").first.click()
    page.locator("button.copy", has_text="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == hashlib.sha256(b"exhibit").hexdigest()


def test_verdict_and_trail_print_without_what_cannot_be_pressed_on_paper(
    exhibit: str, open_page: Callable[..., Any]
) -> None:
    page = open_page("clerk")
    page.goto(f"{exhibit}/custody?lang=en")
    page.emulate_media(media="print")
    for hidden in ("nav", ".who", "button"):
        for each in page.locator(hidden).all():
            assert each.is_hidden(), hidden
    assert page.locator("table").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('thead')).display") == (
        "table-header-group"
    )
