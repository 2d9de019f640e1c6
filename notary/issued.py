"""The certificates that were issued, as rows: each version of each, byte for byte."""

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
