"""verify.html as a file: one, small, the same each time, with the libraries that were looked at."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from certs.wording import LANGS, load_wording, verdict_classes
from notary import verify_page
from notary.verify_page import MAX_BYTES, SOURCES, PackError, modules, pack_page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page() -> str:
    return pack_page().decode("utf-8")


def test_it_is_small() -> None:
    assert len(pack_page()) < MAX_BYTES


def test_packed_twice_it_is_the_same() -> None:
    again = subprocess.run(
        [sys.executable, "-m", "notary.cli.main", "verify-page"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    assert again.stdout == pack_page()


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "verify.html"
    subprocess.run(
        [sys.executable, "-m", "notary.cli.main", "verify-page", "--output", target],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    assert target.read_bytes() == pack_page()


def test_the_policy_allows_the_one_script_and_style_and_no_network(page: str) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src" not in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_it_refers_to_nothing_outside_of_itself(page: str) -> None:
    body = re.sub(r"<script>.*?</script>|<!--.*?-->", "", page, flags=re.DOTALL)
    assert not re.findall(r"\b(?:src|href|action)=", body)
    sources = "".join((SOURCES / name).read_text("utf-8") for name in (*modules(), "page.js"))
    assert not re.findall(r"\b(?:XMLHttpRequest|WebSocket|EventSource|sendBeacon)\b", sources)
    ours = "".join(
        (SOURCES / name).read_text("utf-8") for name in (*modules(), "page.js")
        if not name.startswith("vendor/")
    )  # fmt: skip
    assert not re.findall(r"\bfetch\(|innerHTML|outerHTML|insertAdjacentHTML|\beval\(", ours)


def test_every_source_is_in_it() -> None:
    there = {path.relative_to(SOURCES).as_posix() for path in SOURCES.glob("*.js")}
    assert there == {*modules(), "page.js"} - {verify_page.VENDOR}


def test_the_vendored_files_are_those_that_were_written_down() -> None:
    listed = {
        line.partition("  ")[2]: line.partition("  ")[0]
        for line in (SOURCES / verify_page.SUMS).read_text("ascii").splitlines()
    }
    there = {
        path.name for path in (SOURCES / "vendor").iterdir()
        if path.is_file() and path.name != "SHA256SUMS"
    }  # fmt: skip
    assert set(listed) == there
    for name, digest in listed.items():
        data = (SOURCES / "vendor" / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest, name


def test_a_vendored_file_that_was_changed_is_not_packed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vendor = tmp_path / "vendor"
    vendor.mkdir()
    for path in (SOURCES / "vendor").iterdir():
        if path.is_file():
            vendor.joinpath(path.name).write_bytes(path.read_bytes())
    vendor.joinpath("vendor.js").write_bytes((vendor / "vendor.js").read_bytes() + b"\n")
    monkeypatch.setattr(verify_page, "SOURCES", tmp_path)
    with pytest.raises(PackError, match=r"vendor\.js has SHA-256"):
        verify_page.check_vendored()


def test_each_library_has_its_licence_in_the_page(page: str) -> None:
    package = json.loads((SOURCES / "vendor" / "package.json").read_text("utf-8"))
    for name, version in package["dependencies"].items():
        assert f"{name} {version}\n" in page
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), "a version that may move"


def test_both_languages_have_the_same_keys() -> None:
    en, zh = (
        tomllib.loads((SOURCES / "wording" / f"{lang}.toml").read_text("utf-8")) for lang in LANGS
    )
    assert list(en) == list(zh)
    for key, text in en.items():
        assert re.findall(r"{\w+}", text) == re.findall(r"{\w+}", zh[key]), key


def test_every_word_that_the_page_says_is_there() -> None:
    script = (SOURCES / "page.js").read_text("utf-8")
    html = (SOURCES / "page.html").read_text("utf-8")
    asked = set(re.findall(r'\bt\("([a-z_]+\.[a-z_0-9]+)"', script))
    asked |= set(re.findall(r'data-t="([a-z_.]+)"', html))
    for lang in LANGS:
        assert not asked - dict(verify_page._words(lang)).keys()


def test_no_verdict_or_check_is_worded_a_second_time(page: str) -> None:
    for lang in LANGS:
        texts = load_wording(lang).texts
        own = (SOURCES / "wording" / f"{lang}.toml").read_text("utf-8")
        assert not [
            key for key, text in texts.items()
            if key.startswith(("verdict.", "check.")) and len(text) > 4 and text in own
        ]  # fmt: skip
    assert all(f'"{code}": ' in page for code in verdict_classes())


def test_the_zh_words_say_cunzheng_and_heyan() -> None:
    own = (SOURCES / "wording" / "zh.toml").read_text("utf-8")
    assert "核验" in own
    assert "公证" not in own
