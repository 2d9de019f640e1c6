"""The drill with real services and the commands an operator types, on both shapes."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from botocore.exceptions import ClientError

from notary.office import Office
from notary.settings import Settings
from tests.harness.certified import deposit as hand_in
from tests.harness.postgres import PostgresServer, postgres
from tests.harness.restoring import drawn, live, rows_of
from tests.harness.server import Client, Service
from tests.harness.weed import WeedServer

__all__ = ["postgres"]


def post(client: Client, body: bytes, **headers: str) -> Any:
    given = client.post(
        "/v1/deposits?timestamp=document",
        data=body,
        headers={"Content-Type": "text/plain", **headers},
    )
    assert given.status_code in (200, 201), given.text
    return given.json()


def papers(service: Service, client: Client, deposit: Any) -> tuple[bytes, bytes]:
    """Certificate and PDF, once the document's own token is there."""
    path = f"/v1/deposits/{deposit['id']}"
    service.wait_for(lambda: client.get(f"{path}/timestamp.tsr").status_code == 200)
    service.wait_for(lambda: client.get(path).json()["times"]["timestamped_at"])
    json, pdf = client.get(f"{path}/certificate.json"), client.get(f"{path}/certificate.pdf")
    assert (json.status_code, pdf.status_code) == (200, 200)
    return json.content, drawn(pdf.content)


@pytest.mark.slow
def test_a_service_whose_database_died_goes_on_from_what_it_kept_beside(
    new_service: Callable[..., Service], tmp_path: Path
) -> None:
    service = new_service(timestamp_interval="0.2", journal_interval="0.2")
    key = service.key("agency")
    client = Client(service.base, key)
    first = post(client, b"evidence", **{"Idempotency-Key": "one"})
    given = papers(service, client, first)
    checkpoint = client.get("/log/checkpoint").text
    service.wait_for(lambda: lag(service) == 0)
    assert client.get("/readyz").json()["checks"]["journal"] == "ok"
    mirrored = tmp_path / "mirror"
    (tmp_path / "trust.toml").write_text(client.get("/v1/trust.toml").text)
    service.cli(
        "mirror", f"{service.base}/log", str(mirrored), "--trust", str(tmp_path / "trust.toml")
    )
    service.kill()
    for path in service.home.glob("notary.db*"):
        path.unlink()
    assert service.cli("fsck", check=False).returncode == 64

    said = service.cli("rebuild", "--mirror", str(mirrored)).stdout
    assert "The house stands again" in said
    assert "0 faults" in said
    assert service.cli("rebuild", check=False).returncode == 64
    service.start()
    client = Client(service.base, key)
    assert client.get("/log/checkpoint").text.split("\n")[:3] == checkpoint.split("\n")[:3]
    assert papers(service, client, first) == given
    again = post(client, b"evidence", **{"Idempotency-Key": "one"})
    assert again["id"] == first["id"]
    content = client.get(f"/v1/deposits/{first['id']}/content").content
    assert hashlib.sha256(content).hexdigest() == hashlib.sha256(b"evidence").hexdigest()
    later = post(client, b"later")
    assert later["inclusion_proof"]["index"] >= int(checkpoint.split("\n")[1])
    service.cli("mirror", f"{service.base}/log", str(mirrored), "--verify", "--trust",
                str(tmp_path / "trust.toml"))  # fmt: skip
    assert service.stop() == 0
    assert "0 faults" in service.cli("fsck").stdout
    assert service.cli("journal").stdout == "0 segments written; 0 entries are not in them yet\n"


def lag(service: Service) -> float:
    text = requests.get(f"{service.base}/metrics", timeout=10).text
    (line,) = [
        each for each in text.splitlines() if each.startswith("evidence_journal_lag_entries ")
    ]
    return float(line.rpartition(" ")[2])


# --- PostgreSQL and S3 ------------------------------------------------------------------------


@pytest.mark.slow
def test_the_drill_on_postgresql_and_s3(
    weed: WeedServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    """From one PostgreSQL into another, from a bucket whose originals are locked."""
    bucket = f"house-{uuid.uuid4()}"
    objects = f"s3://{bucket}/kept?endpoint={weed.endpoint}&lock=compliance&days=1"
    with postgres.database() as old, postgres.database() as new:
        service = Service(home=tmp_path / "house", settings={"database": old, "objects": objects})
        service.home.mkdir()
        service.init()
        settings = Settings(home=service.home, database=old, objects=objects)
        house = Office(settings)
        house.journal.run()
        busy = live(house)
        house.journal.run()
        house.publish()
        rows = rows_of(house, "embedded_authority")
        house.close()

        service.settings["database"] = new
        assert "0 faults" in service.cli("rebuild").stdout
        house = Office(Settings(home=service.home, database=new, objects=objects))
        assert rows_of(house, "embedded_authority") == rows
        again = hand_in(house, busy.by, b"an original", busy.declared)
        assert again.deposit == busy.receipt.deposit
        for name in house.stamping.authorities:  # a new token's number is not an old one's
            hand_in(house, busy.by, b"new", busy.declared.__class__())
            assert house.stamping.run(name)
        assert house.journal.run().segments == 1
        house.close()
        assert "0 faults" in service.cli("fsck").stdout
    check_locks(weed, bucket)


def check_locks(weed: WeedServer, bucket: str) -> None:
    """Originals are held by their lock; a segment holds salts, and must be removable."""
    client = weed.client()
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]
    originals = [key for key in keys if key.startswith("kept/originals/")]
    segments = [key for key in keys if key.startswith("kept/journal/")]
    assert len(originals) == 3
    assert len(segments) == 3
    for key in originals:
        assert client.get_object_retention(Bucket=bucket, Key=key)["Retention"]["Mode"]
    for key in segments:
        with pytest.raises(ClientError):
            client.get_object_retention(Bucket=bucket, Key=key)


def test_triggers_of_postgresql_note_every_change_once(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    with postgres.database() as url:
        service = Service(home=tmp_path / "house", settings={"database": url})
        service.home.mkdir()
        service.init()
        house = Office(Settings(home=service.home, database=url))
        house.journal.run()
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("UPDATE account SET role = 'clerk'")
            connection.execute("INSERT INTO batch_note VALUES ('b', 7, 'line')")
            connection.execute("DELETE FROM batch_note")
            connection.execute("UPDATE session SET csrf = ''")
            noted = connection.execute("SELECT tbl, key FROM journal_change ORDER BY id").fetchall()
            (account,) = connection.execute("SELECT id FROM account").fetchall()
        assert noted == [
            ("account", f'["{account[0]}"]'),
            ("batch_note", '["b", 7]'),
            ("batch_note", '["b", 7]'),
        ]
        house.journal.run()
        assert not house.journal.is_due()
        house.close()
