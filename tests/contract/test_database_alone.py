"""What only PostgreSQL can suffer, or only SQLite: cut connections, restarts, a full disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from notary.errors import Unreachable
from notary.fsck import fsck
from notary.ledger import ENTRY
from notary.model import Declared, Principal, Role
from notary.office import Office, found
from notary.schema import make_tables
from notary.settings import Settings
from storage.database import Database
from storage.errors import InvalidValue, StoreUnavailable
from tests.contract.rows import LINE, SECRET, ids, put
from tests.harness.postgres import PostgresServer, postgres, running_postgres

__all__ = ["postgres"]


# --- PostgreSQL alone -----------------------------------------------------------------------


@pytest.fixture
def rows(postgres: PostgresServer) -> Iterator[Database]:
    with postgres.database() as url:
        opened = Database(url)
        with opened.writing() as connection:
            LINE.create(connection)
        yield opened
        opened.close()


def test_value_that_no_row_can_hold_is_the_callers_mistake(rows: Database) -> None:
    with pytest.raises(InvalidValue):
        put(rows, 1, "nul \0 inside")
    with pytest.raises(InvalidValue):
        put(rows, 2**64)
    with pytest.raises(InvalidValue), rows.reading() as connection:
        connection.execute(sa.select(LINE).where(LINE.c.text == "\0")).all()
    assert ids(rows) == []


def test_wrong_password_is_told_without_showing_it(postgres: PostgresServer) -> None:
    url = postgres.url("postgres").replace(postgres.password, SECRET)
    with pytest.raises(StoreUnavailable, match="authentication failed") as refused:
        Database(url).has_tables()
    assert SECRET not in str(refused.value)
    with pytest.raises(StoreUnavailable) as refused:
        Database(url, pool_size=1).has_tables()
    assert SECRET not in f"{refused.value!r} {refused.value.__cause__!r}"


def test_session_is_ours_whatever_the_server_says(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        name = sa.make_url(url).database
        with postgres.connect() as admin:
            admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
            admin.execute(
                f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
            )
        database = Database(url)
        with database.writing() as connection:
            said = {
                each: connection.execute(sa.text(f"SHOW {each}")).scalar()
                for each in (
                    "synchronous_commit",
                    "transaction_isolation",
                    "idle_in_transaction_session_timeout",
                )
            }
        database.close()
    assert said == {
        "synchronous_commit": "on",
        "transaction_isolation": "read committed",
        # A node that hangs with the tree head in its hands lets go of it.
        "idle_in_transaction_session_timeout": "1min",
    }


def test_database_that_cannot_hold_every_name_is_refused(postgres: PostgresServer) -> None:
    with postgres.database(encoding="LATIN1") as url:
        database = Database(url)
        with pytest.raises(StoreUnavailable, match="LATIN1"), database.writing() as connection:
            make_tables(database, connection)
        assert not database.has_tables()
        database.close()


def test_cut_connection_fails_the_transaction_and_the_next_one_succeeds(
    postgres: PostgresServer, rows: Database
) -> None:
    with pytest.raises(StoreUnavailable), rows.writing() as connection:
        connection.execute(sa.insert(LINE).values(id=1))
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with postgres.connect() as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        connection.execute(sa.insert(LINE).values(id=2))
    put(rows, 3)
    assert ids(rows) == [3]


def test_restarted_server_is_found_again_with_all_that_was_committed() -> None:
    with running_postgres() as server, server.database() as url:
        rows = Database(url)
        with rows.writing() as connection:
            LINE.create(connection)
        for end, start in ((1, 2), (3, 4)):
            put(rows, end)
            with pytest.raises(StoreUnavailable), rows.writing() as connection:
                connection.execute(sa.insert(LINE).values(id=-end))
                server.kill() if end == 1 else server.stop()
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    ids(rows)
            server.start()
            put(rows, start)
        assert ids(rows) == [1, 2, 3, 4]
        rows.close()


# --- SQLite alone ---------------------------------------------------------------------------


def test_sqlite_waits_for_the_disk_at_each_commit(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'rows.db'}")
    for opened in (database.writing, database.reading):
        with opened() as connection:
            found_ = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        assert found_ == ["wal", 2, 1]
    database.close()


def test_sqlite_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'absent' / 'rows.db'}")
    assert not database.has_tables()
    with pytest.raises(StoreUnavailable):
        ids(database)
    with pytest.raises(StoreUnavailable):
        put(database, 1)
    (tmp_path / "text.db").write_text("not a database, " * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        Database(f"sqlite:///{tmp_path / 'text.db'}").has_tables()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own. Skips where this user may not mount one."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system here")
    folder.mkdir()
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return filler


def test_full_disk_is_told_and_the_house_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "8m") as disk:
        settings = Settings(home=disk / "house")
        found(settings)
        office = Office(settings)
        try:
            by = Principal(account_id="a", name="a", role=Role.CLERK, authenticated_by="password")
            before = [deposit(office, by, n) for n in range(3)]
            filler = fill(disk)
            refused = 0
            for n in range(3, 100):
                # The log ahead of the database has pages to use again: some may still succeed.
                try:
                    before.append(deposit(office, by, n))
                except Unreachable:
                    refused += 1
                    if refused == 5:
                        break
            assert refused == 5
            with pytest.raises(StoreUnavailable), office.database.writing() as connection:
                connection.execute(sa.insert(ENTRY), [_entry(n) for n in range(2_000)])
            filler.unlink()
            before += [deposit(office, by, n) for n in range(200, 203)]
            office.examine()
            assert before == list(range(1, len(before) + 1))
            findings = fsck(
                database=office.database,
                objects=office.objects,
                trust=office.trust,
                strays_before=office.clock.now(),
            )
            assert findings.faults == []
            assert findings.deposits == len(before)
        finally:
            office.close()


def _entry(n: int) -> dict[str, Any]:
    return {"idx": 1_000_000 + n, "statement": bytes(4_000)}


def deposit(office: Office, by: Principal, n: int) -> int:
    declared = Declared(size=1, digests={"sha-256": f"{n:064x}"})
    return office.intake.register_digests(by, declared).deposit.index
