"""CRLs and OCSP answers beside a token: good, revoked, or not checked, because."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from notary.revocation import Standing, State, judge_revocation, sources_of
from tests.harness.tokens import DAY, NOW, Issued, issue

ROOT = issue("Root", ca=True, valid=(NOW - 9 * DAY, NOW + 900 * DAY))
TSA = issue("TSA", issuer=ROOT, valid=(NOW - 9 * DAY, NOW + 900 * DAY))
STRANGER = issue("Root", ca=True, valid=(NOW - 9 * DAY, NOW + 900 * DAY))
CHAIN = (TSA.der, ROOT.der)
Reason = x509.ReasonFlags | None


@dataclass(frozen=True)
class Revoked:
    at: datetime
    reason: Reason = None


def crl(
    *, by: Issued = ROOT, made: datetime = NOW + DAY, until: datetime = NOW + 8 * DAY,
    revoked: Revoked | None = None, extra: Sequence[x509.ExtensionType] = (),
) -> bytes:  # fmt: skip
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=by.certificate.subject, last_update=made, next_update=until
    )
    for extension in extra:
        builder = builder.add_extension(extension, critical=True)
    if revoked is not None:
        entry = x509.RevokedCertificateBuilder(
            serial_number=TSA.certificate.serial_number, revocation_date=revoked.at
        )
        if revoked.reason is not None:
            entry = entry.add_extension(x509.CRLReason(revoked.reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(by.key, SHA256()).public_bytes(Encoding.DER)


def answer(
    *, by: Issued = ROOT, about: Issued = TSA, made: datetime = NOW + DAY,
    until: datetime = NOW + 2 * DAY, revoked: Revoked | None = None, hashed: object = None,
    with_certificate: bool = True,
) -> bytes:  # fmt: skip
    status = ocsp.OCSPCertStatus.GOOD if revoked is None else ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=about.certificate, issuer=ROOT.certificate, algorithm=hashed or SHA1(),  # type: ignore[arg-type]
        cert_status=status, this_update=made, next_update=until,
        revocation_time=None if revoked is None else revoked.at,
        revocation_reason=None if revoked is None else revoked.reason,
    )  # fmt: skip
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
    if by is not ROOT and with_certificate:
        builder = builder.certificates([by.certificate])
    return builder.sign(by.key, SHA256()).public_bytes(Encoding.DER)


def judged(*, crls: Sequence[bytes] = (), responses: Sequence[bytes] = ()) -> Standing:
    return judge_revocation(CHAIN, at=NOW, crls=crls, responses=responses)


def not_checked(code: str, **data: Sequence[bytes]) -> None:
    found = judged(**data)
    assert (found.state, found.code) == (State.NOT_CHECKED, code)


RESPONDER = issue(
    "Responder", issuer=ROOT, purposes=[ExtendedKeyUsageOID.OCSP_SIGNING],
    valid=(NOW - DAY, NOW + 9 * DAY),
)  # fmt: skip


def test_a_list_or_an_answer_that_does_not_name_it_is_good() -> None:
    assert judged(crls=[crl()]).state is State.GOOD
    assert judged(responses=[answer()]).state is State.GOOD
    assert judged(responses=[answer(hashed=SHA256())]).state is State.GOOD
    assert judged(responses=[answer(by=RESPONDER)]).state is State.GOOD


def test_without_any_it_was_not_checked() -> None:
    not_checked("revocation_none")


@pytest.mark.parametrize(
    "reason", [None, x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise]
)
@pytest.mark.parametrize("at", [NOW - DAY, NOW + DAY])
def test_a_revocation_that_doubts_the_key_takes_its_tokens_whenever(
    reason: Reason, at: datetime
) -> None:
    revoked = Revoked(at, reason)
    for data in ({"crls": [crl(revoked=revoked)]}, {"responses": [answer(revoked=revoked)]}):
        found = judged(**data)
        assert (found.state, found.code) == (State.REVOKED, "timestamp_revoked")


@pytest.mark.parametrize(
    "reason",
    [
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
    ],
)
def test_after_a_harmless_one_earlier_tokens_stand(reason: Reason) -> None:
    later, before = Revoked(NOW + DAY, reason), Revoked(NOW - DAY, reason)
    assert judged(responses=[answer(revoked=later)]).state is State.GOOD
    assert judged(responses=[answer(revoked=before)]).state is State.REVOKED
    if reason is not x509.ReasonFlags.unspecified:  # which DER leaves out of a list
        assert judged(crls=[crl(revoked=later)]).state is State.GOOD
        assert judged(crls=[crl(revoked=before)]).state is State.REVOKED


def test_one_that_says_revoked_counts_more_than_one_that_says_good() -> None:
    gone = crl(revoked=Revoked(NOW - DAY))
    assert judged(crls=[gone], responses=[answer()]).state is State.REVOKED
    assert judged(crls=[crl(), gone]).state is State.REVOKED


def test_what_others_signed_says_nothing() -> None:
    gone = Revoked(NOW - DAY)
    for data in (crl(by=STRANGER), crl(by=STRANGER, revoked=gone)):
        not_checked("revocation_none", crls=[data])
    for by in (STRANGER, TSA, issue("Responder", issuer=ROOT)):
        not_checked("revocation_none", responses=[answer(by=by)])
        not_checked("revocation_none", responses=[answer(by=by, revoked=gone)])
    not_checked("revocation_none", responses=[answer(by=RESPONDER, with_certificate=False)])
    ended = issue(
        "Responder", issuer=ROOT, purposes=[ExtendedKeyUsageOID.OCSP_SIGNING],
        valid=(NOW - 9 * DAY, NOW - DAY),
    )  # fmt: skip
    not_checked("revocation_none", responses=[answer(by=ended)])


def test_what_is_of_another_certificate_says_nothing() -> None:
    other = issue("TSA", issuer=ROOT)
    not_checked("revocation_none", responses=[answer(about=other)])


def test_a_list_from_before_the_token_that_had_ended_says_nothing_of_it() -> None:
    not_checked("revocation_stale", crls=[crl(made=NOW - 8 * DAY, until=NOW - DAY)])
    not_checked("revocation_stale", responses=[answer(made=NOW - 8 * DAY, until=NOW - DAY)])
    assert judged(crls=[crl(made=NOW - DAY, until=NOW + DAY)]).state is State.GOOD


def scope(**given: object) -> x509.IssuingDistributionPoint:
    fields: dict[str, object] = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False,
        "only_contains_ca_certs": False, "only_some_reasons": None, "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**{**fields, **given})  # type: ignore[arg-type]


def test_a_list_of_part_of_the_certificates_counts_where_this_one_is_of_them() -> None:
    users = scope(only_contains_user_certs=True)
    assert judged(crls=[crl(extra=[users])]).state is State.GOOD
    elsewhere = [x509.UniformResourceIdentifier("http://elsewhere.example/crl")]
    for partial in (
        scope(only_contains_ca_certs=True),
        scope(indirect_crl=True),
        scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})),
        scope(only_contains_attribute_certs=True),
        scope(full_name=elsewhere),
        x509.DeltaCRLIndicator(1),
    ):
        not_checked("revocation_none", crls=[crl(extra=[partial])])


def test_no_byte_of_a_revocation_can_be_flipped_to_good() -> None:
    for data in (crl(revoked=Revoked(NOW - DAY)), answer(revoked=Revoked(NOW - DAY))):
        for at in range(len(data)):
            flipped = bytearray(data)
            flipped[at] ^= 1
            found = judged(crls=[bytes(flipped)], responses=[bytes(flipped)])
            assert found.state is not State.GOOD


def test_where_to_ask_is_taken_from_the_certificate_and_only_for_the_web() -> None:
    urls = ("http://a.example/crl", "ldap://a.example/crl", "file:///etc/passwd")
    point = x509.DistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url) for url in urls],
        relative_name=None, reasons=None, crl_issuer=None,
    )  # fmt: skip
    certificate = issue("TSA", issuer=ROOT, extra=[(x509.CRLDistributionPoints([point]), False)])
    assert sources_of(certificate.der).crls == ("http://a.example/crl",)
    assert sources_of(TSA.der).crls == sources_of(TSA.der).responders == ()
