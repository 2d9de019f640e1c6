"""A certificate with fewer sections shown: what is left out stays fixed by the record's digests.

It keeps its number, version and times: it is the same certificate, showing less. Only its
signature is another one, and it says by name what it withholds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import fields

from certs.canonical import parse_json
from certs.certificate import Certificate, Key, Keys, UnsignedCertificate, Withheld
from certs.errors import CertificateMalformed, FactRefused
from certs.reading import Node


def redact(certificate: Certificate, shown: Collection[str], *, key: Key) -> UnsignedCertificate:
    """`certificate` with only the sections named in `shown`, to be signed by `key`.

    Raises FactRefused for a section that it does not show itself, CertificateMalformed for a
    disclosure that cannot be read.
    """
    sections = {_name(disclosure): disclosure for disclosure in certificate.disclosures}
    unknown = sorted(set(shown) - sections.keys())
    if unknown:
        raise FactRefused(
            f"the certificate has no section {unknown[0]!r:.40}; it has {sorted(sections)}"
        )
    hidden = tuple(
        Withheld(section=name, digest=hashlib.sha256(text.encode("ascii")).digest())
        for name, text in sections.items()
        if name not in shown
    )
    said = {field.name: getattr(certificate, field.name) for field in fields(UnsignedCertificate)}
    keys = Keys(log=certificate.keys.log, statement=certificate.keys.statement, certificate=(key,))
    return UnsignedCertificate(
        **said
        | {
            "disclosures": tuple(text for name, text in sections.items() if name in shown),
            "withheld": (*certificate.withheld, *hidden),
            "keys": keys,
        }
    )


def _name(disclosure: str) -> str:
    triple = Node(parse_json(Node(disclosure, "disclosure").base64url()), "disclosure")
    parts = triple.each(3, lambda item: item)
    if len(parts) != 3:
        raise CertificateMalformed("disclosure is not [salt, name, value]")
    return parts[1].text()
