"""Witness policies: read strictly, judged exactly."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from notary.errors import MalformedInput, Unverifiable
from notary.tlog.note import ED25519_COSIGNATURE, VerifierKey
from notary.tlog.policy import parse_policy


def key(seed: int) -> VerifierKey:
    public = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key()
    return VerifierKey.derive(f"w{seed}.example", ED25519_COSIGNATURE, public.public_bytes_raw())


A, B, C = key(1), key(2), key(3)
TEXT = f"""# two of three, one of them the bar's
witness a {A.encode()} https://a.example/witness
witness b\t{B.encode()}
witness bar {C.encode()}
group courts any a b
group both all courts bar

quorum both
"""


def test_a_policy_is_met_by_enough_of_the_right_ones() -> None:
    policy = parse_policy(TEXT)
    assert policy.witnesses[0].url == "https://a.example/witness"
    policy.check([A, C])
    policy.check([B, C])
    policy.check([A, B, C])


@pytest.mark.parametrize("signers", [[], [A], [C], [A, B]])
def test_a_policy_is_not_met_by_fewer(signers: list[VerifierKey]) -> None:
    with pytest.raises(Unverifiable) as caught:
        parse_policy(TEXT).check(signers)
    assert caught.value.code == "witness_quorum_missing"


def test_quorum_none_asks_for_nobody() -> None:
    parse_policy("quorum none\n").check([])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum nobody\n",
        "quorum none\nquorum none\n",
        f"witness a {A.encode()}\nwitness a {B.encode()}\nquorum a\n",
        f"witness a {A.encode()}\nwitness b {A.encode()}\nquorum a\n",
        f"witness a {A.encode()}\ngroup g 2 a\nquorum g\n",
        f"witness a {A.encode()}\ngroup g 0 a\nquorum g\n",
        f"witness a {A.encode()}\ngroup g any a\ngroup h any a\nquorum g\n",
        f"group g any a\nwitness a {A.encode()}\nquorum g\n",
        f"witness none {A.encode()}\nquorum none\n",
        f"witness a {A.encode()}x\nquorum a\n",
        "greet everyone\nquorum none\n",
        "group g any\nquorum none\n",
    ],
)
def test_a_faulty_policy_is_refused_by_line(text: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_policy(text)
    assert caught.value.code == "policy_malformed"


@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_malformed(text: str) -> None:
    try:
        parse_policy(text)
    except MalformedInput as refused:
        assert refused.code == "policy_malformed"
