"""`notary wrapping-key` and `notary rewrap`: the key under which data keys of originals are wrapped
from now on, and those of before brought under it."""

from __future__ import annotations

import os
import sys

import click

from notary.clock import SystemClock
from notary.office import Office, open_wrapping
from notary.rewrapping import Rewrapped
from notary.rewrapping import rewrap as rewrap_all
from notary.settings import Settings

_CLEAR = "\r\x1b[K" if sys.stderr.isatty() else ""


@click.command("wrapping-key")
def wrapping_key() -> None:
    """Make a wrapping key, the first or a newer one, in the first place of NOTARY_ENCRYPTION.

    Older ones still unwrap what they wrapped. Copy a file to every node, and to a place of its own,
    before you encrypt under it."""
    settings = Settings.from_env(os.environ)
    click.echo(open_wrapping(settings, os.urandom).make(SystemClock().now()))


@click.command()
@click.option("--rate", type=click.IntRange(min=0), default=0, help="Data keys a second; 0: all.")
def rewrap(*, rate: int) -> None:
    """Wrap all data keys anew under the newest wrapping key. Exit 70 if one can't be.

    The house may serve meanwhile. Interrupted or killed, start it again: what is done is passed
    over."""
    house = Office(Settings.from_env(os.environ))
    done = rewrap_all(house.database, house.wrapping, rate=rate, progress=_progress)
    for deposit_id, why in done.failed:
        click.echo(f"✗ deposit {deposit_id}: {why}")
    click.echo(
        f"{_CLEAR}{done.done} data keys wrapped anew, {done.already} were under the newest key, "
        f"{len(done.failed)} failed"
    )
    if house.journal.run().covered is None:
        click.echo("a worker is writing the journal: look at evidence_journal_lag_entries")
    sys.exit(70 if done.failed else 0)


def _progress(now: Rewrapped) -> None:
    if sys.stderr.isatty():
        click.echo(f"{_CLEAR}{now.done + now.already:,} data keys", nl=False, err=True)
