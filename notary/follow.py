"""A log as a stranger reads it: over HTTP or from a copied folder, believing nothing.

The checkpoint is verified with keys that the reader brought along. Nothing else is signed, so the
rest is proved up to its root: the right edge of the tree gives the root, which proves each of its
hashes; a full tile's own hash stands in the tile above it, proved before; an entry's leaf hash
stands in the tile of its bundle. So the proof API of the log is never asked, and memory is bound
by a few tiles whatever the size of the tree.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from notary.errors import MalformedInput, Unreachable
from notary.readable import Source
from notary.signed_head import (
    Contradiction,
    Identity,
    Kind,
    SignedHead,
    binary_exhibit,
    compare,
    open_checkpoint,
)
from notary.tlog import merkle, tile
from notary.tlog.note import MAX_NOTE_BYTES
from notary.tlog.tile import ENTRIES, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, Level, TileId

CHECKPOINT: Final = "checkpoint"
MAX_BUNDLE_BYTES: Final = TILE_WIDTH * (2 + tile.MAX_ENTRY_BYTES)
KEPT_TILES: Final = 64
AHEAD: Final = 8
"""Tiles that are fetched at the same time, before it is their turn to be proved."""

T = TypeVar("T")
R = TypeVar("R")


class Withheld(Unreachable):
    """The log does not give out what its signed checkpoint says it has."""

    code = "withheld"

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


def fetch_checkpoint(source: Source, identity: Identity) -> SignedHead:
    """The log's newest checkpoint, verified.

    Raises Unreachable where there is none, and as `open_checkpoint` does.
    """
    data = source.read(CHECKPOINT, MAX_NOTE_BYTES)
    if data is None:
        raise Unreachable(f"{source.name} has no {CHECKPOINT}")
    return open_checkpoint(data, identity, label=f"{CHECKPOINT} of {source.name}")


def remembered(path: Path, identity: Identity) -> SignedHead | None:
    """The checkpoint that a run before this one kept at `path`, None where none did.

    Raises MalformedInput where something else lies there, Unverifiable for an unknown key.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise Unreachable(f"{path} cannot be read: {exc}") from exc
    try:
        return open_checkpoint(data, identity, label=str(path))
    except (Contradiction, Unreachable) as exc:
        raise MalformedInput(
            f"{path} is no checkpoint of {identity.origin!r} that was verified: {exc}",
            code="settings",
        ) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaves:
    """A proved tile of level 0, and its bundle if it was asked for."""

    id: TileId
    hashes: bytes
    bundle: bytes | None

    @property
    def bundle_id(self) -> TileId:
        return TileId(level=ENTRIES, n=self.id.n, width=self.id.width)


def grown(level: Level, old: int, size: int) -> Iterator[TileId]:
    """The tiles of a level that a tree of `size` has new or wider than a tree of `old`."""
    shift = 0 if level == ENTRIES else TILE_HEIGHT * level
    before, count = old >> shift, size >> shift
    if before == count:
        return
    for n in range(before // TILE_WIDTH, -(-count // TILE_WIDTH)):
        yield TileId(level=level, n=n, width=min(TILE_WIDTH, count - n * TILE_WIDTH))


def open_tree(source: Source, head: SignedHead) -> Tree:
    """The tree under a verified checkpoint, its right edge fetched and proved.

    Raises Contradiction where the edge does not give the signed root, Withheld, Unreachable.
    """
    tree = Tree(source, head)
    edge: dict[tuple[int, int], bytes] = {}

    def read(level: int, n: int) -> bytes:
        edge[level, n] = tree.fetch(
            TileId(level=level, n=n, width=tile.partial_width(level, head.size))
        )
        return edge[level, n]

    root = tile.edge_root(head.size, read)
    if root != head.root:
        names = [
            tile.tile_path(level, n, len(hashes) // merkle.HASH_SIZE)
            for (level, n), hashes in edge.items()
        ]
        raise Contradiction(
            Kind.TILE,
            f"root hash mismatch at size {head.size}: signed {head.root.hex()}, the right edge "
            f"({', '.join(names)}) gives {root.hex()}",
            name=names[0] if len(names) == 1 else "",
            exhibits=(
                head.exhibit("the checkpoint"),
                *map(binary_exhibit, names, edge.values()),
            ),
        )
    tree.edge = edge
    return tree


class Tree:
    """Made by `open_tree`. One thread reads it."""

    def __init__(self, source: Source, head: SignedHead) -> None:
        self.head = head
        self.edge: dict[tuple[int, int], bytes] = {}
        self._source = source
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def hash_tile(self, level: int, n: int) -> bytes:
        """A tile as wide as the tree has it, proved. Raises Contradiction, Withheld,
        Unreachable."""
        found = self.edge.get((level, n)) or self._kept.get((level, n))
        if (level, n) in self._kept:
            self._kept.move_to_end((level, n))  # those above many others stay
        if found is None:
            found = self.fetch(TileId(level=level, n=n))
            self._prove_tile(level, n, found)
            self._kept[level, n] = found
            if len(self._kept) > KEPT_TILES:
                self._kept.popitem(last=False)
        return found

    def entries(self, n: int) -> tuple[bytes, ...]:
        """The entries of bundle `n`, proved. Raises as `hash_tile` does."""
        hashes = self.hash_tile(0, n)
        wanted = TileId(level=ENTRIES, n=n, width=len(hashes) // merkle.HASH_SIZE)
        return self._prove_bundle(wanted, self.fetch(wanted), hashes)

    def root_at(self, size: int) -> bytes:
        """The root of the tree's first `size` leaves."""
        return merkle.root_hash(size, tile.hash_reader(self.hash_tile))

    def check_extends(self, old: SignedHead, *, labels: tuple[str, str]) -> None:
        """Raises Contradiction unless this tree begins with that of `old`; `labels` say what the
        two checkpoints are."""
        compare(old, self.head, labels=labels)
        root = self.root_at(old.size)
        if root != old.root:
            raise Contradiction(
                Kind.INCONSISTENT,
                f"root hash mismatch at size {old.size}: {labels[0]} has {old.root.hex()}, the "
                f"tree of {labels[1]}, of size {self.head.size}, begins with {root.hex()}",
                exhibits=(old.exhibit(labels[0]), self.head.exhibit(labels[1])),
            )

    def leaves(self, old: int, *, entries: bool) -> Iterator[Leaves]:
        """Every tile of level 0 that is new or wider since size `old`, in order; with `entries`
        also their bundles. Each is proved before it is given. Raises as `hash_tile` does."""

        def fetch(wanted: TileId) -> tuple[bytes, bytes | None]:
            hashes = self.edge.get((0, wanted.n)) or self.fetch(wanted)
            bundle = TileId(level=ENTRIES, n=wanted.n, width=wanted.width)
            return hashes, self.fetch(bundle) if entries else None

        for wanted, (hashes, bundle) in _ahead(fetch, grown(0, old, self.head.size)):
            if wanted.width == TILE_WIDTH:
                self._prove_tile(0, wanted.n, hashes)
            leaves = Leaves(id=wanted, hashes=hashes, bundle=bundle)
            if bundle is not None:
                self._prove_bundle(leaves.bundle_id, bundle, hashes)
            yield leaves

    def upper(self, old: int) -> Iterator[tuple[TileId, bytes]]:
        """Every tile above level 0 that is new or wider since size `old`, proved."""
        level = 1
        while self.head.size >> TILE_HEIGHT * level:
            for wanted in grown(level, old, self.head.size):
                yield wanted, self.hash_tile(level, wanted.n)
            level += 1

    def fetch(self, wanted: TileId) -> bytes:
        """Not proved yet, but of the right length if it holds hashes. A partial tile that is no
        longer there is cut from the full one. Raises Withheld, Unreachable, Contradiction."""
        limit = MAX_BUNDLE_BYTES if wanted.level == ENTRIES else TILE_BYTES
        path = wanted.encode()
        data = self._source.read(path, limit)
        if data is None and wanted.width < TILE_WIDTH:
            path = tile.tile_path(wanted.level, wanted.n)
            full = self._source.read(path, limit)
            data = None if full is None else _cut(full, wanted)
        if data is None:
            raise Withheld(
                f"{self._source.name} has no {path}, which its checkpoint of size "
                f"{self.head.size} implies",
                path=wanted.encode(),
            )
        if wanted.level != ENTRIES and len(data) != wanted.width * merkle.HASH_SIZE:
            raise self._wrong(
                Kind.TILE, path, f"{len(data)} bytes, not {wanted.width} hashes", data
            )
        return data

    def _prove_tile(self, level: int, n: int, hashes: bytes) -> None:
        above = self.hash_tile(level + 1, n // TILE_WIDTH)
        at = n % TILE_WIDTH * merkle.HASH_SIZE
        expected, computed = above[at : at + merkle.HASH_SIZE], tile.tile_root(hashes)
        if computed != expected:
            raise self._wrong(
                Kind.TILE,
                tile.tile_path(level, n),
                f"hashes to {computed.hex()}, the tree has {expected.hex()}",
                hashes,
            )

    def _prove_bundle(self, wanted: TileId, data: bytes, hashes: bytes) -> tuple[bytes, ...]:
        path = wanted.encode()
        try:
            entries = tile.parse_bundle(data)
        except MalformedInput as exc:
            raise self._wrong(Kind.ENTRY, path, str(exc), data) from exc
        if len(entries) != wanted.width:
            raise self._wrong(Kind.ENTRY, path, f"{len(entries)} entries, not {wanted.width}", data)
        for i, entry in enumerate(entries):
            expected = hashes[i * merkle.HASH_SIZE : (i + 1) * merkle.HASH_SIZE]
            if (computed := merkle.leaf_hash(entry)) != expected:
                index = wanted.n * TILE_WIDTH + i
                raise self._wrong(
                    Kind.ENTRY,
                    path,
                    f"entry {index} hashes to {computed.hex()}, the tree has {expected.hex()}",
                    entry,
                )
        return entries

    def _wrong(self, kind: Kind, path: str, why: str, data: bytes) -> Contradiction:
        return Contradiction(
            kind,
            f"{path} of {self._source.name}: {why}",
            name=path,
            exhibits=(self.head.exhibit("the checkpoint"), binary_exhibit(path, data)),
        )


def _cut(full: bytes, wanted: TileId) -> bytes:
    if wanted.level != ENTRIES:
        return full[: wanted.width * merkle.HASH_SIZE]
    try:
        return tile.encode_bundle(tile.parse_bundle(full)[: wanted.width])
    except MalformedInput:
        return full  # found out when its entries are hashed


def _ahead(fetch: Callable[[T], R], wanted: Iterable[T]) -> Iterator[tuple[T, R]]:
    """`fetch` of each, in order, with never more than AHEAD of them in memory."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(max_workers=AHEAD) as pool:
        for each in wanted:
            waiting.append((each, pool.submit(fetch, each)))
            if len(waiting) == AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
