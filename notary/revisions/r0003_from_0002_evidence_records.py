"""Hash trees and archive time-stamps of evidence records; what is known of revocations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from notary.journal_tables import Way, watch

revision = "0003_from_0002"
down_revision = "0002_from_0002"


def upgrade() -> None:
    _trees()
    _stamps()
    made = op.create_table(
        "revocation_data",
        sa.Column("certificate", sa.String(64), nullable=False),
        sa.Column("crl", sa.LargeBinary),
        sa.Column("response", sa.LargeBinary),
        sa.Column("due_at", sa.String(27), nullable=False),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("certificate"),
    )
    watch(op.get_bind(), made, Way.CHANGED)


def _trees() -> None:
    made = op.create_table(
        "hash_tree",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("algorithm", sa.String(10), nullable=False),
        sa.Column("renews", sa.Integer),
        sa.Column("authority", sa.Text),
        sa.Column("after", sa.Integer),
        sa.Column("first_idx", sa.BigInteger, nullable=False),
        sa.Column("next_idx", sa.BigInteger, nullable=False),
        sa.Column("until", sa.String(27), nullable=False),
        sa.Column("documents", sa.Integer, nullable=False),
        sa.Column("left_out", sa.Integer, nullable=False),
        sa.Column("closed_at", sa.String(27)),
        sa.Column("root", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index("ix_hash_tree_renews", "hash_tree", ["renews"])
    op.create_index("ix_hash_tree_first_idx", "hash_tree", ["first_idx"])
    made = op.create_table(
        "hash_tree_chunk",
        sa.Column("tree_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("first_idx", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("idxs", sa.LargeBinary, nullable=False),
        sa.Column("nodes", sa.LargeBinary, nullable=False),
        sa.Column("renewed", sa.LargeBinary),
        sa.PrimaryKeyConstraint("tree_id", "number"),
    )
    watch(op.get_bind(), made, Way.CHANGED)


def _stamps() -> None:
    made = op.create_table(
        "archive_timestamp",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("tree_id", sa.Integer, nullable=False),
        sa.Column("authority", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("is_last", sa.Boolean, nullable=False),
        sa.Column("given_by", sa.Text, nullable=False),
        sa.Column("self_operated", sa.Boolean, nullable=False),
        sa.Column("gen_time", sa.String(27), nullable=False),
        sa.Column("expires_at", sa.String(27), nullable=False),
        sa.Column("reduced", sa.LargeBinary),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.Column("chain", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tree_id", "authority", "position"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index("archive_timestamp_due", "archive_timestamp", ["is_last", "expires_at"])
