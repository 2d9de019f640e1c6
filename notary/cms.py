"""PURE. The one signature of a time-stamp token, as CMS writes it (RFC 5652 §5, RFC 5035).

`read_signer` reads a SignerInfo, `signing_certificate` finds the certificate that it names
inside what it signed, `check_signature` tests it over the content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from notary.certpath import UNREADABLE, AuthorityCertificate, PublicKey, strong_key
from notary.der import NULL, OCTET_STRING, SEQUENCE, SET, Reader, context
from notary.errors import BadTimestamp, Unverifiable

# Hashes by OID; an imprint may be by those with a size, a signature by those of HASHES.
_DIGESTS = {
    "1.2.840.113549.2.2": "md2",
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.8": "sha3_256",
    "2.16.840.1.101.3.4.2.9": "sha3_384",
    "2.16.840.1.101.3.4.2.10": "sha3_512",
    "1.2.156.10197.1.401": "sm3",
}
DIGEST_SIZES = {
    "sha256": 32, "sha384": 48, "sha512": 64, "sha3_256": 32, "sha3_384": 48, "sha3_512": 64,
    "sm3": 32,
}  # fmt: skip
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_WEAK = ("md2", "md5", "sha1", "sha224")
# Signature algorithms by OID: the kind, and the hash it names (None: none of its own).
_RSASSA_PSS = "1.2.840.113549.1.1.10"
_SIGNATURES: dict[str, tuple[str, str | None]] = {
    "1.2.840.113549.1.1.1": ("rsa", None),
    "1.2.840.113549.1.1.4": ("rsa", "md5"),
    "1.2.840.113549.1.1.5": ("rsa", "sha1"),
    "1.2.840.113549.1.1.14": ("rsa", "sha224"),
    "1.2.840.113549.1.1.11": ("rsa", "sha256"),
    "1.2.840.113549.1.1.12": ("rsa", "sha384"),
    "1.2.840.113549.1.1.13": ("rsa", "sha512"),
    _RSASSA_PSS: ("pss", None),
    "1.2.840.10045.4.1": ("ecdsa", "sha1"),
    "1.2.840.10045.4.3.1": ("ecdsa", "sha224"),
    "1.2.840.10045.4.3.2": ("ecdsa", "sha256"),
    "1.2.840.10045.4.3.3": ("ecdsa", "sha384"),
    "1.2.840.10045.4.3.4": ("ecdsa", "sha512"),
    "1.3.101.112": ("ed25519", None),
}
_KEY_ID_TAG = 0x80
_DIRECTORY_NAME = context(4)
_MAX_SALT_BYTES = 512
_MGF1 = "1.2.840.113549.1.1.8"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12"
_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateReference:
    """ESSCertID (RFC 2634 §5.4.1) or ESSCertIDv2 (RFC 5035 §4): names one certificate."""

    version: int
    digest_algorithm: str
    digest: bytes
    issuer: bytes | None
    serial: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerInfo:
    """RFC 5652 §5.3. `issuer` and `serial`, or `key_id`, is the sid; names are DER."""

    issuer: bytes | None
    serial: int | None
    key_id: bytes | None
    digest_algorithm: str
    signature_algorithm: str
    pss_digests: tuple[str, ...]
    pss_salt_bytes: int
    signed_attributes: bytes
    message_digest: bytes
    signing_certificates: tuple[CertificateReference, ...]
    signature: bytes


def read_signer(reader: Reader, *, content_type: str) -> SignerInfo:
    """The SignerInfo that comes next, which must sign a content of type `content_type` (OID).

    Raises MalformedInput, also where RFC 5652 §5.3 and §11 or RFC 5816 §2.2.1 are not kept.
    """
    info = reader.enter(SEQUENCE, "SignerInfo")
    version = info.integer()
    issuer = serial = key_id = None
    if info.next_tag() == SEQUENCE:
        issuer, serial = _read_issuer_and_serial(info.enter(SEQUENCE, "IssuerAndSerialNumber"))
    else:
        key_id = info.take(_KEY_ID_TAG)
    expect(info, "version", version, 1 if key_id is None else 3)
    digest_algorithm = read_digest_algorithm(info)
    signed_attributes = info.take_encoded(context(0))
    attributes = _read_attributes(Reader.inside(signed_attributes, context(0), "signedAttrs"))
    algorithm, pss_digests, pss_salt_bytes = _read_signature_algorithm(info)
    signature = info.take(OCTET_STRING)
    info.take_if(context(1))
    info.end()
    signed_type = _attribute(attributes, _CONTENT_TYPE, info)
    expect(signed_type, "type", signed_type.oid(), content_type)
    signed_type.end()
    signed_digest = _attribute(attributes, _MESSAGE_DIGEST, info)
    message_digest = signed_digest.take(OCTET_STRING)
    signed_digest.end()
    return SignerInfo(
        issuer=issuer,
        serial=serial,
        key_id=key_id,
        digest_algorithm=digest_algorithm,
        signature_algorithm=algorithm,
        pss_digests=pss_digests,
        pss_salt_bytes=pss_salt_bytes,
        # RFC 5652 §5.4: what is signed is the SET OF itself, not its [0] in the SignerInfo.
        signed_attributes=bytes([SET]) + signed_attributes[1:],
        message_digest=message_digest,
        signing_certificates=_read_references(attributes, info),
        signature=signature,
    )


def _read_issuer_and_serial(reader: Reader) -> tuple[bytes, int]:
    issuer, serial = reader.take_encoded(SEQUENCE), reader.integer()
    reader.end()
    return issuer, serial


def _read_attributes(reader: Reader) -> dict[str, bytes]:
    """The values of each attribute, one after another, by its type (RFC 5652 §5.3, §11)."""
    found: dict[str, bytes] = {}
    while reader.next_tag() is not None:
        attribute = reader.enter(SEQUENCE, "signed attribute")
        kind, values = attribute.oid(), attribute.take(SET)
        attribute.end()
        if kind in found:
            raise attribute.malformed(f"{kind} is there twice")
        found[kind] = values
    return found


def _attribute(attributes: dict[str, bytes], kind: str, signer: Reader) -> Reader:
    if kind not in attributes:
        raise signer.malformed(f"no signed attribute {kind}")
    return Reader(attributes[kind], f"signed attribute {kind}")


def _read_algorithm(reader: Reader) -> tuple[str, Reader]:
    """An AlgorithmIdentifier: its OID, and its parameters still to be read."""
    algorithm = reader.enter(SEQUENCE, "AlgorithmIdentifier")
    return algorithm.oid(), algorithm


def _end_without_parameters(algorithm: Reader) -> None:
    """Absent or NULL: RFC 5754 §2 has both read as the same."""
    if algorithm.take_if(NULL) not in (None, b""):
        raise algorithm.malformed("a NULL that is not empty")
    algorithm.end()


def read_digest_algorithm(reader: Reader) -> str:
    """hashlib's name of the AlgorithmIdentifier that comes next; its OID if there is none."""
    oid, parameters = _read_algorithm(reader)
    _end_without_parameters(parameters)
    return _DIGESTS.get(oid, oid)


def _read_signature_algorithm(reader: Reader) -> tuple[str, tuple[str, ...], int]:
    """OID, and for RSASSA-PSS (RFC 4055 §3.1) the hashes it names and the length of its salt."""
    oid, parameters = _read_algorithm(reader)
    if oid != _RSASSA_PSS:
        _end_without_parameters(parameters)
        return oid, (), 0
    pss = parameters.enter(SEQUENCE, "RSASSA-PSS-params")
    parameters.end()
    fields = [pss.take_if(context(number)) for number in range(4)]
    pss.end()
    digest, mask, salt, trailer = (Reader(each or b"", "RSASSA-PSS-params") for each in fields)
    # What is left out is SHA-1, and would be refused: read as such, not guessed at.
    named = "sha1" if fields[0] is None else read_digest_algorithm(digest)
    mask_named = "sha1"
    if fields[1] is not None:
        generator, of = _read_algorithm(mask)
        expect(mask, "mask generation", generator, _MGF1)
        mask_named = read_digest_algorithm(of)
        of.end()
    salt_bytes = 20 if fields[2] is None else salt.integer()
    expect(trailer, "trailer field", 1 if fields[3] is None else trailer.integer(), 1)
    for each in (digest, mask, salt, trailer):
        each.end()
    if not 0 <= salt_bytes <= _MAX_SALT_BYTES:
        raise pss.malformed(f"a salt of {salt_bytes} bytes")
    return oid, (named, mask_named), salt_bytes


def _read_references(
    attributes: dict[str, bytes], signer: Reader
) -> tuple[CertificateReference, ...]:
    """The first certificate each signing-certificate attribute names: it is the signer's own.

    ESSCertID is SHA-1 by definition and is taken: it only says which certificate was meant,
    and finding a second one for a given hash is not what SHA-1 fails at (RFC 5816 §1).
    """
    kinds = [each for each in (_SIGNING_CERTIFICATE, _SIGNING_CERTIFICATE_V2) if each in attributes]
    if not kinds:
        raise signer.malformed("neither ESSCertID nor ESSCertIDv2 among the signed attributes")
    return tuple(_read_reference(_attribute(attributes, kind, signer), kind) for kind in kinds)


def _read_reference(value: Reader, kind: str) -> CertificateReference:
    certificates = value.enter(SEQUENCE, "SigningCertificate").enter(SEQUENCE, "ESSCertIDs")
    value.end()
    named = certificates.enter(SEQUENCE, "ESSCertID")
    version = 2 if kind == _SIGNING_CERTIFICATE_V2 else 1
    digest_algorithm = "sha256" if version == 2 else "sha1"
    if version == 2 and named.next_tag() == SEQUENCE:
        digest_algorithm = read_digest_algorithm(named)
    digest = named.take(OCTET_STRING)
    issuer = serial = None
    if named.next_tag() == SEQUENCE:
        issuer_serial = named.enter(SEQUENCE, "IssuerSerial")
        names, serial = issuer_serial.enter(SEQUENCE, "GeneralNames"), issuer_serial.integer()
        issuer_serial.end()
        issuer = names.take(_DIRECTORY_NAME)
        names.end()
    named.end()
    return CertificateReference(
        version=version,
        digest_algorithm=digest_algorithm,
        digest=digest,
        issuer=issuer,
        serial=serial,
    )


def expect(reader: Reader, what: str, found: object, wanted: object) -> None:
    """Raises MalformedInput unless `found`, read from `reader`, is `wanted`."""
    if found != wanted:
        raise reader.malformed(f"{what} is {found!r}, not {wanted!r}")


def require_strong(what: str, name: str, accepted: Collection[str]) -> None:
    """Raises BadTimestamp `timestamp_weak_algorithm` for MD5, SHA-1 and SHA-224, Unverifiable
    for every other hash that is not one of `accepted`.
    """
    if name in _WEAK:
        raise BadTimestamp(f"{what} with {name!r}", code="timestamp_weak_algorithm")
    if name not in accepted:
        raise Unverifiable(f"{what} with {name!r}, known are {sorted(accepted)}")


def signing_certificate(
    signer: SignerInfo, pool: Sequence[AuthorityCertificate]
) -> AuthorityCertificate:
    """The certificate that the sid names, and that the signed attributes name as well.

    Raises Unverifiable `timestamp_untrusted` when no certificate of `pool` has the name of the
    sid, BadTimestamp `timestamp_signature_invalid` when the attributes mean another one.
    """
    named = [each for each in pool if _is_named_by_sid(each, signer)]
    if not named:
        raise Unverifiable("the signing certificate is not at hand", code="timestamp_untrusted")
    for certificate in named:
        if all(_refers_to(each, certificate) for each in signer.signing_certificates):
            return certificate
    raise _bad_signature(f"the signed attributes name another certificate than {named[0].called}")


def _is_named_by_sid(certificate: AuthorityCertificate, signer: SignerInfo) -> bool:
    if signer.key_id is None:
        return (certificate.serial, certificate.issuer_der) == (signer.serial, signer.issuer)
    try:
        extensions = list(certificate.parsed.extensions)
    except UNREADABLE:
        return False
    return any(
        isinstance(each.value, x509.SubjectKeyIdentifier) and each.value.digest == signer.key_id
        for each in extensions
    )


def _refers_to(reference: CertificateReference, certificate: AuthorityCertificate) -> bool:
    if reference.version == 2:
        require_strong("signing certificate named", reference.digest_algorithm, _HASHES)
    digest = hashlib.new(reference.digest_algorithm, certificate.der)
    return (
        digest.digest() == reference.digest
        and reference.serial in (None, certificate.serial)
        and reference.issuer in (None, certificate.issuer_der)
    )


def check_signature(signer: SignerInfo, *, content: bytes, leaf: AuthorityCertificate) -> None:
    """RFC 5652 §5.4 and §5.6: the attributes hold the content, the signature the attributes.

    Raises BadTimestamp `timestamp_signature_invalid` or `timestamp_weak_algorithm`,
    Unverifiable for algorithms not known here.
    """
    name = signer.digest_algorithm
    kind, named = _SIGNATURES.get(signer.signature_algorithm, (None, None))
    for each in (name, *signer.pss_digests, named or name):
        require_strong("signature", each, _HASHES)
    if kind is None:
        raise Unverifiable(f"signature algorithm {signer.signature_algorithm!r} not known here")
    if {name, named or name, *signer.pss_digests} != {name}:
        raise _bad_signature(f"it names several hashes: {name}, {named}, {signer.pss_digests}")
    if hashlib.new(name, content).digest() != signer.message_digest:
        raise _bad_signature("the message-digest attribute is not that of the content")
    try:
        _verify(strong_key(leaf), kind, signer, _HASHES[name])
    except (InvalidSignature, ValueError) as error:
        raise _bad_signature(f"it is not by the key of {leaf.called}") from error
    except UnsupportedAlgorithm as error:
        raise Unverifiable(f"signature algorithm not known here: {error}") from error


def _bad_signature(why: str) -> BadTimestamp:
    return BadTimestamp(f"signature does not hold, {why}", code="timestamp_signature_invalid")


def _verify(key: PublicKey, kind: str, signer: SignerInfo, digest: hashes.HashAlgorithm) -> None:
    signature, signed = signer.signature, signer.signed_attributes
    if isinstance(key, rsa.RSAPublicKey) and kind == "rsa":
        key.verify(signature, signed, padding.PKCS1v15(), digest)
    elif isinstance(key, rsa.RSAPublicKey) and kind == "pss":
        salted = padding.PSS(mgf=padding.MGF1(digest), salt_length=signer.pss_salt_bytes)
        key.verify(signature, signed, salted, digest)
    elif isinstance(key, ec.EllipticCurvePublicKey) and kind == "ecdsa":
        key.verify(signature, signed, ec.ECDSA(digest))
    elif isinstance(key, ed25519.Ed25519PublicKey) and kind == "ed25519":
        key.verify(signature, signed)
    else:
        raise InvalidSignature(f"{kind} with a {type(key).__name__}")
