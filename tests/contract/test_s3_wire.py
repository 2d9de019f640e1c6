"""What goes over the wire to S3: bytes that change on their way, and what a write asks for."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator

import pytest

from storage.errors import InvalidStoreURL, ObjectDiffers, StoreUnavailable
from storage.stores import open_store
from tests.contract.stores import LOCKED_BUCKET, PLAIN_BUCKET, put, read, s3, s3_url
from tests.harness.weed import S3Server

pytestmark = pytest.mark.slow

__all__ = ["s3"]  # fixture

KEY = "originals/3f/one"
PART = 8 << 20
MARK = b"the bytes that somebody changes on their way"


class Relay:
    """A way to the server on which `alter` sees, and may change, all that is sent."""

    def __init__(self, endpoint: str, alter: Callable[[bytes], bytes]) -> None:
        upstream = urllib.parse.urlsplit(endpoint)
        self._upstream = (upstream.hostname or "", upstream.port or 80)
        self._alter = alter
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
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
                server = socket.create_connection(self._upstream)
                for source, target, change in (
                    (client, server, self._alter),
                    (server, client, bytes),
                ):
                    threading.Thread(
                        target=_pass_on, args=(source, target, change), daemon=True
                    ).start()


def _pass_on(
    source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes]
) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(change(data))
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def relayed(server: S3Server, alter: Callable[[bytes], bytes]) -> Iterator[str]:
    relay = Relay(server.endpoint, alter)
    try:
        yield relay.endpoint
    finally:
        relay.close()


@pytest.mark.parametrize("size", [1000, PART + 1000])
def test_bytes_that_change_on_their_way_are_refused_and_nothing_is_kept(
    s3: S3Server, size: int
) -> None:
    def spoil(data: bytes) -> bytes:
        return data.replace(MARK, MARK.upper())

    with relayed(s3, spoil) as endpoint:
        store = open_store(f"s3://{LOCKED_BUCKET}/spoilt/{size}?endpoint={endpoint}")
        with pytest.raises((ObjectDiffers, StoreUnavailable)) as refused:
            put(store, KEY, MARK, bytes(size))
        assert list(store.walk()) == []
    assert isinstance(refused.value, ObjectDiffers) or "Mismatch" in str(refused.value)


@pytest.mark.parametrize("size", [5, PART + 1])
@pytest.mark.parametrize(
    ("option", "headers"),
    [
        ("sse=AES256", [b"x-amz-server-side-encryption: aes256"]),
        (
            "sse=aws:kms&kms_key=the-court",
            [
                b"x-amz-server-side-encryption: aws:kms",
                b"x-amz-server-side-encryption-aws-kms-key-id: the-court",
            ],
        ),
        ("", []),
    ],
)
def test_write_asks_for_the_encryption_of_the_setting(
    s3: S3Server, size: int, option: str, headers: list[bytes]
) -> None:
    """That the request says so; whether the server can do it is the server's matter."""
    sent = bytearray()

    def listen(data: bytes) -> bytes:
        sent.extend(data)
        return data

    with relayed(s3, listen) as endpoint:
        store = open_store(
            f"s3://{PLAIN_BUCKET}/sse/{size}?endpoint={endpoint}&{option}".rstrip("&")
        )
        with contextlib.suppress(StoreUnavailable):
            put(store, f"{KEY}-{os.urandom(4).hex()}", bytes(size))
    said = bytes(sent).lower()
    for header in headers:
        assert header in said
    if not headers:
        assert b"server-side-encryption" not in said


def test_seaweedfs_encrypts_what_asks_for_it_and_gives_it_back(
    s3: S3Server, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["s3"] == "ceph":
        pytest.skip("Ceph encrypts only with a key server and behind TLS")
    store = open_store(s3_url(s3, bucket=PLAIN_BUCKET, prefix="sse/real", sse="AES256"))
    for name, content in (("small", b"secret"), ("large", os.urandom(PART + 5))):
        put(store, name, content)
        head = s3.client().head_object(Bucket=PLAIN_BUCKET, Key=f"sse/real/{name}")
        assert head["ServerSideEncryption"] == "AES256"
        assert read(store, name) == content


@pytest.mark.parametrize(
    "query", ["sse=none", "sse=", "kms_key=k", "sse=AES256&kms_key=k", "sse=aws%3Akms%20"]
)
def test_setting_that_names_no_encryption_is_refused(query: str) -> None:
    with pytest.raises(InvalidStoreURL):
        open_store(f"s3://bucket?{query}")
