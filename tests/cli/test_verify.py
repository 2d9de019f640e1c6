"""`notary verify` as a lawyer runs it: what it prints, and the status a script goes by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from notary.cli.verify import USAGE, main
from tests.harness.certified import DOCUMENT, Papers, certify
from tests.harness.server import REPOSITORY

CONFIRMED, NOT_GENUINE, UNDECIDED = 0, 1, 2


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return certify(tmp_path_factory.mktemp("papers"))


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def code(out: str) -> str:
    found: str = json.loads(out)["code"]
    return found


@pytest.mark.parametrize("form", ["certificate", "pdf", "bundle", "extended"])
def test_registered_document_is_confirmed_by_every_form_of_its_certificate(
    papers: Papers, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = getattr(papers, form)
    assert run(papers.document, "--certificate", certificate, "--trust", papers.trust) == CONFIRMED
    shown = capsys.readouterr().out
    assert "CONFIRMED (match)" in shown
    assert "The keys were taken from your trust file." in shown


def test_bundle_needs_no_document_beside_it(
    papers: Papers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-c", papers.bundle, "--json") == CONFIRMED
    report = json.loads(capsys.readouterr().out)
    assert report["document"]["size"] == len(DOCUMENT)
    assert report["document"]["digests"]["sha-256"] == papers.deposit.sha256


def test_document_given_beside_a_bundle_counts_and_not_the_bundled_one(
    papers: Papers, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"another document")
    assert run(other, "-c", papers.bundle) == NOT_GENUINE


def test_without_a_trust_file_the_verdict_says_that_only_embedded_keys_were_used(
    papers: Papers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(papers.document, "-c", papers.certificate, "--json") == CONFIRMED
    report = json.loads(capsys.readouterr().out)
    assert report["trusted_keys"] is False
    assert {c["code"] for c in report["checks"] if c["name"] == "log_keys"} == {"embedded_keys"}


def test_json_report_holds_verdict_checks_and_facts(
    papers: Papers, capsys: pytest.CaptureFixture[str]
) -> None:
    run(papers.document, "-c", papers.certificate, "-t", papers.trust, "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["code"], report["exit_status"]) == ("confirmed", "match", 0)
    assert {check["status"] for check in report["checks"]} == {"passed"}
    assert report["facts"]["deposit_id"] == papers.deposit.id
    assert report["facts"]["leaf_index"] == papers.deposit.index
    assert report["facts"]["self_operated_time_only"] is True


def test_chinese_is_spoken_and_the_codes_stay(
    papers: Papers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(papers.document, "-c", papers.certificate, "--lang", "zh") == CONFIRMED
    shown = capsys.readouterr().out
    assert "(match)" in shown
    assert "公证" not in shown
    assert "This is exactly the file" not in shown


@pytest.mark.parametrize("position", [0, len(DOCUMENT) // 2, len(DOCUMENT) - 1])
def test_document_with_one_flipped_bit_is_not_this_file(
    papers: Papers, tmp_path: Path, position: int, capsys: pytest.CaptureFixture[str]
) -> None:
    altered = bytearray(DOCUMENT)
    altered[position] ^= 1
    (tmp_path / "altered").write_bytes(altered)
    assert run(tmp_path / "altered", "-c", papers.certificate, "--json") == NOT_GENUINE
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["code"]) == ("not_this_file", "digest_mismatch")
    assert report["facts"] is not None


def test_empty_document_is_called_empty(
    papers: Papers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()
    assert run(tmp_path / "empty", "-c", papers.certificate, "--json") == NOT_GENUINE
    assert code(capsys.readouterr().out) == "empty_file"


@pytest.mark.parametrize("form", ["certificate", "pdf"])
def test_certificate_handed_in_as_the_document_is_told_so(
    papers: Papers, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(getattr(papers, form), "-c", papers.certificate, "--json") == NOT_GENUINE
    assert code(capsys.readouterr().out) == "certificate_file_given"


def test_certificate_that_says_more_than_was_signed_is_not_genuine(
    papers: Papers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = papers.certificate.read_bytes().replace(b'"version":1}', b'"version":2}')
    assert said != papers.certificate.read_bytes()
    (tmp_path / "altered.json").write_bytes(said)
    assert run(papers.document, "-c", tmp_path / "altered.json", "--json") == NOT_GENUINE
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["code"]) == ("not_genuine", "signature_invalid")
    assert report["facts"] is None


def test_certificate_of_another_house_is_undecided_under_our_trust_file(
    papers: Papers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = certify(tmp_path)
    assert run(papers.document, "-c", other.certificate, "-t", papers.trust, "--json") == UNDECIDED
    assert code(capsys.readouterr().out) == "unknown_key"


def test_certificate_without_a_document_is_undecided(
    papers: Papers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-c", papers.certificate, "--json") == UNDECIDED
    assert code(capsys.readouterr().out) == "no_document"


def test_certificate_without_timestamps_confirms_but_not_the_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    papers = certify(tmp_path, stamped=False)
    assert run(papers.document, "-c", papers.certificate, "--json") == CONFIRMED
    assert code(capsys.readouterr().out) == "match_not_yet_anchored"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}", b"%PDF-1.7\n", b"PK\x03\x04", b"\xff" * 100, b'{"type":"other/v1"}'],
    ids=["empty", "brace", "object", "pdf", "zip", "binary", "other type"],
)
def test_file_that_is_no_certificate_is_undecided(
    papers: Papers, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut").write_bytes(content)
    assert run(papers.document, "-c", tmp_path / "cut", "--json") == UNDECIDED
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "undecided"
    assert report["checks"][0]["name"] == "certificate_format"
    assert report["facts"] is None


# --- command lines that can't be followed -----------------------------------------------------


def test_certificate_that_is_not_there_is_a_usage_error(
    papers: Papers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(papers.document, "-c", tmp_path / "none.json") == USAGE
    assert "cannot read" in capsys.readouterr().err


def test_document_that_is_a_folder_is_a_usage_error(
    papers: Papers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "-c", papers.certificate) == USAGE
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_document_that_may_not_be_read_is_a_usage_error(papers: Papers, tmp_path: Path) -> None:
    (tmp_path / "locked").write_bytes(DOCUMENT)
    (tmp_path / "locked").chmod(0)
    assert run(tmp_path / "locked", "-c", papers.certificate) == USAGE


@pytest.mark.parametrize("content", [b"", b"format = 3", b"\xff\xfe", b"= ="])
def test_trust_file_that_is_none_is_a_usage_error_and_no_verdict(
    papers: Papers, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trust.toml").write_bytes(content)
    given = (papers.document, "-c", papers.certificate, "-t", tmp_path / "trust.toml")
    assert run(*given) == USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "trust file" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [(), ("document",), ("-c",), ("a", "b", "-c", "x"), ("--lang", "fr", "-c", "x"), ("--no",)],
)
def test_command_line_that_cannot_be_followed_never_looks_like_a_verdict(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == USAGE
    assert "usage: notary verify" in capsys.readouterr().err


# --- what it needs ----------------------------------------------------------------------------

BLOCKED = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "flask", "sqlalchemy", "boto3", "requests", "huey", "typst", "storage", "apiflask",
            "granian", "click", "structlog", "argon2", "rfc3161ng", "asn1crypto", "sqlite3",
        }:
            raise ImportError(f"{name} must not be needed to verify")
sys.meta_path.insert(0, Wall())
from notary.cli.verify import main
sys.exit(main(sys.argv[1:]))
"""


def test_verifying_needs_nothing_of_the_service(papers: Papers) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", BLOCKED, papers.document, "-c", papers.pdf, "-t", papers.trust],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (finished.returncode, finished.stderr) == (CONFIRMED, "")
    assert "CONFIRMED (match)" in finished.stdout


def test_notary_verify_gives_the_same_statuses_as_a_command(papers: Papers, tmp_path: Path) -> None:
    (tmp_path / "altered").write_bytes(DOCUMENT + b".")
    for arguments, status in (
        ((papers.document, "-c", papers.certificate), CONFIRMED),
        ((tmp_path / "altered", "-c", papers.certificate), NOT_GENUINE),
        (("-c", papers.certificate), UNDECIDED),
        ((tmp_path / "none", "-c", papers.certificate), USAGE),
        ((), USAGE),
    ):
        finished = subprocess.run(
            [sys.executable, "-m", "notary.cli.main", "verify", *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            timeout=60,
        )
        assert finished.returncode == status, finished.stderr
