"""The WSGI application: opens the house from its settings, hangs the web door on it."""

from __future__ import annotations

import gc
import os

from apiflask import APIFlask

from notary.office import Office
from notary.settings import Settings
from notary.web import build

GC_OBJECTS = 50_000
"""New objects between two looks for garbage; the interpreter's own default is 700."""


def create_app(settings: Settings | None = None) -> APIFlask:
    """Raises MalformedInput where there is no house: `notary init` makes one."""
    app = build(Office(settings or Settings.from_env(os.environ)))
    # What stands now stays: the collector need not look at it again. And it looks less often,
    # since a thousand rows of a batch are many objects, and no garbage: a sixth of their cost.
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, 20, 100)
    return app
