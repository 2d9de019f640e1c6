from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from notary.errors import BadSignature, MalformedInput, Unverifiable
from notary.tlog.note import (
    ED25519,
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Ed25519Signer,
    Note,
    NoteSignature,
    VerifierKey,
    key_id,
    open_note,
    parse_note,
    parse_signature_line,
    parse_vkey,
    sign_note,
    signed_message,
)
from tests.harness.oracle import shared_vector

# C2SP signed-note's own example.
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
LINE = (
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRK"
    "uwHjG1Yu72IneyaQM=\n"
)
EXAMPLE = f"This is an example message.\n\n{LINE}".encode()

TEXT = "log.example/court\n42\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
COURT = Ed25519Signer("log.example/court", Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHER = Ed25519Signer("log.example/court", Ed25519PrivateKey.from_private_bytes(bytes([1] * 32)))

TEXTS = st.text(
    st.one_of(st.just("\n"), st.characters(min_codepoint=0x20, exclude_categories=["Cs"]))
).map(lambda text: text + "\n")
NAMES = st.text(
    st.characters(min_codepoint=0x21, exclude_categories=["Cs", "Zs", "Zl", "Zp"]), min_size=1
).filter(lambda name: "+" not in name and not any(map(str.isspace, name)))
SIGNATURES = st.builds(
    NoteSignature,
    name=NAMES,
    key_id=st.integers(0, 2**32 - 1),
    signature=st.binary(min_size=1, max_size=99),
)


# The standard's and other people's notes


def test_the_standards_example_is_opened() -> None:
    key = parse_vkey(VKEY)
    assert (key.name, f"{key.key_id:08x}", key.type) == ("example.com/foo", "530d903a", ED25519)
    note = parse_note(EXAMPLE)
    assert note.text == "This is an example message.\n"
    assert note.encode() == EXAMPLE
    (verified,) = open_note(note, [key])
    assert (verified.key, verified.timestamp) == (key, None)


@pytest.mark.parametrize("name", ["c2sp_signed_note_example", "go_sumdb_checkpoint"])
def test_published_note_is_opened(name: str) -> None:
    vector = shared_vector("signed-note/notes.json")[name]
    key = parse_vkey(vector["vkey"])
    assert key.encode() == vector["vkey"]
    assert [found.key for found in open_note(parse_note(vector["note"].encode()), [key])] == [key]


def test_signing_with_sigsums_published_seed_gives_sigsums_bytes() -> None:
    vector = shared_vector("signed-note/notes.json")["sigsum_go_checkpoint"]
    note = parse_note(vector["note"].encode())
    seed = bytes.fromhex(vector["ed25519_seed_hex"])
    signer = Ed25519Signer(note.signatures[0].name, Ed25519PrivateKey.from_private_bytes(seed))
    assert sign_note(note.text, [signer]) == note


# Notes


@given(TEXTS, st.lists(SIGNATURES, min_size=1, max_size=5))
def test_note_round_trip(text: str, signatures: list[NoteSignature]) -> None:
    note = Note(text=text, signatures=tuple(signatures))
    assert parse_note(note.encode()) == note


PIECES = [b"\n", b"\n\n", "— ".encode(), LINE.encode(), b"text", b" a AAAAAAA=", b"\xff", b"\r"]


@given(st.one_of(st.binary(), st.lists(st.sampled_from(PIECES)).map(b"".join)))
def test_any_bytes_are_a_note_in_its_only_form_or_malformed(data: bytes) -> None:
    try:
        note = parse_note(data)
    except MalformedInput:
        return
    assert note.encode() == data


def test_text_and_signatures_part_at_the_last_empty_line() -> None:
    note = parse_note(f"one\n\n{LINE}\nthree\n\n\n{LINE}".encode())
    assert note.text == f"one\n\n{LINE}\nthree\n\n"
    assert len(note.signatures) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        LINE.encode(),
        f"text\n{LINE}".encode(),
        f"text\n\n{LINE[:-1]}".encode(),
        f"text\n\n{LINE}\n".encode(),
        f"text\n\n{LINE}trailing\n".encode(),
        f"text\r\n\r\n{LINE}".encode(),
        f"te\txt\n\n{LINE}".encode(),
        f"te\x00xt\n\n{LINE}".encode(),
        b"te\xffxt\n\n" + LINE.encode(),
        b"te\xed\xa0\x80xt\n\n" + LINE.encode(),
        f"text\n\n{LINE[:-1]}\r\n".encode(),
        f"text\n\n {LINE}".encode(),
        f"text\n\n–{LINE[1:]}".encode(),
        f"text\n\n-{LINE[1:]}".encode(),
        f"text\n\n—{LINE[2:]}".encode(),
        f"text\n\n—\u00a0{LINE[2:]}".encode(),
        ("text\n\n" + LINE.replace("foo ", "foo  ")).encode(),
        ("text\n\n" + LINE.replace("example.com/foo", "")).encode(),
        ("text\n\n" + LINE.replace("foo", "f+o")).encode(),
        ("text\n\n" + LINE.replace("foo", "f\u2003o")).encode(),
        ("text\n\n" + LINE.replace("foo", "f\u0085o")).encode(),
        ("text\n\n" + LINE.replace("QM=", "QN=")).encode(),
        ("text\n\n" + LINE.replace("QM=", "QM")).encode(),
        ("text\n\n" + LINE.replace("=", "= ")).encode(),
        "text\n\n— example.com/foo \n".encode(),
        "text\n\n— example.com/foo\n".encode(),
        "text\n\n— example.com/foo AAAAAA==\n".encode(),
        "text\n\n— example.com/foo AAA=\n".encode(),
    ],
)
def test_bytes_that_are_no_note_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        parse_note(data)


def test_note_over_the_size_limit_is_refused() -> None:
    text = b"x" * (MAX_NOTE_BYTES - len(EXAMPLE))
    assert len(parse_note(text + EXAMPLE).text) > len(text)
    with pytest.raises(MalformedInput, match="at most 1048576"):
        parse_note(b"x" + text + EXAMPLE)


def test_a_hundred_signatures_are_read_and_one_more_is_not() -> None:
    assert len(parse_note(b"text\n\n" + LINE.encode() * MAX_SIGNATURES).signatures) == 100
    with pytest.raises(MalformedInput, match="101 signatures"):
        parse_note(b"text\n\n" + LINE.encode() * (MAX_SIGNATURES + 1))


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "null\x00\n", "cr\r\n", "\ud800\n"])
def test_text_that_no_note_can_have_is_neither_signed_nor_put_in_one(text: str) -> None:
    line = COURT.sign(TEXT)
    with pytest.raises(ValueError, match=r"newline|control|surrogate"):
        COURT.sign(text)
    with pytest.raises(ValueError, match=r"newline|control|surrogate"):
        Note(text=text, signatures=(line,))


def test_note_without_signatures_is_not_made() -> None:
    with pytest.raises(ValueError, match="0 signatures"):
        Note(text="text\n", signatures=())


@given(SIGNATURES)
def test_signature_line_round_trip(signature: NoteSignature) -> None:
    assert parse_signature_line(signature.encode().removesuffix("\n")) == signature


@given(st.text())
def test_any_text_is_a_signature_line_in_its_only_form_or_malformed(line: str) -> None:
    for candidate in (line, f"— {line}", f"— name {line}"):
        try:
            signature = parse_signature_line(candidate)
        except MalformedInput:
            continue
        assert signature.encode() == f"{candidate}\n"


@pytest.mark.parametrize("key", [-1, 2**32])
def test_signature_by_an_impossible_key_id_is_not_made(key: int) -> None:
    with pytest.raises(ValueError, match="not 32 bits"):
        NoteSignature(name="name", key_id=key, signature=b"x")


# Keys


@given(NAMES, st.sampled_from([0x01, 0x04]), st.binary(min_size=32, max_size=32))
def test_vkey_round_trip(name: str, type_byte: int, public_key: bytes) -> None:
    key = VerifierKey.derive(name, type_byte, public_key)
    assert parse_vkey(key.encode()) == key


@given(st.one_of(st.text(), st.text(st.sampled_from("ab0+=/")), st.text().map(VKEY[:25].__add__)))
def test_any_text_is_a_vkey_in_its_only_form_or_malformed(line: str) -> None:
    try:
        key = parse_vkey(line)
    except MalformedInput:
        return
    assert key.encode() == line


def test_vkey_with_any_character_changed_is_another_or_malformed() -> None:
    for i, old in enumerate(VKEY):
        for new in ("A", "b", "0", "+", "=", " ", "\n"):
            if new != old:
                with pytest.raises(MalformedInput):
                    parse_vkey(VKEY[:i] + new + VKEY[i + 1 :])


@pytest.mark.parametrize(
    "line",
    ["", "+", "++", VKEY + "\n", " " + VKEY, VKEY + "=", VKEY[:-1], VKEY.upper(),
     VKEY.replace("530d903a", "530D903A"), VKEY.replace("530d903a", "0530d903a"),
     VKEY.replace("example.com/foo", ""), "example.com/foo+530d903a", "example.com/foo+530d903a+"],
)  # fmt: skip
def test_text_that_is_no_vkey_is_malformed(line: str) -> None:
    with pytest.raises(MalformedInput):
        parse_vkey(line)


@pytest.mark.parametrize("type_byte", [0x00, 0x02, 0x03, 0x05, 0x07, 0xFA, 0xFF])
def test_key_of_another_type_is_refused(type_byte: int) -> None:
    public_key = bytes(32)
    derived = key_id("name", type_byte, public_key)
    with pytest.raises(ValueError, match="is not known"):
        VerifierKey.derive("name", type_byte, public_key)
    with pytest.raises(ValueError, match="is not known"):
        signed = VerifierKey(name="name", key_id=derived, type=type_byte, public_key=public_key)
        parse_vkey(signed.encode())


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\x00b", "\ud800"])
def test_key_under_an_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"key name|surrogate"):
        VerifierKey.derive(name, ED25519, bytes(32))


@pytest.mark.parametrize("length", [0, 31, 33, 1312])
def test_public_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"public key of {length} bytes, not 32"):
        VerifierKey.derive("name", ED25519, bytes(length))


# Opening


def test_every_flipped_bit_of_a_signed_note_is_noticed() -> None:
    data = sign_note(TEXT, [COURT]).encode()
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises((MalformedInput, BadSignature, Unverifiable)):
                open_note(parse_note(bytes(changed)), [COURT.verifier])


def test_signatures_come_back_in_the_notes_order_each_key_once() -> None:
    note = sign_note(TEXT, [OTHER, COURT, OTHER])
    opened = open_note(note, [COURT.verifier, OTHER.verifier, COURT.verifier])
    assert [found.key for found in opened] == [OTHER.verifier, COURT.verifier]


def test_lines_by_unknown_keys_are_passed_over_if_one_is_known() -> None:
    opened = open_note(sign_note(TEXT, [OTHER, COURT]), [COURT.verifier])
    assert [found.key for found in opened] == [COURT.verifier]


def test_line_with_the_known_name_but_another_key_id_does_not_count() -> None:
    with pytest.raises(Unverifiable, match="no signature by a known key") as caught:
        open_note(sign_note(TEXT, [OTHER]), [COURT.verifier])
    assert caught.value.code == "unknown_key"


def test_line_with_the_known_key_id_but_another_name_does_not_count() -> None:
    (line,) = sign_note(TEXT, [COURT]).signatures
    renamed = NoteSignature(name="elsewhere", key_id=line.key_id, signature=line.signature)
    with pytest.raises(Unverifiable):
        open_note(Note(text=TEXT, signatures=(renamed,)), [COURT.verifier])


def test_two_keys_with_one_name_and_key_id_are_ambiguous() -> None:
    """Key IDs have 32 bits: such a pair is found in a second."""
    one, other = (
        VerifierKey.derive("log.example/court", ED25519, number.to_bytes(32, "big"))
        for number in (54_480, 80_713)
    )
    assert f"{one.key_id:08x}" == f"{other.key_id:08x}" == "770b4ee5"
    with pytest.raises(Unverifiable, match="two keys are named") as caught:
        open_note(sign_note(TEXT, [COURT]), [one, COURT.verifier, other])
    assert caught.value.code == "ambiguous_key"


def test_one_bad_line_by_a_known_key_refuses_the_note_whatever_else_is_signed() -> None:
    good = sign_note(TEXT, [COURT, OTHER]).signatures
    bad = NoteSignature(name=good[0].name, key_id=good[0].key_id, signature=bytes(64))
    for lines in ((bad, good[1]), (good[1], bad), (good[0], bad), (bad, good[0])):
        with pytest.raises(BadSignature, match="does not verify"):
            open_note(Note(text=TEXT, signatures=lines), [COURT.verifier, OTHER.verifier])


@pytest.mark.parametrize("length", [1, 63, 65, 72])
def test_signature_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BadSignature, match=f"signature of {length} bytes"):
        COURT.verifier.verify(TEXT, bytes(length))


def test_signature_over_another_text_is_refused() -> None:
    (line,) = sign_note(TEXT, [COURT]).signatures
    for text in (TEXT + "\n", TEXT[:-1], "", "\ud800\n"):
        with pytest.raises(BadSignature):
            COURT.verifier.verify(text, line.signature)


def test_nothing_is_known_without_keys() -> None:
    with pytest.raises(Unverifiable):
        open_note(parse_note(EXAMPLE), [])


def test_plain_signature_covers_the_text_and_nothing_else() -> None:
    assert signed_message("name", ED25519, "text\n", None) == b"text\n"


def test_signer_does_not_show_its_key() -> None:
    assert "_key" not in repr(COURT)
