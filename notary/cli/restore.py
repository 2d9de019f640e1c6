"""`notary journal` and `notary rebuild`: what only the database knows, kept beside the originals,
and the database made again from it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from notary.cli.progress import show_progress
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
    made = rebuild_database(settings, mirror=mirror, progress=show_progress)
    derive_again(Office(settings), _said(made, settings))


def derive_again(house: Office, said: list[str]) -> NoReturn:
    """How a house that was made again ends: examined, its checkpoint shown outside, its ledger
    derived; `said` is told with what was found. Ends the process with 0, or 70."""
    house.examine()
    house.publish()
    found = fsck(
        database=house.database,
        objects=house.objects,
        wrapping=house.wrapping,
        trust=house.trust,
        strays_before=house.clock.now(),
        depth=Depth.LEDGER,
        progress=show_progress,
    )
    for line in said:
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
    return lines + to_be_known(made, reached="neither journal nor mirror")


def to_be_known(made: Rebuilt, *, reached: str) -> list[str]:
    """What the operator must know of a journal that was read to its end."""
    lines: list[str] = []
    if made.resigned:
        lines.append(
            "The last entries of the journal came under no checkpoint that is there: a new one "
            "was signed over them"
        )
    if made.missing:
        lines.append(
            f"✗ storage lacks {made.missing} journal segments that were there before this backup: "
            "no rebuild reads the journal until they are back; make a new backup now"
        )
    lines += [f"✗ object {key}: is no segment of the journal" for key in made.strangers]
    lines.append(
        f"What was registered after its newest checkpoint and reached {reached} is not here: "
        "compare with your witnesses and depositors before you serve"
    )
    return lines
