"""The contract of an object store, in the words of a database: what every store here promises.

*Atomic*: an object is there whole or not at all; no reader ever sees half of one.
*Durable*: when `Incoming.commit` returns, the bytes survive a power cut.
*Immutable*: a key is written once. A second commit is refused with ObjectExists, also when
both run at the same moment in different processes: exactly one wins.
*Isolated*: what is being written is under no key until it is committed, and no `walk` shows it.

A store is used from many threads at once; one Incoming belongs to one thread. Open a store
after a process has forked, not before.

Keys are `[a-z0-9._-]` in segments separated by `/`, like `originals/3f/0192e4a1-…`. A key is
never also a folder of other keys.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Protocol, Self

from storage.errors import InvalidKey

MAX_KEY_LENGTH: Final = 512
MAX_SEGMENT_LENGTH: Final = 200
READ_SIZE: Final = 1 << 20

_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[a-z0-9._-]+"
_KEY: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*", re.ASCII)
_PREFIX: Final = re.compile(rf"(?:{_SEGMENT}/)*(?:{_SEGMENT})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One kept object. `size` in bytes; `version` is the store's own name for these very bytes,
    None where it has no versions; `modified_at` is the store's clock, not ours."""

    key: str
    size: int
    version: str | None
    modified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """Something begun and neither committed nor aborted. `name` is the store's own name for it,
    not a key; nobody has written to it since `touched_at`, as far as the store can tell."""

    name: str
    touched_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What keeps an object from being removed: retention until `until` (None: there never was
    any; it may be over), and a hold, which has no end of its own."""

    until: datetime | None
    held: bool

    def forbids_removal(self, at: datetime) -> bool:
        return self.held or (self.until is not None and self.until > at)


class Incoming(Protocol):
    """An object on its way in. As a context manager it is aborted unless it was committed.

    If we crash before the commit, nothing is under the key; what was begun is left for
    `ObjectStore.sweep_incoming`.
    """

    def write(self, chunk: bytes | memoryview) -> None:
        """Appends. `chunk` may be reused by the caller afterwards.

        Raises StoreFull or StoreUnavailable, after which the object is already aborted.
        """

    def commit(self) -> StoredObject:
        """Gives the object its key. When this returns it is durable and immutable.

        Raises ObjectExists, StoreFull or StoreUnavailable, after which the object is aborted. If
        the process or the store dies within, the object may be there or not: whoever has no
        answer must begin again under a new key, and what is under the old one is an orphan.
        """

    def abort(self) -> None:
        """Leaves nothing. May be called twice, and after a commit does nothing. Does not raise:
        what can't be removed now is found by `sweep_incoming` later."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class ObjectStore(Protocol):
    """Every method raises InvalidKey for a key of the wrong form, and StoreUnavailable."""

    @property
    def retention(self) -> timedelta | None:
        """For how long the setting says that originals are retained; None: it does not. The
        store itself retains nothing that `retain` was not called for."""

    def begin(self, key: str) -> Incoming:
        """Starts a new object. That the key is free is decided by `commit`, not here."""

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, version: str | None = None
    ) -> Generator[bytes, None, None]:
        """The object's bytes from `offset`, at most `length` of them, in chunks of at most 1 MiB.

        Whether the object is there is known when this returns, not only when the first chunk is
        taken. `close()` it when not reading to the end. Bytes beyond the end are not an error:
        there are just none. `version` reads those very bytes, even if something newer or a
        deletion was put on top of them; a store without versions pays it no heed.
        Raises ObjectNotFound, and ObjectDiffers (while reading) if the object ends too early.
        """

    def link(self, key: str, *, version: str | None, name: str, lifetime: timedelta) -> str | None:
        """A URL from which anybody who has it gets the bytes until `lifetime` is over, as an
        attachment `name` of type application/octet-stream. Asks nobody whether they are there.
        None where the store has no door of its own."""

    def stat(self, key: str, *, version: str | None = None) -> StoredObject:
        """Raises ObjectNotFound."""

    def discard(self, key: str, *, version: str | None = None) -> None:
        """Removes an object: one that never became a deposit, or one that was disposed of. A
        missing one is fine. `version` removes these very bytes, None what is newest.

        That no record needs it any more the house decides, not the store.
        Raises ObjectLocked while it is retained or held.
        """

    def retain(self, key: str, *, version: str | None, until: datetime) -> None:
        """Nobody who has the service's credentials removes the object before `until`, which is
        rounded up to a whole second. It is only ever extended: the same moment again is fine,
        and one that has passed protects nothing and is passed over. When this returns it is
        durable; if we crash within, it is there or not, and may be asked for again.

        `version` names the bytes, None what is newest. Raises ObjectNotFound, and ObjectLocked if
        what is there lasts longer: then that stays.
        """

    def hold(self, key: str, *, version: str | None, on: bool) -> None:
        """Puts a hold on the object or takes it off: until then it can't be removed, retained or
        not. Durable and repeatable as `retain`. Raises ObjectNotFound."""

    def protection(self, key: str, *, version: str | None) -> Protection:
        """What was set by `retain`, `hold`, or by the place itself. Raises ObjectNotFound."""

    def walk(self, prefix: str = "") -> Iterator[StoredObject]:
        """Every object whose key starts with `prefix`, in no promised order and in bounded
        memory. Objects put or discarded meanwhile may be shown or not."""

    def incoming(self, before: datetime) -> Iterator[Unfinished]:
        """What was begun and not touched since `before`."""

    def sweep_incoming(self, before: datetime) -> int:
        """Removes what `incoming(before)` lists and gives how many. An upload that is still
        running but had no bytes since `before` is aborted with them: choose hours, not minutes."""

    def prepare(self) -> None:
        """Makes the place itself (the folder, the bucket with its lock) if it is not there. For
        the first start only: afterwards a missing place means lost evidence."""

    def examine(self) -> None:
        """`check` for a start, which may take seconds: each right and promise that is needed is
        tried. Raises StoreUnavailable with all that is wrong in one message. Leaves nothing."""

    def check(self) -> None:
        """Raises StoreUnavailable if a commit could not succeed or could not be kept as promised,
        with words on what is wrong and who must act. Leaves nothing behind."""


def whole_second(moment: datetime) -> datetime:
    """Rounded up, so that no retention ends early where a store keeps no fractions."""
    return moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=moment.microsecond > 0)


def parse_key(key: str) -> str:
    """The key itself. Raises InvalidKey: nothing that could climb out of the store, hide in it,
    or mean two different things on two file systems is a key."""
    if len(key) > MAX_KEY_LENGTH or _KEY.fullmatch(key) is None:
        raise InvalidKey(f"key {key[:MAX_KEY_LENGTH]!r} is not [a-z0-9._-] segments joined by '/'")
    if max(map(len, key.split("/"))) > MAX_SEGMENT_LENGTH:
        raise InvalidKey(f"key {key!r} has a segment longer than {MAX_SEGMENT_LENGTH} characters")
    return key


def parse_prefix(prefix: str) -> str:
    """The beginning of a key, possibly empty, possibly ending with `/`. Raises InvalidKey."""
    if len(prefix) > MAX_KEY_LENGTH or _PREFIX.fullmatch(prefix) is None:
        raise InvalidKey(f"prefix {prefix[:MAX_KEY_LENGTH]!r} is not the beginning of a key")
    return prefix
