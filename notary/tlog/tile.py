"""Tiles and entry bundles (C2SP tlog-tiles): where they are, what is in them, how they grow.

A tree of 70,000 leaves is

    tile/0/000 … tile/0/272            273 full tiles of 256 leaf hashes
    tile/0/273.p/112                   and 112 leaves over
    tile/1/000, tile/1/001.p/17        one hash for each full tile of level 0
    tile/2/000.p/1                     one hash for each full tile of level 1
    tile/entries/…                     the entries themselves, cut like level 0

so that any hash of the tree is at most one tile away, and growing touches only the last
tile of each level: the right edge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal

from notary.errors import Corrupt, MalformedInput, TooLarge
from notary.tlog.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE, HashReader, node_hash

TILE_WIDTH: Final = 256
TILE_HEIGHT: Final = 8  # a full tile spans 2**8 hashes of its level
TILE_BYTES: Final = TILE_WIDTH * HASH_SIZE
MAX_LEVEL: Final = 63
MAX_ENTRY_BYTES: Final = 0xFFFF
ENTRIES: Final = "entries"

Level = int | Literal["entries"]

# (level, n) → the hashes of hash tile n as far as they exist: a prefix of the full tile.
TileReader = Callable[[int, int], bytes]

_PAIR_BYTES: Final = 2 * HASH_SIZE
_UNREMEMBERED_BYTES: Final = 8 * HASH_SIZE
_PATH = re.compile(
    r"tile/(?P<level>entries|[0-9]{1,2})/(?P<n>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileId:
    """One published resource: `width` is 256 for a full tile, 1 to 255 for a partial one."""

    level: Level
    n: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if self.level != ENTRIES and not 0 <= self.level <= MAX_LEVEL:
            raise ValueError(f"tile level {self.level!r} is not entries or 0 to {MAX_LEVEL}")
        if not 0 <= self.n <= MAX_SIZE:
            raise ValueError(f"tile number {self.n} is not 0 to {MAX_SIZE}")
        if not 1 <= self.width <= TILE_WIDTH:
            raise ValueError(f"tile width {self.width} is not 1 to {TILE_WIDTH}")

    def encode(self) -> str:
        """The path below the log's prefix, such as `tile/0/x001/x234/067.p/112`."""
        digits = str(self.n)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        number = "".join(f"x{group}/" for group in groups[:-1]) + groups[-1]
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{self.level}/{number}{partial}"


def tile_path(level: Level, n: int, width: int = TILE_WIDTH) -> str:
    """The path of a tile or bundle below the log's prefix. Raises ValueError out of range."""
    return TileId(level=level, n=n, width=width).encode()


def parse_tile_path(path: str) -> TileId:
    """The inverse of `tile_path`. Raises MalformedInput for any other spelling:
    leading zeros, needless groups, a width of 0 or 256."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise MalformedInput(f"not a tile path: {path[:100]!r}")
    try:
        tile = TileId(
            level=ENTRIES if match["level"] == ENTRIES else int(match["level"]),
            n=int(match["n"].replace("x", "").replace("/", "")),
            width=TILE_WIDTH if match["width"] is None else int(match["width"]),
        )
    except ValueError as exc:
        raise MalformedInput(f"not a tile path: {path[:100]!r}: {exc}") from exc
    if tile.encode() != path:
        raise MalformedInput(f"tile path {path[:100]!r} is to be written {tile.encode()!r}")
    return tile


def partial_width(level: Level, size: int) -> int:
    """How many hashes (or entries) the last tile of a level has at this tree size;
    0 where the level ends on a full tile and no partial tile exists."""
    return (size >> TILE_HEIGHT * (0 if level == ENTRIES else level)) % TILE_WIDTH


def hash_reader(read_tile: TileReader) -> HashReader:
    """Any hash of the tree, from its tiles.

    What is read or computed is kept as long as the reader is: use one reader for the
    proofs of one request or one batch. Raises what `read_tile` raises, and Corrupt where a
    tile does not hold the hash.
    """
    pyramids: dict[tuple[int, int], tuple[bytes, ...]] = {}

    def read(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_HEIGHT)
        n, position = divmod(index, TILE_WIDTH >> height)
        rows = pyramids.get((tile_level, n))
        if rows is None:
            rows = pyramids[tile_level, n] = _pyramid(read_tile(tile_level, n))
        found = rows[height][position * HASH_SIZE : (position + 1) * HASH_SIZE]
        if len(found) != HASH_SIZE:
            raise Corrupt(
                f"tile of {len(rows[0])} bytes does not hold hash {index} of level {level}",
                name=tile_path(tile_level, n),
            )
        return found

    return read


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What appending made of the tree: `tiles` holds every hash tile that is new or wider,
    by (level, n), each as its longest prefix now known."""

    size: int
    root: bytes
    tiles: Mapping[tuple[int, int], bytes]


def grow(
    size: int,
    leaf_hashes: Sequence[bytes],
    read_tile: TileReader,
    *,
    expected_root: bytes | None = None,
) -> Growth:
    """Appends leaf hashes to a tree of `size` leaves. Nothing is written: the caller does.

    Reads the right edge of the tree of `size` leaves, each of its tiles once, and nothing
    else; a tile stored wider than that size (left by a growth that was never committed) is
    cut back. With `expected_root`, the root that was last signed, the edge is first
    checked against it: a bit that flipped in a stored tile must not get into the next
    signed root, which could never be mended. Raises Corrupt for an edge that does not fit,
    ValueError for a hash that is not 32 bytes, and what `read_tile` raises.
    """
    if set(map(len, leaf_hashes)) - {HASH_SIZE}:
        raise ValueError(f"leaf hashes are {HASH_SIZE} bytes each")
    edge = _right_edge(size, read_tile)
    if expected_root is not None and _edge_root(edge) != expected_root:
        raise Corrupt(
            f"root hash mismatch at size {size}: signed {expected_root.hex()}, "
            f"right edge gives {_edge_root(edge).hex()}",
            name=f"right edge of size {size}",
        )
    tiles: dict[tuple[int, int], bytes] = {}
    added, level = b"".join(leaf_hashes), 0
    while added:
        if level == len(edge):
            edge.append(b"")
        first = size >> TILE_HEIGHT * (level + 1)
        row = edge[level] + added
        for i in range(0, len(row), TILE_BYTES):
            tiles[level, first + i // TILE_BYTES] = row[i : i + TILE_BYTES]
        whole = len(row) - len(row) % TILE_BYTES
        edge[level] = row[whole:]
        added = tile_roots(row[:whole])
        level += 1
    return Growth(size=size + len(leaf_hashes), root=_edge_root(edge), tiles=tiles)


def edge_root(size: int, read_tile: TileReader) -> bytes:
    """The root of a tree of `size` leaves from its right edge alone: at most one tile a level.

    Raises Corrupt where a tile is shorter than the size says, and what `read_tile` raises.
    """
    return _edge_root(_right_edge(size, read_tile))


def tile_root(full_tile: bytes) -> bytes:
    """The hash that stands for a full tile in the level above. Raises ValueError for another."""
    if len(full_tile) != TILE_BYTES:
        raise ValueError(f"full tile of {len(full_tile)} bytes, not {TILE_BYTES}")
    return tile_roots(full_tile)


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: for each entry its length as uint16, big-endian, and its bytes.

    Bundles of one tile may be joined end to end. Raises TooLarge for an entry over 65,535
    bytes, ValueError for more than 256 entries.
    """
    if len(entries) > TILE_WIDTH:
        raise ValueError(f"bundle of {len(entries)} entries, at most {TILE_WIDTH}")
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise TooLarge(f"entry of {len(entry)} bytes, at most {MAX_ENTRY_BYTES}")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_bundle(data: bytes) -> tuple[bytes, ...]:
    """The entries of a bundle, full or partial. Raises MalformedInput."""
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if position > len(data):
            raise MalformedInput(f"bundle of {len(data)} bytes ends inside entry {len(entries)}")
        if len(entries) == TILE_WIDTH:
            raise MalformedInput(f"bundle of more than {TILE_WIDTH} entries")
        entries.append(data[start:position])
    return tuple(entries)


def _right_edge(size: int, read_tile: TileReader) -> list[bytes]:
    """For each level its last, partial tile; empty bytes where the level ends on a full one."""
    if size < 0:
        raise ValueError(f"tree size {size} is negative")
    edge = []
    level = 0
    while hashes := size >> TILE_HEIGHT * level:
        n, width = divmod(hashes, TILE_WIDTH)
        tile = read_tile(level, n)[: width * HASH_SIZE] if width else b""
        if len(tile) != width * HASH_SIZE:
            raise Corrupt(
                f"tile of {len(tile)} bytes, but size {size} wants {width * HASH_SIZE}",
                name=tile_path(level, n, width),
            )
        edge.append(tile)
        level += 1
    return edge


def _edge_root(edge: Sequence[bytes]) -> bytes:
    """Folds the complete subtrees of the edge, right to left: RFC 6962's root."""
    computed: bytes | None = None
    for tile in edge:
        end = len(tile)
        while end:
            # The smallest complete subtree the tile ends with: the lowest bit of its width.
            start = end - (end & -end)
            subtree = _subtree_root(tile[start:end])
            computed = subtree if computed is None else node_hash(subtree, computed)
            end = start
    return EMPTY_ROOT if computed is None else computed


def tile_roots(full_tiles: bytes) -> bytes:
    """One hash for each of the full tiles that lie joined in `full_tiles`, joined as well."""
    if len(full_tiles) == TILE_BYTES:
        return _subtree_root(full_tiles)
    for _ in range(TILE_HEIGHT):
        full_tiles = _row_above(full_tiles)
    return full_tiles


def _row_above(hashes: bytes) -> bytes:
    """The parents of a row of hashes; the last one of an odd row has none yet."""
    pairs = range(0, len(hashes) - _PAIR_BYTES + 1, _PAIR_BYTES)
    return b"".join([sha256(b"\x01" + hashes[i : i + _PAIR_BYTES]).digest() for i in pairs])


# By content, as below: proofs of all readers meet the same few tiles of the upper levels.
# At most 256 times 16 KiB.
@lru_cache(maxsize=256)
def _pyramid(tile: bytes) -> tuple[bytes, ...]:
    """The tile, and above it each row up to the one that a full tile's root would be."""
    rows = [tile]
    for _ in range(TILE_HEIGHT):
        rows.append(_row_above(rows[-1]))
    return tuple(rows)


def _subtree_root(hashes: bytes) -> bytes:
    """The root of a power of two of hashes inside one tile."""
    if len(hashes) > _UNREMEMBERED_BYTES:
        return _remembered_root(hashes)
    while len(hashes) > HASH_SIZE:
        hashes = _row_above(hashes)
    return hashes


# A small append finds the same left parts of the edge as the one before it. The memory is
# by content, so it can't be stale, whoever asks: a tile with a flipped bit is another key.
# At most 256 times 8 KiB.
@lru_cache(maxsize=256)
def _remembered_root(hashes: bytes) -> bytes:
    middle = len(hashes) // 2
    return node_hash(_subtree_root(hashes[:middle]), _subtree_root(hashes[middle:]))
