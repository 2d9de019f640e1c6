"""A store on an S3 server that answers as such servers do on bad days: the right thing, or an
error that says to try again, never a wrong thing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from storage.errors import StoreUnavailable
from storage.objects import ObjectStore
from storage.stores import open_store
from tests.contract.stores import PLAIN_BUCKET, put, read, s3
from tests.harness.s3_faults import Fault, S3Faults, s3_faults
from tests.harness.weed import WeedServer

__all__ = ["s3"]

KEY = "originals/aa/one"


@pytest.fixture
def way(s3: WeedServer) -> Iterator[S3Faults]:
    with s3_faults(int(s3.endpoint.rsplit(":", 1)[1])) as faults:
        yield faults


@pytest.fixture
def behind(way: S3Faults) -> ObjectStore:
    """The store, as seen through it."""
    prefix = f"{PLAIN_BUCKET}/{uuid.uuid4()}"
    return open_store(f"s3://{prefix}?endpoint=http://127.0.0.1:{way.port}")


def test_without_a_fault_all_is_passed_on_as_it_came(behind: ObjectStore) -> None:
    put(behind, KEY, b"bytes")
    assert read(behind, KEY) == b"bytes"


def test_a_write_that_is_said_to_be_done_and_is_not_there_is_no_success(
    way: S3Faults, behind: ObjectStore
) -> None:
    way.begin(Fault.VANISHED)
    with pytest.raises(StoreUnavailable, match="does not have it"):
        put(behind, KEY, b"bytes")
    way.end()
    assert list(behind.walk()) == []
    put(behind, KEY, b"bytes")  # the same again, on a better day
    assert read(behind, KEY) == b"bytes"


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.SLOW_DOWN, Fault.CUT_REQUEST])
def test_a_write_that_never_succeeds_says_to_try_again(
    way: S3Faults, behind: ObjectStore, fault: Fault
) -> None:
    way.begin(fault)
    with pytest.raises(StoreUnavailable):
        put(behind, KEY, b"bytes")
    way.end()
    assert list(behind.walk()) == []


def test_half_an_answer_is_never_taken_for_the_whole(way: S3Faults, behind: ObjectStore) -> None:
    put(behind, KEY, bytes(100_000))
    way.begin(Fault.CUT_ANSWER)
    with pytest.raises(StoreUnavailable):
        read(behind, KEY)
    way.end()
    assert read(behind, KEY) == bytes(100_000)
