"""Certificates and time-stamp tokens, right ones and each kind of wrong one.

Everything is put together here from asn1crypto's structures, and nothing from `notary`: what
the house writes and what it reads are then not held together by one mistake made twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
TIME_STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
POLICY = "1.3.6.1.4.1.99999.7"
NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def issue(
    name: str,
    *,
    issuer: Issued | None = None,
    key: PrivateKey | None = None,
    ca: bool = False,
    limits: bool = True,
    path_length: int | None = None,
    signs_certificates: bool | None = None,
    purposes: Sequence[x509.ObjectIdentifier] | None = None,
    purposes_critical: bool = True,
    valid: tuple[datetime, datetime] = (NOW - DAY, NOW + DAY),
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Issued:
    """A certificate; self-signed without an `issuer`; for time-stamping unless told otherwise."""
    key = key or p256()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuing_key = issuer.key if issuer else key
    signs_certificates = ca if signs_certificates is None else signs_certificates
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(signs_certificates=signs_certificates), critical=True)
    )
    if limits:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    purposes = purposes if purposes is not None else () if ca else (TIME_STAMPING,)
    if purposes:
        purpose = x509.ExtendedKeyUsage(purposes)
        builder = builder.add_extension(purpose, critical=purposes_critical)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical=critical)
    by_itself = isinstance(issuing_key, ed25519.Ed25519PrivateKey)
    made = builder.sign(issuing_key, None if by_itself else hashes.SHA256())
    return Issued(certificate=made, key=key)


def signed_with_sha1(issued: Issued, issuer: Issued) -> Issued:
    """The same certificate with the signature of an `issuer` on P-256 over a SHA-1."""
    algorithm = {"algorithm": "sha1_ecdsa"}
    to_sign = asn1_x509.Certificate.load(issued.der)["tbs_certificate"]
    to_sign["signature"] = algorithm
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    signature = issuer.key.sign(to_sign.dump(), ec.ECDSA(hashes.SHA1()))
    parts = {
        "tbs_certificate": to_sign,
        "signature_algorithm": algorithm,
        "signature_value": signature,
    }
    made = x509.load_der_x509_certificate(asn1_x509.Certificate(parts).dump())
    return Issued(certificate=made, key=issued.key)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


class Ess(StrEnum):
    """How the signed attributes name the signing certificate."""

    V1 = "ESSCertID"
    V2 = "ESSCertIDv2"
    BOTH = "both"
    ABSENT = "absent"
    OTHER = "another certificate"
    WEAK = "ESSCertIDv2 with SHA-1"
    OTHER_SERIAL = "right hash, another serial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything about a token that a test may want to have otherwise."""

    signer: Issued
    imprint: bytes
    imprint_algorithm: str = "sha256"
    gen_time: datetime | str = NOW
    serial: int = 1
    nonce: int | None = None
    policy: str = POLICY
    digest: str = "sha256"
    pss: bool = False
    pss_salt_bytes: int = 32
    ess: Ess = Ess.V2
    by_key_id: bool = False
    certificates: tuple[bytes, ...] | None = None
    info: dict[str, Any] = field(default_factory=dict)
    signer_info: dict[str, Any] = field(default_factory=dict)
    signed_data: dict[str, Any] = field(default_factory=dict)
    content_attributes: tuple[str, ...] = ("tst_info",)
    digest_attributes: tuple[bytes, ...] = ()
    extra_attributes: tuple[dict[str, Any], ...] = ()
    spoil_signature: bool = False

    def token(self) -> bytes:
        """The DER of the TimeStampToken."""
        content = self._content()
        named = (self.signer.der,) if self.certificates is None else self.certificates
        version = self.signed_data.get("version", "v3")
        signed = {
            "version": version,
            "digest_algorithms": [{"algorithm": self.digest}],
            "encap_content_info": cms.EncapsulatedContentInfo(
                {"content_type": "tst_info", "content": core.ParsableOctetString(content)}
            ),
            "signer_infos": [self._signer_info(content)],
        }
        if named:
            signed["certificates"] = [asn1_x509.Certificate.load(der) for der in named]
        signed |= self.signed_data
        token = {"content_type": "signed_data", "content": cms.SignedData(signed)}
        return bytes(cms.ContentInfo(token).dump())

    def response(self, *, status: str = "granted") -> bytes:
        """The DER of a TimeStampResp around the token."""
        token = cms.ContentInfo.load(self.token())
        answer = {"status": {"status": status}, "time_stamp_token": token}
        return bytes(tsp.TimeStampResp(answer).dump())

    def _content(self) -> bytes:
        moment: Any = self.gen_time
        info = {
            "version": "v1",
            "policy": self.policy,
            "message_imprint": {
                "hash_algorithm": {"algorithm": self.imprint_algorithm},
                "hashed_message": self.imprint,
            },
            "serial_number": self.serial,
            "gen_time": core.GeneralizedTime(moment),
        }
        if self.nonce is not None:
            info["nonce"] = self.nonce
        return bytes(tsp.TSTInfo(info | self.info).dump())

    def _signer_info(self, content: bytes) -> Any:
        certificate = asn1_x509.Certificate.load(self.signer.der)
        name = {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
        if self.by_key_id:
            key_id = core.OctetString(certificate.key_identifier)
            sid = cms.SignerIdentifier("subject_key_identifier", key_id)
        else:
            sid = cms.SignerIdentifier("issuer_and_serial_number", name)
        digests = self.digest_attributes or (hashlib.new(self.digest, content).digest(),)
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": list(self.content_attributes)},
                {"type": "message_digest", "values": list(digests)},
                *self._references(certificate),
                *self.extra_attributes,
            ]
        )
        signature = self._sign(attributes.dump())
        if self.spoil_signature:
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        info = {
            "version": "v3" if self.by_key_id else "v1",
            "sid": sid,
            "digest_algorithm": {"algorithm": self.digest},
            "signed_attrs": attributes,
            "signature_algorithm": self._algorithm(),
            "signature": signature,
        }
        return cms.SignerInfo(info | self.signer_info)

    def _references(self, certificate: Any) -> list[dict[str, Any]]:
        der = self.signer.der
        v1 = {"cert_hash": hashlib.sha1(der).digest()}
        v2: dict[str, Any] = {"cert_hash": hashlib.sha256(der).digest()}
        issuer = asn1_x509.GeneralName(name="directory_name", value=certificate.issuer)
        if self.ess is Ess.OTHER:
            v2["cert_hash"] = hashlib.sha256(b"another").digest()
        if self.ess is Ess.WEAK:
            v2 = {"hash_algorithm": {"algorithm": "sha1"}, **v1}
        if self.ess is Ess.OTHER_SERIAL:
            v2["issuer_serial"] = {"issuer": [issuer], "serial_number": 4}
        found = []
        if self.ess in (Ess.V1, Ess.BOTH):
            found.append({"type": "signing_certificate", "values": [{"certs": [v1]}]})
        if self.ess not in (Ess.V1, Ess.ABSENT):
            found.append({"type": "signing_certificate_v2", "values": [{"certs": [v2]}]})
        return found

    def _sign(self, signed: bytes) -> bytes:
        key, digest = self.signer.key, _hash(self.digest)
        if isinstance(key, rsa.RSAPrivateKey) and self.pss:
            mask = padding.MGF1(digest)
            return key.sign(signed, padding.PSS(mgf=mask, salt_length=self.pss_salt_bytes), digest)
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(signed, padding.PKCS1v15(), digest)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(signed, ec.ECDSA(digest))
        return key.sign(signed)

    def _algorithm(self) -> dict[str, Any]:
        if isinstance(self.signer.key, rsa.RSAPrivateKey):
            if not self.pss:
                return {"algorithm": f"{self.digest}_rsa"}
            hashed = {"algorithm": self.digest}
            parameters = algos.RSASSAPSSParams(
                {
                    "hash_algorithm": hashed,
                    "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": hashed},
                    "salt_length": self.pss_salt_bytes,
                }
            )
            return {"algorithm": "rsassa_pss", "parameters": parameters}
        if isinstance(self.signer.key, ec.EllipticCurvePrivateKey):
            return {"algorithm": f"{self.digest}_ecdsa"}
        return {"algorithm": "ed25519"}


def _hash(name: str) -> hashes.HashAlgorithm:
    known: dict[str, hashes.HashAlgorithm] = {
        "sha1": hashes.SHA1(),
        "sha256": hashes.SHA256(),
        "sha384": hashes.SHA384(),
        "sha512": hashes.SHA512(),
    }
    return known[name]


def refusal(status: str, *failures: str, text: str = "no") -> bytes:
    """The DER of a TimeStampResp that gives no token."""
    info: dict[str, Any] = {"status": status, "status_string": [text]}
    if failures:
        info["fail_info"] = set(failures)
    return bytes(core.SequenceOf([tsp.PKIStatusInfo(info)], spec=tsp.PKIStatusInfo).dump())
