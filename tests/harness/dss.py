"""EU DSS, the Commission's own validator of signatures, containers and evidence records: built by
Maven outside the tree, and asked without any network."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.harness.contained import Contained
from tests.harness.java import build_java

JAVA = Path(__file__).resolve().parents[1] / "judges" / "dss"
JUDGE_S = 300

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
    build_java(JAVA, "Dss", folder)
    return Dss(classes=folder)
