"""`python -m notary.cli.pack dist/verify.pyz`: writes the offline verifier to a file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from notary.pack import pack


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m notary.cli.pack", description="Packs verify.")
    parser.add_argument("target", type=Path, help="where to write it, such as dist/verify.pyz")
    target: Path = parser.parse_args(arguments).target
    packed = pack()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    temporary.write_bytes(packed)
    temporary.chmod(0o755)
    temporary.replace(target)
    print(f"{target}: {len(packed)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
