"""The WSGI application: opens the house from its settings, hangs the web door on it."""

from __future__ import annotations

import os

from apiflask import APIFlask

from notary.office import Office
from notary.settings import Settings
from notary.web import build


def create_app(settings: Settings | None = None) -> APIFlask:
    """Raises MalformedInput where there is no house: `notary init` makes one."""
    return build(Office(settings or Settings.from_env(os.environ)))
