"""Retention and holds, in every store that has them: only ever longer, and nothing goes before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.errors import InvalidKey, ObjectDiffers, ObjectLocked, ObjectNotFound
from storage.local import LocalStore
from storage.objects import ObjectStore, Protection, whole_second
from tests.contract.stores import protecting, put, read

__all__ = ["protecting"]  # fixture

KEY = "originals/3f/one"
NONE = Protection(until=None, held=False)


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_new_object_is_neither_retained_nor_held(protecting: ObjectStore) -> None:
    stored = put(protecting, KEY, b"x")
    assert protecting.protection(KEY, version=stored.version) == NONE
    assert protecting.protection(KEY, version=None) == NONE


def test_retained_object_is_not_discarded_and_stays_as_it_is(protecting: ObjectStore) -> None:
    stored = put(protecting, KEY, b"evidence")
    until = in_days(1)
    protecting.retain(KEY, version=stored.version, until=until)
    there = protecting.protection(KEY, version=stored.version)
    assert there == Protection(until=whole_second(until), held=False)
    assert there.until is not None and there.until >= until
    for version in (None, stored.version):
        with pytest.raises(ObjectLocked, match="retained until"):
            protecting.discard(KEY, version=version)
    assert read(protecting, KEY) == b"evidence"
    assert [found.key for found in protecting.walk()] == [KEY]


def test_retention_is_extended_and_never_shortened(protecting: ObjectStore) -> None:
    stored = put(protecting, KEY, b"x")
    for until in (in_days(2), in_days(3)):
        protecting.retain(KEY, version=stored.version, until=until)
        protecting.retain(KEY, version=stored.version, until=until)
        assert protecting.protection(KEY, version=stored.version).until == whole_second(until)
    with pytest.raises(ObjectLocked, match="later than"):
        protecting.retain(KEY, version=stored.version, until=in_days(2.5))
    assert protecting.protection(KEY, version=stored.version).until == whole_second(until)


def test_retention_that_has_passed_is_passed_over(protecting: ObjectStore) -> None:
    stored = put(protecting, KEY, b"x")
    protecting.retain(KEY, version=stored.version, until=in_days(-1))
    assert protecting.protection(KEY, version=stored.version) == NONE
    protecting.discard(KEY)


def test_held_object_goes_only_after_the_hold_is_taken_off(protecting: ObjectStore) -> None:
    stored = put(protecting, KEY, b"x")
    for _ in range(2):
        protecting.hold(KEY, version=stored.version, on=True)
    assert protecting.protection(KEY, version=stored.version) == Protection(until=None, held=True)
    with pytest.raises(ObjectLocked, match="held"):
        protecting.discard(KEY, version=stored.version)
    assert read(protecting, KEY) == b"x"
    for _ in range(2):
        protecting.hold(KEY, version=stored.version, on=False)
    assert protecting.protection(KEY, version=stored.version) == NONE
    protecting.discard(KEY, version=stored.version)
    with pytest.raises(ObjectNotFound):
        protecting.stat(KEY)


def test_hold_and_retention_do_not_touch_each_other(protecting: ObjectStore) -> None:
    stored = put(protecting, KEY, b"x")
    until = in_days(1)
    protecting.hold(KEY, version=stored.version, on=True)
    protecting.retain(KEY, version=stored.version, until=until)
    both = Protection(until=whole_second(until), held=True)
    assert protecting.protection(KEY, version=stored.version) == both
    protecting.hold(KEY, version=stored.version, on=False)
    with pytest.raises(ObjectLocked, match="retained until"):
        protecting.discard(KEY)


def test_retention_that_is_over_lets_the_object_go(protecting: ObjectStore) -> None:
    stored = put(protecting, KEY, b"x")
    until = whole_second(datetime.now(UTC) + timedelta(seconds=1))
    protecting.retain(KEY, version=stored.version, until=until)
    while datetime.now(UTC) <= until + timedelta(seconds=1):
        pass
    protecting.discard(KEY, version=stored.version)
    with pytest.raises(ObjectNotFound):
        protecting.stat(KEY)


def test_holds_and_retentions_at_once_are_all_kept(protecting: ObjectStore) -> None:
    stored = put(protecting, KEY, b"x")
    until = in_days(1)

    def act(number: int) -> None:
        if number % 2:
            protecting.hold(KEY, version=stored.version, on=True)
        else:
            protecting.retain(KEY, version=stored.version, until=until)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, range(16)))
    both = Protection(until=whole_second(until), held=True)
    assert protecting.protection(KEY, version=stored.version) == both


def test_what_is_not_there_can_not_be_protected(protecting: ObjectStore) -> None:
    for act in (
        lambda: protecting.retain(KEY, version=None, until=in_days(1)),
        lambda: protecting.hold(KEY, version=None, on=True),
        lambda: protecting.protection(KEY, version=None),
    ):
        with pytest.raises(ObjectNotFound, match="3f/one"):
            act()


def test_bad_key_is_refused(protecting: ObjectStore) -> None:
    for key in ("../climbs", "", "+protection-one"):
        with pytest.raises(InvalidKey):
            protecting.retain(key, version=None, until=in_days(1))
        with pytest.raises(InvalidKey):
            protecting.hold(key, version=None, on=True)
        with pytest.raises(InvalidKey):
            protecting.protection(key, version=None)


def test_retention_outlives_the_process_that_set_it(tmp_path: Path) -> None:
    first = LocalStore(tmp_path)
    put(first, KEY, b"x")
    first.retain(KEY, version=None, until=in_days(1))
    with pytest.raises(ObjectLocked):
        LocalStore(tmp_path).discard(KEY)


def test_words_beside_a_file_are_no_object_and_nothing_unfinished(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    put(store, KEY, b"x")
    store.hold(KEY, version=None, on=True)
    assert [found.key for found in store.walk()] == [KEY]
    assert list(store.incoming(in_days(1))) == []
    store.hold(KEY, version=None, on=False)
    store.discard(KEY)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("words", [b"", b"{", b"[]", b'{"held": true}', b'{"held": 0, "until": 7}'])
def test_unreadable_words_are_not_taken_for_no_protection(tmp_path: Path, words: bytes) -> None:
    store = LocalStore(tmp_path)
    put(store, KEY, b"x")
    (tmp_path / "originals/3f/+protection-one").write_bytes(words)
    with pytest.raises(ObjectDiffers, match="does not say"):
        store.discard(KEY)
    with pytest.raises(ObjectDiffers, match="does not say"):
        store.protection(KEY, version=None)
    assert read(store, KEY) == b"x"
