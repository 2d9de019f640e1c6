"""The ledger derived again: every entry hashed, every tile and root compared, on all cores.

Beside it SHA-256 alone on one core, over as many messages: a leaf and a node for each entry.
"""

from __future__ import annotations

import hashlib
import os
import time

from bench.cache import large_office
from bench.house import say
from notary.findings import Findings
from notary.fsck_tree import derive_tree

MESSAGES = 300_000
STATEMENT_BYTES = 330


def measure(*, quick: bool) -> dict[str, object]:
    if quick:
        return {"fsck_entries_per_s": None, "fsck_entries_per_s_yardstick": None}
    with large_office() as house:
        say("fsck of the large house's ledger")
        findings = Findings()
        began = time.perf_counter()
        history = house.keyring.history()
        derive_tree(house.database, history, findings, lambda _what, _done, _of: None)
        elapsed = time.perf_counter() - began
    if findings.faults:
        raise RuntimeError(f"the large house has faults: {findings.faults[:3]}")
    return {
        "fsck_entries_per_s": round(findings.entries / elapsed),
        "fsck_entries_per_s_yardstick": round(_hashed_per_s()),
        "fsck_entries": findings.entries,
    }


def _hashed_per_s() -> float:
    statement, node = os.urandom(STATEMENT_BYTES), os.urandom(65)
    sha256 = hashlib.sha256
    began = time.perf_counter()
    for _ in range(MESSAGES):
        sha256(statement).digest()
        sha256(node).digest()
    return MESSAGES / (time.perf_counter() - began)
