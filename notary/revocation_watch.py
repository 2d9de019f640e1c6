"""Asks CRLs and OCSP responders about the authorities' certificates behind tokens, and keeps the
answers, so that who verifies needs no network (as RFC 5126 §6.2 does for signatures).

Never in the way of a token or a certificate: it runs from the pulse, and what cannot be reached is
noted and asked for again. What is kept is not believed here; whoever verifies judges it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

from notary.archive_stamps import ArchiveStamps
from notary.clock import Clock
from notary.errors import MalformedInput, Unreachable
from notary.revocation import MAX_DATA_BYTES, encode_ocsp_request, sources_of
from notary.revocation_fetch import ask
from notary.revocations import Revocations
from notary.stamps import Stamps

LOOK_EVERY = timedelta(minutes=1)
TRY_AGAIN = timedelta(minutes=10)
_MAX_ERROR = 1_000


class RevocationWatch:
    def __init__(
        self,
        *,
        revocations: Revocations,
        stamps: Stamps,
        archived: ArchiveStamps,
        clock: Clock,
        every: timedelta,
        timeout_s: float,
    ) -> None:
        """`every` of nothing asks nobody."""
        self._revocations = revocations
        self._stamps = stamps
        self._archived = archived
        self._clock = clock
        self._every = every
        self._timeout_s = timeout_s
        self._look_at = clock.now()

    def is_due(self) -> bool:
        return bool(self._every) and self._clock.now() >= self._look_at

    def run(self) -> int:
        """Asks about each certificate that is due; gives how many answers were kept."""
        now = self._clock.now()
        self._look_at = now + LOOK_EVERY
        kept = 0
        for certificate, issuer in dict.fromkeys(self._links()):
            due_at = self._revocations.due_at(certificate)
            if due_at is None or due_at <= now:
                kept += self._ask(certificate, issuer)
        return kept

    def _links(self) -> Iterator[tuple[bytes, bytes]]:
        """Each certificate that matters, with its issuer's."""
        for chain in (*self._stamps.newest_chains(), *self._archived.chains_of_certificates()):
            yield from pairwise(chain)

    def _ask(self, certificate: bytes, issuer: bytes) -> int:
        errors: list[str] = []
        crl = response = None
        try:
            sources = sources_of(certificate)
            crl = self._first(sources.crls, None, errors)
            request = encode_ocsp_request(certificate, issuer) if sources.responders else None
            response = self._first(sources.responders, request, errors)
        except MalformedInput as exc:
            errors.append(str(exc))
        wait = TRY_AGAIN if errors else self._every
        self._revocations.keep(
            certificate,
            crl=crl,
            response=response,
            due_at=self._clock.now() + wait,
            # A stranger's words, and PostgreSQL keeps no NUL.
            error="; ".join(errors)[:_MAX_ERROR].replace("\0", "?") or None,
        )
        return (crl is not None) + (response is not None)

    def _first(
        self, urls: tuple[str, ...], request: bytes | None, errors: list[str]
    ) -> bytes | None:
        """The body of the first that answers."""
        for url in urls[:4]:
            try:
                return ask(url, request, timeout_s=self._timeout_s, max_bytes=MAX_DATA_BYTES)
            except Unreachable as exc:
                errors.append(str(exc))
        return None
