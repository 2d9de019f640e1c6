"""The OpenAPI document and the service agree: schemathesis, which nobody here wrote, asks both.

No 5xx, no status, header or body that the document does not have, nothing accepted that it
forbids, nothing refused that it allows. What it is told: tests/web/schemathesis.toml.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from notary.model import Role
from notary.web.problems import TITLES
from tests.harness.people import Staff
from tests.harness.server import REPOSITORY, Client, Service

SETTINGS = {
    "timestamp_interval": "0.2",
    "verify_per_minute": "1000000",
    "sign_in_per_minute": "1000000",
    "entries_per_minute": "1000000",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own: it gets many strange accounts, cases and deposits."""
    service = Service(home=tmp_path_factory.mktemp("asked"), settings=SETTINGS)
    service.init()
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def document(house: Service) -> dict[str, Any]:
    given = Client(house.base).get("/openapi.json")
    assert given.headers["Content-Type"] == "application/json"
    described: dict[str, Any] = given.json()
    return described


def run_schemathesis(service: Service, key: str, *options: str) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: it was not asked")
    command = [sys.executable, "-m", "schemathesis.cli"]
    configured = ["--config-file", str(Path(__file__).with_name("schemathesis.toml"))]
    asked = subprocess.run(
        [*command, *configured, "run", f"{service.base}/openapi.json", *options,
         "--header", f"Authorization: Bearer {key}"],
        cwd=service.home,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "SCHEMATHESIS_HOOKS": "tests.harness.schemathesis_hooks",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stdout[-20_000:] + asked.stderr
    assert "unexpected" not in service.log()


@pytest.mark.slow
def test_schemathesis_finds_nothing_as_an_api_client(house: Service) -> None:
    run_schemathesis(house, house.key("schemathesis"))


@pytest.mark.slow
def test_schemathesis_finds_nothing_as_an_administrator(house: Service) -> None:
    with Staff(house) as staff:
        key = staff.key(Role.ADMINISTRATOR)
    run_schemathesis(house, key, "--include-tag", "people", "--include-tag", "issuers")


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_operation_is_described_to_the_end(document: dict[str, Any]) -> None:
    ids = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            scitt = path.startswith(("/entries", "/.well-known/scitt-keys"))
            ids.append(operation["operationId"])
            assert operation["summary"], where
            assert any(status.startswith("2") for status in operation["responses"]), where
            for status, answer in operation["responses"].items():
                assert answer["description"], where
                if int(status) >= 400 and path not in ("/readyz", "/log/health"):
                    kind = "concise-problem-details+cbor" if scitt else "problem+json"
                    assert list(answer["content"]) == [f"application/{kind}"], where
            if method in ("post", "patch", "put") and not path.endswith(("/links", "/approve")):
                assert "requestBody" in operation, where
            if operation["security"]:
                assert {"401", "403"} <= operation["responses"].keys(), where
    assert len(set(ids)) == len(ids)


def test_every_door_of_the_api_is_in_the_document(document: dict[str, Any]) -> None:
    for path in (
        "/v1/deposits", "/v1/deposits/{deposit_id}", "/v1/deposits/{deposit_id}/content",
        "/v1/deposits/{deposit_id}/certificate.json", "/v1/deposits/{deposit_id}/certificate.pdf",
        "/v1/deposits/{deposit_id}/bundle.asice", "/v1/deposits/{deposit_id}/bundle.asics",
        "/v1/deposits/{deposit_id}/bundle.zip", "/v1/deposits/{deposit_id}/timestamp.tsr",
        "/v1/deposits/{deposit_id}/proof.tlog-proof", "/v1/deposits/{deposit_id}/custody",
        "/v1/limits", "/v1/cases", "/v1/batches", "/v1/verify", "/v1/accounts", "/v1/events",
        "/v1/log/proof/inclusion", "/v1/log/proof/consistency", "/log/checkpoint",
        "/entries", "/entries/{entry_id}", "/log/registration-policies", "/v1/issuers",
        "/log/tile/{path}", "/healthz", "/readyz", "/metrics",
    ):  # fmt: skip
        assert path in document["paths"], path


def test_every_problem_code_is_in_the_document(document: dict[str, Any]) -> None:
    codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert codes == sorted(TITLES)
