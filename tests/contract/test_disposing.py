"""Disposal where the house is scaled: PostgreSQL, originals under Object Lock, two nodes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from notary.disposals import State
from notary.errors import Conflict
from notary.journal import segment_objects
from notary.model import Deposit
from notary.office import Office
from notary.originals import object_key
from notary.rebuild import rebuild
from tests.harness.certified import open_house
from tests.harness.disposing import (
    BASIS,
    REASON,
    clerk,
    clerks,
    deposit,
    dispose,
    faults,
    journalled,
    with_papers,
)
from tests.harness.postgres import shared_postgres
from tests.harness.weed import WeedServer

pytestmark = pytest.mark.slow

BUCKET = f"disposed-{uuid.uuid4()}"


@pytest.fixture
def house(weed: WeedServer, tmp_path: Path) -> Iterator[Office]:
    with shared_postgres().database() as database:
        office = open_house(
            tmp_path / "house",
            database=database,
            encryption="file:",
            objects=f"s3://{BUCKET}/{uuid.uuid4()}?endpoint={weed.endpoint}&lock=governance&days=1",
        )
        try:
            yield office
        finally:
            office.close()


def lock(house: Office, which: Deposit) -> None:
    """For a day, as the house does with every original."""
    until = house.clock.now() + timedelta(days=1)
    house.objects.retain(object_key(which.id), version=None, until=until)


def versions(house: Office, weed: WeedServer, under: str) -> list[bytes]:
    """Every version of every object there, however it was hidden."""
    place = house.settings.objects.partition("?")[0].removeprefix(f"s3://{BUCKET}/")
    client = weed.client()
    listed = client.list_object_versions(Bucket=BUCKET, Prefix=f"{place}/{under}")
    return [
        client.get_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])[
            "Body"
        ].read()
        for each in listed.get("Versions", ())
    ]


def test_a_locked_object_waits_and_everything_else_is_gone(house: Office, weed: WeedServer) -> None:
    both = clerks(house)
    which = deposit(house, both.first)
    lock(house, which)
    with_papers(house, both.first, which)
    before = len(versions(house, weed, "journal/"))
    done = dispose(house, both, which)
    assert done.state is State.WAITING
    assert done.waits_until is not None
    assert done.waits_until > house.clock.now() + timedelta(hours=1)
    assert which.sha256 not in journalled(house)
    # The older writings are gone for good, not hidden behind a marker.
    assert len(versions(house, weed, "journal/")) == before + 1
    (sealed,) = versions(house, weed, object_key(which.id))
    assert sealed.startswith(b"evidence-envelope/v1\n")
    assert faults(house) == []
    assert house.destructions.certificate(done).draft.destroyed.object == "waiting"


def test_an_object_goes_with_its_last_version_when_its_lock_ends(
    house: Office, weed: WeedServer
) -> None:
    unlocked = replace(house.settings, objects=house.settings.objects.partition("&lock")[0])
    with closing(Office(unlocked)) as office:
        both = clerks(office)
        which = deposit(office, both.first)
        office.objects.retain(
            object_key(which.id), version=None, until=office.clock.now() + timedelta(seconds=3)
        )
        done = dispose(office, both, which)
        assert done.state is State.WAITING
        while not office.disposing.is_due():
            time.sleep(0.2)
        while office.disposing.disposals.get(done.id).state is State.WAITING:
            office.disposing.run()
            time.sleep(0.2)
        assert versions(office, weed, object_key(which.id)) == []
        assert faults(office) == []


def test_of_approvals_on_two_nodes_one_counts_and_both_may_finish_it(house: Office) -> None:
    with closing(Office(house.settings)) as other:
        both, third = clerks(house), clerk(house, "third")
        which = deposit(house, both.first)
        lock(house, which)
        with_papers(house, both.first, which)
        asked = house.disposing.request(both.first, which, reason=REASON, basis=BASIS)

        def approve(at: int) -> str:
            office, by = ((house, both.second), (other, third))[at % 2]
            try:
                office.disposing.approve(by, asked)
            except Conflict as exc:
                return exc.code
            return "approved"

        with ThreadPoolExecutor(2) as pool:
            ends = sorted(pool.map(approve, range(2)))
            assert ends == ["approved", "disposal_not_open"]
            list(pool.map(lambda office: office.disposing.run(), (house, other)))
        house.disposing.run()
        assert house.disposing.disposals.get(asked.id).state is State.WAITING
        assert which.sha256 not in journalled(house)
        for number in range(house.journal.place().number):
            assert len(segment_objects(house.objects, number)) == 1
        assert faults(house) == []


def test_a_rebuild_into_postgresql_brings_nothing_back(house: Office) -> None:
    both = clerks(house)
    which = deposit(house, both.first)
    with_papers(house, both.first, which)
    done = dispose(house, both, which)
    house.journal.run()
    with shared_postgres().database() as database:
        settings = replace(house.settings, database=database)
        rebuild(settings, mirror=None)
        with closing(Office(settings)) as again:
            again.examine()
            assert again.register.deposit(which.id) == house.register.deposit(which.id)
            assert again.disposing.disposals.get(done.id) == house.disposing.disposals.get(done.id)
            assert faults(again) == []
