"""Finds uploads that never became deposits and removes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from notary.register import Register
from storage.errors import ObjectLocked
from storage.objects import ObjectStore, StoredObject

CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How many unfinished uploads, and which keys without a deposit, were removed."""

    unfinished: int
    orphans: tuple[str, ...]


def sweep(register: Register, objects: ObjectStore, before: datetime) -> Swept:
    """Touches only what was not touched since `before`: an upload or registration that is still
    under way is younger. Bounded memory but for what it removes. Safe to run twice at once."""
    unfinished = objects.sweep_incoming(before)
    removed: list[str] = []
    for found in orphans(register, objects, before):
        try:
            objects.discard(found.key, version=found.version)
        except ObjectLocked:
            continue  # the bucket itself retains what comes in: a later sweep removes it
        removed.append(found.key)
    return Swept(unfinished=unfinished, orphans=tuple(removed))


def orphans(register: Register, objects: ObjectStore, before: datetime) -> Iterator[StoredObject]:
    """Originals, last touched before that, which no deposit names."""
    old = (found for found in objects.walk("originals/") if found.modified_at < before)
    for chunk in _chunked(old):
        known = register.known_ids([_name(found) for found in chunk])
        yield from (found for found in chunk if _name(found) not in known)


def _name(found: StoredObject) -> str:
    return found.key.rsplit("/", 1)[1]


def _chunked(found: Iterator[StoredObject]) -> Iterator[list[StoredObject]]:
    while chunk := list(islice(found, CHUNK)):
        yield chunk
