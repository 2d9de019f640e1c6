"""A rotation under a running service: its processes have keys in memory, its clients go on."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notary.tlog.note import open_note, parse_note
from notary.trust import parse_trust
from tests.harness.receipts import log_keys
from tests.harness.server import Client, Service

CLIENTS = 3
PAUSE_S = 0.05


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(
        home=tmp_path_factory.mktemp("served") / "house", settings={"timestamp_interval": "0.2"}
    )
    running.init()
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.key("agency")


@pytest.fixture(scope="module")
def agency(service: Service, key: str) -> Client:
    return Client(service.base, key)


def timestamped(client: Client, deposit_id: str) -> Any:
    answer = client.get(f"/v1/deposits/{deposit_id}").json()
    return answer["times"]["timestamped_at"]


def test_no_deposit_is_lost_or_refused_while_all_keys_change_twice(
    service: Service, agency: Client, key: str, tmp_path: Path
) -> None:
    old_keys = log_keys(agency)
    old_trust = agency.get("/v1/trust.toml").text
    first = agency.post("/v1/deposits", data=b"before").json()
    service.wait_for(lambda: timestamped(agency, first["id"]))
    certificate = agency.get(f"/v1/deposits/{first['id']}/certificate.json").content
    done, answers = threading.Event(), []

    def deposit(number: int) -> None:
        client = Client(service.base, key)
        count = 0
        while not done.is_set():
            answers.append(client.post("/v1/deposits", data=f"{number} {count}".encode()))
            count += 1
            done.wait(PAUSE_S)

    threads = [threading.Thread(target=deposit, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    service.cli("rotate", "--reason", "a drill")
    service.cli("rotate", "--statement")
    done.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}

    keys = log_keys(agency)
    assert keys[2:] == old_keys
    last = agency.post("/v1/deposits", data=b"after").json()
    note = parse_note(last["inclusion_proof"]["checkpoint"].encode())
    assert [each.key for each in open_note(note, keys)] == list(keys[:2])
    service.wait_for(lambda: timestamped(agency, last["id"]))  # the worker follows too
    assert agency.get("/log/health").json()["status"] == "alive"

    after = agency.get(f"/v1/deposits/{last['id']}/certificate.json").content
    trust = agency.get("/v1/trust.toml").text
    assert len(parse_trust(trust).statement_keys) == 3
    for name, data in (
        ("before", b"before"), ("after", b"after"), ("old.json", certificate),
        ("new.json", after), ("old.toml", old_trust.encode()), ("new.toml", trust.encode()),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)

    def verdict(document: str, paper: str, believed: str) -> int:
        paths = [str(tmp_path / each) for each in (document, paper, believed)]
        return service.cli(
            "verify", paths[0], "--certificate", paths[1], "--trust", paths[2], check=False
        ).returncode

    assert verdict("before", "old.json", "new.toml") == 0
    assert verdict("before", "old.json", "old.toml") == 0
    assert verdict("after", "new.json", "new.toml") == 0
    assert verdict("after", "new.json", "old.toml") == 2  # could not be checked; not "altered"
    known = [part for vkey in old_keys for part in ("--key", vkey.encode())]
    told = service.cli("monitor", f"{service.base}/log", "--state", str(tmp_path / "place"),
                       "--once", "--entries", *known)  # fmt: skip
    assert told.stdout.count("key rotation ") == 2
    assert " 0 faults" in service.cli("fsck").stdout


def test_a_batch_sent_again_after_a_rotation_is_entered_once(
    service: Service, agency: Client
) -> None:
    """Its rows are signed as they come: the rotation falls between them and the transaction."""
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(50)]
    lines = [json.dumps({"size": 1, "digests": {"sha-256": each}}) + "\n" for each in digests]
    end = json.dumps({"end": len(lines)}).encode()

    def body(rotated: bool) -> Iterator[bytes]:
        for number, line in enumerate(lines):
            yield line.encode()
            if number == 25 and rotated:
                service.cli("rotate", "--statement")
        yield end

    def send(*, rotated: bool) -> Any:
        return agency.post(
            "/v1/batches", data=body(rotated),
            headers={"Content-Type": "application/x-ndjson", "Idempotency-Key": "once"},
        )  # fmt: skip

    first = send(rotated=True)
    if first.status_code == 503:  # a row was signed before the rotation
        assert first.json()["code"] == "keys_rotated"
        assert "Retry-After" in first.headers
    again = send(rotated=False)
    assert again.status_code in (200, 201), again.text
    rows = [json.loads(line) for line in again.text.splitlines()[: len(lines)]]
    assert [row["row"] for row in rows] == list(range(1, len(lines) + 1))
    assert " 0 faults" in service.cli("fsck").stdout
