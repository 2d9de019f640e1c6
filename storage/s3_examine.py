"""Is this bucket fit to keep originals? Each thing is tried, and all that is wrong is told at once.

What is written for it lies under `check/` and is removed again. Under a lock one small object is
retained for two seconds, and must withstand its removal for as long. If we crash within, it
stays there; nothing else reads it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from storage import s3_lock
from storage.errors import ObjectLocked, ObjectNotFound, StorageError, StoreUnavailable
from storage.objects import whole_second
from storage.s3_client import translated
from storage.s3_lock import Lock

SKEW: Final = timedelta(seconds=60)
"""How far the server's clock may be from ours. S3 itself refuses requests beyond 15 minutes."""
_RETAINED: Final = timedelta(seconds=1)
_PATIENCE_S: Final = 10.0
_BODY: Final = b"is this bucket fit to keep originals?"


@dataclass(slots=True, kw_only=True)
class Examination:
    """`folder` is the prefix of all keys, "" or ending with `/`."""

    client: Any
    bucket: str
    folder: str
    lock: Lock | None
    encryption: Mapping[str, str]
    now: Callable[[], datetime]
    findings: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Raises StoreUnavailable that lists every finding."""
        try:
            with translated(f"looking for bucket {self.bucket!r}"):
                answer = self.client.head_bucket(Bucket=self.bucket)
        except ObjectNotFound as error:
            raise StoreUnavailable(
                f"bucket {self.bucket!r} is not there: its owner must bring it back, or run the"
                " first start if there never was one"
            ) from error
        apart = self._clock(answer)
        self._list()
        if self.lock is not None:
            self._versions()
        self._parts()
        self._object(apart)
        if self.findings:
            listed = "; ".join(f"({n}) {said}" for n, said in enumerate(self.findings, start=1))
            raise StoreUnavailable(f"bucket {self.bucket!r} can't keep originals: {listed}")

    @contextlib.contextmanager
    def _finding(self) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            if str(error) not in self.findings:
                self.findings.append(str(error))

    def _clock(self, answer: Mapping[str, Any]) -> timedelta:
        """How far the server's clock is ahead of ours."""
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if said is None:
            return timedelta(0)
        theirs, ours = parsedate_to_datetime(said).astimezone(UTC), self.now()
        if abs(theirs - ours) > SKEW:
            self.findings.append(
                f"the S3 server's clock says {theirs:%Y-%m-%dT%H:%M:%SZ}, this machine's"
                f" {ours:%Y-%m-%dT%H:%M:%SZ}: whoever runs the one that is wrong must set it by"
                " NTP, or locks end early or late"
            )
        return theirs - ours

    def _list(self) -> None:
        with self._finding(), translated("listing versions"):
            self.client.list_object_versions(
                Bucket=self.bucket, Prefix=self.folder + "check/", MaxKeys=1
            )
        with self._finding(), translated("listing unfinished uploads"):
            self.client.list_multipart_uploads(
                Bucket=self.bucket, Prefix=self.folder + "check/", MaxUploads=1
            )

    def _versions(self) -> None:
        with self._finding():
            if not s3_lock.has_lock(self.client, self.bucket):
                raise StoreUnavailable(
                    "it has no Object Lock: its owner must make one that has, since most servers"
                    " can't add it later"
                )
        with self._finding():
            with translated("asking for its versioning"):
                answer = self.client.get_bucket_versioning(Bucket=self.bucket)
            if (status := answer.get("Status", "off")) != "Enabled":
                raise StoreUnavailable(
                    f"its versioning is {status!r}: its owner must enable it, or locks protect"
                    " nothing"
                )

    def _place(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.folder}check/{os.urandom(8).hex()}"}

    def _parts(self) -> None:
        place = self._place()
        with self._finding():
            with translated("beginning an upload in parts"):
                begun = self.client.create_multipart_upload(**place, **self.encryption)
            upload = {**place, "UploadId": begun["UploadId"]}
            try:
                with translated("writing a part"):
                    self.client.upload_part(**upload, PartNumber=1, Body=_BODY)
            finally:
                with translated("aborting an upload in parts"):
                    self.client.abort_multipart_upload(**upload)

    def _object(self, apart: timedelta) -> None:
        place = self._place()
        with self._finding():
            with translated("writing an object"):
                put = self.client.put_object(**place, **self.encryption, Body=_BODY)
            if (version := put.get("VersionId")) not in (None, "null"):
                place["VersionId"] = version
            with self._finding():
                self._read(place)
            if self.lock is not None and not self.findings:
                with self._finding():
                    self._retained(place, apart, self.lock)
            with translated("removing an object that nothing retains"):
                self.client.delete_object(**place)

    def _read(self, place: Mapping[str, str]) -> None:
        with (
            translated("reading an object"),
            contextlib.closing(self.client.get_object(**place)["Body"]) as body,
        ):
            found = body.read()
        if found != _BODY:
            raise StoreUnavailable(
                f"an object of {len(_BODY)} bytes came back as {len(found)} others: whoever runs"
                " the server must look at it"
            )

    def _retained(self, place: Mapping[str, str], apart: timedelta, lock: Lock) -> None:
        until = whole_second(self.now() + apart + _RETAINED)
        s3_lock.retain(self.client, place, mode=lock.mode, until=until)
        there = s3_lock.protection(self.client, place)
        if there.until != until:
            raise StoreUnavailable(
                f"it was asked to retain until {until} and says {there.until}: this server does not"
                " keep locks as S3 does"
            )
        deadline = time.monotonic() + _PATIENCE_S
        removed_early = True
        while True:
            try:
                s3_lock.remove(self.client, place, at=self.now() + apart)
                break
            except (ObjectLocked, StoreUnavailable):
                removed_early = False
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        if removed_early:
            raise StoreUnavailable(
                "an object that is retained could be removed: this server does not keep locks, or"
                " the credentials may bypass them, which whoever manages access must take away"
            )
