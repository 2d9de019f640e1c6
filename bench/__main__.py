"""`make bench`: the bars of the design, as one JSON object on standard output.

    python -m bench [quick]

Each figure stands beside `<key>_yardstick`, measured in the same run on the same machine with as
little as possible around it. `quick` takes under two minutes: smaller counts, and null for what
it leaves out. Nothing here asserts a time; progress goes to standard error.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import cryptography

from bench import (
    batch,
    fixity,
    fsck,
    growth,
    ledger,
    page,
    pdf,
    proof,
    s3_upload,
    second,
    single,
    tiles,
    upload,
    verify,
    verify_batch,
)
from bench.house import say

MEASURES = (
    ledger,
    growth,
    proof,
    fsck,
    fixity,
    verify,
    verify_batch,
    pdf,
    page,
    batch,
    upload,
    s3_upload,
    single,
    tiles,
    second,
)


def main() -> int:
    match sys.argv[1:]:
        case []:
            quick = False
        case ["quick"]:
            quick = True
        case other:
            print(f"usage: python -m bench [quick], got {other}", file=sys.stderr)
            return 64
    figures: dict[str, object] = {}
    for measure in MEASURES:
        figures |= measure.measure(quick=quick)
    figures["environment"] = environment(quick=quick)
    print(json.dumps(figures, indent=2))
    say("done")
    return 0


def environment(*, quick: bool) -> dict[str, object]:
    one_minute, _, _ = os.getloadavg()
    return {
        "quick": quick,
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cryptography": cryptography.__version__,
        "load_generator": "bench/load.py: raw sockets, one process, on the same cores",
        "load_average_at_the_end": round(one_minute, 2),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    sys.exit(main())
