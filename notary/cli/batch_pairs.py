"""Which file is verified with which certificate: from a manifest, or from a folder by its names."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from notary.cli.verify_frame import UsageError
from notary.handed import FIRST_MEMBER
from notary.verify_destruction import FIRST_MEMBER as DESTRUCTION
from notary.verifying import Pair

COLUMNS: Final = {"document", "certificate"}
SUFFIX: Final = ".certificate"
BUNDLES: Final = (".zip", ".asice")
ORIGINAL: Final = "original"


def read_pairs(place: str) -> list[Pair]:
    """Raises UsageError."""
    path = Path(place)
    try:
        pairs = list(_of_folder(path) if path.is_dir() else _of_manifest(path))
    except OSError as exc:
        raise UsageError(f"cannot read {exc.filename or place}: {exc.strerror}") from exc
    except (csv.Error, UnicodeDecodeError) as exc:
        raise UsageError(f"manifest {place}: {exc}") from exc
    if not pairs:
        raise UsageError(f"there is no certificate in {place}")
    return pairs


def _of_manifest(path: Path) -> Iterator[Pair]:
    """CSV with the columns `certificate` and `document` (which may be empty); paths are below the
    manifest's folder."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        if not set(rows.fieldnames or ()) >= COLUMNS:
            raise UsageError(
                f"manifest {path} has columns {rows.fieldnames}, needed are {sorted(COLUMNS)}"
            )
        for number, row in enumerate(rows, 1):
            if not row["certificate"]:
                raise UsageError(f"manifest {path}, line {rows.line_num}: no certificate")
            document = row["document"]
            yield Pair(
                number=number,
                certificate=str(path.parent / row["certificate"]),
                document=str(path.parent / document) if document else None,
            )


def _of_folder(folder: Path) -> Iterator[Pair]:
    """Every certificate in the folder and below it, in the order of the names."""
    number = 0
    for path in walk(folder):
        if is_certificate(path):
            number += 1
            document = _document_of(path)
            yield Pair(
                number=number,
                certificate=path,
                document=document,
                beside=document is None and not path.lower().endswith(BUNDLES),
            )


def walk(folder: Path) -> Iterator[str]:
    """Every file, links to folders not followed. Raises OSError."""

    def fail(error: OSError) -> None:
        raise error

    for root, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        for name in sorted(files):
            yield os.path.join(root, name)  # a Path for each of a million takes long


def is_certificate(path: str) -> bool:
    """By its name, and of JSON by its first bytes: other JSON files are documents."""
    name = os.path.basename(path).lower()
    if name.endswith(".json"):
        with open(path, "rb") as file:
            return file.read(len(FIRST_MEMBER)).startswith((FIRST_MEMBER, DESTRUCTION))
    return name.endswith(BUNDLES) or (name.endswith(".pdf") and "certificate" in name)


def _document_of(certificate: str) -> str | None:
    """`minutes.txt` of `minutes.txt.certificate.json`; what is alone in `original/` beside."""
    stem, _ = os.path.splitext(certificate)
    if stem.endswith(SUFFIX):
        named = stem.removesuffix(SUFFIX)
        return named if os.path.isfile(named) else None
    beside = Path(certificate).parent / ORIGINAL
    if not certificate.lower().endswith(BUNDLES) and beside.is_dir():
        there = [each for each in beside.iterdir() if each.is_file()]
        return str(there[0]) if len(there) == 1 else None
    return None
