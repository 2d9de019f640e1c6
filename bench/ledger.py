"""The ledger alone, one core: statements signed, appended, durable, the root signed.

Beside it, what bounds it: bare Ed25519 signatures a second, and rows a second that SQLite makes
durable in transactions of the same size.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.house import folder, office, say
from notary.keyring import head_signer
from notary.ledger import Growing, read_head
from notary.office import Office
from notary.statement import EVIDENCE_TYPE

GROUP = 10_000
ENTRY_BYTES = 270


def measure(*, quick: bool) -> dict[str, object]:
    groups = 3 if quick else 30
    say(f"ledger: {groups} transactions of {GROUP} entries")
    with office() as (house, _):
        per_s = _grow(house, groups)
    return {
        "ledger_entries_per_s": round(per_s),
        "ledger_entries_per_s_yardstick": {
            "ed25519_signs_per_s": round(_signs_per_s(1.0 if quick else 3.0)),
            "sqlite_durable_rows_per_s": round(_rows_per_s(groups)),
        },
    }


def _grow(house: Office, groups: int) -> float:
    sign, _ = head_signer(house.house.origin, house.keys)
    signer = house.statements
    edge: dict[tuple[int, int], bytes] = {}
    began = time.perf_counter()
    for _ in range(groups):
        randomness = os.urandom(48 * GROUP)
        statements = [
            signer.sign(
                randomness[i : i + 32],
                preimage_type=EVIDENCE_TYPE,
                randomness=randomness[i + 32 : i + 48],
            )
            for i in range(0, 48 * GROUP, 48)
        ]
        with house.database.writing() as connection:
            growing = Growing(connection, read_head(connection, lock=True), edge)
            growing.append(statements)
            growing.seal(house.clock.now(), sign)
            edge = growing.edge()
    return groups * GROUP / (time.perf_counter() - began)


def _signs_per_s(seconds: float) -> float:
    key, message = Ed25519PrivateKey.generate(), os.urandom(200)
    return rate(lambda: key.sign(message), seconds)


def rate(act: Callable[[], object], seconds: float, *, at_once: int = 16) -> float:
    """How often a second `act` can be done. The clock is read after `at_once` times."""
    act()
    count, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        for _ in range(at_once):
            act()
        count += at_once
    return count / elapsed


def _rows_per_s(groups: int) -> float:
    with folder() as where:
        connection = durable(where)
        rows = [(os.urandom(ENTRY_BYTES),) for _ in range(GROUP)]
        began = time.perf_counter()
        for group in range(groups):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO entry VALUES (?, ?)",
                [(group * GROUP + i, *row) for i, row in enumerate(rows)],
            )
            connection.execute("COMMIT")
        elapsed = time.perf_counter() - began
        connection.close()
    return groups * GROUP / elapsed


def durable(where: Path) -> sqlite3.Connection:
    """A new database with one table, every commit of which is on disk when it returns."""
    connection = sqlite3.connect(where / "rows.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE entry (idx INTEGER PRIMARY KEY, statement BLOB NOT NULL)")
    return connection
