"""What both databases count for all nodes together, and what a process does without them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from notary.counters import REQUEST_COUNT, Counters
from notary.web.limits import SharedCounts
from storage.database import Database
from tests.harness.watching import SetClock

MINUTE = 60


@pytest.fixture
def nodes(url: str) -> Iterator[tuple[Counters, Counters]]:
    opened = Database(url), Database(url)
    with opened[0].writing() as connection:
        REQUEST_COUNT.create(connection)
    yield Counters(opened[0]), Counters(opened[1])
    for each in opened:
        each.close()


def test_nodes_count_together(nodes: tuple[Counters, Counters]) -> None:
    one, two = nodes
    assert [each.add("a", 1, now=0, span=MINUTE) for each in (one, two, one)] == [
        (1, 60), (2, 60), (3, 60),
    ]  # fmt: skip
    assert two.add("b", 5, now=1, span=MINUTE) == (5, 61)


def test_a_span_ends_and_the_next_begins_with_the_first_that_comes(
    nodes: tuple[Counters, Counters],
) -> None:
    one, two = nodes
    one.add("a", 7, now=0, span=MINUTE)
    assert two.add("a", 1, now=59, span=MINUTE) == (8, 60)
    assert two.add("a", 1, now=75, span=MINUTE) == (1, 135)
    assert one.add("a", 1, now=130, span=MINUTE) == (2, 135)


def test_nothing_that_is_counted_at_the_same_moment_is_lost(
    nodes: tuple[Counters, Counters],
) -> None:
    def work(number: int) -> list[int]:
        return [nodes[number % 2].add("a", 1, now=0, span=MINUTE)[0] for _ in range(25)]

    with ThreadPoolExecutor(8) as threads:
        totals = [total for found in threads.map(work, range(8)) for total in found]
    assert sorted(totals) == list(range(1, 201))


def test_what_ended_is_forgotten_and_nothing_else(nodes: tuple[Counters, Counters]) -> None:
    one, _ = nodes
    one.add("a", 1, now=0, span=MINUTE)
    one.add("b", 1, now=10, span=MINUTE)
    assert one.forget(61) == 1
    assert one.add("b", 1, now=20, span=MINUTE) == (2, 70)
    assert one.add("a", 1, now=20, span=MINUTE) == (1, 80)


def test_who_is_over_the_largest_limit_costs_the_database_nothing(
    nodes: tuple[Counters, Counters],
) -> None:
    clock = SetClock()
    counts = SharedCounts(counters=nodes[0], clock=clock, most=3)
    assert [counts.incr("a", MINUTE) for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    other = SharedCounts(counters=nodes[1], clock=clock, most=3)
    assert other.incr("a", MINUTE) == 5  # the fifth and sixth were not written
    clock.moment += timedelta(seconds=MINUTE)
    assert counts.incr("a", MINUTE) == 1
    assert other.incr("a", MINUTE) == 2


def test_a_process_counts_alone_while_the_database_does_not_answer(tmp_path: Path) -> None:
    gone = Counters(Database(f"sqlite:///{tmp_path / 'nowhere' / 'rows.db'}"))
    counts = SharedCounts(counters=gone, clock=SetClock(), most=100)
    assert [counts.incr("a", MINUTE) for _ in range(3)] == [1, 2, 3]
    assert counts.get("a") == 3
    assert counts.get("b") == 0
