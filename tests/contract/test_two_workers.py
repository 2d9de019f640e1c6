"""Two workers with queues of their own, on one PostgreSQL: what is due is asked of the database."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from notary.model import Declared
from notary.office import Office
from notary.stamps import DOCUMENT_DUE, TOKEN
from tests.harness.certified import deposit, depositor, open_house
from tests.harness.postgres import PostgresServer, postgres
from tests.harness.server import REPOSITORY, Service

__all__ = ["postgres"]


@contextlib.contextmanager
def worker(house: Office, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`notary worker` with a home, and so a queue, of its own; killed at the end."""
    if not home.exists():
        shutil.copytree(
            house.settings.home, home, ignore=shutil.ignore_patterns("objects", "jobs.db*")
        )
    process = subprocess.Popen(
        [sys.executable, "-m", "notary.cli.main", "worker"],
        cwd=REPOSITORY,
        env=os.environ
        | {
            "NOTARY_HOME": str(home),
            "NOTARY_DATABASE": house.settings.database_url,
            "NOTARY_OBJECTS": house.settings.objects_url,
            "NOTARY_TIMESTAMP_INTERVAL": "0.1",
            "NOTARY_JOURNAL_INTERVAL": "0.1",
        },
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def settled(house: Office) -> bool:
    """Nothing is due any more, for anybody."""
    with house.database.reading() as connection:
        due = connection.execute(sa.select(sa.func.count()).select_from(DOCUMENT_DUE)).scalar_one()
    return (
        due == 0
        and house.journal.lag().entries == 0
        and not any(house.stamping.is_due(name) for name in house.stamping.authorities)
    )


def wait_until_settled(house: Office) -> None:
    Service(home=house.settings.home).wait_for(lambda: settled(house), seconds=120)


@pytest.mark.parametrize("survivor", [0, 1])
def test_what_one_worker_leaves_when_it_is_killed_the_other_does_once(
    postgres: PostgresServer, tmp_path: Path, survivor: int
) -> None:
    with postgres.database() as url:
        house = open_house(tmp_path / "home", database=url)
        by = depositor(house)
        asked = Declared(document_timestamp=True)
        ids: list[str] = []

        def hand_in(name: str) -> None:
            ids.extend(
                deposit(house, by, f"{name} {number}".encode(), asked).deposit.id
                for number in range(20)
            )

        with (
            worker(house, tmp_path / "one") as one,
            worker(house, tmp_path / "other") as other,
        ):
            hand_in("both")
            wait_until_settled(house)
            hand_in("in the middle")
            os.killpg((one, other)[1 - survivor].pid, signal.SIGKILL)
            hand_in("alone")
            wait_until_settled(house)
            assert (one, other)[survivor].poll() is None
        with house.database.reading() as connection:
            of_documents = sa.select(TOKEN.c.deposit_id).where(TOKEN.c.deposit_id.is_not(None))
            stamped = connection.execute(of_documents).scalars().all()
        assert sorted(stamped) == sorted(ids)
        house.check_log()
        house.close()
