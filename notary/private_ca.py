"""A certificate authority of the house's own that issues one certificate and one list, and ends.

The root's key is dropped as soon as both are signed: nothing can ever be issued or revoked under
that root again, so a stolen key file is one certificate, never a whole hierarchy. The revocation
list is empty and good for as long as the certificate: verifiers ask for one, and it says what is
so, that nobody revokes here. The cost is a new root at each renewal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

# A common name has 64 (X.520: characters; `cryptography` counts bytes of UTF-8), and the house
# adds words of its own.
MAX_NAME_BYTES = 48
VALID_FOR = timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """DER each. `crl` is the root's list, empty."""

    root: bytes
    certificate: bytes
    crl: bytes

    def encode(self) -> bytes:
        """PEM: the certificate, its root, the list."""
        chain = [x509.load_der_x509_certificate(der) for der in (self.certificate, self.root)]
        parts = [each.public_bytes(Encoding.PEM) for each in chain]
        return b"".join(parts) + x509.load_der_x509_crl(self.crl).public_bytes(Encoding.PEM)


def issue(
    house: str,
    role: str,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    *,
    valid_for: timedelta = VALID_FOR,
    commits: bool = False,
    purposes: Sequence[x509.ObjectIdentifier] = (),
) -> Issued:
    """A new P-256 root and, under it, a certificate for `public_key`, valid from `now`.

    `house` is the house's name, of which the certificates carry what fits into 48 bytes of UTF-8,
    `role` what is added to it. `commits` adds nonRepudiation, which signatures on documents want
    (RFC 5280 §4.2.1.3); `purposes` are the only extended key usages, critical.
    """
    house = house.encode()[:MAX_NAME_BYTES].decode(errors="ignore").rstrip()
    first = now.replace(microsecond=0)
    last = first + valid_for
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{house} {said}")])
        for said in (f"{role} root", role)
    )
    draft = (
        x509.CertificateBuilder()
        .issuer_name(root_name)
        .not_valid_before(first)
        .not_valid_after(last)
    )
    root = _named(draft, root_name, root_key.public_key())
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(_usage(certifies=True), critical=True)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    certificate = _named(draft, name, public_key)
    certificate = certificate.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    certificate = certificate.add_extension(_usage(commits=commits), critical=True)
    if purposes:
        certificate = certificate.add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
    certificate = certificate.add_extension(issuer_id, critical=False)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root_name)
        .last_update(first)
        .next_update(last)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(issuer_id, critical=False)
    )
    return Issued(
        root=root.sign(root_key, hashes.SHA256()).public_bytes(Encoding.DER),
        certificate=certificate.sign(root_key, hashes.SHA256()).public_bytes(Encoding.DER),
        crl=crl.sign(root_key, hashes.SHA256()).public_bytes(Encoding.DER),
    )


def _named(
    draft: x509.CertificateBuilder, subject: x509.Name, public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    key_id = x509.SubjectKeyIdentifier.from_public_key(public)
    draft = draft.subject_name(subject).public_key(public)
    return draft.serial_number(x509.random_serial_number()).add_extension(key_id, critical=False)


def _usage(*, certifies: bool = False, commits: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certifies,
        content_commitment=commits,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certifies,
        crl_sign=certifies,
        encipher_only=False,
        decipher_only=False,
    )
