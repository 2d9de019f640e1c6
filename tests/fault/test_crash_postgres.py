"""The crash and loss table on PostgreSQL: connections that end at a write, before or after it.

crash    the process is gone: its connections end, nothing is repeated by it
cut      the server ends the connection before the write arrives; the process goes on
lost     the write arrived, the answer did not: what only the Idempotency-Key can settle
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from notary.errors import NotaryError
from notary.settings import Settings
from storage.errors import StorageError
from tests.fault.test_crash_table import WRITES, tell_of_errors
from tests.harness.acts import Told, check_house, copied, make_house
from tests.harness.endings import Crash, error_at
from tests.harness.faults import Hook, watching
from tests.harness.house_acts import ACTS
from tests.harness.postgres import PostgresServer, postgres, postgres_url

__all__ = ["postgres", "postgres_url"]

NAMES = (
    "deposit", "digest", "event", "batch", "refresh", "stamp", "certificate", "journal", "rotation",
    "admission",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A house in a database, of which every row gets a copy."""

    server: PostgresServer
    root: Path
    database: str

    def copy(self, to: Path, url: str) -> Path:
        """The database that `url` names becomes a copy of it, and the folder `to` another."""
        name = sa.make_url(url).database
        with self.server.connect() as admin:
            admin.execute(f"DROP DATABASE {name}")
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {self.database}")
        return copied(self.root, to)

    def cut(self, url: str) -> None:
        """Ends every connection to it, on the server's side."""
        with self.server.connect() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                [sa.make_url(url).database],
            )


@pytest.fixture(scope="module")
def made(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    root = tmp_path_factory.mktemp("postgres") / "made"
    with postgres.database() as url:
        make_house(root, Settings(home=root / "house", database=url))
        name = sa.make_url(url).database
        assert name is not None
        yield Made(server=postgres, root=root, database=name)


ROWS = [
    pytest.param(
        name, write, kind, id=f"{name}/{write.replace(' ', '-')}/{kind}",
        marks=()
        if (name, write) == ("deposit", "commit tree_head")
        else (pytest.mark.slow,),
    )
    for name in NAMES
    for write in WRITES[name]
    if ": " not in write
    for kind in ("crash-before", "crash-after", "cut", "lost")
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_writes_are_those_of_the_table(
    made: Made, tmp_path: Path, postgres_url: str, name: str
) -> None:
    root = made.copy(tmp_path / "house", postgres_url)
    with watching(root) as faults, ACTS[name].opened(root, chance=1, database=postgres_url) as one:
        faults.begin()
        ACTS[name].run(one)
        assert tuple(faults.names) == WRITES[name]


def hook_of(made: Made, url: str, write: str, kind: str) -> Hook:
    when = "before" if kind in ("crash-before", "cut") else "after"
    come = threading.Event()

    def hook(name: str, now: str) -> None:
        if come.is_set():
            if kind.startswith("crash"):
                raise Crash  # a process that is gone writes nothing more, whatever it catches
            return
        if (name, now) != (write, when):
            return
        come.set()
        made.cut(url)
        if kind.startswith("crash"):
            raise Crash
        if kind == "lost":
            raise error_at(write, psycopg.Connection)

    return hook


@pytest.mark.parametrize(("name", "write", "kind"), ROWS)
def test_after_a_connection_ended(
    made: Made, tmp_path: Path, postgres_url: str, name: str, write: str, kind: str
) -> None:
    act = ACTS[name]
    root = made.copy(tmp_path / "house", postgres_url)
    with watching(root) as faults, act.opened(root, chance=1, database=postgres_url) as office:
        told = Told().and_of(office)
        faults.begin(hook_of(made, postgres_url, write, kind))
        if kind.startswith("crash"):
            # The rollback fails too, on a connection that is gone, and may speak first.
            with pytest.raises((Crash, NotaryError, StorageError)):
                act.run(office)
        else:
            tell_of_errors(act, office)
            told = told.and_of(office)
            faults.begin()
            act.run(office)
            act.held(office)
            check_house(office, told)
    with act.opened(root, chance=2, database=postgres_url) as office:
        told = told.and_of(office)
        office.examine()
        act.run(office)
        act.held(office)
        check_house(office, told)


def test_a_node_that_dies_in_its_transaction_holds_up_no_other(
    made: Made, tmp_path: Path, postgres_url: str
) -> None:
    root = made.copy(tmp_path / "house", postgres_url)
    with ACTS["event"].opened(root, chance=2, database=postgres_url) as other:
        told = Told().and_of(other)
        child = os.fork()
        if child == 0:
            with (
                watching(root) as faults,
                ACTS["deposit"].opened(root, chance=1, database=postgres_url) as office,
            ):
                faults.begin(
                    lambda name, when: (
                        os._exit(9) if (name, when) == ("commit tree_head", "before") else None
                    )
                )
                ACTS["deposit"].run(office)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        ACTS["event"].run(other)
        check_house(other, told)
