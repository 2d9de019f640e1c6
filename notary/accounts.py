"""Accounts, API keys, sessions, one-time sign-in links. Owns their tables.

Secrets are stored hashed: passwords by argon2id, the others, which carry 256 random bits, by
SHA-256. Comparisons run in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import argon2
import sqlalchemy as sa

from notary.access import TABLE, Act
from notary.clock import parse_rfc3339, rfc3339
from notary.errors import Conflict, MalformedInput, NotFound, Unauthenticated
from notary.model import Principal, Role, check_label
from storage.database import METADATA, Database, Prepared

MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 200
LINK_LIFE = timedelta(days=7)

ACCOUNT = sa.Table(
    "account",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("password_hash", sa.String(200)),
    sa.Column("created_at", sa.String(27), nullable=False),
    sa.Column("disabled_at", sa.String(27)),
)
API_KEY = sa.Table(
    "api_key",
    METADATA,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("account.id"), nullable=False, index=True),
    sa.Column("label", sa.String(200), nullable=False),
    sa.Column("secret_hash", sa.LargeBinary, nullable=False),
    sa.Column("scopes", sa.Text),
    sa.Column("created_at", sa.String(27), nullable=False),
    sa.Column("expires_at", sa.String(27), nullable=False),
    sa.Column("revoked_at", sa.String(27)),
)
SESSION = sa.Table(
    "session",
    METADATA,
    sa.Column("secret_hash", sa.LargeBinary, primary_key=True),
    sa.Column("account_id", sa.ForeignKey("account.id"), nullable=False),
    sa.Column("csrf", sa.String(43), nullable=False),
    sa.Column("authenticated_by", sa.String(20), nullable=False),
    sa.Column("expires_at", sa.String(27), nullable=False),
)
SIGN_IN_LINK = sa.Table(
    "sign_in_link",
    METADATA,
    sa.Column("secret_hash", sa.LargeBinary, primary_key=True),
    sa.Column("account_id", sa.ForeignKey("account.id"), nullable=False),
    sa.Column("expires_at", sa.String(27), nullable=False),
    sa.Column("used_at", sa.String(27)),
)

_HASHER = argon2.PasswordHasher()
# Checked when the account is unknown, so that the time taken does not tell. Written out, since
# making one costs every process of the house a fifth of a second at its start.
NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$QrnWURtAlEHUhXNIJGv4hQ"
    "$oAIPcWKauKC8BcjDQubUZoKkFNGApY4my3/8vq4j3UQ"
)
_KEY = re.compile(r"nk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    id: str
    name: str
    role: Role
    created_at: datetime
    disabled: bool
    has_password: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    id: str
    account_id: str
    label: str
    scopes: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    principal: Principal
    csrf: str


def hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def check_password_rules(password: str) -> None:
    """Raises MalformedInput (`password_too_weak`)."""
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise MalformedInput(
            f"a password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters",
            code="password_too_weak",
        )


class Accounts:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- who is asking -------------------------------------------------------------------

    def by_api_key(self, presented: str, now: datetime) -> Principal:
        """Raises Unauthenticated, always with the same words."""
        refused = Unauthenticated("the API key is unknown, expired or revoked", code="key_invalid")
        match = _KEY.fullmatch(presented)
        if match is None:
            raise refused
        key_id, secret = match.groups()
        row = self._database.first(_KEY_AND_ACCOUNT, key=key_id)
        if row is None:
            raise refused
        account_id, secret_hash, scopes, expires_at, revoked_at, name, role, disabled_at = row
        if (
            not hmac.compare_digest(secret_hash, hash_secret(secret))
            or revoked_at is not None
            or disabled_at is not None
            or expires_at <= rfc3339(now)
        ):
            raise refused
        return Principal(
            account_id=account_id,
            name=name,
            role=Role(role),
            authenticated_by="api-key",
            scopes=None if scopes is None else frozenset(scopes.split()),
        )

    def by_session(self, secret: str, now: datetime) -> Session:
        """Raises Unauthenticated."""
        with self._database.reading() as connection:
            row = connection.execute(
                sa.select(SESSION, ACCOUNT.c.name, ACCOUNT.c.role)
                .join(ACCOUNT)
                .where(
                    SESSION.c.secret_hash == hash_secret(secret),
                    SESSION.c.expires_at > rfc3339(now),
                    ACCOUNT.c.disabled_at.is_(None),
                )
            ).first()
        if row is None:
            raise Unauthenticated("the session has ended: sign in again", code="session_ended")
        principal = Principal(
            account_id=row.account_id,
            name=row.name,
            role=Role(row.role),
            authenticated_by=row.authenticated_by,
        )
        return Session(principal=principal, csrf=row.csrf)

    def by_password(self, name: str, password: str) -> Account:
        """Raises Unauthenticated with the same words whether name or password is wrong."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(ACCOUNT).where(ACCOUNT.c.name == name)).first()
        stored = NOBODY if row is None or row.password_hash is None else row.password_hash
        try:
            _HASHER.verify(stored, password)
        except argon2.exceptions.VerifyMismatchError as exc:
            raise Unauthenticated("name or password is wrong", code="sign_in_refused") from exc
        if row is None or row.password_hash is None or row.disabled_at is not None:
            raise Unauthenticated("name or password is wrong", code="sign_in_refused")
        return _account(row)

    def spend_link(self, secret: str, now: datetime) -> Account:
        """A one-time link signs in once. Raises Unauthenticated."""
        with self._database.writing() as connection:
            spent = connection.execute(
                sa.update(SIGN_IN_LINK)
                .where(
                    SIGN_IN_LINK.c.secret_hash == hash_secret(secret),
                    SIGN_IN_LINK.c.used_at.is_(None),
                    SIGN_IN_LINK.c.expires_at > rfc3339(now),
                )
                .values(used_at=rfc3339(now))
            )
            if spent.rowcount != 1:
                raise Unauthenticated(
                    "this sign-in link was used before or has expired", code="link_spent"
                )
            row = connection.execute(
                sa.select(ACCOUNT)
                .join(SIGN_IN_LINK)
                .where(SIGN_IN_LINK.c.secret_hash == hash_secret(secret))
            ).one()
        if row.disabled_at is not None:
            raise Unauthenticated("this account is disabled", code="link_spent")
        return _account(row)

    def open_session(
        self, account: Account, *, secret: str, csrf: str, by: str, expires_at: datetime
    ) -> None:
        with self._database.writing() as connection:
            connection.execute(
                sa.insert(SESSION).values(
                    secret_hash=hash_secret(secret),
                    account_id=account.id,
                    csrf=csrf,
                    authenticated_by=by,
                    expires_at=rfc3339(expires_at),
                )
            )

    def end_session(self, secret: str, now: datetime) -> None:
        """Also sweeps the sessions that have run out."""
        with self._database.writing() as connection:
            connection.execute(
                sa.delete(SESSION).where(
                    (SESSION.c.secret_hash == hash_secret(secret))
                    | (SESSION.c.expires_at <= rfc3339(now))
                )
            )

    # --- reading -------------------------------------------------------------------------

    def get(self, account_id: str) -> Account:
        with self._database.reading() as connection:
            row = connection.execute(sa.select(ACCOUNT).where(ACCOUNT.c.id == account_id)).first()
        if row is None:
            raise NotFound("no such account", code="account_not_found")
        return _account(row)

    def get_by_name(self, name: str) -> Account:
        with self._database.reading() as connection:
            row = connection.execute(sa.select(ACCOUNT).where(ACCOUNT.c.name == name)).first()
        if row is None:
            raise NotFound(f"no account named {name!r}", code="account_not_found")
        return _account(row)

    def page(self, *, after: str, limit: int) -> tuple[Account, ...]:
        with self._database.reading() as connection:
            rows = connection.execute(
                sa.select(ACCOUNT).where(ACCOUNT.c.id > after).order_by(ACCOUNT.c.id).limit(limit)
            ).all()
        return tuple(_account(row) for row in rows)

    def keys_of(self, account_id: str) -> tuple[ApiKey, ...]:
        with self._database.reading() as connection:
            rows = connection.execute(
                sa.select(API_KEY)
                .where(API_KEY.c.account_id == account_id)
                .order_by(API_KEY.c.created_at)
            ).all()
        return tuple(_api_key(row) for row in rows)

    def key(self, key_id: str) -> ApiKey:
        with self._database.reading() as connection:
            row = connection.execute(sa.select(API_KEY).where(API_KEY.c.id == key_id)).first()
        if row is None:
            raise NotFound("no such key", code="key_not_found")
        return _api_key(row)


# --- writes, for use inside the transaction of the event that records them --------------------


def insert_account(
    connection: sa.Connection, *, id_: str, name: str, role: Role, at: datetime
) -> None:
    """Raises Conflict (`account_exists`)."""
    name = check_label(name, what="account name", limit=200)
    if connection.execute(sa.select(ACCOUNT.c.id).where(ACCOUNT.c.name == name)).first():
        raise Conflict(f"an account named {name!r} exists already", code="account_exists")
    connection.execute(
        sa.insert(ACCOUNT).values(id=id_, name=name, role=role, created_at=rfc3339(at))
    )


def set_role(connection: sa.Connection, account_id: str, role: Role) -> None:
    """Raises Conflict (`last_administrator`)."""
    if role is not Role.ADMINISTRATOR:
        _another_administrator(connection, account_id)
    connection.execute(sa.update(ACCOUNT).where(ACCOUNT.c.id == account_id).values(role=role))


def _another_administrator(connection: sa.Connection, account_id: str) -> None:
    others = (
        sa.select(ACCOUNT.c.id)
        .where(
            ACCOUNT.c.role == Role.ADMINISTRATOR,
            ACCOUNT.c.disabled_at.is_(None),
            ACCOUNT.c.id != account_id,
        )
        .limit(1)
    )
    if connection.execute(others).first() is None:
        raise Conflict(
            "this is the only administrator: make another one first", code="last_administrator"
        )


def end_other_sessions(connection: sa.Connection, account_id: str, keep: str) -> None:
    connection.execute(
        sa.delete(SESSION).where(
            SESSION.c.account_id == account_id, SESSION.c.secret_hash != hash_secret(keep)
        )
    )


def set_password(connection: sa.Connection, account_id: str, password_hash: str) -> None:
    connection.execute(
        sa.update(ACCOUNT).where(ACCOUNT.c.id == account_id).values(password_hash=password_hash)
    )


def hash_password(password: str) -> str:
    check_password_rules(password)
    return _HASHER.hash(password)


def disable_account(connection: sa.Connection, account_id: str, at: datetime) -> None:
    """Raises Conflict (`last_administrator`)."""
    _another_administrator(connection, account_id)
    connection.execute(
        sa.update(ACCOUNT).where(ACCOUNT.c.id == account_id).values(disabled_at=rfc3339(at))
    )
    connection.execute(sa.delete(SESSION).where(SESSION.c.account_id == account_id))


def insert_link(connection: sa.Connection, *, account_id: str, secret: str, at: datetime) -> None:
    connection.execute(
        sa.insert(SIGN_IN_LINK).values(
            secret_hash=hash_secret(secret),
            account_id=account_id,
            expires_at=rfc3339(at + LINK_LIFE),
        )
    )


def insert_api_key(
    connection: sa.Connection,
    *,
    key_id: str,
    secret: str,
    account_id: str,
    label: str,
    scopes: Sequence[str] | None,
    at: datetime,
    expires_at: datetime,
) -> None:
    connection.execute(
        sa.insert(API_KEY).values(
            id=key_id,
            account_id=account_id,
            label=check_label(label, what="key label", limit=200),
            secret_hash=hash_secret(secret),
            scopes=None if scopes is None else " ".join(scopes),
            created_at=rfc3339(at),
            expires_at=rfc3339(expires_at),
        )
    )


def revoke_api_key(connection: sa.Connection, key_id: str, at: datetime) -> None:
    connection.execute(
        sa.update(API_KEY)
        .where(API_KEY.c.id == key_id, API_KEY.c.revoked_at.is_(None))
        .values(revoked_at=rfc3339(at))
    )


def check_scopes(scopes: Sequence[str] | None, role: Role) -> tuple[str, ...] | None:
    """Raises MalformedInput (`scopes_malformed`): a key can't do what its account may not."""
    if scopes is None:
        return None
    for scope in scopes:
        if scope not in set(Act) or Act(scope) not in TABLE[role]:
            raise MalformedInput(
                f"scope {scope!r:.60} is not one of role {role}: {', '.join(sorted(TABLE[role]))}",
                code="scopes_malformed",
            )
    return tuple(dict.fromkeys(scopes))


_KEY_AND_ACCOUNT = Prepared(
    sa.select(
        API_KEY.c.account_id,
        API_KEY.c.secret_hash,
        API_KEY.c.scopes,
        API_KEY.c.expires_at,
        API_KEY.c.revoked_at,
        ACCOUNT.c.name,
        ACCOUNT.c.role,
        ACCOUNT.c.disabled_at,
    )
    .join(ACCOUNT)
    .where(API_KEY.c.id == sa.bindparam("key"))
)


def _account(row: sa.Row[tuple[object, ...]]) -> Account:
    return Account(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        created_at=parse_rfc3339(row.created_at),
        disabled=row.disabled_at is not None,
        has_password=row.password_hash is not None,
    )


def _api_key(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        account_id=row.account_id,
        label=row.label,
        scopes=None if row.scopes is None else tuple(row.scopes.split()),
        created_at=parse_rfc3339(row.created_at),
        expires_at=parse_rfc3339(row.expires_at),
        revoked=row.revoked_at is not None,
    )
