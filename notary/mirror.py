"""Copies a log's public side into a folder, proved as it comes, in the layout of C2SP tlog-tiles.

    DIR/checkpoint              replaced last: whatever it signs is there already
    DIR/tile/0/x001/234 …       full tiles, written once and never again
    DIR/tile/0/x001/235.p/112   partial tiles, until the full one is there
    DIR/tile/entries/…          the entries
    DIR/genesis.json            what entry 0 commits to, where the log shows it
    DIR/rotations.json          the rotations of the log's keys, where there are any

A crash leaves the old checkpoint and, beyond it, tiles that the next run proves again and need not
fetch. Nothing that is there is written over: what differs from the signed tree stops the copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from notary.clock import SystemClock
from notary.errors import MalformedInput, Unreachable, Unverifiable
from notary.findings import Fault, Progress
from notary.follow import (
    CHECKPOINT,
    Tree,
    Withheld,
    fetch_checkpoint,
    grown,
    open_tree,
    remembered,
)
from notary.keyhistory import ROTATIONS, KeyHistory, encode_rotations
from notary.readable import Source
from notary.signed_head import (
    Contradiction,
    Identity,
    Kind,
    SignedHead,
    binary_exhibit,
    compare,
)
from notary.source import FolderSource
from notary.statement import parse_statement
from notary.succession import (
    GENESIS,
    MAX_GENESIS_BYTES,
    believing,
    check_extends,
    check_signers,
    fetch_head,
    fetch_history,
    prove_history,
    recall,
)
from notary.tlog import merkle, tile
from notary.tlog.tile import ENTRIES, TILE_HEIGHT, TILE_WIDTH, TileId
from storage.durable import (
    INCOMING,
    drop_unfinished,
    make_directory,
    replace_file,
    write_file,
)

FILE_MODE, FOLDER_MODE = 0o644, 0o755
LEFT_AFTER_S = 3_600.0
COPIED, NOW = "the checkpoint of the copy", "the log's checkpoint now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """The copy grew from size `old` to `size`, by `files` that were not there."""

    old: int
    size: int
    files: int


@dataclass(slots=True, kw_only=True)
class Derived:
    """What a copy was found to be: `files` that are as the signed tree has them, `beyond` that
    an interrupted copy left beyond the checkpoint, and the faults by name."""

    size: int
    files: int = 0
    beyond: int = 0
    faults: list[Fault] = field(default_factory=list)


def copy(
    source: Source,
    folder: Path,
    identity: Identity,
    *,
    progress: Progress = lambda what, done, of: None,
) -> Copied:
    """Brings the copy in `folder` up to the log's newest checkpoint.

    Raises Contradiction where the log, or a file that is there, is not what was signed;
    Unreachable and Unverifiable as `follow` does. Started again, it goes on.
    """
    try:
        _drop_unfinished(folder)
        writing = _Writing(folder, source)
        known = recall(FolderSource(folder), identity)
        last = remembered(folder / CHECKPOINT, believing(identity, known))
        now, history = fetch_head(source, identity, known)
        shown = fetch_history(source, identity)
        if shown is not None:
            # Also where the keys are known: a copy without the rotations would not be whole.
            check_extends(known, shown)
            history = shown.up_to(now.size)
            check_signers(now, identity, history)
        old = 0 if last is None else last.size
        try:
            _copy_tree(writing, last, now, history, progress)
        except Contradiction as exc:
            raise writing.whose(exc) from exc
        # Everything it signs is durable: only now may a reader meet it.
        if last is None or last.note != now.note:
            replace_file(str(folder / CHECKPOINT), now.note, mode=FILE_MODE)
    except OSError as exc:
        raise Unreachable(f"{folder} cannot be written: {exc}") from exc
    return Copied(old=old, size=now.size, files=writing.files)


def _drop_unfinished(folder: Path) -> None:
    """What copies that were killed left half written, anywhere in the folder. Another copy that
    writes there now has written within the hour."""
    before = SystemClock().now().timestamp() - LEFT_AFTER_S
    for place, _, _ in os.walk(folder):
        drop_unfinished(place, before)


def _copy_tree(
    writing: _Writing,
    last: SignedHead | None,
    now: SignedHead,
    history: KeyHistory | None,
    progress: Progress,
) -> None:
    if last is not None:
        compare(last, now, labels=(COPIED, NOW))
    tree = open_tree(writing, now)
    if last is not None:
        tree.check_extends(last, labels=(COPIED, NOW))
    old = 0 if last is None else last.size
    for leaves in tree.leaves(old, entries=True):
        assert leaves.bundle is not None
        writing.put(leaves.id, leaves.hashes)
        writing.put(leaves.bundle_id, leaves.bundle)
        progress("entries", leaves.id.n * TILE_WIDTH + leaves.id.width, now.size)
    for id_, hashes in tree.upper(old):
        writing.put(id_, hashes)
    writing.put_genesis(tree)
    if history is not None and history.registered:
        prove_history(tree, history)
        writing.put_rotations(history)


def derive(
    folder: Path, identity: Identity, *, progress: Progress = lambda what, done, of: None
) -> Derived:
    """Proves every file of the copy up to its checkpoint, and looks for others. Changes nothing.

    Raises Contradiction where the checkpoint or the right edge is not right, for then nothing is
    proved; Unreachable where there is no checkpoint; Unverifiable for an unknown key.
    """
    source = FolderSource(folder)
    faults: dict[str, Fault] = {}
    history: KeyHistory | None = None
    try:
        history = fetch_history(source, identity)
    except Unverifiable as exc:
        faults[ROTATIONS] = Fault(name=ROTATIONS, detail=str(exc))
    head = fetch_checkpoint(source, believing(identity, history))
    tree = open_tree(source, head)
    derived = Derived(size=head.size)
    for id_ in _implied(head.size):
        try:
            if id_.level == ENTRIES:
                tree.entries(id_.n)
                progress("entries", id_.n * TILE_WIDTH + id_.width, head.size)
            else:
                tree.hash_tile(id_.level, id_.n)
            derived.files += 1
        except Contradiction as exc:
            faults.setdefault(exc.name, Fault(name=exc.name, detail=str(exc)))
        except Withheld as exc:
            faults.setdefault(exc.path, Fault(name=exc.path, detail=str(exc)))
    for path in _files(folder):
        try:
            _check_file(folder, path, tree, history, derived)
        except Contradiction as exc:
            faults.setdefault(exc.name, Fault(name=exc.name, detail=str(exc)))
        except Withheld as exc:
            faults.setdefault(exc.path, Fault(name=exc.path, detail=str(exc)))
        except MalformedInput as exc:
            faults.setdefault(path, Fault(name=path, detail=str(exc)))
    derived.faults.extend(faults.values())
    return derived


class _Writing:
    """The copy as it grows. As a source it gives the full tiles that it has, and else what the
    log has."""

    def __init__(self, folder: Path, source: Source) -> None:
        self.name = source.name
        self.files = 0
        self._folder = folder
        self._source = source
        self._there = FolderSource(folder)
        self._make(folder)

    def read(self, path: str, max_bytes: int) -> bytes | None:
        found = self._there.read(path, max_bytes) if _is_full(path) else None
        return self._source.read(path, max_bytes) if found is None else found

    def whose(self, exc: Contradiction) -> Contradiction:
        """Against the copy rather than the log, where the tile at fault came from the copy."""
        if exc.kind is Kind.COPY or not _is_full(exc.name) or not self._path(exc.name).exists():
            return exc
        return Contradiction(
            Kind.COPY,
            f"{self._path(exc.name)} is not what the log's tree has: {exc}",
            name=exc.name,
            exhibits=exc.exhibits,
        )

    def put(self, id_: TileId, data: bytes) -> None:
        """Proved bytes. Raises Contradiction where others are there already."""
        self._put(id_.encode(), data)
        if id_.width == TILE_WIDTH:
            self._drop_partials(id_, data)

    def put_genesis(self, tree: Tree) -> None:
        if tree.head.size and not self._path(GENESIS).exists():
            data = self._source.read(GENESIS, MAX_GENESIS_BYTES)
            if data is not None:
                _check_genesis(data, tree)
                self._put(GENESIS, data)

    def put_rotations(self, history: KeyHistory) -> None:
        """Proved ones; what is there already begins as they do."""
        target, data = self._path(ROTATIONS), encode_rotations(history.registered)
        if not target.exists() or target.read_bytes() != data:
            replace_file(str(target), data, mode=FILE_MODE)
            self.files += 1

    def _put(self, path: str, data: bytes) -> None:
        target = self._path(path)
        if target.exists():
            _require_same(target, path, target.read_bytes() == data, data)
            return
        self._make(target.parent)
        write_file(str(target), data, mode=FILE_MODE)
        self.files += 1

    def _drop_partials(self, full: TileId, data: bytes) -> None:
        """A partial tile may go once the full one is durable; readers fall back to that. Where
        `collect` takes them at the same time, the rest is left to it."""
        folder = self._path(f"{full.encode()}.p")
        with contextlib.suppress(FileNotFoundError):
            for partial in folder.iterdir():
                if not partial.name.startswith(INCOMING):
                    same = data.startswith(partial.read_bytes())
                    _require_same(partial, f"{full.encode()}.p/{partial.name}", same, data)
                partial.unlink()
            folder.rmdir()

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make(folder.parent)
            make_directory(str(folder), mode=FOLDER_MODE)

    def _path(self, path: str) -> Path:
        return self._folder / path


def _is_full(path: str) -> bool:
    return path.startswith("tile/") and ".p/" not in path


def _require_same(target: Path, path: str, same: bool, data: bytes) -> None:
    if not same:
        raise Contradiction(
            Kind.COPY,
            f"{target} differs from what the log's signed tree has there; nothing is written over",
            name=path,
            exhibits=(
                binary_exhibit(f"{path} in the copy", target.read_bytes()),
                binary_exhibit(f"{path} of the log", data),
            ),
        )


def _check_genesis(data: bytes, tree: Tree) -> None:
    entry = tree.entries(0)[0]
    committed = parse_statement(entry).payload
    if hashlib.sha256(data).digest() != committed:
        raise Contradiction(
            Kind.ENTRY,
            f"{GENESIS} hashes to {hashlib.sha256(data).hexdigest()}, entry 0 commits to "
            f"{committed.hex()}",
            name=GENESIS,
            exhibits=(tree.head.exhibit("the checkpoint"), binary_exhibit(GENESIS, data)),
        )


def _implied(size: int) -> Iterator[TileId]:
    """Every tile and bundle of a tree, a bundle right after its hashes."""
    for id_ in grown(0, 0, size):
        yield id_
        yield TileId(level=ENTRIES, n=id_.n, width=id_.width)
    level = 1
    while size >> TILE_HEIGHT * level:
        yield from grown(level, 0, size)
        level += 1


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if not path.is_dir() and not path.name.startswith(INCOMING):
            yield path.relative_to(folder).as_posix()


def _check_file(
    folder: Path, path: str, tree: Tree, history: KeyHistory | None, derived: Derived
) -> None:
    """A file that the checkpoint does not imply: a partial tile of an earlier checkpoint, what an
    interrupted copy left, or a stranger. Raises Contradiction, MalformedInput."""
    if path == CHECKPOINT:
        return
    if path == GENESIS:
        _check_genesis((folder / path).read_bytes(), tree)
        return
    if path == ROTATIONS:
        if history is not None:  # else it is named already
            prove_history(tree, history.up_to(tree.head.size))
        return
    id_ = tile.parse_tile_path(path)
    count = tree.head.size >> (0 if id_.level == ENTRIES else TILE_HEIGHT * id_.level)
    known = max(0, min(TILE_WIDTH, count - id_.n * TILE_WIDTH))
    if known == id_.width:
        return  # proved already
    wanted = min(known, id_.width)
    if wanted:
        data = (folder / path).read_bytes()
        _check_prefix(path, id_, wanted, data, tree)
    if id_.width > known:
        derived.beyond += 1
    else:
        derived.files += 1


def _check_prefix(path: str, id_: TileId, wanted: int, data: bytes, tree: Tree) -> None:
    if id_.level == ENTRIES:
        entries = tile.parse_bundle(data)
        hashes, width = b"".join(map(merkle.leaf_hash, entries)), len(entries)
        expected = tree.hash_tile(0, id_.n)
    else:
        hashes, width = data, len(data) // merkle.HASH_SIZE
        expected = tree.hash_tile(id_.level, id_.n)
    end = wanted * merkle.HASH_SIZE
    if width != id_.width or hashes[:end] != expected[:end]:
        raise Contradiction(
            Kind.COPY,
            f"{path} is not a part of the tree of size {tree.head.size}",
            name=path,
            exhibits=(tree.head.exhibit("the checkpoint"), binary_exhibit(path, data)),
        )
