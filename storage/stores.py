"""From the setting that names a store to the store."""

from __future__ import annotations

import urllib.parse

from storage.errors import InvalidKey, InvalidStoreURL
from storage.local import LocalStore
from storage.objects import ObjectStore, parse_key
from storage.s3 import S3Store
from storage.s3_lock import Lock


def open_store(url: str, *, locked: bool = True) -> ObjectStore:
    """The store that `url` names; touches neither disk nor network (`check` does).

    - `file:///absolute/folder`
    - `s3://bucket/prefix?endpoint=http://host:port&region=R&lock=governance|compliance&days=N`
      where all but the bucket may be left out. Credentials come from the usual AWS environment,
      never from the URL.

    With `locked=False` no lock is put on what is written, whatever the URL says: for what must be
    removable. A lock that the bucket itself puts on everything stays the bucket's.
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
        return _s3(url, parts, locked=locked)
    raise InvalidStoreURL(f"store URL {url!r} starts with neither file:// nor s3://")


def _local(url: str, parts: urllib.parse.SplitResult) -> LocalStore:
    path = urllib.parse.unquote(parts.path)
    if parts.netloc or parts.query or not path.startswith("/") or "\0" in path:
        raise InvalidStoreURL(f"store URL {url!r} is not file:///absolute/folder")
    return LocalStore(path)


def _s3(url: str, parts: urllib.parse.SplitResult, *, locked: bool) -> S3Store:
    try:
        options = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        path = parts.path.removeprefix("/").removesuffix("/")
        prefix = parse_key(path) if parts.path not in ("", "/") else ""
    except (ValueError, InvalidKey) as error:
        raise InvalidStoreURL(f"store URL {url!r}: {error}") from error
    unknown = sorted(options.keys() - {"endpoint", "region", "lock", "days"})
    if not parts.netloc or unknown:
        raise InvalidStoreURL(f"store URL {url!r}: no bucket, or unknown options {unknown}")
    lock = _lock(url, options.get("lock"), options.get("days"))
    return S3Store(
        bucket=parts.netloc,
        prefix=prefix,
        endpoint=options.get("endpoint"),
        region=options.get("region"),
        lock=lock if locked else None,
    )


def _lock(url: str, mode: str | None, days: str | None) -> Lock | None:
    if mode is None and days is None:
        return None
    if mode not in ("governance", "compliance"):
        raise InvalidStoreURL(f"store URL {url!r}: lock={mode} is not governance or compliance")
    if days is None or not (days.isascii() and days.isdigit()) or not 1 <= int(days) <= 36_500:
        raise InvalidStoreURL(f"store URL {url!r}: days={days} is not between 1 and 36500")
    return Lock(mode="GOVERNANCE" if mode == "governance" else "COMPLIANCE", days=int(days))
