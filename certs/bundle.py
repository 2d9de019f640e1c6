"""bundle.zip: certificate, original, proofs and how to check them, in one file, streamed.

The original is read once and never held in memory. Members, their order and their times are the
same for the same input, so two downloads of one bundle are one and the same file.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import unicodedata
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import BinaryIO

from certs.certificate import FILE_NAME, Certificate, Timestamp
from certs.errors import OriginalDiffers
from certs.sections import Content, read_sections
from certs.wording import LANGS, Lang, Wording, load_wording

PROOF_NAME = "proof.tlog-proof"
TRUST_NAME = "trust.toml"
VERIFIER_NAME = "verify.pyz"
PAGE_NAME = "verify.html"
README_NAME = "README.txt"
RECORD_ENDING = ".ers"
ORIGINAL_FOLDER = "original/"
MIMETYPE_NAME = "mimetype"
SIMPLE_TYPE = "application/vnd.etsi.asic-s+zip"
UNNAMED = "original.bin"
MAX_NAME_BYTES = 180
"""Bytes of UTF-8: room below the 255 of file systems and the 260 characters of Windows paths."""

CHUNK_BYTES = 1024 * 1024

Source = BinaryIO | Generator[bytes, None, None]
"""An open file, or the chunks of one."""

_FORBIDDEN = re.compile(r'[\\/:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def timestamp_stem(number: int, stamp: Timestamp) -> str:
    """The name in the bundle, without ending, of the files of the certificate's n-th timestamp."""
    return f"timestamps/{number:02}-{stamp.covers}"


def record_stem(number: int) -> str:
    """The name in the bundle, without ending, of the files of the n-th evidence record."""
    return f"evidence-records/{number:02}"


def pdf_name(lang: Lang) -> str:
    """The name in the bundle of the paper in `lang`."""
    return f"certificate-{lang}.pdf"


def safe_name(name: str | None) -> str:
    """A file name that every system can write and none can misread, as near as may be to `name`.

    No separators, control or direction characters, no leading dots, no name that Windows
    reserves, at most MAX_NAME_BYTES, the ending kept. NFC, since some systems normalise anyway.
    """
    text = unicodedata.normalize("NFC", name or "")
    text = "".join("_" if unicodedata.category(c) in _INVISIBLE else c for c in text)
    text = _FORBIDDEN.sub("_", text).lstrip(". ").rstrip(". ")
    if not text:
        return UNNAMED
    if _RESERVED.fullmatch(text):
        text = f"_{text}"
    stem, dot, ending = text.rpartition(".")
    if not dot or len(ending.encode()) > 20:
        return _cut(text, MAX_NAME_BYTES)
    return _cut(stem, MAX_NAME_BYTES - len(ending.encode()) - 1) + dot + ending


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode("utf-8", "ignore").rstrip(". ") or "_"


def write_bundle(
    certificate: Certificate,
    *,
    original: Source | None,
    pdfs: Mapping[Lang, bytes],
    proof: bytes,
    trust: str,
    verifier: bytes | None = None,
    page: bytes | None = None,
) -> Iterator[bytes]:
    """The bundle's bytes in chunks, to be sent as they come.

    `original` is an open file or the chunks of one, read once and closed in the end; None leaves
    it out, as a digest-only deposit must. `pdfs` are the papers by language, `proof` is the
    tlog-proof, `trust` the trust file's text, `verifier` and `page` the offline verifiers where
    they are at hand. Zip64 where needed, nothing compressed.

    Raises OriginalDiffers after the last byte of an original that is not the registered one, and
    before the directory is written: what was sent until then is no zip file.
    """
    content = read_sections(certificate).content
    drain = _Drain()
    with (
        nullcontext() if original is None else closing(original),
        zipfile.ZipFile(drain, "w", zipfile.ZIP_STORED) as archive,
    ):
        verifiers = {VERIFIER_NAME: verifier, PAGE_NAME: page}
        there = {name: data for name, data in verifiers.items() if data is not None}
        small = small_members(certificate, original is not None, pdfs, proof, trust, there)
        for name, data in small:
            archive.writestr(_entry(name, certificate), data)
            yield drain.take()
        if original is not None:
            entry = _entry(original_path(content), certificate)
            big = content is None or content.size > zipfile.ZIP64_LIMIT
            with archive.open(entry, "w", force_zip64=big) as member:
                for chunk in checked(original, content):
                    member.write(chunk)
                    yield drain.take()
    yield drain.take()


class _Drain:
    """Where `zipfile` writes: it cannot seek, so nothing written is ever changed afterwards."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """Nothing is held open."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def checked(original: Source, content: Content | None) -> Iterator[bytes]:
    """The original's bytes, as long as they can be those registered. Raises OriginalDiffers, for
    some only after the last of them."""
    digest = hashlib.sha256()
    size = 0
    # A file iterates by lines, and a line of binary data can be the whole file.
    read = getattr(original, "read", None)
    chunks = iter(original) if read is None else iter(partial(read, CHUNK_BYTES), b"")
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if content is not None and size > content.size:
            raise OriginalDiffers(f"original has over {size - 1} bytes, registered {content.size}")
        yield chunk
    if content is not None and digest.hexdigest() != content.sha256:
        raise OriginalDiffers(
            f"original has sha-256 {digest.hexdigest()}, registered {content.sha256}"
        )


def original_path(content: Content | None) -> str:
    """Where the original lies in a bundle, or would lie."""
    return ORIGINAL_FOLDER + safe_name(content.name if content else None)


def _entry(name: str, certificate: Certificate) -> zipfile.ZipInfo:
    at = certificate.times.issued_at.astimezone(UTC)
    # DOS times reach from 1980 to 2107.
    year = min(max(at.year, 1980), 2107)
    entry = zipfile.ZipInfo(name, (year, at.month, at.day, at.hour, at.minute, at.second))
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    return entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What an ASiC-E container has besides: more `proofs` by name, the `manifest`'s name and that
    of its `token`, and further files of META-INF, each with its key in the wording."""

    proofs: Mapping[str, bytes]
    manifest: str
    token: str
    listed: tuple[tuple[str, str], ...]


def small_members(
    certificate: Certificate,
    has_original: bool,
    pdfs: Mapping[Lang, bytes],
    proof: bytes,
    trust: str,
    verifiers: Mapping[str, bytes],
    signed: Signed | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Everything but the original, and but META-INF of a container that is `signed`."""
    yield README_NAME, _readme(certificate, has_original, tuple(pdfs), tuple(verifiers), signed)
    yield FILE_NAME, certificate.encode()
    for lang, pdf in sorted(pdfs.items()):
        yield pdf_name(lang), pdf
    yield PROOF_NAME, proof
    if signed is not None:
        yield from signed.proofs.items()
    for number, stamp in enumerate(certificate.timestamps, 1):
        stem = timestamp_stem(number, stamp)
        yield f"{stem}.tsr", stamp.response
        yield f"{stem}.pem", b"".join(map(_pem, stamp.chain))
        if stamp.covers == "checkpoint":
            yield f"{stem}.txt", _note_text(certificate.log.checkpoint)
    for number, record in enumerate(certificate.evidence_records, 1):
        yield f"{record_stem(number)}{RECORD_ENDING}", record.record
        yield f"{record_stem(number)}.pem", b"".join(map(_pem, record.certificates))
    yield TRUST_NAME, trust.encode("utf-8")
    yield from verifiers.items()


def _pem(der: bytes) -> bytes:
    """RFC 7468 section 5."""
    body = base64.encodebytes(der).replace(b"\n", b"")
    lines = b"".join(body[at : at + 64] + b"\n" for at in range(0, len(body), 64))
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"-----END CERTIFICATE-----\n"


def _note_text(checkpoint: str) -> bytes:
    """The signed text of a note: up to the blank line, its last line feed included (C2SP)."""
    return (checkpoint.partition("\n\n")[0] + "\n").encode("utf-8")


def _readme(
    certificate: Certificate,
    has_original: bool,
    langs: tuple[Lang, ...],
    verifiers: tuple[str, ...],
    signed: Signed | None,
) -> bytes:
    parts = [
        _Readme(
            certificate, load_wording(lang), has_original, sorted(langs), verifiers, signed
        ).text()
        for lang in LANGS
    ]
    return ("\n" + "=" * 72 + "\n\n").join(parts).encode("utf-8")


@dataclass(frozen=True, slots=True)
class _Readme:
    """README.txt in one language."""

    certificate: Certificate
    words: Wording
    has_original: bool
    langs: Sequence[Lang]
    verifiers: Sequence[str]
    signed: Signed | None

    def text(self) -> str:
        certificate = self.certificate
        intro = self._say(
            "intro",
            certificate_id=certificate.certificate_id,
            issuer=certificate.issuer.name,
            issued_at=self.words.moment(certificate.times.issued_at),
        )
        paragraphs = [
            self._say("title"),
            intro,
            *self._original(),
            "\n".join([self._say("contents"), *(f"  {n}\n      {t}" for n, t in self._members())]),
            self._say("check"),
            *self._steps(),
        ]
        return "\n\n".join(paragraphs) + "\n"

    def _say(self, key: str, **values: object) -> str:
        return self.words.text(f"bundle.{key}", **values)

    def _content(self) -> Content | None:
        return read_sections(self.certificate).content

    def _original(self) -> list[str]:
        content = self._content()
        if self.has_original:
            renamed = content is not None and safe_name(content.name) != content.name
            return [self._say("original_renamed")] if renamed else []
        digest_only = content is not None and not content.stored
        return [
            self._say("original_not_stored" if digest_only else "original_left_out"),
            self._say("original_place", path=original_path(content)),
        ]

    def _members(self) -> Iterator[tuple[str, str]]:
        yield FILE_NAME, self._say("certificate_json")
        for lang in self.langs:
            yield pdf_name(lang), self._say("certificate_pdf")
        yield PROOF_NAME, self._say("proof")
        for name in () if self.signed is None else self.signed.proofs:
            yield name, self._say(name.partition(".")[0])
        for number, stamp in enumerate(self.certificate.timestamps, 1):
            stem = timestamp_stem(number, stamp)
            yield f"{stem}.tsr", self._say("timestamp_response", authority=stamp.authority)
            yield f"{stem}.pem", self._say("timestamp_chain", authority=stamp.authority)
            if stamp.covers == "checkpoint":
                yield f"{stem}.txt", self._say("timestamp_covered")
        for number, record in enumerate(self.certificate.evidence_records, 1):
            stem = record_stem(number)
            says = self._say("evidence_record", authority=record.authority)
            yield f"{stem}{RECORD_ENDING}", says
            chain = self._say("timestamp_chain", authority=record.authority)
            yield f"{stem}.pem", chain
        yield TRUST_NAME, self._say("trust")
        if VERIFIER_NAME in self.verifiers:
            yield VERIFIER_NAME, self._say("verifier")
        if PAGE_NAME in self.verifiers:
            yield PAGE_NAME, self._say("page")
        if self.has_original:
            yield original_path(self._content()), self._say("original")
        for name, key in () if self.signed is None else self.signed.listed:
            yield name, self._say(key)

    def _steps(self) -> Iterator[str]:
        content = self._content()
        path = original_path(content) if self.has_original else "FILE"
        # The path goes into a shell: quoted, or a file name could carry a command.
        file = shlex.quote(path)
        if content is not None:
            yield (
                f"{self._say('check_digest')}\n\n"
                f"    sha256sum {file}\n"
                f'    certutil -hashfile "{path}" SHA256    ({self._say("windows")})\n\n'
                f"    {self._say('expected')}: {content.sha256}"
            )
        yield (
            f"{self._say('check_proof')}\n\n"
            f"    python3 {VERIFIER_NAME} {file} --certificate {FILE_NAME}"
        )
        for number, stamp in enumerate(self.certificate.timestamps, 1):
            if stamp.covers == "original":
                stem = timestamp_stem(number, stamp)
                yield (
                    f"{self._say('check_token')}\n\n"
                    f"    openssl ts -verify -data {file} -in {stem}.tsr -CAfile {stem}.pem"
                )
        if self.signed is not None:
            yield (
                f"{self._say('check_manifest', manifest=self.signed.manifest)}\n\n"
                f"    sed -n '/-----BEGIN/,/-----END/p' {TRUST_NAME} > roots.pem\n"
                f"    openssl ts -verify -token_in -data {self.signed.manifest} \\\n"
                f"        -in {self.signed.token} -CAfile roots.pem"
            )
