"""Houses to measure: a service in a temporary folder, or an office in this process."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from notary.model import Principal, Role
from notary.office import Office, found
from notary.settings import Settings
from tests.harness.server import Service


def say(text: str) -> None:
    """Progress, for people: standard output is for the figures alone."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


@contextmanager
def folder() -> Iterator[Path]:
    """On the disk that holds temporary files: TMPDIR chooses another one."""
    path = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def service(**settings: str) -> Iterator[tuple[Service, str]]:
    """A running service as `notary serve` makes it, and a key to deposit with."""
    with folder() as home:
        running = Service(home=home, settings=settings)
        running.init()
        key = running.key("bench")
        running.start()
        try:
            yield running, key
        finally:
            running.stop()


@contextmanager
def office() -> Iterator[tuple[Office, Principal]]:
    """A house in this process and an API client of it."""
    with folder() as home:
        settings = Settings(home=home)
        found(settings)
        house = Office(settings)
        account, _ = house.people.create_account("bench", "bench", Role.API_CLIENT)
        by = Principal(
            account_id=account.id,
            name=account.name,
            role=account.role,
            authenticated_by="api-key",
        )
        try:
            yield house, by
        finally:
            house.close()


def deposit_rows(house: Office, by: Principal, lines: Iterable[bytes]) -> None:
    """A batch, without HTTP. `lines` end in line feeds."""
    house.batches.receive(
        (line.rstrip() for line in lines),
        by=by,
        key=None,
        atomic=False,
        check_end=lambda _stated, _rows: None,
    )
