"""`notary verify`: the offline verifier, which verify.pyz is too, as one of our commands."""

from __future__ import annotations

import sys

import click

from notary.cli.verify import main


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def verify(arguments: tuple[str, ...]) -> None:
    """Check a file against its certificate, offline."""
    sys.exit(main(arguments))
