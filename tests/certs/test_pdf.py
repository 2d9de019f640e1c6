"""The paper: what stands on it, that it can be read, and that nothing breaks it."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import unicodedata
from dataclasses import replace
from pathlib import Path

import pylopdf_fonts_zh_cn
import pypdf
import pytest

from certs.certificate import Certificate, EvidenceRecordOf
from certs.errors import CertificateMalformed, RenderFailed
from certs.glyphs import EMBEDDED, Coverage, deceives, read_ranges
from certs.pdf import Paper, render_pdf
from certs.seal import sign_certificate
from certs.sheet import qr_content
from certs.wording import Lang
from tests.certs import papers

DIGEST = hashlib.sha256(papers.ORIGINAL).hexdigest()


def text_of(certificate: Certificate, lang: Lang = "en", verify_url: str | None = None) -> str:
    """All text of all pages, white space reduced to single spaces."""
    return words(render_pdf(certificate, lang=lang, verify_url=verify_url))


def words(pdf: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages))


def with_stamps(*covers: str, stamped: bool = True) -> Certificate:
    base = papers.draft()
    times = base.times if stamped else replace(base.times, timestamped_at=None)
    stamps = tuple(papers.stamp(cover, f"Authority {at}") for at, cover in enumerate(covers))
    return sign_certificate(replace(base, timestamps=stamps, times=times), papers.SEALING_KEY)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_ordinary_certificate_has_at_most_two_a4_pages(lang: Lang) -> None:
    shown = papers.sections() | {"provenance": papers.PROVENANCE}
    pdf = render_pdf(
        papers.certificate(shown),
        lang=lang,
        verify_url="https://evidence.example/v",
        sealed=True,
    )
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert len(reader.pages) <= 2
    for page in reader.pages:
        assert [round(float(side)) for side in page.mediabox[2:]] == [595, 842]


def test_the_file_is_tagged_pdf_a_3a_and_pdf_ua_1_in_its_language() -> None:
    langs: tuple[Lang, ...] = ("en", "zh")
    for lang in langs:
        reader = pypdf.PdfReader(
            io.BytesIO(render_pdf(papers.certificate(), lang=lang, verify_url=None))
        )
        root = reader.root_object
        assert root["/Lang"].startswith(lang)  # type: ignore[attr-defined]
        assert root["/MarkInfo"]["/Marked"]  # type: ignore[index]
        assert "/StructTreeRoot" in root
        xmp = root["/Metadata"].get_data().decode()  # type: ignore[attr-defined]
        assert "<pdfaid:part>3</pdfaid:part>" in xmp
        assert "<pdfaid:conformance>A</pdfaid:conformance>" in xmp
        assert "<pdfuaid:part>1</pdfuaid:part>" in xmp


def test_the_certificate_and_its_proofs_are_associated_files() -> None:
    record = EvidenceRecordOf(
        authority="Testing TSA", self_operated=False, record=b"\x30\x00", certificates=()
    )
    certificate = sign_certificate(
        replace(papers.draft(), evidence_records=(record,)), papers.SEALING_KEY
    )
    proofs = {"receipt.cose": b"\x00\xffreceipt", "proof.tlog-proof": b"proof\n"}
    pdf = render_pdf(certificate, lang="en", verify_url=None, proofs=proofs)
    found = {each.name: each for each in pypdf.PdfReader(io.BytesIO(pdf)).attachment_list}
    assert {name: each.content for name, each in found.items()} == {
        "certificate.json": certificate.encode(),
        "statement.cose": certificate.statement,
        **proofs,
        "timestamp-01-checkpoint.tsr": certificate.timestamps[0].response,
        "evidence-record-01.ers": record.record,
    }
    data = found["certificate.json"]
    assert data.associated_file_relationship == "/Data"
    assert data.subtype == "/application/vnd.evidence-certificate+json"
    for name in found.keys() - {"certificate.json"}:
        assert found[name].associated_file_relationship == "/Supplement"
        assert found[name].description


@pytest.mark.parametrize(("paper", "size"), [("a4", [595, 842]), ("letter", [612, 792])])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_paper_has_the_size_asked_for_and_a_margin_to_bind_it(
    lang: Lang, paper: Paper, size: list[int]
) -> None:
    """Binding margin 28 mm: 79 points."""
    pdf = render_pdf(papers.nasty(), lang=lang, verify_url=None, paper=paper)
    for page in pypdf.PdfReader(io.BytesIO(pdf)).pages:
        assert [round(float(side)) for side in page.mediabox[2:]] == size
        nearest = float(size[0])

        def seen(text: str, cm: list[float], tm: list[float], *_: object) -> None:
            nonlocal nearest
            if text.strip():
                nearest = min(nearest, cm[0] * tm[4] + cm[4])

        page.extract_text(visitor_text=seen)
        assert nearest >= 79


def test_only_a_paper_that_will_be_sealed_says_so() -> None:
    for sealed in (False, True):
        pdf = render_pdf(papers.certificate(), lang="en", verify_url=None, sealed=sealed)
        assert ("This PDF is sealed (PAdES)" in words(pdf)) == sealed


def test_the_same_certificate_gives_the_same_file() -> None:
    first, again = (render_pdf(papers.certificate(), lang="zh", verify_url=None) for _ in range(2))
    assert first == again


def test_the_english_paper_says_all_that_it_has_to() -> None:
    text = text_of(papers.certificate(papers.sections() | {"provenance": papers.PROVENANCE}))
    for said in (
        "Certificate of evidence registration",
        "The file described here was registered on 24 November 2026, 14:03:04 UTC.",
        "5f0c8a52-71f4-4a0e-9d5f-3f1d6c8b2e90",
        f"SHA-256 {DIGEST[:8]} … {DIGEST[-8:]}",
        "Page 1 of 2",
        "Page 2 of 2",
        "Minutes of the board meeting, 12 March 2026.pdf",
        "102,000 bytes",
        "declared: application/pdf",
        "detected: application/pdf",
        "kept by the service",
        "account m.keller",
        "role: court clerk, signed in by password",
        "Regional Court of Freiburg, Second Civil Chamber",
        "2 O 118/26",
        "K 7",
        "All times on this certificate are UTC.",
        "no. 20,488, in a ledger of 20,517 entries",
        papers.ORIGIN,
        "SELF-OPERATED",
        "Stated by the depositor, not checked",
        "Lenovo ThinkPad T14",
        "2. Message exported as PDF with attachments.",
        "What this certificate proves",
        "What it does not prove",
        "Who made the file",
        "How to check it yourself",
        "python3 verify.pyz FILE --certificate CERT",
        "sha256sum FILE",
        "certutil -hashfile FILE SHA256",
        DIGEST,
        "Made by evidence-notary 0.1.0",
        "Signature or stamp",
    ):
        assert said in text, said
    groups = " ".join(DIGEST[at : at + 4] for at in range(0, 64, 4))
    assert groups in text
    assert "openssl" not in text
    assert "Withheld" not in text
    assert "NOT STORED" not in text


def test_the_chinese_paper_is_chinese() -> None:
    text = text_of(papers.certificate(papers.sections() | {"provenance": papers.PROVENANCE}), "zh")
    text = text.replace(" ", "")
    for said in (
        "电子证据存证证书",
        "本证书所载文件已于 2026年11月24日 14:03:04 UTC 登记。",
        "第 1 页，共 2 页",
        "自营：由本证书签发者运营，并非独立机构",
        "存证人陈述，未经核实",
        "如何自行核验",
        "sha256sum FILE",
        DIGEST,
    ):
        assert said.replace(" ", "") in text, said
    assert "公证" not in text


def test_what_is_not_yet_so_is_said_to_be_not_yet() -> None:
    text = text_of(with_stamps(stamped=False))
    assert "Timestamped not yet" in text
    assert "None yet. Until an authority confirms it" in text


def test_a_timestamp_of_the_file_itself_brings_its_openssl_command() -> None:
    text = text_of(with_stamps("checkpoint", "original"))
    assert "openssl ts -verify -data FILE -in timestamps/02-original.tsr" in text
    assert "an outside authority" in text
    assert "SELF-OPERATED" not in text


def test_an_original_that_was_not_stored_is_said_to_be_not_stored() -> None:
    text = text_of(papers.certificate(papers.sections(stored=False)))
    assert "The digest of the file described here was registered" in text
    assert "NOT STORED. Only the digest was registered" in text
    assert "digest safely stored" in text


def test_withheld_sections_are_named_and_their_content_is_not_there() -> None:
    text = text_of(papers.withholding("case", "depositor"))
    assert "Depositor – Withheld in this certificate –" in text
    assert "Court – Withheld or never recorded –" in text
    for hidden in ("m.keller", "Freiburg, Second", "118/26"):
        assert hidden not in text
    text = text_of(papers.withholding("content"))
    assert "File name – Withheld in this certificate –" in text
    assert DIGEST[:8] not in text
    assert "sha256sum" not in text


def test_a_section_that_was_never_recorded_is_not_called_withheld() -> None:
    shown = papers.sections()
    del shown["case"]
    text = text_of(papers.certificate(shown))
    assert "Court" not in text.replace("Regional Court of Freiburg", "")
    assert "Withheld" not in text


def test_the_qr_code_has_the_link_or_else_the_digest() -> None:
    certificate = papers.certificate()
    url = "https://evidence.example/verify"
    assert qr_content(certificate, verify_url=url) == (url, "pdf.qr_link")
    assert qr_content(certificate, verify_url=None) == (f"sha256:{DIGEST}", "pdf.qr_digest")
    assert qr_content(papers.withholding("content"), verify_url=None) == (
        f"urn:uuid:{certificate.certificate_id}",
        "pdf.qr_certificate",
    )
    assert url in text_of(certificate, verify_url=url)


def test_a_link_too_long_for_a_qr_code_is_an_error_of_ours() -> None:
    with pytest.raises(RenderFailed, match="too long"):
        render_pdf(papers.certificate(), lang="en", verify_url="https://e.example/" + "x" * 5000)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_nasty_data_is_printed_whole_and_as_text(lang: Lang) -> None:
    text = text_of(papers.nasty(), lang)
    for code in ("U+202E", "U+1F4C4", "U+200D", "U+05D7", "U+0627", "U+0301", "U+D55C"):
        assert code in text, code
    assert "证据材料清单" in text
    assert "#eval(panic()) $x$ *not bold* @ref <label> `raw`" in text
    assert "Łódź Spółka z ograniczoną odpowiedzialnością" in text
    assert "Ελληνική" in text
    assert ".tar.gz" in text
    assert "Step number 6 of the capture." in text


NAMES = {
    "255 bytes": "x" * 251 + ".pdf",
    "one long word": "W" * 300,
    "255 bytes of Chinese": "证" * 85,
    "emoji": "\U0001f4c4\U0001f1e8\U0001f1f3\U0001f468\u200d\U0001f469\u200d\U0001f467.jpg",
    "right to left": "חוזה שכירות.pdf",
    "a long right-to-left word": "خ" * 120 + ".pdf",
    "right-to-left override": "invoice\u202efdp.exe",
    "decomposed": "re\u0301sume\u0301 Ångström.doc",
    "marks without end": "a" + "\u0301" * 300,
    "a mark without a letter": "\u0301.pdf",
    "Chinese with an accent": "中\u0302文\u0345.pdf",
    "Korean, Thai, Hindi": "한국어 ไทย हिन्दी.txt",
    "private use and unassigned": "\ue000\U0010fffd\U000e0fff\u0378.bin",
    "ideographs beyond the plane": "\U00020000\U0002a6d6.pdf",
    "spaces": "  a   b \u00a0\u3000.pdf ",
    "one space": " ",
    "typst markup": "#{panic()} *a* _b_ `c` $d$ @e <f> \\ // /*.pdf",
    "quotes and braces": "\"'{}[]()|&;<>!`.pdf",
    "a path": "../../../etc/passwd",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_any_file_name_makes_a_paper(name: str, lang: Lang) -> None:
    certificate = papers.certificate(papers.sections(name=name))
    pdf = render_pdf(certificate, lang=lang, verify_url=None)
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert len(reader.pages) <= 3
    attached = {each.name: each.content for each in reader.attachment_list}
    assert attached["certificate.json"] == certificate.encode()


@pytest.mark.parametrize("name", ["x" * 255, "Übersicht_" * 30 + ".tar.gz", "W" * 300])
def test_a_long_name_is_neither_cut_nor_broken_up_when_copied(name: str) -> None:
    pdf = render_pdf(papers.certificate(papers.sections(name=name)), lang="en", verify_url=None)
    assert name in words(pdf).replace(" ", "")


def test_nothing_runs_over_the_edge_of_the_paper() -> None:
    """The right margin has 17 mm: 48 points."""
    certificates = [
        papers.nasty(),
        *(papers.certificate(papers.sections(name=name)) for name in NAMES.values()),
    ]
    for certificate in certificates:
        pdf = render_pdf(certificate, lang="en", verify_url="https://e.example/" + "long/" * 40)
        for page in pypdf.PdfReader(io.BytesIO(pdf)).pages:
            furthest = 0.0

            def seen(text: str, cm: list[float], tm: list[float], *_: object) -> None:
                nonlocal furthest
                if text.strip():
                    x = cm[0] * tm[4] + cm[4]
                    furthest = max(furthest, x)

            page.extract_text(visitor_text=seen)
            assert furthest < 595 - 48


def test_a_record_that_does_not_list_a_disclosure_is_not_drawn() -> None:
    base = papers.draft()
    other = papers.draft(papers.sections(name="another.pdf"))
    forged = replace(base, disclosures=other.disclosures)
    with pytest.raises(CertificateMalformed, match="does not list"):
        render_pdf(sign_certificate(forged, papers.SEALING_KEY), lang="en", verify_url=None)


def test_a_section_that_is_disclosed_twice_is_not_drawn() -> None:
    base = papers.draft()
    forged = replace(base, disclosures=(*base.disclosures, base.disclosures[0]))
    with pytest.raises(CertificateMalformed, match="disclosed twice"):
        render_pdf(sign_certificate(forged, papers.SEALING_KEY), lang="en", verify_url=None)


@pytest.mark.parametrize("checkpoint", ["one line", "a\nb\nc"])
def test_a_checkpoint_without_a_root_is_not_drawn(checkpoint: str) -> None:
    base = papers.draft()
    forged = replace(base, log=replace(base.log, checkpoint=checkpoint))
    with pytest.raises(CertificateMalformed, match="root hash"):
        render_pdf(sign_certificate(forged, papers.SEALING_KEY), lang="en", verify_url=None)


@pytest.mark.parametrize("vkey", ["", "name+0badc0de", "name+0badc0de+!!!"])
def test_a_log_key_that_is_none_is_not_drawn(vkey: str) -> None:
    base = papers.draft()
    forged = replace(base, keys=replace(base.keys, log=(vkey,)))
    with pytest.raises(CertificateMalformed, match="C2SP verifier key"):
        render_pdf(sign_certificate(forged, papers.SEALING_KEY), lang="en", verify_url=None)


def test_the_fonts_have_every_character_that_they_are_said_to_have() -> None:
    alphabets = "".join(chr(code) for first, last in EMBEDDED for code in range(first, last + 1))
    own = Coverage(read_ranges(pylopdf_fonts_zh_cn.sans_path()), EMBEDDED)
    printed = [c for c in alphabets if own.prints(c)]
    assert len(printed) > 1200
    # A mark needs a letter to stand on. PDF/A refuses a text without a glyph, so this would fail.
    name = " ".join(f"a{c}" if unicodedata.combining(c) else c for c in printed)
    runs = own.runs(name)
    assert all("code" not in run for run in runs)
    text = text_of(papers.certificate(papers.sections(name=name)))
    assert "U+0104" not in text


def test_characters_that_cannot_be_seen_are_printed_as_codes() -> None:
    own = Coverage(read_ranges(pylopdf_fonts_zh_cn.sans_path()), EMBEDDED)
    assert own.runs("a\u202eb") == [{"text": "a"}, {"code": "U+202E"}, {"text": "b"}]
    assert own.runs(" a") == [{"code": "U+0020"}, {"text": "a"}]
    assert own.runs("a  b") == [
        {"text": "a"},
        {"code": "U+0020"},
        {"code": "U+0020"},
        {"text": "b"},
    ]
    assert own.runs("a b") == [{"text": "a b"}]
    assert own.runs("") == []
    assert own.runs("\U0001f4c4") == [{"code": "U+1F4C4"}]
    assert own.runs("a" + "\u0301" * 5)[-1] == {"code": "U+0301"}
    # On a Chinese character no font can set an accent, and both would vanish.
    assert own.runs("中\u0302") == [{"text": "中"}, {"code": "U+0302"}]
    assert own.runs("\u0301a") == [{"code": "U+0301"}, {"text": "a"}]
    assert own.runs("źle") == [{"alphabet": "źle"}]
    assert own.exact_runs("שa") == [{"code": "U+05E9"}, {"text": "a"}]
    assert deceives("שa")
    assert deceives("e\u0301")
    assert not deceives("é 证据")


@pytest.mark.parametrize(
    "data", [b"", b"OTTO" + bytes(40), b"\x00\x01\x00\x00\x00\x01" + bytes(40)]
)
def test_a_file_that_is_no_font_has_no_characters(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "font.otf"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cmap"):
        read_ranges(path)


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="pdftoppm is not installed")
def test_every_page_can_be_drawn_by_another_program(tmp_path: Path) -> None:
    path = tmp_path / "certificate.pdf"
    path.write_bytes(render_pdf(papers.nasty(), lang="zh", verify_url=None))
    subprocess.run(
        ["pdftoppm", "-r", "40", "-gray", str(path), str(tmp_path / "page")],
        check=True,
        capture_output=True,
    )
    pages = sorted(tmp_path.glob("page-*.pgm"))
    assert len(pages) == len(pypdf.PdfReader(path).pages)
    for page in pages:
        pixels = page.read_bytes().split(b"\n", 3)[3]
        width = 331
        # 28 mm of binding margin at 40 dpi are 44 pixels: nothing is drawn there.
        assert min(min(pixels[row * width : row * width + 43]) for row in range(460)) == 255
