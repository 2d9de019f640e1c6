"""The whole service killed while it writes its journal, again and again; then its database lost."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
import requests

from notary.office import Office
from notary.rebuild import rebuild
from notary.settings import Settings
from tests.harness.restoring import lose_database, rows_of, segments
from tests.harness.server import Client, Service

KILLS = 4
SERIAL = "embedded_authority"


@pytest.mark.slow
def test_a_journal_written_through_kills_gives_every_row_back(tmp_path: Path) -> None:
    service = Service(
        home=tmp_path / "house",
        settings={"timestamp_interval": "0.1", "journal_interval": "0.01", "web_processes": "1"},
    )
    service.home.mkdir()
    service.init()
    key = service.key("agency")
    ended = threading.Event()
    registered: set[str] = set()
    load = threading.Thread(target=hand_in, args=(service, key, ended, registered))
    load.start()
    try:
        for _ in range(KILLS):
            service.start()
            time.sleep(random.uniform(0.5, 2.0))  # when is of no secrecy
            service.kill()
    finally:
        ended.set()
        load.join()
    house = Office(Settings(home=service.home))
    house.journal.run()
    rows = rows_of(house, SERIAL)
    assert registered
    assert registered <= {row[1] for row in rows["deposit"]}
    assert len(segments(service.home)) > KILLS
    lose_database(house)
    rebuild(house.settings, mirror=None)
    assert rows_of(Office(house.settings), SERIAL) == rows
    assert "0 faults" in service.cli("fsck").stdout


def hand_in(service: Service, key: str, ended: threading.Event, registered: set[str]) -> None:
    number = 0
    while not ended.is_set():
        number += 1
        try:
            given = Client(service.base, key).post(
                "/v1/deposits?timestamp=document",
                data=b"%d" % number,
                headers={"Idempotency-Key": str(number), "Content-Type": "text/plain"},
            )
        except requests.RequestException:
            time.sleep(0.05)
            continue
        if given.status_code == 201:
            registered.add(given.json()["id"])
