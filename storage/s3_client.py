"""The only user of boto3: how a client is made, and what its exceptions mean here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    NoCredentialsError,
    PartialCredentialsError,
)

from storage.errors import (
    InvalidStoreURL,
    ObjectDiffers,
    ObjectExists,
    ObjectNotFound,
    StorageError,
    StoreFull,
    StoreUnavailable,
)

_CONNECTIONS: Final = 64  # more threads than this wait for one another
_CONNECT_TIMEOUT_S: Final = 5
_READ_TIMEOUT_S: Final = 60
_PROMPT_TIMEOUT_S: Final = 5
_ATTEMPTS: Final = 4

_ABSENT: Final = frozenset(
    {
        "404",
        "NoSuchKey",
        "NoSuchVersion",
        "NoSuchUpload",
        "NotFound",
    }
)
_ALTERED: Final = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"})
_TAKEN: Final = frozenset({"412", "PreconditionFailed", "ConditionalRequestConflict"})
_UNLOCKED: Final = frozenset(
    {
        "NoSuchObjectLegalHold",  # SeaweedFS
        "NoSuchObjectLockConfiguration",
        "ObjectLockConfigurationNotFoundError",
    }
)
_SENSELESS: Final = frozenset({"400", "InvalidRequest"})
_BEYOND: Final = frozenset({"416", "InvalidRange"})
_REFUSED: Final = frozenset(
    {
        "401",
        "403",
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
_FULL: Final = frozenset({"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"})


class RangeBeyondEnd(StorageError):
    """The range asked for starts at the object's end or after it."""


class NothingLocked(StorageError):
    """The bucket has no Object Lock, or the version no retention or hold."""


class Senseless(StoreUnavailable):
    """The server sees no sense in the request, such as one about locks where there are none."""


class Refused(StoreUnavailable):
    """The server knows us, or not, and does not let us do this."""


def connect(endpoint: str | None, region: str | None, *, prompt: bool = False) -> Any:
    """An S3 client with credentials from the usual AWS environment; makes no connection yet.

    The SHA-256 of every body is part of the request's signature, so that a server checks what
    arrived even over plain http and even if it ignores checksum headers (Ceph 16 does). A
    `prompt` one gives up after seconds and tries nothing twice.
    """
    config = Config(
        max_pool_connections=_CONNECTIONS,
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_PROMPT_TIMEOUT_S if prompt else _READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": 1 if prompt else _ATTEMPTS},
        tcp_keepalive=True,
        signature_version="s3v4",  # or links would be signed in the way of before 2014
        s3={
            "addressing_style": "path" if endpoint else "auto",
            "payload_signing_enabled": True,
        },
    )
    session = boto3.session.Session()
    named = region or session.region_name or ("us-east-1" if endpoint else None)
    try:
        with translated("opening the S3 client"):
            return session.client("s3", endpoint_url=endpoint, region_name=named, config=config)
    except ValueError as error:
        raise InvalidStoreURL(f"S3 endpoint {endpoint!r}: {error}") from error


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns what boto3 raises into ours; `doing` says in the message what was tried.

    Raises ObjectNotFound, ObjectExists, ObjectDiffers, StoreFull, StoreUnavailable, or
    RangeBeyondEnd or NothingLocked, which the caller must not let out.
    """
    try:
        yield
    except ClientError as error:
        raise _meaning(error, doing) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StoreUnavailable(
            f"{doing}: {error}; whoever runs this service must set AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, or another of the usual AWS sources"
        ) from error
    except FlexibleChecksumError as error:
        raise ObjectDiffers(f"{doing}: {error}") from error
    except BotoCoreError as error:
        raise StoreUnavailable(f"{doing}: {error}") from error


def _meaning(error: ClientError, doing: str) -> StorageError:
    answer = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    said = f"{doing}: {code} {answer.get('Error', {}).get('Message', '')}".rstrip()
    if code in _ABSENT:
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        hidden = headers.get("x-amz-delete-marker") == "true"
        return ObjectNotFound(f"{said}, hidden by a delete marker" if hidden else said)
    if code in _TAKEN:
        return ObjectExists(said)
    if code in _ALTERED:
        return ObjectDiffers(f"{said}: it changed on its way")
    if code in _BEYOND:
        return RangeBeyondEnd(said)
    if code in _UNLOCKED:
        return NothingLocked(said)
    if code in _SENSELESS:
        return Senseless(said)
    if code in _FULL:
        return StoreFull(f"{said}: whoever runs the S3 server must make room")
    if code == "NoSuchBucket":
        return StoreUnavailable(f"{said}: its owner must bring it back")
    if code in _REFUSED:
        return Refused(
            f"{said}: the credentials are wrong, too old, or may not do this; whoever manages"
            " access to the bucket must mend it"
        )
    return StoreUnavailable(said)
