from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notary.errors import MalformedInput
from notary.tlog.checkpoint import (
    Checkpoint,
    decode_base64,
    encode_base64,
    parse_checkpoint_text,
    parse_decimal,
)
from notary.tlog.note import parse_note
from tests.harness.oracle import shared_vector

ROOT = bytes(range(32))
ROOT_TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
TEXT = f"log.example/court\n42\n{ROOT_TEXT}\n"

LINES = st.text(
    st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1, max_size=40
)


def test_text_is_origin_size_and_root() -> None:
    checkpoint = Checkpoint(origin="log.example/court", size=42, root=ROOT)
    assert checkpoint.text() == TEXT
    assert parse_checkpoint_text(TEXT) == checkpoint


def test_extension_lines_are_kept_in_order() -> None:
    checkpoint = parse_checkpoint_text(f"{TEXT}one\n two +  x\n")
    assert checkpoint.extensions == ("one", " two +  x")
    assert checkpoint.text() == f"{TEXT}one\n two +  x\n"


def test_published_checkpoints_are_read() -> None:
    notes = shared_vector("signed-note/notes.json")
    sumdb = parse_checkpoint_text(parse_note(notes["go_sumdb_checkpoint"]["note"].encode()).text)
    assert (sumdb.origin, sumdb.size) == ("go.sum database tree", 35_225_469)
    sigsum = parse_checkpoint_text(parse_note(notes["sigsum_go_checkpoint"]["note"].encode()).text)
    assert (sigsum.size, sigsum.root[:4].hex()) == (10, "1c0e4700")


@given(LINES, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.lists(LINES))
def test_checkpoint_round_trip(origin: str, size: int, root: bytes, extra: list[str]) -> None:
    checkpoint = Checkpoint(origin=origin, size=size, root=root, extensions=tuple(extra))
    assert parse_checkpoint_text(checkpoint.text()) == checkpoint


@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(["a", "42", "042", "", ROOT_TEXT, "é", "\x7f", "\ud800", "\u2028"])
        ).map(lambda lines: "".join(f"{line}\n" for line in lines)),
    )
)
def test_any_text_is_a_checkpoint_in_its_only_form_or_malformed(text: str) -> None:
    try:
        checkpoint = parse_checkpoint_text(text)
    except MalformedInput:
        return
    assert checkpoint.text() == text


@pytest.mark.parametrize(
    "size",
    ["", "042", "00", "-1", "+42", " 42", "42 ", "4_2", "4.0", "0x2a", "٤٢", "9223372036854775808",
     "9" * 5000, "42\r"],
)  # fmt: skip
def test_size_in_any_other_spelling_is_refused(size: str) -> None:
    with pytest.raises(MalformedInput):
        parse_checkpoint_text(f"log.example/court\n{size}\n{ROOT_TEXT}\n")
    with pytest.raises(MalformedInput, match="not a decimal"):
        parse_decimal(size)


@pytest.mark.parametrize(
    "root",
    ["", ROOT_TEXT[:-1], ROOT_TEXT + "=", ROOT_TEXT[:-2] + "9=", " " + ROOT_TEXT,
     ROOT_TEXT + " ", ROOT_TEXT[:-4], ROOT_TEXT[:-4] + "Hh8_", ROOT.hex(), "AA==",
     ROOT_TEXT + "\r"],
)  # fmt: skip
def test_root_in_any_other_spelling_or_length_is_refused(root: str) -> None:
    with pytest.raises(MalformedInput):
        parse_checkpoint_text(f"log.example/court\n42\n{root}\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "extension",
        TEXT + "one\n\ntwo\n",
        TEXT + "tab\there\n",
        "\n" + TEXT,
        TEXT.replace("log.example/court", ""),
        TEXT.replace("log", "l\x00g"),
        TEXT.replace("log", "l\rg"),
        TEXT.replace("log", "l\ud800g"),
        TEXT.replace("\n", "\r\n"),
        "log.example/court\n42\n",
        f"42\nlog.example/court\n{ROOT_TEXT}\n",
    ],
)
def test_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(MalformedInput):
        parse_checkpoint_text(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": ""},
        {"origin": "two\nlines"},
        {"size": -1},
        {"size": 2**63},
        {"root": b""},
        {"root": bytes(31)},
        {"extensions": ("",)},
        {"extensions": ("fine", "two\nlines")},
    ],
)
def test_checkpoint_that_could_not_be_read_back_is_not_made(wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {"origin": "log.example/court", "size": 42, "root": ROOT, **wrong}
    with pytest.raises(ValueError, match=r"line|size|root"):
        Checkpoint(**fields)  # type: ignore[arg-type]


@given(st.binary())
def test_base64_is_the_standard_librarys(data: bytes) -> None:
    assert encode_base64(data) == base64.b64encode(data).decode()
    assert decode_base64(encode_base64(data)) == data


@given(st.one_of(st.text(), st.text(st.sampled_from("AB+/=-_ \n"), max_size=9)))
def test_any_text_is_base64_in_its_only_form_or_malformed(text: str) -> None:
    try:
        data = decode_base64(text)
    except MalformedInput:
        return
    assert encode_base64(data) == text
