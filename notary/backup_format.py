"""A backup as bytes: a manifest that names every part by digest, signed, and parts of rows.

A folder, or a tar of one. `manifest.json` says what the house was at one moment and which files the
backup has; `manifest.sig` is the statement key's Ed25519 signature over `evidence-backup/v1`, a NUL
and the manifest's bytes. `rows/<table>` is a sequence of frames, each four bytes of length (big
endian) and a zlib-compressed CBOR array of two: column names, rows. Rows are as the tables declare
them, not as a database spells them, so a backup of SQLite can be restored into PostgreSQL. PURE.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import cbor2

from notary.errors import MalformedInput

MAGIC: Final = "evidence-backup/v1"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
ROWS: Final = "rows/"
HOME: Final = "home/"
LEVEL: Final = 1
MAX_FRAME_BYTES: Final = 1 << 30

Rows = tuple[tuple[str, ...], list[list[Any]]]
"""Column names, and rows of one table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file of the backup. `rows` is None where it has none; `secret` for a private key."""

    path: str
    size: int
    sha256: str
    rows: int | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The house at one moment. `segments` and `digest` (hex) are the journal's place then, `notes`
    the highest number of a change that it had noted and not written; every later segment was
    drafted after that moment. `originals` and their `original_bytes` lie in `objects`, which is
    not part of the backup."""

    origin: str
    made_at: str
    revision: str
    size: int
    root: str
    checkpoint: str
    signed_at: str
    segments: int
    digest: str
    journalled_at: str
    notes: int
    objects: str
    originals: int
    original_bytes: int
    parts: tuple[Part, ...]

    def encode(self) -> bytes:
        said = {"format": MAGIC, **asdict(self)}
        return json.dumps(said, indent=1, ensure_ascii=False).encode("utf-8") + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """Raises MalformedInput (`backup_malformed`)."""
    try:
        said: dict[str, Any] = json.loads(data.decode("utf-8"))
        if said.pop("format") != MAGIC:
            raise ValueError(f"its format is not {MAGIC}")
        parts = tuple(_part(each) for each in said.pop("parts"))
        manifest = Manifest(parts=parts, **said)
        for name in ("size", "segments", "notes", "originals", "original_bytes"):
            _require(getattr(manifest, name), int, name)
        for name in ("origin", "made_at", "revision", "checkpoint", "signed_at", "journalled_at",
                     "objects"):  # fmt: skip
            _require(getattr(manifest, name), str, name)
        for name in ("root", "digest"):
            bytes.fromhex(getattr(manifest, name))
        return manifest
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise MalformedInput(f"{MANIFEST} cannot be read: {exc}", code="backup_malformed") from exc


def _part(said: Mapping[str, Any]) -> Part:
    part = Part(**said)
    _require(part.path, str, "path")
    _require(part.size, int, "size")
    _require(part.sha256, str, "sha256")
    pieces = part.path.split("/")
    if part.path.startswith("/") or ".." in pieces or "" in pieces:
        raise ValueError(f"{part.path!r} leads out of the backup")
    return part


def _require(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r:.40}")


def to_be_signed(manifest: bytes) -> bytes:
    return MAGIC.encode() + b"\0" + manifest


def encode_frame(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    packed = zlib.compress(cbor2.dumps([list(columns), [list(row) for row in rows]]), LEVEL)
    return len(packed).to_bytes(4, "big") + packed


def parse_frames(chunks: Iterable[bytes]) -> Iterator[Rows]:
    """Raises MalformedInput (`backup_malformed`)."""
    held = b""
    for chunk in chunks:
        held += chunk
        while len(held) >= 4 and len(held) >= 4 + (length := int.from_bytes(held[:4], "big")):
            yield _frame(held[4 : 4 + length])
            held = held[4 + length :]
    if held:
        raise MalformedInput("rows are cut off", code="backup_malformed")


def _frame(packed: bytes) -> Rows:
    try:
        unpacking = zlib.decompressobj()
        body = unpacking.decompress(packed, MAX_FRAME_BYTES)
        if not unpacking.eof:
            raise ValueError("a frame is cut off, or far too large")
        match cbor2.loads(body):
            case [list(columns), list(rows)] if all(isinstance(each, str) for each in columns):
                return tuple(columns), rows
        raise ValueError("not column names and rows")
    except (cbor2.CBORDecodeError, zlib.error, ValueError, TypeError, RecursionError) as exc:
        raise MalformedInput(f"rows cannot be read: {exc}", code="backup_malformed") from exc
