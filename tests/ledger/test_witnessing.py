"""The house and its witnesses: two real processes that are not ours to believe."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notary.tlog.note import open_note, parse_note, parse_vkey
from tests.harness.server import Client, Service
from tests.harness.witness import WitnessProcess


@pytest.fixture
def witnesses(tmp_path: Path) -> Iterator[list[WitnessProcess]]:
    made = [
        WitnessProcess(home=tmp_path / f"witness{i}", name=f"court-{i}.example/w") for i in (1, 2)
    ]
    yield made
    for each in made:
        each.stop()


def house(tmp_path: Path, witnesses: list[WitnessProcess], quorum: str, **more: str) -> Service:
    """A service whose log both witnesses watch; `quorum` is the group's threshold."""
    home = tmp_path / "house"
    home.mkdir()
    policy = tmp_path / "policy"
    service = Service(
        home=home, settings={"timestamp_interval": "0.1", "witness_timeout": "2", **more}
    )
    service.init()
    log_key = service.cli("head", "--keys").stdout.splitlines()[0]
    for witness in witnesses:
        witness.start(log_key)
    policy.write_text(
        "".join(w.policy_line(f"w{i}") for i, w in enumerate(witnesses))
        + f"group both {quorum} w0 w1\nquorum both\n"
    )
    service.settings["witness_policy"] = str(policy)
    service.start()
    return service


def timestamped(client: Client, deposit: dict[str, Any]) -> str | None:
    times = client.get(deposit["links"]["self"]).json()["times"]
    found: str | None = times["timestamped_at"]
    return found


@pytest.mark.slow
def test_cosignatures_of_both_land_in_the_certificate(
    tmp_path: Path, witnesses: list[WitnessProcess]
) -> None:
    service = house(tmp_path, witnesses, "all")
    try:
        client = Client(service.base, service.key("agency"))
        deposit = client.post("/v1/deposits", data=b"witnessed").json()
        service.wait_for(lambda: timestamped(client, deposit))
        certificate = client.get(deposit["links"]["certificate_json"]).json()
        note = parse_note(certificate["log"]["checkpoint"].encode())
        keys = [parse_vkey(w.vkeys[0]) for w in witnesses]
        assert {each.key.name for each in open_note(note, keys)} == {w.name for w in witnesses}
        assert certificate["log"]["witness_policy"] == client.get("/log/policy").text
    finally:
        service.stop()


@pytest.mark.slow
def test_the_log_shows_its_checkpoint_with_the_cosignatures(
    tmp_path: Path, witnesses: list[WitnessProcess]
) -> None:
    service = house(tmp_path, witnesses, "all")
    try:
        client = Client(service.base)
        ours = [parse_vkey(line) for line in client.get("/log/keys").text.splitlines()]
        theirs = [parse_vkey(w.vkeys[0]) for w in witnesses]

        def signed() -> set[str]:
            note = parse_note(client.get("/log/checkpoint").content)
            return {each.key.name for each in open_note(note, [*ours, *theirs])}

        service.wait_for(lambda: signed() > {w.name for w in witnesses})
        assert "witness w0" in client.get("/log/policy").text
    finally:
        service.stop()


@pytest.mark.slow
def test_without_the_quorum_a_deposit_is_taken_and_waits_for_its_time(
    tmp_path: Path, witnesses: list[WitnessProcess]
) -> None:
    service = house(tmp_path, witnesses, "all")
    try:
        client = Client(service.base, service.key("agency"))
        witnesses[1].stop()
        answer = client.post("/v1/deposits", data=b"waits")
        assert answer.status_code == 201
        service.wait_for(lambda: "witness w1" in client.get("/readyz").text)
        assert timestamped(client, answer.json()) is None
        assert client.get("/readyz").status_code == 200
        witnesses[1].start()
        service.wait_for(lambda: timestamped(client, answer.json()))
        assert 'evidence_witness_failures{witness="w1"} 0.0' in client.get("/metrics").text
    finally:
        service.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("quorum", "fail"), [("any", "closed"), ("all", "open")])
def test_one_dead_witness_holds_nothing_up_where_the_policy_lets_it(
    tmp_path: Path, witnesses: list[WitnessProcess], quorum: str, fail: str
) -> None:
    service = house(tmp_path, witnesses, quorum, witness_fail=fail)
    try:
        client = Client(service.base, service.key("agency"))
        witnesses[0].stop()
        deposit = client.post("/v1/deposits", data=b"goes on").json()
        service.wait_for(lambda: timestamped(client, deposit))
    finally:
        service.stop()


@pytest.mark.slow
def test_a_log_with_two_histories_cannot_get_both_cosigned(
    tmp_path: Path, witnesses: list[WitnessProcess]
) -> None:
    service = house(tmp_path, witnesses, "all")
    service.stop()
    # The operator keeps a copy of house and keys, and lets both grow apart.
    twin = Service(home=tmp_path / "twin", settings=dict(service.settings))
    shutil.copytree(service.home, twin.home)
    try:
        service.start()
        client = Client(service.base, service.key("agency"))
        shown = client.post("/v1/deposits", data=b"the history shown to the court").json()
        service.wait_for(lambda: timestamped(client, shown))
        twin.start()
        other = Client(twin.base, twin.key("agency"))
        for turn in range(5):
            hidden = other.post("/v1/deposits", data=b"another history %d" % turn).json()
        twin.wait_for(lambda: "witness w0" in other.get("/readyz").text)
        assert timestamped(other, hidden) is None
        certificate = other.get(hidden["links"]["certificate_json"]).json()
        assert certificate["timestamps"] == []
        assert certificate["log"]["checkpoint"].count("\n— ") == 2  # the log's own, no witness's
    finally:
        service.stop()
        if twin.process is not None:
            twin.stop()
