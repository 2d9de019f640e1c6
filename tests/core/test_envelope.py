"""An original as ciphertext: nothing that was changed, moved, cut or doubled yields a byte."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notary.envelope import CHUNK, MAGIC, SEALED, Encryptor, decrypt, sealed_range, sealed_size
from notary.errors import Corrupt

KEY = bytes(range(32))
ID = "019a0000-0000-7000-8000-0000000000aa"
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7)


def sealed(data: bytes, *, pieces: int = 1 << 20, key: bytes = KEY, deposit: str = ID) -> bytes:
    encryptor = Encryptor(key, deposit)
    parts = [encryptor.update(data[at : at + pieces]) for at in range(0, len(data), pieces)]
    return b"".join([*parts, encryptor.finish()])


def opened(stored: bytes, size: int, *, deposit: str = ID, key: bytes = KEY) -> bytes:
    pieces = [stored[at : at + 50_000] for at in range(0, len(stored), 50_000)]
    return b"".join(decrypt(pieces, key, deposit, size=size, first=0, whole=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pieces", [1009, CHUNK, 1 << 20])
def test_what_was_encrypted_is_read_again(size: int, pieces: int) -> None:
    data = os.urandom(size)
    stored = sealed(data, pieces=pieces)
    assert len(stored) == sealed_size(size)
    assert opened(stored, size) == data
    assert size < 16 or data[:16] not in stored


@given(st.integers(0, 3 * CHUNK + 5), st.integers(0, 3 * CHUNK), st.integers(1, 3 * CHUNK))
def test_the_chunks_of_a_range_hold_the_range(size: int, offset: int, length: int) -> None:
    if offset >= size:
        return
    data = bytes(size)
    first, start, stored = sealed_range(size, offset, length)
    part = sealed(data)[start : start + stored]
    got = b"".join(decrypt([part], KEY, ID, size=size, first=first, whole=False))
    end = min(size, offset + length)
    assert first * CHUNK <= offset
    assert first * CHUNK + len(got) >= end


def _swapped(stored: bytes) -> bytes:
    body = stored[len(MAGIC) :]
    return MAGIC + body[SEALED : 2 * SEALED] + body[:SEALED] + body[2 * SEALED :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a flipped byte of the first chunk": lambda s: s[:40] + bytes([s[40] ^ 1]) + s[41:],
    "a flipped byte of the last tag": lambda s: s[:-1] + bytes([s[-1] ^ 1]),
    "chunks in another order": _swapped,
    "a chunk twice": lambda s: s[: len(MAGIC) + SEALED] + s[len(MAGIC) :],
    "without the first chunk": lambda s: MAGIC + s[len(MAGIC) + SEALED :],
    "without the last chunk": lambda s: s[: len(MAGIC) + 2 * SEALED],
    "cut in a chunk": lambda s: s[:-3],
    "a byte more": lambda s: s + b"\0",
    "another first line": lambda s: b"x" + s[1:],
    "nothing at all": lambda _: b"",
    "the first line alone": lambda _: MAGIC,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_ciphertext_is_refused(damage: str) -> None:
    data = os.urandom(2 * CHUNK + 7)
    with pytest.raises(Corrupt):
        opened(DAMAGES[damage](sealed(data)), len(data))


@pytest.mark.parametrize("damage", ["without the last chunk", "cut in a chunk", "a byte more"])
def test_no_byte_of_a_chunk_comes_before_its_tag_was_right(damage: str) -> None:
    data = os.urandom(2 * CHUNK + 7)
    given_: list[bytes] = []
    with pytest.raises(Corrupt):
        given_.extend(decrypt([DAMAGES[damage](sealed(data))], KEY, ID, size=len(data), first=0,
                              whole=True))  # fmt: skip
    assert data.startswith(b"".join(given_))
    assert len(b"".join(given_)) <= 2 * CHUNK


def test_another_deposits_ciphertext_is_refused() -> None:
    other = ID[:-1] + "b"
    with pytest.raises(Corrupt, match="chunk 0"):
        opened(sealed(b"data", deposit=other), 4)


def test_another_key_is_refused() -> None:
    with pytest.raises(Corrupt, match="chunk 0"):
        opened(sealed(b"data"), 4, key=bytes(32))


@pytest.mark.parametrize("size", [3, 5, CHUNK + 4])
def test_a_size_that_is_not_the_originals_is_refused(size: int) -> None:
    with pytest.raises(Corrupt):
        opened(sealed(b"data"), size)
