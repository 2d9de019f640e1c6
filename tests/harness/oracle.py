"""Answers to compare with: RFC 6962 §2.1 written down as it stands there, and the shared vectors.

The recursion is the RFC's, word for word; only the hash of a range is kept once it is known,
so that all proofs of a tree of some hundred leaves take no time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"


class Oracle:
    """The tree over `entries`; sizes and ranges are of these entries."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self._entries = entries
        self._known: dict[tuple[int, int], bytes] = {}

    def mth(self, start: int, end: int) -> bytes:
        """MTH(D[start:end])."""
        if (start, end) not in self._known:
            self._known[start, end] = self._mth(start, end)
        return self._known[start, end]

    def _mth(self, start: int, end: int) -> bytes:
        n = end - start
        if n == 0:
            return sha256(b"").digest()
        if n == 1:
            return sha256(b"\x00" + self._entries[start]).digest()
        k = split(n)
        return sha256(b"\x01" + self.mth(start, start + k) + self.mth(start + k, end)).digest()

    def path(self, m: int, size: int) -> list[bytes]:
        """PATH(m, D[size])."""
        return self._path(m, 0, size)

    def _path(self, m: int, start: int, end: int) -> list[bytes]:
        n = end - start
        if n == 1:
            return []
        k = split(n)
        if m < k:
            return [*self._path(m, start, start + k), self.mth(start + k, end)]
        return [*self._path(m - k, start + k, end), self.mth(start, start + k)]

    def proof(self, m: int, size: int) -> list[bytes]:
        """PROOF(m, D[size]), for 0 < m <= size."""
        return self._subproof(m, 0, size, True)

    def _subproof(self, m: int, start: int, end: int, b: bool) -> list[bytes]:
        n = end - start
        if m == n:
            return [] if b else [self.mth(start, end)]
        k = split(n)
        if m <= k:
            return [*self._subproof(m, start, start + k, b), self.mth(start + k, end)]
        return [*self._subproof(m - k, start + k, end, False), self.mth(start, start + k)]

    def complete_subtree(self, size: int, level: int, index: int) -> bytes:
        """A HashReader over the first `size` entries; fails on what no reader could have."""
        start, end = index << level, (index + 1) << level
        assert 0 <= start < end <= size, f"hash {index} of level {level} is not in size {size}"
        return self.mth(start, end)


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def shared_vector(name: str) -> Any:
    """A JSON file of the shared vectors; skips the test where the folder is not there."""
    return json.loads(shared_bytes(name))


def shared_bytes(name: str) -> bytes:
    path = VECTORS / name
    if not path.is_file():
        pytest.skip(f"shared vectors are not here: no {name} in ../shared/vectors")
    return path.read_bytes()
