"""Originals in storage: the one place that writes and reads them, encrypted or not.

Whether one is encrypted is told by its deposit's wrapped data key. Whoever reads an original
names what its record says of it; everything else follows from there.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

from notary.envelope import CHUNK, Encryptor, decrypt, sealed_range, sealed_size
from notary.errors import Corrupt, KeyMissing
from notary.wrapping import Wrapping
from storage.objects import Incoming, ObjectStore, StoredObject


def object_key(deposit_id: str) -> str:
    """Where an original is kept: 256 folders, chosen by the random end of the id."""
    return f"originals/{deposit_id[-2:]}/{deposit_id}"


class Arriving:
    """An original on its way in. `data_key` is its wrapped key, None where it is not encrypted."""

    __slots__ = ("_encryptor", "_incoming", "data_key")

    def __init__(self, incoming: Incoming, encryptor: Encryptor | None, data_key: bytes | None):
        self._incoming = incoming
        self._encryptor = encryptor
        self.data_key = data_key

    def write(self, chunk: bytes | memoryview) -> None:
        if self._encryptor is None:
            self._incoming.write(chunk)
        elif sealed := self._encryptor.update(chunk):
            self._incoming.write(sealed)

    def commit(self) -> StoredObject:
        """As `Incoming.commit`: durable, and under its key, when it returns."""
        if self._encryptor is not None:
            self._incoming.write(self._encryptor.finish())
        return self._incoming.commit()

    def abort(self) -> None:
        self._incoming.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Originals:
    """The store, and the keys that open what is encrypted in it. Without keys nothing encrypted
    is written or read."""

    objects: ObjectStore
    wrapping: Wrapping | None = None

    def begin(self, deposit_id: str) -> Arriving:
        """Raises what the store raises, and KeyMissing."""
        encryptor, wrapped = None, None
        if self.wrapping is not None and self.wrapping.on:
            key, wrapped = self.wrapping.new_data_key(deposit_id)
            encryptor = Encryptor(key, deposit_id)
        return Arriving(self.objects.begin(object_key(deposit_id)), encryptor, wrapped)

    def open(
        self,
        deposit_id: str,
        *,
        data_key: bytes | None,
        size: int,
        offset: int = 0,
        length: int | None = None,
        version: str | None = None,
    ) -> Generator[bytes, None, None]:
        """The original's bytes from `offset`, at most `length` of them, as they were handed in;
        `size` is the whole original's, `version` storage's own name for them. That it is there, and
        that its first bytes are what was encrypted, is known when this returns.

        Raises what the store raises; KeyMissing; Corrupt for what was not encrypted so.
        """
        if data_key is None:
            return self.objects.open(
                object_key(deposit_id), offset=offset, length=length, version=version
            )
        if self.wrapping is None:
            raise KeyMissing(
                f"original {deposit_id} is encrypted, and no wrapping keys are at hand"
            )
        key = self.wrapping.unwrap(data_key, deposit_id)
        chunks = _decrypted(
            self.objects, key, deposit_id, size=size, offset=offset, length=length, version=version
        )
        next(chunks)
        return chunks

    def link(
        self,
        deposit_id: str,
        *,
        version: str | None,
        data_key: bytes | None,
        name: str,
        lifetime: timedelta,
    ) -> str | None:
        """As `ObjectStore.link`; None also where it is encrypted, and of use to us alone."""
        if data_key is not None:
            return None
        return self.objects.link(
            object_key(deposit_id), version=version, name=name, lifetime=lifetime
        )


def _decrypted(
    objects: ObjectStore,
    key: bytes,
    deposit_id: str,
    *,
    size: int,
    offset: int,
    length: int | None,
    version: str | None,
) -> Generator[bytes, None, None]:
    whole = offset == 0 and (length is None or length >= size)
    first, start, sealed = sealed_range(size, offset, size if length is None else length)
    if whole:
        first, start = 0, 0
    skip = offset - first * CHUNK
    left = max(0, size - offset) if length is None else min(length, max(0, size - offset))
    # One byte more than there should be: what follows the last chunk is not passed over.
    asked = sealed_size(size) + 1 if whole else sealed
    with closing(
        objects.open(object_key(deposit_id), offset=start, length=asked, version=version)
    ) as stored:
        opened = decrypt(stored, key, deposit_id, size=size, first=first, whole=whole)
        held = next(opened, b"")[skip:][:left]
        yield b""
        while held:
            left -= len(held)
            yield held
            held = next(opened, b"")[:left]
        if left:
            raise Corrupt(
                f"original {deposit_id} ends {left} bytes early", name=f"original {deposit_id}"
            )
