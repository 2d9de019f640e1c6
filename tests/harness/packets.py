"""Packets that are really lost: the system's own filter drops them, and nobody is told."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

ABSENT: Final = "packets can be dropped only by root, with nftables (the system's package)"


@contextmanager
def packets_lost(*ports: int) -> Iterator[None]:
    """All packets from and to these ports of loopback, for as long as the block runs. Skips the
    test where that cannot be done."""
    if os.geteuid() != 0 or shutil.which("nft") is None:
        pytest.skip(ABSENT)
    table = f"evidence_fault_{os.getpid()}"
    among = ", ".join(map(str, ports))
    rules = (
        f"table inet {table} {{ chain lost {{ type filter hook output priority 0; "
        f"tcp dport {{ {among} }} drop; tcp sport {{ {among} }} drop; }}; }}"
    )
    made = subprocess.run(["nft", rules], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"{ABSENT}: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)
