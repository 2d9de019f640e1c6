"""`notary seal`: shows the seal of papers, makes a new one, and says where there is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from notary.cli.seal import seal
from notary.errors import MalformedInput
from notary.office import found
from notary.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found(Settings(home=tmp_path / "house"))
    monkeypatch.setenv("NOTARY_HOME", str(tmp_path / "house"))
    return tmp_path / "house"


def run(*words: str) -> Result:
    return CliRunner().invoke(seal, words)


def test_it_says_whose_it_is_and_where_its_key_lies(home: Path) -> None:
    told = run()
    assert told.exit_code == 0
    (key,) = (home / "keys").glob("seal-*.pem")
    assert f"key {key}" in told.output
    assert "of the house itself" in told.output


def test_the_root_in_pem_is_the_one_whose_digest_is_shown(home: Path) -> None:
    root = x509.load_pem_x509_certificate(run("--root").output.encode())
    digest = hashlib.sha256(root.public_bytes(Encoding.DER)).hexdigest()
    assert f"root SHA-256 {digest}" in run().output
    assert (home / "keys/seal.crt").read_text().count("BEGIN CERTIFICATE") == 2


def test_a_new_one_takes_the_place_and_the_old_certificate_is_kept(home: Path) -> None:
    before = run("--root").output
    told = run("--new")
    assert told.exit_code == 0
    assert run("--root").output != before
    kept = [path.read_text() for path in (home / "keys").glob("seal-*.crt")]
    assert len(kept) == 2
    assert any(before in text for text in kept)


def test_a_house_without_one_is_told_how_to_make_it(home: Path) -> None:
    (home / "keys/seal.crt").unlink()
    told = run()
    assert told.exit_code == 1
    assert "notary seal --new" in told.output
    assert run("--new").exit_code == 0


def test_an_outside_seal_is_renewed_by_its_issuer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTARY_SEAL_CHAIN", str(home / "keys/seal.crt"))
    told = run("--new")
    assert isinstance(told.exception, MalformedInput)
    assert told.exception.code == "settings"
