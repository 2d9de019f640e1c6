"""The registration policy: one canonical text, one chain, and whom it admits when."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from notary.admission import (
    AdmittedKey,
    Policy,
    Rules,
    admitted,
    admitting_key,
    check_admission,
    check_iss,
    parse_kid,
    parse_policy_document,
    retired,
)
from notary.errors import Conflict, MalformedInput, NotFound, Rejected, TooLarge
from notary.issuer_key import parse_issuer_key
from notary.signed_statement import SignedStatement, parse_signed_statement
from tests.harness.issuer import OutsideIssuer

ORIGIN = "example.org/log"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
VENDOR = OutsideIssuer.new("https://vendor.example", "ES256")
OTHER = OutsideIssuer.new("https://other.example", "EdDSA")


def key_of(
    issuer: OutsideIssuer, start: datetime = NOON, end: datetime | None = None
) -> AdmittedKey:
    return AdmittedKey(
        iss=issuer.iss, kid=issuer.kid, key=parse_issuer_key(issuer.pem), start=start, end=end
    )


def with_keys(*keys: AdmittedKey, rules: Rules | None = None) -> Policy:
    return Policy(
        origin=ORIGIN, serial=1, previous=None, at=NOON, rules=rules or Rules(), keys=keys
    )


POLICY = with_keys(key_of(VENDOR), key_of(OTHER))


def made_by(issuer: OutsideIssuer, payload: bytes = b"it is so") -> SignedStatement:
    return parse_signed_statement(issuer.statement(payload))


def code_of(statement: SignedStatement, policy: Policy | None = POLICY, at: datetime = NOON) -> str:
    with pytest.raises(Rejected) as caught:
        check_admission(policy, statement, at)
    return caught.value.code


# --- the document -------------------------------------------------------------------------------


def test_a_policy_is_its_own_canonical_text() -> None:
    text = POLICY.encode()
    assert parse_policy_document(text) == POLICY
    assert rfc8785.dumps(json.loads(text)).decode() == text


def test_policies_are_a_chain() -> None:
    first = admitted(None, key_of(VENDOR), origin=ORIGIN, at=NOON)
    second = admitted(first, key_of(OTHER), origin=ORIGIN, at=NOON + HOUR)
    third = retired(second, key_of(VENDOR).key.thumbprint(), origin=ORIGIN, at=NOON + 2 * HOUR)
    assert [p.serial for p in (first, second, third)] == [1, 2, 3]
    assert first.previous is None
    assert second.previous == first.digest().hex()
    assert third.previous == second.digest().hex()
    assert [key.end for key in third.keys] == [NOON + 2 * HOUR, None]


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p | {"type": "registration-policy/v2"},
        lambda p: p | {"more": 1},
        lambda p: p | {"serial": "1"},
        lambda p: p | {"created_at": "2026-11-24T12:00:00Z"},
        lambda p: p | {"created_at": "today"},
        lambda p: p | {"rules": {}},
        lambda p: p | {"rules": p["rules"] | {"more": 1}},
        lambda p: p | {"issuers": [{}]},
        lambda p: p | {"issuers": [p["issuers"][0] | {"alg": -8}]},
        lambda p: p | {"issuers": [p["issuers"][0] | {"key": "AAAA"}]},
        lambda p: p | {"issuers": [p["issuers"][0] | {"kid": ""}]},
        lambda p: p | {"issuers": [p["issuers"][0] | {"kid": "a+/="}]},
        lambda p: {k: v for k, v in p.items() if k != "previous"},
    ],
)
def test_another_document_is_malformed(change: object) -> None:
    changed = change(json.loads(POLICY.encode()))  # type: ignore[operator]  # a lambda above
    with pytest.raises(MalformedInput) as caught:
        parse_policy_document(rfc8785.dumps(changed).decode())
    assert caught.value.code == "registration_policy_malformed"


@pytest.mark.parametrize("text", ["", "{}", "[]", "1", " " + POLICY.encode(), "\ud800", "{"])
def test_what_is_no_canonical_document_is_malformed(text: str) -> None:
    with pytest.raises(MalformedInput):
        parse_policy_document(text)


@given(st.text(max_size=100))
def test_any_text_is_a_policy_or_malformed(text: str) -> None:
    with pytest.raises(MalformedInput):
        parse_policy_document(text)


# --- its changes --------------------------------------------------------------------------------


def test_a_key_or_a_kid_in_use_is_not_admitted_twice() -> None:
    again = replace(key_of(VENDOR), kid=b"key-2")
    same_kid = key_of(OutsideIssuer.new(VENDOR.iss, "EdDSA"))
    elsewhere = replace(key_of(VENDOR), iss="https://third.example")
    for key in (key_of(VENDOR), again, same_kid, elsewhere):
        with pytest.raises(Conflict) as caught:
            admitted(POLICY, key, origin=ORIGIN, at=NOON)
        assert caught.value.code == "issuer_key_exists"


def test_a_retired_key_may_come_back_in_its_own_place() -> None:
    gone = retired(POLICY, key_of(VENDOR).key.thumbprint(), origin=ORIGIN, at=NOON + HOUR)
    back = key_of(VENDOR, start=NOON + 2 * HOUR)
    again = admitted(gone, back, origin=ORIGIN, at=NOON + 2 * HOUR)
    assert again.keys == (key_of(OTHER), back)


def test_what_is_not_admitted_cannot_be_retired() -> None:
    print_ = key_of(VENDOR).key.thumbprint()
    gone = retired(POLICY, print_, origin=ORIGIN, at=NOON)
    for policy, thumbprint in ((None, print_), (POLICY, bytes(32)), (gone, print_)):
        with pytest.raises(NotFound):
            retired(policy, thumbprint, origin=ORIGIN, at=NOON)


def test_a_key_that_is_not_open_yet_can_be_retired_and_never_opens() -> None:
    later = with_keys(key_of(VENDOR, start=NOON + HOUR))
    gone = retired(later, key_of(VENDOR).key.thumbprint(), origin=ORIGIN, at=NOON)
    assert not any(gone.keys[0].open_at(NOON + n * HOUR) for n in range(-2, 3))
    assert parse_policy_document(gone.encode()) == gone


# --- whom it admits -----------------------------------------------------------------------------


def test_an_admitted_issuer_s_statement_is_admitted_by_its_key() -> None:
    assert check_admission(POLICY, made_by(VENDOR), NOON) == key_of(VENDOR)
    assert check_admission(POLICY, made_by(OTHER), NOON) == key_of(OTHER)


def test_without_an_issuer_nothing_is_admitted() -> None:
    for policy in (None, with_keys()):
        assert code_of(made_by(VENDOR), policy) == "issuer_not_admitted"


def test_strangers_are_not_admitted() -> None:
    stranger = OutsideIssuer.new("https://stranger.example")
    other_kid = replace(VENDOR, kid=b"key-2")
    borrowed = replace(VENDOR, iss=OTHER.iss, kid=b"key-x")
    for issuer in (stranger, other_kid, borrowed):
        assert code_of(made_by(issuer)) == "issuer_not_admitted"


def test_under_anothers_name_and_kid_the_signature_fails() -> None:
    imposter = OutsideIssuer.new(VENDOR.iss, "ES256", kid=VENDOR.kid)
    assert code_of(made_by(imposter)) == "issuer_signature_invalid"


def test_a_changed_payload_is_not_admitted() -> None:
    assert code_of(replace(made_by(VENDOR), payload=b"it is not")) == "issuer_signature_invalid"


def test_the_algorithm_is_the_key_s_own() -> None:
    header = {**VENDOR.header(), 1: -8}
    assert code_of(parse_signed_statement(VENDOR.statement(header=header))) == "algorithm_refused"
    for unknown in (-37, -257, 0, 5, -65535):
        header = {**VENDOR.header(), 1: unknown}
        statement = parse_signed_statement(VENDOR.statement(header=header))
        assert code_of(statement) == "algorithm_refused"


def test_an_algorithm_that_the_policy_leaves_out_is_refused() -> None:
    policy = with_keys(key_of(VENDOR), rules=Rules(algorithms=(-8,)))
    assert code_of(made_by(VENDOR), policy) == "algorithm_refused"


@pytest.mark.parametrize(
    ("at", "admitted_"),
    [(-1, False), (0, True), (1, True), (2, False), (3, False)],
)
def test_a_key_is_open_from_its_start_and_before_its_end(at: int, admitted_: bool) -> None:
    policy = with_keys(key_of(VENDOR, start=NOON, end=NOON + 2 * HOUR))
    if admitted_:
        check_admission(policy, made_by(VENDOR), NOON + at * HOUR)
    else:
        assert code_of(made_by(VENDOR), policy, NOON + at * HOUR) == "issuer_key_not_in_force"


def test_an_entry_may_have_65535_bytes() -> None:
    room = 65_535 - len(VENDOR.statement(b""))
    # The head of so long a byte string has three bytes instead of one.
    largest = made_by(VENDOR, bytes(room - 2))
    assert len(largest.entry) == 65_535
    check_admission(POLICY, largest, NOON)
    with pytest.raises(TooLarge):
        check_admission(POLICY, made_by(VENDOR, bytes(room - 1)), NOON)


def test_what_costs_little_is_asked_before_the_signature() -> None:
    spoilt = replace(made_by(VENDOR), signature=b"")
    assert admitting_key(POLICY, spoilt, NOON) == key_of(VENDOR)
    assert code_of(spoilt) == "issuer_signature_invalid"
    assert code_of(replace(spoilt, issuer="https://x.example")) == "issuer_not_admitted"


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("iss", ["https://v.example", "did:web:v.example", "urn:x:1", "a:b"])
def test_an_issuer_is_a_uri(iss: str) -> None:
    assert check_iss(iss, origin=ORIGIN) == iss


@pytest.mark.parametrize(
    "iss",
    ["", "vendor", "https:", ":x", "1a:b", "https://v.example/ ", "https://v\n", "urn:ü",
     "https://v.example/\0", "u:" + "x" * 1000, "https://example.org/log", "a:\ud800"],
)  # fmt: skip
def test_what_is_no_uri_or_the_house_s_own_name_is_refused(iss: str) -> None:
    with pytest.raises(MalformedInput):
        check_iss(iss, origin=ORIGIN)


@pytest.mark.parametrize("text", ["", "=", "a", "a+", "YQ==", "Yf", "A" * 100, "é"])
def test_a_kid_has_one_spelling(text: str) -> None:
    assert parse_kid("YQ") == b"a"
    with pytest.raises(MalformedInput):
        parse_kid(text)
