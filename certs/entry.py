"""The ledger's entry of an event, as papers about it carry it: what was said, and the proof that it
stands in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from certs.reading import Node, b64


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Record and disclosures that it commits to, the statement, RFC 6962 inclusion proof and signed
    checkpoint."""

    record: str
    disclosures: tuple[str, ...]
    statement: bytes
    index: int
    size: int
    inclusion_proof: tuple[bytes, ...]
    checkpoint: str

    def members(self) -> dict[str, Any]:
        return {
            "record": self.record,
            "disclosures": list(self.disclosures),
            "statement": b64(self.statement),
            "index": self.index,
            "size": self.size,
            "inclusion_proof": [b64(node) for node in self.inclusion_proof],
            "checkpoint": self.checkpoint,
        }


def read_entry(node: Node) -> Entry:
    """Raises CertificateMalformed."""
    said = node.members(
        "record", "disclosures", "statement", "index", "size", "inclusion_proof", "checkpoint"
    )
    return Entry(
        record=said["record"].text(),
        disclosures=said["disclosures"].each(16, lambda each: each.text()),
        statement=said["statement"].base64(),
        index=said["index"].integer(least=0),
        size=said["size"].integer(least=1),
        inclusion_proof=said["inclusion_proof"].each(64, lambda each: each.base64(32)),
        checkpoint=said["checkpoint"].text(),
    )
