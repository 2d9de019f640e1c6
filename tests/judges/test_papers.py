"""Sealed papers before veraPDF (PDF/A-3a and PDF/UA-1 hold with both signatures in the file) and
EU DSS (PAdES)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from certs.pdf import PAPERS, render_pdf
from certs.wording import LANGS
from tests.certs import papers
from tests.certs.test_pades import make_desk
from tests.harness.contained import Contained
from tests.harness.dss import Dss
from tests.harness.java import build_java

JAVA = Path(__file__).with_name("java")
JUDGE_S = 300
NAMES = {
    "long": "W" * 300,
    "right to left": "חוזה שכירות " * 20 + ".pdf",
    "both ways": "invoice\u202efdp.exe عقد الإيجار 合同.pdf",
}

pytestmark = pytest.mark.slow  # Java, and Maven


@pytest.fixture(scope="module")
def verapdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verapdf")
    build_java(JAVA, "Verapdf", folder)
    return folder


def judged(verapdf: Path, *paths: Path) -> list[tuple[str, str, str, str]]:
    """(file, standard, compliant, what was found) for each file and standard."""
    told = subprocess.run(
        ["java", "-cp", f"{verapdf / 'lib'}/*:{verapdf}", "Verapdf", *paths],
        check=True, capture_output=True, text=True, timeout=JUDGE_S,
    ).stdout  # fmt: skip
    found = []
    for line in told.splitlines():
        path, standard, compliant, said = line.split("\t", 3)
        found.append((Path(path).name, standard, compliant, said))
    assert len(found) == 2 * len(paths)
    return found


def test_verapdf_accepts_every_sealed_paper(verapdf: Path, tmp_path: Path) -> None:
    desk = make_desk()
    certificates = {"plain": papers.certificate(), "nasty": papers.nasty()}
    for label, name in NAMES.items():
        certificates[label] = papers.certificate(papers.sections(name=name))
    paths = []
    for label, certificate in certificates.items():
        for lang in LANGS:
            for size in PAPERS:
                pdf = render_pdf(
                    certificate, lang=lang, verify_url="https://e.example/verify", paper=size,
                    proofs={"receipt.cose": b"r", "proof.tlog-proof": b"p"}, sealed=True,
                )  # fmt: skip
                paths.append(tmp_path / f"{label}-{lang}-{size}.pdf")
                paths[-1].write_bytes(desk.sealed(pdf))
    refused = [each for each in judged(verapdf, *paths) if each[2] != "true"]
    assert refused == []


def test_verapdf_refuses_a_paper_without_its_metadata(verapdf: Path, tmp_path: Path) -> None:
    pdf = render_pdf(papers.certificate(), lang="en", verify_url=None)
    path = tmp_path / "altered.pdf"
    path.write_bytes(pdf.replace(b"<pdfaid:part>3<", b"<pdfaid:part>9<"))
    assert path.read_bytes() != pdf
    assert ("altered.pdf", "3a", "false") in [each[:3] for each in judged(verapdf, path)]


SEAL = "SIGNATURE PAdES-BASELINE-LTA"


def test_dss_finds_pades_baseline_lta_and_passes_all_of_it(dss: Dss, contained: Contained) -> None:
    intact = ("PASSED null", "data found and intact: true true; ")
    assert dss.judged(contained, contained.paper)[contained.paper.name] == {
        # What says where a list is: ours is in the paper, and nowhere else.
        SEAL: ("TOTAL_PASSED null", "warning: The revocation info access is not present!"),
        "SIGNATURE_TIMESTAMP null": intact,
        "DOCUMENT_TIMESTAMP null": intact,
    }


def test_dss_refuses_a_paper_in_which_a_byte_was_changed(
    dss: Dss, contained: Contained, tmp_path: Path
) -> None:
    pdf = contained.paper.read_bytes()
    paths = []
    for number in range(1, 6):
        at = len(pdf) * number // 10  # all within what the seal covers
        paths.append(tmp_path / f"{number}.pdf")
        paths[-1].write_bytes(pdf[:at] + bytes([pdf[at] ^ 1]) + pdf[at + 1 :])
    for name, found in dss.judged(contained, *paths).items():
        assert found.get(SEAL, ("", ""))[0] != "TOTAL_PASSED null", (name, found)
