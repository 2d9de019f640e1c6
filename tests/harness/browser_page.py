"""verify.html in a real Chromium, opened from the disk, and what it was seen to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from notary.verify_page import pack_page

CHROMIUM = shutil.which("chromium")
Given = Path | bytes | None


class BrowserPage:
    """Hands files to the page as a person does, and reads the report that it shows as data."""

    def __init__(self, page: Any, requests: list[str], complaints: list[str]) -> None:
        self.page = page
        self.requests = requests
        self.complaints = complaints

    def judge(
        self, certificate: Given, document: Given = None, trust: Given = None, *,
        related: Sequence[Path] = (), name: str = "document", timeout_s: float = 60,
    ) -> dict[str, Any]:  # fmt: skip
        self.give(
            related=related, certificate=certificate, document=document, trust=trust, name=name
        )
        self.wait("failed", "judged", "whole", timeout_s=timeout_s)
        assert self.page.locator("#result").is_visible(), self.said()
        return self.report()

    def give(self, *, related: Sequence[Path] = (), name: str = "document", **files: Given) -> None:
        if self.page.locator("#result").is_visible():
            self.page.dispatch_event("#result .actions .second", "click")
        if related:
            self.page.set_input_files("#related", [str(path) for path in related])
        for place, given in files.items():
            if isinstance(given, bytes):
                payload = {"name": name, "mimeType": "application/octet-stream", "buffer": given}
                self.page.set_input_files(f"#{place}", payload)
            elif given is not None:
                self.page.set_input_files(f"#{place}", str(given))
        self.page.dispatch_event("#form button", "click")  # a click waits for the mouse

    def wait(self, *states: str, timeout_s: float = 60) -> None:
        """Until the page is in one of the states (see `become` in verifier/page.js)."""
        reached = ", ".join(f'body[data-state="{state}"]' for state in states)
        self.page.wait_for_selector(reached, timeout=timeout_s * 1000)

    def report(self) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.page.locator("#report").text_content())
        return shown

    def said(self) -> str:
        text: str = self.page.locator("#status").inner_text()
        return text


@contextmanager
def browser_page(
    browser: Any, folder: Path, *, lang: str = "en", viewport: Mapping[str, int] | None = None
) -> Iterator[BrowserPage]:
    """The page of this tree, written to `folder` and opened from there by a browser without a
    network. Every request that the browser makes is noted, the page's own file among them."""
    path = folder / "verify.html"
    path.write_bytes(pack_page())
    context = browser.new_context(
        viewport=dict(viewport or {"width": 1280, "height": 900}), offline=True
    )
    page = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.requestWillBeSent", lambda sent: requests.append(sent["request"]["url"]))
    context.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text))
    page.goto(f"{path.as_uri()}#{lang}")
    try:
        yield BrowserPage(page, requests, complaints)
    finally:
        context.close()
