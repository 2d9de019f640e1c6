"""The stores the contract is run against, each empty and on its own for every test."""

from __future__ import annotations

import functools
import os
import urllib.parse
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.objects import ObjectStore, StoredObject
from storage.s3 import S3Store
from storage.s3_lock import Lock
from storage.stores import open_store
from tests.harness.ceph import shared_ceph
from tests.harness.weed import S3Server, shared_server

PLAIN_BUCKET = "contract-plain"
LOCKED_BUCKET = "contract-locked"
DAYS = 2


SERVERS: dict[str, Callable[[], S3Server]] = {"seaweedfs": shared_server, "ceph": shared_ceph}
CEPH = pytest.mark.slow
"""Its packages come from the system; where they are missing the tests say so and are skipped."""


@pytest.fixture(params=["seaweedfs", pytest.param("ceph", marks=CEPH)])
def s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Each server, with its credentials in the environment."""
    return serving(request.param, monkeypatch)


def serving(name: str, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    server = SERVERS[name]()
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


def s3_url(server: S3Server, *, bucket: str, prefix: str | None = None, **more: str) -> str:
    query = urllib.parse.urlencode({"endpoint": server.endpoint, **more})
    return f"s3://{bucket}/{uuid.uuid4() if prefix is None else prefix}?{query}"


@pytest.fixture(
    params=[
        "local",
        "seaweedfs",
        "seaweedfs-locked",
        pytest.param("ceph", marks=CEPH),
        pytest.param("ceph-locked", marks=CEPH),
    ]
)
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    return _opened(request.param, "originals%20kept", "compliance", tmp_path, monkeypatch)


@pytest.fixture(params=["local", "seaweedfs-locked", pytest.param("ceph-locked", marks=CEPH)])
def protecting(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    """The stores that can retain and hold."""
    return _opened(request.param, "kept", "governance", tmp_path, monkeypatch)


def _opened(
    name: str, folder: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    if name == "local":
        opened = open_store(f"file://{tmp_path}/{folder}")
        opened.prepare()
        return opened
    server = serving(name.removesuffix("-locked"), monkeypatch)
    if not name.endswith("-locked"):
        return open_store(s3_url(server, bucket=PLAIN_BUCKET))
    return open_store(s3_url(server, bucket=LOCKED_BUCKET, lock=mode, days=str(DAYS)))


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
