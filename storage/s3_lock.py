"""Object Lock on one version: retention, legal hold, and what is in force.

S3 answers AccessDenied both to whoever may not do a thing and to whoever would break a lock; what
is in force tells which it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from storage.errors import ObjectLocked, ObjectNotFound, StorageError, StoreUnavailable
from storage.objects import Protection
from storage.s3_client import NothingLocked, Refused, Senseless, translated


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """How originals are retained: nobody (COMPLIANCE), or nobody without a special right
    (GOVERNANCE), deletes their bytes before `days` days have gone by."""

    mode: Literal["GOVERNANCE", "COMPLIANCE"]
    days: int


def retain(client: Any, place: Mapping[str, str], *, mode: str, until: datetime) -> None:
    """Raises ObjectNotFound, ObjectLocked, StoreUnavailable."""
    try:
        with translated(f"retaining {place['Key']!r}"):
            client.put_object_retention(**place, Retention={"Mode": mode, "RetainUntilDate": until})
    except (NothingLocked, StoreUnavailable) as error:
        there = protection(client, place).until
        if there is None or there < until:
            _explain(client, place, error)
            raise
        if there > until:
            raise ObjectLocked(
                f"object {place['Key']!r} is retained until {there}, which is later than {until}"
            ) from error


def hold(client: Any, place: Mapping[str, str], *, on: bool) -> None:
    """Raises ObjectNotFound, StoreUnavailable."""
    try:
        with translated(f"{'holding' if on else 'releasing'} {place['Key']!r}"):
            client.put_object_legal_hold(**place, LegalHold={"Status": "ON" if on else "OFF"})
    except (NothingLocked, StoreUnavailable) as error:
        _explain(client, place, error)
        raise


def protection(client: Any, place: Mapping[str, str]) -> Protection:
    """Asked for by name, not read from a HEAD: there a missing right looks like a missing lock.
    Raises ObjectNotFound, StoreUnavailable."""
    try:
        return Protection(until=_retained_until(client, place), held=_held(client, place))
    except Senseless:
        _require_there(client, place)
        if has_lock(client, place["Bucket"]):
            raise
        return Protection(until=None, held=False)


def has_lock(client: Any, bucket: str) -> bool:
    try:
        with translated(f"asking bucket {bucket!r} for its lock"):
            answer = client.get_object_lock_configuration(Bucket=bucket)
    except (NothingLocked, ObjectNotFound):
        return False
    return bool(answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")


def _retained_until(client: Any, place: Mapping[str, str]) -> datetime | None:
    try:
        with translated(f"asking for the retention of {place['Key']!r}"):
            answer = client.get_object_retention(**place).get("Retention", {})
    except NothingLocked:
        return None
    until: datetime | None = answer.get("RetainUntilDate")
    return None if until is None else until.astimezone(UTC)


def _held(client: Any, place: Mapping[str, str]) -> bool:
    try:
        with translated(f"asking for a hold on {place['Key']!r}"):
            answer = client.get_object_legal_hold(**place)
    except NothingLocked:
        return False
    return bool(answer.get("LegalHold", {}).get("Status") == "ON")


def _explain(client: Any, place: Mapping[str, str], error: StorageError) -> None:
    """Servers answer all sorts to a lock on what is not there, or where no lock can be."""
    _require_there(client, place)
    if not has_lock(client, place["Bucket"]):
        raise StoreUnavailable(
            f"bucket {place['Bucket']!r} has no Object Lock: its owner must make one that has"
        ) from error


def _require_there(client: Any, place: Mapping[str, str]) -> None:
    with translated(f"looking for {place['Key']!r}"):
        client.head_object(**place)


def remove(client: Any, place: Mapping[str, str], *, at: datetime) -> None:
    """Raises ObjectLocked where what is in force forbids it, StoreUnavailable."""
    try:
        with translated(f"discarding {place['Key']!r}"):
            client.delete_object(**place)
    except Refused as error:
        there = protection(client, place)
        if there.forbids_removal(at):
            raise ObjectLocked(locked_words(place["Key"], there)) from error
        raise


def locked_words(key: str, there: Protection) -> str:
    if there.held:
        return f"object {key!r} is held: whoever put the hold on it must take it off"
    return f"object {key!r} is retained until {there.until}"
