"""`notary resume`: a person has understood why writing stopped."""

from __future__ import annotations

import os
import sys

import click

from notary.halt import Halt
from notary.office import Office
from notary.settings import Settings


@click.command()
@click.option(
    "--understood", is_flag=True, help="Let writing go on. Without it: show the evidence."
)
def resume(*, understood: bool) -> None:
    """Show why writing stopped; with --understood let it go on, on every node.

    The evidence of this node is kept in its home under another name. A node that has evidence of
    its own tells the others again: run it there too. Exit 1 while writing is stopped."""
    house = Office(Settings.from_env(os.environ))
    told = house.ledger.head().halted
    found = [text for text in (told, Halt(house.settings.home).evidence()) if text is not None]
    for text in dict.fromkeys(found):
        click.echo(text)
    if not found:
        click.echo("Writing is not stopped.")
        return
    if not understood:
        click.echo("Writing is stopped. `notary resume --understood` lets it go on.", err=True)
        sys.exit(1)
    house.sequencer.resume()
    click.echo("Writing goes on.")
