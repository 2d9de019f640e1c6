"""Whom a verifier believes: the trust file, which reaches him by another way than the certificate.

    format = "evidence-trust/v1"
    origin = "notary.example.org/log"
    log_keys = ["<C2SP vkey>", …]
    statement_keys = ["<base64 raw Ed25519>", …]
    certificate_keys = ["<base64 raw Ed25519>", …]
    timestamp_roots = ["<PEM certificate>", …]
    witness_policy = '''<lines of a C2SP tlog-policy>'''   # may be left out
    timestamp_quorum = 2                                     # may be left out

PURE.
"""

from __future__ import annotations

import base64
import binascii
import tomllib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from notary.errors import MalformedInput
from notary.tlog.note import VerifierKey, parse_vkey
from notary.tlog.policy import Policy, parse_policy

FORMAT = "evidence-trust/v1"
FILE_NAME = "trust.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """`timestamp_roots` are DER certificates; the other keys are raw Ed25519 or vkeys. With a
    `witness_policy` a checkpoint must also carry the cosignatures of its quorum, and tokens that
    hold by at least `timestamp_quorum` authorities."""

    origin: str
    log_keys: tuple[VerifierKey, ...]
    statement_keys: tuple[bytes, ...]
    certificate_keys: tuple[bytes, ...]
    timestamp_roots: tuple[bytes, ...]
    witness_policy: Policy | None = None
    timestamp_quorum: int = 0

    def encode(self) -> str:
        """The trust file's text, without a witness policy: whom he asks for more than the
        house is the verifier's own to write down."""
        return (
            f'format = "{FORMAT}"\norigin = "{self.origin}"\n'
            + _list("log_keys", [key.encode() for key in self.log_keys])
            + _list("statement_keys", [_b64(key) for key in self.statement_keys])
            + _list("certificate_keys", [_b64(key) for key in self.certificate_keys])
            + "timestamp_roots = [\n"
            + "".join(f"'''\n{_pem(root)}''',\n" for root in self.timestamp_roots)
            + "]\n"
        )


def parse_trust(text: str) -> Trust:
    """Raises MalformedInput (`trust_malformed`) that names the member at fault."""
    try:
        given = tomllib.loads(text)
        if given["format"] != FORMAT:
            raise ValueError(f"format is {given['format']!r}, known is {FORMAT!r}")
        if not isinstance(given["origin"], str):
            raise ValueError(f"origin is {given['origin']!r}, not a text")
        unknown = set(given) - {
            "format", "origin", "log_keys", "statement_keys", "certificate_keys",
            "timestamp_roots", "witness_policy", "timestamp_quorum",
        }  # fmt: skip
        if unknown:
            raise ValueError(f"unknown members {sorted(unknown)}")
        return Trust(
            origin=given["origin"],
            log_keys=tuple(parse_vkey(line) for line in given["log_keys"]),
            statement_keys=tuple(_key(key) for key in given["statement_keys"]),
            certificate_keys=tuple(_key(key) for key in given["certificate_keys"]),
            timestamp_roots=tuple(_der(pem) for pem in given["timestamp_roots"]),
            witness_policy=parse_policy(given["witness_policy"])
            if "witness_policy" in given
            else None,
            timestamp_quorum=_quorum(given.get("timestamp_quorum", 0)),
        )
    except KeyError as exc:
        raise MalformedInput(f"trust file lacks {exc}", code="trust_malformed") from exc
    except (ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise MalformedInput(f"trust file: {exc}", code="trust_malformed") from exc


def _quorum(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 64:
        raise ValueError(f"timestamp_quorum is {value!r:.40}, not 0 to 64")
    return value


def _list(name: str, values: list[str]) -> str:
    return f"{name} = [\n" + "".join(f'  "{value}",\n' for value in values) + "]\n"


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _key(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError(f"{text!r} is not base64") from exc
    if len(raw) != 32:
        raise ValueError(f"key {text!r} has {len(raw)} bytes, not 32")
    return raw


def _pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii")


def _der(pem: str) -> bytes:
    return x509.load_pem_x509_certificate(pem.encode("ascii")).public_bytes(Encoding.DER)
