"""One browser for the tests of each file about verify.html: two at once are one too many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.browser_page import CHROMIUM, BrowserPage, browser_page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="no playwright here: install requirements-dev.txt"
    )
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH: install Debian's package chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def verifier(browser: Any, shared_folder: Path) -> Iterator[BrowserPage]:
    """One window for many certificates. Whatever it asked of the network, or complained of, fails
    the tests that used it."""
    with browser_page(browser, shared_folder) as opened:
        yield opened
        assert opened.requests
        assert all(url.startswith(("file:///", "blob:")) for url in opened.requests)
        assert not opened.complaints
