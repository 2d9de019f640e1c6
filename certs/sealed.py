"""What a seal on a paper is made of: values for those who bring them, and for `pades`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MECHANISMS = ("sha256_ecdsa", "sha256_rsa")
"""ECDSA on P-256 and RSASSA-PKCS1-v1_5, what PDF readers know."""

TOKEN_BYTES = 12 * 1024
"""Room for a token of an authority that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a certificate's verifier needs: its issuers with the root, revocation lists and OCSP
    responses, each DER."""

    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    ocsps: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """`certificate` is the signer's. `sign` signs bytes with its key by `mechanism`, one of
    MECHANISMS, hashing included; what it raises passes through."""

    certificate: bytes
    evidence: Evidence
    mechanism: str
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A TimeStampResp (DER) that was granted and judged, and what proves its certificates, the
    authority's own included."""

    response: bytes
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What readers show: the signer's name, the reason, and the names of the two fields."""

    signer: str
    reason: str
    seal: str
    timestamp: str
