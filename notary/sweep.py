"""Finds uploads that never became deposits and removes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from notary.register import Register
from storage.errors import ObjectLocked
from storage.objects import ObjectStore

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
    for key in orphans(register, objects, before):
        try:
            objects.discard(key)
        except ObjectLocked:
            continue  # the bucket itself retains what comes in: a later sweep removes it
        removed.append(key)
    return Swept(unfinished=unfinished, orphans=tuple(removed))


def orphans(register: Register, objects: ObjectStore, before: datetime) -> Iterator[str]:
    """The keys of originals, last touched before that, which no deposit names."""
    old = (found.key for found in objects.walk("originals/") if found.modified_at < before)
    for keys in _chunked(old):
        known = register.known_ids([key.rsplit("/", 1)[1] for key in keys])
        yield from (key for key in keys if key.rsplit("/", 1)[1] not in known)


def _chunked(keys: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(keys, CHUNK)):
        yield chunk
