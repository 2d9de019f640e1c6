"""An original as ciphertext: AES-256-GCM in the STREAM construction, chunk by chunk. PURE.

    "evidence-envelope/v1\\n"  chunk 0  chunk 1 …

A chunk is 65,536 bytes of the original (the last one 1 to 65,536; the only one of an empty
original none) and its tag of 16 bytes. The nonce of chunk n is n in 11 bytes, big-endian, and one
byte that is 1 for the last chunk, else 0 (Hoang, Reyhanitabar, Rogaway, Vizár: STREAM; the same
nonce as age's). The associated data are the first line, the deposit's id, and that nonce. Each
original has a data key of its own, so that no nonce comes twice under one key.

So a chunk decrypts only in its own place of its own deposit, and an original that was cut off ends
without its last chunk. Any chunk can be read alone: it begins at 21 + n × 65,552.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from notary.errors import Corrupt

MAGIC: Final = b"evidence-envelope/v1\n"
KEY_BYTES: Final = 32
CHUNK: Final = 1 << 16
TAG: Final = 16
SEALED: Final = CHUNK + TAG
"""A whole chunk as it is stored."""


def sealed_size(size: int) -> int:
    """Stored bytes of an original of `size` bytes."""
    return len(MAGIC) + size + TAG * _chunks(size)


def sealed_range(size: int, offset: int, length: int) -> tuple[int, int, int]:
    """(first chunk, stored offset, stored length) of the chunks that hold `length` bytes from
    `offset` of an original of `size` bytes."""
    first = min(offset // CHUNK, _chunks(size) - 1)
    last = max(first, -(-min(offset + length, size) // CHUNK) - 1)
    start = len(MAGIC) + first * SEALED
    return first, start, min(len(MAGIC) + (last + 1) * SEALED, sealed_size(size)) - start


class Encryptor:
    """Takes an original as it comes; gives what is to be stored, in order."""

    __slots__ = ("_begun", "_cipher", "_deposit", "_number", "_rest")

    def __init__(self, key: bytes, deposit_id: str) -> None:
        self._cipher = AESGCM(key)
        self._deposit = deposit_id.encode("ascii")
        self._number = 0
        self._rest = bytearray()
        self._begun = False

    def update(self, data: bytes | memoryview) -> bytes:
        """What is certain by now: a full chunk waits until it is known not to be the last."""
        self._rest += data
        ready = max(0, (len(self._rest) - 1) // CHUNK)
        if not ready:
            return b""
        parts = [self._first_line()]
        with memoryview(self._rest) as rest:
            parts += (
                self._seal(rest[at * CHUNK : (at + 1) * CHUNK], last=False) for at in range(ready)
            )
        del self._rest[: ready * CHUNK]
        return b"".join(parts)

    def finish(self) -> bytes:
        """The last chunk. Nothing may come after it."""
        return self._first_line() + self._seal(memoryview(self._rest), last=True)

    def _first_line(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return MAGIC

    def _seal(self, chunk: memoryview, *, last: bool) -> bytes:
        nonce = _nonce(self._number, last=last)
        self._number += 1
        return self._cipher.encrypt(nonce, chunk, MAGIC + self._deposit + nonce)


def decrypt(
    stored: Iterable[bytes], key: bytes, deposit_id: str, *, size: int, first: int, whole: bool
) -> Iterator[bytes]:
    """The original's chunks from number `first` on, out of what is `stored` from there. `size` is
    the whole original's. With `whole` the first line comes before chunk 0, and nothing may be
    missing at the end. No byte is given before its chunk's tag was found right.

    Raises Corrupt for a chunk that is not the one of this place, deposit and key.
    """
    cipher, deposit = AESGCM(key), deposit_id.encode("ascii")
    total = _chunks(size)
    rest, number = bytearray(), first
    awaited = len(MAGIC) if whole else 0
    for piece in stored:
        rest += piece
        if awaited and len(rest) >= awaited:
            if rest[:awaited] != MAGIC:
                raise _refused(deposit_id, "does not begin as an envelope does")
            del rest[:awaited]
            awaited = 0
        while not awaited and number < total - 1 and len(rest) >= SEALED:
            yield _opened(cipher, rest[:SEALED], deposit, number, last=False)
            del rest[:SEALED]
            number += 1
    if awaited:
        raise _refused(deposit_id, f"ends after {len(rest)} bytes")
    if number == total - 1 and (rest or whole):
        opened = _opened(cipher, rest, deposit, number, last=True)
        if len(opened) != size - number * CHUNK:
            raise _refused(deposit_id, f"has other than {size} bytes")
        yield opened
    elif rest or whole:
        raise _refused(deposit_id, f"ends in chunk {number} of {total}")


def _opened(
    cipher: AESGCM, sealed: bytes | bytearray, deposit: bytes, number: int, *, last: bool
) -> bytes:
    nonce = _nonce(number, last=last)
    try:
        return cipher.decrypt(nonce, sealed, MAGIC + deposit + nonce)
    except InvalidTag as exc:
        raise _refused(
            deposit.decode("ascii"), f"chunk {number} is not what was encrypted in this place"
        ) from exc


def _refused(deposit_id: str, what: str) -> Corrupt:
    return Corrupt(f"original {deposit_id}: {what}", name=f"original {deposit_id}")


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _chunks(size: int) -> int:
    return max(1, -(-size // CHUNK))
