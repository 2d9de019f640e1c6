"""What a token costs, beside files in the same run. Prints; asserts nothing of time."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from notary.model import Declared, Principal
from notary.office import Office
from tests.harness.certified import deposit, depositor, open_house
from tests.harness.softhsm import SoftHsm

SIGNATURES, DEPOSITS, THREADS, ROWS = 2_000, 1_000, 16, 20_000


def rows() -> Iterator[bytes]:
    for number in range(ROWS):
        sha256 = hashlib.sha256(b"%d" % number).hexdigest()
        yield json.dumps({"size": 1, "digests": {"sha-256": sha256}}).encode()


def rate(count: int, act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return count / (time.perf_counter() - start)


def figures(house: Office, by: Principal) -> dict[str, float]:
    key = house.keys.statement
    key.sign(b"a session is open")

    def deposits() -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            given = [
                threads.submit(deposit, house, by, b"%d" % number, Declared(name="a"))
                for number in range(DEPOSITS)
            ]
            assert all(each.result().fresh for each in given)

    def batch() -> None:
        committed = house.batches.receive(
            rows(), by=by, key=None, atomic=False, check_end=lambda _stated, _rows: None
        )
        assert sum(1 for _ in house.batches.answer(committed.outcome)) > 0

    message = bytes(200)
    return {
        "signatures/s": rate(SIGNATURES, lambda: [key.sign(message) for _ in range(SIGNATURES)]),
        "single deposits/s, in process, 16 threads": rate(DEPOSITS, deposits),
        "batch rows/s, in process, 20,000 rows": rate(ROWS, batch),
    }


@pytest.mark.slow
def test_what_a_token_costs(tmp_path: Path) -> None:
    token = SoftHsm(tmp_path / "hsm").token("figures")
    found: list[dict[str, float]] = []
    for place in ("file:", token.uri):
        house = open_house(tmp_path / f"house{len(found)}", keys=(place,))
        found.append(figures(house, depositor(house)))
        house.close()
    files, in_token = found
    print()
    for name, value in files.items():
        print(f"| {name} | {value:,.0f} | {in_token[name]:,.0f} |")
