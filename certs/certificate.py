"""The certificate's machine part, `certificate.json`: a frozen value, its parser, its encoder.

The file is exactly RFC 8785 canonical JSON, without a final newline. Everything needed to
verify is in it; whether its keys are to be trusted is for the verifier's trust file to say.
`docs/certificate.schema.json` is the same truth for other languages.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certs.canonical import canonical, parse_canonical
from certs.errors import CertificateMalformed, UnsupportedFormat
from certs.reading import Node, T, b64, b64url, rfc3339
from certs.shared import remember, set_aside

TYPE = "evidence-certificate/v1"
MEDIA_TYPE = "application/vnd.evidence-certificate+json"
FILE_NAME = "certificate.json"
MAX_BYTES = 8 * 1024 * 1024
ALGORITHM = "EdDSA"
COVERS = ("checkpoint", "original")

_FAMILY = "evidence-certificate/"
_PREFIX = f"{TYPE}\n".encode("ascii")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_B64URL = re.compile(r"[A-Za-z0-9_-]+")
_MEMBERS = (
    "type", "certificate_id", "version", "issuer", "issued_for", "record", "disclosures",
    "statement", "log", "timestamps", "times", "keys", "signature",
)  # fmt: skip
_NOT_EMPTY = re.compile(r".+", re.DOTALL)
# COSE_Key {1: 1 (OKP), -1: 6 (Ed25519), -2: x} in deterministic CBOR, as far as x's 32 bytes.
_COSE_OKP_ED25519 = bytes.fromhex("a301012006215820")


def key_thumbprint(public_key: bytes) -> bytes:
    """RFC 9679 COSE key thumbprint (SHA-256) of a raw 32-byte Ed25519 public key: its `kid`."""
    if len(public_key) != 32:
        raise ValueError(f"an Ed25519 public key has 32 bytes, got {len(public_key)}")
    return hashlib.sha256(_COSE_OKP_ED25519 + public_key).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who issued it: a name for people, the log's origin, the software that wrote it."""

    name: str
    origin: str
    software: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An Ed25519 public key under its COSE thumbprint. Another `kid` is refused."""

    kid: bytes
    public_key: bytes

    def __post_init__(self) -> None:
        if key_thumbprint(self.public_key) != self.kid:
            raise ValueError(f"kid {self.kid.hex()} is not the thumbprint of its key")

    @classmethod
    def of(cls, public_key: bytes) -> Key:
        """The key of 32 raw bytes."""
        return cls(kid=key_thumbprint(public_key), public_key=public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The public keys embedded: C2SP vkey lines of the log, statement keys, certificate keys."""

    log: tuple[str, ...]
    statement: tuple[Key, ...]
    certificate: tuple[Key, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """Where the statement is in the ledger: RFC 6962 inclusion proof and signed checkpoint.

    `checkpoint` is the signed note verbatim (C2SP tlog-checkpoint), cosignatures included;
    `witness_policy` the lines of the C2SP tlog-policy that these meet, None without witnesses.
    """

    origin: str
    index: int
    size: int
    inclusion_proof: tuple[bytes, ...]
    checkpoint: str
    witness_policy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What was said about the chain's certificates when it was issued: CRLs (RFC 5280) and OCSP
    responses (RFC 6960), DER."""

    crls: tuple[bytes, ...]
    responses: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """An RFC 3161 TimeStampResp, and the chain that verifies it: leaf first, root last (DER).

    `covers` is "checkpoint" (imprint: SHA-256 of the checkpoint's signed text) or "original"
    (imprint: the original's SHA-256).
    """

    covers: str
    authority: str
    self_operated: bool
    response: bytes
    chain: tuple[bytes, ...]
    revocation: Revocation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRecordOf:
    """An RFC 4998 EvidenceRecord (DER) of the original, by the authority it began with, and the
    certificates (DER) that its tokens need."""

    authority: str
    self_operated: bool
    record: bytes
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """A section that the record has and this certificate keeps to itself: its name, by the
    issuer's word, and the digest that the record lists for it."""

    section: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The four times, aware UTC. `timestamped_at` is None until a token covers the entry, or until
    so many authorities' tokens do as `timestamp_quorum` says, if there is one."""

    received_at: datetime
    registered_at: datetime
    timestamped_at: datetime | None
    issued_at: datetime
    timestamp_quorum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The issuer's Ed25519 signature (64 bytes) by the key with thumbprint `kid`."""

    kid: bytes
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedCertificate:
    """All that a certificate says. `seal.sign_certificate` turns it into a `Certificate`.

    `record` is the record's canonical JSON text; `disclosures` are RFC 9901 disclosure texts.
    `withheld` are the sections of a redacted one that were left out of them.
    """

    certificate_id: str
    version: int
    issuer: Issuer
    issued_for: str
    record: str
    disclosures: tuple[str, ...]
    statement: bytes
    log: LogEntry
    timestamps: tuple[Timestamp, ...]
    times: Times
    keys: Keys
    withheld: tuple[Withheld, ...] = ()
    evidence_records: tuple[EvidenceRecordOf, ...] = ()

    def unsigned_bytes(self) -> bytes:
        """What is signed: the type, a line feed, the canonical JSON without `signature`."""
        return _PREFIX + canonical(_unsigned_members(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate(UnsignedCertificate):
    """A signed certificate. That it was parsed says nothing about its signature."""

    signature: Signature

    def encode(self) -> bytes:
        """The bytes of `certificate.json`; `parse_certificate` of them gives an equal value."""
        return canonical(_unsigned_members(self) | {"signature": signature_members(self.signature)})


def parse_certificate(data: bytes) -> Certificate:
    """The certificate in the bytes of a `certificate.json` of at most MAX_BYTES.

    Raises CertificateMalformed for anything that is not exactly the canonical form of a
    certificate, UnsupportedFormat for another version of it.
    """
    if len(data) > MAX_BYTES:
        raise CertificateMalformed(f"certificate has {len(data)} bytes, the limit is {MAX_BYTES}")
    rest, known = set_aside(data)
    try:
        certificate = _read(rest, known)
    except CertificateMalformed:
        if not known:
            raise
        certificate = _read(data, {})  # which says what is wrong, and where in the whole file
    shared = {
        "keys": certificate.keys,
        "checkpoint": certificate.log.checkpoint,
        "timestamps": certificate.timestamps,
    }
    remember(data, {name: value for name, value in shared.items() if name not in known})
    return certificate


def _read(data: bytes, known: Mapping[str, Any]) -> Certificate:
    """`known` are members that stand in `data` by a stand-in alone."""
    top = Node(parse_canonical(data), "certificate")
    type_ = top.member("type").text()
    if type_ != TYPE and type_.startswith(_FAMILY):
        raise UnsupportedFormat(f"certificate is of type {type_!r}, known is {TYPE!r}")
    part = top.members(*_MEMBERS, maybe=("withheld", "evidence_records"))
    withheld, records = part.get("withheld"), part.get("evidence_records")
    part["type"].one_of((TYPE,))
    stamps, keys = known.get("timestamps"), known.get("keys")
    return Certificate(
        certificate_id=part["certificate_id"].text(_UUID),
        version=part["version"].integer(least=1),
        issuer=_issuer(part["issuer"]),
        issued_for=part["issued_for"].text(_NOT_EMPTY),
        record=part["record"].text(_NOT_EMPTY),
        disclosures=part["disclosures"].each(64, lambda item: item.text(_B64URL)),
        statement=part["statement"].base64(),
        log=_log_entry(part["log"], known.get("checkpoint")),
        timestamps=part["timestamps"].each(64, _timestamp) if stamps is None else stamps,
        times=_times(part["times"]),
        keys=_keys(part["keys"]) if keys is None else keys,
        withheld=() if withheld is None else _some(withheld, _withheld_section),
        evidence_records=() if records is None else _some(records, _evidence_record),
        signature=read_signature(part["signature"]),
    )


def signed_part(certificate: Certificate, data: bytes) -> bytes:
    """`unsigned_bytes` of a certificate that was parsed from `data`, without writing it anew.

    Those bytes are canonical, so the member can only be spelled like this; and it is there once,
    since inside a JSON string no quotation mark stands without a backslash before it.
    """
    member = b'"signature":' + canonical(signature_members(certificate.signature)) + b","
    before, _, after = data.partition(member)
    return _PREFIX + before + after


def _issuer(node: Node) -> Issuer:
    part = node.members("name", "origin", "software")
    return Issuer(**{name: member.text(_NOT_EMPTY) for name, member in part.items()})


def _log_entry(node: Node, checkpoint: str | None) -> LogEntry:
    part = node.members(
        "origin", "index", "size", "inclusion_proof", "checkpoint", maybe=("witness_policy",)
    )
    policy = part.get("witness_policy")
    entry = LogEntry(
        origin=part["origin"].text(_NOT_EMPTY),
        index=part["index"].integer(least=0),
        size=part["size"].integer(least=1),
        inclusion_proof=part["inclusion_proof"].each(64, lambda item: item.base64(exactly=32)),
        checkpoint=part["checkpoint"].text(_NOT_EMPTY) if checkpoint is None else checkpoint,
        witness_policy=None if policy is None else policy.text(_NOT_EMPTY),
    )
    if entry.index >= entry.size:
        raise CertificateMalformed(f"log index {entry.index} is not below size {entry.size}")
    return entry


def _timestamp(node: Node) -> Timestamp:
    part = node.members(
        "covers", "authority", "self_operated", "response", "chain", maybe=("revocation",)
    )
    revocation = part.get("revocation")
    return Timestamp(
        covers=part["covers"].one_of(COVERS),
        authority=part["authority"].text(_NOT_EMPTY),
        self_operated=part["self_operated"].boolean(),
        response=part["response"].base64(),
        chain=part["chain"].each(16, lambda item: item.base64()),
        revocation=None if revocation is None else _revocation(revocation),
    )


def _withheld_section(node: Node) -> Withheld:
    part = node.members("section", "digest")
    return Withheld(
        section=part["section"].text(_NOT_EMPTY), digest=part["digest"].base64url(exactly=32)
    )


def _revocation(node: Node) -> Revocation:
    part = node.members("crls", "ocsp_responses")
    return Revocation(
        crls=part["crls"].each(16, lambda item: item.base64()),
        responses=part["ocsp_responses"].each(16, lambda item: item.base64()),
    )


def _evidence_record(node: Node) -> EvidenceRecordOf:
    part = node.members("authority", "self_operated", "record", "certificates")
    return EvidenceRecordOf(
        authority=part["authority"].text(_NOT_EMPTY),
        self_operated=part["self_operated"].boolean(),
        record=part["record"].base64(),
        certificates=part["certificates"].each(64, lambda item: item.base64()),
    )


def _some(node: Node, read: Callable[[Node], T]) -> tuple[T, ...]:
    """At least one: what has nothing to say is not there, so that a certificate has one form."""
    found = node.each(64, read)
    if not found:
        raise CertificateMalformed(f"{node.where} is empty")
    return found


def _times(node: Node) -> Times:
    part = node.members(
        "received_at", "registered_at", "timestamped_at", "issued_at", maybe=("timestamp_quorum",)
    )
    quorum = part.get("timestamp_quorum")
    stamped = part["timestamped_at"]
    return Times(
        received_at=part["received_at"].time(),
        registered_at=part["registered_at"].time(),
        timestamped_at=None if stamped.value is None else stamped.time(),
        issued_at=part["issued_at"].time(),
        timestamp_quorum=None if quorum is None else quorum.integer(least=2),
    )


def _keys(node: Node) -> Keys:
    part = node.members("log", "statement", "certificate")
    return Keys(
        log=part["log"].each(64, lambda item: item.text(_NOT_EMPTY)),
        statement=part["statement"].each(64, _key),
        certificate=part["certificate"].each(64, _key),
    )


def _key(node: Node) -> Key:
    part = node.members("kid", "alg", "public_key")
    part["alg"].one_of((ALGORITHM,))
    try:
        return Key(
            kid=part["kid"].base64url(exactly=32),
            public_key=part["public_key"].base64(exactly=32),
        )
    except ValueError as exc:
        raise CertificateMalformed(f"{node.where}: {exc}") from exc


def read_signature(node: Node) -> Signature:
    """Raises CertificateMalformed."""
    part = node.members("alg", "kid", "value")
    part["alg"].one_of((ALGORITHM,))
    return Signature(kid=part["kid"].base64url(exactly=32), value=part["value"].base64(exactly=64))


def _unsigned_members(certificate: UnsignedCertificate) -> dict[str, object]:
    log = certificate.log
    times = certificate.times
    return {
        "type": TYPE,
        "certificate_id": certificate.certificate_id,
        "version": certificate.version,
        "issuer": {
            "name": certificate.issuer.name,
            "origin": certificate.issuer.origin,
            "software": certificate.issuer.software,
        },
        "issued_for": certificate.issued_for,
        "record": certificate.record,
        "disclosures": certificate.disclosures,
        "statement": b64(certificate.statement),
        "log": {
            "origin": log.origin,
            "index": log.index,
            "size": log.size,
            "inclusion_proof": [b64(node) for node in log.inclusion_proof],
            "checkpoint": log.checkpoint,
            **({} if log.witness_policy is None else {"witness_policy": log.witness_policy}),
        },
        "timestamps": [_timestamp_members(stamp) for stamp in certificate.timestamps],
        "times": {
            "received_at": rfc3339(times.received_at),
            "registered_at": rfc3339(times.registered_at),
            "timestamped_at": times.timestamped_at and rfc3339(times.timestamped_at),
            "issued_at": rfc3339(times.issued_at),
            **(
                {}
                if times.timestamp_quorum is None
                else {"timestamp_quorum": times.timestamp_quorum}
            ),
        },
        **(
            {"evidence_records": [_record_members(each) for each in certificate.evidence_records]}
            if certificate.evidence_records
            else {}
        ),
        "keys": {
            "log": certificate.keys.log,
            "statement": [_key_members(key) for key in certificate.keys.statement],
            "certificate": [_key_members(key) for key in certificate.keys.certificate],
        },
        **({"withheld": _withheld_members(certificate)} if certificate.withheld else {}),
    }


def _withheld_members(certificate: UnsignedCertificate) -> list[dict[str, object]]:
    return [
        {"section": each.section, "digest": b64url(each.digest)} for each in certificate.withheld
    ]


def signature_members(signature: Signature) -> dict[str, object]:
    return {"alg": ALGORITHM, "kid": b64url(signature.kid), "value": b64(signature.value)}


def _timestamp_members(stamp: Timestamp) -> dict[str, object]:
    return {
        "covers": stamp.covers,
        "authority": stamp.authority,
        "self_operated": stamp.self_operated,
        "response": b64(stamp.response),
        "chain": [b64(der) for der in stamp.chain],
        **(
            {}
            if stamp.revocation is None
            else {
                "revocation": {
                    "crls": [b64(der) for der in stamp.revocation.crls],
                    "ocsp_responses": [b64(der) for der in stamp.revocation.responses],
                }
            }
        ),
    }


def _record_members(given: EvidenceRecordOf) -> dict[str, object]:
    return {
        "authority": given.authority,
        "self_operated": given.self_operated,
        "record": b64(given.record),
        "certificates": [b64(der) for der in given.certificates],
    }


def _key_members(key: Key) -> dict[str, object]:
    return {"kid": b64url(key.kid), "alg": ALGORITHM, "public_key": b64(key.public_key)}
