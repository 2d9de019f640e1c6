"""The files inside the paper: PDF/A-3 associated files (ISO 19005-3 §6.8), the proofs as they are.

One list, in the order in which a reader shows them. A new kind of proof gets its line here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from certs.bundle import PROOF_NAME, RECORD_ENDING
from certs.certificate import FILE_NAME, Certificate
from certs.form import FILE_NAME as FORM_NAME
from certs.form import Form
from certs.wording import Wording

STATEMENT_NAME = "statement.cose"
RECEIPT_NAME = "receipt.cose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """`relationship` is an AFRelationship (ISO 32000-2 §7.11.3) as typst writes it."""

    name: str
    content: bytes
    media_type: str
    relationship: str
    description: str


def attachments(
    certificate: Certificate,
    wording: Wording,
    proofs: Mapping[str, bytes],
    form: Form | None = None,
) -> tuple[Attachment, ...]:
    """`proofs` are PROOF_NAME and RECEIPT_NAME, as far as they are at hand. What is not in
    `certificate.json` by itself comes from there; the rest is taken out of it."""
    listed = list(_listed(certificate, wording, proofs))
    if form is not None:
        listed.append(
            Attachment(
                name=FORM_NAME,
                content=form.encode(),
                media_type="application/json",
                relationship="data",
                description=wording.text("form.attached_description"),
            )
        )
    return tuple(listed)


def _listed(
    certificate: Certificate, wording: Wording, proofs: Mapping[str, bytes]
) -> Iterator[Attachment]:
    def proof(name: str, content: bytes, media_type: str, said: str, **values: str) -> Attachment:
        return Attachment(
            name=name,
            content=content,
            media_type=media_type,
            relationship="supplement",
            description=wording.text(f"pdf.attached_{said}", **values),
        )

    yield Attachment(
        name=FILE_NAME,
        content=certificate.encode(),
        media_type="application/vnd.evidence-certificate+json",
        relationship="data",
        description=wording.text("pdf.attached_description"),
    )
    yield proof(STATEMENT_NAME, certificate.statement, "application/cose", "statement")
    if RECEIPT_NAME in proofs:
        yield proof(RECEIPT_NAME, proofs[RECEIPT_NAME], "application/cose", "receipt")
    if PROOF_NAME in proofs:
        yield proof(PROOF_NAME, proofs[PROOF_NAME], "text/plain", "proof")
    for number, stamp in enumerate(certificate.timestamps, 1):
        yield proof(
            f"timestamp-{number:02}-{stamp.covers}.tsr",
            stamp.response,
            "application/timestamp-reply",
            "timestamp",
            authority=stamp.authority,
        )
    for number, record in enumerate(certificate.evidence_records, 1):
        yield proof(
            f"evidence-record-{number:02}{RECORD_ENDING}",
            record.record,
            "application/evidencerecord",
            "record",
            authority=record.authority,
        )
