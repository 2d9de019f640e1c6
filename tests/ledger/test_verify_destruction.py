"""A destruction certificate in a stranger's hands: what is confirmed of it, and what never is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certs.destruction import Act, Destruction, DestructionDraft, sign_destruction
from certs.destruction_pdf import render_destruction
from notary.cli.verify import main
from notary.office import Office, found
from notary.report import report_object
from notary.settings import Settings
from notary.trust import Trust
from notary.verdict import Report, Status, Verdict
from notary.verify import verify
from notary.verify_destruction import FIRST_MEMBER, verify_destruction
from tests.harness.disposing import clerks, deposit, dispose


class House:
    """Two disposals of one house, and what a stranger knows of it."""

    def __init__(self, home: Path) -> None:
        found(Settings(home=home))
        self.office = Office(Settings(home=home))
        both = clerks(self.office)
        done = [
            dispose(self.office, both, deposit(self.office, both.first, b"%d" % n))
            for n in range(2)
        ]
        self.destruction, self.other = map(self.office.destructions.certificate, done)
        self.trust: Trust = self.office.trust

    def signed(self, draft: DestructionDraft) -> bytes:
        """As somebody would who has the certificates' key and not the ledger's."""
        return sign_destruction(draft, self.office.keys.certificate).encode()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("destruction") / "house")


def told(report: Report) -> Report:
    """The report, after it was put into words in both languages."""
    for lang in ("en", "zh"):
        assert report_object(report, lang)["headline"]
    return report


def test_a_genuine_one_is_confirmed_by_the_houses_keys(house: House) -> None:
    data = house.destruction.encode()
    assert data.startswith(FIRST_MEMBER)
    report = told(verify_destruction(data, house.trust))
    assert (report.verdict, report.code) == (Verdict.CONFIRMED, "disposal_confirmed")
    assert report.exit_status == 0
    assert [check.name for check in report.checks] == [
        "certificate_format", "log_keys", "certificate_signature", "record", "disclosures",
        "statement", "checkpoint", "inclusion",
    ]  # fmt: skip
    assert {check.status for check in report.checks} == {Status.PASSED}
    assert house.destruction.draft.deposit_id in report.checks[3].detail


def test_without_a_trust_file_nothing_is_decided(house: House) -> None:
    report = told(verify_destruction(house.destruction.encode(), None))
    assert (report.verdict, report.code) == (Verdict.UNDECIDED, "unknown_key")


def test_another_houses_trust_file_decides_nothing(house: House, tmp_path: Path) -> None:
    found(Settings(home=tmp_path / "other"))
    other = Office(Settings(home=tmp_path / "other"))
    for trust in (other.trust, replace(other.trust, origin=house.trust.origin)):
        report = told(verify_destruction(house.destruction.encode(), trust))
        assert (report.verdict, report.code) == (Verdict.UNDECIDED, "unknown_key")


def test_every_byte_counts(house: House) -> None:
    data = house.destruction.encode()
    for position in range(len(data)):
        bent = bytearray(data)
        bent[position] ^= 1 << position % 8
        report = told(verify_destruction(bytes(bent), house.trust))
        assert report.verdict in (Verdict.NOT_GENUINE, Verdict.UNDECIDED), position
        assert verify(bytes(bent), None, house.trust).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("cut", [0, 1, 12, 100, -1])
def test_a_part_of_it_is_unreadable(house: House, cut: int) -> None:
    report = told(verify_destruction(house.destruction.encode()[:cut], house.trust))
    assert (report.verdict, report.code) == (Verdict.UNDECIDED, "certificate_unreadable")


LATER = timedelta(seconds=1)
FORGED: dict[str, tuple[Callable[[DestructionDraft, Destruction], DestructionDraft], str]] = {
    "deposit": (lambda draft, _: replace(draft, deposit_id="x"), "record_mismatch"),
    "disposal": (lambda draft, _: replace(draft, disposal_id="x"), "record_mismatch"),
    "reason": (lambda draft, _: replace(draft, reason="none"), "record_mismatch"),
    "basis": (lambda draft, _: replace(draft, basis="none"), "record_mismatch"),
    "requester": (
        lambda draft, _: replace(draft, requested=Act(by="x", at=draft.requested.at)),
        "record_mismatch",
    ),
    "time of the request": (
        lambda draft, _: replace(
            draft, requested=Act(by=draft.requested.by, at=draft.requested.at + LATER)
        ),
        "record_mismatch",
    ),
    "approver": (
        lambda draft, _: replace(draft, approved=Act(by="x", at=draft.approved.at)),
        "record_mismatch",
    ),
    "time of the approval": (
        lambda draft, _: replace(
            draft, approved=Act(by=draft.approved.by, at=draft.approved.at + LATER)
        ),
        "record_mismatch",
    ),
    "another disposal's entry": (
        lambda draft, other: replace(draft, entry=other.draft.entry), "record_mismatch",
    ),
    "nothing disclosed": (
        lambda draft, _: replace(draft, entry=replace(draft.entry, disclosures=())),
        "record_mismatch",
    ),
    "another disposal's disclosures": (
        lambda draft, other: replace(
            draft, entry=replace(draft.entry, disclosures=other.draft.entry.disclosures)
        ),
        "record_mismatch",
    ),
    "another disposal's statement": (
        lambda draft, other: replace(
            draft, entry=replace(draft.entry, statement=other.draft.entry.statement)
        ),
        "statement_invalid",
    ),
    "index": (
        lambda draft, _: replace(draft, entry=replace(draft.entry, index=draft.entry.index - 1)),
        "inclusion_proof_invalid",
    ),
    "size": (
        lambda draft, _: replace(draft, entry=replace(draft.entry, size=draft.entry.size + 1)),
        "checkpoint_invalid",
    ),
    "no proof": (
        lambda draft, _: replace(draft, entry=replace(draft.entry, inclusion_proof=())),
        "inclusion_proof_invalid",
    ),
    "checkpoint": (
        lambda draft, _: replace(
            draft, entry=replace(draft.entry, checkpoint=draft.entry.checkpoint[:-3])
        ),
        "checkpoint_invalid",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_what_the_certificates_key_alone_can_say_is_not_genuine(house: House, what: str) -> None:
    forge, code = FORGED[what]
    report = told(
        verify_destruction(house.signed(forge(house.destruction.draft, house.other)), house.trust)
    )
    assert (report.verdict, report.code) == (Verdict.NOT_GENUINE, code)


def test_one_signed_by_nobody_we_know_is_undecided(house: House, tmp_path: Path) -> None:
    found(Settings(home=tmp_path / "other"))
    other = Office(Settings(home=tmp_path / "other"))
    data = sign_destruction(house.destruction.draft, other.keys.certificate).encode()
    assert verify_destruction(data, house.trust).code == "unknown_key"


def test_the_command_says_so_in_words_and_exit_status(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paper, trust = tmp_path / "destruction.json", tmp_path / "trust.json"
    data = house.destruction.encode()
    paper.write_bytes(data)
    trust.write_text(house.trust.encode())
    asked = ["--certificate", str(paper), "--trust", str(trust)]
    assert main(asked) == 0
    assert "CONFIRMED (disposal_confirmed)" in capsys.readouterr().out
    pdf = tmp_path / "destruction.pdf"
    pdf.write_bytes(render_destruction(house.destruction, lang="en"))
    assert main(["--certificate", str(pdf), "--trust", str(trust)]) == 0
    assert "CONFIRMED (disposal_confirmed)" in capsys.readouterr().out
    assert main([*asked, "--lang", "zh"]) == 0
    assert "此销毁证明真实有效" in capsys.readouterr().out
    assert main(asked[:2]) == 2
    assert main([*asked, str(paper)]) == 64
    assert "about a disposal, not a file" in capsys.readouterr().err
    paper.write_bytes(data.replace(b'"retention is over"', b'"retention was over"'))
    assert main(asked) == 1
