"""What both databases keep: commits, snapshots, one writer at the tree head, and their errors."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from notary.errors import MalformedInput
from notary.ledger import ENTRY, TREE_HEAD, Ledger
from notary.model import Case
from notary.register import MAX_PLACE_BYTES, Register, insert_case
from notary.schema import make_tables
from storage.database import METADATA, Database, insert_if_absent, shown_url
from storage.errors import StoreUnavailable
from tests.contract.rows import (
    LINE,
    NOW,
    SECRET,
    append,
    begin_log,
    child,
    ids,
    output_of,
    put,
)
from tests.harness.postgres import shared_postgres


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    with opened.writing() as connection:
        LINE.create(connection)
    yield opened
    opened.close()


# --- what is committed, and what is seen ------------------------------------------------------


def test_commit_is_seen_by_another_process(database: Database, url: str) -> None:
    put(database, 7, "存证 \N{GRINNING FACE}", b"\x00\xff")
    script = "with database.reading() as c: print(ascii(tuple(c.execute(sa.select(t.LINE)).one())))"
    assert output_of(child(script, url)) == ascii((7, "存证 \N{GRINNING FACE}", b"\x00\xff"))


def test_block_that_raises_leaves_nothing_and_its_own_error(database: Database) -> None:
    class OwnError(Exception):
        pass

    with pytest.raises(OwnError), database.writing() as connection:
        connection.execute(sa.insert(LINE).values(id=1))
        raise OwnError
    assert ids(database) == []


def test_error_of_the_block_that_is_no_database_error_is_not_called_one(database: Database) -> None:
    with pytest.raises(FileNotFoundError), database.reading():
        Path("/nowhere/at/all").read_bytes()


def test_reader_sees_one_snapshot_while_others_commit(database: Database) -> None:
    put(database, 1)
    with database.reading() as connection:
        query = sa.select(sa.func.count()).select_from(LINE)
        assert connection.execute(query).scalar() == 1
        put(database, 2)
        assert ids(database) == [1, 2]
        assert connection.execute(query).scalar() == 1
    assert ids(database) == [1, 2]


def test_reader_does_not_wait_for_the_writer_and_sees_nothing_unfinished(
    database: Database,
) -> None:
    with database.writing() as connection:
        connection.execute(sa.insert(LINE).values(id=1))
        assert ids(database) == []
    assert ids(database) == [1]


def test_nothing_can_be_written_while_reading(database: Database) -> None:
    with pytest.raises(StoreUnavailable), database.reading() as connection:
        connection.execute(sa.insert(LINE).values(id=1))
    assert ids(database) == []


def test_tables_are_made_all_or_none(url: str) -> None:
    database = Database(url)
    assert not database.has_tables()
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        make_tables(database, connection)
        raise ZeroDivisionError
    assert not database.has_tables()
    for _ in range(2):
        with database.writing() as connection:
            make_tables(database, connection)
    assert database.has_tables()
    with database.reading() as connection:
        assert set(METADATA.tables) <= set(sa.inspect(connection).get_table_names())
    database.close()


def test_large_values_and_long_lists_come_back_as_they_were(database: Database) -> None:
    text = "\N{GRINNING FACE}" * 600  # longer ones do not fit into an index
    put(database, 2**62, text, bytes(range(256)) * 4_096)
    with database.reading() as connection:
        wanted = [*range(20_000), 2**62]
        row = connection.execute(sa.select(LINE).where(LINE.c.id.in_(wanted))).one()
    assert row == (2**62, text, bytes(range(256)) * 4_096)
    assert type(row.raw) is bytes


def test_row_that_is_there_is_not_inserted_again(database: Database) -> None:
    with database.writing() as connection:
        for text in ("first", "second"):
            connection.execute(insert_if_absent(connection, LINE).values(id=1, text=text))
        connection.execute(insert_if_absent(connection, LINE).values(id=2, text="first"))
    with database.reading() as connection:
        assert connection.execute(sa.select(LINE.c.id, LINE.c.text)).all() == [(1, "first")]


def test_case_is_refused_before_an_index_cannot_hold_it(url: str) -> None:
    database = Database(url)
    begin_log(database)
    with pytest.raises(MalformedInput), database.writing() as connection:
        insert_case(connection, a_case(MAX_PLACE_BYTES + 4))
    with database.writing() as connection:
        insert_case(connection, a_case(MAX_PLACE_BYTES))
    assert Register(database).case("id") == a_case(MAX_PLACE_BYTES)
    database.close()


def a_case(length: int) -> Case:
    """Court and number have `length` bytes together, and nothing that could be compressed."""
    random = Random(length)
    text = "".join(chr(0x20000 + random.randrange(0xA000)) for _ in range(length // 4))
    return Case(id="id", court=text[:200], number=text[200:], title="t", opened_at=NOW)


# --- writers --------------------------------------------------------------------------------


def test_writers_of_several_processes_and_threads_meet_at_the_tree_head(url: str) -> None:
    database = Database(url)
    begin_log(database)
    script = "for n in range(40): t.append(database, b'%s %d' % (sys.argv[1].encode(), n))"
    children = [child(script, url, name) for name in ("one", "two")]
    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(append, database, b"here %d" % n) for n in range(40)]
        assert [each.result() for each in done] == [None] * 40
    for each in children:
        output_of(each)
    head = Ledger(database).check_right_edge()
    assert head.size == 1 + 3 * 40
    with database.reading() as connection:
        rows = connection.execute(sa.select(ENTRY).order_by(ENTRY.c.idx)).all()
    assert [row.idx for row in rows] == list(range(head.size))
    assert len({row.statement for row in rows}) == head.size
    database.close()


def test_lock_of_a_killed_process_is_released_and_its_work_is_gone(url: str) -> None:
    database = Database(url)
    begin_log(database)
    holder = child(
        "from notary.ledger import ENTRY\n"
        "with database.writing() as c:\n"
        "    head = t.read_head(c, lock=True)\n"
        "    c.execute(sa.insert(ENTRY).values(idx=head.size, statement=b'never'))\n"
        "    print('held', flush=True)\n"
        "    time.sleep(120)\n",
        url,
    )
    assert holder.stdout is not None and holder.stdout.readline().strip() == "held"
    waiter = threading.Thread(target=append, args=(database, b"next"))
    waiter.start()
    waiter.join(0.3)
    assert waiter.is_alive()
    holder.kill()
    holder.wait(30)
    waiter.join(30)
    assert not waiter.is_alive()
    assert Ledger(database).entries(0, 2) == (b"genesis", b"next")
    assert Ledger(database).check_right_edge().size == 2
    database.close()


def test_database_is_not_used_across_a_fork(database: Database, url: str) -> None:
    script = (
        "with database.reading() as c: c.execute(sa.select(t.LINE)).all()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try:\n"
        "        with database.reading(): os._exit(1)\n"
        "    except RuntimeError: pass\n"
        "    database.close()\n"
        "    t.put(t.Database(os.environ['ROWS']), 1)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "t.put(database, 2)\n"
        "print(t.ids(database))\n"
    )
    assert output_of(child(script, url)) == "[1, 2]"
    assert ids(database) == [1, 2]


# --- what goes wrong ------------------------------------------------------------------------


def test_waiting_for_a_connection_ends(url: str) -> None:
    database = Database(url, pool_size=1, pool_timeout_s=0.2)
    with database.writing() as connection:
        LINE.create(connection)
    with database.reading(), pytest.raises(StoreUnavailable, match=r"within 0\.2 s"):
        ids(database)
    assert ids(database) == []
    database.close()


def test_refused_statement_shows_neither_itself_nor_its_values(database: Database) -> None:
    put(database, 1, "name of a party")
    with pytest.raises(StoreUnavailable) as refused:
        put(database, 2, "name of a party")
    assert "name of a party" not in str(refused.value)
    assert "INSERT" not in str(refused.value)
    assert ids(database) == [1]


def test_missing_table_is_told(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="tree_head"), database.reading() as connection:
        connection.execute(sa.select(TREE_HEAD))


def test_closing_leaves_no_connection_behind(database: Database, url: str) -> None:
    put(database, 1)
    ids(database)
    database.close()
    if database.is_sqlite:
        opened = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert not [path for path in opened if str(database.url.database) in path]
    else:
        with shared_postgres().connect() as admin:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            deadline = time.monotonic() + 10
            while admin.execute(query, [database.url.database]).fetchone() != (0,):
                assert time.monotonic() < deadline
    assert ids(database) == [1]


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"postgresql://u:{SECRET}@host:port/name",
        f"postgresql+nothing://u:{SECRET}@host/name",
        f"postgresql+psycopg2://u:{SECRET}@host/name",
        f"mysql://u:{SECRET}@host/name",
        f"nonsense://u:{SECRET}@host/name",
        "sqlite://",
        "sqlite:///:memory:",
        "",
    ],
)
def test_url_that_cannot_be_used_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        Database(text)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert SECRET not in shown_url(text)


def test_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreUnavailable, match="psycopg is not installed"):
        Database(f"postgresql://u:{SECRET}@host/name")


def test_shown_url_hides_the_password_and_all_options() -> None:
    shown = shown_url(f"postgresql://u:{SECRET}@host/name?password={SECRET}&sslmode=require")
    assert shown == "postgresql://u:***@host/name"
    assert SECRET not in repr(Database(f"postgresql://u:{SECRET}@host/name?password={SECRET}"))
