"""Originals as they are fetched: whole, in one range, or by a link into storage."""

from __future__ import annotations

import base64
import hashlib
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.harness.server import Client, Service
from tests.harness.weed import S3Server, weed

__all__ = ["weed"]  # fixture

CONTENT = bytes(range(256)) * 40
NAME = "证据 один.html"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    yield from served(tmp_path_factory, {})


@pytest.fixture(scope="module")
def linking(weed: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A house in S3 that sends downloads there."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in weed.environment.items():
            patch.setenv(name, value)
        objects = f"s3://downloads/house?endpoint={weed.endpoint}&lock=governance&days=1"
        yield from served(tmp_path_factory, {"objects": objects, "download_link_seconds": "2"})


def served(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]) -> Iterator[Service]:
    service = Service(home=tmp_path_factory.mktemp("house"), settings=settings)
    service.init()
    service.start()
    yield service
    service.stop()


def agency(service: Service) -> Client:
    return Client(service.base, service.key("agency"))


def deposit(client: Client) -> Any:
    quoted = urllib.parse.quote(NAME)
    given = client.post(
        "/v1/deposits",
        data=CONTENT,
        headers={
            "Content-Type": "text/html",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quoted}",
        },
    )
    assert given.status_code == 201, given.text
    return given.json()


def events(client: Client, deposit_id: str) -> list[tuple[str, str | None]]:
    found = client.get(f"/v1/deposits/{deposit_id}/custody").json()["items"]
    return [(each["kind"], each.get("subject")) for each in found]


@pytest.fixture(scope="module")
def fetched(plain: Service) -> tuple[Client, str, str]:
    client = agency(plain)
    made = deposit(client)
    return client, f"/v1/deposits/{made['id']}/content", made["id"]


def test_whole_original_says_its_digest_and_that_it_has_ranges(
    fetched: tuple[Client, str, str],
) -> None:
    client, path, _ = fetched
    given = client.get(path)
    assert (given.status_code, given.content) == (200, CONTENT)
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert f"sha-256=:{digest}:" in given.headers["Repr-Digest"]
    assert given.headers["Accept-Ranges"] == "bytes"
    assert given.headers["ETag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert given.headers["Content-Type"] == "application/octet-stream"
    assert given.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=10000-", 10_000, 10_240),
        ("bytes=-7", 10_233, 10_240),
        ("bytes=5-999999", 5, 10_240),
        ("bytes=-999999", 0, 10_240),
    ],
)
def test_range_is_given_with_the_digest_of_the_whole(
    fetched: tuple[Client, str, str], asked: str, first: int, end: int
) -> None:
    client, path, _ = fetched
    given = client.get(path, headers={"Range": asked})
    assert given.content == CONTENT[first:end]
    assert int(given.headers["Content-Length"]) == end - first
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert f"sha-256=:{digest}:" in given.headers["Repr-Digest"]
    if end - first < len(CONTENT):
        assert given.status_code == 206
        assert given.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999-100000"])
def test_range_outside_is_refused_and_the_size_is_told(
    fetched: tuple[Client, str, str], asked: str
) -> None:
    client, path, _ = fetched
    given = client.get(path, headers={"Range": asked})
    assert (given.status_code, given.json()["code"]) == (416, "range_not_satisfiable")
    assert given.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "bytes=9-3", "bytes=a-b", "bytes", "lines=1-2", "bytes=--1", "bytes=-0"],
)
def test_what_is_no_single_range_gives_the_whole(
    fetched: tuple[Client, str, str], asked: str
) -> None:
    client, path, _ = fetched
    given = client.get(path, headers={"Range": asked})
    assert (given.status_code, given.content) == (200, CONTENT)


def test_if_range_with_another_tag_gives_the_whole(fetched: tuple[Client, str, str]) -> None:
    client, path, _ = fetched
    tag = client.get(path).headers["ETag"]
    for said, status in (
        (tag, 206),
        (f"W/{tag}", 200),
        ('"other"', 200),
        ("Tue, 24 Nov 2026 14:00:00 GMT", 200),
        ("", 200),
    ):
        given = client.get(path, headers={"Range": "bytes=0-9", "If-Range": said})
        assert given.status_code == status, said
        assert given.content == (CONTENT[:10] if status == 206 else CONTENT)


def test_each_download_is_a_custody_event_that_says_which_bytes(plain: Service) -> None:
    client = agency(plain)
    made = deposit(client)
    path = f"/v1/deposits/{made['id']}/content"
    client.get(path)
    client.get(path, headers={"Range": "bytes=5-9"})
    client.get(path, headers={"Range": "bytes=999999-"})
    assert events(client, made["id"])[1:] == [
        ("downloaded", "original"),
        ("downloaded", "bytes 5-9"),
    ]


# --- links into storage -------------------------------------------------------------------------


def test_download_is_sent_to_storage_which_gives_it_as_an_attachment_of_bytes(
    linking: Service, weed: S3Server
) -> None:
    client = agency(linking)
    made = deposit(client)
    path = f"/v1/deposits/{made['id']}/content"
    given = client.get(path, allow_redirects=False)
    assert (given.status_code, given.content) == (302, b"")
    assert given.headers["Cache-Control"] == "no-store"
    link = given.headers["Location"]
    assert link.startswith(weed.endpoint)
    assert "versionId=" in link
    assert events(client, made["id"])[1:] == [("downloaded", "original, by a link into storage")]
    fetched = requests.get(link, timeout=10)
    assert (fetched.status_code, fetched.content) == (200, CONTENT)
    assert fetched.headers["Content-Type"] == "application/octet-stream"
    quoted = urllib.parse.quote(NAME)
    assert fetched.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{quoted}"
    part = requests.get(link, headers={"Range": "bytes=5-9"}, timeout=10)
    assert (part.status_code, part.content) == (206, CONTENT[5:10])


def test_link_does_not_work_for_long_nor_for_anything_else(
    linking: Service, weed: S3Server
) -> None:
    client = agency(linking)
    made = deposit(client)
    path = f"/v1/deposits/{made['id']}/content"
    link = client.get(path, allow_redirects=False).headers["Location"]
    assert requests.delete(link, timeout=10).status_code == 403
    assert requests.put(link, data=b"x", timeout=10).status_code == 403
    other = link.replace(made["id"], made["id"][:-1] + "z")
    assert requests.get(other, timeout=10).status_code == 403
    inline = link.replace("attachment", "inline")
    assert requests.get(inline, timeout=10).status_code == 403
    deadline = time.monotonic() + 20
    while requests.get(link, timeout=10).status_code == 200:
        assert time.monotonic() < deadline
    assert requests.get(link, timeout=10).status_code == 403


def test_whoever_may_not_read_gets_no_link(linking: Service) -> None:
    made = deposit(agency(linking))
    path = f"/v1/deposits/{made['id']}/content"
    stranger = Client(linking.base, linking.key("somebody else"))
    given = stranger.get(path, allow_redirects=False)
    assert given.status_code == 404
    assert "Location" not in given.headers
    assert requests.get(linking.base + path, allow_redirects=False, timeout=10).status_code == 401
