"""One object on its way into S3.

A body of at most one part is one PUT. A longer one is a multipart upload with two parts in
flight while a third fills, so memory stays at three parts whatever the size.

A write carries a random mark as metadata. If the answer to a write is lost and the client's retry
then finds the key taken, the mark tells whether it was taken by ourselves.
"""

from __future__ import annotations

import base64
import contextlib
import os
import zlib
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from storage.errors import (
    ObjectDiffers,
    ObjectExists,
    ObjectNotFound,
    StorageError,
    StoreFull,
    StoreUnavailable,
)
from storage.objects import StoredObject
from storage.s3_client import translated

PART_SIZE: Final = 8 << 20
PARTS_IN_FLIGHT: Final = 2
MAX_PARTS: Final = 10_000  # S3's own limit
_PARTS_BEFORE_GROWING: Final = 2_000  # then the part size doubles: 16 GiB at 8 MiB, 496 GiB in all
_MARK: Final = "incoming"


class S3Incoming:
    """See `storage.objects.Incoming`."""

    def __init__(
        self,
        *,
        client: Any,
        place: Mapping[str, str],
        key: str,
        encryption: Mapping[str, str],
    ) -> None:
        """`place` is bucket and full key, `encryption` what S3 is told about that."""
        self._client = client
        self._place = place
        self._key = key
        self._mark = os.urandom(12).hex()
        self._buffer = bytearray()
        self._encryption = encryption
        self._size = 0
        self._crc32 = 0
        self._upload: str | None = None
        self._senders: ThreadPoolExecutor | None = None
        self._in_flight: deque[Future[dict[str, Any]]] = deque()
        self._parts: list[dict[str, Any]] = []
        self._settled = False

    def write(self, chunk: bytes | memoryview) -> None:
        self._refuse_if_settled()
        rest = memoryview(chunk).cast("B")
        self._size += len(rest)
        self._crc32 = zlib.crc32(rest, self._crc32)
        try:
            while rest:
                room = self._part_size() - len(self._buffer)
                if room == 0:  # only now: a body of exactly one part is still one PUT
                    self._send_part()
                    continue
                self._buffer += rest[:room]
                rest = rest[room:]
        except StorageError:
            self.abort()
            raise

    def _part_size(self) -> int:
        return PART_SIZE << ((len(self._parts) + len(self._in_flight)) // _PARTS_BEFORE_GROWING)

    def _send_part(self) -> None:
        senders = self._senders or self._start_multipart()
        while len(self._in_flight) >= PARTS_IN_FLIGHT:
            self._parts.append(self._in_flight.popleft().result())
        number = len(self._parts) + len(self._in_flight) + 1
        if number > MAX_PARTS:
            raise StoreFull(f"writing {self._key!r}: S3 takes no more than {MAX_PARTS} parts")
        self._in_flight.append(senders.submit(self._upload_part, number, self._buffer))
        self._buffer = bytearray()

    def _start_multipart(self) -> ThreadPoolExecutor:
        self._refuse_if_taken()
        with translated(f"beginning {self._key!r}"):
            self._upload = self._client.create_multipart_upload(
                **self._place,
                **self._encryption,
                Metadata={_MARK: self._mark},
                ChecksumAlgorithm="CRC32",
                ChecksumType="FULL_OBJECT",
            )["UploadId"]
        self._senders = ThreadPoolExecutor(PARTS_IN_FLIGHT, thread_name_prefix="s3-part")
        return self._senders

    def _upload_part(self, number: int, body: bytearray) -> dict[str, Any]:
        with translated(f"writing part {number} of {self._key!r}"):
            sent = self._client.upload_part(
                **self._place, UploadId=self._upload, PartNumber=number, Body=body
            )
        return {"PartNumber": number, "ETag": sent["ETag"]}

    def commit(self) -> StoredObject:
        self._refuse_if_settled()
        try:
            if self._upload is not None:
                self._finish_parts()
            self._refuse_if_taken()
            stored = self._write_unless_taken()
        except ObjectNotFound as error:
            self.abort()
            raise StoreUnavailable(f"the upload of {self._key!r} was swept away") from error
        except StorageError:
            self.abort()
            raise
        self._settle()
        return stored

    def _finish_parts(self) -> None:
        self._send_part()
        while self._in_flight:
            self._parts.append(self._in_flight.popleft().result())

    def _write_unless_taken(self) -> StoredObject:
        try:
            with translated(f"committing {self._key!r}"):
                answer = self._put() if self._upload is None else self._complete()
        except (ObjectExists, ObjectNotFound):
            # Taken, or the upload is gone: perhaps through our own first try, whose answer we
            # never got.
            found = self._head()
            if found is None or found.get("Metadata", {}).get(_MARK) != self._mark:
                raise
            return self._described(found, size=found["ContentLength"], at=found["LastModified"])
        self._compare_checksum(answer)
        return self._confirmed(answer)

    def _confirmed(self, answer: Mapping[str, Any]) -> StoredObject:
        """What a server says it wrote is looked for: a 200 for something that is not there must
        not become an acknowledgement. If it comes to light later it is an orphan."""
        found = self._head(version_of(answer))
        if found is None or found.get("Metadata", {}).get(_MARK) != self._mark:
            raise StoreUnavailable(
                f"object {self._key!r}: the server said that it is written, but does not have it;"
                " whoever runs the S3 server must look"
            )
        return self._described(answer, size=found["ContentLength"], at=found["LastModified"])

    def _compare_checksum(self, answer: Mapping[str, Any]) -> None:
        """Where the server computes one over the whole, as SeaweedFS and Amazon do and Ceph (16)
        does not. Each request's body was compared by its signature already."""
        kept = answer.get("ChecksumCRC32")
        if kept is None or answer.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
            return
        sent = base64.b64encode(self._crc32.to_bytes(4, "big")).decode()
        if kept != sent:
            raise ObjectDiffers(f"object {self._key!r}: sent CRC-32 {sent}, kept {kept}")

    def _put(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.put_object(
            **self._place,
            **self._encryption,
            Body=self._buffer,
            IfNoneMatch="*",
            Metadata={_MARK: self._mark},
        )
        return answer

    def _complete(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.complete_multipart_upload(
            **self._place,
            UploadId=self._upload,
            MultipartUpload={"Parts": self._parts},
            IfNoneMatch="*",
        )
        return answer

    def _described(self, answer: Mapping[str, Any], *, size: int, at: datetime) -> StoredObject:
        if size != self._size:
            raise ObjectDiffers(f"object {self._key!r}: sent {self._size} bytes, kept {size}")
        return StoredObject(
            key=self._key, size=size, version=version_of(answer), modified_at=at.astimezone(UTC)
        )

    def _refuse_if_taken(self) -> None:
        if self._head() is not None:
            raise ObjectExists(f"object {self._key!r} is already there")

    def _head(self, version: str | None = None) -> dict[str, Any] | None:
        """Of that very version; of what is newest where the server named none."""
        asked = self._place if version is None else {**self._place, "VersionId": version}
        try:
            with translated(f"looking for {self._key!r}"):
                head: dict[str, Any] = self._client.head_object(**asked)
        except ObjectNotFound:
            return None
        return head

    def abort(self) -> None:
        if self._settled:
            return
        self._settle()  # waits for parts on their way: one that lands after the abort would stay
        if self._upload is not None:
            with contextlib.suppress(StorageError), translated(f"aborting {self._key!r}"):
                self._client.abort_multipart_upload(**self._place, UploadId=self._upload)

    def _settle(self) -> None:
        self._settled = True
        self._buffer = bytearray()
        self._in_flight.clear()
        if self._senders is not None:
            self._senders.shutdown(wait=True, cancel_futures=True)

    def _refuse_if_settled(self) -> None:
        if self._settled:
            raise RuntimeError(f"object {self._key!r} was already committed or aborted")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()


def version_of(answer: Mapping[str, Any]) -> str | None:
    """The version in an answer of S3's, which says "null" where a bucket keeps none."""
    version = answer.get("VersionId")
    return None if version in (None, "null") else str(version)
