"""The commands of a backup as an operator types them, on a service that runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.server import Client, Service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    made = Service(home=tmp_path / "house", settings={"journal_interval": "0.2"})
    made.init()
    return made


@pytest.mark.slow
def test_service_is_backed_up_while_it_runs_and_restored_with_what_came_after(
    service: Service, tmp_path: Path
) -> None:
    service.start()
    key = service.key("agency")
    client = Client(service.base, key)

    def hand_in(text: bytes) -> Any:
        given = client.post("/v1/deposits", data=text, headers={"Content-Type": "text/plain"})
        assert given.status_code == 201, given.text
        return given.json()

    ids = [hand_in(b"before")["id"]]
    said = service.cli("backup", str(tmp_path / "b.tar"), "--with-keys")
    assert "with private keys" in said.stdout
    assert "PRIVATE KEYS" in said.stderr
    assert "1 originals of 6 bytes" in said.stdout
    ids.append(hand_in(b"after")["id"])
    again = service.cli("restore", str(tmp_path / "b.tar"), check=False)
    assert again.returncode == 64
    assert "house_exists" in again.stderr
    service.stop()  # which writes the journal
    for path in service.home.glob("notary.db*"):
        path.unlink()
    said = service.cli("restore", str(tmp_path / "b.tar"))
    assert "The house stands again" in said.stdout
    assert "0 faults" in said.stdout
    assert "0 faults" in service.cli("fsck").stdout
    service.start()
    client = Client(service.base, key)
    for id_ in ids:
        assert client.get(f"/v1/deposits/{id_}").status_code == 200
    hand_in(b"and on")
    service.stop()


def damaged(folder: Path) -> None:
    path = folder / "rows/deposit"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [(damaged, 70, "corrupt: rows/deposit"), (lambda _folder: None, 70, "key_missing")],
)
def test_refusals_are_one_line_and_a_status(
    service: Service,
    tmp_path: Path,
    change: Callable[[Path], None],
    status: int,
    word: str,
) -> None:
    service.cli("key", "create", "agency")
    assert "without private keys" in service.cli("backup", str(tmp_path / "b")).stdout
    twice = service.cli("backup", str(tmp_path / "b"), check=False)
    assert (twice.returncode, "backup_exists" in twice.stderr) == (64, True)
    change(tmp_path / "b")
    elsewhere = Service(home=tmp_path / "elsewhere")
    refused = elsewhere.cli("restore", str(tmp_path / "b"), check=False)
    assert (refused.returncode, word in refused.stderr) == (status, True), refused.stderr
