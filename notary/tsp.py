"""PURE. RFC 3161 time-stamp tokens: read as DER, and judged at the token's own time.

`parse_response` and `parse_token` read; `verify_token` judges. A token is believed only when
its imprint is ours, its signature holds, the signing certificate is named inside what was
signed, is for time-stamping and nothing else, and leads, link by link valid at genTime, to a
root that the verifier configured. Revocation is not consulted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from notary.certpath import (
    UNREADABLE,
    AuthorityCertificate,
    find_path,
    read_certificate,
    require_understood,
    require_valid_at,
)
from notary.cms import (
    DIGEST_SIZES,
    SignerInfo,
    check_signature,
    expect,
    read_digest_algorithm,
    read_signer,
    require_strong,
    signing_certificate,
)
from notary.der import (
    BIT_STRING,
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    UTF8_STRING,
    Reader,
    context,
)
from notary.errors import BadTimestamp, MalformedInput
from notary.remembered import KEPT, remembering

# A token with a full chain is 2 to 8 KiB; whatever is far beyond that is not a token.
MAX_RESPONSE_BYTES = 65_536
MAX_CERTIFICATES = 32
# RFC 3161 §2.4.2 asks for 160 bits to be taken.
MAX_SERIAL_BITS = 160
MAX_ACCURACY_S = 86_400

_GRANTED = (0, 1)
FAILURES = {
    0: "badAlg",
    2: "badRequest",
    5: "badDataFormat",
    14: "timeNotAvailable",
    15: "unacceptedPolicy",
    16: "unacceptedExtension",
    17: "addInfoNotAvailable",
    25: "systemFailure",
}
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_TST_INFO = "1.2.840.113549.1.9.16.1.4"
_GENERALIZED_TIME = re.compile(rb"([0-9]{4})" + rb"([0-9]{2})" * 5 + rb"(?:\.([0-9]*[1-9]))?Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampToken:
    """A TimeStampToken as read. Nothing in it is to be believed before `verify_token`.

    `der` is the ContentInfo, `tst_info` the signed TSTInfo; algorithm names are hashlib's
    where it has one, else the dotted OID. `accuracy_us` is None where none was stated.
    """

    der: bytes
    tst_info: bytes
    gen_time: datetime
    serial: int
    policy: str
    imprint_algorithm: str
    imprint: bytes
    nonce: int | None
    accuracy_us: int | None
    certificates: tuple[bytes, ...]
    signer: SignerInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedTimestamp:
    """What a token proved. `authority` is the signing certificate's subject, `chain` DER."""

    gen_time: datetime
    authority: str
    serial: int
    policy: str
    chain: tuple[bytes, ...]


def parse_response(der: bytes) -> TimestampToken:
    """The token in a TimeStampResp (RFC 3161 §2.4.2).

    Raises BadTimestamp `timestamp_refused` when the status is neither granted nor
    grantedWithMods, and MalformedInput for every other fault of the bytes.
    """
    _require_size(der)
    response = Reader.inside(der, SEQUENCE, "TimeStampResp")
    info = response.enter(SEQUENCE, "PKIStatusInfo")
    status, texts, failure = info.integer(), info.take_if(SEQUENCE), info.take_if(BIT_STRING)
    info.end()
    if status not in _GRANTED:
        reason = f"status {status:#x}, failure {_failures(failure)}, text {_text(texts)!r:.200}"
        raise BadTimestamp(f"the authority gave no token: {reason}", code="timestamp_refused")
    if failure is not None:
        raise info.malformed(f"granted, and yet the failure {_failures(failure)}")
    token = response.take_encoded(SEQUENCE)
    response.end()
    return parse_token(token)


def _failures(bits: bytes | None) -> list[str]:
    """RFC 3161's names of the bits that are set in a PKIFailureInfo (a BIT STRING's contents)."""
    value = (bits or b"\x00")[1:].ljust(4, b"\x00")
    return [name for bit, name in FAILURES.items() if value[bit // 8] & 0x80 >> bit % 8]


def _text(texts: bytes | None) -> str:
    """A PKIFreeText, for a message to people: what cannot be read of it is shown as such."""
    reader, found = Reader(texts or b"", "PKIFreeText"), []
    while reader.next_tag() is not None:
        found.append(reader.take(UTF8_STRING).decode(errors="replace"))
    return " / ".join(found)


def parse_token(der: bytes) -> TimestampToken:
    """A bare TimeStampToken (RFC 3161 §2.4.2, RFC 5652 §5.1). Raises MalformedInput."""
    _require_size(der)
    outer = Reader.inside(der, SEQUENCE, "ContentInfo")
    expect(outer, "contentType", outer.oid(), _SIGNED_DATA)
    wrapped = outer.enter(context(0), "ContentInfo")
    outer.end()
    signed = wrapped.enter(SEQUENCE, "SignedData")
    wrapped.end()
    expect(signed, "version", signed.integer(), 3)
    algorithms = signed.enter(SET, "digestAlgorithms")
    tst_info = _read_content(signed.enter(SEQUENCE, "EncapsulatedContentInfo"))
    certificates = _read_certificates(signed.take_if(context(0)))
    signed.take_if(context(1))
    signers = signed.enter(SET, "signerInfos")
    signed.end()
    signer = read_signer(signers, content_type=_TST_INFO)
    signers.end()
    named = set()
    while algorithms.next_tag() is not None:
        named.add(read_digest_algorithm(algorithms))
    if signer.digest_algorithm not in named:
        raise algorithms.malformed(f"{signer.digest_algorithm!r} is not among {sorted(named)}")
    return _read_tst_info(tst_info, der=der, certificates=certificates, signer=signer)


def _require_size(der: bytes) -> None:
    if len(der) > MAX_RESPONSE_BYTES:
        raise MalformedInput(f"{len(der)} bytes of DER, accepted are {MAX_RESPONSE_BYTES}")


def _read_content(encapsulated: Reader) -> bytes:
    expect(encapsulated, "eContentType", encapsulated.oid(), _TST_INFO)
    wrapped = encapsulated.enter(context(0), "eContent")
    encapsulated.end()
    content = wrapped.take(OCTET_STRING)
    wrapped.end()
    return content


def _read_tst_info(
    content: bytes, *, der: bytes, certificates: tuple[bytes, ...], signer: SignerInfo
) -> TimestampToken:
    info = Reader.inside(content, SEQUENCE, "TSTInfo")
    expect(info, "version", info.integer(), 1)
    policy = info.oid()
    imprint_algorithm, imprint = read_imprint(info)
    serial = info.integer()
    if serial < 0 or serial.bit_length() > MAX_SERIAL_BITS:
        raise info.malformed(f"the serialNumber {serial:#x}")
    gen_time = _read_gen_time(info)
    accuracy_us = _read_accuracy(info)
    info.boolean_if()
    nonce = info.integer_if()
    info.take_if(context(0))
    _read_extensions(info.take_if(context(1)))
    info.end()
    return TimestampToken(
        der=der,
        tst_info=content,
        gen_time=gen_time,
        serial=serial,
        policy=policy,
        imprint_algorithm=imprint_algorithm,
        imprint=imprint,
        nonce=nonce,
        accuracy_us=accuracy_us,
        certificates=certificates,
        signer=signer,
    )


def read_imprint(reader: Reader) -> tuple[str, bytes]:
    """The MessageImprint that comes next: hashlib's name of the hash, or its OID, and the value."""
    imprint = reader.enter(SEQUENCE, "MessageImprint")
    algorithm, value = read_digest_algorithm(imprint), imprint.take(OCTET_STRING)
    imprint.end()
    return algorithm, value


def _read_certificates(contents: bytes | None) -> tuple[bytes, ...]:
    certificates, found = Reader(contents or b"", "CertificateSet"), []
    while certificates.next_tag() is not None:
        found.append(certificates.take_encoded(SEQUENCE))
    if len(found) > MAX_CERTIFICATES:
        raise certificates.malformed(f"{len(found)} certificates, accepted are {MAX_CERTIFICATES}")
    return tuple(found)


def _read_gen_time(info: Reader) -> datetime:
    """RFC 3161 §2.4.2: seconds present, Z, no trailing zeros. Finer than 1 µs is cut off."""
    text = info.take(GENERALIZED_TIME)
    match = _GENERALIZED_TIME.fullmatch(text)
    if match is None:
        raise info.malformed(f"the genTime {text[:40]!r}")
    year, month, day, hour, minute, second = (int(each) for each in match.groups()[:6])
    microsecond = int((match[7] or b"0")[:6].ljust(6, b"0"))
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
    except ValueError as error:
        raise info.malformed(f"the genTime {text[:40]!r}") from error


def _read_accuracy(info: Reader) -> int | None:
    """In microseconds. RFC 3161 wants millis and micros of 1 to 999; a written 0 is let pass."""
    if info.next_tag() != SEQUENCE:
        return None
    accuracy = info.enter(SEQUENCE, "Accuracy")
    seconds, millis, micros = (accuracy.integer_if(tag) or 0 for tag in (INTEGER, 0x80, 0x81))
    accuracy.end()
    if not (0 <= seconds <= MAX_ACCURACY_S and 0 <= millis <= 999 and 0 <= micros <= 999):
        raise accuracy.malformed(f"{seconds:#x} s, {millis:#x} ms, {micros:#x} µs")
    return seconds * 1_000_000 + millis * 1000 + micros


def _read_extensions(contents: bytes | None) -> None:
    """None is known here, so none may be critical (RFC 5280 §4.2, to which RFC 3161 refers)."""
    extensions = Reader(contents or b"", "TSTInfo extensions")
    while extensions.next_tag() is not None:
        extension = extensions.enter(SEQUENCE, "Extension")
        oid, critical = extension.oid(), extension.boolean_if()
        extension.take(OCTET_STRING)
        extension.end()
        if critical:
            raise extension.malformed(f"{oid} is critical, and not known here")


def verify_token(
    token: TimestampToken,
    *,
    imprint: bytes,
    roots: Sequence[bytes],
    intermediates: Sequence[bytes] = (),
    nonce: int | None = None,
    policies: Sequence[str] = (),
    imprint_algorithm: str = "sha256",
) -> VerifiedTimestamp:
    """Judges the token at its genTime (RFC 3161 §2.2 to 2.4, RFC 5816, RFC 5652 §5.4).

    `roots` (the verifier's own) and `intermediates` (anybody's) are DER certificates. A
    `nonce` of None and empty `policies` leave those two untested.

    Raises BadTimestamp, its code one of timestamp_imprint_mismatch, timestamp_nonce_mismatch,
    timestamp_policy_refused, timestamp_weak_algorithm, timestamp_signature_invalid,
    timestamp_wrong_purpose, timestamp_certificate_expired; Unverifiable `timestamp_untrusted`
    when no configured root is reached, Unverifiable without a code for an algorithm not known
    here; MalformedInput for a certificate that cannot be read, the token's own included.
    """
    _check_request(token, imprint, imprint_algorithm, nonce, policies)
    pool = [read_certificate(der) for der in (*token.certificates, *intermediates)]
    leaf = signing_certificate(token.signer, pool)
    check_signature(token.signer, content=token.tst_info, leaf=leaf)
    remembering(_check_purpose, leaf.der)(leaf)
    require_valid_at(leaf, token.gen_time)
    anchors = [read_certificate(der) for der in roots]
    path = find_path(leaf, at=token.gen_time, roots=anchors, pool=pool)
    common_names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return VerifiedTimestamp(
        gen_time=token.gen_time,
        authority=str(common_names[0].value) if common_names else leaf.subject.rfc4514_string(),
        serial=token.serial,
        policy=token.policy,
        chain=tuple(each.der for each in path),
    )


def _check_request(
    token: TimestampToken,
    imprint: bytes,
    imprint_algorithm: str,
    nonce: int | None,
    policies: Sequence[str],
) -> None:
    """That the token answers our question (RFC 3161 §2.2)."""
    require_strong("imprint", token.imprint_algorithm, DIGEST_SIZES)
    ours, theirs = (imprint_algorithm, imprint), (token.imprint_algorithm, token.imprint)
    if ours != theirs or len(imprint) != DIGEST_SIZES[imprint_algorithm]:
        sides = f"{theirs[0]} {theirs[1].hex()}, asked for was {ours[0]} {ours[1].hex()}"
        raise BadTimestamp(f"imprint is {sides}", code="timestamp_imprint_mismatch")
    if nonce is not None and token.nonce != nonce:
        found = "absent" if token.nonce is None else f"{token.nonce:#x}"
        sides = f"{found}, asked for was {nonce:#x}"
        raise BadTimestamp(f"nonce is {sides}", code="timestamp_nonce_mismatch")
    if policies and token.policy not in policies:
        sides = f"{token.policy!r}, accepted are {sorted(policies)}"
        raise BadTimestamp(f"policy is {sides}", code="timestamp_policy_refused")


@lru_cache(maxsize=KEPT)
def _check_purpose(leaf: AuthorityCertificate) -> None:
    """RFC 3161 §2.3: for time-stamping, critical, alone; the key signs, and nothing else."""
    try:
        extensions = leaf.parsed.extensions
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound as error:
        raise _wrong_purpose("it has no extended key usage") from error
    except UNREADABLE as error:
        raise _wrong_purpose(f"its extensions cannot be read: {error}") from error
    if not purposes.critical:
        raise _wrong_purpose("its extended key usage is not critical")
    if list(purposes.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        named = [each.dotted_string for each in purposes.value]
        raise _wrong_purpose(f"its extended key usage is {named}, not time-stamping alone")
    require_understood(extensions)
    for usage in (each.value for each in extensions):
        if isinstance(usage, x509.KeyUsage) and (
            not (usage.digital_signature or usage.content_commitment)
            or usage.key_encipherment
            or usage.data_encipherment
            or usage.key_agreement
            or usage.key_cert_sign
            or usage.crl_sign
        ):
            raise _wrong_purpose("its key usage is not signing alone")


def _wrong_purpose(why: str) -> BadTimestamp:
    return BadTimestamp(
        f"the certificate is not for time-stamping: {why}", code="timestamp_wrong_purpose"
    )
