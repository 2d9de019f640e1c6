"""What a depositor can check of an answer with nothing but the log's public keys."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from typing import Any

from notary.record import check_disclosures
from notary.statement import parse_statement
from notary.tlog.checkpoint import Checkpoint, parse_checkpoint_text
from notary.tlog.merkle import check_consistency, check_inclusion, leaf_hash
from notary.tlog.note import VerifierKey, open_note, parse_note, parse_vkey
from tests.harness.server import Client


def log_keys(client: Client) -> tuple[VerifierKey, ...]:
    return tuple(parse_vkey(line) for line in client.get("/log/keys").text.splitlines())


def open_checkpoint(note: str | bytes, keys: tuple[VerifierKey, ...]) -> Checkpoint:
    """Raises unless every one of the log's keys signed it."""
    parsed = parse_note(note.encode() if isinstance(note, str) else note)
    assert len(open_note(parsed, keys)) == len(keys)
    return parse_checkpoint_text(parsed.text)


def check_receipt(receipt: dict[str, Any], keys: tuple[VerifierKey, ...]) -> Checkpoint:
    """The record is what the statement signs, the statement is the leaf, the leaf is in the tree
    that the checkpoint signs, and the sections are the record's own. Raises where not."""
    proof = receipt["inclusion_proof"]
    checkpoint = open_checkpoint(proof["checkpoint"], keys)
    statement = b64decode(receipt["statement"])
    assert parse_statement(statement).payload == hashlib.sha256(receipt["record"].encode()).digest()
    assert checkpoint.size == proof["size"]
    assert proof["index"] == receipt["leaf_index"]
    check_inclusion(
        index=proof["index"],
        size=checkpoint.size,
        leaf=leaf_hash(statement),
        proof=tuple(b64decode(node) for node in proof["path"]),
        root=checkpoint.root,
    )
    sections: dict[str, Any] = check_disclosures(receipt["record"], receipt["disclosures"])
    assert sections == receipt["sections"]
    content = sections["content"]
    assert (content["digests"], content["size"]) == (receipt["digests"], receipt["size"])
    assert (content["name"], content["stored"]) == (receipt["name"], receipt["stored"])
    return checkpoint


def check_growth(client: Client, old: Checkpoint, keys: tuple[VerifierKey, ...]) -> Checkpoint:
    """The newest checkpoint, after a consistency proof from `old` to it held. Raises where not."""
    new = open_checkpoint(client.get("/log/checkpoint").content, keys)
    asked = {"old": old.size, "new": new.size}
    path = client.get("/v1/log/proof/consistency", params=asked).json()["path"]
    check_consistency(
        old=old.size,
        new=new.size,
        old_root=old.root,
        new_root=new.root,
        proof=tuple(b64decode(node) for node in path),
    )
    return new
