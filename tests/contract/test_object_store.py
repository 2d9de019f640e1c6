"""One contract, every store: what `storage/objects.py` promises holds for files and for S3."""

from __future__ import annotations

import hashlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidKey, ObjectExists, ObjectNotFound
from storage.objects import READ_SIZE, ObjectStore, parse_key, parse_prefix
from tests.contract.stores import put, read, store

__all__ = ["store"]  # fixture

MIB = 1 << 20
PART = 8 * MIB
KEY = "originals/3f/0192e4a1-6f2d-7c3b-9a57-0c3f5b1f2e4d"
BAD_KEYS = [
    "",
    "/",
    "/absolute",
    "trailing/",
    "double//slash",
    "..",
    ".",
    "../climbs",
    "a/../b",
    "a/./b",
    "a/..",
    "UPPER",
    "with space",
    "back\\slash",
    "nul\0",
    "new\nline",
    "a\n",
    "caf\u00e9",
    "\u0661",
    "%2e%2e/a",
    "+incoming-0",
    "a:b",
    "x" * 201,
    "/".join(["x" * 100] * 6),
]


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 20 * MIB])
def test_object_comes_back_as_it_was_written(store: ObjectStore, size: int) -> None:
    content = random.Random(size).randbytes(size)
    chunks = [content[at : at + MIB + 7] for at in range(0, size, MIB + 7)]
    stored = put(store, KEY, *chunks)
    assert (stored.key, stored.size) == (KEY, size)
    assert hashlib.sha256(read(store, KEY)).digest() == hashlib.sha256(content).digest()
    assert hashlib.sha256(read(store, KEY, version=stored.version)).digest() == (
        hashlib.sha256(content).digest()
    )
    found = store.stat(KEY)
    assert (found.key, found.size, found.version) == (KEY, size, stored.version)
    assert abs(found.modified_at - stored.modified_at) < timedelta(minutes=1)
    assert found.modified_at.tzinfo is UTC
    assert stored.modified_at.tzinfo is UTC


def test_chunks_are_taken_at_once_and_the_buffer_may_be_reused(store: ObjectStore) -> None:
    buffer = bytearray(b"first-")
    with store.begin(KEY) as incoming:
        incoming.write(memoryview(buffer))
        buffer[:] = b"second"
        incoming.write(memoryview(buffer))
        incoming.write(b"")
        buffer[:] = b"xxxxxx"
        incoming.commit()
    assert read(store, KEY) == b"first-second"


def test_no_chunk_is_longer_than_a_mebibyte(store: ObjectStore) -> None:
    put(store, KEY, bytes(3 * MIB + 1))
    assert max(map(len, store.open(KEY))) <= READ_SIZE


@pytest.mark.parametrize("size", [3, PART + 1])
def test_second_commit_is_refused_and_the_first_bytes_stay(store: ObjectStore, size: int) -> None:
    put(store, KEY, b"first")
    with store.begin(KEY) as incoming, pytest.raises(ObjectExists, match="0192e4a1"):
        incoming.write(bytes(size))
        incoming.commit()
    assert read(store, KEY) == b"first"
    assert [found.size for found in store.walk()] == [5]
    assert list(store.incoming(datetime.now(UTC) + timedelta(days=1))) == []


def test_of_sixteen_commits_at_once_on_one_key_exactly_one_wins(
    store: ObjectStore, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["store"] == "ceph-locked":
        pytest.skip("Ceph ignores If-None-Match where versions are kept; see test_s3_store")
    together = threading.Barrier(16)

    def contend(number: int) -> bytes | None:
        content = b"written by %d" % number
        with store.begin(KEY) as incoming:
            incoming.write(content)
            together.wait()
            try:
                incoming.commit()
            except ObjectExists:
                return None
        return content

    with ThreadPoolExecutor(16) as pool:
        won = [content for content in pool.map(contend, range(16)) if content is not None]
    assert len(won) == 1
    assert read(store, KEY) == won[0]
    assert len(list(store.walk())) == 1


@pytest.mark.parametrize("size", [0, 5, PART + 1, 3 * PART])
def test_abort_leaves_nothing(store: ObjectStore, size: int) -> None:
    incoming = store.begin(KEY)
    incoming.write(bytes(size))
    incoming.abort()
    incoming.abort()
    _assert_empty(store)


def test_error_in_the_middle_leaves_nothing(store: ObjectStore) -> None:
    with pytest.raises(ZeroDivisionError), store.begin(KEY) as incoming:
        incoming.write(bytes(PART + 1))
        raise ZeroDivisionError
    _assert_empty(store)


def test_leaving_without_commit_leaves_nothing(store: ObjectStore) -> None:
    with store.begin(KEY) as incoming:
        incoming.write(b"never committed")
    _assert_empty(store)


def test_abort_after_commit_takes_nothing_away(store: ObjectStore) -> None:
    with store.begin(KEY) as incoming:
        incoming.write(b"kept")
        incoming.commit()
        incoming.abort()
    assert read(store, KEY) == b"kept"


@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_nothing_can_be_added_after_the_end(store: ObjectStore, ending: str) -> None:
    incoming = store.begin(KEY)
    incoming.write(b"x")
    getattr(incoming, ending)()
    with pytest.raises(RuntimeError, match="already"):
        incoming.write(b"more")
    with pytest.raises(RuntimeError, match="already"):
        incoming.commit()


def test_what_is_being_written_is_under_no_key(store: ObjectStore) -> None:
    with store.begin(KEY) as incoming:
        incoming.write(bytes(PART + 1))
        assert list(store.walk()) == []
        with pytest.raises(ObjectNotFound):
            store.stat(KEY)
        with pytest.raises(ObjectNotFound):
            store.open(KEY)


def test_range_gives_what_a_slice_gives(store: ObjectStore) -> None:
    content = b"0123456789"
    put(store, KEY, content)
    for offset in (0, 3, 9, 10, 11, 500):
        for length in (None, 0, 1, 4, 10, 99):
            end = None if length is None else offset + length
            assert read(store, KEY, offset=offset, length=length) == content[offset:end]


def test_range_of_an_empty_object_is_empty(store: ObjectStore) -> None:
    put(store, KEY)
    assert read(store, KEY, offset=0, length=10) == b""
    assert read(store, KEY, offset=1) == b""


def test_range_across_parts_is_exact(store: ObjectStore) -> None:
    content = random.Random(7).randbytes(PART + 2 * MIB)
    put(store, KEY, content)
    assert read(store, KEY, offset=PART - 5, length=10) == content[PART - 5 : PART + 5]


def test_negative_range_is_refused(store: ObjectStore) -> None:
    put(store, KEY, b"0123456789")
    for offset, length in ((-1, None), (0, -1)):
        with pytest.raises(ValueError, match="negative"):
            store.open(KEY, offset=offset, length=length)


def test_missing_object_is_known_before_the_first_chunk(store: ObjectStore) -> None:
    for length in (None, 0, 1):
        with pytest.raises(ObjectNotFound, match="0192e4a1"):
            store.open(KEY, length=length)
    with pytest.raises(ObjectNotFound, match="0192e4a1"):
        store.stat(KEY)


def test_folder_of_keys_is_not_an_object(store: ObjectStore) -> None:
    put(store, KEY, b"x")
    for folder in ("originals", "originals/3f"):
        with pytest.raises(ObjectNotFound):
            store.stat(folder)
        with pytest.raises(ObjectNotFound):
            store.open(folder)
        store.discard(folder)
    with pytest.raises(ObjectNotFound):
        store.stat(KEY + "/below")
    assert read(store, KEY) == b"x"


def test_reading_can_be_stopped_early(store: ObjectStore) -> None:
    put(store, KEY, bytes(3 * MIB))
    chunks = store.open(KEY)
    assert next(chunks)
    chunks.close()
    unread = store.open(KEY)
    unread.close()
    assert list(unread) == []


def test_discarded_object_is_gone_and_discarding_twice_is_fine(store: ObjectStore) -> None:
    put(store, KEY, b"rejected by its digest")
    store.discard(KEY)
    store.discard(KEY)
    _assert_empty(store)
    with pytest.raises(ObjectNotFound):
        store.open(KEY)
    put(store, KEY, b"anew")
    assert read(store, KEY) == b"anew"


def test_walk_shows_each_object_once_below_its_prefix(store: ObjectStore) -> None:
    keys = {
        "originals/3f/one",
        "originals/3f/two",
        "originals/3fa/three",
        "originals/40/four",
        "records/3f/one",
        "top",
    }
    for key in keys:
        put(store, key, key.encode())
    assert {(found.key, found.size) for found in store.walk()} == {(k, len(k)) for k in keys}
    assert [found.key for found in store.walk()] == sorted(keys)
    for prefix in ("originals/", "originals/3f", "originals/3f/", "originals/3f/t", "to", "zz"):
        expected = {key for key in keys if key.startswith(prefix)}
        assert [found.key for found in store.walk(prefix)] == sorted(expected)
        for after in (*sorted(keys), "originals/3f", "originals/3f/zz", "originals/9", "zz", "a"):
            rest = sorted(key for key in expected if key > after)
            assert [found.key for found in store.walk(prefix, after=after)] == rest, after
    assert list(store.walk("originals/nothing/here/")) == []


def test_sweep_removes_what_was_abandoned_and_nothing_else(store: ObjectStore) -> None:
    put(store, "originals/3f/kept", b"kept")
    abandoned = store.begin(KEY)
    abandoned.write(bytes(PART + 1))
    later, earlier = (datetime.now(UTC) + timedelta(hours=sign) for sign in (1, -1))
    assert list(store.incoming(earlier)) == []
    assert store.sweep_incoming(earlier) == 0
    (left,) = store.incoming(later)
    assert left.touched_at < later
    assert store.sweep_incoming(later) == 1
    assert list(store.incoming(later)) == []
    assert store.sweep_incoming(later) == 0
    assert [found.key for found in store.walk()] == ["originals/3f/kept"]
    abandoned.abort()


def test_bad_key_is_refused_everywhere(store: ObjectStore) -> None:
    for key in BAD_KEYS:
        for use in (store.begin, store.open, store.stat, store.discard):
            with pytest.raises(InvalidKey):
                use(key)


def test_bad_prefix_is_refused(store: ObjectStore) -> None:
    for prefix in ("/", "..", "../", "a/../", "a//", "A", "a\0", "%", "x" * 513):
        with pytest.raises(InvalidKey):
            list(store.walk(prefix))


@given(st.text(alphabet="ab./-_\\A+\0\n", max_size=12))
def test_key_of_any_text_is_refused_or_stays_below(text: str) -> None:
    try:
        key = parse_key(text)
    except InvalidKey:
        return
    assert not {"", ".", ".."} & set(key.split("/"))
    assert key == text
    assert parse_prefix(key) == key


def test_check_passes_twice_and_leaves_nothing(store: ObjectStore) -> None:
    store.check()
    store.check()
    _assert_empty(store)


def test_preparing_again_changes_nothing(store: ObjectStore) -> None:
    put(store, KEY, b"x")
    store.prepare()
    assert read(store, KEY) == b"x"


def _assert_empty(store: ObjectStore) -> None:
    assert list(store.walk()) == []
    assert list(store.incoming(datetime.now(UTC) + timedelta(days=1))) == []
