"""Files of people who verify: a certificate in any of its forms, and the document beside it.

What is read is hashed in one pass; a second look at the document is taken only where it is not the
registered one and an innocent reason may be found.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from certs.certificate import MAX_BYTES
from certs.container import Contents, read_container
from certs.errors import CertificateMalformed
from notary.comparing import registered_content
from notary.digest import SM3, Digester
from notary.nearmiss import near_miss
from notary.trust import Trust
from notary.verdict import Document, Facts, Report, Verdict
from notary.verify import verify
from notary.verify_destruction import FIRST_MEMBER as DESTRUCTION
from notary.verify_destruction import verify_destruction

CHUNK: Final = 1 << 20
# How every certificate begins, its names being sorted; other JSON documents do not.
FIRST_MEMBER: Final = b'{"certificate_id":'
UNEXPLAINED: Final = ("digest_mismatch", "same_name_other_size")
"""Codes of a difference for which a better reason may be found."""


class Unreadable(Exception):
    """A file that was named cannot be read. `document` tells which of the two."""

    def __init__(self, message: str, *, document: bool) -> None:
        super().__init__(message)
        self.document = document


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What one genuine certificate registers: enough to tell whose file another one is."""

    sha256: str
    deposit_id: str
    links: Mapping[str, object]

    @classmethod
    def of(cls, facts: Facts) -> Registered | None:
        """None where the digest is withheld."""
        sha256, _ = registered_content(facts.sections)
        if sha256 is None:
            return None
        links = facts.sections.get("links")
        return cls(
            sha256=sha256,
            deposit_id=facts.deposit_id,
            links=links if isinstance(links, dict) else {},
        )

    def relation_to(self, deposit_id: str) -> str:
        """The code for a file that is this one where `deposit_id`'s was expected."""
        if self.links.get("redaction_of") == deposit_id:
            return "redacted_copy"
        if self.links.get("derivative_of") == deposit_id:
            return "derivative_of"
        return "other_exhibit"


def judge(
    file: Path | None,
    certificate: Path,
    trust: Trust | None,
    *,
    related: Sequence[Path] = (),
    algorithms: tuple[str, ...] = (SM3,),
) -> Report:
    """A destruction certificate is judged by itself. `related` are other certificates, whose file
    this one may be; `algorithms` are hashed with beside SHA-256. Raises Unreadable."""
    data, bundled = read_certificate(certificate, algorithms, with_original=file is None)
    if data.startswith(DESTRUCTION):
        if file is not None:
            text = f"{certificate} is about a disposal, not a file: leave {file}"
            raise Unreadable(text, document=True)
        return verify_destruction(data, trust)
    if file is None:
        return verify(data, bundled, trust)
    try:
        with file.open("rb") as source:
            document = read_document(source, file.name, algorithms)
            report = verify(data, document, trust)
            if report.code not in UNEXPLAINED or report.facts is None:
                return report
            if not source.seekable():
                return report
            looked_at = replace(
                document,
                is_certificate=document.size <= MAX_BYTES and _is_certificate(source),
                near=_reason(source, report, document, trust, related),
            )
    except OSError as exc:
        raise Unreadable(f"cannot read {file}: {exc.strerror}", document=True) from exc
    return report if looked_at == document else verify(data, looked_at, trust)


def read_certificate(
    path: Path, algorithms: tuple[str, ...], *, with_original: bool
) -> tuple[bytes, Document | None]:
    """The machine part, empty where there is none to read, and the bundle's own original if there
    is one and it was asked for. Raises Unreadable."""
    try:
        with path.open("rb") as source:
            try:
                contents: Contents = read_container(source, path.name)
            except CertificateMalformed:
                return b"", None
            if contents.original is None or not with_original:
                return contents.certificate, None
            source.seek(contents.original.offset)
            return contents.certificate, _bundled(source, contents.original.size, algorithms)
    except OSError as exc:
        raise Unreadable(f"cannot read {path}: {exc.strerror}", document=False) from exc


def read_document(source: BinaryIO, name: str, algorithms: tuple[str, ...]) -> Document:
    """The open file, hashed. Raises OSError."""
    digester = Digester(algorithms)
    # Not for a small file the buffer of a large one; what is no plain file has no size to go by.
    piece = min(CHUNK, os.fstat(source.fileno()).st_size + 1) if source.seekable() else CHUNK
    while chunk := source.read(piece):
        digester.update(chunk)
    return Document(digests=digester.digests(), size=digester.size, name=name)


def _bundled(source: BinaryIO, size: int, algorithms: tuple[str, ...]) -> Document:
    digester = Digester(algorithms)
    left = size
    while left and (chunk := source.read(min(CHUNK, left))):
        digester.update(chunk)
        left -= len(chunk)
    return Document(digests=digester.digests(), size=digester.size)


def _is_certificate(source: BinaryIO) -> bool:
    source.seek(0)
    head = source.read(1024)
    if not (head.startswith((FIRST_MEMBER, b"PK\x03\x04")) or b"%PDF-" in head):
        return False
    source.seek(0)
    try:
        contents = read_container(source.read(), "document")
    except CertificateMalformed:
        return False
    return contents.original is None and contents.certificate.startswith(FIRST_MEMBER)


def _reason(
    source: BinaryIO,
    report: Report,
    document: Document,
    trust: Trust | None,
    related: Sequence[Path],
) -> str | None:
    assert report.facts is not None
    sha256, size = registered_content(report.facts.sections)
    if sha256 is None or size is None:
        return None
    for path in related:
        data, _ = read_certificate(path, (), with_original=False)
        other = verify(data, document, trust)
        if other.verdict is Verdict.CONFIRMED and other.facts is not None:
            found = Registered.of(other.facts)
            if found is not None:
                return found.relation_to(report.facts.deposit_id)
    return near_miss(source, sha256=sha256, size=size)
