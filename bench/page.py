"""How fast verify.html hashes a file in Chromium, from the choice of the file to the verdict.

Beside it hashlib over the same file, in pieces of the same length.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from pathlib import Path

from bench.house import say
from tests.harness.browser_page import CHROMIUM, browser_page

FULL_BYTES, QUICK_BYTES = 2 << 30, 256 << 20
PIECE = 8 << 20
VECTOR = Path(__file__).resolve().parents[1] / "tests/vectors/certificates/match"
NOTHING = {"page_hash_mb_per_s": None, "page_hash_mb_per_s_yardstick": None}


def measure(*, quick: bool) -> dict[str, object]:
    say("verify.html in Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {**NOTHING, "page_hash_note": "no playwright here"}
    if CHROMIUM is None:
        return {**NOTHING, "page_hash_note": "no chromium on PATH"}
    size = QUICK_BYTES if quick else FULL_BYTES
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "large"
        with path.open("wb") as file:
            file.truncate(size)
        bare = _plain(path)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            with browser_page(browser, folder) as page:
                start = time.perf_counter()
                page.judge(VECTOR / "certificate.json", path, timeout_s=600)
                took = time.perf_counter() - start
            browser.close()
    finally:
        shutil.rmtree(folder)
    return {
        "page_hash_mb_per_s": round(size / took / 1e6),
        "page_hash_mb_per_s_yardstick": round(bare),
        "page_hash_note": f"{size >> 20} MiB, the verdict included",
    }


def _plain(path: Path) -> float:
    digest, start = hashlib.sha256(), time.perf_counter()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return path.stat().st_size / (time.perf_counter() - start) / 1e6
