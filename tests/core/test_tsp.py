from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asn1crypto import core, tsp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from notary.errors import BadTimestamp, MalformedInput, Unverifiable
from notary.tsp import (
    MAX_CERTIFICATES,
    MAX_RESPONSE_BYTES,
    VerifiedTimestamp,
    parse_response,
    parse_token,
    verify_token,
)
from tests.harness.tokens import (
    DAY,
    NOW,
    POLICY,
    TIME_STAMPING,
    Draft,
    Ess,
    Issued,
    PrivateKey,
    issue,
    p256,
    refusal,
)

IMPRINT = hashlib.sha256(b"exhibit 7").digest()
NO_CERTS: dict[str, Any] = {"certs": []}
ROOT = issue("Root", ca=True, valid=(NOW - 9 * DAY, NOW + 9 * DAY))
TSA = issue("Tick Tock TSA", issuer=ROOT)
RSA_2048 = rsa.generate_private_key(public_exponent=65537, key_size=2048)
# `cryptography` warns of certificates that no authority should have made.
ODD_CERTIFICATES = pytest.mark.filterwarnings("ignore:Parsed a serial number")
MICROSECOND = timedelta(microseconds=1)


def draft(**otherwise: Any) -> Draft:
    settings: dict[str, Any] = {"signer": TSA, "imprint": IMPRINT} | otherwise
    return Draft(**settings)


def judge(made: Draft, **otherwise: Any) -> VerifiedTimestamp:
    settings: dict[str, Any] = {"imprint": IMPRINT, "roots": [ROOT.der]} | otherwise
    return verify_token(parse_response(made.response()), **settings)


def refused(made: Draft, **otherwise: Any) -> str:
    """The code of the error that the token is refused with."""
    with pytest.raises((BadTimestamp, Unverifiable)) as caught:
        judge(made, **otherwise)
    return caught.value.code


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
        {"content_attribute": "data"},
        {"extra_attributes": ({"type": "content_type", "values": ["tst_info"]},)},
        {"extra_attributes": ({"type": "signing_certificate", "values": []},)},
        {"extra_attributes": ({"type": "signing_certificate", "values": [NO_CERTS, NO_CERTS]},)},
        {"info": {"nonce": 2 ** (8 * 1024)}},
        {"policy": "1.2." + "9" * 200},
        {"ess": Ess.ABSENT},
        {"certificates": (TSA.der,) * (MAX_CERTIFICATES + 1)},
    ],
    ids=str,
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
    ids=lambda der: f"{len(der)} bytes {der[:6].hex()}",
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


# --- signatures that hold


SIGNERS: dict[str, tuple[PrivateKey, dict[str, Any]]] = {
    "rsa with sha256": (RSA_2048, {}),
    "rsa with sha512": (RSA_2048, {"digest": "sha512"}),
    "rsa pss": (RSA_2048, {"pss": True}),
    "rsa pss, sha384, salt of 48": (
        RSA_2048,
        {"pss": True, "digest": "sha384", "pss_salt_bytes": 48},
    ),
    "rsa pss without salt": (RSA_2048, {"pss": True, "pss_salt_bytes": 0}),
    "p-256": (p256(), {}),
    "p-384": (ec.generate_private_key(ec.SECP384R1()), {"digest": "sha384"}),
    "p-521": (ec.generate_private_key(ec.SECP521R1()), {"digest": "sha512"}),
    "ed25519": (ed25519.Ed25519PrivateKey.generate(), {"digest": "sha512"}),
}


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_token_signed_by(kind: str) -> None:
    key, settings = SIGNERS[kind]
    signer = issue("Tick Tock TSA", issuer=ROOT, key=key)
    found = judge(draft(signer=signer, serial=9, **settings))
    assert (found.authority, found.gen_time, found.serial) == ("Tick Tock TSA", NOW, 9)
    assert found.chain == (signer.der, ROOT.der)


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_signature_with_one_bit_changed_by(kind: str) -> None:
    key, settings = SIGNERS[kind]
    signer = issue("Tick Tock TSA", issuer=ROOT, key=key)
    made = draft(signer=signer, spoil_signature=True, **settings)
    assert refused(made) == "timestamp_signature_invalid"


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_chain_whose_root_is(kind: str) -> None:
    root = issue("Other root", ca=True, key=SIGNERS[kind][0])
    assert judge(draft(signer=issue("T", issuer=root)), roots=[root.der]).chain[1] == root.der


@pytest.mark.parametrize("ess", [Ess.V1, Ess.V2, Ess.BOTH])
def test_the_signing_certificate_named_by(ess: Ess) -> None:
    judge(draft(ess=ess))


def test_the_signing_certificate_named_by_its_key_identifier() -> None:
    judge(draft(by_key_id=True))


@pytest.mark.parametrize("imprint_algorithm", ["sha384", "sha512"])
def test_an_imprint_of_another_hash_that_was_asked_for(imprint_algorithm: str) -> None:
    imprint = hashlib.new(imprint_algorithm, b"exhibit 7").digest()
    made = draft(imprint=imprint, imprint_algorithm=imprint_algorithm)
    judge(made, imprint=imprint, imprint_algorithm=imprint_algorithm)


def test_an_imprint_by_sm3() -> None:
    made = draft(imprint_algorithm="1.2.156.10197.1.401")
    judge(made, imprint_algorithm="sm3")
    assert refused(made) == "timestamp_imprint_mismatch"


# --- signatures that do not


@pytest.mark.parametrize("ess", [Ess.OTHER, Ess.OTHER_SERIAL])
def test_signed_attributes_that_mean_another_certificate(ess: Ess) -> None:
    assert refused(draft(ess=ess)) == "timestamp_signature_invalid"


def test_a_signing_certificate_named_by_sha1_in_version_2() -> None:
    assert refused(draft(ess=Ess.WEAK)) == "timestamp_weak_algorithm"


def test_a_certificate_of_the_same_key_and_name_is_not_the_one_that_was_signed_for() -> None:
    """What ESSCertID is for: another certificate for the key, with another validity, say."""
    twin = issue("Tick Tock TSA", issuer=ROOT, key=TSA.key, valid=(NOW - 9 * DAY, NOW + 9 * DAY))
    made = draft(certificates=(twin.der,), by_key_id=True)
    assert refused(made) == "timestamp_signature_invalid"


def test_a_message_digest_of_other_content() -> None:
    assert refused(draft(digest_attribute=bytes(32))) == "timestamp_signature_invalid"


def test_another_key_than_the_certificates() -> None:
    forged = Issued(certificate=TSA.certificate, key=p256())
    assert refused(draft(signer=forged)) == "timestamp_signature_invalid"


def test_a_kind_of_signature_that_the_key_cannot_make() -> None:
    made = draft(signer_info={"signature_algorithm": {"algorithm": "sha256_rsa"}})
    assert refused(made) == "timestamp_signature_invalid"


def test_a_signature_algorithm_with_another_hash_than_the_digest_algorithm() -> None:
    made = draft(signer_info={"signature_algorithm": {"algorithm": "sha512_ecdsa"}})
    assert refused(made) == "timestamp_signature_invalid"


def test_a_signature_algorithm_nobody_here_knows_is_undecided() -> None:
    made = draft(signer_info={"signature_algorithm": {"algorithm": "1.2.156.10197.1.501"}})
    assert refused(made) == "undecided"


@pytest.mark.parametrize(
    "made",
    [
        draft(digest="sha1"),
        draft(signer_info={"signature_algorithm": {"algorithm": "sha1_ecdsa"}}),
        draft(signer=issue("T", issuer=ROOT, key=RSA_2048), digest="sha1", pss=True),
        draft(imprint_algorithm="sha1", imprint=bytes(20)),
        draft(imprint_algorithm="md5", imprint=bytes(16)),
    ],
    ids=["digest", "signature", "pss", "sha1 imprint", "md5 imprint"],
)
def test_sha1_and_md5_are_refused(made: Draft) -> None:
    settings = {"imprint": made.imprint, "imprint_algorithm": made.imprint_algorithm}
    assert refused(made, **settings) == "timestamp_weak_algorithm"


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(public_exponent=65537, key_size=1024),
        ec.generate_private_key(ec.SECP224R1()),
    ],
    ids=["rsa-1024", "p-224"],
)
def test_a_key_that_is_too_small(key: PrivateKey) -> None:
    signer = issue("T", issuer=ROOT, key=key)
    assert refused(draft(signer=signer)) == "timestamp_weak_algorithm"
    root = issue("Small root", ca=True, key=key)
    made = draft(signer=issue("T", issuer=root))
    assert refused(made, roots=[root.der]) == "timestamp_weak_algorithm"


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


# --- when it was valid


def test_a_token_is_judged_at_its_own_time_long_after_its_certificate_expired() -> None:
    then = datetime(2019, 5, 1, tzinfo=UTC)
    root = issue("R", ca=True, valid=(then - DAY, then + DAY))
    signer = issue("T", issuer=root, valid=(then - DAY, then + DAY))
    assert judge(draft(signer=signer, gen_time=then), roots=[root.der]).gen_time == then


def test_both_ends_of_validity_are_valid() -> None:
    judge(draft(gen_time=NOW - DAY))
    judge(draft(gen_time=NOW + DAY))


@pytest.mark.parametrize("gen_time", [NOW - DAY - MICROSECOND, NOW + DAY + MICROSECOND])
def test_a_certificate_not_valid_at_gen_time(gen_time: datetime) -> None:
    assert refused(draft(gen_time=gen_time)) == "timestamp_certificate_expired"


@pytest.mark.parametrize("expired", ["root", "intermediate"])
def test_a_link_not_valid_at_gen_time(expired: str) -> None:
    short = (NOW - 3 * DAY, NOW - 2 * DAY)
    long = (NOW - 9 * DAY, NOW + 9 * DAY)
    root = issue("R", ca=True, valid=short if expired == "root" else long)
    middle = issue("M", issuer=root, ca=True, valid=long if expired == "root" else short)
    signer = issue("T", issuer=middle)
    made = draft(signer=signer, certificates=(signer.der, middle.der))
    assert refused(made, roots=[root.der]) == "timestamp_certificate_expired"


# --- the way to a root


def chain_of(length: int, **settings: Any) -> list[Issued]:
    """Leaf first: a chain of `length` certificates; `settings` are of each intermediate."""
    made = [issue("Chain root", ca=True)]
    for number in range(length - 2):
        made.insert(0, issue(f"CA {number}", issuer=made[0], **({"ca": True} | settings)))
    return [issue("T", issuer=made[0]), *made]


def test_a_chain_through_intermediates_in_any_order() -> None:
    leaf, *others = chain_of(4)
    made = draft(signer=leaf, certificates=(others[1].der, leaf.der, others[0].der))
    found = judge(made, roots=[others[2].der])
    assert found.chain == tuple(each.der for each in (leaf, *others))


def test_certificates_that_the_verifier_has_and_the_token_has_not() -> None:
    leaf, middle, root = chain_of(3)
    made = draft(signer=leaf, certificates=())
    judge(made, roots=[root.der], intermediates=[middle.der, leaf.der])
    assert refused(made, roots=[root.der]) == "timestamp_untrusted"


def test_an_intermediate_that_the_verifier_trusts_ends_the_chain() -> None:
    leaf, middle, _ = chain_of(3)
    found = judge(draft(signer=leaf), roots=[middle.der])
    assert found.chain == (leaf.der, middle.der)


def test_the_signing_certificate_itself_may_be_what_is_trusted() -> None:
    assert judge(draft(), roots=[TSA.der]).chain == (TSA.der,)
    alone = issue("Alone")
    assert judge(draft(signer=alone), roots=[alone.der]).chain == (alone.der,)


def test_a_root_inside_the_token_is_not_trusted_for_being_there() -> None:
    made = draft(certificates=(TSA.der, ROOT.der))
    assert refused(made, roots=[]) == "timestamp_untrusted"
    assert refused(made, roots=[issue("Root", ca=True).der]) == "timestamp_untrusted"


def test_a_root_of_the_same_name_and_another_key_does_not_hide_the_right_one() -> None:
    namesake = issue("Root", ca=True)
    assert judge(draft(), roots=[namesake.der, ROOT.der]).chain[-1] == ROOT.der


@pytest.mark.parametrize(
    "settings",
    [
        {"ca": False, "signs_certificates": True, "purposes": ()},
        {"ca": True, "signs_certificates": False},
        {"ca": True, "limits": False},
        {
            "ca": True,
            "extra": [
                (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True)
            ],
        },
        {
            "ca": True,
            "extra": [(x509.NameConstraints([x509.DNSName("a.example")], None), True)],
        },
    ],
    ids=["not a CA", "no keyCertSign", "no basicConstraints", "critical", "name constraints"],
)
def test_an_intermediate_that_may_not_issue(settings: dict[str, Any]) -> None:
    leaf, middle, root = chain_of(3, **settings)
    made = draft(signer=leaf, certificates=(leaf.der, middle.der))
    assert refused(made, roots=[root.der]) == "timestamp_untrusted"


def test_a_path_longer_than_a_link_allows() -> None:
    root = issue("R", ca=True, path_length=0)
    middle = issue("M", issuer=root, ca=True)
    leaf = issue("T", issuer=middle)
    made = draft(signer=leaf, certificates=(leaf.der, middle.der))
    assert refused(made, roots=[root.der]) == "timestamp_untrusted"
    judge(draft(signer=issue("T", issuer=root)), roots=[root.der])
    roomy = issue("R", ca=True, path_length=1, key=root.key)
    judge(made, roots=[roomy.der])


def test_a_leaf_signed_by_another_leaf() -> None:
    child = issue("Child", issuer=TSA)
    made = draft(signer=child, certificates=(child.der, TSA.der))
    assert refused(made) == "timestamp_untrusted"


def test_certificates_that_issue_each_other_in_a_ring_come_to_an_end() -> None:
    """A hostile token may cost only so many signatures."""
    keys = [p256() for _ in range(3)]
    rings = [
        issue("Ring", issuer=issue("Ring", ca=True, key=keys[n % 3]), ca=True, key=keys[m % 3])
        for n in range(3)
        for m in range(3)
        for _ in range(3)
    ]
    leaf = issue("T", issuer=rings[0])
    made = draft(signer=leaf, certificates=(leaf.der, *(each.der for each in rings)))
    assert refused(made) == "timestamp_untrusted"


def test_a_chain_longer_than_any_real_one_is_untrusted() -> None:
    chain = chain_of(9)
    made = draft(signer=chain[0], certificates=tuple(each.der for each in chain))
    assert refused(made, roots=[chain[-1].der]) == "timestamp_untrusted"
    chain = chain_of(8)
    made = draft(signer=chain[0], certificates=tuple(each.der for each in chain))
    judge(made, roots=[chain[-1].der])


def test_roots_that_are_no_certificates_are_malformed() -> None:
    with pytest.raises(MalformedInput):
        judge(draft(), roots=[b"root"])
    with pytest.raises(MalformedInput):
        judge(draft(), intermediates=[ROOT.der[:-1]])


def test_a_token_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse_response(GOOD).gen_time = NOW  # type: ignore[misc]
