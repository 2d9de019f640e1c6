"""How far a command has come, for a person at a terminal and nobody else."""

from __future__ import annotations

import sys

import click


def show_progress(what: str, done: int, of: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{what} {100 * done // max(of, 1)} %   ", nl=done == of, err=True)
