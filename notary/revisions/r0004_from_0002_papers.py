"""Sealed papers are kept, so that a certificate asked for again is not drawn and sealed again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_from_0002"
down_revision = "0003_from_0002"


def upgrade() -> None:
    op.create_table(
        "paper",
        sa.Column("certificate_id", sa.String(36), nullable=False),
        sa.Column("variant", sa.String(200), nullable=False),
        sa.Column("deposit_id", sa.String(36), nullable=False),
        sa.Column("made_from", sa.LargeBinary, nullable=False),
        sa.Column("made_at", sa.String(27), nullable=False),
        sa.Column("pdf", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("certificate_id", "variant"),
    )
    op.create_index("paper_deposit", "paper", ["deposit_id"])
    op.create_index("paper_made", "paper", ["made_at"])
