"""An audit of originals against plain SHA-256 over the same reads of the same files.

One worker on both sides, in this process, in turn; the best of several counts on each, and each
reads what the memory of the system holds already, so that the disk is no part of it. `fixity_small`
are originals of 1 KiB, where an audit is mostly the proof of what each digest must be: signature,
record and row. The growth of memory is that of a process which audits a million deposits by digest,
and with them as many rows, records and signatures as a million originals have.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.batch import rows
from bench.house import deposit_rows, office, say
from notary.auditing import Worker
from notary.model import Declared, Principal
from notary.office import Office
from notary.originals import object_key

MIB = 1 << 20
RUNS = 5


def measure(*, quick: bool) -> dict[str, object]:
    count, size = (64, 4 * MIB) if quick else (256, 8 * MIB)
    figures: dict[str, object] = {}
    for name, many, each in (("fixity", count, size), ("fixity_small", 1_000, 1 << 10)):
        say(f"audit of {many} originals of {each} bytes")
        ours, bare = _speeds(many, each)
        figures |= {
            f"{name}_ratio": round(ours / bare, 3),
            f"{name}_ratio_yardstick": 1.0,
            f"{name}_mb_per_s": round(ours / 1e6, 1),
            f"{name}_mb_per_s_yardstick": round(bare / 1e6, 1),
        }
    deposits = 20_000 if quick else 1_000_000
    say(f"audit of {deposits} deposits, memory")
    figures |= {
        "fixity_memory_growth_mib": round(_growth(deposits), 1),
        "fixity_memory_growth_mib_yardstick": 1.0,
        "fixity_memory_growth_at_deposits": deposits,
    }
    return figures


def _speeds(count: int, size: int) -> tuple[float, float]:
    """Bytes per second of the audit and of hashlib."""
    with office() as (house, by):
        block = bytes(range(256)) * (min(size, MIB) // 256)
        files = [
            house.settings.home / "objects" / object_key(_deposit(house, by, block, size))
            for _ in range(count)
        ]
        ours, bare = [], []
        for _ in range(RUNS):
            bare.append(_bare(files))
            ours.append(audit(house))
        return count * size / min(ours), count * size / min(bare)


def _deposit(house: Office, by: Principal, block: bytes, size: int) -> str:
    declared = Declared(name="original")
    with house.intake.receive(house.intake.admit(by, declared)) as reception:
        for _ in range(size // len(block)):
            reception.write(block)
        return reception.register(declared).deposit.id


def audit(house: Office) -> float:
    """Seconds for all of it, its begin and its end included."""
    worker = Worker(stop=lambda: False, wait=time.sleep, told=lambda found: None)
    began = time.perf_counter()
    run = house.auditing.begin("bench")
    while house.auditing.step(run, worker):
        pass
    elapsed = time.perf_counter() - began
    ended = house.auditing.audits.run(run.id)
    if ended.finished_at is None or ended.counts.findings:
        raise RuntimeError(f"the audit found or left something: {ended.counts}")
    return elapsed


def _bare(files: Sequence[Path]) -> float:
    began = time.perf_counter()
    for file in files:
        state = hashlib.sha256()
        with file.open("rb", buffering=0) as source:
            while chunk := source.read(MIB):
                state.update(chunk)
        state.hexdigest()
    return time.perf_counter() - began


def _growth(deposits: int) -> float:
    with office() as (house, by):
        for _ in range(0, deposits, 100_000):
            deposit_rows(house, by, rows(min(deposits, 100_000)))
        said = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(house.settings.home)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    return float(said) / 1024


# VmHWM begins anew with the program, where ru_maxrss would begin with what its parent had.
_MEASURED = """
import sys
from pathlib import Path
from bench.fixity import audit
from notary.office import Office
from notary.settings import Settings

def peak_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

house = Office(Settings(home=Path(sys.argv[1])))
house.ledger.head()
before = peak_kib()
audit(house)
print(peak_kib() - before)
"""
