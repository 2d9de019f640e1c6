"""docs/verifying.md, typed as it stands: every command of it, in a folder of the lawyer's own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from notary.model import Declared
from notary.pack import pack
from tests.harness.certified import deposit, depositor, open_house
from tests.harness.disposing import clerks, dispose

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "verifying.md").read_text("utf-8")
COMMAND = re.compile(r"    ((?:python3 verify\.pyz|openssl|sed|unzip|awk|for|cd|grep|[A-Z]+=).*)")
MINUTES = b"The contract is ended by agreement.\n"
TOOLS = ("bash", "openssl", "sha256sum", "xxd", "awk", "unzip")

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"
)


def commands(beginning: str, end: str) -> list[str]:
    """Of the part of the page between two headings."""
    part = PAGE.partition(f"\n{beginning}\n")[2].partition(f"\n{end}\n")[0]
    assert part, beginning
    return [found[1] for line in part.splitlines() if (found := COMMAND.fullmatch(line))]


VERIFIER = commands("## With the verifier", "### What the verdict says")
BATCH = commands("### Many at once", "### Asking for witnesses")
BY_HAND = commands("## By hand", "## The container (`bundle.asice`)")
*CONTAINER, UNPACKED, SIMPLE = commands(
    "## The container (`bundle.asice`)", "## The seal of the PDF"
)


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page says one has."""
    house = open_house(tmp_path_factory.mktemp("house") / "house")
    folder, by = tmp_path_factory.mktemp("handed"), depositor(house)
    declared = Declared(name="minutes.txt", document_timestamp=True)
    held = deposit(house, by, MINUTES, declared).deposit
    for number in range(5):
        deposit(house, by, b"%d" % number, Declared(name="other", document_timestamp=True))
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    house.trees.begin(first=0, until=house.clock.now())
    house.archiving.build()
    assert house.archiving.stamp() == 1
    issued = house.issue.certificate(held, by=by)
    (folder / "minutes.txt").write_bytes(MINUTES)
    (folder / "certificate.pdf").write_bytes(house.issue.pdf(issued, lang="en"))
    (folder / "bundle.zip").write_bytes(b"".join(house.issue.bundle(held, issued)))
    (folder / "bundle.asice").write_bytes(b"".join(house.issue.extended(held, issued)))
    (folder / "bundle.asics").write_bytes(b"".join(house.issue.simple(held, issued)))
    (folder / "trust.toml").write_text(house.trust.encode(), "utf-8")
    (folder / "verify.pyz").write_bytes(pack())
    both = clerks(house)
    gone = dispose(house, both, deposit(house, both.first, b"gone", Declared(name="x")).deposit)
    (folder / "destruction.json").write_bytes(house.destructions.certificate(gone).encode())
    (folder / "folder").mkdir()
    for name in ("minutes.txt", "certificate.pdf"):
        shutil.copy(folder / name, folder / "folder" / name)
    house.close()
    return folder


@pytest.fixture
def folder(handed_out: Path, tmp_path: Path) -> Path:
    """A copy to work in; its `bin` has the Python that the page has us set up."""
    shutil.copytree(handed_out, tmp_path / "mine")
    python = tmp_path / "mine" / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return tmp_path / "mine"


def typed(folder: Path, lines: list[str]) -> subprocess.CompletedProcess[str]:
    """In one shell, which stops at the first that fails."""
    return subprocess.run(
        ["bash", "-e", "-c", "PATH=$PWD/bin:$PATH\n" + "\n".join(lines)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_page_has_the_commands_that_are_tried_here() -> None:
    assert (len(VERIFIER), len(BATCH), len(BY_HAND)) == (3, 1, 12)
    assert len(CONTAINER) == 6


@pytest.mark.parametrize("line", VERIFIER)
def test_the_verifiers_commands_confirm(folder: Path, line: str) -> None:
    done = typed(folder, [line])
    assert (done.returncode, done.stderr) == (0, "")
    assert "CONFIRMED (" in done.stdout


def test_the_batch_is_confirmed_and_its_report_signed(folder: Path) -> None:
    (key,) = re.findall(r"`(openssl genpkey [^`]+)`", PAGE)
    done = typed(folder, [key, *BATCH])
    assert done.returncode == 0, done.stderr
    assert "signed with your key" in done.stdout
    assert (folder / "results.csv").read_text("utf-8").count(",confirmed,match,") == 1


def test_everything_by_hand_agrees(folder: Path) -> None:
    done = typed(folder, BY_HAND)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Verification: OK") == 3
    (time,) = re.findall(r"Time stamp: (.*)", done.stdout)
    assert time.endswith("GMT")
    told = typed(folder, re.findall(r"`(openssl ts -reply -token_in [^`]+)`", PAGE))
    assert "Time stamp: " in told.stdout


def test_the_containers_agree(folder: Path) -> None:
    done = typed(folder, CONTAINER)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Verification: OK") == 1
    (digest,) = re.findall(r"\n([A-Za-z0-9+/]{43}=)\n", done.stdout)
    assert f">{digest}<" in done.stdout
    done = typed(folder, [BY_HAND[1], UNPACKED, SIMPLE])
    assert done.returncode == 0, done.stderr
    assert "Verification: OK" in done.stdout


def test_by_hand_another_document_is_not_taken_for_it(folder: Path) -> None:
    (folder / "minutes.txt").write_bytes(MINUTES.replace(b"ended", b"not ended"))
    by_time = [line for line in BY_HAND if "-data minutes.txt" in line]
    done = typed(folder, [*BY_HAND[:2], *by_time])
    assert (done.returncode, "Verification: OK" in done.stdout) == (1, False)
    shutil.rmtree(folder / "bundle")
    done = typed(folder, [line for line in BY_HAND if "-data" not in line])
    assert (done.returncode, "Verification: OK" in done.stdout) == (1, False)
