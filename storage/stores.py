"""From the setting that names a store to the store."""

from __future__ import annotations

import urllib.parse
from datetime import timedelta

from storage.errors import InvalidKey, InvalidStoreURL
from storage.local import LocalStore
from storage.objects import ObjectStore, parse_key
from storage.s3 import S3Store
from storage.s3_lock import Lock


def open_store(url: str) -> ObjectStore:
    """The store that `url` names; touches neither disk nor network (`check` does).

    - `file:///absolute/folder?days=N` where `days` may be left out
    - `s3://bucket/prefix?endpoint=http://host:port&region=R&lock=governance|compliance&days=N`,
      `sse=AES256` or `sse=aws:kms&kms_key=K`, and `links=https://host` for the endpoint as users
      reach it, where all but the bucket may be left out.
      Credentials come from the usual AWS environment, never from the URL.

    Raises InvalidStoreURL.
    """
    parts = urllib.parse.urlsplit(url)
    if "@" in parts.netloc:
        raise InvalidStoreURL("store URL with credentials in it: they belong in the environment")
    if parts.fragment:
        raise InvalidStoreURL(f"store URL {url!r} with a fragment")
    if parts.scheme == "file":
        return _local(url, parts)
    if parts.scheme == "s3":
        return _s3(url, parts)
    raise InvalidStoreURL(f"store URL {url!r} starts with neither file:// nor s3://")


def _local(url: str, parts: urllib.parse.SplitResult) -> LocalStore:
    path = urllib.parse.unquote(parts.path)
    options = _options(url, parts)
    if options.keys() - {"days"} or parts.netloc or not path.startswith("/") or "\0" in path:
        raise InvalidStoreURL(f"store URL {url!r} is not file:///absolute/folder?days=N")
    days = options.get("days")
    retained = None if days is None else timedelta(days=_days(url, days))
    return LocalStore(path, retention=retained)


def _options(url: str, parts: urllib.parse.SplitResult) -> dict[str, str]:
    try:
        found = urllib.parse.parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)
        )
        return dict(found)
    except ValueError as error:
        raise InvalidStoreURL(f"store URL {url!r}: {error}") from error


def _s3(url: str, parts: urllib.parse.SplitResult) -> S3Store:
    options = _options(url, parts)
    try:
        path = parts.path.removeprefix("/").removesuffix("/")
        prefix = parse_key(path) if parts.path not in ("", "/") else ""
    except InvalidKey as error:
        raise InvalidStoreURL(f"store URL {url!r}: {error}") from error
    unknown = sorted(
        options.keys() - {"endpoint", "region", "lock", "days", "sse", "kms_key", "links"}
    )
    if not parts.netloc or unknown:
        raise InvalidStoreURL(f"store URL {url!r}: no bucket, or unknown options {unknown}")
    return S3Store(
        bucket=parts.netloc,
        prefix=prefix,
        endpoint=options.get("endpoint"),
        region=options.get("region"),
        links=options.get("links"),
        lock=_lock(url, options.get("lock"), options.get("days")),
        encryption=_encryption(url, options.get("sse"), options.get("kms_key")),
    )


def _encryption(url: str, sse: str | None, kms_key: str | None) -> dict[str, str]:
    if sse not in (None, "AES256", "aws:kms"):
        raise InvalidStoreURL(f"store URL {url!r}: sse={sse} is not AES256 or aws:kms")
    if kms_key is not None and sse != "aws:kms":
        raise InvalidStoreURL(f"store URL {url!r}: kms_key needs sse=aws:kms")
    said = {} if sse is None else {"ServerSideEncryption": sse}
    return said if kms_key is None else {**said, "SSEKMSKeyId": kms_key}


def _lock(url: str, mode: str | None, days: str | None) -> Lock | None:
    if mode is None and days is None:
        return None
    if mode not in ("governance", "compliance"):
        raise InvalidStoreURL(f"store URL {url!r}: lock={mode} is not governance or compliance")
    return Lock(mode="GOVERNANCE" if mode == "governance" else "COMPLIANCE", days=_days(url, days))


def _days(url: str, days: str | None) -> int:
    if days is None or not (days.isascii() and days.isdigit()) or not 1 <= int(days) <= 36_500:
        raise InvalidStoreURL(f"store URL {url!r}: days={days} is not between 1 and 36500")
    return int(days)
