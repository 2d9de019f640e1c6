"""The evidence record of a deposit over HTTP, made by the worker's own pulse."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tests.harness.ers_oracle import rederive
from tests.harness.server import Client, Service

CONTENT = b"the original"


def test_it_comes_by_itself_when_its_period_is_over(new_service: Callable[..., Service]) -> None:
    service = new_service(record_interval="1", timestamp_interval="0.2")
    client = Client(service.base, service.key("agency"))
    deposit = client.post("/v1/deposits", data=CONTENT).json()
    link = deposit["links"]["evidence_record"]
    service.wait_for(lambda: client.get(link).ok)
    answer = client.get(link)
    assert answer.headers["Content-Type"] == "application/evidencerecord"
    digests = {"sha256": hashlib.sha256(CONTENT).digest()}
    assert len(rederive(answer.content, digests)) == 1
    other = client.get(link, params={"authority": "nobody"})
    assert (other.status_code, other.json()["code"]) == (404, "evidence_record_pending")


def test_before_that_it_is_said_to_be_pending(agency: Client) -> None:
    deposit = agency.post("/v1/deposits", data=CONTENT).json()
    answer = agency.get(deposit["links"]["evidence_record"])
    assert (answer.status_code, answer.json()["code"]) == (404, "evidence_record_pending")


def test_one_of_a_deposit_that_is_not_there_is_not_found(agency: Client) -> None:
    answer = agency.get("/v1/deposits/0190b5a0-0000-7000-8000-000000000001/evidence.ers")
    assert answer.status_code == 404
