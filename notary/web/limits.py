"""How often an address may ask: the limited views, and what their limits count with.

All processes and nodes count together, in the database. While that does not answer, each process
counts alone: to refuse everyone would shut views that need no database, and to let everyone in
would be the moment to guess passwords.

Nothing is asked of the database for who is known to be over the largest limit: a flood costs it no
more than that many writes for each address, process and span.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from typing import Any, Final

from apiflask import APIFlask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits.storage import Storage

from notary.clock import Clock
from notary.counters import Counters
from notary.office import Office
from notary.settings import Settings
from storage.errors import StorageError

SCHEME: Final = "evidence"
MOST_KNOWN: Final = 10_000
"""Addresses whose last total a process remembers; then it forgets all, and asks again."""


class SharedCounts(Storage):
    """The house's counters, as the library asks for them."""

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012  # the library's own way to register it

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,  # the library's
        *,
        counters: Counters,
        clock: Clock,
        most: int,
    ) -> None:
        """Above `most` a process counts alone."""
        super().__init__(uri, wrap_exceptions)
        self._counters, self._clock, self._most = counters, clock, most
        self._turn = threading.Lock()
        self._known: dict[str, tuple[int, int]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return StorageError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = int(self._clock.now().timestamp())
        total, until = self._known.get(key, (0, 0))
        if until <= now:
            total, until = 0, now + expiry
        counted = total + amount, until
        if total <= self._most:
            # No address is kept: only whether it is the same one again.
            name = hashlib.sha256(key.encode()).hexdigest()
            with contextlib.suppress(StorageError):
                counted = self._counters.add(name, amount, now=now, span=expiry)
        with self._turn:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = counted
        return counted[0]

    def get(self, key: str) -> int:
        """As this process was told last."""
        return self._known.get(key, (0, 0))[0]

    def get_expiry(self, key: str) -> float:
        return self._known.get(key, (0, self._clock.now().timestamp()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> None:
        self._known.clear()

    def clear(self, key: str) -> None:
        self._known.pop(key, None)


def make_limiter(app: APIFlask, office: Office) -> Limiter:
    """Before the blueprints are registered."""
    hooks = app.before_request_funcs.setdefault(None, [])
    ours = list(hooks)
    options: dict[str, Any] = {
        "counters": office.counters,
        "clock": office.clock,
        "most": max(limit for _, limit in _limited(office.settings)),
    }
    limiter = Limiter(
        get_remote_address,
        app=app,
        storage_uri=f"{SCHEME}://",
        storage_options=options,
        headers_enabled=True,
    )
    # Its own hook would search every request for limits of the whole application. There are
    # none: ours stand on single views, which ask by themselves.
    hooks[:] = ours
    return limiter


def limit_views(app: APIFlask, limiter: Limiter, settings: Settings) -> None:
    """After the blueprints are registered."""
    for endpoint, limit in _limited(settings):
        view: Any = app.view_functions[endpoint]
        app.view_functions[endpoint] = limiter.limit(f"{limit}/minute")(view)


def _limited(settings: Settings) -> tuple[tuple[str, int], ...]:
    """(view, requests for each address and minute)."""
    return (
        ("scrapi.post_entry", settings.entries_per_minute),
        ("scrapi.show_entry", settings.entries_per_minute),
        ("verification.post_verify", settings.verify_per_minute),
        ("certificates.status", settings.verify_per_minute),
        ("pages.verify_form", settings.verify_per_minute),
        ("pages.sign_in", settings.sign_in_per_minute),
        ("pages.sign_in_by_link", settings.sign_in_per_minute),
    )
