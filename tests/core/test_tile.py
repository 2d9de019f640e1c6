from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notary.errors import Corrupt, MalformedInput, TooLarge
from notary.tlog.merkle import EMPTY_ROOT, HASH_SIZE, leaf_hash
from notary.tlog.tile import (
    ENTRIES,
    TILE_BYTES,
    TILE_WIDTH,
    Growth,
    Level,
    TileId,
    edge_root,
    encode_bundle,
    grow,
    hash_reader,
    parse_bundle,
    parse_tile_path,
    partial_width,
    tile_path,
)
from tests.harness.oracle import Oracle

DATA = [b"entry %d" % i for i in range(70_000)]
LEAVES = [leaf_hash(entry) for entry in DATA]
ORACLE = Oracle(DATA)


class Shelf:
    """Keeps the widest of each tile, as the ledger does, and writes down what is read."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.read: list[tuple[int, int]] = []

    def __call__(self, level: int, n: int) -> bytes:
        self.read.append((level, n))
        return self.tiles[level, n]

    def take(self, growth: Growth) -> None:
        for key, tile in growth.tiles.items():
            before = self.tiles.get(key, b"")
            assert tile.startswith(before), f"tile {key} was rewritten"
            assert len(tile) > len(before), f"tile {key} did not change"
            self.tiles[key] = tile


def planted(size: int) -> Shelf:
    shelf = Shelf()
    shelf.take(grow(0, LEAVES[:size], shelf))
    shelf.read.clear()
    return shelf


# Paths


@pytest.mark.parametrize(
    ("level", "n", "width", "path"),
    [
        (0, 1_234_067, 256, "tile/0/x001/x234/067"),
        (0, 5, 256, "tile/0/005"),
        (0, 0, 256, "tile/0/000"),
        (0, 273, 112, "tile/0/273.p/112"),
        (1, 999, 1, "tile/1/999.p/1"),
        (63, 1000, 255, "tile/63/x001/000.p/255"),
        (ENTRIES, 123_456, 17, "tile/entries/x123/456.p/17"),
        (ENTRIES, 2**63 - 1, 256, "tile/entries/x009/x223/x372/x036/x854/x775/807"),
    ],
)
def test_paths_are_written_and_read_as_the_standard_has_them(
    level: Level, n: int, width: int, path: str
) -> None:
    assert tile_path(level, n, width) == path
    assert parse_tile_path(path) == TileId(level=level, n=n, width=width)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/5",
        "tile/0/05",
        "tile/0/0005",
        "tile/0/1000",
        "tile/0/x000/005",
        "tile/0/x001/x067",
        "tile/0/001/067",
        "tile/0/x1/067",
        "tile/0/X001/067",
        "tile/00/005",
        "tile/01/005",
        "tile/64/005",
        "tile/100/005",
        "tile/-1/005",
        "tile/+1/005",
        "tile/٣/005",
        "tile/0/٠٠٥",
        "tile/0/005.p/0",
        "tile/0/005.p/256",
        "tile/0/005.p/01",
        "tile/0/005.p/1000",
        "tile/0/005.p/",
        "tile/0/005.p",
        "tile/0/005/",
        "tile/0/005\n",
        "tile/0/005.p/1\n",
        " tile/0/005",
        "/tile/0/005",
        "tile//005",
        "tile/0/../005",
        "tile/8/0/005",
        "tile/data/005",
        "tile/Entries/005",
        "tile/entries",
        "checkpoint",
        "tile/0/x009/x223/x372/x036/x854/x775/808",
        "tile/0/x001/x000/x000/x000/x000/x000/x000/000",
        "tile/0/\x00005",
    ],
)
def test_any_other_spelling_of_a_path_is_refused(path: str) -> None:
    with pytest.raises(MalformedInput):
        parse_tile_path(path)


@given(
    st.one_of(st.just(ENTRIES), st.integers(0, 63)),
    st.integers(0, 2**63 - 1),
    st.integers(1, 256),
)
def test_path_round_trip(level: int, n: int, width: int) -> None:
    tile = TileId(level=level, n=n, width=width)
    assert parse_tile_path(tile.encode()) == tile


@given(
    st.one_of(st.text(), st.from_regex(r"\Atile/[0-9en]{1,3}/(x?[0-9]{2,4}/){0,2}[0-9.p/]{2,9}"))
)
def test_any_text_is_a_path_in_its_only_spelling_or_malformed(text: str) -> None:
    try:
        tile = parse_tile_path(text)
    except MalformedInput:
        return
    assert tile.encode() == text


@pytest.mark.parametrize(
    ("level", "n", "width"), [(-1, 0, 256), (64, 0, 256), (0, -1, 1), (0, 0, 0), (0, 0, 257)]
)
def test_tile_that_cannot_be_is_refused(level: int, n: int, width: int) -> None:
    with pytest.raises(ValueError, match="is not"):
        tile_path(level, n, width)


def test_partial_widths_of_70_000_are_the_standards_example() -> None:
    assert [partial_width(level, 70_000) for level in range(4)] == [112, 17, 1, 0]
    assert partial_width(ENTRIES, 70_000) == 112
    assert [partial_width(level, 256) for level in range(3)] == [0, 1, 0]


# Growing


@st.composite
def histories(draw: st.DrawFn) -> list[int]:
    """Sizes from 0 upwards to at most 2,000, in steps from none to several tiles."""
    steps = draw(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 700)), max_size=12))
    sizes = [0]
    for step in steps:
        sizes.append(min(2000, sizes[-1] + step))
    return sizes


@given(histories())
@example([0, 255, 256, 257])
@example([0, 256, 512, 513, 2000])
@example([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_growing_in_any_steps_makes_the_oracles_roots_and_the_same_tiles(sizes: list[int]) -> None:
    shelf = Shelf()
    for old, new in pairwise(sizes):
        growth = grow(old, LEAVES[old:new], shelf, expected_root=ORACLE.mth(0, old))
        shelf.take(growth)
        assert (growth.size, growth.root) == (new, ORACLE.mth(0, new))
        assert edge_root(new, shelf) == growth.root
    assert shelf.tiles == grow(0, LEAVES[: sizes[-1]], shelf).tiles


def test_tree_of_70_000_has_the_tiles_of_the_standards_example() -> None:
    growth = grow(0, LEAVES, Shelf())
    assert growth.root == ORACLE.mth(0, 70_000)
    full = {(0, n) for n in range(273)} | {(1, 0)}
    partial = {(0, 273): 112, (1, 1): 17, (2, 0): 1}
    assert set(growth.tiles) == full | set(partial)
    assert all(len(growth.tiles[key]) == TILE_BYTES for key in full)
    assert all(len(growth.tiles[key]) == width * HASH_SIZE for key, width in partial.items())
    for (level, n), tile in growth.tiles.items():
        span = TILE_WIDTH**level
        for i in range(len(tile) // HASH_SIZE):
            start = (n * TILE_WIDTH + i) * span
            found = tile[i * HASH_SIZE : (i + 1) * HASH_SIZE]
            assert found == ORACLE.mth(start, start + span)


@pytest.mark.parametrize("steps", [(65_535, 65_536, 65_537), (65_530, 65_800), (65_536, 70_000)])
def test_third_level_appears_at_the_65_536th_leaf(steps: Sequence[int]) -> None:
    shelf = Shelf()
    for old, new in pairwise((0, *steps)):
        growth = grow(old, LEAVES[old:new], shelf)
        shelf.take(growth)
        assert growth.root == ORACLE.mth(0, new)
        assert ((2, 0) in shelf.tiles) is (new >= 65_536)


def test_growing_reads_the_right_edge_once_and_nothing_else() -> None:
    shelf = planted(66_000)
    shelf.take(grow(66_000, LEAVES[66_000:66_900], shelf, expected_root=ORACLE.mth(0, 66_000)))
    assert sorted(shelf.read) == [(0, 257), (1, 1), (2, 0)]
    shelf = planted(512)
    grow(512, LEAVES[512:513], shelf)
    assert shelf.read == [(1, 0)]


def test_growing_returns_only_what_is_new_or_wider() -> None:
    shelf = planted(700)
    growth = grow(700, LEAVES[700:701], shelf)
    assert set(growth.tiles) == {(0, 2)}
    assert growth.tiles[0, 2] == b"".join(LEAVES[512:701])
    growth = grow(700, LEAVES[700:800], shelf)
    assert set(growth.tiles) == {(0, 2), (0, 3), (1, 0)}


def test_growing_by_nothing_changes_nothing() -> None:
    growth = grow(700, [], planted(700))
    assert growth == Growth(size=700, root=ORACLE.mth(0, 700), tiles={})
    assert grow(0, [], Shelf()) == Growth(size=0, root=EMPTY_ROOT, tiles={})


def test_tile_left_wider_by_an_uncommitted_growth_is_cut_back() -> None:
    shelf = planted(700)
    shelf.take(grow(700, [bytes(32)] * 30, shelf))
    growth = grow(700, LEAVES[700:710], shelf, expected_root=ORACLE.mth(0, 700))
    assert growth.root == ORACLE.mth(0, 710)
    assert growth.tiles[0, 2] == b"".join(LEAVES[512:710])


@pytest.mark.parametrize("key", [(0, 2), (1, 0)])
@pytest.mark.parametrize("missing", [1, 32])
def test_tile_shorter_than_the_size_says_is_corrupt(key: tuple[int, int], missing: int) -> None:
    shelf = planted(700)
    shelf.tiles[key] = shelf.tiles[key][:-missing]
    for attempt in (lambda: grow(700, LEAVES[700:701], shelf), lambda: edge_root(700, shelf)):
        with pytest.raises(Corrupt) as caught:
            attempt()
        assert caught.value.name == tile_path(*key, partial_width(key[0], 700))


def test_any_flipped_bit_of_the_right_edge_is_caught_before_it_is_built_upon() -> None:
    shelf = planted(700)
    signed = ORACLE.mth(0, 700)
    assert edge_root(700, shelf) == signed
    for key in ((0, 2), (1, 0)):
        whole = shelf.tiles[key]
        for position in range(0, len(whole), 7):
            changed = bytearray(whole)
            changed[position] ^= 1 << position % 8
            shelf.tiles[key] = bytes(changed)
            with pytest.raises(Corrupt, match="root hash mismatch at size 700"):
                grow(700, LEAVES[700:701], shelf, expected_root=signed)
        shelf.tiles[key] = whole
    assert grow(700, LEAVES[700:701], shelf, expected_root=signed).root == ORACLE.mth(0, 701)


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33), bytes(64)])
def test_leaf_hash_that_is_not_32_bytes_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        grow(0, [LEAVES[0], wrong, LEAVES[1]], Shelf())


def test_growing_from_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        grow(-1, [], Shelf())


def test_what_the_store_raises_comes_through() -> None:
    with pytest.raises(KeyError):
        grow(700, LEAVES[700:701], Shelf())
    with pytest.raises(KeyError):
        hash_reader(Shelf())(0, 0)


# Reading hashes


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700, 2000])
def test_reader_gives_every_complete_subtree(size: int) -> None:
    read = hash_reader(planted(size))
    for level in range(size.bit_length()):
        for index in range(size >> level):
            assert read(level, index) == ORACLE.complete_subtree(size, level, index)


def test_tile_that_ends_inside_a_hash_is_corrupt_there() -> None:
    shelf = planted(700)
    shelf.tiles[0, 2] = shelf.tiles[0, 2][:-1]
    read = hash_reader(shelf)
    assert read(0, 698) == LEAVES[698]
    for level, index in ((0, 699), (1, 349)):
        with pytest.raises(Corrupt, match="does not hold"):
            read(level, index)


def test_reader_reads_each_tile_once() -> None:
    shelf = planted(2000)
    read = hash_reader(shelf)
    for index in range(2000):
        read(0, index)
        read(3, index >> 4)
    assert sorted(shelf.read) == [(0, n) for n in range(8)]


@pytest.mark.parametrize(("level", "index"), [(0, 700), (0, 767), (1, 350), (9, 1), (8, 2)])
def test_hash_that_the_tile_does_not_hold_is_corrupt(level: int, index: int) -> None:
    with pytest.raises(Corrupt) as caught:
        hash_reader(planted(700))(level, index)
    assert caught.value.name == tile_path(level // 8, index >> 8 - level % 8)


# Entry bundles


def test_bundle_is_lengths_and_bytes() -> None:
    assert encode_bundle([b"ab", b"", b"c"]) == b"\x00\x02ab\x00\x00\x00\x01c"


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_bundle_round_trip(entries: list[bytes]) -> None:
    assert parse_bundle(encode_bundle(entries)) == tuple(entries)


@given(st.lists(st.binary(max_size=9), max_size=9), st.lists(st.binary(max_size=9), max_size=9))
def test_bundles_join_end_to_end(one: list[bytes], other: list[bytes]) -> None:
    assert parse_bundle(encode_bundle(one) + encode_bundle(other)) == (*one, *other)


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_bundle_or_malformed(data: bytes) -> None:
    try:
        entries = parse_bundle(data)
    except MalformedInput:
        return
    assert encode_bundle(entries) == data


def test_bundle_cut_anywhere_but_between_entries_is_malformed() -> None:
    data = encode_bundle([b"one", b"two"])
    for end in range(len(data)):
        if end in (0, 5):
            assert len(parse_bundle(data[:end])) == end // 5
        else:
            with pytest.raises(MalformedInput, match="ends inside entry"):
                parse_bundle(data[:end])


def test_entry_of_65_535_bytes_fits_and_of_one_more_does_not() -> None:
    assert parse_bundle(encode_bundle([bytes(65_535)])) == (bytes(65_535),)
    with pytest.raises(TooLarge, match="entry of 65536 bytes, at most 65535"):
        encode_bundle([bytes(65_536)])


def test_bundle_of_257_entries_is_neither_written_nor_read() -> None:
    with pytest.raises(ValueError, match="257 entries"):
        encode_bundle([b""] * 257)
    with pytest.raises(MalformedInput, match="more than 256"):
        parse_bundle(bytes(2 * 257))
