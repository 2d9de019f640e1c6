"""`notary verify --online` against a real service, as a lawyer types it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from notary.asking import PlainSource
from notary.cli.verify import USAGE, main
from notary.errors import MalformedInput, Unreachable
from notary.model import Role
from tests.harness.people import Staff
from tests.harness.server import Client, Service, free_port

CONTENT = b"minutes of the meeting"


@dataclass(frozen=True)
class Case:
    service: Service
    clerk: Client
    folder: Path

    def registered(self) -> tuple[str, Path, Path]:
        """(deposit id, document, certificate.json) of a fresh deposit."""
        made = self.clerk.post(
            "/v1/deposits", data=CONTENT,
            headers={"Content-Disposition": 'attachment; filename="minutes.txt"'},
        ).json()  # fmt: skip
        document = self.folder / "minutes.txt"
        document.write_bytes(CONTENT)
        certificate = self.folder / f"{made['id']}.json"
        certificate.write_bytes(self.certificate(made["id"]).content)
        return made["id"], document, certificate

    def certificate(self, deposit_id: str) -> requests.Response:
        return self.clerk.get(f"/v1/deposits/{deposit_id}/certificate.json")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("online")
    service = Service(
        home=folder / "house",
        settings={"timestamp_interval": "3600", "verify_per_minute": "10000"},
    )
    service.init()
    service.start()
    try:
        with Staff(service) as staff:
            yield Case(service=service, clerk=staff.client(Role.CLERK), folder=folder)
    finally:
        service.stop()


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    status = main([str(argument) for argument in (*arguments, "--json")])
    return status, json.loads(capsys.readouterr().out)


def test_current_then_replaced_then_withdrawn(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    id_, document, certificate = case.registered()
    online = (document, "-c", certificate, "--online", case.service.base)
    status, report = run(capsys, *online)
    assert (status, report["code"]) == (0, "match_not_yet_anchored")
    assert [c["status"] for c in report["checks"][-2:]] == ["passed", "passed"]

    reissued = case.clerk.post(
        f"/v1/deposits/{id_}/certificate/reissue", json={"reason": "a correction"}
    )
    assert (reissued.status_code, reissued.json()["version"]) == (201, 2)
    status, report = run(capsys, *online)
    assert (status, report["code"]) == (3, "certificate_reissued")

    withdrawn = case.clerk.post(
        f"/v1/deposits/{id_}/certificate/withdrawal", json={"reason": "wrong case"}
    )
    assert withdrawn.status_code == 201
    assert len(withdrawn.json()["certificates"]) == 2
    status, report = run(capsys, *online, "--lang", "zh")
    assert (status, report["code"]) == (3, "certificate_withdrawn")
    assert "'wrong case'" in report["checks"][-1]["detail"]
    assert "撤回" in report["headline"]
    assert "公证" not in json.dumps(report, ensure_ascii=False)

    refused = case.certificate(id_)
    assert (refused.status_code, refused.json()["code"]) == (410, "certificate_withdrawn")


def test_without_online_the_same_certificate_is_judged_by_itself(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    id_, document, certificate = case.registered()
    case.clerk.post(f"/v1/deposits/{id_}/certificate/withdrawal", json={"reason": "wrong case"})
    status, report = run(capsys, document, "-c", certificate)
    assert (status, report["verdict"]) == (0, "confirmed")
    assert "supersession" not in {check["name"] for check in report["checks"]}


def test_a_service_that_is_not_there_is_no_verdict_on_the_file(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    _, document, certificate = case.registered()
    nobody = f"http://127.0.0.1:{free_port()}"
    status, report = run(capsys, document, "-c", certificate, "--online", nobody)
    assert (status, report["verdict"], report["code"]) == (2, "undecided", "service_unreachable")
    by_name = {check["name"]: check for check in report["checks"]}
    assert by_name["document_digest"]["status"] == "passed"
    assert by_name["consistency"]["status"] == "not_made"
    assert nobody in by_name["consistency"]["detail"]
    status, report = run(capsys, certificate, "-c", certificate, "--online", nobody)
    assert (status, report["code"]) == (1, "certificate_file_given")


def test_the_status_needs_no_account_and_answers_strangers_all_alike(case: Case) -> None:
    id_, _, certificate = case.registered()
    number = json.loads(certificate.read_bytes())["certificate_id"]
    there = requests.get(
        f"{case.service.base}/v1/certificates/{number}/status",
        params={"registration": id_}, timeout=20,
    )  # fmt: skip
    assert there.status_code == 200
    assert there.headers["Cache-Control"] == "no-store"
    answers = set()
    for given, registration in ((number, number), (id_, id_), (number, ""), (id_, number)):
        refused = requests.get(
            f"{case.service.base}/v1/certificates/{given}/status",
            params={"registration": registration}, timeout=20,
        )  # fmt: skip
        said = refused.json()
        said.pop("instance")
        answers.add((refused.status_code, json.dumps(said)))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 404


@pytest.mark.parametrize("url", ["notary.example.org", "file:///etc/hosts", "ftp://x", ""])
def test_what_is_no_address_of_a_service_is_a_usage_error(
    case: Case, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, document, certificate = case.registered()
    assert main([str(document), "-c", str(certificate), "--online", url]) == USAGE
    assert "http(s)" in capsys.readouterr().err


# --- the plain reader -----------------------------------------------------------------------------


def answering(*pieces: bytes) -> tuple[str, threading.Thread]:
    """A server for one request that sends these bytes and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", thread


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000,
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
        b"",
        b"not http at all\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_whole_is_unreachable(answer: bytes) -> None:
    url, thread = answering(answer)
    with pytest.raises(Unreachable):
        PlainSource(url).read("x", 1000)
    thread.join()


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_none(status: int) -> None:
    url, thread = answering(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
    assert PlainSource(url).read("x", 1000) is None
    thread.join()


def test_only_http_is_spoken() -> None:
    with pytest.raises(MalformedInput):
        PlainSource("file:///etc")
