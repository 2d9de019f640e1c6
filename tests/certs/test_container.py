"""The three forms, read back; and what strangers may send instead."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pypdf
import pytest

from certs import container
from certs.certificate import MAX_BYTES
from certs.container import Form, read_container
from certs.errors import CertificateMalformed
from certs.pdf import render_pdf
from tests.certs import papers
from tests.certs.test_bundle import bundle

CERTIFICATE = papers.certificate()
JSON = CERTIFICATE.encode()
PDF = render_pdf(CERTIFICATE, lang="en", verify_url=None)


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def test_the_json_is_given_back_as_it_is() -> None:
    contents = read_container(JSON, "certificate.json")
    assert (contents.form, contents.certificate, contents.original) == (Form.JSON, JSON, None)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_pdf_gives_back_the_certificate_byte_for_byte(lang: str) -> None:
    for certificate in (CERTIFICATE, papers.nasty()):
        pdf = render_pdf(certificate, lang=lang, verify_url=None)  # type: ignore[arg-type]
        contents = read_container(pdf, "certificate.pdf")
        assert contents.form is Form.PDF
        assert contents.certificate == certificate.encode()


def test_the_bundle_gives_back_certificate_and_original() -> None:
    data = b"".join(bundle(CERTIFICATE, io.BytesIO(papers.ORIGINAL)))
    contents = read_container(data, "bundle.zip")
    assert contents.form is Form.BUNDLE
    assert contents.certificate == JSON
    original = contents.original
    assert original is not None
    assert original.name == "Minutes of the board meeting, 12 March 2026.pdf"
    assert data[original.offset : original.offset + original.size] == papers.ORIGINAL


def test_a_bundle_may_be_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(b"".join(bundle(CERTIFICATE)))
    with path.open("rb") as file:
        contents = read_container(file, path.name)
    assert contents.certificate == JSON
    assert contents.original is None


def test_the_name_does_not_decide_the_form() -> None:
    assert read_container(PDF, "certificate.json").form is Form.PDF
    assert read_container(JSON, "bundle.zip").form is Form.JSON


def test_a_pdf_that_was_saved_again_still_gives_the_certificate() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(PDF))
    again = io.BytesIO()
    writer.write(again)
    assert read_container(again.getvalue(), "saved.pdf").certificate == JSON


def test_a_bundle_that_was_packed_again_still_gives_the_certificate() -> None:
    data = zipped(
        ("original/a.txt", b"a"), ("certificate.json", JSON), compression=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(CertificateMalformed, match="compressed or encrypted"):
        read_container(data, "bundle.zip")
    data = zipped(("certificate.json", JSON), compression=zipfile.ZIP_DEFLATED)
    assert read_container(data, "bundle.zip").certificate == JSON


def test_an_encrypted_certificate_in_a_bundle_is_refused() -> None:
    data = bytearray(zipped(("certificate.json", JSON)))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(CertificateMalformed, match="bundle cannot be read"):
        read_container(bytes(data), "bundle.zip")


@pytest.mark.parametrize("way", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packed_certificate_that_is_damaged_is_refused(way: int) -> None:
    data = bytearray(zipped(("certificate.json", JSON), compression=way))
    start, refused = 30 + len("certificate.json"), 0
    for at in range(start, data.index(b"PK\x01\x02"), 101):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        try:
            contents = read_container(bytes(damaged), "bundle.zip")
        except CertificateMalformed:
            refused += 1
        else:
            assert contents.certificate == JSON  # a byte that says nothing, as LZMA's padding
    assert refused > 10


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89PNG\r\n", b"[1]", b"\xef\xbb\xbf{}", b"PK", b"%PD", b"MZ" + bytes(2000)],
)
def test_what_is_no_container_is_refused(data: bytes) -> None:
    with pytest.raises(CertificateMalformed, match=r"'a\.bin' is no certificate"):
        read_container(data, "a.bin")


def test_a_pdf_without_a_certificate_is_refused() -> None:
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.add_attachment("other.json", b"{}")
    file = io.BytesIO()
    writer.write(file)
    with pytest.raises(CertificateMalformed, match="0 attachments"):
        read_container(file.getvalue(), "a.pdf")


def test_a_pdf_with_two_certificates_is_refused() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(PDF))
    writer.add_attachment("certificate.json", b"{}")
    file = io.BytesIO()
    writer.write(file)
    with pytest.raises(CertificateMalformed, match="2 attachments"):
        read_container(file.getvalue(), "a.pdf")


def attached(data: bytes, *, compressed: bool) -> bytes:
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.add_attachment("certificate.json", data)
    if compressed:
        for at, item in enumerate(writer._objects):
            if isinstance(item, pypdf.generic.StreamObject) and item.get("/Type") == (
                "/EmbeddedFile"
            ):
                writer._objects[at] = item.flate_encode()
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 80_000_000])
def test_a_bomb_in_a_pdf_is_refused(size: int) -> None:
    data = attached(b"{" + bytes(size), compressed=True)
    assert len(data) < 200_000
    with pytest.raises(CertificateMalformed, match=r"limit|cannot be read"):
        read_container(data, "a.pdf")


def test_a_bomb_in_a_bundle_is_refused() -> None:
    data = zipped(("certificate.json", bytes(1_000_000)), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CertificateMalformed, match="ratio of 200"):
        read_container(data, "a.zip")


def test_a_bundle_that_lies_about_a_size_is_refused() -> None:
    data = bytearray(zipped(("certificate.json", b"{" + bytes(5000)), compression=8))
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 100)
    with pytest.raises(CertificateMalformed, match=r"another size|cannot be read"):
        read_container(bytes(data), "a.zip")


def test_a_bundle_with_too_many_entries_is_refused() -> None:
    members = [(f"{at}.txt", b"") for at in range(container.MAX_ENTRIES)]
    with pytest.raises(CertificateMalformed, match=f"{container.MAX_ENTRIES + 1} entries"):
        read_container(zipped(*members, ("certificate.json", JSON)), "a.zip")


@pytest.mark.parametrize("comment", [b"", b"a comment of some length"])
def test_an_endless_directory_is_refused_before_it_is_read(comment: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        for at in range(6000):
            archive.writestr(f"{at}", b"")
    with pytest.raises(CertificateMalformed, match=r"directory of [0-9]+ bytes"):
        read_container(file.getvalue(), "a.zip")


def test_an_endless_zip64_directory_is_refused_before_it_is_read() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("certificate.json", JSON)
    data = file.getvalue()
    end = data.rindex(b"PK\x05\x06")
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 2**40, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    with pytest.raises(CertificateMalformed, match=f"directory of {2**40} bytes"):
        read_container(data[:end] + end64 + locator + data[end:], "a.zip")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("other.json", JSON)], "0 entries"),
        ([("sub/certificate.json", JSON)], "0 entries"),
        ([("certificate.json", JSON), ("original/a", b"a"), ("original/b", b"b")], "2 originals"),
    ],
)
def test_a_bundle_that_is_ambiguous_is_refused(
    members: list[tuple[str, bytes]], reason: str
) -> None:
    with pytest.raises(CertificateMalformed, match=reason):
        read_container(zipped(*members), "a.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_bundle_with_two_certificates_is_refused() -> None:
    data = zipped(("certificate.json", JSON), ("certificate.json", b"{}"))
    with pytest.raises(CertificateMalformed, match="2 entries"):
        read_container(data, "a.zip")


def test_containers_over_their_limit_are_refused_unread() -> None:
    with pytest.raises(CertificateMalformed, match="the limit is"):
        read_container(b"{" + bytes(MAX_BYTES), "a.json")
    with pytest.raises(CertificateMalformed, match="the limit is"):
        read_container(b"%PDF-1.7" + bytes(container.MAX_PDF_BYTES), "a.pdf")


def test_a_cut_off_container_is_refused() -> None:
    whole = b"".join(bundle(CERTIFICATE, io.BytesIO(papers.ORIGINAL)))
    for length in (100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        with pytest.raises(CertificateMalformed):
            read_container(whole[:length], "a.zip")
    for length in (100, len(PDF) // 4):
        with pytest.raises(CertificateMalformed):
            read_container(PDF[:length], "a.pdf")


def test_damaged_containers_give_the_certificate_or_one_error() -> None:
    whole = b"".join(bundle(CERTIFICATE))
    for source in (whole, PDF):
        for at in range(0, len(source), 197):
            damaged = bytearray(source)
            damaged[at] ^= 0x41
            try:
                read_container(bytes(damaged), "a")
            except CertificateMalformed:
                continue
