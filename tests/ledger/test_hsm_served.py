"""A running service whose keys move into a token and live there: as its clients see it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notary.batch_rows import CHUNK_ROWS
from notary.row_signing import CHUNKS_ALONE
from notary.signing import PROCESSES
from notary.tlog.note import open_note, parse_note
from tests.harness.receipts import log_keys
from tests.harness.server import Client, Service
from tests.harness.softhsm import SoftHsm, SoftToken

LARGE = CHUNK_ROWS * (CHUNKS_ALONE + 3)
CLIENTS = 3
PAUSE_S = 0.05


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> tuple[SoftToken, SoftToken]:
    hsm = SoftHsm(tmp_path_factory.mktemp("softhsm") / "hsm")
    return hsm.token("first"), hsm.token("second")


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, tokens: tuple[SoftToken, SoftToken]
) -> Iterator[Service]:
    running = Service(
        home=tmp_path_factory.mktemp("served") / "house",
        settings={
            "timestamp_interval": "0.2", "log_level": "debug",
            "keys": " ".join(["file:", *(token.uri for token in tokens)]),
        },
    )  # fmt: skip
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


def batch(count: int, salt: str) -> Iterator[bytes]:
    for number in range(count):
        digest = hashlib.sha256(f"{salt}{number}".encode()).hexdigest()
        row = {"size": 1, "digests": {"sha-256": digest}, "client_reference": f"{number:0200}"}
        yield json.dumps(row).encode() + b"\n"  # long: the service reads a MiB at a time
    yield json.dumps({"end": count}).encode()


def send(client: Client, body: Iterator[bytes]) -> Any:
    return client.post(
        "/v1/batches", data=body, headers={"Content-Type": "application/x-ndjson"}, timeout=120
    )


def signing_processes(service: Service) -> list[int]:
    found = []
    for pid in service.family():
        with contextlib.suppress(OSError):
            if b"notary.signing" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def test_no_deposit_is_refused_while_keys_move_into_a_token_and_into_another(
    service: Service, agency: Client, key: str, tokens: tuple[SoftToken, SoftToken]
) -> None:
    done, answers = threading.Event(), []

    def deposit(number: int) -> None:
        client, count = Client(service.base, key), 0
        while not done.is_set():
            answers.append(client.post("/v1/deposits", data=f"{number} {count}".encode()))
            count += 1
            done.wait(PAUSE_S)

    threads = [threading.Thread(target=deposit, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    told = [service.cli("rotate", "--to", token.uri).stdout for token in tokens]
    done.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}
    assert "log-mldsa44" in told[0] and "keys/statement.pem: its key is retired" in told[0]
    assert "in pkcs11:token=first: its key is retired" in told[1]
    left = {path.stem.rsplit("-", 1)[0] for path in (service.home / "keys").glob("*.pem")}
    assert left == {"log-mldsa44", "seal", "tsa"}
    last = agency.post("/v1/deposits", data=b"after").json()
    note = parse_note(last["inclusion_proof"]["checkpoint"].encode())
    keys = log_keys(agency)
    assert [each.key for each in open_note(note, keys)] == list(keys[:2])
    service.wait_for(
        lambda: agency.get(f"/v1/deposits/{last['id']}").json()["times"]["timestamped_at"]
    )
    certificate = agency.get(f"/v1/deposits/{last['id']}/certificate.json")
    assert certificate.status_code == 200
    assert agency.get(f"/v1/deposits/{last['id']}/receipt.cose").status_code == 200
    assert agency.get("/readyz").status_code == 200
    assert " 0 faults" in service.cli("fsck").stdout


def test_the_keys_are_listed_with_where_they_are_and_since_when(
    service: Service, tokens: tuple[SoftToken, SoftToken]
) -> None:
    lines = service.cli("keys").stdout.splitlines()
    assert [line.split()[0] for line in lines[::3]] == ["log", "log", "statement", "certificate"]
    assert all(line.startswith("  since rotation 2, entry ") for line in lines[1::3])
    assert lines[5].strip().startswith(str(service.home / "keys" / "log-mldsa44-"))
    for line in (lines[2], lines[8], lines[11]):
        assert line.endswith(" in pkcs11:token=second")
    bare = Service(home=service.home)
    told = bare.cli("keys", check=False)
    assert told.returncode == 70
    assert told.stdout.count("key_missing: ") == 3
    refused = bare.cli("head", check=False)
    assert refused.returncode == 70
    assert "key_missing: this node cannot sign" in refused.stderr


def test_a_large_batch_is_signed_in_the_token_by_processes_of_their_own(
    service: Service, agency: Client
) -> None:
    seen: set[int] = set()

    def body() -> Iterator[bytes]:
        for number, line in enumerate(batch(LARGE, "whole")):
            yield line
            if number == LARGE - 100:
                seen.update(service.wait_for(lambda: signing_processes(service)))

    answer = send(agency, body())
    assert answer.status_code == 201, answer.text
    assert len(answer.text.splitlines()) >= LARGE
    assert len(seen) == PROCESSES
    assert " 0 faults" in service.cli("fsck", "--depth", "records").stdout


def test_a_signing_process_that_is_killed_refuses_the_batch_and_the_next_is_taken(
    service: Service, agency: Client
) -> None:
    size = agency.get("/log/health").json()["size"]

    def body() -> Iterator[bytes]:
        for number, line in enumerate(batch(LARGE, "cut")):
            if number == LARGE - 100:
                for pid in service.wait_for(lambda: signing_processes(service)):
                    os.kill(pid, signal.SIGKILL)
            yield line

    answer = send(agency, body())
    assert answer.status_code == 503, answer.text
    assert agency.get("/log/health").json()["size"] == size
    assert send(agency, batch(LARGE, "cut")).status_code == 201


def test_a_killed_service_starts_again_with_its_token(service: Service, agency: Client) -> None:
    before = agency.post("/v1/deposits", data=b"before the kill").json()
    service.kill()
    service.start()
    after = agency.post("/v1/deposits", data=b"after the kill").json()
    assert after["leaf_index"] > before["leaf_index"]


def test_without_its_token_the_service_says_try_again_reads_on_and_goes_on_by_itself(
    service: Service, agency: Client, tokens: tuple[SoftToken, SoftToken]
) -> None:
    first = agency.post("/v1/deposits", data=b"before").json()
    tokens[1].take_away()
    try:
        for _ in range(5):
            refused = agency.post("/v1/deposits", data=b"during")
            assert refused.status_code == 503
            assert refused.json()["code"] == "keys_unreachable"
            assert "Retry-After" in refused.headers
        assert agency.get("/readyz").status_code == 503
        assert agency.get(f"/v1/deposits/{first['id']}").status_code == 200
        assert agency.get("/log/checkpoint").status_code == 200
    finally:
        tokens[1].bring_back()
    deadline = time.monotonic() + 30
    while (answer := agency.post("/v1/deposits", data=b"after")).status_code != 201:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    assert agency.get("/readyz").status_code == 200
    assert " 0 faults" in service.cli("fsck").stdout


def test_the_pin_is_in_no_log_no_argument_and_nothing_that_is_printed(
    service: Service, agency: Client, tokens: tuple[SoftToken, SoftToken]
) -> None:
    told = [
        service.cli(*command, check=False)
        for command in (("settings",), ("keys",), ("head",), ("rotate", "--statement", "--to",
        tokens[0].uri), ("trust",))
    ]  # fmt: skip
    said = [each.stdout + each.stderr for each in told]
    said.append((service.home / "log").read_text("utf-8", "replace"))
    for pid in service.family():
        with contextlib.suppress(OSError):
            said.append(Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace"))
    shown = ("/log/health", "/readyz", "/log/rotations.json", "/openapi.json")
    said += [agency.get(path).text for path in shown]
    for token in tokens:
        assert token.pin in token.pin_file.read_text()
        assert not [text for text in said if token.pin in text]
