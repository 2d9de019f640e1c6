"""The strict CBOR reader: RFC 8949's own examples, and what has more than one reading refused."""

from __future__ import annotations

import math

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notary.cbor import DEPTH, Reader, Simple, Tagged, read_map
from notary.errors import MalformedInput


def read(data: bytes) -> object:
    reader = Reader(data)
    found = reader.item()
    reader.end()
    return found


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("190100", 256),
        ("1a00010000", 65536),
        ("1bffffffffffffffff", 2**64 - 1),
        ("3bffffffffffffffff", -(2**64)),
        ("20", -1),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("f7", Simple(number=23)),
        ("f0", Simple(number=16)),
        ("f8ff", Simple(number=255)),
        ("f93c00", 1.0),
        ("fa47c35000", 100000.0),
        ("fb3ff199999999999a", 1.1),
        ("f97c00", math.inf),
        ("c11a514b67b0", Tagged(number=1, value=1363896240)),
        ("40", b""),
        ("4401020304", b"\1\2\3\4"),
        ("60", ""),
        ("62c3bc", "ü"),
        ("80", ()),
        ("8301820203820405", (1, (2, 3), (4, 5))),
        ("a0", {}),
        ("a26161016162820203", {"a": 1, "b": (2, 3)}),
        ("a201020304", {1: 2, 3: 4}),
    ],
)
def test_the_examples_of_the_rfc_are_read(data: str, value: object) -> None:
    assert read(bytes.fromhex(data)) == value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("1817", "a small number in two bytes"),
        ("190018", "in three"),
        ("1a0000ffff", "in five"),
        ("1b00000000ffffffff", "in nine"),
        ("3800", "a negative one"),
        ("5800", "a length"),
        ("5f42010243030405ff", "indefinite bytes"),
        ("7f657374726561646d696e67ff", "indefinite text"),
        ("9fff", "indefinite array"),
        ("bfff", "indefinite map"),
        ("ff", "a break alone"),
        ("1c", "reserved"),
        ("f814", "false in two bytes"),
        ("a201020103", "a name twice"),
        ("a2f401f402", "false as a name"),
        ("a1f93c0001", "a float as a name"),
        ("a18001", "an array as a name"),
        ("62ff", "a short text"),
        ("61ff", "not UTF-8"),
        ("9bffffffffffffffff", "2^64 items"),
        ("bbffffffffffffffff", "2^64 pairs"),
        ("", "nothing"),
        ("8201", "half an array"),
        ("0000", "two items"),
        ("d801f6", "a tag in two bytes"),
    ],
)
def test_what_has_a_second_reading_is_refused(data: str, why: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        read(bytes.fromhex(data))
    assert caught.value.code == "cbor_malformed", why


def test_nesting_ends() -> None:
    assert read(b"\x81" * (DEPTH - 1) + b"\x00") is not None
    for head in (b"\x81", b"\xc1", b"\xa1\x00"):
        with pytest.raises(MalformedInput, match="nested"):
            read(head * 100_000 + b"\x00")


def test_tags_make_nothing() -> None:
    # cbor2 would make a regular expression, a date, a shared reference, a set of these.
    assert read(bytes.fromhex("d82361 28".replace(" ", ""))) == Tagged(number=35, value="(")
    assert read(cbor2.dumps(cbor2.CBORTag(28, [1]))) == Tagged(number=28, value=(1,))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        read(data)
    except MalformedInput as exc:
        assert exc.code == "cbor_malformed"  # nothing else may come out


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.integers(-100, 100) | st.text(), inner),
        max_leaves=20,
    )
)
def test_what_another_encoder_writes_canonically_is_read_as_it_was(value: object) -> None:
    try:
        found = read(cbor2.dumps(value, canonical=True))
    except MalformedInput as exc:
        assert "nested" in str(exc)  # deeper than we look
        return
    assert found == tuples(value)


def tuples(value: object) -> object:
    if isinstance(value, list):
        return tuple(map(tuples, value))
    return {k: tuples(v) for k, v in value.items()} if isinstance(value, dict) else value


def test_a_map_is_wanted() -> None:
    assert read_map(b"\xa0") == {}
    with pytest.raises(MalformedInput, match="not a map"):
        read_map(b"\x80")
