"""The signed statement, a COSE_Sign1 over a record's hash: the ledger's entry. PURE.

One leaf serves C2SP, RFC 9942 and SCITT (RFC 9943) alike, because its unprotected header is
empty and its CBOR deterministic (RFC 8949 section 4.2.1):

    18([ << {1: -8, 4: kid, 15: {1: iss, 2: sub}, 258: -16, 259: preimage content type} >>,
         {}, SHA-256(record), Ed25519 signature ])

Labels 258 and 259 are the COSE hash envelope's (RFC 9995), 15 the CWT claims' (RFC 9597). `sub`
is a random URN, so that the public log links no entry to another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from notary.errors import BadSignature, MalformedInput
from notary.tlog.key import SigningKey

EVIDENCE_TYPE = "application/evidence-record+json"
CUSTODY_TYPE = "application/custody-event+json"
GENESIS_TYPE = "application/evidence-log+json"
ROTATION_TYPE = "application/key-rotation+json"
POLICY_TYPE = "application/registration-policy+json"

ALG, KID, CWT_CLAIMS, PAYLOAD_HASH_ALG, PREIMAGE_TYPE = 1, 4, 15, 258, 259
EDDSA, SHA_256 = -8, -16
ISS, SUB = 1, 2
_COSE_SIGN1 = 18
_SUB_BYTES = 16
_SUB_PREFIX = "urn:uuid:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A parsed statement. `protected` are the exact header bytes that were signed."""

    protected: bytes
    payload: bytes
    signature: bytes
    kid: bytes
    issuer: str
    subject: str
    preimage_type: str

    def signed_bytes(self) -> bytes:
        """Sig_structure of RFC 9052 section 4.4, with empty external data."""
        return _sig_structure(self.protected, self.payload)


def key_thumbprint(public_key: bytes) -> bytes:
    """RFC 9679 COSE key thumbprint (SHA-256) of a raw Ed25519 public key: our `kid`."""
    return hashlib.sha256(cbor2.dumps({1: 1, -1: 6, -2: public_key}, canonical=True)).digest()


def _sig_structure(protected: bytes, payload: bytes) -> bytes:
    return cbor2.dumps(["Signature1", protected, b"", payload])


class StatementSigner:
    """Makes statements for one issuer and one key. Everything constant is encoded once.

    The only part of the protected header that changes is `sub`, a URN of fixed length, so a
    statement is a concatenation: a batch of a million signs at the speed of Ed25519.
    """

    def __init__(self, issuer: str, key: SigningKey) -> None:
        self.issuer = issuer
        self.public_key = key.public_key().public_bytes_raw()
        self.kid = key_thumbprint(self.public_key)
        self.key = key
        self._templates: dict[str, tuple[bytes, bytes, bytes, bytes]] = {}

    def sign(self, payload: bytes, *, preimage_type: str, randomness: bytes) -> bytes:
        """The COSE_Sign1 bytes over a 32-byte `payload`; `randomness` (16 bytes) makes `sub`."""
        head, tail, signing_head, envelope = self._template(preimage_type)
        h = randomness.hex()
        sub = f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}".encode()
        protected = head + sub + tail
        signature = self.key.sign(signing_head + protected + b"\x40\x58\x20" + payload)
        return envelope + protected + b"\xa0\x58\x20" + payload + b"\x58\x40" + signature

    def _template(self, preimage_type: str) -> tuple[bytes, bytes, bytes, bytes]:
        found = self._templates.get(preimage_type)
        if found is None:
            placeholder = "0" * 36
            header = cbor2.dumps(
                {
                    ALG: EDDSA,
                    KID: self.kid,
                    CWT_CLAIMS: {ISS: self.issuer, SUB: _SUB_PREFIX + placeholder},
                    PAYLOAD_HASH_ALG: SHA_256,
                    PREIMAGE_TYPE: preimage_type,
                },
                canonical=True,
            )
            at = header.index(placeholder.encode())
            length = cbor2.dumps(header)[: -len(header)]
            found = (
                header[:at],
                header[at + len(placeholder) :],
                b"\x84\x6aSignature1" + length,
                b"\xd2\x84" + length,
            )
            self._templates[preimage_type] = found
        return found


def parse_statement(data: bytes) -> Statement:
    """Raises MalformedInput (`statement_malformed`) for anything but our deterministic form."""
    try:
        tag = cbor2.loads(data)
        if not isinstance(tag, cbor2.CBORTag) or tag.tag != _COSE_SIGN1:
            raise ValueError("not a tagged COSE_Sign1")
        protected, unprotected, payload, signature = tag.value
        header = cbor2.loads(protected)
        claims = header[CWT_CLAIMS]
        statement = Statement(
            protected=protected,
            payload=payload,
            signature=signature,
            kid=header[KID],
            issuer=claims[ISS],
            subject=claims[SUB],
            preimage_type=header[PREIMAGE_TYPE],
        )
        binary = (payload, signature, statement.kid)
        texts = (statement.issuer, statement.subject, statement.preimage_type)
        # CBOR has types of its own: a text of 32 characters is not 32 bytes.
        if not (
            all(isinstance(each, bytes) for each in binary)
            and all(isinstance(each, str) for each in texts)
        ):
            raise ValueError("a member has the wrong type")
        expected = {
            ALG: EDDSA,
            KID: statement.kid,
            CWT_CLAIMS: {ISS: statement.issuer, SUB: statement.subject},
            PAYLOAD_HASH_ALG: SHA_256,
            PREIMAGE_TYPE: statement.preimage_type,
        }
        if unprotected != {} or len(payload) != 32 or len(signature) != 64:
            raise ValueError("not a statement over 32 bytes with 64 bytes of signature")
        header_again = cbor2.dumps(cbor2.dumps(expected, canonical=True))
        again = b"\xd2\x84" + header_again + b"\xa0\x58\x20" + payload + b"\x58\x40" + signature
        if again != data:
            raise ValueError("not in deterministic form")
    except (
        cbor2.CBORDecodeError, cbor2.CBOREncodeError, ValueError, TypeError, LookupError,
    ) as exc:  # fmt: skip
        raise MalformedInput(
            f"statement cannot be read: {exc}", code="statement_malformed"
        ) from exc
    return statement


def check_statement(statement: Statement, public_key: bytes) -> None:
    """Raises BadSignature (`statement_invalid`) unless `public_key` (raw Ed25519) signed it."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(
            statement.signature, statement.signed_bytes()
        )
    except (InvalidSignature, ValueError) as exc:
        raise BadSignature(
            f"statement is not signed by key {key_thumbprint(public_key).hex()[:16]}…",
            code="statement_invalid",
        ) from exc
