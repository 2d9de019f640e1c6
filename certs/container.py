"""The three forms a certificate comes in, read back: the JSON itself, the PDF, the bundle, which
may be bundle.zip or bundle.asice.

What is read here comes from strangers. Nothing is believed, everything is bounded: a bomb, an
endless directory or a hostile PDF costs no more than the limits below.
"""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from certs.bundle import MIMETYPE_NAME, ORIGINAL_FOLDER, SIMPLE_TYPE
from certs.certificate import FILE_NAME, MAX_BYTES
from certs.destruction import FILE_NAME as DESTRUCTION_NAME
from certs.errors import CertificateMalformed

MAX_PDF_BYTES = 64 * 1024 * 1024
MAX_ENTRIES = 512
MAX_RATIO = 200
"""A certificate is base64 for its most part: no honest packer shrinks it two-hundredfold."""

_MAX_DIRECTORY_BYTES = MAX_ENTRIES * 512
_HEAD_BYTES = 1024
_ENCRYPTED = 0x1
# APPNOTE.TXT 4.3.7, 4.3.16, 4.3.14: signature and the lengths that matter here.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_END = struct.Struct("<4s8xI6x")
_END64 = struct.Struct("<4s36xQ8x")
_LOCATOR64_BYTES = 20


class Form(StrEnum):
    JSON = "json"
    PDF = "pdf"
    BUNDLE = "bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """An original in a bundle: `size` bytes of the container from `offset` on, stored as is."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a container holds. `certificate` is not parsed yet, `original` not compared."""

    form: Form
    certificate: bytes
    original: Original | None


def read_container(source: bytes | BinaryIO, filename: str) -> Contents:
    """The certificate in `source`: bytes, or an open seekable file for large bundles.

    The form is told by the first bytes, never by `filename`, which serves messages only. Raises
    CertificateMalformed when there is no certificate, more than one, or a limit is passed.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if head.startswith(b"{"):
        return Contents(form=Form.JSON, certificate=_all(file, size, MAX_BYTES), original=None)
    if head.startswith(b"PK\x03\x04"):
        # ETSI EN 319 162-1, annex A.1: the type stands at a fixed place.
        if head[30:].startswith((MIMETYPE_NAME + SIMPLE_TYPE).encode("ascii")):
            raise CertificateMalformed(
                f"{filename!r} is an ASiC-S container: it has a file and its timestamp, and no "
                "certificate"
            )
        return _read_bundle(file, size)
    # ISO 32000 wants the header first; viewers, and so senders, put up with it in the first KiB.
    if b"%PDF-" in head:
        data = _all(file, size, MAX_PDF_BYTES)
        return Contents(form=Form.PDF, certificate=_attached(data), original=None)
    raise CertificateMalformed(
        f"{filename!r} is no certificate: neither {FILE_NAME}, nor a PDF, nor a bundle"
    )


def _all(file: BinaryIO, size: int, limit: int) -> bytes:
    if size > limit:
        raise CertificateMalformed(f"container has {size} bytes, the limit is {limit}")
    file.seek(0)
    return file.read(size)


@contextmanager
def _foreign_errors(what: str) -> Iterator[None]:
    """Whatever a parser throws at hostile bytes becomes this package's one answer."""
    try:
        yield
    except (
        PyPdfError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        struct.error,
        ArithmeticError,
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,  # zipfile, of what is encrypted; NotImplementedError and RecursionError too
        TypeError,
        ValueError,
    ) as exc:
        raise CertificateMalformed(f"{what} cannot be read: {exc!r:.200}") from exc


def _attached(data: bytes) -> bytes:
    """certificate.json; where there is none, destruction.json."""
    with _foreign_errors("PDF"):
        reader = PdfReader(io.BytesIO(data), strict=False)
        attached = [
            (attachment, (attachment.name, attachment.alternative_name))
            for attachment in reader.attachment_list
        ]
        found = [each for each, names in attached if FILE_NAME in names]
        found = found or [each for each, names in attached if DESTRUCTION_NAME in names]
        # Counted before anything is decompressed; pypdf itself stops a stream at 75 MB.
        content = found[0].content if len(found) == 1 else b""
    if len(found) != 1:
        raise CertificateMalformed(f"PDF has {len(found)} attachments {FILE_NAME!r}, expected 1")
    if len(content) > MAX_BYTES:
        raise CertificateMalformed(
            f"attached certificate has {len(content)} bytes, the limit is {MAX_BYTES}"
        )
    return content


def _read_bundle(file: BinaryIO, size: int) -> Contents:
    with _foreign_errors("bundle"):
        _check_directory(file, size)
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                raise CertificateMalformed(
                    f"bundle has {len(entries)} entries, the limit is {MAX_ENTRIES}"
                )
            certificate = _member(archive, entries)
            original = _original(file, entries)
    return Contents(form=Form.BUNDLE, certificate=certificate, original=original)


def _member(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> bytes:
    found = [entry for entry in entries if entry.filename == FILE_NAME]
    if len(found) != 1:
        raise CertificateMalformed(f"bundle has {len(found)} entries {FILE_NAME!r}, expected 1")
    entry = found[0]
    if entry.file_size > MAX_BYTES or entry.file_size > MAX_RATIO * entry.compress_size:
        raise CertificateMalformed(
            f"certificate in the bundle claims {entry.file_size} bytes from "
            f"{entry.compress_size}; the limits are {MAX_BYTES} and a ratio of {MAX_RATIO}"
        )
    with archive.open(entry) as stream:
        # One byte beyond the claim: the directory may lie about the size.
        data = stream.read(entry.file_size + 1)
    if len(data) != entry.file_size:
        raise CertificateMalformed(
            f"certificate in the bundle has another size than the {entry.file_size} bytes claimed"
        )
    return data


def _original(file: BinaryIO, entries: list[zipfile.ZipInfo]) -> Original | None:
    found = [
        entry
        for entry in entries
        if entry.filename.startswith(ORIGINAL_FOLDER) and not entry.is_dir()
    ]
    if not found:
        return None
    if len(found) > 1:
        raise CertificateMalformed(f"bundle has {len(found)} originals, expected at most 1")
    entry = found[0]
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED:
        raise CertificateMalformed(
            f"original {entry.filename!r} in the bundle is compressed or encrypted: unpack it and "
            "give the file itself"
        )
    file.seek(entry.header_offset)
    local = file.read(_LOCAL_HEADER.size)
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(local)
    offset = entry.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    if signature != b"PK\x03\x04" or offset + entry.file_size > file.seek(0, io.SEEK_END):
        raise CertificateMalformed(f"original {entry.filename!r} is not where the bundle says")
    name = entry.filename.removeprefix(ORIGINAL_FOLDER)
    return Original(name=name, offset=offset, size=entry.file_size)


def _check_directory(file: BinaryIO, size: int) -> None:
    """Refuses a central directory that is too long before `zipfile` reads it whole.

    Finds the end records where `zipfile` finds them (APPNOTE.TXT 4.3.14 to 4.3.16).
    """
    tail_bytes = min(size, _END.size + 0xFFFF + _END64.size + _LOCATOR64_BYTES)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    at = len(tail) - _END.size
    if tail[at : at + 4] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\x05\x06", max(0, len(tail) - _END.size - 0xFFFF))
    if at < 0:
        raise CertificateMalformed("bundle has no central directory: it is cut off")
    _, directory_bytes = _END.unpack_from(tail, at)
    at64 = at - _LOCATOR64_BYTES - _END64.size
    if at64 >= 0 and tail[at64 : at64 + 4] == b"PK\x06\x06":
        _, directory_bytes = _END64.unpack_from(tail, at64)
    if directory_bytes > _MAX_DIRECTORY_BYTES:
        raise CertificateMalformed(
            f"bundle has a directory of {directory_bytes} bytes, "
            f"the limit is {_MAX_DIRECTORY_BYTES}"
        )
