"""The words of the pages: all of them, in both languages alike, promising nothing too much."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from certs.wording import LANGS, Lang, load_wording
from notary.access import Act
from notary.model import EventKind, Role
from notary.provenance import SCHEMA
from notary.remains import Kind
from notary.web import words
from notary.web.problems import TITLES

WEB = Path(str(resources.files("notary.web")))
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
NAMES = {
    "certificate.json",
    "bundle.asice",
    "bundle.asics",
    "proof.tlog-proof",
    "timestamp.tsr",
    "evidence.ers",
    "openapi.json",
    "SHA-256",
    "UTC",
}


def ours(lang: Lang) -> dict[str, str]:
    found: dict[str, str] = {}

    def take(table: dict[str, Any], prefix: str) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                take(value, f"{prefix}{name}.")
            else:
                found[prefix + name] = value

    take(tomllib.loads((WEB / "wording" / f"{lang}.toml").read_text("utf-8")), "")
    return found


EN, ZH = ours("en"), ours("zh")


def test_both_languages_have_the_same_keys_in_the_same_order() -> None:
    assert list(EN) == list(ZH)


def test_both_languages_fill_in_the_same_values() -> None:
    for key, text in EN.items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", ZH[key])), key


def test_no_text_is_empty() -> None:
    assert all(text.strip() for text in (*EN.values(), *ZH.values()))


def test_the_pages_do_not_say_otherwise_what_the_papers_say() -> None:
    for lang in LANGS:
        assert not ours(lang).keys() & load_wording(lang).texts.keys()


@pytest.mark.parametrize("lang", LANGS)
def test_whatever_the_house_names_has_words(lang: Lang) -> None:
    texts = words.load_words(lang).texts
    for family, names in (
        ("event", EventKind),
        ("act", Act),
        ("role", Role),
        ("about_role", Role),
        ("problem", TITLES),
        ("authenticated_by", ("password", "link", "api-key")),
    ):
        for name in names:
            assert f"{family}.{name}" in texts, name
    for name in SCHEMA["properties"]:  # type: ignore[attr-defined]  # a schema's JSON
        assert f"pdf.prov_{name}" in texts


def test_problems_are_called_on_pages_what_the_api_calls_them() -> None:
    told = {key.removeprefix("problem."): text for key, text in EN.items() if "problem." in key}
    own = told.keys() - TITLES.keys()
    assert own == {"password_differs"}
    assert {code: told[code] for code in TITLES} == TITLES


def test_nothing_is_promised_that_a_registration_does_not_give() -> None:
    for text in EN.values():
        assert not re.search(
            r"tamper|court.?admissible|blockchain|guarantee|legally binding|unhackable", text, re.I
        ), text
    for text in ZH.values():
        assert not re.search("公证|区块链|防篡改|不可篡改|司法效力|保证真实", text), text


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_words_of_its_own(template: Path) -> None:
    text = template.read_text("utf-8")
    text = re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}", "", text, flags=re.S)
    text = re.sub(r"<code.*?</code>", "", text, flags=re.S)
    text = re.sub(r"<[^>]*>", " ", text)
    assert set(re.findall(r"[^\W\d_][\w.-]*", text)) <= NAMES


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_word_that_a_template_asks_for_is_there(template: Path) -> None:
    text = template.read_text("utf-8")
    for key in re.findall(r"""\bt\(["']([\w.-]+\.[\w-]+)["']""", text):
        for lang in LANGS:
            if not key.endswith("_"):
                assert key in words.load_words(lang).texts, key


def test_no_word_is_kept_that_no_page_says() -> None:
    sources = "".join(path.read_text("utf-8") for path in TEMPLATES)
    built = {"nav", "event", "act", "about_role", "problem", "docs_tag", "subject",
             "provenance_hint", "fixity", "remnant"}  # fmt: skip
    partly = ("index.step_", "deposit.pdf_", "secret.link_", "secret.key_", "audits.column_",
              "audits.scope_", "standing.rule_", "disposal.state_", "disposal.pdf_",
              "remains.column_")  # fmt: skip
    for key in EN:
        if key.partition(".")[0] not in built and not key.startswith(partly):
            assert key in sources, key


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, None), (1023, None), (1024, "1 KiB"), (300_000, "293 KiB"), (1 << 20, "1 MiB"),
     (64 << 30, "64 GiB"), (5 << 50, "5120 TiB")],
)  # fmt: skip
def test_sizes_are_told_in_units_that_people_know(size: int, told: str | None) -> None:
    assert words.about(size) == told


def test_hidden_characters_are_replaced_where_no_element_can_stand() -> None:
    assert words.plain("a\u202eb\x00") == "a\ufffdb\ufffd"


def test_every_kind_of_remnant_has_words() -> None:
    for lang in LANGS:
        assert {f"remnant.{kind}" for kind in Kind} <= ours(lang).keys()
