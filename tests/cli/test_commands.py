"""The commands that are loaded when they are asked for are there, and not before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from notary.cli.main import LOADED_WHEN_ASKED_FOR, cli
from notary.office import found
from notary.schema import BASELINE
from notary.settings import Settings
from storage.database import Database
from tests.harness.revisions import before_revisions
from tests.harness.server import REPOSITORY, Service


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
        "'granian', 'alembic'}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_nothing_that_serves_loads_what_changes_tables(tmp_path: Path) -> None:
    found(Settings(home=tmp_path))
    script = (
        "import sys, notary.web, notary.jobs; from pathlib import Path\n"
        "from notary.office import Office; from notary.settings import Settings\n"
        "Office(Settings(home=Path(sys.argv[1]))).examine()\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'alembic', 'mako'}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout.strip() == "[]"


def test_migrate_says_what_it_did_and_with_check_what_it_would_do(tmp_path: Path) -> None:
    service = Service(home=tmp_path / "house")
    assert "no_house" in service.cli("migrate", "--check", check=False).stderr
    service.init()
    assert "lacks nothing" in service.cli("migrate", "--check").stdout
    assert "lacks nothing" in service.cli("migrate").stdout
    before_revisions(Database(f"sqlite:///{service.home / 'notary.db'}"))
    asked = service.cli("migrate", "--check", check=False)
    assert (asked.returncode, asked.stdout.split(":")[0]) == (1, f"lacks revision {BASELINE}")
    assert f"made revision {BASELINE}" in service.cli("migrate").stdout
    assert "lacks nothing" in service.cli("migrate", "--check").stdout
