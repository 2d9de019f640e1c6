"""A real certificate to verify: a house in a folder, one document through it, all its papers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from notary.intake import Receipt
from notary.model import Declared, Deposit, Principal, Role
from notary.office import Office, found
from notary.settings import Settings
from notary.trust import parse_trust
from notary.verdict import Document, Verdict
from notary.verify import verify

DOCUMENT = "Protokoll der Sitzung vom 12. März; 会议记录。\n".encode() * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """Paths of what a lawyer has in hand. `document` is the original."""

    document: Path
    certificate: Path
    pdf: Path
    bundle: Path
    extended: Path
    trust: Path
    receipt: Receipt

    @property
    def deposit(self) -> Deposit:
        return self.receipt.deposit


def open_house(folder: Path, **settings: object) -> Office:
    made = Settings(home=folder, **settings)  # type: ignore[arg-type]  # each test its own
    found(made)
    return Office(made)


def depositor(house: Office, name: str = "agency") -> Principal:
    account, _ = house.people.create_account("operator", name, Role.API_CLIENT)
    return Principal(
        account_id=account.id, name=name, role=Role.API_CLIENT, authenticated_by="api-key"
    )


def deposit(house: Office, by: Principal, content: bytes, declared: Declared) -> Receipt:
    admission = house.intake.admit(by, declared)
    with house.intake.receive(admission) as reception:
        reception.write(content)
        return reception.register(declared)


def certify(folder: Path, *, stamped: bool = True) -> Papers:
    """One document registered, timestamped with its checkpoint and by itself, and certified."""
    house = open_house(folder / "house")
    by = depositor(house)
    declared = Declared(
        name="Protokoll 会议.txt", media_type="text/plain", document_timestamp=stamped
    )
    receipt = deposit(house, by, DOCUMENT, declared)
    if stamped:
        for authority in house.stamping.authorities:
            house.stamping.run(authority)
    issued = house.issue.certificate(receipt.deposit, by=by)
    papers = Papers(
        document=folder / "document.txt",
        certificate=folder / "certificate.json",
        pdf=folder / "certificate.pdf",
        bundle=folder / "bundle.zip",
        extended=folder / "bundle.asice",
        trust=folder / "trust.toml",
        receipt=receipt,
    )
    papers.document.write_bytes(DOCUMENT)
    papers.certificate.write_bytes(issued.json)
    papers.pdf.write_bytes(house.issue.pdf(issued, lang="en"))
    papers.bundle.write_bytes(b"".join(house.issue.bundle(receipt.deposit, issued)))
    papers.extended.write_bytes(b"".join(house.issue.extended(receipt.deposit, issued)))
    papers.trust.write_text(house.trust.encode(), "utf-8")
    house.close()
    return papers


def confirmed(house: Office, by: Principal, receipt: Receipt, text: str) -> None:
    """As a stranger with the trust file would see it."""
    issued = house.issue.certificate(receipt.deposit, by=by)
    data = text.encode()
    document = Document(digests={"sha-256": hashlib.sha256(data).hexdigest()}, size=len(data))
    report = verify(issued.json, document, parse_trust(house.trust.encode()))
    assert report.verdict is Verdict.CONFIRMED
