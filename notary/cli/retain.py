"""`notary retain`: the retention of the setting, for originals that were registered before it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from notary.office import Office
from notary.retaining import Caught, retain_registered
from notary.settings import Settings
from storage.durable import replace_file

_CLEAR = "\r\x1b[K" if sys.stderr.isatty() else ""


@click.command()
@click.option("--rate", type=click.IntRange(min=0), default=0, help="Originals a second; 0: all.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="File that remembers how far it came; started again with it, it goes on there.",
)
def retain(*, rate: int, state: Path | None) -> None:
    """Retain what was registered before NOTARY_OBJECTS asked for it. Exit 70 if an original is
    missing.

    The house may serve meanwhile. Nothing is shortened, and what is retained already stays."""
    house = Office(Settings.from_env(os.environ))
    start = int(state.read_text()) if state is not None and state.exists() else 0

    def progress(now: Caught) -> None:
        if state is not None:
            replace_file(str(state), str(now.reached).encode())
        if sys.stderr.isatty():
            click.echo(f"{_CLEAR}up to entry {now.reached:,}", nl=False, err=True)

    done = retain_registered(
        house.database, house.objects, house.clock.now(), start=start, rate=rate, progress=progress
    )
    if state is not None:
        state.unlink(missing_ok=True)
    for deposit_id in done.missing:
        click.echo(f"✗ original {deposit_id}: missing")
    click.echo(
        f"{_CLEAR}{done.retained} originals retained, {done.longer} for longer already, "
        f"{done.over} whose time is over, {len(done.missing)} missing"
    )
    sys.exit(70 if done.missing else 0)
