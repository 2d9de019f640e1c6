"""Audits where the house is scaled: PostgreSQL, originals in S3, several workers at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from notary.auditing import Worker
from notary.audits import RANGE, Kind
from notary.model import Declared, EventKind, Principal, Role
from notary.office import Office
from notary.originals import object_key
from notary.rereads import Finding
from notary.settings import Settings
from storage.errors import StoreUnavailable
from tests.harness.certified import deposit as hand_in
from tests.harness.certified import open_house
from tests.harness.postgres import shared_postgres
from tests.harness.weed import WeedServer

BY = Principal(account_id="0" * 36, name="agency", role=Role.API_CLIENT, authenticated_by="api-key")
BUCKET = f"audited-{uuid.uuid4()}"


@pytest.fixture
def house(weed: WeedServer, tmp_path: Path) -> Iterator[Office]:
    with shared_postgres().database() as database:
        office = open_house(
            tmp_path / "house",
            database=database,
            objects=f"s3://{BUCKET}/{uuid.uuid4()}?endpoint={weed.endpoint}",
        )
        try:
            yield office
        finally:
            office.close()


def deposit(office: Office, content: bytes) -> str:
    return hand_in(office, BY, content, Declared(name="a.txt")).deposit.id


def worker(told: list[Finding]) -> Worker:
    return Worker(stop=lambda: False, wait=lambda _: None, told=told.append)


def test_originals_in_a_bucket_are_read_again_and_damage_is_named(
    house: Office, weed: WeedServer
) -> None:
    whole, gone, other, longer = (deposit(house, b"original %d" % number) for number in range(4))
    place = house.settings.objects.partition("?")[0].removeprefix(f"s3://{BUCKET}/")
    client = weed.client()
    client.delete_object(Bucket=BUCKET, Key=f"{place}/{object_key(gone)}")
    client.put_object(Bucket=BUCKET, Key=f"{place}/{object_key(other)}", Body=b"Original 2")
    client.put_object(Bucket=BUCKET, Key=f"{place}/{object_key(longer)}", Body=b"original 3" * 999)
    told: list[Finding] = []
    run = house.auditing.begin("operator")
    while house.auditing.step(run, worker(told)):
        pass
    assert {each.deposit_id: each.kind for each in told} == {
        gone: Kind.MISSING, other: Kind.DIFFERS, longer: Kind.DIFFERS,
    }  # fmt: skip
    last = house.auditing.rereads.last((house.register.deposit(whole).index,))
    assert [each.finding for each in last.values()] == [None]
    assert house.auditing.audits.run(run.id).finished_at is not None


def test_a_bucket_that_is_not_there_says_nothing_of_its_originals(
    house: Office, tmp_path: Path
) -> None:
    deposit(house, b"original")
    elsewhere = Office(
        Settings(
            home=house.settings.home,
            database=house.settings.database,
            objects=house.settings.objects.replace(BUCKET, f"none-{uuid.uuid4()}"),
        )
    )
    told: list[Finding] = []
    run = elsewhere.auditing.begin("operator")
    with pytest.raises(StoreUnavailable):
        elsewhere.auditing.step(run, worker(told))
    elsewhere.close()
    assert told == []
    while house.auditing.step(run, worker(told)):
        pass
    assert house.auditing.audits.run(run.id).counts.originals == 1
    assert told == []


def test_workers_on_postgresql_share_an_audit_and_finish_it_once(house: Office) -> None:
    for _ in range(3):
        deposit(house, b"original")
        house.batches.receive(
            [b'{"size": 1, "digests": {"sha-256": "%064d"}}' % row for row in range(300)],
            by=BY, key=None, atomic=False, check_end=lambda _stated, _rows: None,
        )  # fmt: skip
    run = house.auditing.begin("operator")
    taken: list[int] = []

    def work(_: int) -> None:
        count = 0
        while house.auditing.step(run, worker([])):
            count += 1
        taken.append(count)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    if house.auditing.audits.unfinished() is not None:
        house.auditing.step(run, worker([]))
    finished = house.auditing.audits.run(run.id)
    with house.database.reading() as connection:
        ranges = connection.execute(sa.select(sa.func.count()).select_from(RANGE)).scalar_one()
    assert sum(taken) == ranges == finished.counts.ranges
    assert (finished.counts.originals, finished.counts.deposits) == (3, 903)
    events = house.register.events(after=run.size - 1)
    assert [event.kind for event in events] == [EventKind.AUDIT_FINISHED]


def test_two_nodes_that_begin_at_once_begin_one_audit(house: Office) -> None:
    with ThreadPoolExecutor(4) as pool:
        begun = {run.id for run in pool.map(house.auditing.begin, "abcd")}
    assert len(begun) == 1
    assert len(house.auditing.audits.runs()) == 1
