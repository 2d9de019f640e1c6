"""PURE. From a certificate up to a configured root, every link valid at one given time.

The part of RFC 5280 §6.1 that a time-stamping authority's chain needs: no policies, no name
constraints (a certificate that makes them critical is refused), no revocation. The errors are
those of a timestamp, because nothing else here asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from notary.errors import BadTimestamp, MalformedInput, Unverifiable
from notary.remembered import KEPT, remembering

# Room for every real hierarchy; together they bound the signatures a hostile chain can cost.
MAX_CHAIN = 8
MAX_LINKS_TRIED = 64

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

STRONG_HASHES = {"sha256", "sha384", "sha512"}
_STRONG_CURVES = {"secp256r1", "secp384r1", "secp521r1"}
_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.CERTIFICATE_POLICIES,
}
# What `cryptography` raises on a certificate that it cannot read, at once or later.
UNREADABLE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityCertificate:
    """An X.509 certificate as it was read, its names and dates known to be readable. Equal are
    those of the same bytes."""

    der: bytes
    parsed: x509.Certificate = field(compare=False)
    subject: x509.Name = field(compare=False)
    issuer: x509.Name = field(compare=False)
    serial: int = field(compare=False)
    issuer_der: bytes = field(compare=False)

    @property
    def called(self) -> str:
        """Its subject, for a message."""
        return repr(self.subject.rfc4514_string())


Path = tuple[AuthorityCertificate, ...]


def read_certificate(der: bytes) -> AuthorityCertificate:
    """Raises MalformedInput for bytes that are no X.509 certificate."""
    return remembering(_read, der)(der)


@lru_cache(maxsize=KEPT)
def _read(der: bytes) -> AuthorityCertificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        # `cryptography` reads these only when asked, and would raise then.
        subject, issuer = certificate.subject, certificate.issuer
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except UNREADABLE as error:
        raise MalformedInput(f"not an X.509 certificate: {error}") from error
    return AuthorityCertificate(
        der=der,
        parsed=certificate,
        subject=subject,
        issuer=issuer,
        serial=certificate.serial_number,
        issuer_der=issuer.public_bytes(),
    )


def find_path(
    leaf: AuthorityCertificate,
    *,
    at: datetime,
    roots: Sequence[AuthorityCertificate],
    pool: Sequence[AuthorityCertificate],
) -> Path:
    """The chain `leaf` … root, through certificates of `pool`, with every link good at `at`.

    `leaf` itself was judged by the caller; if it is one of `roots`, it is the whole chain.
    Raises BadTimestamp `timestamp_certificate_expired` or `timestamp_weak_algorithm` when
    that is what broke the only way up, else Unverifiable `timestamp_untrusted`.
    """
    search = _Search(at=at, roots=roots, pool=pool)
    path = search.climb((leaf,))
    if path is not None:
        return path
    for refusal in search.refusals:
        if isinstance(refusal, BadTimestamp):
            raise refusal
    why = f": {search.refusals[0]}" if search.refusals else ""
    raise Unverifiable(
        f"no chain from {leaf.called} to a configured root{why}",
        code="timestamp_untrusted",
    )


def strong_key(certificate: AuthorityCertificate) -> PublicKey:
    """The certificate's public key: RSA of 2048 to 8192 bits, P-256/384/521 or Ed25519.

    Raises BadTimestamp `timestamp_weak_algorithm` for smaller ones, Unverifiable for other
    kinds.
    """
    try:
        key = certificate.parsed.public_key()
    except UNREADABLE as error:
        raise Unverifiable(f"public key of a kind not known here: {error}") from error
    if isinstance(key, rsa.RSAPublicKey):
        # The upper bound is there because the cost of a verification grows with the square.
        if not 2048 <= key.key_size <= 8192:
            raise _weak(f"RSA key of {key.key_size} bits, accepted are 2048 to 8192")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _STRONG_CURVES:
            raise _weak(f"curve {key.curve.name!r}, accepted are {sorted(_STRONG_CURVES)}")
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise Unverifiable(f"public key of a kind not known here: {type(key).__name__}")


def require_valid_at(certificate: AuthorityCertificate, at: datetime) -> None:
    """RFC 5280 §4.1.2.5, both ends included. BadTimestamp `timestamp_certificate_expired`."""
    first, last = certificate.parsed.not_valid_before_utc, certificate.parsed.not_valid_after_utc
    if not first <= at <= last:
        raise BadTimestamp(
            f"certificate of {certificate.called} is valid from {first} "
            f"to {last}, the token is of {at}",
            code="timestamp_certificate_expired",
        )


def require_understood(extensions: x509.Extensions) -> None:
    """RFC 5280 §4.2: Unverifiable `timestamp_untrusted` for a critical extension not read here."""
    for extension in extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise Unverifiable(
                f"critical extension {extension.oid.dotted_string} not known here",
                code="timestamp_untrusted",
            )


def _weak(message: str) -> BadTimestamp:
    return BadTimestamp(message, code="timestamp_weak_algorithm")


class _Search:
    """Depth first, roots before the pool, each refused link remembered with its reason."""

    def __init__(
        self,
        *,
        at: datetime,
        roots: Sequence[AuthorityCertificate],
        pool: Sequence[AuthorityCertificate],
    ) -> None:
        self.at = at
        self.roots = roots
        self.candidates = (*roots, *pool)
        self.links_tried = 0
        self.refusals: list[BadTimestamp | Unverifiable] = []

    def climb(
        self, path: tuple[AuthorityCertificate, ...]
    ) -> tuple[AuthorityCertificate, ...] | None:
        if path[-1] in self.roots:
            return path
        if len(path) == MAX_CHAIN:
            return None
        wanted = path[-1].issuer
        for issuer in self.candidates:
            if issuer.subject != wanted or issuer in path or self.links_tried == MAX_LINKS_TRIED:
                continue
            self.links_tried += 1
            try:
                _check_link(path, issuer, self.at)
            except (BadTimestamp, Unverifiable) as refusal:
                self.refusals.append(refusal)
                continue
            found = self.climb((*path, issuer))
            if found is not None:
                return found
        return None


def _check_link(
    path: tuple[AuthorityCertificate, ...], issuer: AuthorityCertificate, at: datetime
) -> None:
    """That `issuer` may issue, did issue, and at `at` still stood for, the last of `path`."""
    child = path[-1]
    check = remembering(_check_issuer, child.der, issuer.der)
    check(child, issuer, len(path) - 1)
    require_valid_at(issuer, at)


@lru_cache(maxsize=KEPT)
def _check_issuer(child: AuthorityCertificate, issuer: AuthorityCertificate, below: int) -> None:
    """All of a link that no time changes, with `below` intermediates under `issuer`."""
    strong_key(issuer)
    try:
        hash_algorithm = child.parsed.signature_hash_algorithm
        if hash_algorithm is None:
            named = child.parsed.signature_algorithm_oid == SignatureAlgorithmOID.ED25519
        else:
            named = hash_algorithm.name in STRONG_HASHES
        if not named:
            raise _weak(
                f"certificate signed with {child.parsed.signature_algorithm_oid.dotted_string}"
            )
        child.parsed.verify_directly_issued_by(issuer.parsed)
        may_issue = _may_issue(issuer, intermediates_below=below)
    except InvalidSignature as error:
        raise _broken(child, issuer, "the signature is not by it") from error
    except UNREADABLE as error:
        raise _broken(child, issuer, str(error)) from error
    if not may_issue:
        raise _broken(child, issuer, "it is no certificate authority for a chain like this")


def _broken(child: AuthorityCertificate, issuer: AuthorityCertificate, why: str) -> Unverifiable:
    link = f"{child.called} by {issuer.called}"
    return Unverifiable(f"link {link} does not hold, {why}", code="timestamp_untrusted")


def _may_issue(issuer: AuthorityCertificate, *, intermediates_below: int) -> bool:
    """RFC 5280 §6.1.4 (k) to (o): cA, pathLenConstraint, keyCertSign, critical ones."""
    limits: x509.BasicConstraints | None = None
    signs_certificates = True
    require_understood(issuer.parsed.extensions)
    for extension in issuer.parsed.extensions:
        if isinstance(extension.value, x509.BasicConstraints):
            limits = extension.value
        elif isinstance(extension.value, x509.KeyUsage):
            signs_certificates = extension.value.key_cert_sign
    if limits is None or not limits.ca or not signs_certificates:
        return False
    return limits.path_length is None or intermediates_below <= limits.path_length
