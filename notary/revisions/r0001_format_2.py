"""Every table of format 2, as houses had them before revisions were counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from notary.journal_tables import Way, watch

revision = "0001"
down_revision = None

TABLES = (
    "house", "tree_head", "entry", "tile", "key_rotation", "journal", "journal_change",
    "account", "api_key", "session", "sign_in_link", "court_case", "party", "usage",
    "idempotency", "deposit", "custody_event", "certificate", "batch", "batch_note",
    "stamped_checkpoint", "timestamp_token", "fresh_token", "document_timestamp_due",
    "timestamp_authority", "embedded_authority", "witnessed_checkpoint", "witness",
    "registration_policy", "signed_statement", "waiting_statement", "audit_run", "audit_range",
    "audit_finding",
)  # fmt: skip
"""By these a database from before is known to be whole."""

INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _ledger()
    _keys()
    _people()
    _cases()
    _deposits()
    _custody()
    _batches()
    _stamps()
    _authorities()
    _statements()
    _audits()
    _findings()


def _ledger() -> None:
    made = op.create_table(
        "house",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("format", sa.Integer, nullable=False),
        sa.Column("genesis", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_table(
        "tree_head",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=False),
        sa.Column("signed_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "entry",
        sa.Column("idx", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("statement", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("idx"),
    )
    op.create_table(
        "tile",
        sa.Column("level", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("level", "n"),
    )


def _keys() -> None:
    made = op.create_table(
        "key_rotation",
        sa.Column("serial", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("idx", sa.BigInteger, nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("serial"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_table(
        "journal",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("entries", sa.BigInteger, nullable=False),
        sa.Column("kept", sa.BigInteger, nullable=False),
        sa.Column("signed_at", sa.String(27), nullable=False),
        sa.Column("staged", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "journal_change",
        sa.Column("id", INDEX, nullable=False),
        sa.Column("tbl", sa.String(63), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _people() -> None:
    made = op.create_table(
        "account",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("password_hash", sa.String(200)),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("disabled_at", sa.String(27)),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    made = op.create_table(
        "api_key",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("scopes", sa.Text),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("expires_at", sa.String(27), nullable=False),
        sa.Column("revoked_at", sa.String(27)),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index("ix_api_key_account_id", "api_key", ["account_id"])
    op.create_table(
        "session",
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("csrf", sa.String(43), nullable=False),
        sa.Column("authenticated_by", sa.String(20), nullable=False),
        sa.Column("expires_at", sa.String(27), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("secret_hash"),
    )
    op.create_table(
        "sign_in_link",
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("expires_at", sa.String(27), nullable=False),
        sa.Column("used_at", sa.String(27)),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("secret_hash"),
    )


def _cases() -> None:
    made = op.create_table(
        "court_case",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("court", sa.String(500), nullable=False),
        sa.Column("number", sa.String(500), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("opened_at", sa.String(27), nullable=False),
        sa.Column("next_exhibit", sa.Integer, server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("number", "court"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    made = op.create_table(
        "party",
        sa.Column("case_id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["case_id"], ["court_case.id"]),
        sa.PrimaryKeyConstraint("case_id", "account_id"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_table(
        "usage",
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id"),
    )
    made = op.create_table(
        "idempotency",
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("outcome_id", sa.String(36), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key"),
    )
    watch(op.get_bind(), made, Way.CHANGED)


def _deposits() -> None:
    made = op.create_table(
        "deposit",
        sa.Column("idx", INDEX, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("case_id", sa.String(36)),
        sa.Column("exhibit", sa.String(500)),
        sa.Column("client_reference", sa.String(500)),
        sa.Column("name", sa.Text),
        sa.Column("media_type_declared", sa.Text),
        sa.Column("media_type_detected", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("digests", sa.Text, nullable=False),
        sa.Column("stored", sa.Boolean, nullable=False),
        sa.Column("document_timestamp", sa.Boolean, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("disclosures", sa.Text, nullable=False),
        sa.Column("received_at", sa.String(27), nullable=False),
        sa.Column("registered_at", sa.String(27), nullable=False),
        sa.Column("batch_id", sa.String(36)),
        sa.Column("batch_row", sa.Integer),
        sa.PrimaryKeyConstraint("idx"),
        sa.UniqueConstraint("account_id", "client_reference"),
        sa.UniqueConstraint("id"),
    )
    watch(op.get_bind(), made, Way.LEDGER)
    op.create_index(
        "deposit_batch",
        "deposit",
        ["batch_id", "batch_row"],
        sqlite_where=sa.text("batch_id IS NOT NULL"),
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "deposit_exhibit",
        "deposit",
        ["case_id", "exhibit"],
        unique=True,
        sqlite_where=sa.text("case_id IS NOT NULL"),
        postgresql_where=sa.text("case_id IS NOT NULL"),
    )
    op.create_index("deposit_digest", "deposit", [sa.text("substr(sha256, 1, 16)")])


def _custody() -> None:
    made = op.create_table(
        "custody_event",
        sa.Column("idx", INDEX, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("deposit_id", sa.String(36)),
        sa.Column("case_id", sa.String(36)),
        sa.Column("subject", sa.String(500)),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("disclosures", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("idx"),
        sa.UniqueConstraint("id"),
    )
    watch(op.get_bind(), made, Way.LEDGER)
    op.create_index("ix_custody_event_case_id", "custody_event", ["case_id"])
    op.create_index("ix_custody_event_deposit_id", "custody_event", ["deposit_id"])
    made = op.create_table(
        "certificate",
        sa.Column("deposit_id", sa.String(36), nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("issued_at", sa.String(27), nullable=False),
        sa.Column("json", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("deposit_id", "version"),
    )
    watch(op.get_bind(), made, Way.CHANGED)


def _batches() -> None:
    made = op.create_table(
        "batch",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("registered", sa.Integer, nullable=False),
        sa.Column("duplicates", sa.Integer, nullable=False),
        sa.Column("refused", sa.Integer, nullable=False),
        sa.Column("first_index", sa.BigInteger),
        sa.Column("at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    made = op.create_table(
        "batch_note",
        sa.Column("batch_id", sa.String(36), nullable=False),
        sa.Column("batch_row", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "batch_row"),
    )
    watch(op.get_bind(), made, Way.CHANGED)


def _stamps() -> None:
    made = op.create_table(
        "stamped_checkpoint",
        sa.Column("size", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("size"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    made = op.create_table(
        "timestamp_token",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("deposit_id", sa.String(36)),
        sa.Column("authority", sa.Text, nullable=False),
        sa.Column("self_operated", sa.Boolean, nullable=False),
        sa.Column("gen_time", sa.String(27), nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sa.Column("chain", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("deposit_id", "authority"),
        sa.UniqueConstraint("size", "authority"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index("ix_timestamp_token_deposit_id", "timestamp_token", ["deposit_id"])
    op.create_index("ix_timestamp_token_size", "timestamp_token", ["size"])
    made = op.create_table(
        "fresh_token",
        sa.Column("authority", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("gen_time", sa.String(27), nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("authority"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    made = op.create_table(
        "document_timestamp_due",
        sa.Column("deposit_id", sa.String(36), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("since", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("deposit_id"),
    )
    watch(op.get_bind(), made, Way.CHANGED)


def _authorities() -> None:
    made = op.create_table(
        "timestamp_authority",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("last_token_at", sa.String(27)),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("retry_at", sa.String(27)),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("name"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    made = op.create_table(
        "embedded_authority",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("next_serial", sa.BigInteger, nullable=False),
        sa.Column("last_gen_time", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    made = op.create_table(
        "witnessed_checkpoint",
        sa.Column("size", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("size"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    made = op.create_table(
        "witness",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("last_cosigned_at", sa.String(27)),
        sa.PrimaryKeyConstraint("name"),
    )
    watch(op.get_bind(), made, Way.CHANGED)


def _statements() -> None:
    made = op.create_table(
        "registration_policy",
        sa.Column("serial", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("idx", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("serial"),
        sa.UniqueConstraint("idx"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    made = op.create_table(
        "signed_statement",
        sa.Column("idx", INDEX, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("iss", sa.Text, nullable=False),
        sa.Column("kid", sa.String(128), nullable=False),
        sa.Column("registered_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("idx"),
        sa.UniqueConstraint("id"),
    )
    watch(op.get_bind(), made, Way.LEDGER)
    made = op.create_table(
        "waiting_statement",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("since", sa.String(27), nullable=False),
        sa.Column("refused_at", sa.String(27)),
        sa.Column("code", sa.String(40)),
        sa.Column("detail", sa.Text),
        sa.PrimaryKeyConstraint("id"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index("ix_waiting_statement_refused_at", "waiting_statement", ["refused_at"])
    op.create_index("ix_waiting_statement_since", "waiting_statement", ["since"])


def _audits() -> None:
    made = op.create_table(
        "audit_run",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("unfinished", sa.SmallInteger),
        sa.Column("scope", sa.String(10), nullable=False),
        sa.Column("rate", sa.BigInteger, nullable=False),
        sa.Column("started_by", sa.String(200), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=False),
        sa.Column("started_at", sa.String(27), nullable=False),
        sa.Column("finished_at", sa.String(27)),
        sa.Column("ranges", sa.BigInteger, nullable=False),
        sa.Column("deposits", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("originals", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("findings", sa.BigInteger, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("unfinished"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    made = op.create_table(
        "audit_range",
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("first", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.String(36)),
        sa.Column("held_until", sa.String(27)),
        sa.Column("done_at", sa.String(27)),
        sa.Column("deposits", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("originals", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("run_id", "first"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index(
        "audit_range_open",
        "audit_range",
        ["run_id", "first"],
        sqlite_where=sa.text("done_at IS NULL"),
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_index("ix_audit_range_first", "audit_range", ["first"])


def _findings() -> None:
    made = op.create_table(
        "audit_finding",
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("idx", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("deposit_id", sa.String(36)),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("found_at", sa.String(27), nullable=False),
        sa.Column("whole_at", sa.String(27)),
        sa.PrimaryKeyConstraint("run_id", "idx", "kind"),
    )
    watch(op.get_bind(), made, Way.CHANGED)
    op.create_index("ix_audit_finding_idx", "audit_finding", ["idx"])
