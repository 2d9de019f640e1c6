"""ASiC containers before EU DSS, the Commission's own validator, without any network."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.harness.contained import Contained, contain

JAVA = Path(__file__).with_name("dss")
BUILD_S, JUDGE_S = 300, 300
PASSED = "PASSED null"
MANIFEST_TOKEN = "CONTAINER_TIMESTAMP META-INF/timestamp001.tst"
BLINDED = (
    "warning: The first hash value list contains other objects than data provided to the "
    "validation!"
)
"""Of a record whose leaf stands beside a value that blinds it."""

Said = dict[str, dict[str, tuple[str, str]]]
"""For each container, for each thing in it: the indication, and why."""


@pytest.fixture(scope="module")
def contained(tmp_path_factory: pytest.TempPathFactory) -> Contained:
    return contain(tmp_path_factory.mktemp("contained"))


@pytest.fixture(scope="module")
def dss(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its classes, built outside the tree. Skips where Java or Maven is missing or fetches none."""
    for program in ("java", "javac", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: EU DSS was not asked")
    folder = tmp_path_factory.mktemp("dss")
    fetched = subprocess.run(
        ["mvn", "-q", "-B", "-f", JAVA / "pom.xml", "dependency:copy-dependencies",
         f"-DoutputDirectory={folder / 'lib'}"],
        capture_output=True, text=True, timeout=BUILD_S, check=False,
    )  # fmt: skip
    if fetched.returncode != 0:
        pytest.skip(f"Maven fetched no EU DSS: {fetched.stdout[-300:]}")
    subprocess.run(
        ["javac", "-cp", f"{folder / 'lib'}/*", "-d", folder, JAVA / "Asic.java"],
        check=True, timeout=BUILD_S,
    )  # fmt: skip
    return folder


def judged(dss: Path, contained: Contained, *paths: Path) -> Said:
    told = subprocess.run(
        ["java", "-cp", f"{dss / 'lib'}/*:{dss}", "Asic", contained.roots, contained.crl, *paths],
        check=True, capture_output=True, text=True, timeout=JUDGE_S,
    ).stdout  # fmt: skip
    said: Said = {path.name: {} for path in paths}
    for line in told.splitlines():
        name, what, indication, why = line.split("\t", 3)
        said[name][what] = (indication, why.rpartition("; ")[2] if "intact" not in why else why)
    return said


def test_dss_accepts_every_container(dss: Path, contained: Contained) -> None:
    paths = (contained.extended, contained.later, contained.digest_only, contained.simple)
    intact = (PASSED, "data found and intact: true true; ")
    alone = {"container": ("ASiC-E", ""), MANIFEST_TOKEN: intact}
    assert judged(dss, contained, *paths) == {
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
    dss: Path, contained: Contained, tmp_path: Path
) -> None:
    with zipfile.ZipFile(contained.later) as archive:
        names = [each for each in archive.namelist() if each != "mimetype"]
    paths = [
        altered(contained.later, tmp_path / f"{n}.asice", name) for n, name in enumerate(names)
    ]
    said = judged(dss, contained, *paths)
    for n, name in enumerate(names):
        indication, why = said[f"{n}.asice"].get(MANIFEST_TOKEN, ("none", ""))
        assert indication != PASSED, (name, indication, why)
