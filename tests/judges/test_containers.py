"""ASiC containers before EU DSS, the Commission's own validator, without any network."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.harness.contained import Contained
from tests.harness.dss import Dss

PASSED = "PASSED null"
MANIFEST_TOKEN = "CONTAINER_TIMESTAMP META-INF/timestamp001.tst"
BLINDED = (
    "warning: The first hash value list contains other objects than data provided to the "
    "validation!"
)
"""Of a record whose leaf stands beside a value that blinds it."""

pytestmark = pytest.mark.slow  # Java, and Maven


def test_dss_accepts_every_container(dss: Dss, contained: Contained) -> None:
    paths = (contained.extended, contained.later, contained.digest_only, contained.simple)
    intact = (PASSED, "data found and intact: true true; ")
    alone = {"container": ("ASiC-E", ""), MANIFEST_TOKEN: intact}
    assert dss.judged(contained, *paths) == {
        "bundle.asice": alone,
        "later.asice": alone
        | {
            "EVIDENCE_RECORD_TIMESTAMP null": intact,
            "RECORD META-INF/evidencerecord001.ers": (PASSED, BLINDED),
        },
        "alone.asice": alone,
        "simple.asics": {
            "container": ("ASiC-S", ""),
            "CONTAINER_TIMESTAMP META-INF/timestamp.tst": intact,
        },
    }


def altered(source: Path, target: Path, member: str) -> Path:
    """A copy, whole as a ZIP file, with one byte of that member flipped."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for each in old.infolist():
            data = old.read(each)
            if each.filename == member:
                data = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
            new.writestr(each, data)
    return target


def test_dss_refuses_a_container_in_which_any_file_was_changed(
    dss: Dss, contained: Contained, tmp_path: Path
) -> None:
    with zipfile.ZipFile(contained.later) as archive:
        names = [each for each in archive.namelist() if each != "mimetype"]
    paths = [
        altered(contained.later, tmp_path / f"{n}.asice", name) for n, name in enumerate(names)
    ]
    said = dss.judged(contained, *paths)
    for n, name in enumerate(names):
        indication, why = said[f"{n}.asice"].get(MANIFEST_TOKEN, ("none", ""))
        assert indication != PASSED, (name, indication, why)
