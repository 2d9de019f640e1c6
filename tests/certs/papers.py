"""Certificates to test with: real keys and signatures, a real record, placeholder ledger bytes.

Statement, checkpoint and timestamp responses are not verified in certs/, so plain bytes stand in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs.canonical import canonical
from certs.certificate import (
    Certificate,
    Issuer,
    Key,
    Keys,
    LogEntry,
    Times,
    Timestamp,
    UnsignedCertificate,
)
from certs.reading import b64, b64url, rfc3339
from certs.seal import sign_certificate

SEALING_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"sealing").digest())
STATEMENT_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"statement").digest())
LOG_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"log").digest())

RECEIVED = datetime(2026, 11, 24, 14, 3, 4, 211987, tzinfo=UTC)
ORIGIN = "log.evidence.example/2026"
ORIGINAL = b"%PDF-1.7 the minutes of a meeting\n" * 3000

Sections = dict[str, object]


def sections(
    *,
    name: str | None = "Minutes of the board meeting, 12 March 2026.pdf",
    original: bytes = ORIGINAL,
    stored: bool = True,
) -> Sections:
    """All sections of an ordinary registration."""
    return {
        "content": {
            "digests": {"sha-256": hashlib.sha256(original).hexdigest()},
            "size": len(original),
            "name": name,
            "media_type": {"declared": "application/pdf", "detected": "application/pdf"},
            "stored": stored,
        },
        "case": {
            "court": "Regional Court of Freiburg, Second Civil Chamber",
            "number": "2 O 118/26",
            "title": "Falk v. Brenner Logistics GmbH",
            "exhibit": "K 7",
        },
        "depositor": {"account": "m.keller", "role": "clerk", "authenticated_by": "password"},
    }


PROVENANCE: Sections = {
    "stated_by_depositor": {
        "source": "E-mail account office@brenner.example, folder Sent",
        "tool": "Aid4Mail",
        "tool_version": "5.2.1",
        "device": "Lenovo ThinkPad T14, serial PF-3KX9Q2",
        "operator": "J. Novak",
        "captured_at": "2026-11-23T09:41:00Z",
        "steps": ["Mailbox opened read-only.", "Message exported as PDF with attachments."],
    }
}


def build_record(shown: Mapping[str, object]) -> tuple[str, tuple[str, ...]]:
    """(record text, disclosures), as RFC 9901 has it, with salts that repeat from run to run."""
    disclosures = []
    for name, value in shown.items():
        salt = b64url(hashlib.sha256(f"salt {name}".encode()).digest())
        disclosures.append(b64url(canonical([salt, name, value])))
    record = {
        "_sd": sorted(b64url(hashlib.sha256(d.encode()).digest()) for d in disclosures),
        "_sd_alg": "sha-256",
        "id": "019ab6f1-3c53-7d02-9c41-5d1f0a7be6c2",
        "received_at": rfc3339(RECEIVED),
        "type": "evidence-record/v1",
    }
    return canonical(record).decode(), tuple(disclosures)


def vkey(origin: str = ORIGIN) -> str:
    """A C2SP verifier key line of LOG_KEY."""
    key = b"\x01" + LOG_KEY.public_key().public_bytes_raw()
    key_id = hashlib.sha256(origin.encode() + b"\n" + key).digest()[:4]
    return f"{origin}+{key_id.hex()}+{b64(key)}"


def draft(
    shown: Mapping[str, object] | None = None, *, origin: str = ORIGIN
) -> UnsignedCertificate:
    """An unsigned certificate over `shown` (default: `sections()`), with one checkpoint token."""
    record, disclosures = build_record(sections() if shown is None else shown)
    root = b64(hashlib.sha256(b"root").digest())
    text = f"{origin}\n20517\n{root}\n"
    signature = b64(bytes.fromhex("0badc0de") + LOG_KEY.sign(text.encode()))
    return UnsignedCertificate(
        certificate_id="5f0c8a52-71f4-4a0e-9d5f-3f1d6c8b2e90",
        version=1,
        issuer=Issuer(
            name="Regional Court of Freiburg, Evidence Office",
            origin=origin,
            software="evidence-notary 0.1.0",
        ),
        issued_for="generic",
        record=record,
        disclosures=disclosures,
        statement=b"\xd2\x84 placeholder of a COSE_Sign1 " + bytes(120),
        log=LogEntry(
            origin=origin,
            index=20488,
            size=20517,
            inclusion_proof=tuple(hashlib.sha256(bytes([at])).digest() for at in range(15)),
            checkpoint=f"{text}\n— {origin} {signature}\n",
        ),
        timestamps=(stamp("checkpoint", "Evidence Notary embedded TSA", self_operated=True),),
        times=Times(
            received_at=RECEIVED,
            registered_at=RECEIVED + timedelta(milliseconds=214),
            timestamped_at=RECEIVED + timedelta(seconds=51),
            issued_at=RECEIVED + timedelta(hours=2, minutes=11),
        ),
        keys=Keys(
            log=(vkey(origin),),
            statement=(Key.of(STATEMENT_KEY.public_key().public_bytes_raw()),),
            certificate=(Key.of(SEALING_KEY.public_key().public_bytes_raw()),),
        ),
    )


def stamp(covers: str, authority: str, *, self_operated: bool = False) -> Timestamp:
    return Timestamp(
        covers=covers,
        authority=authority,
        self_operated=self_operated,
        response=b"placeholder of a TimeStampResp " + authority.encode(),
        chain=(b"leaf of " + authority.encode(), b"root of " + authority.encode()),
    )


def certificate(shown: Mapping[str, object] | None = None) -> Certificate:
    return sign_certificate(draft(shown), SEALING_KEY)


def withholding(*names: str) -> Certificate:
    """An ordinary certificate that keeps the named sections to itself."""
    full = draft()
    kept = tuple(d for d in full.disclosures if _section_name(d) not in names)
    return sign_certificate(replace(full, disclosures=kept), SEALING_KEY)


def _section_name(disclosure: str) -> str:
    raw = base64.urlsafe_b64decode(disclosure + "=" * (-len(disclosure) % 4))
    return raw.decode().split('"')[3]


def nasty() -> Certificate:
    """Everything that has broken a layout: long, right-to-left, unprintable, decomposed."""
    name = (
        "\u202egpj.exe "
        + "Übersicht_der_Kontobewegungen_" * 5
        + "חוזה שכירות "
        + "عقد الإيجار النهائي "
        + "\U0001f4c4\U0001f469\u200d\U0001f52c "
        + "re\u0301sume\u0301 "
        + "证据材料清单" * 8
        + "한국어"
        + ".tar.gz"
    )
    shown = sections(name=name, stored=False)
    content = shown["content"]
    assert isinstance(content, dict)
    content["digests"] |= {
        "sha-512": hashlib.sha512(ORIGINAL).hexdigest(),
        "sm3": hashlib.sha256(b"sm3").hexdigest(),
    }
    content["media_type"] = {
        "declared": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "detected": None,
    }
    shown["case"] = {
        "court": "最高人民法院知识产权法庭" + " International Commercial Chamber of the " * 4,
        "number": "（2026）最高法知民终1234号",
        "title": "Łódź Spółka z ograniczoną odpowiedzialnością przeciwko Ελληνική Εταιρεία",
        "exhibit": "证据-0000000000000000000000000000000000000000007",
    }
    shown["provenance"] = {
        "stated_by_depositor": {
            "source": "https://example.org/" + "a/very/long/path/" * 12 + "?q=1",
            "environment": "#eval(panic()) $x$ *not bold* @ref <label> `raw` \\u{202e} // /* \"'",
            "steps": [f"Step number {at} of the capture." for at in range(1, 7)],
        }
    }
    shown["links"] = {"derivative_of": "019ab6f1-0000-7d02-9c41-5d1f0a7be6c2"}
    base = draft(shown)
    return sign_certificate(
        replace(
            base,
            timestamps=(
                *base.timestamps,
                stamp("checkpoint", "国家授时中心联合信任时间戳服务中心 TSA 03"),
                stamp("original", "DigiCert SHA256 RSA4096 Timestamp Responder 2026 1"),
            ),
            times=replace(base.times, timestamped_at=None),
        ),
        SEALING_KEY,
    )
