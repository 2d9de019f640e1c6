"""PostgreSQL's connections: none waits for ever, and each of its errors has a kind.

The server ends a statement that takes too long, or waits too long for a lock, by itself. A server
that hangs, or a network that swallows what is sent, ends nothing: so the connection stops waiting
a little later, and is then of no more use. Loaded only where the database is PostgreSQL.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg.errors import _WaitTimeout

GRACE_S: Final = 5.0
"""How much longer than the server the client waits: the server's own word is the better one."""

_SESSION: Final = {
    # Whatever the server's own default: a commit that returned is on disk there.
    "synchronous_commit": "on",
    "timezone": "UTC",
    # A node that hangs or is cut off while it holds the tree head must not stop the others.
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
_CLIENT: Final[dict[str, str | int]] = {
    "application_name": "evidence-notary",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def options(timeout_s: float) -> dict[str, str | int]:
    """libpq's options; what the URL says of them wins. 0 is no limit."""
    limits = {
        # Of the two the lock's comes first, and tells what was waited for.
        "lock_timeout": f"{timeout_s * 0.8 * 1000:.0f}",
        "statement_timeout": f"{timeout_s * 1000:.0f}",
    }
    session = " ".join(f"-c {name}={value}" for name, value in (_SESSION | limits).items())
    return {**_CLIENT, "options": session}


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up where no answer comes within `patience_s`, and is closed then; None waits."""

    patience_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        patience_s = self.patience_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, patience_s)
        except _WaitTimeout:
            # What was asked may still be on its way: nobody may ask anything else here.
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"no answer within {patience_s:g} s: server or network hangs"
            ) from None


def connect(timeout_s: float, *arguments: Any, **given: Any) -> BoundedConnection:
    connection = BoundedConnection.connect(*arguments, **given)
    connection.patience_s = timeout_s + GRACE_S if timeout_s else None
    return connection


def lift_read_only(connection: psycopg.Connection[Any]) -> None:
    """After a reader's use: a writer's transaction takes the server's own word for whether it may
    write. Asking for it would be refused in other words by a standby, and granted by a database
    that was made read-only on purpose."""
    if connection.read_only is not None:
        connection.read_only = None
