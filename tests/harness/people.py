"""Accounts of every role for a running service, made as `notary key create` makes them: by a
second process that opens the same house."""

from __future__ import annotations

import uuid
from types import TracebackType
from typing import Self

from notary.accounts import Account, ApiKey
from notary.model import Role
from notary.office import Office
from notary.settings import Settings
from tests.harness.server import Client, Service

OPERATOR = "operator"


class Staff:
    """Use as a context manager: it holds the house's database open."""

    def __init__(self, service: Service) -> None:
        self._base = service.base
        named = {k: v for k, v in service.environment.items() if k.startswith("NOTARY_")}
        self.office = Office(Settings.from_env(named))

    def account(self, role: Role) -> Account:
        """A new one."""
        name = f"{role} {uuid.uuid4()}"
        return self.office.people.create_account(OPERATOR, name, role)[0]

    def key(self, who: Role | Account, *, scopes: list[str] | None = None, days: int = 1) -> str:
        """A new key of an account, which is made where only its role is given."""
        account = self.account(who) if isinstance(who, Role) else who
        return self.office.people.create_key(
            OPERATOR, account, label="test", scopes=scopes, days=days
        )[1]

    def client(self, who: Role | Account = Role.API_CLIENT) -> Client:
        """Asks over HTTP with a new key of the account, a new API client's if none is named."""
        return Client(self._base, self.key(who))

    def keys(self, account: Account) -> tuple[ApiKey, ...]:
        return self.office.accounts.keys_of(account.id)

    def session(self, account: Account) -> tuple[str, str]:
        """The secret for the session's cookie, and its CSRF token."""
        secret = self.office.people.sign_in(account, by="link")
        return secret, self.office.accounts.by_session(secret, self.office.clock.now()).csrf

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.office.close()
