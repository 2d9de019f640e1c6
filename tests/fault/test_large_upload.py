"""A file larger than memory is hashed and stored as it arrives, in every form that carries one."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import uuid
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from notary.originals import object_key
from tests.harness.receipts import check_receipt, log_keys
from tests.harness.server import Client, Service

GIB = float(os.environ.get("NOTARY_TEST_GIB", "8"))
SIZE = int(GIB * (1 << 30))
BLOCK = 1 << 20
GROWTH_MIB = 64
PATIENCE_S = 3_000


def blocks() -> Iterator[bytes]:
    """SIZE bytes; no two blocks are the same, and none is kept."""
    random = os.urandom(BLOCK)
    for at in range(0, SIZE, BLOCK):
        block = at.to_bytes(16, "big") + random[16:]
        yield block[: SIZE - at]


class Sent:
    """What went out, hashed on its way."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def body(self, before: bytes = b"", behind: bytes = b"") -> Iterator[bytes]:
        if before:
            yield before
        for block in blocks():
            self.hash.update(block)
            yield block
        if behind:
            yield behind


class Sized:
    """A generated body with a length, so that it is sent with Content-Length."""

    def __init__(self, body: Iterator[bytes], length: int) -> None:
        self._body, self._length = body, length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        return self._body


@contextmanager
def measured(service: Service) -> Iterator[dict[int, int]]:
    """Process id to the largest growth of its resident memory, in bytes, while the block runs."""
    processes = [psutil.Process(pid) for pid in service.family()]
    before = {each.pid: each.memory_info().rss for each in processes}
    growth, ended = dict.fromkeys(before, 0), threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            for each in processes:
                grown = each.memory_info().rss - before[each.pid]
                growth[each.pid] = max(growth[each.pid], grown)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield growth
    finally:
        ended.set()
        watching.join()


@pytest.fixture
def big(new_service: Any) -> Iterator[Service]:
    service: Service = new_service()
    client = Client(service.base, service.key("warm"))
    for _ in range(20):  # what a process needs once is not what the file needs
        assert client.post("/v1/deposits", data=os.urandom(3 * BLOCK)).status_code == 201
    yield service
    shutil.rmtree(service.home / "objects")  # pytest keeps the folders of the last runs


def check(service: Service, given: Any, sent: Sent, growth: dict[int, int]) -> None:
    assert given.status_code == 201, given.text
    deposit = given.json()
    check_receipt(deposit, log_keys(Client(service.base)))
    assert (deposit["size"], deposit["digests"]["sha-256"]) == (SIZE, sent.hash.hexdigest())
    assert (service.home / "objects" / object_key(deposit["id"])).stat().st_size == SIZE
    most = max(growth.values()) / (1 << 20)
    print(f"{SIZE / (1 << 30):.2f} GiB; the largest process grew by {most:.1f} MiB")
    assert most <= GROWTH_MIB


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_a_raw_body_of_many_gibibytes_takes_no_memory(big: Service) -> None:
    client, sent = Client(big.base, big.key("raw")), Sent()
    with measured(big) as growth:
        given = client.post("/v1/deposits", data=Sized(sent.body(), SIZE), timeout=PATIENCE_S)
    check(big, given, sent, growth)
    read(client, given.json(), sent, big)


def read(client: Client, deposit: dict[str, Any], sent: Sent, service: Service) -> None:
    """Going out, it takes no memory either."""
    read_again = hashlib.sha256()
    with measured(service) as growth:
        content = client.get(deposit["links"]["content"], stream=True, timeout=PATIENCE_S)
        assert content.headers["Content-Length"] == str(SIZE)
        for chunk in content.iter_content(BLOCK):
            read_again.update(chunk)
    assert read_again.digest() == sent.hash.digest()
    assert content.headers["Repr-Digest"] == (f"sha-256=:{b64encode(sent.hash.digest()).decode()}:")
    assert max(growth.values()) / (1 << 20) <= GROWTH_MIB


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_a_form_of_many_gibibytes_takes_no_memory(big: Service) -> None:
    client, sent, boundary = Client(big.base, big.key("form")), Sent(), uuid.uuid4().hex
    before = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    behind = f"\r\n--{boundary}--\r\n".encode()
    body = Sized(sent.body(before, behind), SIZE + len(before) + len(behind))
    with measured(big) as growth:
        given = client.post(
            "/v1/deposits",
            data=body,
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
            timeout=PATIENCE_S,
        )
    check(big, given, sent, growth)
