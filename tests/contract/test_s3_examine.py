"""A bucket that is not fit is told at the start: what is wrong, all of it, and who must act.

Each is made so on a real server: rights are taken from the service's own credentials by the
bucket's policy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from notary.errors import Unreachable
from notary.office import Office, found
from notary.settings import Settings
from storage.errors import StoreUnavailable
from storage.local import LocalStore
from storage.s3 import S3Store
from storage.s3_lock import Lock
from tests.contract.stores import PLAIN_BUCKET, s3, s3_url
from tests.harness.weed import S3Server

pytestmark = pytest.mark.slow

__all__ = ["s3"]  # fixture

BUCKET = "examined"
LOCK = Lock(mode="GOVERNANCE", days=1)


def examined(server: S3Server) -> S3Store:
    store = S3Store(bucket=BUCKET, prefix="house", endpoint=server.endpoint, lock=LOCK)
    store.prepare()
    return store


@contextmanager
def denied(server: S3Server, *actions: str) -> Iterator[None]:
    client = server.client()
    names = [f"s3:{action}" for action in actions]
    places = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    statement = {"Effect": "Deny", "Principal": "*", "Action": names, "Resource": places}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client.put_bucket_policy(Bucket=BUCKET, Policy=policy)
    try:
        yield
    finally:
        client.delete_bucket_policy(Bucket=BUCKET)


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE", None])
def test_bucket_that_is_fit_passes_and_nothing_stays_in_it(s3: S3Server, mode: str | None) -> None:
    lock = None if mode is None else Lock(mode=mode, days=1)  # type: ignore[arg-type]
    bucket = BUCKET if lock else PLAIN_BUCKET
    store = S3Store(bucket=bucket, prefix=f"fit/{mode}".lower(), endpoint=s3.endpoint, lock=lock)
    store.prepare()
    store.examine()
    listed = s3.client().list_object_versions(Bucket=bucket, Prefix=f"fit/{mode}".lower())
    assert listed.get("Versions", []) == []
    assert listed.get("DeleteMarkers", []) == []


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (["PutObject"], ["beginning an upload in parts", "writing an object"]),
        (["GetObject", "GetObjectVersion"], ["reading an object"]),
        (["ListBucket", "ListBucketVersions"], ["looking for bucket"]),
        (["PutObjectRetention"], ["retaining"]),
        (["DeleteObject", "DeleteObjectVersion"], ["removing an object"]),
    ],
)
def test_right_that_is_missing_is_named(s3: S3Server, actions: list[str], words: list[str]) -> None:
    store = examined(s3)
    with denied(s3, *actions), pytest.raises(StoreUnavailable) as refused:
        store.examine()
    for word in words:
        assert word in str(refused.value)
    assert "whoever manages access to the bucket must mend it" in str(refused.value)


def test_all_that_is_wrong_is_in_one_message(s3: S3Server) -> None:
    store = S3Store(
        bucket=PLAIN_BUCKET,
        prefix="wrong",
        endpoint=s3.endpoint,
        lock=LOCK,
        now=lambda: datetime.now(UTC) + timedelta(minutes=3),
    )
    with pytest.raises(StoreUnavailable) as refused:
        store.examine()
    said = str(refused.value)
    assert "(1) the S3 server's clock" in said
    assert "must set it by NTP" in said
    assert "(2) it has no Object Lock: its owner must" in said
    assert "(3) its versioning is 'off': its owner must enable it" in said


def test_clock_that_is_a_few_seconds_off_is_fine(s3: S3Server) -> None:
    for seconds in (-20, 20):
        store = S3Store(
            bucket=BUCKET,
            prefix="skewed",
            endpoint=s3.endpoint,
            lock=LOCK,
            now=lambda seconds=seconds: datetime.now(UTC) + timedelta(seconds=seconds),  # type: ignore[misc]
        )
        store.prepare()
        store.examine()


def test_bucket_that_is_not_there_is_told(s3: S3Server) -> None:
    with pytest.raises(StoreUnavailable, match="owner must bring it back"):
        S3Store(bucket="nobody-made-this-one", endpoint=s3.endpoint).examine()


def test_wrong_credentials_are_told(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreUnavailable, match="credentials are wrong"):
        S3Store(bucket=BUCKET, endpoint=s3.endpoint).examine()


def test_house_is_not_made_on_a_bucket_that_is_not_fit(s3: S3Server, tmp_path: Path) -> None:
    url = s3_url(s3, bucket=PLAIN_BUCKET, lock="compliance", days="1")
    with pytest.raises(StoreUnavailable, match="no Object Lock"):
        found(Settings(home=tmp_path, objects=url))
    assert not (tmp_path / "keys").exists()


def test_house_does_not_open_its_doors_when_its_bucket_is_fit_no_longer(
    s3: S3Server, tmp_path: Path
) -> None:
    examined(s3)
    url = s3_url(s3, bucket=BUCKET, lock="governance", days="1")
    settings = Settings(home=tmp_path, objects=url)
    found(settings)
    office = Office(settings)
    office.examine()
    with denied(s3, "PutObjectRetention"), pytest.raises(Unreachable, match="retaining"):
        office.examine()
    office.close()


def test_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="must mount it"):
        LocalStore(tmp_path / "gone").examine()
