"""verify.pyz on a machine that has no service: only Python, cryptography and cbor2."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from notary.cli.pack import main
from notary.pack import NATIVE, PackError, pack
from tests.harness.certified import DOCUMENT, Papers, certify

NEEDED = ("cryptography", "cbor2", "_cffi_backend")
RUNNER = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return certify(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist") / "new" / "verify.pyz"
    assert main([str(target)]) == 0
    return target


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the native packages and nothing else."""
    folder = tmp_path_factory.mktemp("native")
    for name in NEEDED:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    return folder


def clean_run(
    pyz: Path, packages: Path, *arguments: object, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Without environment, user and site packages, and away from the sources."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", RUNNER, packages, pyz, *map(str, arguments)],
        cwd=cwd,
        env={},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


@pytest.mark.parametrize("form", ["certificate", "pdf", "bundle", "extended"])
def test_confirms_with_only_the_native_packages_there(
    papers: Papers, pyz: Path, native: Path, form: str, tmp_path: Path
) -> None:
    certificate = getattr(papers, form)
    finished = clean_run(
        pyz, native, papers.document, "-c", certificate, "-t", papers.trust, cwd=tmp_path
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "CONFIRMED (match)" in finished.stdout


def test_speaks_chinese_even_where_the_environment_names_no_encoding(
    papers: Papers, pyz: Path, native: Path, tmp_path: Path
) -> None:
    finished = clean_run(
        pyz, native, papers.document, "-c", papers.pdf, "--lang", "zh", cwd=tmp_path
    )
    assert finished.returncode == 0
    assert "您" in finished.stdout or "文件" in finished.stdout


def test_gives_the_same_exit_statuses_as_the_command(
    papers: Papers, pyz: Path, native: Path, tmp_path: Path
) -> None:
    (tmp_path / "altered").write_bytes(DOCUMENT[:-1])
    for arguments, status in (
        ((tmp_path / "altered", "-c", papers.bundle), 1),
        (("-c", papers.certificate), 2),
        ((tmp_path / "none", "-c", papers.certificate), 64),
        ((), 64),
    ):
        finished = clean_run(pyz, native, *arguments, cwd=tmp_path)
        assert finished.returncode == status, finished.stderr
        assert "Traceback" not in finished.stderr


def test_without_the_native_packages_it_says_which_to_install(
    papers: Papers, pyz: Path, tmp_path: Path
) -> None:
    finished = clean_run(pyz, tmp_path, papers.document, "-c", papers.certificate, cwd=tmp_path)
    assert finished.returncode == 69
    assert finished.stdout == ""
    assert f"-m pip install --upgrade {' '.join(NATIVE)}" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_beside_an_older_cryptography_it_says_so_and_accuses_nobody(
    papers: Papers, pyz: Path, native: Path, tmp_path: Path
) -> None:
    """Distributions bring one that lacks ML-DSA. A traceback would end with the status of a
    certificate that is not genuine."""
    (tmp_path / "cbor2").symlink_to(native / "cbor2")
    older = tmp_path / "cryptography" / "hazmat" / "primitives" / "asymmetric"
    older.mkdir(parents=True)
    for folder in (older, *older.parents[:3]):
        (folder / "__init__.py").touch()
    finished = clean_run(pyz, tmp_path, papers.document, "-c", papers.certificate, cwd=tmp_path)
    assert finished.returncode == 69
    assert finished.stdout == ""
    assert "-m pip install --upgrade cryptography\n" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_packing_twice_gives_the_same_bytes(pyz: Path) -> None:
    assert pack() == pyz.read_bytes()


def test_holds_nothing_of_the_service(pyz: Path) -> None:
    with zipfile.ZipFile(pyz) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {
        "__main__.py", "certs", "notary", "pypdf"
    }  # fmt: skip
    for unwanted in ("notary/office.py", "notary/web/__init__.py", "notary/ledger.py"):
        assert unwanted not in names
    assert "pypdf/LICENSE" in names


def test_package_that_is_neither_pure_nor_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notary.pack.NATIVE", ("cryptography",))
    pack.cache_clear()
    with pytest.raises(PackError, match="cbor2"):
        pack()
