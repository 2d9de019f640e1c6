"""PURE. Whether the certificates of a token were revoked: CRLs (RFC 5280 §5) and OCSP (RFC 6960).

What is judged is kept beside the token, so that no network is needed. A CRL or response counts only
where the issuer of the certificate, as it stands in the token's verified chain, signed it or the
responder it appointed, and where it is of a time that speaks about the token's.

What a revocation means for a token that was made before it is RFC 3161 §4: after *unspecified*,
*affiliationChanged*, *superseded* or *cessationOfOperation* it goes on being valid; after any other
reason, and where none is given, no token of that key is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from notary.certpath import STRONG_HASHES, UNREADABLE, AuthorityCertificate, read_certificate
from notary.der import BIT_STRING, SEQUENCE, Reader
from notary.errors import MalformedInput

MAX_DATA_BYTES = 512 * 1024
"""Of one CRL or response: greater ones are not kept with tokens."""
_HARMLESS = {
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
}
_UNUSABLE: tuple[type[Exception], ...] = (InvalidSignature, *UNREADABLE)
_READ = {x509.CRLNumber.oid, x509.AuthorityKeyIdentifier.oid}


class State(StrEnum):
    GOOD = "good"
    REVOKED = "revoked"
    """And the token does not stand."""
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Of all certificates below the root. `code` says why it was not checked, or `revoked`."""

    state: State
    code: str | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a certificate says that its CRL and its OCSP responder are: http and https alone."""

    crls: tuple[str, ...]
    responders: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What one CRL or response says of one certificate."""

    this_update: datetime
    next_update: datetime | None
    revoked_at: datetime | None
    reason: x509.ReasonFlags | None


def sources_of(certificate: bytes) -> Sources:
    """Raises MalformedInput for what is no certificate."""
    parsed = read_certificate(certificate).parsed
    crls: list[str] = []
    responders: list[str] = []
    try:
        for extension in parsed.extensions:
            if isinstance(extension.value, x509.CRLDistributionPoints):
                names = [name for point in extension.value for name in point.full_name or ()]
                crls += [n.value for n in names if isinstance(n, x509.UniformResourceIdentifier)]
            elif isinstance(extension.value, x509.AuthorityInformationAccess):
                responders += [
                    each.access_location.value
                    for each in extension.value
                    if each.access_method == AuthorityInformationAccessOID.OCSP
                    and isinstance(each.access_location, x509.UniformResourceIdentifier)
                ]
    except UNREADABLE as exc:
        raise MalformedInput(f"its extensions cannot be read: {exc}") from exc
    return Sources(crls=_web(crls), responders=_web(responders))


def _web(urls: Sequence[str]) -> tuple[str, ...]:
    return tuple(url for url in urls if url.lower().startswith(("http://", "https://")))


def encode_ocsp_request(certificate: bytes, issuer: bytes) -> bytes:
    """An OCSPRequest (RFC 6960 §4.1) about one certificate, without nonce: the answer is kept."""
    subject, by = read_certificate(certificate).parsed, read_certificate(issuer).parsed
    # SHA-1 names the issuer here and protects nothing; RFC 5019 asks for it, responders know it.
    builder = ocsp.OCSPRequestBuilder().add_certificate(subject, by, SHA1())  # noqa: S303
    return builder.build().public_bytes(Encoding.DER)


def judge_revocation(
    chain: Sequence[bytes], *, at: datetime, crls: Sequence[bytes], responses: Sequence[bytes]
) -> Standing:
    """Of a verified chain (leaf first, root last, DER) and a token made `at`.

    Never raises for bad data: what cannot be read or is of others says nothing. Where some say good
    and others revoked, it is revoked.
    """
    if not crls and not responses:
        return Standing(state=State.NOT_CHECKED, code="revocation_none", detail="none is embedded")
    unsaid: list[str] = []
    stale: list[str] = []
    for child, issuer in pairwise(chain):
        subject, by = read_certificate(child), read_certificate(issuer)
        said = [each for der in crls if (each := _by_crl(der, subject, by)) is not None]
        said += [each for der in responses if (each := _by_ocsp(der, subject, by)) is not None]
        for each in said:
            if each.revoked_at is not None and _is_fatal(each, at):
                return _revoked(subject, each)
        if not said:
            unsaid.append(subject.called)
        elif not any(_speaks_of(each, at) for each in said):
            stale.append(f"{subject.called}, last said at {max(s.this_update for s in said)}")
    if unsaid or stale:
        code = "revocation_none" if unsaid else "revocation_stale"
        detail = "; ".join([*(f"nothing about {name}" for name in unsaid), *stale])
        return Standing(state=State.NOT_CHECKED, code=code, detail=detail)
    return Standing(state=State.GOOD, code=None, detail=f"{len(chain) - 1} certificates")


def _is_fatal(said: _Said, at: datetime) -> bool:
    """RFC 3161 §4."""
    assert said.revoked_at is not None
    return said.reason not in _HARMLESS or said.revoked_at <= at


def _revoked(subject: AuthorityCertificate, said: _Said) -> Standing:
    reason = "no reason given" if said.reason is None else said.reason.value
    return Standing(
        state=State.REVOKED,
        code="timestamp_revoked",
        detail=f"{subject.called} was revoked at {said.revoked_at}: {reason}",
    )


def _speaks_of(said: _Said, at: datetime) -> bool:
    """It was made after the token, or was in force when the token was made."""
    return said.this_update >= at or (said.next_update is not None and said.next_update >= at)


def _by_crl(
    der: bytes, subject: AuthorityCertificate, issuer: AuthorityCertificate
) -> _Said | None:
    try:
        crl = x509.load_der_x509_crl(der)
        if crl.issuer != issuer.subject or not _may_sign_crls(issuer.parsed):
            return None
        hashed = crl.signature_hash_algorithm
        if hashed is not None and hashed.name not in STRONG_HASHES:
            return None
        if not crl.is_signature_valid(_key_of(issuer)):
            return None
        if not all(_is_understood(each, subject) for each in crl.extensions):
            return None  # of some certificates or reasons alone, or a difference to another one
        entry = crl.get_revoked_certificate_by_serial_number(subject.serial)
        return _Said(
            this_update=crl.last_update_utc,
            next_update=crl.next_update_utc,
            revoked_at=None if entry is None else entry.revocation_date_utc,
            reason=None if entry is None else _reason_of(entry),
        )
    except _UNUSABLE:
        return None


def _is_understood(
    extension: x509.Extension[x509.ExtensionType], subject: AuthorityCertificate
) -> bool:
    """RFC 5280 §5.2.5 and §6.3.3 (b): what an issuing distribution point leaves out is not the
    subject, and where it names its place, the subject names that place as well."""
    scope = extension.value
    if not isinstance(scope, x509.IssuingDistributionPoint):
        return not extension.critical or extension.oid in _READ
    if scope.indirect_crl or scope.only_some_reasons or scope.only_contains_attribute_certs:
        return False
    values = [each.value for each in subject.parsed.extensions]
    is_ca = any(isinstance(each, x509.BasicConstraints) and each.ca for each in values)
    if (scope.only_contains_user_certs and is_ca) or (scope.only_contains_ca_certs and not is_ca):
        return False
    if scope.full_name is None:
        return scope.relative_name is None
    points = [
        each for value in values if isinstance(value, x509.CRLDistributionPoints) for each in value
    ]
    return any(name in scope.full_name for point in points for name in point.full_name or ())


def _reason_of(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            return extension.value.reason
    return None


def _may_sign_crls(issuer: x509.Certificate) -> bool:
    usages = [e.value for e in issuer.extensions if isinstance(e.value, x509.KeyUsage)]
    return all(usage.crl_sign for usage in usages)


def _key_of(
    issuer: AuthorityCertificate,
) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    key = issuer.parsed.public_key()
    if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return key
    raise UnsupportedAlgorithm(f"a key of {type(key).__name__}")


def _by_ocsp(
    der: bytes, subject: AuthorityCertificate, issuer: AuthorityCertificate
) -> _Said | None:
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return None
        if response.serial_number != subject.serial or not _names(response, issuer):
            return None
        if response.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
            return None
        _check_response(response, issuer)
        return _Said(
            this_update=response.this_update_utc,
            next_update=response.next_update_utc,
            revoked_at=response.revocation_time_utc,
            reason=response.revocation_reason,
        )
    except _UNUSABLE:
        return None


def _names(response: ocsp.OCSPResponse, issuer: AuthorityCertificate) -> bool:
    """RFC 6960 §4.1.1: the CertID's hashes are of this issuer's name and key."""
    name = response.hash_algorithm.name
    return (response.issuer_name_hash, response.issuer_key_hash) == (
        hashlib.new(name, issuer.subject.public_bytes()).digest(),
        hashlib.new(name, _key_bits(issuer)).digest(),
    )


def _key_bits(issuer: AuthorityCertificate) -> bytes:
    """The BIT STRING of the subject's public key, without its count of unused bits."""
    der = _key_of(issuer).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = Reader.inside(der, SEQUENCE, "SubjectPublicKeyInfo")
    info.take(SEQUENCE)
    return info.take(BIT_STRING)[1:]


def _check_response(response: ocsp.OCSPResponse, issuer: AuthorityCertificate) -> None:
    """RFC 6960 §4.2.2.2: by the issuer itself, or by a responder that it appointed. Raises
    InvalidSignature."""
    signers: list[AuthorityCertificate] = [issuer]
    for certificate in response.certificates:
        appointed = read_certificate(certificate.public_bytes(Encoding.DER))
        if _is_appointed(appointed, issuer, response.this_update_utc):
            signers.append(appointed)
    for signer in signers:
        try:
            _verify(signer, response)
        except InvalidSignature:
            continue
        return
    raise InvalidSignature("not by the issuer, nor by a responder of its own")


def _is_appointed(
    responder: AuthorityCertificate, issuer: AuthorityCertificate, at: datetime
) -> bool:
    try:
        responder.parsed.verify_directly_issued_by(issuer.parsed)
    except _UNUSABLE:
        return False
    first, last = responder.parsed.not_valid_before_utc, responder.parsed.not_valid_after_utc
    purposes = [
        each.value
        for each in responder.parsed.extensions
        if isinstance(each.value, x509.ExtendedKeyUsage)
    ]
    return first <= at <= last and any(ExtendedKeyUsageOID.OCSP_SIGNING in p for p in purposes)


def _verify(signer: AuthorityCertificate, response: ocsp.OCSPResponse) -> None:
    key, hashed = _key_of(signer), response.signature_hash_algorithm
    signature, signed = response.signature, response.tbs_response_bytes
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, signed)
        return
    _require_strong(hashed)
    assert hashed is not None
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), hashed)
    else:
        key.verify(signature, signed, ec.ECDSA(hashed))


def _require_strong(hashed: HashAlgorithm | None) -> None:
    if hashed is None or hashed.name not in STRONG_HASHES:
        raise InvalidSignature("signed with a weak hash, or an unknown one")
