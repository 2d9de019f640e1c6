"""`notary backup` and `notary restore`: the house of one moment in a folder or a file, and back."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from notary.backup import Made
from notary.backup import backup as make_backup
from notary.cli.progress import show_progress
from notary.cli.restore import derive_again, to_be_known
from notary.office import Office
from notary.restore import Restored
from notary.restore import restore as restore_house
from notary.settings import Settings
from storage.database import shown_url


@click.command()
@click.argument("to", type=click.Path(path_type=Path))
@click.option("--with-keys", is_flag=True, help="Also the private keys that are files.")
def backup(*, to: Path, with_keys: bool) -> None:
    """Back up the house of this moment into the new folder TO, or the new file TO.tar.

    While it is served. Originals stay where they are: copy or replicate NOTARY_OBJECTS too."""
    settings = Settings.from_env(os.environ)
    house = Office(_patient(settings))
    made = make_backup(house, to, with_keys=with_keys, progress=show_progress)
    for line in _made(made):
        click.echo(line)
    if made.keys:
        click.echo(
            f"{made.path} holds {len(made.keys)} PRIVATE KEYS: whoever reads it can sign as this "
            "house. Encrypt it, or keep it where you keep keys",
            err=True,
        )


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
def restore(*, source: Path) -> None:
    """Make the house of the backup SOURCE again, and what the journal has since then.

    Into the empty database that NOTARY_DATABASE names, of either kind. Killed, it goes on when
    started again. Exit 70 if anything contradicts."""
    settings = Settings.from_env(os.environ)
    restored = restore_house(settings, source, progress=show_progress)
    derive_again(Office(_patient(settings)), _said(restored, settings))


def _patient(settings: Settings) -> Settings:
    """A table of ten million rows takes longer to read than a request may."""
    return replace(settings, database_timeout=0.0)


def _made(made: Made) -> list[str]:
    manifest = made.manifest
    keys = "with" if made.keys else "without"
    return [
        f"{made.path}: size {manifest.size}, root {manifest.root}, revision {manifest.revision}, "
        f"{sum(part.size for part in manifest.parts)} bytes, {keys} private keys",
        f"It needs {manifest.objects}: {manifest.originals} originals of "
        f"{manifest.original_bytes} bytes, and the journal from segment {manifest.segments} on",
    ]


def _said(restored: Restored, settings: Settings) -> list[str]:
    made, manifest = restored.rebuilt, restored.manifest
    lines = [f"written: {path}" for path in restored.written]
    lines.append(
        f"The house stands again in {shown_url(settings.database_url)}: size {made.size}, root "
        f"{made.root.hex()}. The backup of {manifest.made_at} reached size {manifest.size}; "
        f"{made.segments} newer journal segments followed"
    )
    return lines + to_be_known(made, reached="neither backup nor journal")
