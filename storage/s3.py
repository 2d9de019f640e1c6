"""Objects in an S3 bucket, which retains and holds them by Object Lock where it has one.

Overwriting is refused three times: a HEAD before the write, `If-None-Match: *` on it, and where
the bucket keeps versions the bytes first written stay reachable by theirs anyhow. The HEAD is there
because Ceph (16) answers 200 to a conditional write on a versioned bucket and adds a version. On
such a server two commits of one key at the very same moment can't be told apart; keys made from
fresh random ids never meet so.

If we crash before the PUT or CompleteMultipartUpload, nothing is under the key; the parts sent so
far wait for `sweep_incoming`. After it the object is there, durable, and an orphan. Only
`retain` and `hold` lock a version: what never became a deposit can be removed at once.
"""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from storage import s3_lock
from storage.errors import ObjectNotFound, StoreUnavailable
from storage.objects import (
    READ_SIZE,
    Protection,
    StoredObject,
    Unfinished,
    parse_key,
    parse_prefix,
    whole_second,
)
from storage.s3_client import RangeBeyondEnd, connect, translated
from storage.s3_examine import Examination
from storage.s3_incoming import S3Incoming, version_of
from storage.s3_lock import Lock


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
        encryption: Mapping[str, str] | None = None,
        links: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        page_size: int = 1000,
    ) -> None:
        """`prefix` is a folder in the bucket, "" for the whole of it. `endpoint` names a server
        other than Amazon's. `encryption` are S3's own parameters of a write. `links` is
        the endpoint as users reach it. `now` tells which locks are over."""
        self._bucket = bucket
        self._prefix = parse_key(prefix) + "/" if prefix else ""
        self._lock = lock
        self._encryption = encryption or {}
        self.retention = None if lock is None else timedelta(days=lock.days)
        self._now = now
        self._paging = {"PageSize": page_size}
        self._client = connect(endpoint, region)
        self._outside = self._client if links is None else connect(links, region)
        # Whoever waits for a lock has its deposit already: it is not to wait long.
        self._prompt = connect(endpoint, region, prompt=True)

    def begin(self, key: str) -> S3Incoming:
        place = self._place(parse_key(key))
        return S3Incoming(client=self._client, place=place, key=key, encryption=self._encryption)

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

    def link(self, key: str, *, version: str | None, name: str, lifetime: timedelta) -> str | None:
        quoted = urllib.parse.quote(name, safe="")
        asked = {
            **self._asking(key, version),
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quoted}",
            "ResponseContentType": "application/octet-stream",
        }
        with translated(f"making a link to {key!r}"):
            made: str = self._outside.generate_presigned_url(
                "get_object", Params=asked, ExpiresIn=int(lifetime.total_seconds())
            )
        return made

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

    def discard(self, key: str, *, version: str | None = None) -> None:
        try:
            kept = self.stat(key, version=version)
        except ObjectNotFound:
            return
        # The version itself goes: a delete marker would hide the bytes and keep them for ever.
        s3_lock.remove(self._client, self._asking(key, kept.version), at=self._now())

    def retain(self, key: str, *, version: str | None, until: datetime) -> None:
        until = whole_second(until)
        if until <= self._now():
            return  # S3 refuses a moment that has passed
        with self._reading(key):
            s3_lock.retain(
                self._prompt,
                self._asking(key, version),
                mode="GOVERNANCE" if self._lock is None else self._lock.mode,
                until=until,
            )

    def hold(self, key: str, *, version: str | None, on: bool) -> None:
        with self._reading(key):
            s3_lock.hold(self._client, self._asking(key, version), on=on)

    def protection(self, key: str, *, version: str | None) -> Protection:
        with self._reading(key):
            return s3_lock.protection(self._client, self._asking(key, version))

    def walk(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        full, marker = self._prefix + parse_prefix(prefix), self._prefix + after
        asked = {"Prefix": full}
        if marker.startswith(full) and after:
            asked["KeyMarker"] = marker  # SeaweedFS (4) lists nothing behind one without the prefix
        elif marker > full:
            return
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

    def examine(self) -> None:
        Examination(
            client=self._client,
            bucket=self._bucket,
            folder=self._prefix,
            lock=self._lock,
            encryption=self._encryption,
            now=self._now,
        ).run()

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
        if not s3_lock.has_lock(self._client, self._bucket):
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
