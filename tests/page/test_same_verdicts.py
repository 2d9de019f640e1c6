"""verify.html and `notary verify` say the same: of every vector, and of certificates with bytes
flipped."""

from __future__ import annotations

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfWriter

from certs.bundle import write_bundle
from certs.certificate import parse_certificate
from certs.pdf import render_pdf
from notary.cli.verify import judge
from notary.report import report_object
from tests.harness.browser_page import BrowserPage
from tests.harness.contained import Contained, contain

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "certificates"
MATCH = VECTORS / "match"
STEPS = [499, pytest.param(149, marks=pytest.mark.slow)]
"""Every so many bytes of a certificate one is flipped: prime, so that all places in base64 come."""
FLIPS = [12, pytest.param(60, marks=pytest.mark.slow)]
"""So many bytes of a container are flipped."""


def cases() -> list[Path]:
    return sorted(path.parent for path in VECTORS.glob("*/expected.json"))


def contained_cases() -> list[Path]:
    return sorted(path.parent for path in VECTORS.parent.glob("containers/*/expected.json"))


def found(path: Path) -> Path | None:
    return path if path.exists() else None


def by_python(certificate: Path, document: Path | None, trust: Path | None) -> dict[str, Any]:
    files = (None if path is None else str(path) for path in (document, trust))
    document_name, trust_name = files
    return report_object(judge(document_name, str(certificate), trust_name), "en")


def compared(report: dict[str, Any]) -> dict[str, Any]:
    """All that both say in the same words: a detail of what failed is in each one's own."""
    checks = [
        {**check, "detail": check["detail"] if check["status"] == "passed" else None}
        for check in report["checks"]
    ]
    document = report["document"]
    if document is not None:
        document = {"size": document["size"], "sha-256": document["digests"]["sha-256"]}
    return report | {"checks": checks, "document": document}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_page_says_of_every_vector_what_the_command_says(
    verifier: BrowserPage, case: Path
) -> None:
    given = (case / "certificate.json", found(case / "content"), found(case / "trust.toml"))
    report = verifier.judge(*given)
    assert compared(report) == compared(by_python(*given))
    expected = json.loads((case / "expected.json").read_text("utf-8"))
    assert {name: report[name] for name in expected} == expected


@pytest.mark.parametrize("step", STEPS)
def test_of_a_certificate_with_a_byte_flipped_the_page_says_what_the_command_says(
    verifier: BrowserPage, tmp_path: Path, step: int
) -> None:
    whole = (MATCH / "certificate.json").read_bytes()
    flipped = tmp_path / "certificate.json"
    for at in range(0, len(whole), step):
        flipped.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        given = (flipped, MATCH / "content", MATCH / "trust.toml")
        report = verifier.judge(*given)
        assert report["verdict"] != "confirmed", at
        assert compared(report) == compared(by_python(*given)), at


def test_of_a_document_with_a_byte_flipped_it_says_that_it_is_another(
    verifier: BrowserPage,
) -> None:
    whole = (MATCH / "content").read_bytes()
    for at in range(0, len(whole), 13):
        flipped = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        report = verifier.judge(MATCH / "certificate.json", flipped, MATCH / "trust.toml")
        assert (report["verdict"], report["code"]) == ("not_this_file", "digest_mismatch"), at


# --- the other containers ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def pdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    certificate = parse_certificate((MATCH / "certificate.json").read_bytes())
    path = tmp_path_factory.mktemp("pdf") / "certificate.pdf"
    path.write_bytes(render_pdf(certificate, lang="en", verify_url="https://evidence.example"))
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    path.write_bytes(
        b"".join(
            write_bundle(
                parse_certificate((MATCH / "certificate.json").read_bytes()),
                original=io.BytesIO((MATCH / "content").read_bytes()),
                pdfs={},
                proof=(MATCH / "proof.tlog-proof").read_bytes(),
                trust=(MATCH / "trust.toml").read_text("utf-8"),
            )
        )
    )
    return path


def test_the_certificate_in_a_pdf_is_found(verifier: BrowserPage, pdf: Path) -> None:
    given = (pdf, MATCH / "content", MATCH / "trust.toml")
    report = verifier.judge(*given)
    assert report["code"] == "match"
    assert compared(report) == compared(by_python(*given))


@pytest.mark.parametrize("way", ["saved", "updated"])
def test_a_pdf_that_was_saved_again_or_updated_still_gives_the_certificate(
    verifier: BrowserPage, pdf: Path, tmp_path: Path, way: str
) -> None:
    """`updated` is what a signature does: the file as it was, and a second part behind it."""
    again = tmp_path / "again.pdf"
    writer = PdfWriter(pdf, incremental=True) if way == "updated" else PdfWriter(clone_from=pdf)
    writer.add_metadata({"/Title": "again"})
    writer.write(again)
    assert again.read_bytes().startswith(pdf.read_bytes()) == (way == "updated")
    report = verifier.judge(again, MATCH / "content", MATCH / "trust.toml")
    assert report["code"] == "match"


def test_a_bundle_brings_its_own_original(verifier: BrowserPage, bundle: Path) -> None:
    report = verifier.judge(bundle, None, MATCH / "trust.toml")
    assert report["code"] == "match"
    assert compared(report) == compared(by_python(bundle, None, MATCH / "trust.toml"))


@pytest.fixture(scope="module")
def contained(tmp_path_factory: pytest.TempPathFactory) -> Contained:
    """Made in a thread of its own: the browser's loop runs in this one, and sealing has another."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contain, tmp_path_factory.mktemp("contained")).result()


@pytest.mark.parametrize("form", ["extended", "digest_only", "simple"])
def test_of_an_asic_container_the_page_says_what_the_command_says(
    verifier: BrowserPage, contained: Contained, form: str
) -> None:
    given = (getattr(contained, form), None, contained.trust)
    report = verifier.judge(*given)
    assert compared(report) == compared(by_python(*given))
    codes = {"digest_only": "no_document", "simple": "certificate_unreadable"}
    assert report["code"] == codes.get(form, "match")


@pytest.mark.parametrize("case", contained_cases(), ids=lambda case: case.name)
def test_of_every_container_among_the_vectors_the_page_says_what_the_command_says(
    verifier: BrowserPage, case: Path
) -> None:
    (container,) = case.glob("bundle.*")
    given = (container, None, case / "trust.toml")
    report = verifier.judge(*given)
    assert compared(report) == compared(by_python(*given))


def test_a_packed_certificate_in_a_bundle_is_unpacked(
    verifier: BrowserPage, tmp_path: Path
) -> None:
    path = tmp_path / "deflated.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(MATCH / "certificate.json", "certificate.json")
    report = verifier.judge(path, MATCH / "content", MATCH / "trust.toml")
    assert report["code"] == "match"


@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize("kind", ["pdf", "bundle"])
def test_of_a_container_with_a_byte_flipped_it_says_what_the_command_says_or_that_it_cannot_read(
    verifier: BrowserPage, request: pytest.FixtureRequest, tmp_path: Path, kind: str, flips: int
) -> None:
    """The page repairs nothing, so it may be unable to read what the command still reads."""
    whole = request.getfixturevalue(kind).read_bytes()
    flipped = tmp_path / f"flipped.{kind}"
    for at in range(0, len(whole), len(whole) // flips):
        flipped.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        given = (flipped, MATCH / "content", MATCH / "trust.toml")
        report = verifier.judge(*given)
        if report["code"] != "certificate_unreadable":
            assert compared(report) == compared(by_python(*given)), at


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"{",
        b"PK\x03\x04",
        b"PK\x03\x04" + bytes(100),
        b"%PDF-1.7\n",
        b"%PDF-1.7\nstartxref\n9\n%%EOF\n",
        b"%PDF-1.7\nstartxref\n99999999999999999999\n%%EOF\n",
        b"%PDF-1.7\nxref\n0 999999999\ntrailer<</Root 1 0 R>>\nstartxref\n9\n%%EOF\n",
        b"%PDF-1.7\nxref\n0 1\n0 65535 f\ntrailer<</Root 1 0 R/Prev 9>>\nstartxref\n9\n%%EOF\n",
        b"%PDF-1.7\nxref\n0 0\ntrailer" + b"[" * 10_000 + b"\nstartxref\n9\n%%EOF\n",
        b"{" * 100_000,
        b'{"certificate_id":' * 10_000,
        b"\xff\xfe{}",
    ],
    ids=repr,
)
def test_what_holds_no_certificate_is_said_to_hold_none(
    verifier: BrowserPage, given: bytes
) -> None:
    report = verifier.judge(given, b"document")
    assert (report["verdict"], report["code"]) == ("undecided", "certificate_unreadable")
    assert report["facts"] is None
