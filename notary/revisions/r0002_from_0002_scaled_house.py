"""Digests in a table of their own, retention, holds, disposal, nodes, reconciliation. Reads every
deposit once: some two minutes for ten million."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from notary.journal_tables import Way, watch

revision = "0002_from_0002"
down_revision = "0001"

AT_ONCE, WRITTEN = 250_000, 1_000


def upgrade() -> None:
    _digests()
    _kept()
    _disposals()
    _nodes()
    _remains()
    op.add_column("deposit", sa.Column("object_version", sa.Text))
    op.add_column("deposit", sa.Column("data_key", sa.LargeBinary))
    op.add_column("deposit", sa.Column("disposed_at", sa.String(27)))
    op.add_column("house", sa.Column("authority_chain", sa.Text))
    op.add_column("tree_head", sa.Column("halted", sa.Text))


def _digests() -> None:
    """An index of that name stands in the way; what it did, the table does."""
    op.drop_index("deposit_digest", table_name="deposit")
    made = op.create_table(
        "deposit_digest",
        sa.Column("part", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("idx", sa.BigInteger, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("part", "start", "idx"),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    for rows in _sorted_rows(connection):
        for at in range(0, len(rows), WRITTEN):
            some = rows[at : at + WRITTEN]
            connection.execute(
                sa.insert(made),
                [{"part": part, "start": start, "idx": idx} for part, start, idx in some],
            )


def _sorted_rows(connection: sa.Connection) -> Iterator[list[tuple[int, int, int]]]:
    deposit = sa.table("deposit", sa.column("idx"), sa.column("sha256"))
    after = -1
    while True:
        page = connection.execute(
            sa.select(deposit).where(deposit.c.idx > after).order_by(deposit.c.idx).limit(AT_ONCE)
        ).all()
        yield sorted((row.idx >> 20, int(row.sha256[:12], 16), row.idx) for row in page)
        if len(page) < AT_ONCE:
            return
        after = page[-1].idx


def _kept() -> None:
    made = op.create_table(
        "retention_due",
        sa.Column("key", sa.String(512), nullable=False),
        sa.Column("version", sa.Text),
        sa.Column("until", sa.String(27), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index("ix_retention_due_at", "retention_due", ["at"])
    made = op.create_table(
        "retention",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("deposit_id", sa.String(36)),
        sa.Column("case_id", sa.String(36)),
        sa.Column("until", sa.String(27), nullable=False),
        sa.Column("basis", sa.Text, nullable=False),
        sa.Column("set_by", sa.String(200), nullable=False),
        sa.Column("set_at", sa.String(27), nullable=False),
        sa.Column("applied_to", sa.BigInteger),
        sa.PrimaryKeyConstraint("id"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index("ix_retention_case_id", "retention", ["case_id"])
    op.create_index("ix_retention_deposit_id", "retention", ["deposit_id"])
    made = op.create_table(
        "legal_hold",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("deposit_id", sa.String(36)),
        sa.Column("case_id", sa.String(36)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("placed_by", sa.String(200), nullable=False),
        sa.Column("placed_at", sa.String(27), nullable=False),
        sa.Column("released_by", sa.String(200)),
        sa.Column("released_at", sa.String(27)),
        sa.Column("applied_to", sa.BigInteger),
        sa.Column("lifted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index("ix_legal_hold_case_id", "legal_hold", ["case_id"])
    op.create_index("ix_legal_hold_deposit_id", "legal_hold", ["deposit_id"])


def _disposals() -> None:
    made = op.create_table(
        "disposal",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("deposit_id", sa.String(36), nullable=False),
        sa.Column("standing", sa.String(36)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("basis", sa.Text, nullable=False),
        sa.Column("stored", sa.Boolean, nullable=False),
        sa.Column("encrypted", sa.Boolean, nullable=False),
        sa.Column("requested_by", sa.String(36), nullable=False),
        sa.Column("requester", sa.String(200), nullable=False),
        sa.Column("requested_at", sa.String(27), nullable=False),
        sa.Column("approved_by", sa.String(36)),
        sa.Column("approver", sa.String(200)),
        sa.Column("approved_at", sa.String(27)),
        sa.Column("withdrawn_by", sa.String(200)),
        sa.Column("withdrawn_at", sa.String(27)),
        sa.Column("erased_at", sa.String(27)),
        sa.Column("waits_until", sa.String(27)),
        sa.Column("discarded_at", sa.String(27)),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("standing"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index("ix_disposal_deposit_id", "disposal", ["deposit_id"])


def _nodes() -> None:
    op.create_table(
        "job_lease",
        sa.Column("job", sa.String(300), nullable=False),
        sa.Column("holder", sa.String(100), nullable=False),
        sa.Column("until", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("job"),
    )
    op.create_table(
        "request_count",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def _remains() -> None:
    op.create_table(
        "remains_pass",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("unfinished", sa.SmallInteger),
        sa.Column("started_by", sa.String(200), nullable=False),
        sa.Column("started_at", sa.String(27), nullable=False),
        sa.Column("finished_at", sa.String(27)),
        sa.Column("worker", sa.String(36), nullable=False),
        sa.Column("held_until", sa.String(27), nullable=False),
        sa.Column("place", sa.String(512), nullable=False, server_default=""),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
            for name in ("objects", "deposits", "mended", "findings")
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("unfinished"),
    )
    op.create_table(
        "remains_finding",
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("name", sa.String(600), nullable=False),
        sa.Column("pass_id", sa.String(36), nullable=False),
        sa.Column("deposit_id", sa.String(36)),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("since", sa.String(27), nullable=False),
        sa.Column("seen_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name"),
    )
    op.create_index("ix_remains_finding_deposit_id", "remains_finding", ["deposit_id"])
    op.create_table(
        "condemned_original",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "database_began",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "deposit_original",
        "deposit",
        [sa.func.substr(sa.column("id"), sa.literal_column("35")).concat(sa.column("id"))],
        sqlite_where=sa.text("stored IS 1"),
        postgresql_where=sa.text("stored IS true"),
    )
