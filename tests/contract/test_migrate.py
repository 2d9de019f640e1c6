"""Tables come from revisions, on both databases: whole ones, in order, each once, and additive."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

import notary.migrate
from notary.errors import Corrupt, MalformedInput
from notary.migrate import Step, migrate, pending
from notary.model import Declared
from notary.office import Office, found
from notary.schema import (
    BASELINE,
    KNOWN,
    VERSION,
    check_schema,
)
from notary.settings import Settings
from storage.database import METADATA, Database
from storage.errors import StoreUnavailable
from tests.contract.rows import child, output_of
from tests.harness.certified import deposit, depositor, open_house
from tests.harness.postgres import PostgresServer, postgres
from tests.harness.restoring import Rows, live, rows_of
from tests.harness.revisions import (
    ADDS,
    LATER,
    LATER_TABLES,
    before_revisions,
    catalogue,
    named,
    revisions,
)

pytestmark = pytest.mark.slow

__all__ = ["postgres"]

LATER_REVISIONS = ("0002_from_0002", "0003_from_0002", KNOWN)


@pytest.fixture
def house(url: str, tmp_path: Path) -> Iterator[Office]:
    opened = open_house(tmp_path / "home", database=url)
    yield opened
    opened.close()


# --- forward ------------------------------------------------------------------------------------


def test_house_from_before_revisions_is_recognised_and_keeps_every_row(house: Office) -> None:
    live(house)
    rows = _of_format_2(rows_of(house))
    digests = rows_of(house)["deposit_digest"]
    before_revisions(house.database)
    assert [step.revision for step in pending(house.database)] == [BASELINE, *LATER_REVISIONS]
    with pytest.raises(MalformedInput) as refused:
        check_schema(house.database)
    assert refused.value.code == "schema_old"
    recognised, *made = migrate(house.database)
    assert (recognised.revision, recognised.recognised) == (BASELINE, True)
    assert [(each.revision, each.recognised) for each in made] == [
        (name, False) for name in LATER_REVISIONS
    ]
    assert pending(house.database) == ()
    after = rows_of(house)
    assert _of_format_2(after) == rows
    assert sorted(after["deposit_digest"]) == sorted(digests)
    Office(house.settings).close()


def _of_format_2(rows: Rows) -> Rows:
    found = {name: each for name, each in rows.items() if name not in LATER_TABLES}
    for name, later in LATER.items():
        columns = [column.name for column in METADATA.tables[name].columns]
        kept = [at for at, column in enumerate(columns) if column not in later]
        found[name] = [tuple(row[at] for at in kept) for row in found[name]]
    return found


def test_tables_that_are_not_whole_are_not_taken_for_a_house_from_before(house: Office) -> None:
    before_revisions(house.database)
    with house.database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE witness")
    for attempt in (pending, migrate):
        with pytest.raises(Corrupt, match="lacks witness"):
            attempt(house.database)


def test_database_without_a_house_is_not_migrated(url: str) -> None:
    database = Database(url)
    with pytest.raises(MalformedInput) as refused:
        migrate(database)
    assert refused.value.code == "no_house"
    assert not catalogue(database)
    database.close()


def test_each_revision_is_told_of_and_done_once(house: Office, tmp_path: Path) -> None:
    folder = revisions(tmp_path / "more", ADDS, 'op.drop_table("note")')
    told: list[Step] = []
    assert [step.revision for step in pending(house.database, folder=folder)] == [
        named(1),
        named(2),
    ]
    steps = migrate(house.database, folder=folder, told=told.append)
    assert tuple(told) == steps
    assert [(step.revision, step.said) for step in steps] == [
        (named(1), f"Test {named(1)}."),
        (named(2), f"Test {named(2)}."),
    ]
    assert migrate(house.database, folder=folder) == ()


def test_newer_database_is_not_touched_and_told_of(house: Office, tmp_path: Path) -> None:
    migrate(house.database, folder=revisions(tmp_path / "more", ADDS))
    before = catalogue(house.database)
    for attempt in (pending, migrate):
        with pytest.raises(MalformedInput, match=f"{named(1)}, this software knows {KNOWN}") as no:
            attempt(house.database)
        assert no.value.code == "schema_new"
    assert catalogue(house.database) == before


@pytest.mark.parametrize("body", ["raise ValueError('a defect')", "os.kill(os.getpid(), 9)"])
def test_revision_that_ends_in_the_middle_leaves_nothing_and_goes_on(
    house: Office, tmp_path: Path, body: str
) -> None:
    folder = revisions(tmp_path / "more", 'op.add_column("account", sa.Column("one", sa.Text))',
                       f"{ADDS}\n    {body}")  # fmt: skip
    script = (
        "from pathlib import Path\nfrom notary.migrate import migrate\n"
        "migrate(database, folder=Path(sys.argv[1]))"
    )
    ended = child(script, house.settings.database_url, str(folder))
    ended.communicate(timeout=60)
    assert ended.returncode in (1, -signal.SIGKILL)
    assert [step.revision for step in pending(house.database, folder=folder)] == [named(2)]
    assert "colour" not in repr(catalogue(house.database))
    mended = revisions(tmp_path / "mended", 'op.add_column("account", sa.Column("one", sa.Text))',
                       ADDS)  # fmt: skip
    assert [step.revision for step in migrate(house.database, folder=mended)] == [named(2)]
    assert "colour" in repr(catalogue(house.database))
    house.check_log()


def test_two_nodes_that_migrate_at_once_do_each_revision_once(
    house: Office, tmp_path: Path
) -> None:
    folder = revisions(tmp_path / "more", f"time.sleep(0.5)\n    {ADDS}",
                       'time.sleep(0.5)\n    op.drop_table("note")')  # fmt: skip
    script = (
        "from pathlib import Path\nfrom notary.migrate import migrate\n"
        "print(*(s.revision for s in migrate(database, folder=Path(sys.argv[1]))))"
    )
    both = [child(script, house.settings.database_url, str(folder)) for _ in range(2)]
    assert sorted(" ".join(output_of(each) for each in both).split()) == [named(1), named(2)]


def test_house_goes_on_writing_while_it_is_migrated(house: Office, tmp_path: Path) -> None:
    by = depositor(house)
    done = threading.Event()

    def write() -> int:
        number = 0
        while not done.is_set():
            number += 1
            deposit(house, by, b"%d" % number, Declared())
        return number

    with ThreadPoolExecutor(1) as threads:
        written = threads.submit(write)
        migrate(house.database, folder=revisions(tmp_path / "more", ADDS))
        deposit(house, by, b"after", Declared())
        done.set()
        assert written.result() > 0
    house.check_log()


# --- how much is rewritten ----------------------------------------------------------------------


def test_no_table_is_rewritten(house: Office, tmp_path: Path) -> None:
    """What makes ten million entries migratable: the pages of old tables stay where they are."""
    live(house)

    def places() -> dict[str, int]:
        question = (
            "SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"
            if house.database.is_sqlite
            else "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace"
        )
        with house.database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(sa.text(question))}

    before = places()
    before_revisions(house.database)
    for table in ("alembic_version", *LATER_TABLES):
        before.pop(table)
    migrate(house.database, folder=revisions(tmp_path / "more", ADDS))
    after = places()
    assert {name: after[name] for name in before} == before
    with house.database.reading() as connection:
        shelves = connection.exec_driver_sql("SELECT DISTINCT shelf FROM account").scalars().all()
    assert shelves == [7]


def test_table_in_use_is_not_waited_for_for_ever(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notary.migrate, "LOCK_TIMEOUT_S", 1)
    with postgres.database() as url:
        house = open_house(tmp_path / "home", database=url)
        folder = revisions(tmp_path / "more", ADDS)
        with house.database.reading() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM deposit")
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                migrate(house.database, folder=folder)
        assert [step.revision for step in migrate(house.database, folder=folder)] == [named(1)]
        house.close()


# --- skew ---------------------------------------------------------------------------------------


def test_software_of_one_release_before_serves_a_database_that_only_grew(
    house: Office, tmp_path: Path
) -> None:
    busy = live(house)
    migrate(house.database, folder=revisions(tmp_path / "more", ADDS))
    older = Office(house.settings)
    older.examine()
    receipt = deposit(older, busy.by, b"on tables of the next release", Declared())
    assert older.register.deposit(receipt.deposit.id) == receipt.deposit
    assert deposit(older, busy.by, b"an original", busy.declared).deposit == busy.receipt.deposit
    older.check_log()
    older.close()


def test_older_worker_leaves_the_journal_to_one_that_knows_every_column(
    house: Office, tmp_path: Path
) -> None:
    by = depositor(house)
    house.journal.run()
    migrate(house.database, folder=revisions(tmp_path / "more", ADDS))
    deposit(house, by, b"more", Declared())
    assert house.journal.run().segments == 0
    assert not house.journal.is_due()
    assert house.journal.lag().entries == 1


def test_software_that_uses_what_was_dropped_refuses_to_start(
    house: Office, tmp_path: Path
) -> None:
    name = named(1, f"_from_{named(1)}")
    body = 'op.drop_table("sign_in_link")'
    migrate(house.database, folder=revisions(tmp_path / "more", body, names=(name,)))
    with pytest.raises(MalformedInput, match="install the newer software") as refused:
        Office(house.settings)
    assert refused.value.code == "schema_new"


@pytest.mark.parametrize(
    ("there", "known", "required", "code"),
    [
        ("0003", "0003", "0003", None),
        ("0003", "0004", "0003", None),
        ("0003", "0004", "0004", "schema_old"),
        ("0003", "0002", "0001", None),
        ("0003", "0001", "0001", "schema_new"),
        ("0003_from_0001", "0001", "0001", None),
        ("0003_from_0003", "0002", "0002", "schema_new"),
        ("0003_from_0003", "0003_from_0003", "0002", None),
        ("seventh", "0003", "0003", "schema_unknown"),
    ],
)
def test_which_software_serves_which_revision(
    house: Office, there: str, known: str, required: str, code: str | None
) -> None:
    with house.database.writing() as connection:
        connection.execute(sa.update(VERSION).values(version_num=there))
    if code is None:
        check_schema(house.database, known=known, required=required)
        return
    with pytest.raises(MalformedInput) as refused:
        check_schema(house.database, known=known, required=required)
    assert refused.value.code == code


def test_database_that_names_two_revisions_is_corrupt(house: Office) -> None:
    with house.database.writing() as connection:
        connection.execute(sa.insert(VERSION).values(version_num="0009"))
    with pytest.raises(Corrupt, match="2 revisions"):
        check_schema(house.database)


def test_new_house_is_at_the_newest_revision(url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "new", database=url)
    found(settings)
    database = Database(url)
    assert pending(database) == ()
    with database.reading() as connection:
        assert connection.execute(sa.select(VERSION)).scalars().all() == [KNOWN]
    database.close()
