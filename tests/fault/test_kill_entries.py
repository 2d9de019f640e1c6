"""kill -9 of every process at random moments while outside issuers register, at once and later.

What was answered 201 stands at its index after it; what was answered 303 is registered by itself;
what was not answered is sent again; and each statement is one entry.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from notary.receipt import check_receipt, parse_receipt
from notary.tlog.note import ED25519, parse_vkey
from tests.harness.issuer import ALGORITHMS, OutsideIssuer, entry_of, id_of
from tests.harness.server import Client, Service

KILLS = int(os.environ.get("NOTARY_KILLS", "10"))
CLIENTS = 8


@dataclass(slots=True, kw_only=True)
class Told:
    """What the issuers were told."""

    receipts: dict[bytes, bytes] = field(default_factory=dict)
    taken: list[bytes] = field(default_factory=list)
    unanswered: list[bytes] = field(default_factory=list)


def register(base: str, vendor: OutsideIssuer, seed: int, killed: threading.Event) -> Told:
    """One issuer, until the service is gone."""
    told, chance, client = Told(), random.Random(seed), Client(base)
    while not killed.is_set():
        data = vendor.statement(uuid.uuid4().bytes)
        headers = {"Content-Type": "application/cose"}
        if chance.random() < 0.5:
            headers["Prefer"] = "respond-async"
        try:
            answer = client.post("/entries", data=data, headers=headers, allow_redirects=False)
        except requests.RequestException:
            told.unanswered.append(data)
            continue
        if answer.status_code == 201:
            told.receipts[data] = answer.content
        elif answer.status_code == 303:
            told.taken.append(data)
        else:
            assert answer.status_code == 503, answer.content
            told.unanswered.append(data)
    return told


def one_round(service: Service, vendors: list[OutsideIssuer], chance: random.Random) -> Told:
    killed, together = threading.Event(), Told()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [
            pool.submit(
                register, service.base, vendors[n % len(vendors)], chance.randrange(1 << 32), killed
            )
            for n in range(CLIENTS)
        ]
        time.sleep(chance.uniform(0.05, 2.0))
        service.kill()
        killed.set()
        for each in asked:
            told = each.result()
            together.receipts |= told.receipts
            together.taken += told.taken
            together.unanswered += told.unanswered
    return together


def check_told(service: Service, told: Told) -> dict[str, int]:
    """Each statement's index, by its id, after what was promised was found kept."""
    client = Client(service.base)
    keys = [parse_vkey(line) for line in client.get("/log/keys").text.splitlines()]
    (public,) = (key.public_key for key in keys if key.type == ED25519)
    indices = {}
    for data in told.unanswered:
        headers = {"Content-Type": "application/cose"}
        answer = client.post("/entries", data=data, headers=headers)
        assert answer.status_code == 201, answer.content
    for data in (*told.receipts, *told.taken, *told.unanswered):
        given = service.wait_for(lambda data=data: registered(client, data))
        receipt = parse_receipt(given)
        check_receipt(receipt, entry=entry_of(data), public_key=public)
        indices[id_of(data)] = receipt.index
    for data, first in told.receipts.items():
        assert parse_receipt(first).index == indices[id_of(data)]
        check_receipt(parse_receipt(first), entry=entry_of(data), public_key=public)
    return indices


def registered(client: Client, data: bytes) -> bytes | None:
    answer = client.get(f"/entries/{id_of(data)}", allow_redirects=False)
    assert answer.status_code in (200, 302), answer.content
    return answer.content if answer.status_code == 200 else None


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * KILLS)
def test_no_statement_is_lost_or_entered_twice_by_killing_the_whole_service(
    tmp_path: Path,
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}, {KILLS} kills")
    chance = random.Random(seed)
    settings = {"timestamp_interval": "0.2", "entries_per_minute": "1000000"}
    service = Service(home=tmp_path, settings=settings)
    service.init()
    vendors = [OutsideIssuer.new(f"https://{a.lower()}.example", a) for a in ALGORITHMS]
    for vendor in vendors:
        key = tmp_path / "key.pem"
        key.write_bytes(vendor.pem)
        service.cli("issuer", "admit", vendor.iss, str(key), "--kid", vendor.kid.decode())
    everything: dict[str, int] = {}
    service.start()
    try:
        for number in range(KILLS):
            told = one_round(service, vendors, chance)
            service.start()
            everything |= check_told(service, told)
            print(
                f"kill {number + 1}: {len(told.receipts)} registered, {len(told.taken)} taken, "
                f"{len(told.unanswered)} not answered"
            )
    finally:
        service.stop()
    assert len(set(everything.values())) == len(everything)
    with sqlite3.connect(tmp_path / "notary.db") as rows:
        assert dict(rows.execute("SELECT id, idx FROM signed_statement")) == everything
        assert rows.execute("SELECT count(*) FROM waiting_statement").fetchone() == (0,)
    checked = service.cli("fsck", check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
