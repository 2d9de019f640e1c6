"""The certificate on paper: PDF/A-3a and PDF/UA-1 in one file, drawn by typst.

The data goes in as JSON, never into the markup, so no text of a depositor can become a command
of the typesetter. `certificate.json` and its proofs are attached, byte for byte. Not sealed yet:
that is `pades`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import pylopdf_fonts_zh_cn
import segno
import typst
from segno.encoder import DataOverflowError

from certs.attached import attachments
from certs.certificate import Certificate
from certs.errors import RenderFailed
from certs.form import Form
from certs.form_sheet import build_form_sheet
from certs.glyphs import EMBEDDED, Coverage, read_ranges
from certs.sheet import build_sheet, qr_content
from certs.wording import PaperLang, load_wording

STANDARDS: list[typst.PDFStandard] = ["a-3a", "ua-1"]

Paper = Literal["a4", "letter"]
PAPERS: tuple[Paper, ...] = get_args(Paper)

_TYPST_PAPER: dict[Paper, str] = {"a4": "a4", "letter": "us-letter"}
_NO_PROOFS: Mapping[str, bytes] = MappingProxyType({})
_TEMPLATE = Path(__file__).with_name("templates") / "certificate.typ"
_NO_GLYPH = "could not be displayed"


def render_pdf(
    certificate: Certificate,
    *,
    lang: PaperLang,
    verify_url: str | None,
    reread_at: datetime | None = None,
    paper: Paper = "a4",
    proofs: Mapping[str, bytes] = _NO_PROOFS,
    sealed: bool = False,
    form: Form | None = None,
) -> bytes:
    """The PDF of `certificate` in `lang`, the same bytes for the same input.

    `verify_url` goes into the QR code; None puts the file's digest there. `reread_at` is when the
    stored original was last read again and found whole: by the issuer's word, beside the
    certificate and no part of it. `proofs` are what `attachments` wants. `sealed` says on the
    paper that it will be. `form` is a court profile filled in for this certificate: its pages
    follow the certificate's, and its data is attached. Raises RenderFailed when it cannot be
    drawn, CertificateMalformed when the record, a disclosure or the checkpoint cannot be read.
    """
    words = load_wording(lang)

    def draw(coverage: Coverage) -> bytes:
        sheet = build_sheet(
            certificate, words, coverage, verify_url=verify_url, reread_at=reread_at
        )
        sheet["paper"] = _TYPST_PAPER[paper]
        sheet["seal_note"] = coverage.runs(words.text("pdf.seal_note")) if sealed else None
        sheet["attachments"] = [
            {
                "name": each.name,
                "bytes": list(each.content),
                "media_type": each.media_type,
                "relationship": each.relationship,
                "description": each.description,
            }
            for each in attachments(certificate, words, proofs, form)
        ]
        if form is not None:
            sheet["form"] = build_form_sheet(form, words, coverage)
        inputs = {
            "sheet": json.dumps(sheet, ensure_ascii=False),
            "qr": _qr_svg(qr_content(certificate, verify_url=verify_url)[0]),
        }
        of = f"certificate {certificate.certificate_id}"
        return compile_template(_TEMPLATE, inputs, certificate.times.issued_at, of)

    return covered(draw)


def covered(draw: Callable[[Coverage], bytes]) -> bytes:
    """What `draw` gives with all fonts; where no single one has a combination, say a Chinese
    character with a Greek accent, with codes for everything that the main font has not."""
    own = read_ranges(pylopdf_fonts_zh_cn.sans_path())
    try:
        return draw(Coverage(own, EMBEDDED))
    except RenderFailed as exc:
        if _NO_GLYPH not in str(exc):
            raise
    return draw(Coverage(own))


def compile_template(template: Path, inputs: dict[str, str], issued_at: datetime, of: str) -> bytes:
    """PDF/A-3a and PDF/UA-1, dated `issued_at`. Raises RenderFailed, naming the paper by `of`."""
    try:
        return typst.compile(
            template,
            format="pdf",
            font_paths=_fonts(),
            ignore_system_fonts=True,
            sys_inputs=inputs,
            pdf_standards=STANDARDS,
            timestamp=int(issued_at.timestamp()),
        )
    except typst.TypstError as exc:
        raise RenderFailed(f"{of} cannot be drawn: {exc.message:.300}") from exc


# Cached: installed fonts do not change while the program runs.
@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(
        include_system_fonts=False,
        include_embedded_fonts=True,
        font_paths=[pylopdf_fonts_zh_cn.sans_path().parent],
    )


def _qr_svg(content: str) -> str:
    try:
        code = segno.make(content, error="m", micro=False)
    except DataOverflowError as exc:
        raise RenderFailed(f"text of {len(content)} characters is too long for a QR code") from exc
    svg = io.BytesIO()
    # Four modules of quiet zone: ISO/IEC 18004.
    code.save(svg, kind="svg", border=4, xmldecl=False, svgns=True, omitsize=True)
    return svg.getvalue().decode("utf-8")
