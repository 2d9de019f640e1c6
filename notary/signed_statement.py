"""A Signed Statement (RFC 9943) of an outside issuer, read from bytes that anyone may send. PURE.

    18([ << {1: alg, 4: kid, 15: {1: iss, 2: sub, …}, …} >>, {…}, payload, signature ])

Its entry is the same COSE_Sign1 with the unprotected header set to the empty map, every other byte
as it came. The frame around the four parts must be in its one deterministic form, so that one
signature makes one entry; what is inside the protected header is the issuer's own, as signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cbor2

from notary.cbor import Reader, read_map
from notary.errors import MalformedInput, Rejected

ALG, CRIT, KID, CWT_CLAIMS, X5BAG, X5CHAIN, X5T, X5U = 1, 2, 4, 15, 32, 33, 34, 35
ISS, SUB = 1, 2
UNDERSTOOD = (ALG, KID, CWT_CLAIMS)
"""Labels that a statement may call critical."""
_COSE_SIGN1 = 18
_CERTIFICATES = (X5BAG, X5CHAIN, X5T, X5U)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedStatement:
    """What came, taken apart. `entry` is what becomes a leaf."""

    entry: bytes
    protected: bytes
    payload: bytes
    signature: bytes
    alg: int
    kid: bytes
    issuer: str
    subject: str

    def id(self) -> str:
        """Names the entry, before and after it has an index: SHA-256 in hex."""
        return hashlib.sha256(self.entry).hexdigest()

    def signed_bytes(self) -> bytes:
        """Sig_structure of RFC 9052 section 4.4, with empty external data."""
        return cbor2.dumps(["Signature1", self.protected, b"", self.payload])


def parse_signed_statement(data: bytes) -> SignedStatement:
    """Raises MalformedInput (`signed_statement_malformed`, `payload_missing`), or Rejected
    (`header_refused`) for what can be read and has no meaning here: a critical header parameter
    that is not understood, a certificate in place of a kid."""
    protected, unprotected, payload, signature = _frame(data)
    try:
        header = read_map(protected)
    except MalformedInput as exc:
        raise _malformed(f"its protected header: {exc}") from exc
    if payload is None:
        raise MalformedInput(
            "the payload is detached (nil); it must be in the statement", code="payload_missing"
        )
    for name, part in (("payload", payload), ("signature", signature)):
        if not isinstance(part, bytes):
            raise _malformed(f"the {name} is no byte string")
    _check_critical(header, unprotected)
    alg, kid, (issuer, subject) = _alg(header), _kid(header, unprotected), _claims(header)
    entry = cbor2.dumps(
        cbor2.CBORTag(_COSE_SIGN1, [protected, {}, payload, signature]), canonical=True
    )
    return SignedStatement(
        entry=entry,
        protected=protected,
        payload=payload,
        signature=signature,
        alg=alg,
        kid=kid,
        issuer=issuer,
        subject=subject,
    )


def _frame(data: bytes) -> tuple[bytes, Mapping[Any, Any], Any, Any]:
    reader = Reader(data)
    try:
        reader.tag(_COSE_SIGN1)
        reader.array(4)
        protected, unprotected = reader.item(), reader.item()
        payload, signature = reader.item(), reader.item()
        reader.end()
    except MalformedInput as exc:
        raise _malformed(str(exc)) from exc
    if not isinstance(protected, bytes) or not isinstance(unprotected, dict):
        raise _malformed("need a byte string and a map as its headers")
    return protected, unprotected, payload, signature


def _check_critical(header: Mapping[Any, Any], unprotected: Mapping[Any, Any]) -> None:
    """RFC 9052 sections 3 and 3.1: no label in both headers; `crit` is protected, not empty, and
    names labels that are there and understood."""
    twice = sorted(map(repr, header.keys() & unprotected.keys()))
    if twice:
        raise _malformed(f"labels {', '.join(twice):.60} stand in both headers")
    if CRIT in unprotected:
        raise _malformed("crit (2) must be in the protected header")
    if CRIT not in header:
        return
    critical = header[CRIT]
    if not isinstance(critical, tuple) or not critical:
        raise _malformed("crit (2) is not an array of one or more labels")
    for label in critical:
        if isinstance(label, bool) or not isinstance(label, int | str) or label not in header:
            raise _malformed(f"crit (2) names {label!r:.40}, which is not in the protected header")
        if label not in UNDERSTOOD:
            raise Rejected(
                f"header parameter {label!r:.40} is critical, and not understood here; "
                f"understood are {', '.join(map(str, UNDERSTOOD))}",
                code="header_refused",
            )


def _alg(header: Mapping[Any, Any]) -> int:
    alg = header.get(ALG)
    if isinstance(alg, str):
        raise Rejected(f"alg (1) is {alg!r:.40}, not a number", code="algorithm_refused")
    if isinstance(alg, bool) or not isinstance(alg, int):
        raise _malformed("the protected header has no alg (1)")
    return alg


def _kid(header: Mapping[Any, Any], unprotected: Mapping[Any, Any]) -> bytes:
    certificates = [label for label in _CERTIFICATES if label in header]
    if certificates or (KID not in header and any(label in unprotected for label in _CERTIFICATES)):
        raise Rejected(
            "this service knows its issuers' keys by kid (4) alone: certificates (x5bag, x5chain, "
            "x5t, x5u) are not looked at",
            code="header_refused",
        )
    kid = header.get(KID)
    if not isinstance(kid, bytes):
        raise _malformed("the protected header has no kid (4), a byte string")
    return kid


def _claims(header: Mapping[Any, Any]) -> tuple[str, str]:
    claims = header.get(CWT_CLAIMS)
    if not isinstance(claims, dict):
        raise _malformed("the protected header has no CWT claims (15)")
    issuer, subject = claims.get(ISS), claims.get(SUB)
    if not isinstance(issuer, str) or not isinstance(subject, str) or not issuer or not subject:
        raise _malformed("the CWT claims need iss (1) and sub (2), both texts")
    return issuer, subject


def _malformed(what: str) -> MalformedInput:
    return MalformedInput(
        f"the signed statement cannot be read: {what}", code="signed_statement_malformed"
    )
