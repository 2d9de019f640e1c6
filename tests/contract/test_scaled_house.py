"""The scaled shape, by settings alone: PostgreSQL, S3 with Object Lock, two nodes.

Both servers are real, and both nodes are started by the commands that an operator types.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from tests.contract.stores import scrub_aws
from tests.harness.postgres import PostgresServer, shared_postgres
from tests.harness.server import Client, Service
from tests.harness.weed import WeedServer, shared_server

BATCH_ROWS = 2_000


@pytest.fixture(scope="module")
def weed() -> Iterator[WeedServer]:
    """The S3 server, with its credentials in the environment."""
    server = shared_server()
    with pytest.MonkeyPatch.context() as patch:
        scrub_aws(patch)
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="module")
def postgres() -> PostgresServer:
    return shared_postgres()


@pytest.fixture(scope="module")
def bucket() -> str:
    return f"house-{uuid.uuid4()}"


@pytest.fixture(scope="module")
def house(
    weed: WeedServer,
    postgres: PostgresServer,
    bucket: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    objects = f"s3://{bucket}/kept?endpoint={weed.endpoint}&lock=compliance&days=1"
    with postgres.database() as database:
        service = Service(
            home=tmp_path_factory.mktemp("house"),
            settings={
                "database": database,
                "objects": objects,
                "timestamp_interval": "0.2",
                "web_threads": "8",
            },
        )
        service.init()
        service.start()
        yield service
        service.kill()


@pytest.fixture(scope="module")
def key(house: Service) -> str:
    return house.key("agency")


@pytest.fixture
def agency(house: Service, key: str) -> Client:
    return Client(house.base, key)


@pytest.fixture
def second(house: Service, tmp_path: Path) -> Iterator[Service]:
    """Another node: the same keys and settings, a home of its own."""
    home = tmp_path / "second"
    home.mkdir()
    shutil.copytree(house.home / "keys", home / "keys")
    shutil.copy(house.home / "tsa-chain.pem", home)
    node = Service(home=home, settings=house.settings)
    node.start()
    yield node
    assert node.stop() == 0


def deposit(client: Client, body: bytes, **headers: str) -> Any:
    given = client.post(
        "/v1/deposits", data=body, headers={"Content-Type": "text/plain", **headers}
    )
    assert given.status_code == 201, given.text
    return given.json()


def content_of(client: Client, deposit_id: str) -> bytes:
    given = client.get(f"/v1/deposits/{deposit_id}/content")
    assert given.status_code == 200, given.text
    content: bytes = given.content
    return content


def check_everything(house: Service) -> str:
    checked = house.cli("fsck", check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "0 faults" in checked.stdout
    return checked.stdout


def test_originals_come_back_as_they_were_sent(agency: Client) -> None:
    raw = os.urandom(300_000)
    first = deposit(agency, raw)
    assert content_of(agency, first["id"]) == raw
    form = agency.post(
        "/v1/deposits",
        files={"file": ("证据 один.txt", b"in a form", "text/plain")},
        data={"client_reference": "编号-1"},
    )
    assert form.status_code == 201, form.text
    assert form.json()["leaf_index"] > first["leaf_index"]
    assert content_of(agency, form.json()["id"]) == b"in a form"
    listed = agency.get("/v1/deposits", params={"client_reference": "编号-1"}).json()["items"]
    assert [each["id"] for each in listed] == [form.json()["id"]]


def test_original_larger_than_a_part_comes_back_whole_and_in_pieces(agency: Client) -> None:
    raw = os.urandom(20 << 20)
    made = deposit(agency, raw, **{"Content-Type": "application/octet-stream"})
    assert hashlib.sha256(content_of(agency, made["id"])).digest() == hashlib.sha256(raw).digest()
    part = agency.get(
        f"/v1/deposits/{made['id']}/content", headers={"Range": "bytes=9000000-9000099"}
    )
    assert (part.status_code, part.content) == (206, raw[9_000_000:9_000_100])


def test_nobody_deletes_an_original_with_the_services_own_credentials(
    house: Service, agency: Client, weed: WeedServer, bucket: str
) -> None:
    made = deposit(agency, b"locked")
    s3 = weed.client()
    listed = s3.list_object_versions(Bucket=bucket, Prefix="kept/")
    (version,) = [each for each in listed["Versions"] if each["Key"].endswith(made["id"])]
    kept = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(**kept)
    assert s3.get_object_retention(**kept)["Retention"]["Mode"] == "COMPLIANCE"
    assert content_of(agency, made["id"]) == b"locked"
    # What somebody puts on top of it, or a mark over it, takes nothing away.
    s3.put_object(Bucket=bucket, Key=version["Key"], Body=b"something else")
    assert content_of(agency, made["id"]) == b"locked"
    s3.delete_object(Bucket=bucket, Key=version["Key"])
    assert content_of(agency, made["id"]) == b"locked"
    check_everything(house)


def test_upload_whose_client_goes_away_leaves_no_parts(
    house: Service, key: str, weed: WeedServer, bucket: str
) -> None:
    s3 = weed.client()

    def begun() -> list[Any]:
        listed = s3.list_multipart_uploads(Bucket=bucket, Prefix="kept/originals/")
        return list(listed.get("Uploads", ()))

    head = (
        f"POST /v1/deposits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {64 << 20}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", house.port), timeout=30) as client:
        client.sendall(head.encode() + bytes(20 << 20))
        house.wait_for(lambda: begun())
    house.wait_for(lambda: not begun())


def test_batch_is_entered_contiguously_and_answered_again(agency: Client) -> None:
    rows = [
        json.dumps(
            {
                "size": n + 1,
                "digests": {"sha-256": hashlib.sha256(b"row %d" % n).hexdigest()},
                "client_reference": f"row-{n}",
            }
        )
        for n in range(BATCH_ROWS)
    ]
    body = "\n".join([*rows, rows[0]]).encode()
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "batch-1"}
    given = agency.post("/v1/batches", data=body, headers=headers)
    assert given.status_code == 201, given.text
    *lines, totals = [json.loads(line) for line in given.text.splitlines()]
    assert (totals["registered"], totals["duplicates"]) == (BATCH_ROWS, 1)
    first = totals["first_index"]
    assert [line["index"] for line in lines[:-1]] == list(range(first, first + BATCH_ROWS))
    assert lines[-1]["duplicate"] is True and lines[-1]["id"] == lines[0]["id"]
    again = agency.post("/v1/batches", data=body, headers=headers)
    *repeated, _ = [json.loads(line) for line in again.text.splitlines()]
    assert repeated == lines


def test_certificate_is_confirmed_offline(house: Service, agency: Client, tmp_path: Path) -> None:
    made = deposit(agency, b"for the court")
    at = f"/v1/deposits/{made['id']}"
    house.wait_for(lambda: agency.get(at).json()["times"]["timestamped_at"])
    certificate, document, trust = (tmp_path / n for n in ("certificate.json", "file", "trust"))
    certificate.write_bytes(agency.get(f"{at}/certificate.json").content)
    document.write_bytes(b"for the court")
    trust.write_text(house.cli("trust").stdout)
    arguments = ("verify", str(document), "-c", str(certificate), "-t", str(trust))
    assert house.cli(*arguments, check=False).returncode == 0
    document.write_bytes(b"for the count")
    assert house.cli(*arguments, check=False).returncode == 1


@pytest.mark.parametrize(
    "path", ["/v1/cases/a%00b", "/v1/deposits/a%00b", "/v1/deposits?client_reference=%00"]
)
def test_text_that_no_row_can_hold_is_the_callers_mistake(agency: Client, path: str) -> None:
    assert agency.get(path).status_code in (400, 404)


def test_house_is_made_once(house: Service) -> None:
    assert house.cli("init", "--if-absent").stdout == ""
    again = house.cli("init", check=False)
    assert again.returncode == 64
    assert "house_exists" in again.stderr


def test_two_nodes_give_no_index_twice(
    house: Service, second: Service, key: str, agency: Client
) -> None:
    before = deposit(agency, b"before")["leaf_index"]

    def work(number: int) -> list[tuple[int, str, bytes]]:
        client = Client((house, second)[number % 2].base, key)
        made = []
        for n in range(10):
            body = b"node %d, thread %d, %d" % (number % 2, number, n)
            given = deposit(client, body)
            made.append((given["leaf_index"], given["id"], body))
        return made

    with ThreadPoolExecutor(8) as threads:
        made = [each for found in threads.map(work, range(8)) for each in found]
    assert Counter(index for index, _, _ in made).most_common(1)[0][1] == 1
    assert min(index for index, _, _ in made) > before
    assert len({deposit_id for _, deposit_id, _ in made}) == 8 * 10
    # Each node answers for what the other one registered.
    for number, (index, deposit_id, body) in enumerate(made[::9]):
        node = Client((house, second)[number % 2].base, key)
        assert node.get(f"/v1/deposits/{deposit_id}").json()["leaf_index"] == index
        assert content_of(node, deposit_id) == body
    heads = {each.cli("head").stdout.split()[0] for each in (house, second)}
    assert all(int(size) > max(index for index, _, _ in made) for size in heads)
    # Both nodes stamp, and what one has done already is no fault for the other.
    last = f"/v1/deposits/{max(made)[1]}"
    house.wait_for(lambda: agency.get(last).json()["times"]["timestamped_at"])
    check_everything(second)
    assert "job failed" not in house.log() + second.log()


@pytest.mark.slow
def test_what_was_answered_survives_kill_9(house: Service, key: str) -> None:
    made: dict[str, bytes] = {}
    stop = threading.Event()

    def work(number: int) -> None:
        client = Client(house.base, key)
        for n in range(10_000):
            body = b"thread %d, %d" % (number, n)
            try:
                given = client.post("/v1/deposits", data=body)
            except requests.RequestException:
                return
            if given.status_code == 201:
                made[given.json()["id"]] = body
            if stop.is_set():
                return

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    house.wait_for(lambda: len(made) >= 40)
    house.kill()
    stop.set()
    for each in threads:
        each.join(60)
        assert not each.is_alive()
    house.start()
    client = Client(house.base, key)
    for deposit_id, body in made.items():
        assert content_of(client, deposit_id) == body
    deposit(client, b"afterwards")
    check_everything(house)


def test_nothing_that_the_service_prints_shows_the_password(
    house: Service, postgres: PostgresServer
) -> None:
    settings = house.cli("settings").stdout
    assert postgres.url("x").partition("://")[0] in settings
    wrong = Service(home=house.home, settings={**house.settings})
    wrong.settings["database"] = postgres.url("no_such_database")
    failed = wrong.cli("serve", check=False)
    assert failed.returncode == 75
    assert "no_such_database" in failed.stderr
    for said in (settings, failed.stderr, failed.stdout, house.log()):
        assert postgres.password not in said
