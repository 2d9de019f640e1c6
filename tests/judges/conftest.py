"""A real service with two real witnesses, and what it gives out."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness.server import Client, Service
from tests.harness.witness import WitnessProcess
from tests.judges.mutations import WANTED

ROWS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One deposit's papers, as they came over HTTP."""

    index: int
    entry: bytes
    checkpoint: bytes
    """Signed by the log with both keys, and by both witnesses."""
    proof: bytes
    receipt: bytes
    transparent: bytes

    @property
    def size(self) -> int:
        return int(self.checkpoint.decode().split("\n")[1])

    @property
    def root(self) -> bytes:
        return b64decode(self.checkpoint.decode().split("\n")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    client: Client
    ed25519: str
    ml_dsa: str
    witnesses: tuple[str, str]
    """Their Ed25519 cosigning keys (0x04)."""
    policy: str
    first: Given
    last: Given

    @property
    def origin(self) -> str:
        return self.last.checkpoint.decode().split("\n")[0]

    def inclusion(self, index: int, size: int) -> list[bytes]:
        return self._path("inclusion", index=index, size=size)

    def consistency(self, old: int, new: int) -> list[bytes]:
        return self._path("consistency", old=old, new=new)

    def _path(self, kind: str, **asked: int) -> list[bytes]:
        given = self.client.get(f"/v1/log/proof/{kind}", params=asked)
        return [b64decode(node) for node in given.json()["path"]]


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    witnesses = [
        WitnessProcess(home=folder / f"witness{i}", name=f"court-{i}.example/w") for i in (0, 1)
    ]
    (folder / "house").mkdir()
    service = Service(
        home=folder / "house",
        settings={"timestamp_interval": "0.1", "witness_policy": str(folder / "policy")},
    )
    # The policy names the witnesses' keys, which are made when they start.
    (folder / "policy").write_text("quorum none\n")
    service.init()
    keys = service.cli("head", "--keys").stdout.splitlines()
    try:
        for witness in witnesses:
            witness.start(keys[0])
        (folder / "policy").write_text(_policy(witnesses))
        service.start()
        yield _town(service, keys, witnesses, folder / "policy")
    finally:
        for witness in witnesses:
            witness.stop()
        if service.process is not None:
            service.stop()


def _policy(witnesses: list[WitnessProcess]) -> str:
    lines = "".join(each.policy_line(f"w{i}") for i, each in enumerate(witnesses))
    return f"{lines}{WANTED}\nquorum both\n"


def _town(
    service: Service, keys: list[str], witnesses: list[WitnessProcess], policy: Path
) -> Town:
    client = Client(service.base, service.key("agency"))
    first = _given(service, client, b"the first")
    rows = (
        json.dumps({"size": 1, "digests": {"sha-256": hashlib.sha256(b"%d" % n).hexdigest()}})
        for n in range(ROWS)
    )
    sent = client.post(
        "/v1/batches", data="\n".join(rows), headers={"Content-Type": "application/x-ndjson"}
    )
    assert sent.status_code == 201, sent.text
    one, two = (witness.vkeys[0] for witness in witnesses)
    return Town(
        client=client,
        ed25519=keys[0],
        ml_dsa=keys[1],
        witnesses=(one, two),
        policy=policy.read_text(),
        first=first,
        last=_given(service, client, b"the last"),
    )


def _given(service: Service, client: Client, content: bytes) -> Given:
    deposit: dict[str, Any] = client.post("/v1/deposits", data=content).json()
    links = deposit["links"]
    path = f"/v1/deposits/{deposit['id']}"
    service.wait_for(lambda: client.get(links["self"]).json()["times"]["timestamped_at"])
    return Given(
        index=deposit["leaf_index"],
        entry=client.get(f"{path}/statement.cose").content,
        checkpoint=client.get(links["certificate_json"]).json()["log"]["checkpoint"].encode(),
        proof=client.get(f"{path}/proof.tlog-proof").content,
        receipt=client.get(f"{path}/receipt.cose").content,
        transparent=client.get(f"{path}/transparent-statement.cose").content,
    )
