"""The file in hand against the one that a genuine certificate registers. PURE.

Where they differ, the code says the likely reason, if one was tested: what an honest mistake looks
like must not be left to look like an alteration.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from notary.digest import EMPTY_SHA256, SHA256
from notary.verdict import Check, Document, Status, Verdict

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`verdict` and `code` as far as the file goes; the time is not looked at."""

    checks: tuple[Check, ...]
    verdict: Verdict
    code: str


def registered_content(sections: Mapping[str, object]) -> tuple[str | None, int | None]:
    """(SHA-256 in hex, size) of the registered original; (None, None) where it is withheld."""
    match sections.get("content"):
        case {"digests": {"sha-256": str(sha256)}, "size": int(size)} if _HEX.fullmatch(
            sha256
        ) and not isinstance(size, bool):
            return sha256, size
    return None, None


def registered_name(sections: Mapping[str, object]) -> str | None:
    """The file name as it was given, where there was one and it is shown."""
    match sections.get("content"):
        case {"name": str(name)}:
            return name
    return None


def compare(sections: Mapping[str, object], document: Document | None) -> Comparison:
    """What the file in hand is, by the sections of a genuine certificate."""
    sha256, size = registered_content(sections)
    if document is None:
        return _not_compared("no_document", "no document was given")
    if sha256 is None:
        return _not_compared("proof_missing", "section content is withheld")
    ours = document.digests[SHA256]
    if ours != sha256:
        return _different(sections, document, sha256, size)
    same = Check(name="document_digest", status=Status.PASSED, detail=f"sha-256 {ours}")
    if document.size != size:
        # The digest would have to collide; the sizes tell that something is badly wrong.
        return Comparison(
            checks=(same, _size(document, size)),
            verdict=Verdict.NOT_THIS_FILE,
            code="size_mismatch",
        )
    match sections["content"]:
        case {"stored": False}:
            code = "match_digest_only_record"
        case _:
            code = "match"
    return Comparison(checks=(same, _size(document, size)), verdict=Verdict.CONFIRMED, code=code)


def _not_compared(code: str, why: str) -> Comparison:
    check = Check(name="document_digest", status=Status.NOT_MADE, code=code, detail=why)
    return Comparison(checks=(check,), verdict=Verdict.UNDECIDED, code=code)


def _size(document: Document, size: int | None) -> Check:
    same = document.size == size
    return Check(
        name="document_size",
        status=Status.PASSED if same else Status.FAILED,
        code=None if same else "size_mismatch",
        detail=f"{size} bytes" if same else f"registered {size} bytes, got {document.size}",
    )


def _different(
    sections: Mapping[str, object], document: Document, sha256: str, size: int | None
) -> Comparison:
    code = "digest_mismatch"
    if document.size == 0 and sha256 != EMPTY_SHA256:
        code = "empty_file"
    elif document.is_certificate:
        code = "certificate_file_given"
    elif document.near is not None:
        code = document.near
    elif document.size != size and _same_name(document.name, registered_name(sections)):
        code = "same_name_other_size"
    digest = Check(
        name="document_digest",
        status=Status.FAILED,
        code=code,
        detail=f"registered sha-256 {sha256}, got {document.digests[SHA256]}",
    )
    return Comparison(
        checks=(digest, _size(document, size)), verdict=Verdict.NOT_THIS_FILE, code=code
    )


def _same_name(ours: str | None, registered: str | None) -> bool:
    """As people read them: systems write one name in several ways (Unicode's NFC and NFD)."""
    if ours is None or registered is None:
        return False
    return unicodedata.normalize("NFC", ours) == unicodedata.normalize("NFC", registered)
