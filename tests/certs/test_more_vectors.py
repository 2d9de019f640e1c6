"""The vectors of destruction certificates and of containers: every folder has the verdict that it
says, and a container what a stranger's reader says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from notary.cli.verify import judge
from tests.harness.asic_reader import NotGood, check_extended

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def cases(kind: str) -> list[Path]:
    return sorted(path.parent for path in VECTORS.glob(f"{kind}/*/expected.json"))


BOTH = [*cases("destructions"), *cases("containers")]


def found(path: Path) -> str | None:
    return str(path) if path.exists() else None


def said(case: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((case / "expected.json").read_text("utf-8"))
    return loaded


def given(case: Path) -> Path:
    """What is judged: the one file that is neither text nor the trust file."""
    (path,) = (
        path
        for path in case.iterdir()
        if path.name not in ("README", "expected.json", "trust.toml", "roots.pem")
    )
    return path


@pytest.mark.parametrize("case", BOTH, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_every_file_has_its_verdict(case: Path) -> None:
    report = judge(None, str(given(case)), found(case / "trust.toml"))
    expected = said(case)
    expected.pop("container", None)
    assert {
        "verdict": report.verdict.value,
        "code": report.code,
        "exit_status": report.exit_status,
        "trusted_keys": report.trusted_keys,
    } == expected
    assert (case / "README").read_text("utf-8").strip()


@pytest.mark.parametrize("case", BOTH, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_a_folder_named_fail_is_not_confirmed_and_the_others_are(case: Path) -> None:
    assert case.name.endswith("_fail") == (said(case)["verdict"] != "confirmed")


@pytest.mark.parametrize("kind", ["destructions", "containers"])
def test_there_are_good_ones_and_bad_ones(kind: str) -> None:
    assert {case.name.endswith("_fail") for case in cases(kind)} == {True, False}


@pytest.mark.parametrize("case", cases("containers"), ids=lambda case: case.name)
def test_a_strangers_reader_says_of_the_container_what_it_should(
    case: Path, tmp_path: Path
) -> None:
    holds = True
    try:
        check_extended(given(case), case / "roots.pem", tmp_path)
    except NotGood:
        holds = False
    assert holds == (said(case)["container"] == "holds")
