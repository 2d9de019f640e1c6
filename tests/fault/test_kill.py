"""kill -9 of every process at once, at random moments, under sixteen uploading clients.

What was acknowledged before a kill is there after it, at its index, byte for byte, and under a
tree that only grew; what was not can be asked again with the same key, and is there once.

After each kill everything of its own round is checked, and a sample of what came before; every
fiftieth time, and at the end, all of it. What the service left is at times opened by the service
first, at times by the command line or by this process: each must be able to recover it.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from notary.findings import Depth, Findings
from notary.fsck_records import check_records
from notary.fsck_tree import derive_tree
from notary.office import Office
from notary.originals import object_key
from notary.settings import Settings
from notary.sweep import sweep
from notary.tlog.checkpoint import Checkpoint
from notary.tlog.note import VerifierKey
from tests.harness.receipts import check_growth, check_receipt, log_keys, open_checkpoint
from tests.harness.reckoning import check_growths
from tests.harness.server import Client, Service
from tests.harness.uploaders import Acknowledged, Notebook, ask, together, upload

KILLS = int(os.environ.get("NOTARY_KILLS", "10"))
CLIENTS = 16
OLDER = 30
"""How many acknowledgements and checkpoints of earlier rounds are looked at after each kill."""
BY_HTTP = 10
"""How many of each kind are asked for through the door; the others are read where they lie."""
SWEEP_EVERY = 5
EVERYTHING_EVERY = 50
CHECKPOINTS_THEN = 5_000
FSCK_EVERY = 10
"""Goes on where the last one came to; a full one runs every hundredth time."""
FULL_FSCK_EVERY = 100


@dataclass(slots=True, kw_only=True)
class Watched:
    """One house, its service, and all that its clients were ever told."""

    service: Service
    client: Client
    keys: tuple[VerifierKey, ...]
    case: str
    chance: random.Random
    everything: list[Acknowledged] = field(default_factory=list)
    by_index: dict[int, str] = field(default_factory=dict)
    indexed: set[str] = field(default_factory=set)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    derived: int = 0
    """The index up to which fsck has read records and originals."""

    @property
    def home(self) -> Path:
        return self.service.home

    def some(self, count: int) -> list[Acknowledged]:
        return self.chance.sample(self.everything, min(count, len(self.everything)))


@contextmanager
def opened(service: Service) -> Iterator[Office]:
    """The house in this process, for a moment: the service must find nobody holding its files."""
    office = Office(Settings.from_env(service.environment))
    try:
        yield office
    finally:
        office.close()


def load_and_kill(watched: Watched, key: str) -> Notebook:
    """Clients upload, the service is killed among them; what they were told."""
    chance, killed = watched.chance, threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [
            pool.submit(
                upload, watched.service, key, watched.case, chance.randrange(1 << 32), killed
            )
            for _ in range(CLIENTS)
        ]
        time.sleep(
            chance.uniform(0.6, 2.5) if chance.random() < 0.07 else chance.uniform(0.02, 0.6)
        )
        watched.service.kill()
        killed.set()
        return together(each.result() for each in clients)


def kill_while_it_starts(watched: Watched) -> None:
    if watched.chance.random() < 0.2:
        watched.service.spawn()
        time.sleep(watched.chance.uniform(0.1, 2.5))
        watched.service.kill()


def sweep_everything(watched: Watched) -> str:
    """What crashes left is removed. Nothing is being uploaded: it may all go."""
    if watched.chance.random() < 0.3:
        return watched.service.cli("sweep", "--older-than", "0").stdout.strip()
    with opened(watched.service) as office:
        swept = sweep(office.register, office.objects, office.clock.now())
    return f"{swept.unfinished} unfinished uploads and {len(swept.orphans)} orphans removed"


def check_rows(home: Path, acknowledged: Iterable[Acknowledged]) -> None:
    """Each acknowledged deposit has its row, at its index, and its original re-hashes right."""
    with closing(sqlite3.connect(home / "notary.db")) as rows:
        for each in acknowledged:
            (row,) = rows.execute(_ROW, (each.id,)).fetchall()
            assert row == (each.index, each.sha256)
            if each.stored:
                original = (home / "objects" / object_key(each.id)).read_bytes()
                assert hashlib.sha256(original).hexdigest() == each.sha256


_ROW = "SELECT idx, sha256 FROM deposit WHERE id = ?"


def note_indices(watched: Watched, acknowledged: list[Acknowledged]) -> None:
    """No index was ever given to two deposits, and no deposit got two."""
    for each in acknowledged:
        assert watched.by_index.setdefault(each.index, each.id) == each.id
        watched.indexed.add(each.id)
    assert len(watched.by_index) == len(watched.indexed)


def ask_again(watched: Watched, told: Notebook) -> None:
    """What was not answered is answered now, whether or not it had been registered; and what was
    answered is answered again in the same way."""
    waiting, told.unanswered = told.unanswered, []
    for request in waiting:
        assert ask(watched.client, request, told)
    for request, ids in watched.chance.sample(told.answered, min(3, len(told.answered))):
        again = Notebook()
        assert ask(watched.client, request, again)
        assert tuple(each.id for each in again.acknowledged) == ids


def check_answers(watched: Watched, told: Notebook) -> None:
    """The receipts hold, and every checkpoint in them is one that the tree has grown from."""
    for receipt in told.receipts:
        check_receipt(receipt, watched.keys)
    mine = [open_checkpoint(note, watched.keys) for note in told.checkpoints]
    older = watched.chance.sample(watched.checkpoints, min(OLDER, len(watched.checkpoints)))
    asked = [*mine, *older]
    for checkpoint in watched.chance.sample(asked, min(BY_HTTP, len(asked))):
        check_growth(watched.client, checkpoint, watched.keys)
    with opened(watched.service) as office:
        check_growths(office.ledger, asked, watched.keys)
    watched.checkpoints += mine


def look_again(client: Client, some: list[Acknowledged]) -> None:
    for each in some:
        shown = client.get(f"/v1/deposits/{each.id}").json()
        assert (shown["leaf_index"], shown["digests"]["sha-256"]) == (each.index, each.sha256)
        if each.stored:
            content = client.get(shown["links"]["content"]).content
            assert hashlib.sha256(content).hexdigest() == each.sha256


def check_everything(watched: Watched) -> None:
    check_rows(watched.home, watched.everything)
    with opened(watched.service) as office:
        some = watched.chance.sample(
            watched.checkpoints, min(CHECKPOINTS_THEN, len(watched.checkpoints))
        )
        check_growths(office.ledger, some, watched.keys)
    with closing(sqlite3.connect(watched.home / "notary.db")) as rows:
        stored = {str(id_) for (id_,) in rows.execute("SELECT id FROM deposit WHERE stored")}
    originals = (watched.home / "objects/originals").rglob("*")
    assert {path.name for path in originals if path.is_file()} == stored


def derive(watched: Watched, *, fully: bool) -> None:
    """Of everything by the command that a clerk types, or of the tree and what is new in it."""
    if fully:
        checked = watched.service.cli("fsck", check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        return
    if watched.chance.random() < 0.3:
        state = watched.home / "fsck.state"
        state.write_text(str(watched.derived))
        checked = watched.service.cli("fsck", "--state", str(state), check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert not state.exists()
        return
    found = Findings()
    with opened(watched.service) as office:
        database, objects, history = office.database, office.originals, office.keyring.history()
        derive_tree(database, history, found, _quietly)
        check_records(database, objects, history, found, Depth.ORIGINALS, watched.derived, _quietly)
    assert found.faults == []
    watched.derived = found.reached


def _quietly(_what: str, _done: int, _of: int) -> None: ...


def one_kill(watched: Watched, number: int, key: str) -> str:
    """One round, and what is to be said of it."""
    told = load_and_kill(watched, key)
    answered = len(told.acknowledged)
    kill_while_it_starts(watched)
    last = number == KILLS
    sweeps, swept = last or number % SWEEP_EVERY == 0, "not swept"
    recovers_itself = watched.chance.random() < 0.5
    if not recovers_itself:
        check_rows(watched.home, told.acknowledged)
        swept = sweep_everything(watched) if sweeps else swept
    watched.service.start()
    if recovers_itself and sweeps:
        swept = sweep_everything(watched)
    ask_again(watched, told)
    note_indices(watched, told.acknowledged)
    check_answers(watched, told)
    check_rows(watched.home, told.acknowledged)
    check_rows(watched.home, watched.some(OLDER))
    look_again(watched.client, told.acknowledged[-BY_HTTP // 2 :] + watched.some(BY_HTTP // 2))
    watched.everything += told.acknowledged
    if last or number % EVERYTHING_EVERY == 0:
        check_everything(watched)
    if last or number % FSCK_EVERY == 0:
        derive(watched, fully=last or number % FULL_FSCK_EVERY == 0)
    return (
        f"{answered} acknowledged before it, {len(told.acknowledged) - answered} after, "
        f"{len(watched.everything)} in all; {swept}"
    )


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * KILLS)
def test_nothing_acknowledged_is_lost_by_killing_the_whole_service(tmp_path: Path) -> None:
    seed = int(os.environ.get("NOTARY_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"\nseed {seed}, {KILLS} kills, in {tmp_path}", flush=True)
    service = Service(home=tmp_path, settings={"timestamp_interval": "0.2"})
    service.init()
    key = service.key("uploader")
    service.start()
    client = Client(service.base, key)
    opened_case = client.post("/v1/cases", json={"court": "C", "number": "1", "title": "A v. B"})
    watched = Watched(
        service=service,
        client=client,
        keys=log_keys(client),
        case=opened_case.json()["id"],
        chance=random.Random(seed),
    )
    begun = time.monotonic()
    try:
        for number in range(1, KILLS + 1):
            before = time.monotonic()
            said = one_kill(watched, number, key)
            now = time.monotonic()
            mean = (now - begun) / number
            print(
                f"seed {seed} kill {number}/{KILLS}: {said}; "
                f"{now - before:.1f} s, {mean:.2f} s on average",
                flush=True,
            )
        check_at_the_end(watched)
    finally:
        service.stop()
    # Gibibytes, and pytest keeps the folders of the last runs.
    shutil.rmtree(tmp_path / "objects")
    (tmp_path / "notary.db").unlink()


def check_at_the_end(watched: Watched) -> None:
    """Nothing is left behind, and time goes on being fetched."""
    assert watched.service.cli("sweep", "--older-than", "0").stdout == (
        "0 unfinished uploads and 0 orphans removed\n"
    )
    newest = max(watched.everything, key=lambda each: each.index)
    watched.service.wait_for(
        lambda: watched.client.get(f"/v1/deposits/{newest.id}").json()["times"]["timestamped_at"]
    )
