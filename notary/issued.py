"""The certificates that were issued, as rows: each version of each, byte for byte; and the sealed
papers of some, which can be made again."""

from __future__ import annotations

import sqlalchemy as sa

from storage.database import METADATA

CERTIFICATE = sa.Table(
    "certificate",
    METADATA,
    sa.Column("deposit_id", sa.String(36), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(36), nullable=False),
    sa.Column("tokens", sa.Integer, nullable=False),
    sa.Column("issued_at", sa.String(27), nullable=False),
    sa.Column("json", sa.LargeBinary, nullable=False),
)

PAPER = sa.Table(
    "paper",
    METADATA,
    sa.Column("certificate_id", sa.String(36), primary_key=True),
    sa.Column("variant", sa.String(200), primary_key=True),
    sa.Column("deposit_id", sa.String(36), nullable=False),
    sa.Column("made_from", sa.LargeBinary, nullable=False),
    sa.Column("made_at", sa.String(27), nullable=False),
    sa.Column("pdf", sa.LargeBinary, nullable=False),
    sa.Index("paper_deposit", "deposit_id"),
    sa.Index("paper_made", "made_at"),
)
"""A reissue has another id, and papers of its own. `variant` is what was asked for: language and
size, or the token over a container's manifest, which stands in `pdf` then. `made_from` is a digest
of all else that went in, so that what has changed is seen."""
