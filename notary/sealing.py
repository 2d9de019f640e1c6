"""The seal of this house on its papers: which certificate, whose key, and the time of authorities.

A house makes a seal of its own at its first start: `seal.crt` beside the keys, so that a node which
has those has both. NOTARY_SEAL_CHAIN puts an outside certificate in its place. A process reads
them at their first use and when they change. The authorities are those that stamp checkpoints,
asked in their order until one answers.
"""

from __future__ import annotations

import hashlib
import importlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from certs.sealed import TOKEN_BYTES, Evidence, Seal, Stamp, Words
from notary.clock import Clock
from notary.errors import (
    BadTimestamp,
    Corrupt,
    KeyMissing,
    MalformedInput,
    Unreachable,
    Unverifiable,
)
from notary.keyplace import KeyPlace
from notary.private_ca import issue
from notary.revocation_fetch import Collector
from notary.sealkey import find_key, make_key
from notary.tsa import Stamped, TimestampAuthority, request_timestamp
from notary.tsp import parse_response
from storage.durable import replace_file, write_file

SEAL_CHAIN = "seal.crt"
ROLE = "seal"
NONCE_BYTES = 8
_SPARE_BYTES = 1024
_NO_TOKEN = (Unreachable, BadTimestamp, Unverifiable, MalformedInput)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A PEM file of certificates, from the signer's to the root, and lists (DER each)."""

    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealInForce:
    """`where` says where the private half lies, `own` whether the house made the certificate."""

    seal: Seal
    root: x509.Certificate
    certificate: x509.Certificate
    where: str
    own: bool

    def root_pem(self) -> str:
        return self.root.public_bytes(Encoding.PEM).decode("ascii")

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the signer's certificate."""
        return hashlib.sha256(self.seal.certificate).digest()


def parse_chain(pem: bytes, name: str) -> Chain:
    """Raises Corrupt where they are no chain, each issued by the next one, the last by itself."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for certificate, issuer in zip(
            certificates, (*certificates[1:], certificates[-1]), strict=True
        ):
            certificate.verify_directly_issued_by(issuer)
        crls = [x509.load_pem_x509_crl(each) for each in _crl_blocks(pem)]
    except (ValueError, TypeError, InvalidSignature) as exc:
        raise Corrupt(f"certificates {name} are no chain: {exc}", name=name) from exc
    return Chain(
        certificates=tuple(each.public_bytes(Encoding.DER) for each in certificates),
        crls=tuple(each.public_bytes(Encoding.DER) for each in crls),
    )


def _crl_blocks(pem: bytes) -> list[bytes]:
    begin, end = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"
    return [begin + part.partition(end)[0] + end + b"\n" for part in pem.split(begin)[1:]]


def make_seal(home: Path, place: KeyPlace, name: str, now: datetime) -> Path:
    """A new key, and a certificate for it of an authority that ends at once; gives its file.

    The key is durable before the certificate names it, and every certificate stays under a name
    of its own. A crash leaves the old seal or the new one, and at most a key without a
    certificate. Raises what `make_key` does.
    """
    public_key = make_key(home / "keys", place)
    chain = issue(name, ROLE, public_key, now, commits=True)
    number = hashlib.sha256(chain.certificate).hexdigest()[:16]
    kept = home / "keys" / f"seal-{number}.crt"
    write_file(str(kept), chain.encode(), mode=0o600)
    replace_file(str(home / "keys" / SEAL_CHAIN), chain.encode(), mode=0o600)
    return kept


class Sealing:
    """`lists` gives the revocation lists that are at hand for the chain of an authority of our
    own; those of outside ones are collected."""

    def __init__(
        self,
        *,
        home: Path,
        places: Sequence[KeyPlace],
        outside_chain: Path | None,
        authorities: Sequence[TimestampAuthority],
        own_lists: Callable[[], tuple[bytes, ...]],
        collector: Collector,
        clock: Clock,
        randomness: Callable[[int], bytes],
        tolerance: timedelta,
    ) -> None:
        self._home = home
        self._places = tuple(places)
        self._outside_chain = outside_chain
        self._authorities = tuple(authorities)
        self._own_lists = own_lists
        self._collector = collector
        self._clock = clock
        self._randomness = randomness
        self._tolerance = tolerance
        self._turn = threading.Lock()
        self._read: tuple[bytes, SealInForce] | None = None

    def in_force(self) -> SealInForce | None:
        """None for a house that has no seal: founded before there were any, and none made since.

        Raises KeyMissing without its key, Corrupt for a chain that is none, Unreachable.
        """
        path = self._outside_chain or self._home / "keys" / SEAL_CHAIN
        try:
            pem = path.read_bytes()
        except FileNotFoundError:
            return None
        with self._turn:
            if self._read is None or self._read[0] != pem:
                self._read = (pem, self._open(pem, str(path)))
            return self._read[1]

    def _open(self, pem: bytes, name: str) -> SealInForce:
        chain = parse_chain(pem, name)
        certificate = x509.load_der_x509_certificate(chain.certificates[0])
        key = find_key(self._home / "keys", self._places, certificate)
        return SealInForce(
            seal=Seal(
                certificate=chain.certificates[0],
                evidence=Evidence(certificates=chain.certificates[1:], crls=chain.crls),
                mechanism=key.mechanism,
                sign=key.sign,
            ),
            root=x509.load_der_x509_certificate(chain.certificates[-1]),
            certificate=certificate,
            where=key.where,
            own=self._outside_chain is None,
        )

    def seal(self, pdf: bytes, used: SealInForce, *, words: Words, largest_token: int = 0) -> bytes:
        """`pdf` with PAdES B-LTA. `largest_token` is that of tokens like these, in bytes, so that
        room for them is kept; 0 where none is known.

        Raises KeyMissing once the seal's certificate has ended, Unreachable where no authority
        answers as it must, or revocation data is not to be had; SealFailed.
        """
        now = self._clock.now()
        first, last = used.certificate.not_valid_before_utc, used.certificate.not_valid_after_utc
        if not first <= now <= last:
            raise KeyMissing(
                f"the seal certificate is valid from {first} to {last}, it is {now}: "
                + ("make a new one with `notary seal --new`" if used.own else "renew it")
            )
        seal = used.seal if used.own else self._with_revocation(used.seal)
        said: list[str] = []
        # Loaded at its first use: no process that seals nothing waits for it.
        seal_pdf = importlib.import_module("certs.pades").seal_pdf
        for authority in self._authorities:
            try:
                sealed: bytes = seal_pdf(
                    pdf,
                    seal=seal,
                    stamp=partial(self._stamp, authority),
                    words=words,
                    at=now,
                    token_bytes=largest_token + _SPARE_BYTES if largest_token else TOKEN_BYTES,
                )
                return sealed
            except _NO_TOKEN as exc:
                if exc.code == "keys_unreachable":
                    raise
                said.append(f"{authority.name!r}: {exc.code}: {exc}")
        raise Unreachable(
            "no authority timestamps the seal: " + ("; ".join(said) or "this node has none"),
            code="seal_timestamp_unreachable",
        )

    def timestamp(self, imprint: bytes) -> bytes:
        """The TimeStampToken (DER) over a SHA-256 by the first authority that gives one: for what
        is made when it is asked for. Raises Unreachable (`container_timestamp_unreachable`)."""
        said: list[str] = []
        for authority in self._authorities:
            try:
                return parse_response(self._ask(authority, imprint).response).der
            except _NO_TOKEN as exc:
                if exc.code == "keys_unreachable":
                    raise
                said.append(f"{authority.name!r}: {exc.code}: {exc}")
        raise Unreachable(
            "no authority timestamps the container: " + ("; ".join(said) or "this node has none"),
            code="container_timestamp_unreachable",
        )

    def _ask(self, authority: TimestampAuthority, imprint: bytes) -> Stamped:
        return request_timestamp(
            authority,
            imprint=imprint,
            nonce=int.from_bytes(self._randomness(NONCE_BYTES), "big"),
            now=self._clock.now(),
            tolerance=self._tolerance,
        )

    def _with_revocation(self, seal: Seal) -> Seal:
        chain = (seal.certificate, *seal.evidence.certificates)
        found = self._collector.collect(chain)
        return Seal(
            certificate=seal.certificate,
            evidence=Evidence(
                certificates=seal.evidence.certificates,
                crls=(*seal.evidence.crls, *found.crls),
                ocsps=found.ocsps,
            ),
            mechanism=seal.mechanism,
            sign=seal.sign,
        )

    def _stamp(self, authority: TimestampAuthority, imprint: bytes) -> Stamp:
        stamped = self._ask(authority, imprint)
        chain = stamped.verified.chain
        if authority.self_operated:
            evidence = Evidence(certificates=chain, crls=self._own_lists())
        else:
            found = self._collector.collect(chain)
            evidence = Evidence(certificates=chain, crls=found.crls, ocsps=found.ocsps)
        return Stamp(response=stamped.response, evidence=evidence)
