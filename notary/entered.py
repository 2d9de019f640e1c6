"""An event's entry in the ledger, as papers carry it: is the statement the log's own over this
record, and does the log's checkpoint hold it? PURE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from certs.certificate import Key
from certs.entry import Entry
from notary import statement as cose
from notary.errors import BadSignature, Unverifiable
from notary.judged import open_log_checkpoint
from notary.tlog import merkle
from notary.tlog.checkpoint import Checkpoint
from notary.tlog.note import VerifierKey


def check_event_statement(entry: Entry, origin: str, keys: Sequence[Key]) -> None:
    """Raises MalformedInput, BadSignature; Unverifiable (`unknown_key`) where none of `keys` is its
    signer's."""
    statement = cose.parse_statement(entry.statement)
    digest = hashlib.sha256(entry.record.encode("utf-8")).digest()
    for what, ours, said in (
        ("over", digest.hex(), statement.payload.hex()),
        ("by", origin, statement.issuer),
        ("about", cose.CUSTODY_TYPE, statement.preimage_type),
    ):
        if ours != said:
            raise BadSignature(f"statement is {what} {said!r}, not {ours!r}")
    key = next((key for key in keys if key.kid == statement.kid), None)
    if key is None:
        raise Unverifiable(f"signed by key {statement.kid.hex()}", code="unknown_key")
    cose.check_statement(statement, key.public_key)


def open_event_checkpoint(
    entry: Entry, origin: str, keys: tuple[VerifierKey, ...]
) -> tuple[Checkpoint, int]:
    """The checkpoint, and how many of the log's signatures it has. Raises MalformedInput,
    BadSignature, Unverifiable."""
    _, checkpoint, signatures = open_log_checkpoint(entry.checkpoint, keys)
    if (checkpoint.origin, checkpoint.size) != (origin, entry.size):
        raise BadSignature(
            f"checkpoint is of {checkpoint.origin!r} at size {checkpoint.size}, the "
            f"certificate says {origin!r} at {entry.size}"
        )
    return checkpoint, signatures


def check_event_inclusion(entry: Entry, root: bytes) -> None:
    """Raises BadInclusion."""
    merkle.check_inclusion(
        index=entry.index,
        size=entry.size,
        leaf=merkle.leaf_hash(entry.statement),
        proof=entry.inclusion_proof,
        root=root,
    )
