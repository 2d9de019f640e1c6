"""Removes from a copy's folder the partial tiles and bundles that full ones took the place of.

    tile/0/x001/234         the full tile is there, whole and durable,
    tile/0/x001/234.p/112   and begins with these bytes: only then this one goes

Decided file by file, from what lies there; nothing is remembered, so a run that was killed goes on
when it is started again, and two at once take nothing twice. Nothing stops it either: an empty
folder is done at once, a file that another run removed meanwhile is gone as it should be, and one
that differs is named and stays, while the others go.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from notary.errors import MalformedInput, Unreachable
from notary.findings import Fault, Progress
from notary.follow import CHECKPOINT, MAX_BUNDLE_BYTES, remembered
from notary.signed_head import Identity
from notary.source import FolderSource
from notary.succession import believing, recall
from notary.tlog import tile
from notary.tlog.merkle import HASH_SIZE
from notary.tlog.tile import ENTRIES, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, Level, TileId
from storage.durable import INCOMING, sync_directory

PARTIALS = ".p"


@dataclass(slots=True, kw_only=True)
class Collected:
    """`removed` partial files went. `kept` stay without blame: the checkpoint of the copy names
    them, or their full tile is not there. `faults` are what stays because it is not as it should
    be, by name."""

    removed: int = 0
    kept: int = 0
    faults: list[Fault] = field(default_factory=list)

    def fault(self, name: str, detail: str) -> None:
        self.faults.append(Fault(name=name, detail=detail))


def collect(
    folder: Path, identity: Identity, *, progress: Progress = lambda what, done, of: None
) -> Collected:
    """A copy without a checkpoint has none that needs a partial tile.

    Raises MalformedInput where there is no such folder, or what it has as checkpoint is none that
    was verified, Unverifiable where no known key signed that; Unreachable where the folder cannot
    be read or written. Then nothing more is removed.
    """
    if not folder.is_dir():
        raise MalformedInput(f"{str(folder)!r} is no folder of a copy", code="settings")
    known = recall(FolderSource(folder), identity)
    head = remembered(folder / CHECKPOINT, believing(identity, known))
    needed = frozenset(() if head is None else _edge(head.size))
    collected = Collected()
    try:
        places = sorted(_partials(folder))
        for done, place in enumerate(places, start=1):
            _collect_from(folder, place, needed, collected)
            progress("partial tiles", done, len(places))
    except OSError as exc:
        raise Unreachable(f"{folder} cannot be cleared: {exc}") from exc
    return collected


def _edge(size: int) -> Iterator[TileId]:
    """The partial tiles and bundles that a checkpoint of this size names."""
    levels: list[Level] = [ENTRIES, *range(-(-size.bit_length() // TILE_HEIGHT))]
    for level in levels:
        width = tile.partial_width(level, size)
        if width:
            count = size >> (0 if level == ENTRIES else TILE_HEIGHT * int(level))
            yield TileId(level=level, n=count // TILE_WIDTH, width=width)


def _partials(folder: Path) -> Iterator[str]:
    """The folders of partial tiles, by path below `folder`. Raises OSError, but not for one that
    another run removed meanwhile."""

    def unreadable(exc: OSError) -> None:
        if not isinstance(exc, FileNotFoundError):
            raise exc

    for place, below, _ in os.walk(folder / "tile", onerror=unreadable):
        for name in below:
            if name.endswith(PARTIALS):
                yield (Path(place) / name).relative_to(folder).as_posix()
        below[:] = [name for name in below if not name.endswith(PARTIALS)]


def _collect_from(
    folder: Path, place: str, needed: frozenset[TileId], collected: Collected
) -> None:
    try:
        full_id = tile.parse_tile_path(place.removesuffix(PARTIALS))
    except MalformedInput as exc:
        collected.fault(place, str(exc))
        return
    full = _read(folder / full_id.encode())
    names = _names(folder / place)
    if full is None:
        collected.kept += sum(not name.startswith(INCOMING) for name in names)
        return
    flaw = _flaw(full_id, full)
    if flaw is not None:
        collected.fault(full_id.encode(), f"{flaw}; the partial ones of it stay")
        return
    # Whoever wrote it may have been killed before its name was durable.
    sync_directory(str((folder / full_id.encode()).parent))
    for name in names:
        _collect_one(folder, f"{place}/{name}", full, needed, collected)
    with contextlib.suppress(OSError):  # not empty, or gone already
        (folder / place).rmdir()


def _collect_one(
    folder: Path, path: str, full: bytes, needed: frozenset[TileId], collected: Collected
) -> None:
    if Path(path).name.startswith(INCOMING):  # what a crash left of one that had no name yet
        (folder / path).unlink(missing_ok=True)
        return
    try:
        id_ = tile.parse_tile_path(path)
    except MalformedInput as exc:
        collected.fault(path, str(exc))
        return
    if id_ in needed:
        collected.kept += 1
        return
    if (folder / path).is_dir():
        collected.fault(path, "is a folder, and should be a file")
        return
    data = _read(folder / path)
    if data is None:
        return  # another run removed it
    expected = _cut(id_, full)
    if data != expected:
        collected.fault(
            path,
            f"{len(data)} bytes that are not the first {id_.width} of {_full_of(id_)}, which are "
            f"{len(expected)} bytes: one of the two was damaged; both stay",
        )
        return
    (folder / path).unlink(missing_ok=True)
    collected.removed += 1


def _full_of(id_: TileId) -> str:
    return tile.tile_path(id_.level, id_.n)


def _flaw(id_: TileId, data: bytes) -> str | None:
    """Why this is no full tile or bundle."""
    if id_.level != ENTRIES:
        if len(data) == TILE_BYTES:
            return None
        return f"{len(data)} bytes, a full tile has {TILE_BYTES}"
    try:
        count = len(tile.parse_bundle(data))
    except MalformedInput as exc:
        return str(exc)
    return None if count == TILE_WIDTH else f"{count} entries, a full bundle has {TILE_WIDTH}"


def _cut(id_: TileId, full: bytes) -> bytes:
    """The partial tile or bundle of this width, from the full one."""
    if id_.level != ENTRIES:
        return full[: id_.width * HASH_SIZE]
    return tile.encode_bundle(tile.parse_bundle(full)[: id_.width])


def _read(path: Path) -> bytes | None:
    """None where there is no such file."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BUNDLE_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError):
        return None


def _names(place: Path) -> list[str]:
    try:
        return sorted(path.name for path in place.iterdir())
    except FileNotFoundError:
        return []
