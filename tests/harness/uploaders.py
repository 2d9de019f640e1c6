"""Clients that upload until the service is gone, and what they were told."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.harness.server import Client, Service

SIZES = (1, 100, 1_000, 10_000, 100_000, 1_000_000)
WEIGHTS = (50, 200, 400, 200, 15, 3)
"""Mostly small: a thousand kills must not fill a disk with what may not be removed."""
BATCH_ROWS = 20
PAUSE_S = 0.2
"""How long a client waits when it was not answered: most likely nobody is there any more."""


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
    """What clients were told. `answered` are requests with the ids that they were given."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: set[str] = field(default_factory=set)
    unanswered: list[Request] = field(default_factory=list)
    answered: list[tuple[Request, tuple[str, ...]]] = field(default_factory=list)

    def take(self, request: Request, answer: requests.Response) -> None:
        if request.path == "/v1/batches":
            *rows, last = (json.loads(line) for line in answer.text.splitlines())
            assert [row["row"] for row in rows] == list(range(1, BATCH_ROWS + 1))
            assert last["registered"] == BATCH_ROWS
            self.checkpoints.add(last["checkpoint"])
            given = [
                Acknowledged(id=row["id"], index=row["index"], sha256=sha256, stored=False)
                for row, sha256 in zip(rows, request.sha256s, strict=True)
            ]
        else:
            receipt = answer.json()
            assert (receipt["digests"]["sha-256"],) == request.sha256s
            self.receipts.append(receipt)
            self.checkpoints.add(receipt["inclusion_proof"]["checkpoint"])
            given = [
                Acknowledged(
                    id=receipt["id"],
                    index=receipt["leaf_index"],
                    sha256=receipt["digests"]["sha-256"],
                    stored=receipt["stored"],
                )
            ]
        self.acknowledged += given
        self.answered.append((request, tuple(each.id for each in given)))


def together(notebooks: Iterable[Notebook]) -> Notebook:
    all_ = Notebook()
    for each in notebooks:
        all_.acknowledged += each.acknowledged
        all_.receipts += each.receipts
        all_.checkpoints |= each.checkpoints
        all_.unanswered += each.unanswered
        all_.answered += each.answered
    return all_


def some_request(chance: random.Random, case: str) -> Request:
    """A batch of digests, a form with a case, or raw bytes, some with a timestamp of their own;
    each with an Idempotency-Key."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    data = chance.randbytes(chance.choices(SIZES, WEIGHTS)[0])
    sha256 = hashlib.sha256(data).hexdigest()
    kind = chance.random()
    if kind < 0.03:
        return _batch(key, data)
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
        path="/v1/deposits?timestamp=document" if kind < 0.4 else "/v1/deposits",
        body=data,
        headers={**key, "Content-Type": "application/octet-stream"},
        sha256s=(sha256,),
    )


def _batch(key: dict[str, str], data: bytes) -> Request:
    sha256s = tuple(hashlib.sha256(data + b"%d" % row).hexdigest() for row in range(BATCH_ROWS))
    rows = [{"size": len(data) + 2, "digests": {"sha-256": each}} for each in sha256s]
    return Request(
        path="/v1/batches",
        body="\n".join(json.dumps(row) for row in rows).encode(),
        headers={**key, "Content-Type": "application/x-ndjson"},
        sha256s=sha256s,
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
            killed.wait(PAUSE_S)
    return notebook
