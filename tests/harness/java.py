"""Judges in Java: Maven fetches them outside the tree, with one class of ours that asks them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

BUILD_S = 300


def build_java(project: Path, main: str, folder: Path) -> None:
    """`folder` gets the classes, and `lib` in it what `project`'s pom.xml names. Skips where Java
    or Maven is missing or fetches none."""
    for program in ("java", "javac", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: {main} was not asked")
    fetched = subprocess.run(
        ["mvn", "-q", "-B", "-f", project / "pom.xml", "dependency:copy-dependencies",
         f"-DoutputDirectory={folder / 'lib'}"],
        capture_output=True, text=True, timeout=BUILD_S, check=False,
    )  # fmt: skip
    if fetched.returncode != 0:
        pytest.skip(f"Maven fetched nothing for {main}: {fetched.stdout[-300:]}")
    subprocess.run(
        ["javac", "-cp", f"{folder / 'lib'}/*", "-d", folder, project / f"{main}.java"],
        check=True, timeout=BUILD_S,
    )  # fmt: skip
