"""The revisions make exactly the tables that the code declares, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from notary.journal_tables import WAYS, watch
from notary.migrate import REVISIONS, migrate
from notary.office import Office
from notary.schema import BASELINE, KNOWN, REQUIRED, parse_revision
from storage.database import METADATA, Database
from tests.harness.certified import open_house
from tests.harness.postgres import shared_postgres
from tests.harness.revisions import ADDS, catalogue, revisions


@pytest.fixture
def house(url: str, tmp_path: Path) -> Iterator[Office]:
    opened = open_house(tmp_path / "home", database=url)
    yield opened
    opened.close()


def test_revisions_make_exactly_the_tables_that_the_code_declares(
    url: str, house: Office, tmp_path: Path
) -> None:
    """A table, column, index or constraint that was declared and has no revision is missing in
    every house that stands already."""
    made = {each for each in catalogue(house.database) if "alembic_version" not in repr(each)}
    with ExitStack() as held:
        other = (
            f"sqlite:///{tmp_path / 'declared.db'}"
            if house.database.is_sqlite
            else held.enter_context(shared_postgres().database())
        )
        declared = Database(other)
        with declared.writing() as connection:
            METADATA.create_all(connection)
            for table in METADATA.sorted_tables:
                watch(connection, table, WAYS[table.name])
        wanted = catalogue(declared)
        declared.close()
    what_to_do = (
        f"declared, but no revision makes it: {sorted(wanted - made, key=repr)}; made, but not "
        f"declared: {sorted(made - wanted, key=repr)}. Write the next file in notary/revisions/ "
        "(its rules: notary/revisions/__init__.py; a draft: `python -m tests.harness.drafting`) "
        "and set KNOWN, and REQUIRED if the code needs it, in notary/schema.py"
    )
    assert made == wanted, what_to_do


def test_what_the_code_knows_is_the_newest_revision_and_requires_no_later_one() -> None:
    names = sorted(path.stem for path in REVISIONS.glob("r[0-9]*.py"))
    newest = parse_revision(KNOWN)
    assert len(names) == newest.number
    assert names[-1].startswith(f"r{KNOWN}")
    assert parse_revision(BASELINE).number <= parse_revision(REQUIRED).number <= newest.number


def test_each_revision_only_adds_unless_its_name_says_whom_it_shuts_out(
    house: Office, tmp_path: Path
) -> None:
    folder = revisions(tmp_path / "more", ADDS)
    before = {each for each in catalogue(house.database) if "alembic_version" not in repr(each)}
    migrate(house.database, folder=folder)
    assert before <= catalogue(house.database)
    for path in REVISIONS.glob("r[0-9]*.py"):
        drops = re.search(r"op\.(drop_|alter_column|rename_)", path.read_text("utf-8"))
        assert drops is None or "_from_" in path.stem, f"{path.name} takes something away"
