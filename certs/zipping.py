"""ZIP members with their size and CRC-32 before their bytes (APPNOTE.TXT 6.3.10), stored, streamed.

Python's `zipfile` writes to what cannot seek with the CRC behind the bytes; of stored members no
reader that streams can find the end then, and Java's refuses such files. So the CRC comes first.
"""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s2B5H3I5H2I")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_STORED, _STORED64 = 10, 45
"""The version of the format that a reader needs (4.4.3)."""

_UNIX = 3
_READABLE = 0o100644 << 16
_UTF8_NAME = 0x0800


class ZipWriter:
    """Says which bytes come next; its caller sends them, and gives no name twice.

    `at` becomes the time of every member, in UTC and to two seconds, between 1980 and 2107.
    """

    def __init__(self, at: datetime) -> None:
        moment = at.astimezone(UTC)
        year = min(max(moment.year, 1980), 2107) - 1980
        self._date = year << 9 | moment.month << 5 | moment.day
        self._time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
        self._offset = 0
        self._directory: list[bytes] = []

    def member(self, name: str, data: bytes) -> bytes:
        """A whole small member."""
        return self.header(name, size=len(data), crc=zlib.crc32(data)) + data

    def header(self, name: str, *, size: int, crc: int) -> bytes:
        """What stands before a member; exactly `size` bytes with that CRC-32 must follow it."""
        raw = name.encode("utf-8")
        flags = 0 if raw.isascii() else _UTF8_NAME
        large = size >= _FULL32
        extra = struct.pack("<2H2Q", 1, 16, size, size) if large else b""
        said = _FULL32 if large else size
        version = _STORED64 if large else _STORED
        head = _LOCAL.pack(
            b"PK\x03\x04", version, flags, 0, self._time, self._date, crc, said, said,
            len(raw), len(extra),
        )  # fmt: skip
        self._directory.append(self._entry(raw, flags, size, crc))
        self._offset += len(head) + len(raw) + len(extra) + size
        return head + raw + extra

    def _entry(self, raw: bytes, flags: int, size: int, crc: int) -> bytes:
        large, far = size >= _FULL32, self._offset >= _FULL32
        values = ([size, size] if large else []) + ([self._offset] if far else [])
        extra = b""
        if values:
            extra = struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)
        version = _STORED64 if values else _STORED
        said = _FULL32 if large else size
        head = _CENTRAL.pack(
            b"PK\x01\x02", version, _UNIX, version, flags, 0, self._time, self._date, crc,
            said, said, len(raw), len(extra), 0, 0, 0, _READABLE,
            _FULL32 if far else self._offset,
        )  # fmt: skip
        return head + raw + extra

    def end(self) -> bytes:
        """The directory and what closes the file, with the zip64 records where it needs them."""
        directory = b"".join(self._directory)
        count, size, offset = len(self._directory), len(directory), self._offset
        tail = b""
        if count >= _FULL16 or size >= _FULL32 or offset >= _FULL32:
            tail = _END64.pack(
                b"PK\x06\x06", _END64.size - 12, _UNIX << 8 | _STORED64, _STORED64, 0, 0,
                count, count, size, offset,
            ) + _LOCATOR64.pack(b"PK\x06\x07", 0, offset + size, 1)  # fmt: skip
        count = min(count, _FULL16)
        tail += _END.pack(
            b"PK\x05\x06", 0, 0, count, count, min(size, _FULL32), min(offset, _FULL32), 0
        )
        return directory + tail
