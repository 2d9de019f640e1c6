"""Objects in an S3 bucket, under Object Lock where one is configured.

Overwriting is refused three times: a HEAD before the write, `If-None-Match: *` on it, and under
Object Lock the bytes first written stay reachable by their version anyhow. The HEAD is there
because Ceph (16) answers 200 to a conditional write on a versioned bucket and adds a version. On
such a server two commits of one key at the very same moment can't be told apart; keys made from
fresh random ids never meet so.

If we crash before the PUT or CompleteMultipartUpload, nothing is under the key; the parts sent so
far wait for `sweep_incoming`. After it the object is there, durable and locked, and an orphan.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from storage.errors import ObjectNotFound, StoreUnavailable
from storage.objects import READ_SIZE, StoredObject, Unfinished, parse_key, parse_prefix
from storage.s3_client import RangeBeyondEnd, connect, translated
from storage.s3_incoming import S3Incoming, version_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Object Lock put on every object: nobody (COMPLIANCE), or nobody without a special right
    (GOVERNANCE), deletes its bytes before `days` days have gone by."""

    mode: Literal["GOVERNANCE", "COMPLIANCE"]
    days: int


class S3Store:
    """See `storage.objects.ObjectStore`."""

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "",
        endpoint: str | None = None,
        region: str | None = None,
        lock: Lock | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        page_size: int = 1000,
    ) -> None:
        """`prefix` is a folder in the bucket, "" for the whole of it. `endpoint` names a server
        other than Amazon's. `now` only dates the locks."""
        self._bucket = bucket
        self._prefix = parse_key(prefix) + "/" if prefix else ""
        self._lock = lock
        self._now = now
        self._paging = {"PageSize": page_size}
        self._client = connect(endpoint, region)

    def begin(self, key: str) -> S3Incoming:
        place = self._place(parse_key(key))
        return S3Incoming(client=self._client, place=place, key=key, lock=self._locking)

    def _locking(self) -> dict[str, Any]:
        if self._lock is None:
            return {}
        until = self._now() + timedelta(days=self._lock.days)
        return {"ObjectLockMode": self._lock.mode, "ObjectLockRetainUntilDate": until}

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, version: str | None = None
    ) -> Generator[bytes, None, None]:
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"range {offset}+{length} of {key!r} is negative")
        chunks = self._chunks(self._asking(key, version), key, offset, length)
        next(chunks)  # asks for the object: now it is known to be there, and close() hangs up
        return chunks

    def _chunks(
        self, asked: dict[str, str], key: str, offset: int, length: int | None
    ) -> Generator[bytes, None, None]:
        if offset or length is not None:
            # S3 has no empty range: ask for one byte, so that a missing object is still noticed.
            end = "" if length is None else str(offset + max(length, 1) - 1)
            asked["Range"] = f"bytes={offset}-{end}"
        try:
            with self._reading(key):
                body = self._client.get_object(**asked)["Body"]
        except RangeBeyondEnd:
            yield b""
            return
        with contextlib.closing(body), translated(f"reading {key!r}"):
            yield b""
            while length != 0 and (chunk := body.read(READ_SIZE)):
                yield chunk

    def stat(self, key: str, *, version: str | None = None) -> StoredObject:
        asked = self._asking(key, version)
        with self._reading(key):
            head = self._client.head_object(**asked)
        return StoredObject(
            key=key,
            size=head["ContentLength"],
            version=version_of(head),
            modified_at=head["LastModified"].astimezone(UTC),
        )

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            with translated(f"reading {key!r}"):
                yield
        except ObjectNotFound:
            self._require_bucket()  # S3 may say 404 for that, too: not to be read as a lost object
            raise

    def _require_bucket(self) -> None:
        try:
            with translated(f"looking for bucket {self._bucket!r}"):
                self._client.head_bucket(Bucket=self._bucket)
        except ObjectNotFound as error:
            raise StoreUnavailable(
                f"bucket {self._bucket!r} is not there: its owner must bring it back, or run the"
                " first start if there never was one"
            ) from error

    def discard(self, key: str) -> None:
        try:
            kept = self.stat(key)
        except ObjectNotFound:
            return
        # Under a lock the version can't go yet: a delete marker takes the key away from it, and
        # the bucket's own lifecycle rule the bytes, once the lock has ended.
        asked = self._asking(key, kept.version if self._lock is None else None)
        with translated(f"discarding {key!r}"):
            self._client.delete_object(**asked)

    def walk(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        asked = {"Prefix": self._prefix + parse_prefix(prefix)}
        if after:
            asked["KeyMarker"] = self._prefix + after
        for page in self._pages("list_object_versions", **asked):
            for found in page.get("Versions", ()):
                # Some servers show the marked key itself again, with its older versions.
                if found["IsLatest"] and found["Key"] > asked.get("KeyMarker", ""):
                    yield StoredObject(
                        key=found["Key"].removeprefix(self._prefix),
                        size=found["Size"],
                        version=version_of(found),
                        modified_at=found["LastModified"].astimezone(UTC),
                    )

    def incoming(self, before: datetime) -> Iterator[Unfinished]:
        for key, upload, begun in self._uploads(before):
            yield Unfinished(name=f"{key}?uploadId={upload}", touched_at=begun)

    def sweep_incoming(self, before: datetime) -> int:
        swept = 0
        for key, upload, _ in self._uploads(before):
            try:
                with translated(f"aborting the upload of {key!r}"):
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=key, UploadId=upload
                    )
            except ObjectNotFound:
                continue  # its writer, or another sweep, was faster
            swept += 1
        return swept

    def _uploads(self, before: datetime) -> Iterator[tuple[str, str, datetime]]:
        """S3 tells when an upload was begun, not when its last part came."""
        for page in self._pages("list_multipart_uploads", Prefix=self._prefix):
            for upload in page.get("Uploads", ()):
                if upload["Initiated"] < before:
                    yield upload["Key"], upload["UploadId"], upload["Initiated"].astimezone(UTC)

    def _pages(self, operation: str, **asked: str) -> Iterator[dict[str, Any]]:
        with translated(f"listing bucket {self._bucket!r}"):
            yield from self._client.get_paginator(operation).paginate(
                Bucket=self._bucket, PaginationConfig=self._paging, **asked
            )

    def prepare(self) -> None:
        asked: dict[str, Any] = {"Bucket": self._bucket}
        if self._lock is not None:
            asked["ObjectLockEnabledForBucket"] = True  # which switches versioning on as well
        region = self._client.meta.region_name
        if region not in (None, "us-east-1", "aws-global"):
            asked["CreateBucketConfiguration"] = {"LocationConstraint": region}
        try:
            with translated(f"looking for bucket {self._bucket!r}"):
                self._client.head_bucket(Bucket=self._bucket)
        except ObjectNotFound:
            with translated(f"making bucket {self._bucket!r}"):
                self._client.create_bucket(**asked)

    def check(self) -> None:
        self._require_bucket()
        if self._lock is not None:
            self._check_lock()
        # An upload that is begun and aborted proves the right to write and leaves nothing, not
        # even under a lock.
        place = self._place("check/" + os.urandom(8).hex())
        with translated(f"trying to write to bucket {self._bucket!r}"):
            begun = self._client.create_multipart_upload(**place)
            self._client.abort_multipart_upload(**place, UploadId=begun["UploadId"])

    def _check_lock(self) -> None:
        try:
            with translated(f"asking bucket {self._bucket!r} for its lock"):
                answer = self._client.get_object_lock_configuration(Bucket=self._bucket)
            enabled = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled")
        except ObjectNotFound:
            enabled = None
        if enabled != "Enabled":
            raise StoreUnavailable(
                f"bucket {self._bucket!r} has no Object Lock: its owner must make one that has"
            )
        with translated(f"asking bucket {self._bucket!r} for its versioning"):
            status = self._client.get_bucket_versioning(Bucket=self._bucket).get("Status", "off")
        if status != "Enabled":
            raise StoreUnavailable(
                f"bucket {self._bucket!r} has versioning {status!r}: its owner must enable it,"
                " or locks protect nothing"
            )

    def _asking(self, key: str, version: str | None) -> dict[str, str]:
        place = self._place(parse_key(key))
        return place if version is None else place | {"VersionId": version}

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}
