"""`notary wrapping-key`: the key under which data keys of originals are wrapped from now on."""

from __future__ import annotations

import os

import click

from notary.clock import SystemClock
from notary.settings import Settings
from notary.wrapping import make_wrapping_key


@click.command("wrapping-key")
def wrapping_key() -> None:
    """Make a wrapping key, the first or a newer one. Older ones still unwrap what they wrapped.

    Copy it to every node, and to a place of its own, before you encrypt under it."""
    settings = Settings.from_env(os.environ)
    click.echo(make_wrapping_key(settings.home / "keys", SystemClock().now(), os.urandom))
