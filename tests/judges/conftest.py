"""A real service with two real witnesses, and what it gives out."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from notary.tlog.tile import TILE_WIDTH, parse_bundle
from tests.harness.contained import Contained, contain
from tests.harness.dss import Dss, build_dss
from tests.harness.server import Client, Service
from tests.harness.witness import WitnessProcess
from tests.judges.mutations import WANTED

SIZES = (256, 700, 65_536, 65_900)
"""Of the checkpoints below which papers are taken: tiles that end with the tree and that do not,
on each of three levels. Before them comes one of a handful of entries."""


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
    papers: tuple[Given, ...]
    """One for each size, the smallest first."""

    @property
    def first(self) -> Given:
        return self.papers[0]

    @property
    def last(self) -> Given:
        return self.papers[-1]

    @property
    def origin(self) -> str:
        return self.last.checkpoint.decode().split("\n")[0]

    def entry(self, index: int) -> bytes:
        """Of a full bundle."""
        n, at = divmod(index, TILE_WIDTH)
        return parse_bundle(self.client.get(f"/log/tile/entries/{n:03d}").content)[at]

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
    try:
        with ThreadPoolExecutor(2) as both:
            agency = both.submit(service.key, "agency")
            keys = service.cli("head", "--keys").stdout.splitlines()
            list(both.map(lambda witness: witness.start(keys[0]), witnesses))
            (folder / "policy").write_text(_policy(witnesses))
            service.start()
        client = Client(service.base, agency.result())
        one, two = (witness.vkeys[0] for witness in witnesses)
        yield Town(
            client=client,
            ed25519=keys[0],
            ml_dsa=keys[1],
            witnesses=(one, two),
            policy=(folder / "policy").read_text(),
            papers=tuple(_papers(service, client)),
        )
    finally:
        with ThreadPoolExecutor(3) as ending:
            for witness in witnesses:
                ending.submit(witness.stop)
            if service.process is not None:
                service.stop()


def _policy(witnesses: list[WitnessProcess]) -> str:
    lines = "".join(each.policy_line(f"w{i}") for i, each in enumerate(witnesses))
    return f"{lines}{WANTED}\nquorum both\n"


def _papers(service: Service, client: Client) -> Iterator[Given]:
    yield _given(service, client)
    for size in SIZES:
        grown = int(client.get("/log/checkpoint").text.split("\n")[1])
        rows = (
            json.dumps({"size": 1, "digests": {"sha-256": hashlib.sha256(b"%d" % n).hexdigest()}})
            for n in range(grown, size - 1)
        )
        sent = client.post(
            "/v1/batches", data="\n".join(rows), headers={"Content-Type": "application/x-ndjson"}
        )
        assert sent.status_code == 201, sent.text
        given = _given(service, client)
        assert given.size == size
        yield given


def _given(service: Service, client: Client) -> Given:
    deposit: dict[str, Any] = client.post("/v1/deposits", data=b"a document").json()
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


@pytest.fixture(scope="session")
def contained(tmp_path_factory: pytest.TempPathFactory) -> Contained:
    return contain(tmp_path_factory.mktemp("contained"))


@pytest.fixture(scope="session")
def dss(tmp_path_factory: pytest.TempPathFactory) -> Dss:
    return build_dss(tmp_path_factory.mktemp("dss"))
