"""Parser, encoder, seal: whatever is changed is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.canonical import canonical
from certs.certificate import MAX_BYTES, Certificate, Key, key_thumbprint, parse_certificate
from certs.errors import CertificateMalformed, SealInvalid, UnknownKey, UnsupportedFormat
from certs.reading import b64, rfc3339
from certs.seal import check_seal, sign_certificate
from tests.certs import papers

STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def stranger_key() -> Key:
    return Key.of(STRANGER.public_key().public_bytes_raw())


def test_a_certificate_is_read_back_as_it_was_written() -> None:
    certificate = papers.nasty()
    data = certificate.encode()
    assert parse_certificate(data) == certificate
    assert parse_certificate(data).encode() == data
    assert canonical(json.loads(data)) == data


def test_the_seal_holds_with_the_embedded_and_with_the_trusted_key() -> None:
    certificate = papers.certificate()
    (sealer,) = certificate.keys.certificate
    assert check_seal(certificate) == sealer
    assert check_seal(certificate, [stranger_key(), sealer]) == sealer


def test_what_is_signed_is_the_type_and_the_canonical_form_without_the_signature() -> None:
    certificate = papers.certificate()
    members = json.loads(certificate.encode())
    del members["signature"]
    assert certificate.unsigned_bytes() == b"evidence-certificate/v1\n" + canonical(members)
    papers.SEALING_KEY.public_key().verify(
        certificate.signature.value, certificate.unsigned_bytes()
    )


def test_no_byte_of_the_file_can_be_changed_unnoticed() -> None:
    data = papers.certificate().encode()
    check_seal(parse_certificate(data))
    for at in range(len(data)):
        for mask in (0x01, 0x20, 0x80):
            changed = bytearray(data)
            changed[at] ^= mask
            with pytest.raises((CertificateMalformed, UnsupportedFormat, SealInvalid)):
                check_seal(parse_certificate(bytes(changed)))


@settings(max_examples=200)
@given(st.data())
def test_no_byte_can_be_added_or_left_out(draw: st.DataObject) -> None:
    data = papers.certificate().encode()
    at = draw.draw(st.integers(0, len(data) - 1))
    extra = draw.draw(st.binary(max_size=3))
    changed = data[:at] + extra + data[at + 1 :]
    if changed == data:
        return
    with pytest.raises((CertificateMalformed, UnsupportedFormat, SealInvalid)):
        check_seal(parse_certificate(changed))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_malformed(data: bytes) -> None:
    with pytest.raises(CertificateMalformed):
        parse_certificate(data)


def test_a_certificate_signed_by_another_key_is_refused() -> None:
    certificate = papers.certificate()
    forged = replace(
        certificate,
        signature=replace(certificate.signature, value=STRANGER.sign(certificate.unsigned_bytes())),
    )
    with pytest.raises(SealInvalid, match="is not what key"):
        check_seal(forged)


def test_a_seal_by_a_key_that_is_not_trusted_is_told_from_a_broken_one() -> None:
    with pytest.raises(UnknownKey, match="known are none"):
        check_seal(papers.certificate(), [])
    with pytest.raises(UnknownKey, match=stranger_key().kid.hex()):
        check_seal(papers.certificate(), [stranger_key()])


def test_a_seal_that_names_a_key_the_certificate_does_not_carry_is_refused() -> None:
    certificate = papers.certificate()
    with pytest.raises(SealInvalid, match="known are none"):
        check_seal(replace(certificate, keys=replace(certificate.keys, certificate=())))


def test_a_certificate_is_not_signed_with_a_key_it_does_not_carry() -> None:
    with pytest.raises(ValueError, match="not among the certificate's keys"):
        sign_certificate(papers.draft(), STRANGER)


def test_a_certificate_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(CertificateMalformed, match="limit"):
        parse_certificate(b"{" * (MAX_BYTES + 1))


@given(st.binary(min_size=32, max_size=32))
def test_a_kid_is_the_cose_key_thumbprint(public_key: bytes) -> None:
    # RFC 9679 section 3 over deterministic CBOR, by a CBOR library.
    key = cbor2.dumps({1: 1, -1: 6, -2: public_key}, canonical=True)
    assert key_thumbprint(public_key) == hashlib.sha256(key).digest()


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_public_key_of_another_length_has_no_thumbprint(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        key_thumbprint(bytes(length))


def test_a_kid_that_is_not_the_thumbprint_of_its_key_is_refused() -> None:
    with pytest.raises(ValueError, match="not the thumbprint"):
        Key(kid=bytes(32), public_key=bytes(32))


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        rfc3339(datetime(2026, 11, 24))


def test_an_unknown_version_is_told_from_rubbish() -> None:
    members = json.loads(papers.certificate().encode())
    with pytest.raises(UnsupportedFormat, match="v2"):
        parse_certificate(canonical(members | {"type": "evidence-certificate/v2"}))
    # A later version may have any members.
    with pytest.raises(UnsupportedFormat):
        parse_certificate(canonical({"type": "evidence-certificate/v9"}))
    with pytest.raises(CertificateMalformed):
        parse_certificate(canonical(members | {"type": "evidence-record/v1"}))


Change = Callable[[dict[str, Any]], object]

CHANGES: dict[str, Change] = {
    "a member is missing": lambda c: c.pop("issued_for"),
    "a member is unknown": lambda c: c.update(extra=1),
    "an inner member is unknown": lambda c: c["log"].update(extra=1),
    "an inner member is missing": lambda c: c["times"].pop("issued_at"),
    "the signature is missing": lambda c: c.pop("signature"),
    "the id is upper case": lambda c: c.update(certificate_id=c["certificate_id"].upper()),
    "the id has a line feed": lambda c: c.update(certificate_id=c["certificate_id"] + "\n"),
    "the version is zero": lambda c: c.update(version=0),
    "the version is a boolean": lambda c: c.update(version=True),
    "the version is text": lambda c: c.update(version="1"),
    "the issuer has no name": lambda c: c["issuer"].update(name=""),
    "the record is an object": lambda c: c.update(record={}),
    "a disclosure is padded": lambda c: c["disclosures"].append("YQ=="),
    "there are too many disclosures": lambda c: c.update(disclosures=["YQ"] * 65),
    "the disclosures are an object": lambda c: c.update(disclosures={}),
    "the statement is empty": lambda c: c.update(statement=""),
    "base64 lacks its padding": lambda c: c.update(statement="YQ"),
    "base64 has spare bits": lambda c: c.update(statement="YR=="),
    "base64 has a line feed": lambda c: c.update(statement="YWFh\n"),
    "base64 is base64url": lambda c: c.update(statement="_-_-"),
    "base64 has text after it": lambda c: c.update(statement="YQ==YQ=="),
    "the index is negative": lambda c: c["log"].update(index=-1),
    "the size is zero": lambda c: c["log"].update(size=0),
    "a hash has 31 bytes": lambda c: c["log"]["inclusion_proof"].append(b64(bytes(31))),
    "there are too many hashes": lambda c: c["log"].update(inclusion_proof=[b64(bytes(32))] * 65),
    "the checkpoint is null": lambda c: c["log"].update(checkpoint=None),
    "a timestamp covers something else": lambda c: c["timestamps"][0].update(covers="record"),
    "self_operated is a number": lambda c: c["timestamps"][0].update(self_operated=1),
    "a chain is null": lambda c: c["timestamps"][0].update(chain=None),
    "a time has no fraction": lambda c: c["times"].update(issued_at="2026-11-24T14:03:05Z"),
    "a time has another zone": lambda c: c["times"].update(
        issued_at="2026-11-24T14:03:05.000000+00:00"
    ),
    "a time has other digits": lambda c: c["times"].update(issued_at="٢٠٢٦-11-24T14:03:05.000000Z"),
    "received_at is null": lambda c: c["times"].update(received_at=None),
    "a key is of another kind": lambda c: c["keys"]["statement"][0].update(alg="ES256"),
    "a key has 31 bytes": lambda c: c["keys"]["statement"][0].update(public_key=b64(bytes(31))),
    "a log key is empty": lambda c: c["keys"]["log"].append(""),
    "the signature is short": lambda c: c["signature"].update(value=b64(bytes(63))),
    "the signature's kid is padded": lambda c: c["signature"].update(
        kid=c["signature"]["kid"] + "="
    ),
    "the signature's kid has spare bits": lambda c: c["signature"].update(kid="A" * 42 + "B"),
}


def members_of(certificate: Certificate) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(certificate.encode())
    return members


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_certificate_is_refused_when(change: Change) -> None:
    members = members_of(papers.certificate())
    change(members)
    with pytest.raises(CertificateMalformed):
        parse_certificate(canonical(members))


# What a schema cannot say, and docs/certificate.schema.json says that it cannot.
BEYOND_THE_SCHEMA: dict[str, Change] = {
    "the index is not below the size": lambda c: c["log"].update(index=c["log"]["size"]),
    "a time does not exist": lambda c: c["times"].update(issued_at="2026-02-30T14:03:05.000000Z"),
    "a kid is of another key": lambda c: c["keys"]["statement"][0].update(
        kid=c["keys"]["certificate"][0]["kid"]
    ),
}


@pytest.mark.parametrize("change", BEYOND_THE_SCHEMA.values(), ids=BEYOND_THE_SCHEMA)
def test_a_certificate_that_contradicts_itself_is_refused_when(change: Change) -> None:
    members = members_of(papers.certificate())
    change(members)
    with pytest.raises(CertificateMalformed):
        parse_certificate(canonical(members))
