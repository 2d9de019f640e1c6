"""A pass over a million originals: what it finds, and how little memory it takes.

Run with `make slow ARGS='-s -k million_originals'` to see the figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from notary.office import Office
from notary.originals import object_key
from notary.register import DEPOSIT
from tests.harness.certified import open_house
from tests.harness.server import REPOSITORY

ORIGINALS = int(os.environ.get("NOTARY_TEST_ORIGINALS", "1000000"))
ALLOWED_MIB = 64
PATIENCE_S = 3_600
GONE, STRAY = 7, 13
"""So many deposits have no original, so many originals no deposit."""

WALK = """
import json, resource, sys, time
from pathlib import Path
from notary.office import Office
from notary.reconcile import Walker
from notary.settings import Settings

house = Office(Settings(home=Path(sys.argv[1]), orphan_hours=0))
house.ledger.head()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, began = peak(), time.monotonic()
done = house.reconciling.run(Walker())
print(json.dumps({
    "objects": done.objects, "deposits": done.deposits, "mended": done.mended,
    "findings": done.findings, "growth_mib": round(peak() - before, 1),
    "seconds": round(time.monotonic() - began, 1),
}))
"""


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_a_pass_over_a_million_originals_takes_little_memory(tmp_path: Path) -> None:
    house = open_house(tmp_path / "house")
    ids = [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15 % 2**128)) for number in range(ORIGINALS)]
    _rows(house, ids)
    house.close()
    objects = tmp_path / "house" / "objects"
    for number in range(256):
        (objects / "originals" / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    strays = [str(uuid.UUID(int=number)) for number in range(1, STRAY + 1)]
    for id_ in (*ids[GONE:], *strays):
        os.close(os.open(objects / object_key(id_), os.O_CREAT | os.O_WRONLY, 0o400))
    ended = subprocess.run(
        [sys.executable, "-c", WALK, str(tmp_path / "house")],
        check=True, capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    print(ended.stdout)
    said = json.loads(ended.stdout)
    assert (said["objects"], said["deposits"]) == (ORIGINALS - GONE + STRAY, ORIGINALS)
    assert (said["mended"], said["findings"]) == (STRAY, GONE)
    assert said["growth_mib"] <= ALLOWED_MIB


def _rows(house: Office, ids: list[str]) -> None:
    """Rows of the register alone: nothing else of a deposit is looked at."""

    def rows(start: int) -> Iterator[dict[str, object]]:
        for index, id_ in enumerate(ids[start : start + 10_000], start=start + 1_000):
            yield {
                "idx": index, "id": id_, "account_id": "a", "size": 0, "sha256": f"{index:064x}",
                "digests": "{}", "stored": True, "document_timestamp": False, "record": "",
                "disclosures": "", "received_at": "", "registered_at": "",
            }  # fmt: skip

    with house.database.writing() as connection:
        for start in range(0, len(ids), 10_000):
            connection.execute(sa.insert(DEPOSIT), list(rows(start)))
