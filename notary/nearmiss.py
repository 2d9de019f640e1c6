"""Why a file is not the registered one, where an innocent reason can be tested. PURE.

Each reason is a claim about bytes and is given only where it was found to hold: the registered
digest is that of the file with one thing undone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Final

APPENDED: Final = "bytes_appended"
LINE_ENDS: Final = "line_ends_only"
BOM_ONLY: Final = "bom_only"
MAX_TEXT_BYTES: Final = 64 * 1024 * 1024
"""Larger files are not tested for line ends: they are held in memory for it."""
CHUNK: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"


def near_miss(source: BinaryIO, *, sha256: str, size: int) -> str | None:
    """The code of the reason why the seekable `source` has not the registered SHA-256 (hex) and
    size in bytes, None where none was found."""
    length = source.seek(0, 2)
    if length > size > 0 and _prefix_digest(source, size) == sha256:
        return APPENDED
    if length > MAX_TEXT_BYTES:
        return None
    source.seek(0)
    for code, variant in _variants(source.read(length)):
        if len(variant) == size and hashlib.sha256(variant).hexdigest() == sha256:
            return code
    return None


def _prefix_digest(source: BinaryIO, size: int) -> str:
    source.seek(0)
    digest, left = hashlib.sha256(), size
    while left and (chunk := source.read(min(CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()


def _variants(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The text as other systems would have saved it."""
    bare = data.removeprefix(_BOM)
    yield BOM_ONLY, bare if bare != data else _BOM + data
    unix = bare.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for lines in (unix, unix.replace(b"\n", b"\r\n"), unix.replace(b"\n", b"\r")):
        yield LINE_ENDS, lines
        yield LINE_ENDS, _BOM + lines
