"""How long it takes to be back: `python -m bench.disaster ENTRIES` prints seconds as JSON.

A house on SQLite in a temporary folder, with one batch of so many entries; then its backup, its
restore from that, and its rebuild from the journal alone, each into a new database.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from notary.backup import backup
from notary.model import Principal, Role
from notary.office import Office, found
from notary.rebuild import rebuild
from notary.restore import restore
from notary.settings import Settings


def lines(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield json.dumps({"digests": {"sha-256": f"{number:064x}"}, "size": 7}).encode()


def seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return round(time.perf_counter() - begun, 1)


def measured(count: int, folder: Path) -> dict[str, float]:
    settings = Settings(home=folder / "home", max_batch_rows=count)
    found(settings)
    house = Office(settings)
    account, _ = house.people.create_account("operator", "agency", Role.API_CLIENT)
    by = Principal(
        account_id=account.id, name="agency", role=Role.API_CLIENT, authenticated_by="api-key"
    )
    said: dict[str, float] = {"entries": count}
    said["batch_s"] = seconds(
        lambda: house.batches.receive(
            lines(count), by=by, key=None, atomic=False, check_end=lambda _said, _rows: None
        )
    )
    said["journal_s"] = seconds(lambda: house.publish(house.journal.run().covered))
    said["backup_s"] = seconds(lambda: backup(house, folder / "backup"))
    house.close()
    for name, act in (
        ("restore", lambda to: restore(to, folder / "backup")),
        ("rebuild", lambda to: rebuild(to, mirror=None)),
    ):
        to = replace(settings, database=f"sqlite:///{folder / name}.db")
        said[f"{name}_s"] = seconds(lambda act=act, to=to: act(to))  # type: ignore[misc]
    return said


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="notary-disaster-") as folder:
        print(json.dumps(measured(int(sys.argv[1]), Path(folder))))
