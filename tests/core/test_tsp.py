from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from asn1crypto import core, tsp
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from notary.errors import BadTimestamp, MalformedInput, Unverifiable
from notary.tsp import (
    MAX_CERTIFICATES,
    MAX_RESPONSE_BYTES,
    parse_response,
    parse_token,
    verify_token,
)
from tests.harness.judging import IMPRINT, ROOT, TSA, draft, judge, refused
from tests.harness.tokens import (
    NOW,
    POLICY,
    TIME_STAMPING,
    Ess,
    issue,
    refusal,
)

NO_CERTS: dict[str, Any] = {"certs": []}
# `cryptography` warns of certificates that no authority should have made.
ODD_CERTIFICATES = pytest.mark.filterwarnings("ignore:Parsed a serial number")
GOOD = draft().response()
GOOD_TOKEN = parse_response(GOOD).der


# --- what is read


def test_a_token_is_read_as_it_was_written() -> None:
    made = draft(
        gen_time=datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC),
        serial=2**159 + 1,
        nonce=2**63 + 5,
        info={"accuracy": {"seconds": 1, "millis": 500, "micros": 7}},
    )
    token = parse_response(made.response())
    assert token.gen_time == datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
    assert (token.serial, token.nonce) == (2**159 + 1, 2**63 + 5)
    assert (token.policy, token.accuracy_us) == (POLICY, 1_500_007)
    assert (token.imprint_algorithm, token.imprint) == ("sha256", IMPRINT)
    assert token.certificates == (TSA.der,)


def test_a_bare_token_is_the_one_inside_the_response() -> None:
    token = parse_response(GOOD)
    assert parse_token(token.der) == token
    assert token.der in GOOD


def test_a_token_granted_with_modifications_is_a_token() -> None:
    assert parse_response(draft().response(status="granted_with_mods")).imprint == IMPRINT


@pytest.mark.parametrize("status", ["rejection", "waiting", "revocation_warning"])
def test_any_other_status_is_a_refusal_that_quotes_the_authority(status: str) -> None:
    with pytest.raises(BadTimestamp, match="come back later") as caught:
        parse_response(refusal(status, "time_not_available", text="come back later"))
    assert caught.value.code == "timestamp_refused"
    assert "timeNotAvailable" in str(caught.value)


def test_a_refusal_is_a_refusal_even_with_a_token_beside_it() -> None:
    with pytest.raises(BadTimestamp) as caught:
        parse_response(draft().response(status="rejection"))
    assert caught.value.code == "timestamp_refused"


def test_granted_without_a_token_is_malformed() -> None:
    with pytest.raises(MalformedInput):
        parse_response(refusal("granted"))


def test_granted_with_a_failure_is_malformed() -> None:
    response = tsp.TimeStampResp.load(draft().response())
    info = tsp.PKIStatusInfo({"status": "granted", "fail_info": {"bad_alg"}})
    answer = {"status": info, "time_stamp_token": response["time_stamp_token"]}
    with pytest.raises(MalformedInput, match="badAlg"):
        parse_response(tsp.TimeStampResp(answer).dump())


@pytest.mark.parametrize(
    "gen_time",
    [
        "20261124120000.5Z",
        "20261124120000.000001Z",
        "20261124120000Z",
        "00010101000000Z",
        "99991231235959.999999999Z",
    ],
)
def test_gen_time_in_the_form_of_the_standard_is_read(gen_time: str) -> None:
    parse_response(draft(gen_time=gen_time).response())


@pytest.mark.parametrize(
    "gen_time",
    [
        "202611241200Z",
        "20261124120000",
        "20261124120000.Z",
        "20261124120000.50Z",
        "20261124120000.0Z",
        "20261124120000,5Z",
        "20261124120000+0000",
        "20261124120060Z",
        "20261324120000Z",
        "00000101000000Z",
        "2026112412000\u0661Z",
        " 20261124120000Z",
    ],
)
def test_gen_time_in_any_other_form_is_malformed(gen_time: str) -> None:
    made = draft(info={"gen_time": _raw_time(gen_time)})
    with pytest.raises(MalformedInput):
        parse_response(made.response())


def _raw_time(text: str) -> core.GeneralizedTime:
    contents = text.encode()
    return core.GeneralizedTime.load(b"\x18" + bytes([len(contents)]) + contents)


@pytest.mark.parametrize(
    "wrong",
    [
        {"info": {"version": "v2"}},
        {"info": {"serial_number": -1}},
        {"info": {"serial_number": 2**160}},
        {"info": {"accuracy": {"seconds": -1}}},
        {"info": {"accuracy": {"millis": 1000}}},
        {"info": {"extensions": [{"extn_id": "1.2.3", "critical": True, "extn_value": b"x"}]}},
        {"signed_data": {"version": "v4"}},
        {"signed_data": {"signer_infos": []}},
        {"signed_data": {"digest_algorithms": [{"algorithm": "sha512"}]}},
        {"signer_info": {"version": "v3"}},
        {"signer_info": {"signed_attrs": None}},
        {"content_attributes": ("data",)},
        {"content_attributes": ("tst_info", "data")},
        {"digest_attributes": (bytes(32), b"\xff" * 32)},
        {"extra_attributes": ({"type": "content_type", "values": ["tst_info"]},)},
        {"extra_attributes": ({"type": "signing_certificate", "values": []},)},
        {"extra_attributes": ({"type": "signing_certificate", "values": [NO_CERTS, NO_CERTS]},)},
        {"info": {"nonce": 2 ** (8 * 1024)}},
        {"policy": "1.2." + "9" * 200},
        {"ess": Ess.ABSENT},
        {"certificates": (TSA.der,) * (MAX_CERTIFICATES + 1)},
    ],
    ids=lambda parts: next(iter(parts), None),
)
def test_a_structure_that_the_standards_do_not_allow_is_malformed(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedInput):
        parse_response(draft(**wrong).response())


def test_an_extension_that_is_not_critical_may_be_there() -> None:
    extension = {"extn_id": "1.2.3", "extn_value": b"x"}
    judge(draft(info={"extensions": [extension]}))


def test_two_signers_are_malformed() -> None:
    one = draft()._signer_info(b"")
    with pytest.raises(MalformedInput, match="signerInfos"):
        parse_response(draft(signed_data={"signer_infos": [one, one]}).response())


# --- the bytes


@ODD_CERTIFICATES
def test_every_byte_changed_gives_our_own_error_or_the_same_token() -> None:
    """Not covered by a signature: texts of the status, and some algorithm parameters."""
    made = draft(nonce=7)
    good = made.response()
    token = parse_response(good)
    undetected = 0
    for at in range(len(good)):
        for flip in (0x01, 0x80, 0xFF):
            bad = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
            try:
                changed = parse_response(bad)
                verify_token(changed, imprint=IMPRINT, nonce=7, roots=[ROOT.der])
            except (MalformedInput, BadTimestamp, Unverifiable):
                continue
            undetected += 1
            assert changed.tst_info == token.tst_info
            assert (changed.imprint, changed.gen_time) == (token.imprint, token.gen_time)
    assert undetected <= 4


@ODD_CERTIFICATES
def test_every_byte_of_the_certificates_beside_the_signers_may_lie_and_change_nothing() -> None:
    made = draft(certificates=(TSA.der, ROOT.der))
    good = made.response()
    start = good.index(ROOT.der)
    token = parse_response(good)
    for at in range(start, start + len(ROOT.der)):
        bad = good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :]
        try:
            changed = parse_response(bad)
            found = verify_token(changed, imprint=IMPRINT, roots=[ROOT.der])
        except (MalformedInput, BadTimestamp, Unverifiable):
            continue
        assert found.chain == (TSA.der, ROOT.der)
        assert found.gen_time == token.gen_time


@pytest.mark.parametrize("parse", [parse_response, parse_token])
@given(data=st.data())
def test_any_bytes_at_all_give_a_token_or_malformed_input(
    parse: Callable[[bytes], object], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(GOOD)))
    resume = data.draw(st.integers(0, len(GOOD)))
    noise = data.draw(st.binary(max_size=40))
    for der in (noise, GOOD[:cut] + noise + GOOD[resume:]):
        with contextlib.suppress(MalformedInput, BadTimestamp):
            parse(der)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        GOOD + b"\x00",
        GOOD[:-1],
        b"\x30\x80" + GOOD[4:] + b"\x00\x00",
        b"\x30\x83\x00" + GOOD[2:],
        b"\x30\x84\x00\x00" + GOOD[2:],
        b"\x30\x85\x00\x00\x00" + GOOD[2:],
        b"\x1f\x81\x01\x00",
        b"\x24\x00",
        b"\x10\x00",
        b"\x31" + GOOD[1:],
        (b"\x30\x80" * 400),
        b"\x30\x82\xff\xff" + bytes(65_535),
    ],
    ids=lambda der: None if len(der) < 99 else "token",
)
def test_what_is_not_der_is_malformed(der: bytes) -> None:
    with pytest.raises(MalformedInput):
        parse_response(der)


def test_more_than_any_token_needs_is_not_even_read() -> None:
    with pytest.raises(MalformedInput, match="65536"):
        parse_response(bytes(MAX_RESPONSE_BYTES + 1))


def test_an_integer_with_a_zero_before_it_is_malformed() -> None:
    parse_token(GOOD_TOKEN)
    version, padded = b"\x02\x01\x03", b"\x02\x02\x00\x03"
    at = GOOD_TOKEN.index(version)
    longer = GOOD_TOKEN[:at] + padded + GOOD_TOKEN[at + 3 :]
    for length_at in (2, 17, 21):
        before = int.from_bytes(longer[length_at : length_at + 2], "big")
        after = (before + 1).to_bytes(2, "big")
        longer = longer[:length_at] + after + longer[length_at + 2 :]
    with pytest.raises(MalformedInput, match="shortest"):
        parse_token(longer)


def test_a_refusal_with_a_number_too_long_to_print_is_still_a_refusal() -> None:
    status = core.Integer(2 ** (8 * 1000)).dump()
    info = core.SequenceOf([core.Any.load(status)], spec=core.Any)
    with pytest.raises(BadTimestamp) as caught:
        parse_response(core.SequenceOf([info], spec=core.SequenceOf).dump())
    assert caught.value.code == "timestamp_refused"


def test_a_nonce_too_long_to_print_is_a_mismatch() -> None:
    made = draft(nonce=2 ** (8 * 1000))
    assert refused(made, nonce=7) == "timestamp_nonce_mismatch"


# --- the question that was asked


def test_another_imprint() -> None:
    assert refused(draft(imprint=bytes(32))) == "timestamp_imprint_mismatch"


def test_an_imprint_of_the_wrong_length_is_no_match_even_with_itself() -> None:
    assert refused(draft(imprint=b"short"), imprint=b"short") == "timestamp_imprint_mismatch"


def test_the_right_bytes_by_another_hash() -> None:
    made = draft(imprint_algorithm="sha3_256")
    assert refused(made) == "timestamp_imprint_mismatch"


@pytest.mark.parametrize("nonce", [None, 8, -7])
def test_another_nonce_or_none(nonce: int | None) -> None:
    assert refused(draft(nonce=nonce), nonce=7) == "timestamp_nonce_mismatch"


def test_a_nonce_is_not_tested_when_none_was_sent() -> None:
    judge(draft(nonce=8))


def test_a_policy_that_is_not_accepted() -> None:
    assert refused(draft(), policies=["1.2.3"]) == "timestamp_policy_refused"
    judge(draft(), policies=["1.2.3", POLICY])


# --- what the certificate is for


@pytest.mark.parametrize(
    "settings",
    [
        {"purposes": ()},
        {"purposes_critical": False},
        {"purposes": (TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING)},
        {"purposes": (TIME_STAMPING, TIME_STAMPING)},
        {"purposes": (ExtendedKeyUsageOID.CODE_SIGNING,)},
        {"purposes": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)},
        {"signs_certificates": True},
    ],
    ids=["absent", "not critical", "not alone", "twice", "other", "any", "signs certificates"],
)
def test_a_certificate_for_another_purpose(settings: dict[str, Any]) -> None:
    signer = issue("T", issuer=ROOT, **settings)
    assert refused(draft(signer=signer)) == "timestamp_wrong_purpose"


def test_a_certificate_with_a_critical_extension_that_is_not_known() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    signer = issue("T", issuer=ROOT, extra=[(unknown, True)])
    assert refused(draft(signer=signer)) == "timestamp_untrusted"
    judge(draft(signer=issue("T", issuer=ROOT, extra=[(unknown, False)])))


def test_a_token_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse_response(GOOD).gen_time = NOW  # type: ignore[misc]
