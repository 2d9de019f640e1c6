"""The stores the contract is run against, each empty and on its own for every test."""

from __future__ import annotations

import functools
import os
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.objects import ObjectStore, StoredObject
from storage.s3 import S3Store
from storage.s3_lock import Lock
from storage.stores import open_store
from tests.harness.weed import WeedServer, shared_server

PLAIN_BUCKET = "contract-plain"
LOCKED_BUCKET = "contract-locked"
DAYS = 2


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> WeedServer:
    """The server, with its credentials in the environment."""
    server = shared_server()
    scrub_aws(monkeypatch)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    _make_buckets(server.endpoint)
    return server


def scrub_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)


@functools.cache
def _make_buckets(endpoint: str) -> None:
    S3Store(bucket=PLAIN_BUCKET, endpoint=endpoint).prepare()
    locked = Lock(mode="COMPLIANCE", days=DAYS)
    S3Store(bucket=LOCKED_BUCKET, endpoint=endpoint, lock=locked).prepare()


def s3_url(server: WeedServer, *, bucket: str, prefix: str | None = None, **more: str) -> str:
    query = urllib.parse.urlencode({"endpoint": server.endpoint, **more})
    return f"s3://{bucket}/{uuid.uuid4() if prefix is None else prefix}?{query}"


@pytest.fixture(params=["local", "s3", "s3-locked"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "local":
        opened = open_store(f"file://{tmp_path}/originals%20kept")
        opened.prepare()
    else:
        server: WeedServer = request.getfixturevalue("s3")
        if request.param == "s3":
            opened = open_store(s3_url(server, bucket=PLAIN_BUCKET))
        else:
            opened = open_store(
                s3_url(server, bucket=LOCKED_BUCKET, lock="compliance", days=str(DAYS))
            )
    yield opened


@pytest.fixture(params=["local", "s3-locked"])
def protecting(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """The stores that can retain and hold."""
    if request.param == "local":
        opened = open_store(f"file://{tmp_path}/kept")
        opened.prepare()
        return opened
    server: WeedServer = request.getfixturevalue("s3")
    return open_store(s3_url(server, bucket=LOCKED_BUCKET, lock="governance", days=str(DAYS)))


def put(store: ObjectStore, key: str, *chunks: bytes) -> StoredObject:
    with store.begin(key) as incoming:
        for chunk in chunks:
            incoming.write(chunk)
        return incoming.commit()


def read(
    store: ObjectStore,
    key: str,
    *,
    offset: int = 0,
    length: int | None = None,
    version: str | None = None,
) -> bytes:
    return b"".join(store.open(key, offset=offset, length=length, version=version))
