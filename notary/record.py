"""The salted record: what is known of one registration, each section disclosable alone. PURE.

A record (`evidence-record/v1`, or `custody-event/v1` for an event) is RFC 8785 JSON that holds
only digests of its sections. A section travels as a disclosure, as in RFC 9901 (SD-JWT):
base64url of the JSON text `[salt, name, value]`; its digest is base64url(SHA-256(disclosure)).
So a certificate can show the digest and hide the party names; deleting a salt makes a section
unprovable and the ledger still verifies; nobody can test a guess against the public log.

The records are written with `json.dumps(sort_keys, ensure_ascii=False, compact)`, which equals
RFC 8785 for what is in them (ASCII keys, strings, integers, booleans, null): a property test
compares it with an RFC 8785 library.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from certs.canonical import parse_json
from certs.errors import CertificateMalformed
from notary.clock import rfc3339
from notary.errors import BadCertificate, MalformedInput

EVIDENCE = "evidence-record/v1"
CUSTODY = "custody-event/v1"
SALT_BYTES = 32

_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")
_encode = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
).encode


@dataclass(frozen=True, slots=True)
class Record:
    """`text` is the canonical JSON; `disclosures` are the sections' texts, in section order."""

    text: str
    disclosures: tuple[str, ...]

    def digest(self) -> bytes:
        """SHA-256 of the record's UTF-8 bytes: the payload of its statement."""
        return hashlib.sha256(self.text.encode("utf-8")).digest()


def _b64url(raw: bytes) -> str:
    # In one pass what base64.urlsafe_b64encode and rstrip do in three: this runs six times a row.
    return binascii.b2a_base64(raw, newline=False).translate(_URL_ALPHABET, b"=").decode("ascii")


def disclose(name: str, value: object, salt: bytes) -> str:
    """The disclosure text of one section. `salt` is SALT_BYTES random bytes."""
    return _b64url(_encode([_b64url(salt), name, value]).encode("utf-8"))


def disclosure_digest(disclosure: str) -> str:
    """base64url(SHA-256(ASCII of the disclosure)), RFC 9901 section 4.2.3."""
    return _b64url(hashlib.sha256(disclosure.encode("ascii")).digest())


def build_record(
    *,
    type_: str,
    id_: str,
    received_at: datetime,
    sections: Mapping[str, object],
    salts: bytes,
) -> Record:
    """The record over `sections`, in their order. `salts` holds SALT_BYTES for each of them."""
    disclosures = tuple(
        disclose(name, value, salts[i * SALT_BYTES : (i + 1) * SALT_BYTES])
        for i, (name, value) in enumerate(sections.items())
    )
    digests = sorted(disclosure_digest(disclosure) for disclosure in disclosures)
    # Spelled out rather than dumped: keys in canonical order, no value needs escaping.
    listed = '","'.join(digests)
    text = (
        f'{{"_sd":["{listed}"],"_sd_alg":"sha-256","id":"{id_}",'
        f'"received_at":"{rfc3339(received_at)}","type":"{type_}"}}'
    )
    return Record(text, disclosures)


def parse_record(text: str) -> dict[str, object]:
    """The record as a mapping. Raises MalformedInput when it is not exactly canonical."""
    try:
        value = json.loads(text)
        canonical = _encode(value)
    except (ValueError, TypeError, RecursionError) as exc:
        raise MalformedInput("record is not JSON", code="record_malformed") from exc
    if not isinstance(value, dict) or canonical != text:
        raise MalformedInput("record is not canonical JSON (RFC 8785)", code="record_malformed")
    digests = value.get("_sd")
    if (
        value.get("_sd_alg") != "sha-256"
        or value.get("type") not in (EVIDENCE, CUSTODY)
        or not isinstance(value.get("id"), str)
        or not isinstance(value.get("received_at"), str)
        or not isinstance(digests, list)
        or not all(isinstance(d, str) for d in digests)
        or digests != sorted(digests)
        or len(set(digests)) != len(digests)
        or set(value) != {"_sd", "_sd_alg", "id", "received_at", "type"}
    ):
        raise MalformedInput("record lacks the members of its type", code="record_malformed")
    return value


def parse_disclosure(disclosure: str) -> tuple[str, object]:
    """(section name, value). Raises MalformedInput (`disclosure_malformed`)."""
    try:
        raw = base64.urlsafe_b64decode(disclosure + "=" * (-len(disclosure) % 4))
        if _b64url(raw) != disclosure:
            raise ValueError("not canonical base64url")
        # Strict: two verifiers that read a section differently would show two different things.
        triple = parse_json(raw)
    except (ValueError, CertificateMalformed) as exc:
        raise MalformedInput(
            f"disclosure {disclosure[:24]!r} cannot be read", code="disclosure_malformed"
        ) from exc
    match triple:
        case [str(), str(name), value]:
            return name, value
    raise MalformedInput("disclosure is not [salt, name, value]", code="disclosure_malformed")


def check_disclosures(text: str, disclosures: Sequence[str]) -> dict[str, object]:
    """The disclosed sections, each proved to be one that the record commits to.

    Raises BadCertificate (`record_mismatch`) when a disclosure's digest is not in the record or
    two disclosures name the same section, MalformedInput when either cannot be read.
    """
    return disclosed(parse_record(text), disclosures)


def disclosed(record: Mapping[str, object], disclosures: Sequence[str]) -> dict[str, object]:
    """As `check_disclosures`, of a record that was parsed."""
    committed = record["_sd"]
    assert isinstance(committed, list)
    sections: dict[str, object] = {}
    for disclosure in disclosures:
        name, value = parse_disclosure(disclosure)
        digest = disclosure_digest(disclosure)
        if digest not in committed:
            raise BadCertificate(
                f"section {name!r} has digest {digest}, which the record does not list",
                code="record_mismatch",
            )
        if name in sections:
            raise BadCertificate(f"section {name!r} is disclosed twice", code="record_mismatch")
        sections[name] = value
    return sections
