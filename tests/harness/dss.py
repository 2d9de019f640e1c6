"""EU DSS, the Commission's own validator of signatures, containers and evidence records: built by
Maven outside the tree, and asked without any network."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.contained import Contained

JAVA = Path(__file__).resolve().parents[1] / "judges" / "dss"
BUILD_S, JUDGE_S = 300, 300

Said = dict[str, dict[str, tuple[str, str]]]
"""For each file, for each thing in it: the indication, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dss:
    classes: Path

    def judged(self, contained: Contained, *paths: Path) -> Said:
        told = subprocess.run(
            ["java", "-cp", f"{self.classes / 'lib'}/*:{self.classes}", "Dss", contained.roots,
             contained.crl, *paths],
            check=True, capture_output=True, text=True, timeout=JUDGE_S,
        ).stdout  # fmt: skip
        said: Said = {path.name: {} for path in paths}
        for line in told.splitlines():
            name, what, indication, why = line.split("\t", 3)
            said[name][what] = (indication, why.rpartition("; ")[2] if "intact" not in why else why)
        return said


def build_dss(folder: Path) -> Dss:
    """Skips where Java or Maven is missing or fetches none."""
    for program in ("java", "javac", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: EU DSS was not asked")
    fetched = subprocess.run(
        ["mvn", "-q", "-B", "-f", JAVA / "pom.xml", "dependency:copy-dependencies",
         f"-DoutputDirectory={folder / 'lib'}"],
        capture_output=True, text=True, timeout=BUILD_S, check=False,
    )  # fmt: skip
    if fetched.returncode != 0:
        pytest.skip(f"Maven fetched no EU DSS: {fetched.stdout[-300:]}")
    subprocess.run(
        ["javac", "-cp", f"{folder / 'lib'}/*", "-d", folder, JAVA / "Dss.java"],
        check=True, timeout=BUILD_S,
    )  # fmt: skip
    return Dss(classes=folder)
