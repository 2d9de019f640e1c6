"""The commands that are loaded when they are asked for are there, and not before."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from notary.cli.main import LOADED_WHEN_ASKED_FOR, cli
from tests.harness.server import REPOSITORY


@pytest.mark.parametrize("name", LOADED_WHEN_ASKED_FOR)
def test_each_is_listed_and_found_under_its_name(name: str) -> None:
    context = click.Context(cli)
    assert name in cli.list_commands(context)
    command = cli.get_command(context, name)
    assert command is not None
    assert command.name == name


def test_a_name_that_is_none_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(click.UsageError):
        cli.main(["swerve"], standalone_mode=False)


@pytest.mark.parametrize("loads", ["notary.cli.main", "notary.cli.serve"])
def test_a_command_waits_for_nothing_that_it_does_not_need(loads: str) -> None:
    """A service is up when its parent, and then its children, have loaded what they need."""
    script = (
        f"import sys, {loads}; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'flask', 'huey', 'structlog', "
        "'granian'}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
