"""The founding papers: what `notary init` fixed for ever, and the last checkpoint shown outside.

The genesis document registers the log's policy and keys; entry 0 is the statement over it. The
published checkpoint lies as a file beside the database: a database older than it, or with
another root at its size, is not the one that gave out our receipts, and must not go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from notary.clock import parse_rfc3339, rfc3339
from notary.errors import Corrupt, Fork, NotaryError, Rollback
from notary.ledger import Ledger
from notary.tlog.checkpoint import Checkpoint, parse_checkpoint_text
from notary.tlog.note import VerifierKey, open_note, parse_note
from storage.database import METADATA, Database
from storage.durable import replace_file

GENESIS = "evidence-log/v1"
FORMAT = 2
PUBLISHED = "published.checkpoint"

HOUSE = sa.Table(
    "house",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("genesis", sa.Text, nullable=False),
    sa.Column("authority_chain", sa.Text),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """`genesis` is the canonical JSON that entry 0 commits to. `authority_chain` are the embedded
    authority's certificate and root in PEM, for nodes that have no copy in their home."""

    origin: str
    name: str
    created_at: datetime
    genesis: str
    authority_chain: str | None = None


def write_genesis(
    *,
    origin: str,
    name: str,
    at: datetime,
    log_keys: Sequence[str],
    statement_keys: Sequence[str],
    certificate_keys: Sequence[str],
) -> str:
    """Keys as vkey lines and base64 of raw Ed25519."""
    return json.dumps(
        {
            "type": GENESIS,
            "origin": origin,
            "name": name,
            "created_at": rfc3339(at),
            "entries": "COSE_Sign1 hash envelopes (RFC 9052, RFC 9995) over salted records",
            "tree": "RFC 9162 with SHA-256; read API C2SP tlog-tiles; minimum index 0",
            "keys": {
                "log": list(log_keys),
                "statement": list(statement_keys),
                "certificate": list(certificate_keys),
            },
        },
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
    )


def insert_house(connection: sa.Connection, genesis: str, authority_chain: str | None) -> None:
    connection.execute(
        sa.insert(HOUSE).values(
            id=1, format=FORMAT, genesis=genesis, authority_chain=authority_chain
        )
    )


def share_chain(database: Database, authority_chain: str) -> None:
    """For a house that was founded when only files had it."""
    with database.writing() as connection:
        connection.execute(
            sa.update(HOUSE)
            .where(HOUSE.c.authority_chain.is_(None))
            .values(authority_chain=authority_chain)
        )


def read_house(database: Database) -> House:
    """Raises Corrupt when the database holds none, or one of another format."""
    with database.reading() as connection:
        row = connection.execute(sa.select(HOUSE)).first()
    if row is None:
        raise Corrupt(
            "the database has tables but no house: a rebuild was not finished; `notary rebuild` "
            "with the same settings goes on with it",
            name="house",
        )
    if row.format != FORMAT:
        raise Corrupt(
            f"the database has format {row.format}, this software knows format {FORMAT}",
            name="house",
        )
    return replace(read_genesis(row.genesis), authority_chain=row.authority_chain)


def read_genesis(genesis: str) -> House:
    """What the genesis document says; it is our own."""
    said = json.loads(genesis)
    return House(
        origin=said["origin"],
        name=said["name"],
        created_at=parse_rfc3339(said["created_at"]),
        genesis=genesis,
    )


def publish(folder: Path, checkpoint: bytes) -> None:
    """Replaces the published checkpoint. A crash leaves the old or the new one."""
    replace_file(str(folder / PUBLISHED), checkpoint, mode=0o644)


def open_checkpoint(
    note_bytes: bytes, keys_at: Callable[[int], Sequence[VerifierKey]], *, name: str
) -> Checkpoint:
    """A checkpoint that we signed ourselves and kept. Raises Corrupt: what else could it be?"""
    try:
        note = parse_note(note_bytes)
        checkpoint = parse_checkpoint_text(note.text)
        open_note(note, keys_at(checkpoint.size))
        return checkpoint
    except NotaryError as exc:
        raise Corrupt(f"{name} is not a checkpoint of this log: {exc}", name=name) from exc


def check_published(
    folder: Path, ledger: Ledger, keys_at: Callable[[int], Sequence[VerifierKey]]
) -> None:
    """Raises Rollback when the database is older than what was shown outside, Fork when it has
    another root at that size, Corrupt when what was shown is not a checkpoint of ours, signed by
    the keys that held at its size, which `keys_at` gives."""
    path = folder / PUBLISHED
    try:
        shown = path.read_bytes()
    except FileNotFoundError:
        return
    checkpoint = open_checkpoint(shown, keys_at, name=str(path))
    head = ledger.head()
    if checkpoint.size > head.size:
        raise Rollback(
            f"the database ends at size {head.size}, but a checkpoint of size "
            f"{checkpoint.size} was published ({path}): this database is an old copy"
        )
    root = ledger.root_at(checkpoint.size)
    if root != checkpoint.root:
        raise Fork(
            f"root hash mismatch at size {checkpoint.size}: published {checkpoint.root.hex()}, "
            f"database gives {root.hex()}",
            ours=head.checkpoint,
            theirs=shown,
        )
