"""The timestamp tokens the house holds, and what is due for one. Owns their tables.

A checkpoint gets a row only together with its first token, so an authority that is down leaves
no trail of checkpoints that nobody stamped: the next one covers them all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from notary.clock import parse_rfc3339, rfc3339
from storage.database import METADATA, Database, insert_if_absent

CHECKPOINT, ORIGINAL = "checkpoint", "original"
NEAR = 60

STAMPED = sa.Table(
    "stamped_checkpoint",
    METADATA,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("checkpoint", sa.LargeBinary, nullable=False),
)
TOKEN = sa.Table(
    "timestamp_token",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("size", sa.BigInteger, index=True),
    sa.Column("deposit_id", sa.String(36), index=True),
    sa.Column("authority", sa.Text, nullable=False),
    sa.Column("self_operated", sa.Boolean, nullable=False),
    sa.Column("gen_time", sa.String(27), nullable=False),
    sa.Column("response", sa.LargeBinary, nullable=False),
    sa.Column("chain", sa.Text, nullable=False),
    sa.UniqueConstraint("size", "authority"),
    sa.UniqueConstraint("deposit_id", "authority"),
)
DOCUMENT_DUE = sa.Table(
    "document_timestamp_due",
    METADATA,
    sa.Column("deposit_id", sa.String(36), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("since", sa.String(27), nullable=False),
)
AUTHORITY = sa.Table(
    "timestamp_authority",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("last_token_at", sa.String(27)),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("retry_at", sa.String(27)),
    sa.Column("last_error", sa.Text),
)
FRESH = sa.Table(
    "fresh_token",
    METADATA,
    sa.Column("authority", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("gen_time", sa.String(27), nullable=False),
    sa.Column("response", sa.LargeBinary, nullable=False),
)
SERIAL = sa.Table(
    "embedded_authority",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("next_serial", sa.BigInteger, nullable=False),
    sa.Column("last_gen_time", sa.String(27), nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One verified token. `response` is the TimeStampResp in DER, `chain` leaf to root."""

    authority: str
    self_operated: bool
    gen_time: datetime
    response: bytes
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """A checkpoint with all tokens that cover it."""

    size: int
    root: bytes
    checkpoint: bytes
    tokens: tuple[Token, ...]
    quorum: int = 1

    def time(self) -> datetime | None:
        """By which so many authorities as the house asks for had stamped it, None before that."""
        times = sorted(token.gen_time for token in self.tokens)
        return times[self.quorum - 1] if len(times) >= self.quorum else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityState:
    name: str
    last_token_at: datetime | None
    failures: int
    retry_at: datetime | None
    last_error: str | None


class Stamps:
    def __init__(self, database: Database, *, quorum: int = 1) -> None:
        """`quorum` is how many authorities make a deposit count as timestamped."""
        self._database = database
        self.quorum = quorum

    def covering(self, index: int) -> Stamped | None:
        """Of the stamped checkpoints that cover the entry, the one that most authorities stamped,
        and of those the earliest. Authorities that work at the same moment may each take another
        one; the next is stamped by all. Only the `NEAR` earliest are looked at."""
        near = (
            sa.select(STAMPED.c.size)
            .where(STAMPED.c.size > index)
            .order_by(STAMPED.c.size)
            .limit(NEAR)
        )
        best = (
            sa.select(TOKEN.c.size)
            .where(TOKEN.c.size.in_(near))
            .group_by(TOKEN.c.size)
            .order_by(sa.func.count().desc(), TOKEN.c.size)
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(
                sa.select(STAMPED).where(STAMPED.c.size == best.scalar_subquery())
            ).first()
            if row is None:
                return None
            tokens = connection.execute(
                sa.select(TOKEN).where(TOKEN.c.size == row.size).order_by(TOKEN.c.id)
            )
            return Stamped(
                size=row.size,
                root=row.root,
                checkpoint=row.checkpoint,
                tokens=tuple(_token(token) for token in tokens),
                quorum=self.quorum,
            )

    def of_document(self, deposit_id: str) -> tuple[Token, ...]:
        with self._database.reading() as connection:
            rows = connection.execute(
                sa.select(TOKEN).where(TOKEN.c.deposit_id == deposit_id).order_by(TOKEN.c.id)
            )
            return tuple(_token(row) for row in rows)

    def newest_size(self, authority: str | None = None) -> int:
        """Size of the newest checkpoint with a token (of this authority). 0 for none."""
        query = sa.select(sa.func.max(TOKEN.c.size))
        if authority is not None:
            query = query.where(TOKEN.c.authority == authority)
        with self._database.reading() as connection:
            return connection.execute(query).scalar() or 0

    def newest_chains(self) -> tuple[tuple[bytes, ...], ...]:
        """The certificate chain of each authority's newest token."""
        found = []
        with self._database.reading() as connection:
            for name in connection.execute(sa.select(AUTHORITY.c.name)).scalars().all():
                newest = sa.select(TOKEN.c.chain).where(TOKEN.c.authority == name)
                row = connection.execute(newest.order_by(TOKEN.c.id.desc()).limit(1)).scalar()
                if row is not None:
                    found.append(tuple(bytes.fromhex(der) for der in json.loads(row)))
        return tuple(found)

    def documents_due(self, limit: int) -> tuple[tuple[str, bytes], ...]:
        """(deposit id, SHA-256) of originals that wait for their own token, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                sa.select(DOCUMENT_DUE).order_by(DOCUMENT_DUE.c.deposit_id).limit(limit)
            )
            return tuple((row.deposit_id, bytes.fromhex(row.sha256)) for row in rows)

    def waiting(self) -> tuple[int, datetime | None]:
        """(documents without their token, since when the oldest of them waits)."""
        with self._database.reading() as connection:
            count, since = connection.execute(
                sa.select(sa.func.count(), sa.func.min(DOCUMENT_DUE.c.since))
            ).one()
        return count, None if since is None else parse_rfc3339(since)

    def authorities(self) -> tuple[AuthorityState, ...]:
        with self._database.reading() as connection:
            return tuple(
                AuthorityState(
                    name=row.name,
                    last_token_at=_moment(row.last_token_at),
                    failures=row.failures,
                    retry_at=_moment(row.retry_at),
                    last_error=row.last_error,
                )
                for row in connection.execute(sa.select(AUTHORITY).order_by(AUTHORITY.c.name))
            )

    # --- writing --------------------------------------------------------------------------

    def keep_checkpoint(
        self, *, size: int, root: bytes, checkpoint: bytes, tokens: Sequence[Token]
    ) -> None:
        """Keeps verified tokens. A second one by the same authority is dropped: a job that ran
        twice harms nothing."""
        with self._database.writing() as connection:
            connection.execute(
                insert_if_absent(connection, STAMPED).values(
                    size=size, root=root, checkpoint=checkpoint
                )
            )
            for token in tokens:
                _insert_token(connection, token, size=size, deposit_id=None)

    def keep_fresh(self, size: int, token: Token) -> None:
        """The token that shows the log alive while nothing is entered: one for an authority,
        each in place of the one before. Certificates do not need it."""
        values = {
            "size": size,
            "gen_time": rfc3339(token.gen_time),
            "response": token.response,
        }
        with self._database.writing() as connection:
            changed = connection.execute(
                sa.update(FRESH).where(FRESH.c.authority == token.authority).values(**values)
            )
            if changed.rowcount == 0:
                connection.execute(sa.insert(FRESH).values(authority=token.authority, **values))

    def freshest(self) -> tuple[int, datetime] | None:
        """(size, time) of the latest token over any checkpoint, fresh ones included."""
        with self._database.reading() as connection:
            rows = [
                connection.execute(
                    sa.select(table.c.size, table.c.gen_time)
                    .where(table.c.size.is_not(None))
                    .order_by(table.c.gen_time.desc())
                    .limit(1)
                ).first()
                for table in (TOKEN, FRESH)
            ]
        found = [(row.size, parse_rfc3339(row.gen_time)) for row in rows if row is not None]
        return max(found, key=lambda each: each[1], default=None)

    def keep_document(self, deposit_id: str, tokens: Sequence[Token], *, done: bool) -> None:
        with self._database.writing() as connection:
            due = sa.select(DOCUMENT_DUE.c.deposit_id).where(
                DOCUMENT_DUE.c.deposit_id == deposit_id
            )
            if connection.execute(due.with_for_update()).first() is None:
                return  # another worker was faster, or it was disposed of meanwhile
            for token in tokens:
                _insert_token(connection, token, size=None, deposit_id=deposit_id)
            if done:
                connection.execute(
                    sa.delete(DOCUMENT_DUE).where(DOCUMENT_DUE.c.deposit_id == deposit_id)
                )

    def succeeded(self, authority: str, at: datetime) -> None:
        self._note(authority, last_token_at=rfc3339(at), failures=0, retry_at=None, last_error=None)

    def failed(self, authority: str, *, failures: int, retry_at: datetime, error: str) -> None:
        self._note(
            authority,
            failures=failures,
            retry_at=rfc3339(retry_at),
            # A stranger's words, and PostgreSQL keeps no NUL.
            last_error=error[:2000].replace("\0", "\N{REPLACEMENT CHARACTER}"),
        )

    def _note(self, authority: str, **values: Any) -> None:
        with self._database.writing() as connection:
            connection.execute(
                insert_if_absent(connection, AUTHORITY).values(name=authority, failures=0)
            )
            connection.execute(
                sa.update(AUTHORITY).where(AUTHORITY.c.name == authority).values(**values)
            )

    def next_serial(self, now: datetime) -> int:
        """A serial number never given before: the embedded authority's own memory. Durable
        before it is used, so a crash skips a number and never repeats one."""
        with self._database.writing() as connection:
            connection.execute(
                insert_if_absent(connection, SERIAL).values(
                    id=1, next_serial=1, last_gen_time=rfc3339(now)
                )
            )
            row = connection.execute(sa.select(SERIAL).with_for_update()).one()
            connection.execute(
                sa.update(SERIAL).values(
                    next_serial=row.next_serial + 1,
                    last_gen_time=max(rfc3339(now), row.last_gen_time),
                )
            )
            serial: int = row.next_serial
            return serial

    def last_gen_time(self) -> datetime | None:
        """Not before the time of any token the embedded authority gave."""
        with self._database.reading() as connection:
            return _moment(connection.execute(sa.select(SERIAL.c.last_gen_time)).scalar())


def insert_document_due(
    connection: sa.Connection, *, deposit_id: str, sha256: str, at: datetime
) -> None:
    """For the transaction of the deposit."""
    connection.execute(
        sa.insert(DOCUMENT_DUE).values(deposit_id=deposit_id, sha256=sha256, since=rfc3339(at))
    )


def _insert_token(
    connection: sa.Connection, token: Token, *, size: int | None, deposit_id: str | None
) -> None:
    connection.execute(
        insert_if_absent(connection, TOKEN).values(
            size=size,
            deposit_id=deposit_id,
            authority=token.authority,
            self_operated=token.self_operated,
            gen_time=rfc3339(token.gen_time),
            response=token.response,
            chain=json.dumps([der.hex() for der in token.chain]),
        )
    )


def _token(row: sa.Row[Any]) -> Token:
    return Token(
        authority=row.authority,
        self_operated=row.self_operated,
        gen_time=parse_rfc3339(row.gen_time),
        response=row.response,
        chain=tuple(bytes.fromhex(der) for der in json.loads(row.chain)),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_rfc3339(text)
