"""Revocation data of outside certificates, collected where these say that it is: lists (RFC 5280
§4.2.1.13) or, without one, OCSP (RFC 6960). It travels in what we issue, so that verification needs
no network.

What a certificate names must be had; one that names nothing has none. Kept in memory until the list
says that a newer one is due, an hour at most.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from notary import outside
from notary.clock import Clock
from notary.errors import Unreachable
from notary.revocation import encode_ocsp_request, sources_of

MAX_BYTES = 8 * 1024 * 1024
KEPT_AT_MOST = timedelta(hours=1)
OCSP_REQUEST = "application/ocsp-request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """DER each: lists, and OCSP responses."""

    crls: tuple[bytes, ...]
    ocsps: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    data: bytes
    until: datetime


class Collector:
    """One for a process; threads share it."""

    def __init__(self, *, clock: Clock, timeout_s: float) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._kept: dict[str, _Kept] = {}
        self._turn = threading.Lock()

    def collect(self, chain: tuple[bytes, ...]) -> Revocation:
        """For each certificate of the chain (DER, from the leaf to the root) but the root.

        Raises Unreachable where what a certificate names is not to be had, is not signed by its
        issuer, or is out of date. Says nothing about what the lists say: verifiers read them.
        """
        crls: dict[bytes, None] = {}
        ocsps: dict[bytes, None] = {}
        for certificate, issuer in itertools.pairwise(chain):
            named = sources_of(certificate)
            if named.crls:
                crls[self._list(named.crls[0], issuer)] = None
            elif named.responders:
                ocsps[self._response(named.responders[0], certificate, issuer)] = None
        return Revocation(crls=tuple(crls), ocsps=tuple(ocsps))

    def _list(self, url: str, issuer: bytes) -> bytes:
        def fetch() -> _Kept:
            body = self._ask(url, None)
            try:
                if body.startswith(b"-----"):
                    found = x509.load_pem_x509_crl(body)
                else:
                    found = x509.load_der_x509_crl(body)
            except ValueError as exc:
                raise useless(url, f"is no revocation list: {exc}") from exc
            if not _is_signed(found, x509.load_der_x509_certificate(issuer)):
                raise useless(url, "is not signed by the certificate's issuer")
            return self._dated(url, found.public_bytes(Encoding.DER), found.next_update_utc)

        return self._once(url, fetch)

    def _response(self, url: str, certificate: bytes, issuer: bytes) -> bytes:
        number = x509.load_der_x509_certificate(certificate).serial_number

        def fetch() -> _Kept:
            body = self._ask(url, encode_ocsp_request(certificate, issuer))
            try:
                found = ocsp.load_der_ocsp_response(body)
                if found.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                    raise useless(url, f"answers {found.response_status.name}")
                if found.serial_number != number:
                    raise useless(url, "answers for another certificate")
                return self._dated(url, body, found.next_update_utc)
            except ValueError as exc:
                raise useless(url, f"answers with no OCSP response: {exc}") from exc

        return self._once(f"{url} {number}", fetch)

    def _once(self, name: str, fetch: Callable[[], _Kept]) -> bytes:
        with self._turn:
            kept = self._kept.get(name)
        if kept is None or kept.until <= self._clock.now():
            kept = fetch()
            with self._turn:
                self._kept[name] = kept
        return kept.data

    def _ask(self, url: str, request: bytes | None) -> bytes:
        return ask(url, request, timeout_s=self._timeout_s, max_bytes=MAX_BYTES)

    def _dated(self, url: str, data: bytes, next_update: datetime | None) -> _Kept:
        now = self._clock.now()
        if next_update is not None and next_update <= now:
            raise useless(url, f"was to be renewed at {next_update}")
        latest = now + KEPT_AT_MOST
        return _Kept(data=data, until=latest if next_update is None else min(latest, next_update))


def _is_signed(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    # The only keys that certificates of authorities have: others are not believed.
    return isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) and (
        found.is_signature_valid(key)
    )


def ask(url: str, request: bytes | None, *, timeout_s: float, max_bytes: int) -> bytes:
    """What lies at `url`, or what the OCSP responder there says to `request`; never nothing. Raises
    Unreachable."""
    reply = outside.exchange(
        url,
        who=f"revocation data at {url!r:.200}",
        timeout_s=timeout_s,
        max_bytes=max_bytes,
        data=request,
        headers={} if request is None else {"Content-Type": OCSP_REQUEST},
    )
    if reply.status != HTTPStatus.OK or not reply.body:
        raise useless(url, f"answers {reply.status}, {len(reply.body)} bytes")
    return reply.body


def useless(url: str, why: str) -> Unreachable:
    return Unreachable(f"revocation data: {url!r:.200} {why}", retry_after_s=outside.RETRY_AFTER_S)
