"""An issuer outside the house: makes its own keys and signs its own statements, with cbor2 and
cryptography alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | MLDSA44PrivateKey
ALGORITHMS = {"EdDSA": -8, "ES256": -7, "ES384": -35, "ML-DSA-44": -48}


def new_private_key(alg: str) -> PrivateKey:
    match alg:
        case "EdDSA":
            return Ed25519PrivateKey.generate()
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case _:
            return MLDSA44PrivateKey.generate()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideIssuer:
    iss: str
    alg: str
    private: PrivateKey
    kid: bytes

    @classmethod
    def new(cls, iss: str, alg: str = "ES256", kid: bytes = b"key-1") -> OutsideIssuer:
        return cls(iss=iss, alg=alg, private=new_private_key(alg), kid=kid)

    @property
    def pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def private_pem(self) -> bytes:
        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def header(self, subject: str = "urn:example:thing") -> dict[Any, Any]:
        return {1: ALGORITHMS[self.alg], 4: self.kid, 15: {1: self.iss, 2: subject}}

    def statement(
        self,
        payload: Any = b"it is so",
        *,
        header: dict[Any, Any] | None = None,
        unprotected: dict[Any, Any] | None = None,
    ) -> bytes:
        """Signed as RFC 9052 says, also where the header is nonsense."""
        protected = cbor2.dumps(self.header() if header is None else header)
        signed = cbor2.dumps(["Signature1", protected, b"", payload or b""])
        body = [protected, unprotected or {}, payload, self.sign(signed)]
        return cbor2.dumps(cbor2.CBORTag(18, body))

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            wide = self.alg == "ES384"
            digest = hashes.SHA384() if wide else hashes.SHA256()
            pair = decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            return b"".join(part.to_bytes(48 if wide else 32, "big") for part in pair)
        return self.private.sign(data)


def entry_of(statement: bytes) -> bytes:
    """RFC 9943: the statement with its unprotected header set to the empty map."""
    protected, _, payload, signature = cbor2.loads(statement).value
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))


def id_of(statement: bytes) -> str:
    return hashlib.sha256(entry_of(statement)).hexdigest()
