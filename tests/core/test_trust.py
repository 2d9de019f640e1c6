"""The trust file: what is wrong with it is said, whatever it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from notary.errors import MalformedInput
from notary.trust import parse_trust

GOOD = (
    Path(__file__).parents[1] / "vectors" / "certificates" / "match" / "trust.toml"
).read_text("utf-8")  # fmt: skip


def test_what_was_read_is_written_again() -> None:
    assert parse_trust(parse_trust(GOOD).encode()) == parse_trust(GOOD)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("evidence-trust/v1", "evidence-trust/v2", "format is 'evidence-trust/v2'"),
        ("origin = ", "origin = 5 # ", "origin is 5, not a text"),
        ("origin = ", "orgin = ", "lacks 'origin'"),
        ("origin = ", "more = 1\norigin = ", "unknown members"),
        ("statement_keys = [", "statement_keys = ['AAAA',", "has 3 bytes, not 32"),
        ("statement_keys = [", "statement_keys = ['*',", "is not base64"),
        ("statement_keys = [", "statement_keys = [7,", "trust file"),
        ("log_keys = [", "log_keys = [7,", "trust file"),
        ("timestamp_roots = [", "timestamp_roots = ['x',", "trust file"),
        ("origin = ", "witness_policy = 5\norigin = ", "trust file"),
        ("origin = ", "deep = " + "[" * 100_000 + "\norigin = ", "recursion"),
    ],
)
def test_a_trust_file_that_is_wrong_is_malformed(old: str, new: str, said: str) -> None:
    with pytest.raises(MalformedInput, match=said) as caught:
        parse_trust(GOOD.replace(old, new, 1))
    assert caught.value.code == "trust_malformed"
