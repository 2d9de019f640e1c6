"""ASiC containers (ETSI EN 319 162-1) with time assertions, for whoever has a validator of the EU.

`bundle.asice` is ASiC-E (clause 4.4): what bundle.zip has, a manifest with the digest of each file,
an RFC 3161 token over the manifest, and where there are evidence records a manifest for each.
`bundle.asics` is ASiC-S (clause 4.3): the original and its own token, nothing else.

A manifest names only what is in the container: a validator refuses one that names an absent file.
So where only digests were deposited the original's place stays free, and its evidence records are
files among the others; certificate.json, which the manifest names, has the original's digest.

The original is read twice: what stands before its bytes has their CRC-32.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import quote

from certs.attached import RECEIPT_NAME, STATEMENT_NAME
from certs.bundle import (
    MIMETYPE_NAME,
    ORIGINAL_FOLDER,
    PAGE_NAME,
    README_NAME,
    RECORD_ENDING,
    SIMPLE_TYPE,
    VERIFIER_NAME,
    Signed,
    Source,
    checked,
    original_path,
    safe_name,
    small_members,
)
from certs.certificate import MEDIA_TYPE, Certificate
from certs.sections import Content, read_sections
from certs.wording import Lang
from certs.zipping import ZipWriter

EXTENDED_TYPE = "application/vnd.etsi.asic-e+zip"
META = "META-INF"
MANIFEST_NAME = f"{META}/ASiCManifest001.xml"
MANIFEST_TOKEN_NAME = f"{META}/timestamp001.tst"
ORIGINAL_TOKEN_NAME = f"{META}/timestamp.tst"

TIMESTAMP_TYPE = "application/vnd.etsi.timestamp-token"
"""Of a TimeStampToken (RFC 3161) without the response around it, as in every `.tst`."""

_NAMESPACE = "http://uri.etsi.org/02918/v1.2.1#"
_SIGNATURES = "http://www.w3.org/2000/09/xmldsig#"
_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
_TYPES = {
    ".cose": "application/cose",
    RECORD_ENDING: "application/evidencerecord",
    ".html": "text/html",
    ".json": MEDIA_TYPE,
    ".pdf": "application/pdf",
    ".pem": "application/x-pem-file",
    ".toml": "application/toml",
    ".tsr": "application/timestamp-reply",
    ".txt": "text/plain",
    ".xml": "application/xml",
}
"""Of files that are ours; what the original is, is for the certificate to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extended:
    """An ASiC-E container that lacks only the token over `manifest`, and the original's bytes."""

    certificate: Certificate
    has_original: bool
    members: tuple[tuple[str, bytes], ...]
    manifest: bytes


def prepare_extended(
    certificate: Certificate,
    *,
    has_original: bool,
    pdfs: Mapping[Lang, bytes],
    proof: bytes,
    receipt: bytes,
    trust: str,
    verifier: bytes,
    page: bytes,
) -> Extended:
    """Takes what `certs.bundle.write_bundle` takes, and the COSE `receipt`.

    Raises ValueError for a certificate without the content section, to which no file belongs.
    """
    content = _content(certificate)
    named = _record_names(certificate) if has_original else ()
    signed = Signed(
        proofs={STATEMENT_NAME: certificate.statement, RECEIPT_NAME: receipt},
        manifest=MANIFEST_NAME,
        token=MANIFEST_TOKEN_NAME,
        listed=(
            (MANIFEST_NAME, "manifest"),
            (MANIFEST_TOKEN_NAME, "manifest_token"),
            *((name, "record_manifest") for name, _ in named),
            *((name, "record") for _, name in named),
        ),
    )
    verifiers = {VERIFIER_NAME: verifier, PAGE_NAME: page}
    members = list(small_members(certificate, has_original, pdfs, proof, trust, verifiers, signed))
    original = (original_path(content), content.sha256)
    for (manifest_name, record_name), record in zip(
        named, certificate.evidence_records, strict=False
    ):
        members.append((manifest_name, _manifest(record_name, None, [original])))
        members.append((record_name, record.record))
    digests = [(name, hashlib.sha256(data).hexdigest()) for name, data in members]
    if has_original:
        digests.append(original)
    return Extended(
        certificate=certificate,
        has_original=has_original,
        members=tuple(members),
        manifest=_manifest(MANIFEST_TOKEN_NAME, TIMESTAMP_TYPE, digests),
    )


def write_extended(
    extended: Extended, *, token: bytes, original: Callable[[], Source] | None
) -> Iterator[bytes]:
    """The container's bytes in chunks, to be sent as they come. `token` is a TimeStampToken (DER)
    over the manifest's SHA-256; `original` opens the file, and is called once at once and once
    later.

    Raises what `original` does; OriginalDiffers as `certs.bundle.write_bundle` does. Raises
    ValueError where there is an original against what the manifest says, or none.
    """
    if extended.has_original != (original is not None):
        raise ValueError("the manifest does not fit: it was made with an original, or without one")
    content = _content(extended.certificate)
    writer = ZipWriter(extended.certificate.times.issued_at)
    begun = writer.member(MIMETYPE_NAME, EXTENDED_TYPE.encode("ascii"))
    begun += b"".join(writer.member(name, data) for name, data in extended.members)
    begun += writer.member(MANIFEST_NAME, extended.manifest)
    begun += writer.member(MANIFEST_TOKEN_NAME, token)
    if original is None:
        return iter((begun, writer.end()))
    return _with_original(writer, begun, original_path(content), content, original(), original, b"")


def write_simple(
    certificate: Certificate, *, token: bytes, original: Callable[[], Source]
) -> Iterator[bytes]:
    """ASiC-S: the original of `certificate` and `token`, a TimeStampToken (DER) over its SHA-256.

    Takes and raises what `write_extended` does, and `prepare_extended`.
    """
    content = _content(certificate)
    name = safe_name(content.name)
    if name.lower() in (MIMETYPE_NAME, META.lower()):
        name = f"_{name}"
    writer = ZipWriter(certificate.times.issued_at)
    begun = writer.member(MIMETYPE_NAME, SIMPLE_TYPE.encode("ascii"))
    return _with_original(writer, begun, name, content, original(), original, token)


def _with_original(
    writer: ZipWriter,
    begun: bytes,
    name: str,
    content: Content,
    first: Source,
    again: Callable[[], Source],
    token: bytes,
) -> Iterator[bytes]:
    crc = 0
    with closing(first):
        yield begun
        for chunk in checked(first, content):
            crc = zlib.crc32(chunk, crc)
    yield writer.header(name, size=content.size, crc=crc)
    with closing(again()) as second:
        yield from checked(second, content)
    if token:
        yield writer.member(ORIGINAL_TOKEN_NAME, token)
    yield writer.end()


def _content(certificate: Certificate) -> Content:
    content = read_sections(certificate).content
    if content is None:
        raise ValueError(f"certificate {certificate.certificate_id} says nothing of any content")
    return content


def _record_names(certificate: Certificate) -> tuple[tuple[str, str], ...]:
    """For each evidence record its manifest's name and its own (clause 4.4.3.2, items 4 and 5)."""
    return tuple(
        (f"{META}/ASiCEvidenceRecordManifest{n:03}.xml", f"{META}/evidencerecord{n:03}.ers")
        for n in range(1, len(certificate.evidence_records) + 1)
    )


def _manifest(by: str, media_type: str | None, digests: list[tuple[str, str]]) -> bytes:
    """An ASiCManifest (annex A.4): `by` covers it, `digests` are SHA-256 in hex. Canonical XML 1.0
    of ASCII alone: what is no unreserved letter of a URI (RFC 3986) stands there in percents."""
    lines = [
        f'<asic:ASiCManifest xmlns:asic="{_NAMESPACE}" xmlns:ds="{_SIGNATURES}">',
        f"<asic:SigReference{_attributes(MimeType=media_type, URI=by)}></asic:SigReference>",
    ]
    for name, digest in digests:
        _, ending = os.path.splitext(name)
        ours = not name.startswith(ORIGINAL_FOLDER)
        attributes = _attributes(
            MimeType=_TYPES.get(ending) if ours else None,
            Rootfile="true" if name == README_NAME else None,
            URI=quote(name),
        )
        value = base64.b64encode(bytes.fromhex(digest)).decode("ascii")
        lines.append(
            f"<asic:DataObjectReference{attributes}>"
            f'<ds:DigestMethod Algorithm="{_SHA256}"></ds:DigestMethod>'
            f"<ds:DigestValue>{value}</ds:DigestValue></asic:DataObjectReference>"
        )
    return "\n".join([*lines, "</asic:ASiCManifest>"]).encode("ascii")


def _attributes(**given: str | None) -> str:
    return "".join(f' {name}="{value}"' for name, value in given.items() if value is not None)
