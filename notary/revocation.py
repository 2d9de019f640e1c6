"""Revocation data of outside certificates, collected where these say that it is: lists (RFC 5280
§4.2.1.13) or, without one, OCSP (RFC 6960). It travels in what we issue, so that verification needs
no network.

What a certificate names must be had; one that names nothing has none. Kept in memory until the list
says that a newer one is due, an hour at most.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from notary import outside
from notary.clock import Clock
from notary.errors import Unreachable

MAX_BYTES = 8 * 1024 * 1024
KEPT_AT_MOST = timedelta(hours=1)
OCSP_QUERY = "application/ocsp-request"


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
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        crls: dict[bytes, None] = {}
        ocsps: dict[bytes, None] = {}
        for certificate, issuer in itertools.pairwise(certificates):
            lists, responders = list(_lists(certificate)), list(_responders(certificate))
            if lists:
                crls[self._list(lists[0], issuer)] = None
            elif responders:
                ocsps[self._response(responders[0], certificate, issuer)] = None
        return Revocation(crls=tuple(crls), ocsps=tuple(ocsps))

    def _list(self, url: str, issuer: x509.Certificate) -> bytes:
        def fetch() -> _Kept:
            body = self._ask(url, None)
            try:
                if body.startswith(b"-----"):
                    found = x509.load_pem_x509_crl(body)
                else:
                    found = x509.load_der_x509_crl(body)
            except ValueError as exc:
                raise _useless(url, f"is no revocation list: {exc}") from exc
            if not _is_signed(found, issuer):
                raise _useless(url, "is not signed by the certificate's issuer")
            return self._dated(url, found.public_bytes(Encoding.DER), found.next_update_utc)

        return self._once(url, fetch)

    def _response(self, url: str, certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
        def fetch() -> _Kept:
            # SHA-1 names the certificate and protects nothing; many responders know no other.
            query = (
                ocsp.OCSPRequestBuilder()
                .add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303
                .build()
            )
            body = self._ask(url, query.public_bytes(Encoding.DER))
            try:
                found = ocsp.load_der_ocsp_response(body)
                if found.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                    raise _useless(url, f"answers {found.response_status.name}")
                if found.serial_number != certificate.serial_number:
                    raise _useless(url, "answers for another certificate")
                return self._dated(url, body, found.next_update_utc)
            except ValueError as exc:
                raise _useless(url, f"answers with no OCSP response: {exc}") from exc

        return self._once(f"{url} {certificate.serial_number}", fetch)

    def _once(self, name: str, fetch: Callable[[], _Kept]) -> bytes:
        with self._turn:
            kept = self._kept.get(name)
        if kept is None or kept.until <= self._clock.now():
            kept = fetch()
            with self._turn:
                self._kept[name] = kept
        return kept.data

    def _ask(self, url: str, query: bytes | None) -> bytes:
        reply = outside.exchange(
            url,
            who=f"revocation data at {url}",
            timeout_s=self._timeout_s,
            max_bytes=MAX_BYTES,
            data=query,
            headers={} if query is None else {"Content-Type": OCSP_QUERY},
        )
        if reply.status != HTTPStatus.OK:
            raise _useless(url, f"has status {reply.status}")
        return reply.body

    def _dated(self, url: str, data: bytes, next_update: datetime | None) -> _Kept:
        now = self._clock.now()
        if next_update is not None and next_update <= now:
            raise _useless(url, f"was to be renewed at {next_update}")
        latest = now + KEPT_AT_MOST
        return _Kept(data=data, until=latest if next_update is None else min(latest, next_update))


def _is_signed(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    # The only keys that certificates of authorities have: others are not believed.
    return isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) and (
        found.is_signature_valid(key)
    )


def _lists(certificate: x509.Certificate) -> Iterator[str]:
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return
    for point in points:
        for name in point.full_name or ():
            if isinstance(name, x509.UniformResourceIdentifier) and _is_http(name.value):
                yield name.value


def _responders(certificate: x509.Certificate) -> Iterator[str]:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except x509.ExtensionNotFound:
        return
    for said in access.value:
        name = said.access_location
        if said.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
            name, x509.UniformResourceIdentifier
        ):
            yield name.value


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _useless(url: str, why: str) -> Unreachable:
    return Unreachable(f"revocation data: {url} {why}", retry_after_s=outside.RETRY_AFTER_S)
