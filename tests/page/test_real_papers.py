"""verify.html on what a real house gives out: sealed papers in each form, redacted certificates,
evidence records, bundles, destruction certificates; and files that are other files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from certs.container import read_container
from notary.cli.verify import judge
from notary.clock import SystemClock
from notary.issue import Issued
from notary.model import Declared
from notary.office import Office, found
from notary.report import report_object
from notary.settings import Settings
from tests.harness.archive_acts import LATER
from tests.harness.browser_page import BrowserPage
from tests.harness.certified import DOCUMENT, deposit, depositor
from tests.harness.disposing import clerks, dispose
from tests.harness.disposing import deposit as disposable
from tests.page.test_same_verdicts import FLIPS, compared

NAME = "minutes of the 会议.txt"


class _Later:
    """The period of evidence records is over."""

    def now(self) -> datetime:
        return SystemClock().now() + LATER


@dataclass(frozen=True)
class Papers:
    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    # In a thread of its own: a seal runs an event loop, and playwright has one in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(give_out, folder).result()
    return Papers(folder)


def give_out(folder: Path) -> None:
    """All that a house gives out of one deposit and a few others."""
    settings = Settings(home=folder / "house")
    found(settings)
    house = Office(settings)
    by = depositor(house)
    made = Declared(name=NAME, media_type="text/plain", document_timestamp=True)
    receipt = deposit(house, by, DOCUMENT, made)
    copy = deposit(
        house, by, b"the redacted copy", Declared(links={"redaction_of": receipt.deposit.id})
    )
    excerpt = deposit(
        house, by, b"an excerpt", Declared(links={"derivative_of": receipt.deposit.id})
    )
    other = deposit(house, by, b"another exhibit", Declared(name="other"))
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    house.close()
    house = Office(settings, clock=_Later())
    house.archiving.run()
    issued = house.issue.certificate(receipt.deposit, by=by)
    assert issued.certificate.evidence_records
    for name, each in (("copy", copy), ("excerpt", excerpt), ("other", other)):
        data = house.issue.certificate(each.deposit, by=by).json
        (folder / f"{name}.json").write_bytes(data)
    draw(house, receipt.deposit, issued, folder)
    both = clerks(house)
    disposal = dispose(house, both, disposable(house, both.first, b"to be disposed of"))
    (folder / "destruction.json").write_bytes(house.destructions.certificate(disposal).encode())
    (folder / "trust.toml").write_text(house.trust.encode(), "utf-8")
    (folder / NAME).write_bytes(DOCUMENT)
    house.close()


def draw(house: Office, deposited: Any, issued: Issued, folder: Path) -> None:
    profile = house.forms.profile("iso-27037")
    form = house.forms.fill(profile, deposited, issued.certificate, lang="en", stated={})
    redacted = house.forms.redacted(issued.certificate, ("content",))
    hidden = Issued(
        json=redacted.encode(), certificate=redacted, version=issued.version,
        deposit_id=issued.deposit_id,
    )  # fmt: skip
    for name, pdf in {
        "a4.pdf": house.issue.pdf(issued, lang="en+zh"),
        "letter.pdf": house.issue.pdf(issued, lang="en", paper="letter"),
        "form.pdf": house.issue.pdf(issued, lang="en", form=form),
        "redacted.pdf": house.issue.pdf(hidden, lang="zh"),
    }.items():
        (folder / name).write_bytes(pdf)
    (folder / "redacted.json").write_bytes(redacted.encode())
    nothing = house.forms.redacted(issued.certificate, ("depositor",))
    (folder / "nothing.json").write_bytes(nothing.encode())
    (folder / "certificate.json").write_bytes(issued.json)
    (folder / "bundle.zip").write_bytes(b"".join(house.issue.bundle(deposited, issued)))


def both(
    verifier: BrowserPage, certificate: Path, document: Path | None, trust: Path | None,
    *related: Path,
) -> dict[str, Any]:  # fmt: skip
    """The page's report, which is the command's."""
    report = verifier.judge(certificate, document, trust, related=related)
    files = [None if path is None else str(path) for path in (document, certificate, trust)]
    said = judge(files[0], str(certificate), files[2], related=[str(each) for each in related])
    assert compared(report) == compared(report_object(said, "en"))
    return report


@pytest.mark.parametrize(
    "name",
    ["certificate.json", "a4.pdf", "letter.pdf", "form.pdf", "redacted.pdf", "redacted.json"],
)
@pytest.mark.parametrize("trusting", [True, False])
def test_a_paper_confirms_the_file(
    verifier: BrowserPage, papers: Papers, name: str, trusting: bool
) -> None:
    report = both(verifier, papers[name], papers[NAME], papers["trust.toml"] if trusting else None)
    assert report["code"] == "match"
    made = {check["name"]: check["status"] for check in report["checks"]}
    assert made["evidence_record"] == "passed"
    assert made.get("withheld") == ("passed" if name.startswith("redacted") else None)


def test_a_sealed_paper_is_an_updated_file_with_several_attachments(papers: Papers) -> None:
    for name in ("a4.pdf", "letter.pdf", "form.pdf", "redacted.pdf"):
        data = papers[name].read_bytes()
        assert data.count(b"startxref") > 2
        assert b"/ByteRange" in data
        assert b"receipt.cose" in data
        assert read_container(data, name).certificate.startswith(b'{"certificate_id":')


def test_a_bundle_is_judged_with_its_own_original(verifier: BrowserPage, papers: Papers) -> None:
    assert both(verifier, papers["bundle.zip"], None, papers["trust.toml"])["code"] == "match"


def test_a_certificate_without_its_content_is_not_called_altered(
    verifier: BrowserPage, papers: Papers
) -> None:
    report = both(verifier, papers["nothing.json"], papers[NAME], papers["trust.toml"])
    assert (report["verdict"], report["code"]) == ("undecided", "proof_missing")


@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize("name", ["a4.pdf", "redacted.json", "destruction.json"])
def test_with_a_byte_flipped_nothing_false_is_confirmed(
    verifier: BrowserPage, papers: Papers, tmp_path: Path, name: str, flips: int
) -> None:
    whole = papers[name].read_bytes()
    document = None if name == "destruction.json" else papers[NAME]
    flipped = tmp_path / name
    for at in range(7, len(whole), len(whole) // flips):
        flipped.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        report = verifier.judge(flipped, document, papers["trust.toml"])
        if name.endswith(".pdf") and report["code"] == "certificate_unreadable":
            continue  # the page repairs nothing
        asked = (None if document is None else str(document), str(flipped))
        said = judge(*asked, str(papers["trust.toml"]))
        assert compared(report) == compared(report_object(said, "en")), at
        assert report["verdict"] != "confirmed" or name.endswith(".pdf"), at


# --- another file ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        (NAME, DOCUMENT + b"\n%%EOF", "bytes_appended"),
        ("crlf.txt", DOCUMENT.replace(b"\n", b"\r\n"), "line_ends_only"),
        ("bom.txt", b"\xef\xbb\xbf" + DOCUMENT, "bom_only"),
        (NAME, b"something shorter", "same_name_other_size"),
        ("other.txt", b"something shorter", "digest_mismatch"),
        (NAME, b"x" * len(DOCUMENT), "digest_mismatch"),
        (NAME, b"", "empty_file"),
    ],
    ids=range(7),
)
def test_why_a_file_is_another_one(
    verifier: BrowserPage, papers: Papers, tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    (tmp_path / name).write_bytes(content)
    report = both(verifier, papers["certificate.json"], tmp_path / name, papers["trust.toml"])
    assert (report["verdict"], report["code"]) == ("not_this_file", code)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("copy", b"the redacted copy", "redacted_copy"),
        ("excerpt", b"an excerpt", "derivative_of"),
        ("other", b"another exhibit", "other_exhibit"),
        ("other", b"a stranger's file", "digest_mismatch"),
    ],
)
def test_whose_file_it_is_by_the_other_certificates(
    verifier: BrowserPage, papers: Papers, tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    (tmp_path / "given").write_bytes(content)
    related = [papers["a4.pdf"], papers[f"{name}.json"]]
    report = both(
        verifier, papers["certificate.json"], tmp_path / "given", papers["trust.toml"], *related
    )
    assert (report["verdict"], report["code"]) == ("not_this_file", code)


# --- a disposal -----------------------------------------------------------------------------------


def test_a_destruction_certificate_is_confirmed(verifier: BrowserPage, papers: Papers) -> None:
    report = both(verifier, papers["destruction.json"], None, papers["trust.toml"])
    assert (report["verdict"], report["code"]) == ("confirmed", "disposal_confirmed")
    assert verifier.page.locator(".pair").count() == 0


def test_without_a_trust_file_nothing_of_it_is_decided(
    verifier: BrowserPage, papers: Papers
) -> None:
    report = both(verifier, papers["destruction.json"], None, None)
    assert (report["verdict"], report["code"]) == ("undecided", "unknown_key")


def test_with_a_file_it_is_not_judged(verifier: BrowserPage, papers: Papers) -> None:
    verifier.give(
        certificate=papers["destruction.json"], document=papers[NAME], trust=papers["trust.toml"]
    )
    verifier.wait("failed")
    assert "about a disposal, not about a file" in verifier.said()
    assert verifier.page.locator("#result").is_hidden()
