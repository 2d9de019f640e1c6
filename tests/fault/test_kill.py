"""kill -9 of every process at once, at random moments, under sixteen uploading clients.

What was acknowledged before a kill is there after it, at its index, byte for byte, and under a
tree that only grew; what was not can be asked again with the same key, and is there once.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from notary.intake import object_key
from notary.tlog.checkpoint import Checkpoint
from notary.tlog.note import VerifierKey
from tests.harness.receipts import check_growth, check_receipt, log_keys, open_checkpoint
from tests.harness.server import Client, Service

KILLS = int(os.environ.get("NOTARY_KILLS", "10"))
CLIENTS = 16
SIZES = (1, 100, 1_000, 10_000, 100_000, 1_000_000)
WEIGHTS = (1, 4, 8, 4, 2, 1)
BATCH_ROWS = 50
OLDER = 30
"""How many of the acknowledgements of earlier rounds are looked at again after each kill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sends, and sends again until it is answered."""

    path: str
    body: bytes
    headers: dict[str, str]
    sha256s: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    id: str
    index: int
    sha256: str
    stored: bool


@dataclass(slots=True, kw_only=True)
class Notebook:
    """What the clients were told."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: set[str] = field(default_factory=set)
    unanswered: list[Request] = field(default_factory=list)

    def take(self, request: Request, answer: requests.Response) -> None:
        if request.path == "/v1/batches":
            *rows, last = (json.loads(line) for line in answer.text.splitlines())
            assert [row["row"] for row in rows] == list(range(1, BATCH_ROWS + 1))
            assert last["registered"] == BATCH_ROWS
            self.checkpoints.add(last["checkpoint"])
            self.acknowledged += [
                Acknowledged(id=row["id"], index=row["index"], sha256=sha256, stored=False)
                for row, sha256 in zip(rows, request.sha256s, strict=True)
            ]
            return
        given = answer.json()
        assert (given["digests"]["sha-256"],) == request.sha256s
        self.receipts.append(given)
        self.checkpoints.add(given["inclusion_proof"]["checkpoint"])
        self.acknowledged.append(
            Acknowledged(
                id=given["id"],
                index=given["leaf_index"],
                sha256=given["digests"]["sha-256"],
                stored=given["stored"],
            )
        )


def some_request(chance: random.Random, case: str) -> Request:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    data = chance.randbytes(chance.choices(SIZES, WEIGHTS)[0])
    sha256 = hashlib.sha256(data).hexdigest()
    kind = chance.random()
    if kind < 0.05:
        sha256s = tuple(hashlib.sha256(data + b"%d" % row).hexdigest() for row in range(BATCH_ROWS))
        rows = [{"size": len(data) + 2, "digests": {"sha-256": each}} for each in sha256s]
        return Request(
            path="/v1/batches",
            body="\n".join(json.dumps(row) for row in rows).encode(),
            headers={**key, "Content-Type": "application/x-ndjson"},
            sha256s=sha256s,
        )
    if kind < 0.3:
        boundary = uuid.uuid4().hex
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="case"\r\n\r\n{case}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        ).encode()
        return Request(
            path="/v1/deposits",
            body=body + data + f"\r\n--{boundary}--\r\n".encode(),
            headers={**key, "Content-Type": f"multipart/form-data; boundary={boundary}"},
            sha256s=(sha256,),
        )
    return Request(
        path="/v1/deposits?timestamp=document" if kind < 0.5 else "/v1/deposits",
        body=data,
        headers={**key, "Content-Type": "application/octet-stream"},
        sha256s=(sha256,),
    )


def ask(client: Client, request: Request, notebook: Notebook) -> bool:
    """True where it was answered, which then stands in the notebook."""
    try:
        answer = client.post(request.path, data=request.body, headers=request.headers)
    except requests.RequestException:
        return False
    if answer.status_code == 503:  # "try again" is an answer that promises nothing
        return False
    assert answer.status_code in (200, 201), answer.text
    notebook.take(request, answer)
    return True


def upload(service: Service, key: str, case: str, seed: int, killed: threading.Event) -> Notebook:
    """One client, until the service is gone."""
    notebook, client, chance = Notebook(), Client(service.base, key), random.Random(seed)
    while not killed.is_set():
        request = some_request(chance, case)
        if not ask(client, request, notebook):
            notebook.unanswered.append(request)
    return notebook


def one_round(service: Service, key: str, case: str, chance: random.Random) -> Notebook:
    """Clients upload, the service is killed among them; what they were told."""
    killed = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [
            pool.submit(upload, service, key, case, chance.randrange(1 << 32), killed)
            for _ in range(CLIENTS)
        ]
        time.sleep(chance.uniform(0.02, 2.5))
        service.kill()
        killed.set()
        notebooks = [each.result() for each in clients]
    together = Notebook()
    for each in notebooks:
        together.acknowledged += each.acknowledged
        together.receipts += each.receipts
        together.checkpoints |= each.checkpoints
        together.unanswered += each.unanswered
    return together


def check_rows(home: Path, acknowledged: list[Acknowledged]) -> None:
    """Each acknowledged deposit has its row, at its index, and its original re-hashes right."""
    with sqlite3.connect(home / "notary.db") as rows:
        there = {id_: (index, sha256) for id_, index, sha256 in rows.execute(_ROWS)}
    for each in acknowledged:
        assert there.get(each.id) == (each.index, each.sha256)
        if each.stored:
            original = (home / "objects" / object_key(each.id)).read_bytes()
            assert hashlib.sha256(original).hexdigest() == each.sha256


_ROWS = "SELECT id, idx, sha256 FROM deposit"


def check_indices(acknowledged: list[Acknowledged]) -> None:
    """No index was given twice, and no deposit two indices."""
    by_index = {(each.index, each.id) for each in acknowledged}
    assert len({index for index, _ in by_index}) == len(by_index)
    assert len({id_ for _, id_ in by_index}) == len(by_index)


def ask_again(client: Client, told: Notebook) -> None:
    """What was not answered is answered now, whether or not it had been registered."""
    waiting, told.unanswered = told.unanswered, []
    for request in waiting:
        assert ask(client, request, told)


def check_by_http(
    client: Client, keys: tuple[VerifierKey, ...], told: Notebook, old: list[Checkpoint]
) -> list[Checkpoint]:
    """The receipts hold, and every checkpoint in them is one that the tree has grown from."""
    for receipt in told.receipts:
        check_receipt(receipt, keys)
    mine = [open_checkpoint(note, keys) for note in told.checkpoints]
    for checkpoint in [*mine, *old]:
        check_growth(client, checkpoint, keys)
    return mine


def look_again(client: Client, some: list[Acknowledged]) -> None:
    for each in some:
        shown = client.get(f"/v1/deposits/{each.id}").json()
        assert (shown["leaf_index"], shown["digests"]["sha-256"]) == (each.index, each.sha256)
        if each.stored:
            content = client.get(shown["links"]["content"]).content
            assert hashlib.sha256(content).hexdigest() == each.sha256


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * KILLS)
def test_nothing_acknowledged_is_lost_by_killing_the_whole_service(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}, {KILLS} kills")
    chance = random.Random(seed)
    service = Service(home=tmp_path, settings={"timestamp_interval": "0.2"})
    service.init()
    key = service.key("uploader")
    service.start()
    client = Client(service.base, key)
    keys = log_keys(client)
    opened = client.post("/v1/cases", json={"court": "C", "number": "1", "title": "A v. B"})
    case = opened.json()["id"]
    everything: list[Acknowledged] = []
    checkpoints: list[Checkpoint] = []
    try:
        for number in range(KILLS):
            told = one_round(service, key, case, chance)
            answered = len(told.acknowledged)
            check_rows(tmp_path, everything + told.acknowledged)
            # Sometimes it is killed while it starts, too.
            if chance.random() < 0.2:
                service.spawn()
                time.sleep(chance.uniform(0.1, 2.5))
                service.kill()
            swept = service.cli("sweep", "--older-than", "0")
            service.start()
            ask_again(client, told)
            some = chance.sample(checkpoints, min(OLDER, len(checkpoints)))
            checkpoints += check_by_http(client, keys, told, some)
            look_again(client, told.acknowledged[-OLDER:])
            look_again(client, chance.sample(everything, min(OLDER, len(everything))))
            everything += told.acknowledged
            check_rows(tmp_path, everything)
            check_indices(everything)
            print(
                f"kill {number + 1}: {answered} acknowledged before it, "
                f"{len(told.acknowledged) - answered} after; {swept.stdout.strip()}"
            )
            if number % 10 == 9 or number == KILLS - 1:
                checked = service.cli("fsck", check=False)
                assert checked.returncode == 0, checked.stdout + checked.stderr
        check_at_the_end(service, client, everything)
    finally:
        service.stop()
    shutil.rmtree(tmp_path / "objects")  # gibibytes, and pytest keeps the folders of the last runs


def check_at_the_end(service: Service, client: Client, everything: list[Acknowledged]) -> None:
    """Nothing is left behind, and time goes on being fetched."""
    assert service.cli("sweep", "--older-than", "0").stdout == (
        "0 unfinished uploads and 0 orphans removed\n"
    )
    with sqlite3.connect(service.home / "notary.db") as rows:
        stored = {str(id_) for (id_,) in rows.execute("SELECT id FROM deposit WHERE stored")}
    originals = (service.home / "objects/originals").rglob("*")
    assert {path.name for path in originals if path.is_file()} == stored
    newest = max(everything, key=lambda each: each.index)
    service.wait_for(
        lambda: client.get(f"/v1/deposits/{newest.id}").json()["times"]["timestamped_at"]
    )
