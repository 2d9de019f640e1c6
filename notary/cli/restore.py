"""`notary journal` and `notary rebuild`: what only the database knows, kept beside the originals,
and the database made again from it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from notary.findings import Depth
from notary.fsck import fsck
from notary.office import Office
from notary.rebuild import Rebuilt
from notary.rebuild import rebuild as rebuild_database
from notary.settings import Settings
from storage.database import shown_url


@click.command()
def journal() -> None:
    """Write what the journal has not yet, now. The worker does it every few seconds."""
    house = Office(Settings.from_env(os.environ))
    written = house.journal.run()
    if written.covered is not None:
        house.publish(written.covered)
    lag = house.journal.lag()
    click.echo(f"{written.segments} segments written; {lag.entries} entries are not in them yet")


@click.command()
@click.option(
    "--mirror",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder made by `notary mirror`: for entries that the journal has not.",
)
def rebuild(*, mirror: Path | None) -> None:
    """Make the database again, into the empty one that NOTARY_DATABASE names.

    From the journal in NOTARY_OBJECTS and the keys in NOTARY_HOME. Killed, it goes on when started
    again. Exit 70 if anything contradicts."""
    settings = Settings.from_env(os.environ)
    made = rebuild_database(settings, mirror=mirror, progress=_progress)
    house = Office(settings)
    house.examine()
    house.publish()
    found = fsck(
        database=house.database,
        objects=house.objects,
        wrapping=house.wrapping,
        trust=house.trust,
        strays_before=house.clock.now(),
        depth=Depth.LEDGER,
        progress=_progress,
    )
    for line in _said(made, settings):
        click.echo(line)
    for fault in found.faults:
        click.echo(f"✗ {fault.name}: {fault.detail}")
    click.echo(
        f"Derived again: {found.entries} entries, {found.tokens} tokens, {len(found.faults)} faults"
    )
    sys.exit(70 if found.faults else 0)


def _said(made: Rebuilt, settings: Settings) -> list[str]:
    lines = [
        f"The house stands again in {shown_url(settings.database_url)}: size {made.size}, root "
        f"{made.root.hex()}, from {made.segments} journal segments"
    ]
    if made.resumed:
        lines.append(f"{made.resumed} of them were there from a rebuild that was interrupted")
    if made.journalled < made.size:
        lines.append(
            f"{made.size - made.journalled} entries, {made.journalled} to {made.size - 1}, came "
            "from the mirror: their records are missing, with the deposits' rows"
        )
    if made.resigned:
        lines.append(
            "The last entries of the journal came under no checkpoint that is there: a new one "
            "was signed over them"
        )
    lines += [f"✗ object {key}: is no segment of the journal" for key in made.strangers]
    lines.append(
        "What was registered after its newest checkpoint and reached neither journal nor mirror "
        "is not here: compare with your witnesses and depositors before you serve"
    )
    return lines


def _progress(what: str, done: int, of: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{what} {100 * done // max(of, 1)} %   ", nl=done == of, err=True)
