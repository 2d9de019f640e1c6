"""The destruction certificate on paper: PDF/A-3a and PDF/UA-1, `destruction.json` attached."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from certs.destruction import FILE_NAME, MEDIA_TYPE, Destruction
from certs.glyphs import Coverage, Run
from certs.pdf import compile_template, covered
from certs.wording import Lang, Wording, load_wording

_TEMPLATE = Path(__file__).with_name("templates") / "destruction.typ"


def render_destruction(certificate: Destruction, *, lang: Lang) -> bytes:
    """The PDF in `lang`, the same bytes for the same input. Raises RenderFailed."""
    return covered(lambda coverage: _draw(certificate, lang, coverage))


def _draw(certificate: Destruction, lang: Lang, coverage: Coverage) -> bytes:
    inputs = {
        "sheet": json.dumps(_sheet(certificate, load_wording(lang), coverage), ensure_ascii=False),
        "certificate": certificate.encode().decode("utf-8"),
    }
    of = f"destruction certificate {certificate.draft.disposal_id}"
    return compile_template(_TEMPLATE, inputs, certificate.draft.issued_at, of)


def _sheet(certificate: Destruction, wording: Wording, coverage: Coverage) -> dict[str, Any]:
    draft, done = certificate.draft, certificate.draft.destroyed

    def t(name: str, **values: object) -> str:
        return wording.text(f"destruction.{name}", **values)

    def row(name: str, text: str) -> dict[str, list[Run]]:
        return {"label": coverage.runs(t(name)), "value": coverage.runs(text)}

    def act(who: str, at: datetime) -> str:
        return t("act", who=who, at=wording.moment(at))

    key = t("key_none") if done.key_at is None else wording.moment(done.key_at)
    return {
        "lang": wording.lang,
        "title": t("title"),
        "issuer": coverage.runs(draft.issuer.name),
        "issuer_plain": draft.issuer.name,
        "number": [t("number"), draft.disposal_id],
        "lead": coverage.runs(t("lead")),
        "what": {
            "title": t("what"),
            "rows": [
                row("deposit", draft.deposit_id),
                row("entry", t("entry_no", index=draft.deposit_index)),
                row("log", draft.issuer.origin),
            ],
        },
        "who": {
            "title": t("who"),
            "rows": [
                row("reason", draft.reason),
                row("basis", draft.basis),
                row("requested", act(draft.requested.by, draft.requested.at)),
                row("approved", act(draft.approved.by, draft.approved.at)),
                row("disposal_entry", t("entry_no", index=draft.entry.index)),
            ],
        },
        "destroyed": {
            "title": t("destroyed"),
            "rows": [
                row("details", wording.moment(done.details_at)),
                row("key", key),
                row("object", _object(certificate, wording)),
            ],
        },
        "left": {"title": t("left"), "text": coverage.runs(t("left_text"))},
        "foot": coverage.runs(t("foot", at=wording.moment(draft.issued_at))),
        "file_name": FILE_NAME,
        "media_type": MEDIA_TYPE,
        "attached": t("attached"),
        "page": wording.texts["destruction.page"],
    }


def _object(certificate: Destruction, wording: Wording) -> str:
    done = certificate.draft.destroyed
    if done.object_at is None:
        return wording.text(f"destruction.object_{done.object}_open")
    return wording.text(f"destruction.object_{done.object}", at=wording.moment(done.object_at))
