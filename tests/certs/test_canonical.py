"""Strict JSON in, RFC 8785 out."""

from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from certs.canonical import MAX_INTEGER, canonical, parse_canonical, parse_json
from certs.errors import CertificateMalformed

text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_canonical_form_is_the_one_of_an_rfc_8785_library(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(values)
def test_what_was_written_is_read_back(value: object) -> None:
    assert parse_canonical(canonical(value)) == value
    assert parse_json(json.dumps(value, indent=1)) == value


@given(st.binary(max_size=40))
def test_any_bytes_are_a_canonical_value_or_malformed(data: bytes) -> None:
    try:
        value = parse_canonical(data)
    except CertificateMalformed:
        return
    assert canonical(value) == data


def test_names_are_sorted_by_utf_16_and_not_by_code_point() -> None:
    # RFC 8785 section 3.2.3: U+1F600 is D83D DE00 in UTF-16, and so comes before U+FB33.
    assert canonical({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":2}', "appears twice"),
        (b'{"a":{"b":1,"b":1}}', "appears twice"),
        (b"1.0", "not a plain integer"),
        (b"1e3", "not a plain integer"),
        (b"-0.0", "not a plain integer"),
        (b"NaN", "not a plain integer"),
        (b"Infinity", "not a plain integer"),
        (b"-Infinity", "not a plain integer"),
        (b"9007199254740992", "beyond 2\\*\\*53-1"),
        (b"-9007199254740992", "beyond 2\\*\\*53-1"),
        (b"1" * 5000, "beyond 2\\*\\*53-1"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\udfff":1}', "lone surrogate"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"\xff", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'"\x01"', "not JSON"),
        (b"[1,]", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"'a'", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "nested too deeply|not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_two_parsers_could_read_differently_is_refused(data: bytes, reason: str) -> None:
    for parse in (parse_json, parse_canonical):
        with pytest.raises(CertificateMalformed, match=reason):
            parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1}\n',
        b' {"a":1}',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'"\\u0041"',
        b'"\\/"',
        b'"\\u001F"',
        b'"\\u000a"',
        b"-0",
    ],
)
def test_json_in_another_form_than_the_canonical_is_refused(data: bytes) -> None:
    parse_json(data)
    with pytest.raises(CertificateMalformed, match="not in canonical form"):
        parse_canonical(data)


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), b"bytes", {1: "a"}, {"a": {2}}, object(), MAX_INTEGER + 1, "\ud800"],
)
def test_values_without_a_canonical_form_are_refused(value: object) -> None:
    with pytest.raises(CertificateMalformed):
        canonical(value)


def test_nesting_beyond_the_interpreter_is_refused() -> None:
    value: object = None
    for _ in range(100_000):
        value = [value]
    with pytest.raises(CertificateMalformed, match="nested too deeply"):
        canonical(value)
