"""ASiC containers as bytes: the layout of ETSI EN 319 162-1, ZIP as a streaming reader wants it."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import struct
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certs.asic import (
    EXTENDED_TYPE,
    MANIFEST_NAME,
    MANIFEST_TOKEN_NAME,
    Extended,
    prepare_extended,
    write_extended,
    write_simple,
)
from certs.bundle import SIMPLE_TYPE
from certs.certificate import Certificate, EvidenceRecordOf
from certs.container import Form, read_container
from certs.errors import CertificateMalformed, OriginalDiffers
from certs.seal import sign_certificate
from certs.zipping import ZipWriter
from tests.certs import papers

PDFS: dict[Any, bytes] = {"zh": b"%PDF-1.7 zh", "en": b"%PDF-1.7 en"}
AT = datetime(2026, 11, 24, 16, 14, 5, tzinfo=UTC)
RECORD = EvidenceRecordOf(
    authority="a", self_operated=False, record=b"\x30\x00", certificates=(b"\x30\x00",)
)


def prepared(certificate: Certificate, *, has_original: bool = True) -> Extended:
    return prepare_extended(
        certificate, has_original=has_original, pdfs=PDFS, proof=b"proof", receipt=b"receipt",
        trust='format = "evidence-trust/v1"\n', verifier=b"PK pyz", page=b"<!doctype html>",
    )  # fmt: skip


def again(data: bytes = papers.ORIGINAL) -> Callable[[], io.BytesIO]:
    return lambda: io.BytesIO(data)


def extended(certificate: Certificate, original: bytes | None = papers.ORIGINAL) -> bytes:
    return b"".join(
        write_extended(
            prepared(certificate, has_original=original is not None), token=b"token",
            original=None if original is None else again(original),
        )
    )  # fmt: skip


def with_record(shown: dict[str, object] | None = None) -> Certificate:
    return sign_certificate(
        replace(papers.draft(shown), evidence_records=(RECORD,)), papers.SEALING_KEY
    )


def named(name: str) -> Certificate:
    return papers.certificate(papers.sections(name=name))


def opened(data: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(data))


# --- ASiC-E ---------------------------------------------------------------------------------------


def test_everything_is_in_it_its_type_first_and_its_original_last() -> None:
    with opened(extended(with_record())) as archive:
        assert archive.namelist() == [
            "mimetype",
            "README.txt",
            "certificate.json",
            "certificate-en.pdf",
            "certificate-zh.pdf",
            "proof.tlog-proof",
            "statement.cose",
            "receipt.cose",
            "timestamps/01-checkpoint.tsr",
            "timestamps/01-checkpoint.pem",
            "timestamps/01-checkpoint.txt",
            "evidence-records/01.ers",
            "evidence-records/01.pem",
            "trust.toml",
            "verify.pyz",
            "verify.html",
            "META-INF/ASiCEvidenceRecordManifest001.xml",
            "META-INF/evidencerecord001.ers",
            "META-INF/ASiCManifest001.xml",
            "META-INF/timestamp001.tst",
            "original/Minutes of the board meeting, 12 March 2026.pdf",
        ]
        assert archive.testzip() is None
        assert archive.read("META-INF/evidencerecord001.ers") == RECORD.record
        assert archive.read("META-INF/timestamp001.tst") == b"token"
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {each.flag_bits & 0x8 for each in archive.infolist()} == {0}


@pytest.mark.parametrize("kind", ["extended", "simple"])
def test_the_type_is_read_at_the_place_that_the_standard_says(kind: str) -> None:
    certificate = papers.certificate()
    simple = write_simple(certificate, token=b"t", original=again())
    data = extended(certificate) if kind == "extended" else b"".join(simple)
    wanted = (EXTENDED_TYPE if kind == "extended" else SIMPLE_TYPE).encode()
    assert data[:4] == b"PK\x03\x04"
    assert data[28:30] == b"\0\0"
    assert data[30 : 38 + len(wanted)] == b"mimetype" + wanted


def test_the_manifest_names_every_file_but_what_it_cannot_know() -> None:
    data = extended(with_record())
    with opened(data) as archive:
        root = ET.fromstring(archive.read(MANIFEST_NAME))
        named = [each.attrib["URI"] for each in root if "DataObject" in each.tag]
        left = set(archive.namelist()) - {each.replace("%20", " ").replace("%2C", ",")
                                          for each in named}  # fmt: skip
    assert left == {"mimetype", MANIFEST_NAME, MANIFEST_TOKEN_NAME}
    assert len(set(named)) == len(named)
    assert [each.attrib["URI"] for each in root if each.get("Rootfile")] == ["README.txt"]


def test_the_manifest_is_canonical_xml_of_ascii_alone() -> None:
    manifest = prepared(named('Minutes & <notes> "a" 100% + 会议.txt')).manifest
    assert manifest.isascii()
    assert ET.canonicalize(manifest.decode()).replace(
        ' xmlns:ds="http://www.w3.org/2000/09/xmldsig#"', ""
    ) == manifest.decode().replace(' xmlns:ds="http://www.w3.org/2000/09/xmldsig#"', "")
    assert b"original/Minutes%20%26%20_notes_%20_a_%20100%25%20%2B%20%E4%BC%9A" in manifest


def test_the_record_s_manifest_is_about_the_original_alone() -> None:
    with opened(extended(with_record())) as archive:
        root = ET.fromstring(archive.read("META-INF/ASiCEvidenceRecordManifest001.xml"))
    reference, original = root
    assert reference.attrib == {"URI": "META-INF/evidencerecord001.ers"}
    assert original.attrib["URI"].startswith("original/Minutes")
    digest = base64.b64encode(hashlib.sha256(papers.ORIGINAL).digest()).decode()
    assert [each.text for each in original] == [None, digest]


def test_the_same_input_gives_the_same_bytes() -> None:
    assert extended(with_record()) == extended(with_record())


def test_without_its_original_no_manifest_names_it_and_the_readme_says_where_it_goes() -> None:
    certificate = with_record(papers.sections(stored=False))
    with opened(extended(certificate, None)) as archive:
        assert not any("vidence" in name for name in archive.namelist() if "META-INF" in name)
        assert archive.read("evidence-records/01.ers") == RECORD.record
        assert b"original/" not in archive.read(MANIFEST_NAME)
        readme = archive.read("README.txt").decode()
    place = "original/Minutes of the board meeting, 12 March 2026.pdf"
    assert f"put the file at {place}" in readme
    assert readme.count(place) == 2
    assert "Only its digest was registered" in readme


def test_the_readme_says_how_the_manifest_is_checked() -> None:
    with opened(extended(with_record())) as archive:
        readme = archive.read("README.txt").decode()
    command = "openssl ts -verify -token_in -data META-INF/ASiCManifest001.xml"
    assert readme.count(command) == 2
    for name in ("statement.cose", "receipt.cose", MANIFEST_NAME, MANIFEST_TOKEN_NAME,
                 "META-INF/evidencerecord001.ers"):  # fmt: skip
        assert readme.count(f"  {name}\n") == 2


def test_a_manifest_made_for_another_container_is_not_written() -> None:
    made = prepared(papers.certificate(), has_original=False)
    with pytest.raises(ValueError, match="manifest does not fit"):
        write_extended(made, token=b"t", original=again())
    made = prepared(papers.certificate())
    with pytest.raises(ValueError, match="manifest does not fit"):
        write_extended(made, token=b"t", original=None)


def test_a_certificate_that_says_nothing_of_its_content_gets_no_container() -> None:
    shown = papers.sections()
    del shown["content"]
    with pytest.raises(ValueError, match="nothing of any content"):
        prepared(papers.certificate(shown))


# --- ASiC-S ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kept"),
    [("a b.txt", "a b.txt"), ("mimetype", "_mimetype"), ("Meta-INF", "_Meta-INF"),
     ("META-INF/x", "META-INF_x"), ("", "original.bin"), ("../../etc", "_._etc")],
)  # fmt: skip
def test_a_simple_container_has_the_file_at_its_root_and_its_token(name: str, kept: str) -> None:
    certificate = papers.certificate(papers.sections(name=name or None))
    with opened(b"".join(write_simple(certificate, token=b"token", original=again()))) as archive:
        assert archive.namelist() == ["mimetype", kept, "META-INF/timestamp.tst"]
        assert archive.read(kept) == papers.ORIGINAL
        assert archive.read("META-INF/timestamp.tst") == b"token"


@pytest.mark.parametrize("name", ["a.txt", "certificate.json"])
def test_a_simple_container_is_no_certificate_whatever_its_file_is_called(name: str) -> None:
    data = b"".join(write_simple(named(name), token=b"t", original=again()))
    with pytest.raises(CertificateMalformed, match="is an ASiC-S container"):
        read_container(data, "bundle.asics")


# --- the original ---------------------------------------------------------------------------------


def test_the_verifier_finds_certificate_and_original() -> None:
    data = extended(with_record())
    contents = read_container(data, "bundle.asice")
    assert (contents.form, contents.certificate) == (Form.BUNDLE, with_record().encode())
    assert contents.original is not None
    end = contents.original.offset + contents.original.size
    assert data[contents.original.offset : end] == papers.ORIGINAL


@pytest.mark.parametrize("kind", ["extended", "simple"])
@pytest.mark.parametrize("at", ["first", "second"])
@pytest.mark.parametrize(
    "bad",
    [b"", papers.ORIGINAL[:-1], papers.ORIGINAL + b"x", b"x" + papers.ORIGINAL[1:]],
    ids=["empty", "short", "long", "altered"],
)
def test_an_original_that_is_another_at_either_reading_makes_no_whole_container(
    kind: str, at: str, bad: bytes
) -> None:
    files = [bad] if at == "first" else [papers.ORIGINAL, bad]
    handed = [io.BytesIO(each) for each in files]
    left = list(handed)

    def open_next() -> io.BytesIO:
        return left.pop(0)

    if kind == "extended":
        made = prepared(papers.certificate())
        chunks = write_extended(made, token=b"t", original=open_next)
    else:
        chunks = write_simple(papers.certificate(), token=b"t", original=open_next)
    sent = b""
    with pytest.raises(OriginalDiffers, match="registered"):
        for chunk in chunks:
            sent += chunk
    with pytest.raises(zipfile.BadZipFile):
        opened(sent)
    assert all(file.closed for file in handed)


def test_a_download_that_ends_early_leaves_nothing_open() -> None:
    handed: list[io.BytesIO] = []

    def open_next() -> io.BytesIO:
        handed.append(io.BytesIO(papers.ORIGINAL))
        return handed[-1]

    for pieces in (1, 2, 3):
        chunks = write_simple(papers.certificate(), token=b"t", original=open_next)
        for _ in range(pieces):
            next(chunks)
        chunks.close()  # type: ignore[attr-defined]
    assert all(file.closed for file in handed)


# --- ZIP ------------------------------------------------------------------------------------------


def test_what_is_larger_than_four_gibibytes_is_found_in_it(tmp_path: Path) -> None:
    """A hole in the file stands for its bytes."""
    size = (1 << 32) + 5
    writer, certificate = ZipWriter(AT), papers.certificate().encode()
    path = tmp_path / "large.asice"
    with path.open("wb") as file:
        file.write(writer.header("original/large.bin", size=size, crc=0))
        offset = file.tell()
        file.seek(size, os.SEEK_CUR)
        file.write(writer.member("certificate.json", certificate))
        file.write(writer.end())
    with zipfile.ZipFile(path) as archive:
        assert [each.file_size for each in archive.infolist()] == [size, len(certificate)]
        assert archive.read("certificate.json") == certificate
    with path.open("rb") as source:
        contents = read_container(source, path.name)
        source.seek(0)
        head = source.read(64)
    assert contents.original is not None
    assert (contents.original.offset, contents.original.size) == (offset, size)
    assert struct.unpack("<2I", head[18:26]) == (0xFFFFFFFF, 0xFFFFFFFF)


def test_a_member_of_just_under_four_gibibytes_needs_no_zip64() -> None:
    small = ZipWriter(AT).header("a", size=0xFFFFFFFE, crc=1)
    large = ZipWriter(AT).header("a", size=0xFFFFFFFF, crc=1)
    assert (len(small), len(large)) == (31, 51)


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_more_members_than_sixteen_bits_count_are_all_in_the_directory(count: int) -> None:
    writer = ZipWriter(AT)
    data = b"".join(writer.member(f"{n}", b"") for n in range(count)) + writer.end()
    with opened(data) as archive:
        assert len(archive.namelist()) == count


def test_names_that_are_not_ascii_are_marked_as_utf_8_and_times_are_kept() -> None:
    writer = ZipWriter(AT)
    data = writer.member("a", b"1") + writer.member("会议", b"2") + writer.end()
    with opened(data) as archive:
        assert [each.flag_bits for each in archive.infolist()] == [0, 0x800]
        assert {each.date_time for each in archive.infolist()} == {(2026, 11, 24, 16, 14, 4)}
        assert {each.external_attr >> 16 for each in archive.infolist()} == {0o100644}
        assert [each.CRC for each in archive.infolist()] == [zlib.crc32(b"1"), zlib.crc32(b"2")]


@pytest.mark.parametrize(("year", "said"), [(1970, 1980), (1980, 1980), (2107, 2107), (2200, 2107)])
def test_years_that_zip_cannot_say_become_the_nearest_it_can(year: int, said: int) -> None:
    writer = ZipWriter(AT.replace(year=year))
    with opened(writer.member("a", b"") + writer.end()) as archive:
        assert archive.infolist()[0].date_time[0] == said
