"""Reconciliation where the house is scaled: PostgreSQL, originals in S3 under Object Lock."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from notary.errors import Conflict, Unreachable
from notary.model import Declared, Principal, Role
from notary.office import Office, found
from notary.originals import object_key
from notary.reconcile import Walker
from notary.register import DEPOSIT, ORIGINAL_PLACE
from notary.remains import Kind, Remnant
from notary.settings import Settings
from notary.sweep import compare, sweep
from storage.database import Database
from storage.errors import ObjectNotFound
from tests.harness.certified import deposit as hand_in
from tests.harness.certified import open_house
from tests.harness.postgres import shared_postgres
from tests.harness.weed import WeedServer

pytestmark = pytest.mark.slow

BY = Principal(account_id="0" * 36, name="agency", role=Role.API_CLIENT, authenticated_by="api-key")
BUCKET = f"reconciled-{uuid.uuid4()}"


@pytest.fixture
def house(weed: WeedServer, tmp_path: Path) -> Iterator[Office]:
    with shared_postgres().database() as database:
        office = open_house(
            tmp_path / "house",
            database=database,
            objects=f"s3://{BUCKET}/{uuid.uuid4()}?endpoint={weed.endpoint}&lock=governance&days=1",
            orphan_hours=0,
        )
        time.sleep(1)  # S3 dates in whole seconds: what comes now is younger than the house
        try:
            yield office
        finally:
            office.close()


def deposit(office: Office, content: bytes) -> str:
    return hand_in(office, BY, content, Declared(name="a.txt")).deposit.id


def put(office: Office, number: int) -> str:
    key = object_key(f"01a20dff-0000-7000-8000-{number:012x}")
    with office.objects.begin(key) as incoming:
        incoming.write(b"never registered")
        incoming.commit()
    return key


def test_a_pass_over_a_locked_bucket_mends_and_reports(house: Office, weed: WeedServer) -> None:
    ids = [deposit(house, b"original %d" % number) for number in range(4)]
    orphans = {put(house, number) for number in range(3)}
    house.objects.begin(object_key(ids[0]) + "-half").write(bytes(9 << 20))
    place = house.settings.objects.partition("?")[0].removeprefix(f"s3://{BUCKET}/")
    client = weed.client()
    client.delete_object(Bucket=BUCKET, Key=f"{place}/{object_key(ids[1])}")
    client.put_object(Bucket=BUCKET, Key=f"{place}/{object_key(ids[2])}", Body=b"longer" * 9)
    told: list[Remnant] = []
    mended: list[tuple[Kind, str]] = []
    walker = Walker(found=told.append, mended=lambda kind, name: mended.append((kind, name)))
    settle = Office(house.settings, clock=_Later())
    for authority in settle.stamping.authorities:
        settle.stamping.run(authority)
    settle.journal.run()
    done = settle.reconciling.run(walker)
    assert done is not None
    assert {name for kind, name in mended if kind is Kind.ORPHAN} == orphans
    assert Kind.UNFINISHED_UPLOAD in {kind for kind, _ in mended}
    assert {(each.kind, each.deposit_id) for each in told} == {
        (Kind.MISSING, ids[1]), (Kind.DIFFERS, ids[2]),
    }  # fmt: skip
    for key in orphans:
        with pytest.raises(ObjectNotFound):
            house.objects.stat(key)
    again = settle.reconciling.run(Walker())
    assert again is not None
    assert (again.objects, again.deposits, again.findings) == (3, 4, 2)
    settle.close()


class _Later:
    """An hour from now: what is in the bucket is older than that."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)


def test_deposits_and_sweeps_of_two_nodes_that_race_lose_no_original(house: Office) -> None:
    """Sweeps without any patience on both nodes, deposits meanwhile."""
    other = Office(house.settings)
    stop = [False]

    def sweeps(office: Office) -> None:
        while not stop[0]:
            sweep(office.register, office.objects, datetime.now(UTC) + timedelta(hours=1))

    kept, refused = [], 0
    with ThreadPoolExecutor(2) as pool:
        sweepers = [pool.submit(sweeps, office) for office in (house, other)]
        try:
            for number in range(40):
                try:
                    kept.append(deposit(house, b"race %d" % number))
                except (Conflict, Unreachable) as exc:
                    assert exc.code in ("original_swept", "storage_unreachable")
                    refused += 1
        finally:
            stop[0] = True
        for each in sweepers:
            each.result()
    other.close()
    assert len(kept) + refused == 40
    for id_ in kept:
        house.objects.stat(object_key(id_))
    assert {each.id for each in house.register.deposits()} == set(kept)


def test_two_nodes_share_one_pass(house: Office) -> None:
    for number in range(3):
        put(house, number)
    other = Office(house.settings)
    with ThreadPoolExecutor(4) as pool:
        runs = [
            pool.submit(office.reconciling.run, Walker()) for office in (house, other, house, other)
        ]
        done = [each.result() for each in runs]
    assert any(each is not None for each in done)
    passes = house.reconciling.remains.passes()
    assert len(passes) == len([each for each in done if each is not None])
    assert all(each.finished_at is not None for each in passes)
    other.close()


def test_the_register_is_read_in_the_order_of_the_keys_by_its_index(house: Office) -> None:
    ids = [deposit(house, b"%d" % number) for number in range(6)]
    keys = [pair.key for pair in compare(house.database, house.objects)]
    assert keys == sorted(object_key(each) for each in ids)
    assert [p.key for p in compare(house.database, house.objects, after=keys[2])] == keys[3:]
    for database in (house.database, _sqlite(house)):
        with database.reading() as connection:
            plan = _plan(connection)
        assert "deposit_original" in plan, plan


def _sqlite(house: Office) -> Database:
    home = house.settings.home.with_name("embedded")
    found(Settings(home=home))
    return Database(Settings(home=home).database_url)


def _plan(connection: sa.Connection) -> str:
    sqlite = connection.dialect.name == "sqlite"
    if not sqlite:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL enable_sort = off")
    query = (
        sa.select(DEPOSIT.c.id)
        .where(DEPOSIT.c.stored.is_(True), ORIGINAL_PLACE.op(">")(sa.literal("00")))
        .order_by(ORIGINAL_PLACE)
        .limit(10)
        .compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    )
    explain = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
    # A driver takes '%' for a parameter; there is none here.
    rows = connection.exec_driver_sql(f"{explain} {query}").all()
    return " ".join(str(row) for row in rows)
