"""Packs verify.html: the verifier as one page that a browser opens from a disk, without a network.

The modules of verifier/ become one script, each in a scope of its own; the vendored libraries are
built files that `verifier/vendor/SHA256SUMS` fixes. The words are those of certs/wording and of
the pages, under the same keys; a few of the page's own are in verifier/wording. Nothing in the
file depends on when or where it was packed: the same sources give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from certs.wording import LANGS, Lang, load_wording, verdict_classes
from notary import __version__

FILE_NAME = "verify.html"
MAX_BYTES = 1_500_000
WORKER = "worker.js"
PAGE_PARTS = ("calendar", "class", "verdict", "trust", "status", "check", "role", "pdf")
WEB_PARTS = ("verdict", "verify", "proves")
VENDOR = "vendor/vendor.js"
SUMS = "vendor/SHA256SUMS"
LICENCES = "vendor/LICENCES.txt"

_ROOT = Path(__file__).resolve().parents[1]
SOURCES = _ROOT / "verifier"
_IMPORT = re.compile(r'^import\s*\{([^}]*)\}\s*from\s*"\./([a-z0-9_/]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)", re.MULTILINE)
_DECLARED = re.compile(
    r"^export (?:async )?(?:function\*?|class|const) ([A-Za-z0-9_$]+)", re.MULTILINE
)
_LISTED = re.compile(r"^export \{([^}]*)\};\n", re.MULTILINE)
_BUILT = re.compile(r"export\{([^{}]*)\};\s*\Z")


class PackError(Exception):
    """The page can't be packed as it is."""


@cache
def pack_page() -> bytes:
    """The bytes of verify.html, made once in a process.

    Raises PackError where a source has an import or export of another form than the packer
    follows, or a vendored file is not the one of SHA256SUMS.
    """
    check_vendored()
    script = _page_script()
    style = (SOURCES / "page.css").read_text("utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            # WebAssembly, for the digest of files too large to be held whole.
            f"script-src {_source(script)} 'wasm-unsafe-eval'",
            f"style-src {_source(style)}",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    body = (SOURCES / "page.html").read_text("utf-8").replace("</body>\n", "")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{dict(_words('en'))['page.title']}</title>\n"
        f"<!--\n{_licences()}-->\n"
        f"<style>{style}</style>\n</head>\n{body}<script>{script}</script>\n</body>\n</html>\n"
    ).encode()


def check_vendored() -> None:
    """Raises PackError unless every vendored file is the one whose SHA-256 is written down."""
    for line in (SOURCES / SUMS).read_text("ascii").splitlines():
        expected, _, name = line.partition("  ")
        found = hashlib.sha256((SOURCES / "vendor" / name).read_bytes()).hexdigest()
        if found != expected:
            raise PackError(f"verifier/vendor/{name} has SHA-256 {found}, written is {expected}")


def modules() -> tuple[str, ...]:
    """What the worker is made of, each file behind those that it imports."""
    ordered: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise PackError(f"verifier/{name} imports itself by way of {', '.join(above)}")
        if name in ordered:
            return
        for _, imported in _IMPORT.findall(_read(name)):
            visit(imported, (*above, name))
        ordered.append(name)

    visit(WORKER, ())
    return tuple(ordered)


def _page_script() -> str:
    data = {
        "WORDS": {lang: dict(_words(lang)) for lang in LANGS},
        "CLASSES": dict(verdict_classes()),
        "VERSION": __version__,
        "WORKER": "\n".join(map(_module, modules())),
    }
    # Inside an HTML script no "<" may begin an end tag or a comment.
    encoded = json.dumps(data, ensure_ascii=False, sort_keys=True).replace("<", "\\u003c")
    page = _read("page.js")
    if "</" in page or "<!--" in page:
        raise PackError("verifier/page.js holds what would end its element")
    return f'"use strict";\nglobalThis.EVIDENCE = {encoded};\n(() => {{\n{page}}})();\n'


def _module(name: str) -> str:
    """One file as a scope of its own that gives what it exports."""
    text = _read(name)
    listed: list[str] = []
    if name == VENDOR:
        match = _BUILT.search(text)
        if match is None:
            raise PackError(f"verifier/{name} does not end with its exports")
        pairs = (each.partition(" as ") for each in match[1].split(","))
        listed = [f"{outer or inner}: {inner}" for inner, _, outer in pairs]
        text = text[: match.start()]
    else:
        listed += _DECLARED.findall(text)
        for names in _LISTED.findall(text):
            listed += [each.strip() for each in names.split(",") if each.strip()]
        text = _LISTED.sub("", _EXPORT.sub("", text))
        text = _IMPORT.sub(lambda m: f"const {{{m[1]}}} = {_scope(m[2])};\n", text)
        if re.search(r"^(import|export)\b", text, re.MULTILINE):
            raise PackError(f"verifier/{name} has an import or export that is not followed")
    return f"const {_scope(name)} = (() => {{\n{text}\nreturn {{ {', '.join(listed)} }};\n}})();"


def _scope(name: str) -> str:
    return "m_" + re.sub(r"\W", "_", name.removesuffix(".js"))


def _read(name: str) -> str:
    return (SOURCES / name).read_text("utf-8")


def _licences() -> str:
    text = _read(LICENCES)
    if "-->" in text:
        raise PackError(f"verifier/{LICENCES} holds what would end a comment")
    return text


def _words(lang: Lang) -> Iterator[tuple[str, str]]:
    """Each text under its key, those of the page's own under `page.`."""
    for key, text in load_wording(lang).texts.items():
        if key.partition(".")[0] in PAGE_PARTS:
            yield key, text
    web = tomllib.loads((_ROOT / "notary/web/wording" / f"{lang}.toml").read_text("utf-8"))
    for part in WEB_PARTS:
        yield from ((f"{part}.{name}", text) for name, text in web[part].items())
    own: dict[str, Any] = tomllib.loads((SOURCES / "wording" / f"{lang}.toml").read_text("utf-8"))
    yield from ((f"page.{name}", text) for name, text in own.items())


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
