"""`notary migrate`: the database's tables brought to what this software knows."""

from __future__ import annotations

import os
import sys
from contextlib import closing

import click

from notary.errors import MalformedInput
from notary.migrate import Step, pending
from notary.migrate import migrate as bring_forward
from notary.settings import Settings
from storage.database import Database, shown_url


@click.command()
@click.option("--check", is_flag=True, help="Only say what would be done; exit 1 if anything.")
def migrate(*, check: bool) -> None:
    """Bring an older database forward, while the service runs.

    One transaction for each revision. Killed, it goes on when started again; started twice, the
    second one waits and has nothing to do."""
    settings = Settings.from_env(os.environ)
    with closing(Database(settings.database_url, statement_timeout_s=0)) as database:
        if not database.has_tables():
            raise MalformedInput(
                f"no house at {settings.home}: make one with `notary init`", code="no_house"
            )
        if check:
            steps = pending(database)
            for step in steps:
                click.echo(f"lacks {_shown(step)}")
        else:
            steps = bring_forward(database, told=lambda step: click.echo(f"made {_shown(step)}"))
    if not steps:
        click.echo(f"{shown_url(settings.database_url)} lacks nothing")
    sys.exit(1 if check and steps else 0)


def _shown(step: Step) -> str:
    return f"revision {step.revision}: {step.said}"
