"""`notary verify --batch`: folders and manifests, tables, the signed report, near misses."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from certs.errors import CertificateMalformed, SealInvalid, UnknownKey
from certs.verification import parse_verification
from notary.cli.verify import USAGE, main
from notary.cli.verify_batch import table_of
from notary.model import Declared, Deposit, Principal
from notary.office import Office
from notary.verdict import Verdict
from notary.verifying import Pair, Row, Tally, verify_all
from tests.harness.certified import deposit, depositor, open_house

CONFIRMED, FAILED, UNDECIDED = 0, 1, 2
TEXT = b"line one\nline two\n"


@dataclass(frozen=True)
class Archive:
    """Certificates of `original`, of its redacted copy, of a stamped one, and of another file."""

    folder: Path
    trust: Path
    original: str

    def copy(self, to: Path) -> Path:
        return Path(shutil.copytree(self.folder, to))


CONTENTS = {"original": TEXT, "redacted": b"line ***\n", "stamped": TEXT + b"*", "other": b"?"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    root = tmp_path_factory.mktemp("archive")
    house = open_house(root / "house")
    by = depositor(house)
    ids: dict[str, str] = {}
    folder = root / "folder"
    folder.mkdir()
    for name, content in CONTENTS.items():
        links = {"redacted": "redaction_of", "stamped": "derivative_of"}.get(name)
        declared = Declared(
            name=f"{name}.txt", links={} if links is None else {links: ids["original"]}
        )
        made = deposit(house, by, content, declared).deposit
        ids[name] = made.id
        (folder / f"{name}.txt").write_bytes(content)
        _write(house, by, made, folder / f"{name}.txt.certificate.json")
    trust = root / "trust.toml"
    trust.write_text(house.trust.encode(), "utf-8")
    house.close()
    return Archive(folder=folder, trust=trust, original=ids["original"])


def _write(house: Office, by: Principal, made: Deposit, path: Path) -> None:
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    path.write_bytes(house.issue.certificate(made, by=by).json)


def run(archive: Archive, place: Path, report: Path, *more: object) -> tuple[int, dict[str, Any]]:
    """The exit status, and the rows by the name of the document."""
    given = ["--batch", place, "-t", archive.trust, "--report", report, *more]
    status = main([str(each) for each in given])
    rows = json.loads(report.read_text("utf-8"))
    return status, {Path(row["document"] or row["certificate"]).name: row for row in rows}


def test_a_folder_of_files_and_their_certificates_is_confirmed(
    archive: Archive, tmp_path: Path
) -> None:
    status, rows = run(archive, archive.folder, tmp_path / "r.json")
    assert status == CONFIRMED
    assert {name: row["code"] for name, row in rows.items()} == {
        f"{name}.txt": "match" for name in CONTENTS
    }
    assert rows["other.txt"]["document_sha256"] == hashlib.sha256(b"?").hexdigest()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_difference_is_named_whatever_the_number_of_workers(
    archive: Archive, tmp_path: Path, workers: int
) -> None:
    folder = archive.copy(tmp_path / "folder")
    certificate = (folder / "original.txt.certificate.json").read_bytes()
    given = {
        "redacted copy": CONTENTS["redacted"],
        "stamped copy": CONTENTS["stamped"],
        "mixed up": CONTENTS["other"],
        "appended": TEXT + b"!",
        "windows": TEXT.replace(b"\n", b"\r\n"),
        "marked": b"\xef\xbb\xbf" + TEXT,
        "empty": b"",
        "altered": TEXT[:-2] + b"x\n",
        "certificate itself": certificate,
    }
    for name, content in given.items():
        (folder / name).write_bytes(content)
        (folder / f"{name}.certificate.json").write_bytes(certificate)
    (folder / "stray").write_bytes(b"stray")
    status, rows = run(archive, folder, tmp_path / "r.json", "--workers", workers)
    assert status == FAILED
    assert {name: rows[name]["code"] for name in (*given, "stray", "original.txt")} == {
        "redacted copy": "redacted_copy",
        "stamped copy": "derivative_of",
        "mixed up": "other_exhibit",
        "appended": "bytes_appended",
        "windows": "line_ends_only",
        "marked": "bom_only",
        "empty": "empty_file",
        "altered": "digest_mismatch",
        "certificate itself": "certificate_file_given",
        "stray": "no_certificate",
        "original.txt": "match",
    }
    assert len({row["number"] for row in rows.values()}) == len(rows)


def test_the_single_command_explains_by_related_certificates(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = archive.folder
    for name, code in (("redacted", "redacted_copy"), ("stamped", "derivative_of"),
                       ("other", "other_exhibit")):  # fmt: skip
        given = [
            folder / f"{name}.txt", "-c", folder / "original.txt.certificate.json", "--json",
            "--related", folder / f"{name}.txt.certificate.json",
        ]  # fmt: skip
        assert main([str(each) for each in given]) == FAILED
        assert json.loads(capsys.readouterr().out)["code"] == code


def test_a_related_certificate_that_is_not_genuine_explains_nothing(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    false = (archive.folder / "redacted.txt.certificate.json").read_bytes()
    (tmp_path / "false.json").write_bytes(false.replace(b'"version":1}', b'"version":2}'))
    main([
        str(archive.folder / "redacted.txt"), "--json",
        "-c", str(archive.folder / "original.txt.certificate.json"),
        "--related", str(tmp_path / "false.json"),
    ])  # fmt: skip
    assert json.loads(capsys.readouterr().out)["code"] == "digest_mismatch"


def test_the_same_name_with_another_size_is_named(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "original.txt").write_bytes(TEXT[:-5])
    certificate = archive.folder / "original.txt.certificate.json"
    assert main([str(tmp_path / "original.txt"), "-c", str(certificate), "--json"]) == FAILED
    assert json.loads(capsys.readouterr().out)["code"] == "same_name_other_size"


def test_a_manifest_names_pairs_below_its_own_folder(archive: Archive, tmp_path: Path) -> None:
    folder = archive.copy(tmp_path / "folder")
    (folder / "manifest.csv").write_text(
        "certificate,document,remark\n"
        "original.txt.certificate.json,original.txt,one\n"
        "other.txt.certificate.json,original.txt,mixed up\n"
        "other.txt.certificate.json,gone.txt,\n"
        "gone.json,other.txt,\n"
        "redacted.txt.certificate.json,,alone\n",
        "utf-8-sig",
    )
    report = tmp_path / "r.json"
    given = ["--batch", str(folder / "manifest.csv"), "-t", str(archive.trust), "--report",
             str(report)]  # fmt: skip
    assert main(given) == FAILED
    rows = {row["number"]: row["code"] for row in json.loads(report.read_text("utf-8"))}
    assert rows == {
        1: "match", 2: "other_exhibit", 3: "document_unreadable", 4: "certificate_unreadable",
        5: "no_document",
    }  # fmt: skip


def test_csv_has_the_same_lines(archive: Archive, tmp_path: Path) -> None:
    folder = archive.copy(tmp_path / "folder")
    report = tmp_path / "r.csv"
    assert main(["--batch", str(folder), "--report", str(report), "--lang", "zh"]) == CONFIRMED
    with report.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["code"] for row in rows} == {"match"}
    assert all("登记" in row["headline"] for row in rows)


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    row = Row(
        number=1, certificate="=1+1", document=None, verdict=Verdict.UNDECIDED, code="no_document"
    )
    with table_of(str(tmp_path / "r.csv"), "en") as table:
        table.add(row)
    assert ",'=1+1," in (tmp_path / "r.csv").read_text("utf-8")


# --- the signed report ----------------------------------------------------------------------------


def key_file(path: Path) -> bytes:
    """Writes a fresh key; gives its public half."""
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key.public_key().public_bytes_raw()


def test_the_signed_report_is_over_the_table_and_by_the_key_that_was_named(
    archive: Archive, tmp_path: Path
) -> None:
    public = key_file(tmp_path / "key.pem")
    table, signed = tmp_path / "r.json", tmp_path / "signed.json"
    status, rows = run(
        archive, archive.folder, table, "--signed-report", signed, "--sign", tmp_path / "key.pem"
    )
    report = parse_verification(signed.read_bytes())
    assert report.encode() == signed.read_bytes()
    report.check_signature(public)
    assert (status, report.draft.total) == (CONFIRMED, len(rows))
    assert report.draft.verdicts["confirmed"] == len(rows)
    assert report.draft.table_sha256 == hashlib.sha256(table.read_bytes()).hexdigest()
    trust = archive.trust.read_bytes()
    assert report.draft.trust_sha256 == hashlib.sha256(trust).hexdigest()
    with pytest.raises(UnknownKey):
        report.check_signature(key_file(tmp_path / "other.pem"))
    with pytest.raises(SealInvalid):
        replace(report, draft=replace(report.draft, total=99)).check_signature(public)


def test_every_byte_of_a_signed_report_counts(archive: Archive, tmp_path: Path) -> None:
    public = key_file(tmp_path / "key.pem")
    signed = tmp_path / "signed.json"
    run(
        archive, archive.folder, tmp_path / "r.json", "--signed-report", signed,
        "--sign", tmp_path / "key.pem",
    )  # fmt: skip
    data = signed.read_bytes()
    for at in range(len(data)):
        bad = bytearray(data)
        bad[at] ^= 1
        with pytest.raises((CertificateMalformed, SealInvalid, UnknownKey)):
            parse_verification(bytes(bad)).check_signature(public)


def test_a_report_that_nobody_signed_says_so(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = tmp_path / "signed.json"
    run(archive, archive.folder, tmp_path / "r.json", "--signed-report", signed)
    assert "NOT signed" in capsys.readouterr().out
    report = parse_verification(signed.read_bytes())
    assert json.loads(signed.read_bytes())["signature"] is None
    with pytest.raises(UnknownKey):
        report.check_signature(bytes(32))


# --- what can't be followed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["", "a,b\n1,2\n", "certificate,document\n", "certificate,document\n,x\n", '"', "\x00"],
)
def test_a_manifest_that_is_none_is_a_usage_error(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.csv").write_text(content, "utf-8")
    assert main(["--batch", str(tmp_path / "manifest.csv")]) == USAGE
    assert "notary verify:" in capsys.readouterr().err


def test_options_that_make_no_sense_together_are_refused(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(archive.folder)
    elliptic = generate_private_key(SECP256R1())
    (tmp_path / "ec.pem").write_bytes(
        elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    table = ["--report", str(tmp_path / "r.csv")]
    signed = [*table, "--signed-report", str(tmp_path / "s.json")]
    for more in (
        ["--report", str(tmp_path / "r.xlsx")],
        ["--signed-report", str(tmp_path / "s.json")],
        [*table, "--sign", str(tmp_path / "ec.pem")],
        [*signed, "--sign", str(tmp_path / "ec.pem")],
        [*signed, "--sign", str(tmp_path / "gone.pem")],
        ["--report", str(tmp_path / "gone" / "r.csv")],
        ["--workers", "0"],
    ):
        assert main(["--batch", place, *more]) == USAGE, more
    for more in (["-c", "x"], ["x"], ["--online", "http://x"], ["--json"], ["--related", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main(["--batch", place, *more])
        assert stopped.value.code == USAGE, more
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["--batch", str(empty)]) == USAGE
    assert not list(tmp_path.glob("r.csv*"))


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        ([], 2),
        ([Verdict.CONFIRMED], 0),
        ([Verdict.CONFIRMED, Verdict.SUPERSEDED], 3),
        ([Verdict.CONFIRMED, Verdict.UNDECIDED, Verdict.SUPERSEDED], 2),
        ([Verdict.NOT_GENUINE, Verdict.UNDECIDED], 1),
        ([Verdict.NOT_THIS_FILE, Verdict.CONFIRMED], 1),
    ],
)
def test_the_worst_there_is_gives_the_exit_status(codes: list[Verdict], status: int) -> None:
    tally = Tally()
    for verdict in codes:
        tally.add(Row(number=1, certificate="c", document=None, verdict=verdict, code="x"))
    assert tally.exit_status == status


def test_more_pairs_than_are_held_are_all_judged(archive: Archive) -> None:
    pairs = [
        Pair(number=n, certificate=str(archive.folder / "none.json"), document=None)
        for n in range(300)
    ]
    rows = list(verify_all(pairs, None, workers=2))
    assert sorted(row.number for row in rows) == list(range(300))
    assert {row.code for row in rows} == {"certificate_unreadable"}
