"""Why a file is not the registered one: said only of what was tested."""

from __future__ import annotations

import hashlib
import io

import pytest

from notary.comparing import compare
from notary.nearmiss import near_miss
from notary.verdict import Document, Verdict

BOM = b"\xef\xbb\xbf"
TEXT = "Line one\nline two: Übung, 第二行\n\nlast".encode()
WINDOWS = TEXT.replace(b"\n", b"\r\n")
PDF = b"%PDF-1.7\nbody\n%%EOF\n"


def near(registered: bytes, given: bytes) -> str | None:
    sha256 = hashlib.sha256(registered).hexdigest()
    return near_miss(io.BytesIO(given), sha256=sha256, size=len(registered))


@pytest.mark.parametrize(
    ("registered", "given", "code"),
    [
        (PDF, PDF + b"7 0 obj\nxref\n%%EOF\n", "bytes_appended"),
        (TEXT, TEXT + b"\n", "bytes_appended"),
        (b"x", b"x" * 3_000_000, "bytes_appended"),
        (TEXT, WINDOWS, "line_ends_only"),
        (WINDOWS, TEXT, "line_ends_only"),
        (TEXT, TEXT.replace(b"\n", b"\r"), "line_ends_only"),
        (TEXT.replace(b"\n", b"\r"), WINDOWS, "line_ends_only"),
        (BOM + TEXT, WINDOWS, "line_ends_only"),
        (WINDOWS, BOM + TEXT, "line_ends_only"),
        (TEXT, BOM + TEXT, "bom_only"),
        (BOM + TEXT, TEXT, "bom_only"),
        (BOM + WINDOWS, WINDOWS, "bom_only"),
        (BOM + TEXT, BOM + BOM + TEXT, "bom_only"),
    ],
)
def test_an_innocent_difference_is_named(registered: bytes, given: bytes, code: str) -> None:
    assert near(registered, given) == code


@pytest.mark.parametrize(
    ("registered", "given"),
    [
        (TEXT, TEXT[:-1]),
        (TEXT, TEXT[:10] + b"!" + TEXT[11:]),
        (TEXT, b"!" + TEXT),
        (TEXT, WINDOWS.replace(b"two", b"2wo")),
        (PDF, b" " + PDF + b"more"),
        (b"", b"anything"),
        (b"", b"\n"),
        (TEXT, b""),
        (TEXT, TEXT.decode().encode("utf-16")),
        (TEXT, TEXT.replace(b"\n", b"\n\n")),
    ],
)
def test_nothing_is_said_of_what_was_changed(registered: bytes, given: bytes) -> None:
    assert near(registered, given) is None


def test_a_prefix_of_the_right_length_with_one_bit_changed_is_no_near_miss() -> None:
    for at in range(len(PDF)):
        changed = bytearray(PDF + b"more")
        changed[at] ^= 1
        assert near(PDF, bytes(changed)) is None


def sections(name: object, size: int = 5, stored: bool = True) -> dict[str, object]:
    return {
        "content": {"digests": {"sha-256": "a" * 64}, "size": size, "name": name, "stored": stored}
    }


def given(name: str | None, size: int = 7, **otherwise: object) -> Document:
    return Document(digests={"sha-256": "b" * 64}, size=size, name=name, **otherwise)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("registered", "document", "code"),
    [
        ("minutes.txt", given("minutes.txt"), "same_name_other_size"),
        ("Übung.txt", given("Übung.txt"), "same_name_other_size"),
        ("minutes.txt", given("minutes.txt", size=5), "digest_mismatch"),
        ("minutes.txt", given("Minutes.txt"), "digest_mismatch"),
        ("minutes.txt", given(None), "digest_mismatch"),
        (None, given("minutes.txt"), "digest_mismatch"),
        (7, given("7"), "digest_mismatch"),
        ("a", given("a", near="bytes_appended"), "bytes_appended"),
        ("a", given("a", near="bytes_appended", is_certificate=True), "certificate_file_given"),
        ("a", given("a", size=0, near="bom_only"), "empty_file"),
    ],
)
def test_the_best_reason_is_the_code(registered: object, document: Document, code: str) -> None:
    found = compare(sections(registered), document)
    assert (found.verdict, found.code) == (Verdict.NOT_THIS_FILE, code)
    assert found.checks[0].code == code


def test_a_file_of_which_only_the_digest_was_deposited_is_confirmed_with_its_own_words() -> None:
    document = Document(digests={"sha-256": "a" * 64}, size=5)
    assert compare(sections("a"), document).code == "match"
    found = compare(sections("a", stored=False), document)
    assert (found.verdict, found.code) == (Verdict.CONFIRMED, "match_digest_only_record")


def test_a_reason_never_makes_a_file_the_registered_one() -> None:
    document = Document(digests={"sha-256": "a" * 64}, size=6, near="bytes_appended")
    assert compare(sections("a"), document).code == "size_mismatch"
