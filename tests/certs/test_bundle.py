"""bundle.zip: streamed, repeatable, and nothing in it that was not registered."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.bundle import MAX_NAME_BYTES, UNNAMED, safe_name, write_bundle
from certs.certificate import Certificate
from certs.container import read_container
from certs.errors import OriginalDiffers
from certs.seal import sign_certificate
from tests.certs import papers

PDFS: dict[Any, bytes] = {"zh": b"%PDF-1.7 zh", "en": b"%PDF-1.7 en"}
PROOF = b"c2sp.org/tlog-proof@v1\n"
TRUST = 'format = "evidence-trust/v1"\n'


def bundle(
    certificate: Certificate, original: Any = None, verifier: bytes | None = None
) -> Iterator[bytes]:
    return write_bundle(
        certificate, original=original, pdfs=PDFS, proof=PROOF, trust=TRUST, verifier=verifier
    )


def packed(certificate: Certificate, original: bytes | None = papers.ORIGINAL) -> zipfile.ZipFile:
    file = None if original is None else io.BytesIO(original)
    return zipfile.ZipFile(io.BytesIO(b"".join(bundle(certificate, file))))


def test_everything_is_in_it_in_a_fixed_order_and_uncompressed() -> None:
    certificate = papers.certificate()
    with packed(certificate) as archive:
        assert archive.namelist() == [
            "README.txt",
            "certificate.json",
            "certificate-en.pdf",
            "certificate-zh.pdf",
            "proof.tlog-proof",
            "timestamps/01-checkpoint.tsr",
            "timestamps/01-checkpoint.pem",
            "timestamps/01-checkpoint.txt",
            "trust.toml",
            "original/Minutes of the board meeting, 12 March 2026.pdf",
        ]
        assert archive.testzip() is None
        assert archive.read("certificate.json") == certificate.encode()
        assert archive.read("certificate-zh.pdf") == PDFS["zh"]
        assert archive.read("proof.tlog-proof") == PROOF
        assert archive.read("trust.toml").decode() == TRUST
        assert archive.read(archive.namelist()[-1]) == papers.ORIGINAL
        assert archive.read("timestamps/01-checkpoint.tsr") == certificate.timestamps[0].response
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(2026, 11, 24, 16, 14, 4)}


def test_the_covered_text_of_a_checkpoint_timestamp_is_the_signed_text() -> None:
    certificate = papers.certificate()
    with packed(certificate) as archive:
        text = archive.read("timestamps/01-checkpoint.txt").decode()
    assert certificate.log.checkpoint.startswith(text + "\n— ")
    assert text.endswith("=\n")


def test_the_same_input_gives_the_same_bytes() -> None:
    first = b"".join(bundle(papers.certificate(), io.BytesIO(papers.ORIGINAL)))
    again = b"".join(bundle(papers.certificate(), io.BytesIO(papers.ORIGINAL)))
    assert first == again


def test_the_offline_verifier_comes_along_when_it_is_at_hand() -> None:
    data = b"".join(bundle(papers.certificate(), verifier=b"PK verifier"))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("verify.pyz") == b"PK verifier"
        assert "verify.pyz\n" in archive.read("README.txt").decode()


def test_the_verifier_for_a_browser_comes_along_when_it_is_at_hand() -> None:
    data = b"".join(
        write_bundle(
            papers.certificate(), original=None, pdfs=PDFS, proof=PROOF, trust=TRUST, page=b"<!doc"
        )
    )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("verify.html") == b"<!doc"
        readme = archive.read("README.txt").decode()
        assert readme.count("verify.html\n") == 2
        assert "verify.pyz\n" not in readme


def test_the_readme_says_in_both_languages_how_to_check() -> None:
    certificate = papers.certificate()
    with packed(certificate) as archive:
        readme = archive.read("README.txt").decode()
    assert readme.count(certificate.certificate_id) == 2
    assert readme.count("sha256sum 'original/Minutes of the board meeting, 12 March 2026.pdf'") == 2
    assert "EVIDENCE BUNDLE" in readme
    assert "证据包" in readme
    assert "openssl" not in readme


def test_the_readme_names_openssl_when_the_file_itself_has_a_timestamp() -> None:
    base = papers.draft()
    stamps = (*base.timestamps, papers.stamp("original", "TSA"))
    certificate = sign_certificate(replace(base, timestamps=stamps), papers.SEALING_KEY)
    with packed(certificate) as archive:
        command = "-in timestamps/02-original.tsr -CAfile timestamps/02-original.pem"
        assert archive.read("README.txt").decode().count(command) == 2
        assert b"-----BEGIN CERTIFICATE-----\n" in archive.read("timestamps/02-original.pem")
        assert "timestamps/02-original.txt" not in archive.namelist()


def test_a_digest_only_bundle_says_that_the_original_is_not_in_it() -> None:
    certificate = papers.certificate(papers.sections(stored=False))
    with packed(certificate, None) as archive:
        assert not any(name.startswith("original/") for name in archive.namelist())
        readme = archive.read("README.txt").decode()
    assert "THE ORIGINAL IS NOT IN THIS ARCHIVE. Only its digest was registered" in readme
    assert "本压缩包不含原件。仅登记了摘要" in readme
    assert "sha256sum FILE" in readme


def test_a_bundle_without_its_stored_original_says_so() -> None:
    with packed(papers.certificate(), None) as archive:
        assert "It was left out of this copy" in archive.read("README.txt").decode()


@pytest.mark.parametrize(
    "original",
    [b"", papers.ORIGINAL[:-1], papers.ORIGINAL + b"x", b"x" + papers.ORIGINAL[1:]],
    ids=["empty", "short", "long", "altered"],
)
def test_an_original_that_is_not_the_registered_one_never_makes_a_whole_zip(
    original: bytes,
) -> None:
    sent = b""
    with pytest.raises(OriginalDiffers, match="registered"):
        for chunk in bundle(papers.certificate(), io.BytesIO(original)):
            sent += chunk
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(sent))


def test_an_original_without_a_disclosed_digest_is_packed_under_a_neutral_name() -> None:
    with packed(papers.withholding("content"), b"anything") as archive:
        assert archive.read("original/original.bin") == b"anything"


def test_the_original_may_come_in_chunks_and_is_closed_however_it_ends() -> None:
    ended: list[bool] = []

    def chunks() -> Generator[bytes, None, None]:
        try:
            yield papers.ORIGINAL[:10]
            yield papers.ORIGINAL[10:]
        finally:
            ended.append(True)

    assert b"".join(bundle(papers.certificate(), chunks())) == b"".join(
        bundle(papers.certificate(), io.BytesIO(papers.ORIGINAL))
    )
    assert ended == [True]

    writing = bundle(papers.certificate(), chunks())
    while papers.ORIGINAL[:10] not in next(writing):
        pass
    writing.close()  # type: ignore[attr-defined]
    assert ended == [True, True]


class _Endless(io.RawIOBase):
    """Zeros without end, which remembers how much was asked of it at once."""

    most = 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        self.most = max(self.most, size)
        return bytes(size)


def test_the_original_is_never_in_memory_as_a_whole() -> None:
    shown = papers.sections()
    content = shown["content"]
    assert isinstance(content, dict)
    content["size"] = 2**40
    source = _Endless()
    largest = 0
    for taken, chunk in enumerate(bundle(papers.certificate(shown), source)):
        largest = max(largest, len(chunk))
        if taken > 40:
            break
    assert source.most == 1024 * 1024
    assert largest < 1024 * 1024 + 4096


def test_an_original_over_four_gib_gets_zip64_sizes() -> None:
    shown = papers.sections()
    content = shown["content"]
    assert isinstance(content, dict)
    content["size"] = 5 * 2**30
    writing = bundle(papers.certificate(shown), _Endless())
    header = next(chunk for chunk in writing if b"original/" in chunk[:200])
    # APPNOTE.TXT 4.3.9.2 and 4.5.3: sizes of all ones, the real ones in extra field 0x0001.
    assert header[18:26] == b"\xff" * 8
    assert b"\x01\x00\x10\x00" in header[:300]


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_another_unzip_finds_nothing_wrong(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "bundle.zip")
    with open(path, "wb") as file:
        file.writelines(bundle(papers.nasty(), io.BytesIO(papers.ORIGINAL)))
    result = subprocess.run(["unzip", "-tq", path], capture_output=True, check=False, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        (None, UNNAMED),
        ("", UNNAMED),
        ("...", UNNAMED),
        ("../../etc/passwd", "_._etc_passwd"),
        ("C:\\Windows\\x.dll", "C__Windows_x.dll"),
        (".htaccess", "htaccess"),
        ("report.pdf. . ", "report.pdf"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("a\x00b\nc", "a_b_c"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
        ("re\u0301sume\u0301.pdf", "r\u00e9sum\u00e9.pdf"),
        ('<a>|"b"?*', "_a___b___"),
        ("证据材料.pdf", "证据材料.pdf"),
        ("\U0001f4c4.pdf", "\U0001f4c4.pdf"),
    ],
)
def test_a_name_is_made_safe(name: str | None, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_long_name_is_cut_between_characters_and_keeps_its_ending() -> None:
    cut = safe_name("证" * 300 + ".tar.gz")
    assert len(cut.encode()) <= MAX_NAME_BYTES
    assert cut.endswith("证.gz")


@given(st.text(max_size=400) | st.text(st.sampled_from("./\\ \x00con.:\u202e"), max_size=20))
def test_no_name_escapes_its_folder(name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    safe = safe_name(name)
    assert safe
    assert safe[0] not in ". "
    assert safe[-1] not in ". "
    assert not set('/\\:*?"<>|\0\n\r') & set(safe)
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert safe_name(safe) == safe


def test_a_bundle_of_as_many_timestamps_as_a_certificate_may_have_can_be_read() -> None:
    draft = papers.draft()
    draft = replace(draft, timestamps=draft.timestamps[:1] * 64)
    certificate = sign_certificate(draft, papers.SEALING_KEY)
    data = b"".join(bundle(certificate))
    assert read_container(io.BytesIO(data), "bundle.zip").certificate == certificate.encode()
