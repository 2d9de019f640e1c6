"""Accounts, keys, sign-in: what people do to get in. Each is a custody event."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from notary import accounts
from notary.accounts import Account, Accounts, ApiKey
from notary.chronicle import Chronicle
from notary.clock import Clock
from notary.errors import MalformedInput, NotFound, Unauthenticated
from notary.model import EventKind, Role, check_label, uuid7
from storage.database import Database

DEFAULT_KEY_DAYS = 365
MOST_KEY_DAYS = 3650
NOBODY = "no such account"


class People:
    """`by` is always the name of who acts."""

    def __init__(
        self,
        *,
        database: Database,
        accounts: Accounts,
        chronicle: Chronicle,
        clock: Clock,
        randomness: Callable[[int], bytes],
        session_hours: int,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._chronicle = chronicle
        self._clock = clock
        self._randomness = randomness
        self._session_hours = session_hours

    def _secret(self) -> str:
        """256 random bits as 43 characters."""
        return base64.urlsafe_b64encode(self._randomness(32)).decode().rstrip("=")

    def create_account(self, by: str, name: str, role: Role) -> tuple[Account, str]:
        """The account and the secret of its one-time sign-in link. Raises Conflict."""
        name = check_label(name, what="account name", limit=200)
        id_ = uuid7(self._clock.now(), self._randomness(10))
        secret = self._secret()

        def rows(connection: sa.Connection, at: datetime) -> None:
            accounts.insert_account(connection, id_=id_, name=name, role=role, at=at)
            accounts.insert_link(connection, account_id=id_, secret=secret, at=at)

        self._chronicle.record(
            EventKind.ACCOUNT_CREATED, actor=by, subject=f"{name} as {role}", also=rows
        )
        return self._accounts.get(id_), secret

    def new_link(self, by: str, account: Account) -> str:
        """The secret of a one-time sign-in link, for one who lost link or password."""
        secret = self._secret()
        self._chronicle.record(
            EventKind.LINK_MADE,
            actor=by,
            subject=account.name,
            also=lambda connection, at: accounts.insert_link(
                connection, account_id=account.id, secret=secret, at=at
            ),
        )
        return secret

    def create_key(
        self, by: str, account: Account, *, label: str, scopes: list[str] | None, days: int
    ) -> tuple[ApiKey, str]:
        """The key and, this once, its secret. Raises MalformedInput."""
        if not 1 <= days <= MOST_KEY_DAYS:
            raise MalformedInput(
                f"days must be 1 to {MOST_KEY_DAYS}, got {days}", code="value_malformed"
            )
        checked = accounts.check_scopes(scopes, account.role)
        label = check_label(label, what="key label", limit=200)
        key_id, secret = self._randomness(8).hex(), self._secret()

        def rows(connection: sa.Connection, at: datetime) -> None:
            accounts.insert_api_key(
                connection,
                key_id=key_id,
                secret=secret,
                account_id=account.id,
                label=label,
                scopes=checked,
                at=at,
                expires_at=at + timedelta(days=days),
            )

        self._chronicle.record(
            EventKind.KEY_CREATED, actor=by, subject=f"{account.name}: key {key_id}", also=rows
        )
        return self._accounts.key(key_id), f"nk_{key_id}_{secret}"

    def revoke_key(self, by: str, key: ApiKey) -> None:
        self._chronicle.record(
            EventKind.KEY_REVOKED,
            actor=by,
            subject=f"key {key.id}",
            also=lambda connection, at: accounts.revoke_api_key(connection, key.id, at),
        )

    def change_role(self, by: str, account: Account, role: Role) -> None:
        """Raises Conflict where nobody would be left to manage accounts."""
        self._chronicle.record(
            EventKind.ROLE_CHANGED,
            actor=by,
            subject=f"{account.name}: {account.role} to {role}",
            also=lambda connection, _at: accounts.set_role(connection, account.id, role),
        )

    def disable(self, by: str, account: Account) -> None:
        """Raises Conflict where nobody would be left to manage accounts."""
        self._chronicle.record(
            EventKind.ACCOUNT_DISABLED,
            actor=by,
            subject=account.name,
            also=lambda connection, at: accounts.disable_account(connection, account.id, at),
        )

    def check_password(self, name: str, password: str) -> Account:
        """Raises Unauthenticated; the refusal is an event.

        What was typed as a name that no account has is not written down: people type passwords
        there. The event is entered all the same, so that the time taken tells nobody which.
        """
        try:
            return self._accounts.by_password(name, password)
        except Unauthenticated:
            known = self._name_of(name)
            self._chronicle.record(EventKind.SIGN_IN_REFUSED, actor=known, subject=known)
            raise

    def _name_of(self, typed: str) -> str:
        try:
            return self._accounts.get_by_name(typed).name
        except NotFound:
            return NOBODY

    def sign_in(self, account: Account, *, by: str) -> str:
        """Opens a session; gives the secret for its cookie. `by` says how: password or link."""
        secret = self._secret()
        self._accounts.open_session(
            account,
            secret=secret,
            csrf=self._secret(),
            by=by,
            expires_at=self._clock.now() + timedelta(hours=self._session_hours),
        )
        self._chronicle.record(
            EventKind.SIGNED_IN, actor=account.name, subject=f"{account.name} by {by}"
        )
        return secret

    def sign_out(self, account_name: str, secret: str) -> None:
        self._accounts.end_session(secret, self._clock.now())
        self._chronicle.record(EventKind.SIGNED_OUT, actor=account_name, subject=account_name)

    def set_password(self, account: Account, password: str, *, keep: str) -> None:
        """Ends every session of the account but the one whose secret is `keep`. Raises
        MalformedInput (`password_too_weak`)."""
        hashed = accounts.hash_password(password)

        def rows(connection: sa.Connection, _at: datetime) -> None:
            accounts.set_password(connection, account.id, hashed)
            accounts.end_other_sessions(connection, account.id, keep)

        self._chronicle.record(
            EventKind.PASSWORD_SET, actor=account.name, subject=account.name, also=rows
        )
