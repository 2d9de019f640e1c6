"""What only S3 has: locks, versions, credentials, lost answers. On a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from storage.errors import (
    InvalidStoreURL,
    ObjectExists,
    ObjectLocked,
    ObjectNotFound,
    StoreUnavailable,
)
from storage.objects import ObjectStore, Protection, StoredObject
from storage.stores import open_store
from tests.contract.stores import (
    DAYS,
    LOCKED_BUCKET,
    PLAIN_BUCKET,
    put,
    read,
    s3,
    s3_url,
    scrub_aws,
)
from tests.harness.weed import S3Server

__all__ = ["s3"]  # fixture

KEY = "originals/3f/one"
PART = 8 << 20


@pytest.fixture(params=["governance", "compliance"])
def locked(request: pytest.FixtureRequest, s3: S3Server) -> ObjectStore:
    url = s3_url(s3, bucket=LOCKED_BUCKET, prefix=f"lock/{request.param}", lock=request.param)
    return open_store(f"{url}&days={DAYS}")


def place_of(server: S3Server, stored: StoredObject, store: ObjectStore) -> dict[str, Any]:
    """Bucket, key and version as S3 has them."""
    listed = server.client().list_object_versions(Bucket=LOCKED_BUCKET, Prefix="lock/")
    (found,) = [one for one in listed["Versions"] if one["VersionId"] == stored.version]
    return {"Bucket": LOCKED_BUCKET, "Key": found["Key"], "VersionId": found["VersionId"]}


@pytest.mark.parametrize("size", [5, PART + 1])
def test_retained_bytes_can_not_be_removed_with_the_service_credentials(
    s3: S3Server, locked: ObjectStore, size: int
) -> None:
    key = f"{KEY}-{size}"
    stored = put(locked, key, bytes(size))
    locked.retain(key, version=stored.version, until=datetime.now(UTC) + timedelta(days=DAYS))
    place, client = place_of(s3, stored, locked), s3.client()
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(**place)
    retention = client.get_object_retention(**place)["Retention"]
    assert f"/{retention['Mode'].lower()}/" in place["Key"]
    for until in (timedelta(seconds=30), timedelta(days=DAYS - 1)):
        shorter = {"Mode": retention["Mode"], "RetainUntilDate": datetime.now(UTC) + until}
        with pytest.raises(ClientError):
            client.put_object_retention(**place, Retention=shorter)
    assert client.get_object_retention(**place)["Retention"] == retention
    with pytest.raises(ObjectLocked, match="retained until"):
        locked.discard(key)
    # Without naming a version S3 only puts a mark over the bytes.
    client.delete_object(Bucket=place["Bucket"], Key=place["Key"])
    with pytest.raises(ObjectNotFound):
        locked.stat(key)
    assert read(locked, key, version=stored.version) == bytes(size)


def test_what_nobody_retained_can_be_removed_from_a_locked_bucket(
    s3: S3Server, locked: ObjectStore
) -> None:
    key = f"{KEY}-orphan"
    stored = put(locked, key, b"x")
    assert locked.protection(key, version=stored.version) == Protection(until=None, held=False)
    locked.discard(key)
    with pytest.raises(ObjectNotFound):
        locked.stat(key, version=stored.version)


def test_bucket_without_lock_neither_retains_nor_holds(s3: S3Server) -> None:
    store = open_store(s3_url(s3, bucket=PLAIN_BUCKET))
    stored = put(store, KEY, b"x")
    with pytest.raises(StoreUnavailable, match="no Object Lock: its owner must"):
        store.retain(KEY, version=None, until=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(StoreUnavailable, match="no Object Lock: its owner must"):
        store.hold(KEY, version=None, on=True)
    assert store.protection(KEY, version=stored.version) == Protection(until=None, held=False)


def test_newer_version_put_by_somebody_else_does_not_hide_the_first(
    s3: S3Server, locked: ObjectStore
) -> None:
    stored = put(locked, f"{KEY}-twice", b"the original")
    place = place_of(s3, stored, locked)
    s3.client().put_object(Bucket=place["Bucket"], Key=place["Key"], Body=b"something else")
    assert read(locked, f"{KEY}-twice", version=stored.version) == b"the original"
    assert locked.stat(f"{KEY}-twice", version=stored.version).size == 12
    with pytest.raises(ObjectExists):
        put(locked, f"{KEY}-twice", b"third")


def test_commits_of_one_key_at_once_never_cost_anyone_the_bytes_that_were_acknowledged(
    s3: S3Server, locked: ObjectStore
) -> None:
    """Also where conditional writes are ignored: whoever was told of success has a version."""
    together = threading.Barrier(8)

    def contend(number: int) -> tuple[StoredObject, bytes] | None:
        content = b"written by %d" % number
        with locked.begin(f"{KEY}-contended") as incoming:
            incoming.write(content)
            together.wait()
            try:
                return incoming.commit(), content
            except ObjectExists:
                return None

    with ThreadPoolExecutor(8) as pool:
        won = [each for each in pool.map(contend, range(8)) if each is not None]
    assert won
    for stored, content in won:
        assert read(locked, stored.key, version=stored.version) == content


def test_unknown_version_is_not_found(s3: S3Server, locked: ObjectStore) -> None:
    stored = put(locked, f"{KEY}-version", b"x")
    assert stored.version is not None
    with pytest.raises(ObjectNotFound):
        locked.open(f"{KEY}-version", version="0" * len(stored.version))


def test_long_listings_are_read_page_by_page(s3: S3Server) -> None:
    store = open_store(s3_url(s3, bucket=PLAIN_BUCKET))
    store._paging = {"PageSize": 3}  # type: ignore[attr-defined]
    keys = {f"originals/{number % 3}/{number}" for number in range(10)}
    for key in keys:
        put(store, key, b"x")
    begun = [store.begin(f"open/{number}") for number in range(5)]
    for incoming in begun:
        incoming.write(bytes(PART + 1))
    assert [found.key for found in store.walk()] == sorted(keys)
    assert store.sweep_incoming(datetime.now(UTC) + timedelta(hours=1)) == 5
    for incoming in begun:
        with pytest.raises(StoreUnavailable, match="swept"):
            incoming.commit()


def test_prefixes_of_one_bucket_do_not_see_each_other(s3: S3Server) -> None:
    one = open_store(s3_url(s3, bucket=PLAIN_BUCKET, prefix="houses/a"))
    other = open_store(s3_url(s3, bucket=PLAIN_BUCKET, prefix="houses/ab"))
    put(one, KEY, b"x")
    assert list(other.walk()) == []
    with pytest.raises(ObjectNotFound):
        other.stat(KEY)


def test_missing_bucket_is_not_a_missing_object(s3: S3Server) -> None:
    store = open_store(s3_url(s3, bucket="nobody-made-this"))
    uses: list[Callable[[], object]] = [
        store.check,
        lambda: store.stat(KEY),
        lambda: store.open(KEY),
        lambda: list(store.walk()),
        lambda: store.discard(KEY),
    ]  # a write is another matter: this server makes the bucket then
    for use in uses:
        with pytest.raises(StoreUnavailable, match="owner must bring it back"):
            use()


def test_bucket_without_lock_is_told_when_a_lock_is_asked_for(s3: S3Server) -> None:
    store = open_store(s3_url(s3, bucket=PLAIN_BUCKET, lock="compliance", days="1"))
    with pytest.raises(StoreUnavailable, match="no Object Lock: its owner must"):
        store.check()


def test_wrong_credentials_are_told(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = open_store(s3_url(s3, bucket=PLAIN_BUCKET))
    for use in (store.check, lambda: store.stat(KEY), lambda: put(store, KEY, b"x")):
        with pytest.raises(StoreUnavailable, match="credentials are wrong"):
            use()


def test_missing_credentials_are_told(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scrub_aws(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = open_store(s3_url(s3, bucket=PLAIN_BUCKET))
    with pytest.raises(StoreUnavailable, match="must set AWS_ACCESS_KEY_ID"):
        store.check()


def test_server_that_does_not_answer_is_told(s3: S3Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        store = open_store(f"s3://{PLAIN_BUCKET}?endpoint=http://127.0.0.1:{port}")
        with pytest.raises(StoreUnavailable, match=str(port)):
            store.check()
        with store.begin(KEY) as incoming, pytest.raises(StoreUnavailable, match=str(port)):
            incoming.write(bytes(PART + 1))


class ForgetfulRelay:
    """A way to the server on which the answer to the first conditional write gets lost."""

    def __init__(self, endpoint: str) -> None:
        upstream = urllib.parse.urlsplit(endpoint)
        self._upstream = (upstream.hostname or "", upstream.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.lost = threading.Event()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        conditional = threading.Event()
        with client, socket.create_connection(self._upstream) as server:
            back = threading.Thread(target=self._answer, args=(server, client, conditional))
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(1 << 16):
                    if b"if-none-match: *" in data.lower():
                        conditional.set()
                    server.sendall(data)
            _hang_up(server)
            back.join()

    def _answer(
        self, server: socket.socket, client: socket.socket, conditional: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                written = conditional.is_set() and data.startswith(b"HTTP/1.1 200")
                if written and not self.lost.is_set():
                    self.lost.set()
                    break
                client.sendall(data)
        _hang_up(client)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def forgetful(s3: S3Server) -> Iterator[ForgetfulRelay]:
    relay = ForgetfulRelay(s3.endpoint)
    yield relay
    relay.close()


@pytest.mark.parametrize("size", [5, PART + 1])
def test_write_whose_answer_was_lost_is_recognised_as_our_own(
    forgetful: ForgetfulRelay, size: int
) -> None:
    store = open_store(f"s3://{LOCKED_BUCKET}/lost/{size}?endpoint={forgetful.endpoint}")
    stored = put(store, KEY, bytes(size))
    assert forgetful.lost.is_set()
    assert stored.size == size
    assert read(store, KEY, version=stored.version) == bytes(size)
    assert len(list(store.walk())) == 1


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///prefix",
        "s3://bucket/UPPER",
        "s3://bucket/../other",
        "s3://bucket//a",
        "s3://key:secret@bucket/prefix",
        "s3://bucket?lock=compliance",
        "s3://bucket?days=3",
        "s3://bucket?lock=forever&days=3",
        "s3://bucket?lock=compliance&days=0",
        "s3://bucket?lock=compliance&days=-3",
        "s3://bucket?lock=compliance&days=36501",
        "s3://bucket?lock=compliance&days=%D9%A1",
        "s3://bucket?colour=blue",
        "s3://bucket?endpoint",
        "s3://bucket?endpoint=no%20url",
        "s3://bucket#fragment",
    ],
)
def test_url_that_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(InvalidStoreURL):
        open_store(url)


def test_secrets_in_a_url_are_not_repeated_in_the_refusal() -> None:
    with pytest.raises(InvalidStoreURL) as refused:
        open_store("s3://key:hunter2@bucket/prefix")
    assert "hunter2" not in str(refused.value)
