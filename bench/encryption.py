"""What encrypting an original costs an upload: `python -m bench.encryption [MiB]`.

The same file, SHA-256 alone, uploaded in turn to a service that encrypts and to one that does not;
the best of several runs counts on both sides.
"""

from __future__ import annotations

import json
import sys

from bench.house import folder, service
from bench.upload import CHUNK, _upload_once, generate, upload

RUNS = 4


def main(mib: int) -> dict[str, float]:
    size = mib << 20
    with (
        folder() as where,
        service(digests="") as (plain, plain_key),
        service(digests="", encryption="file:") as (sealed, sealed_key),
    ):
        file = where / "original"
        generate(file, size)
        for running, key in ((plain, plain_key), (sealed, sealed_key)):
            upload(running.port, key, file, CHUNK)
        best = {"plain": 0.0, "encrypted": 0.0}
        for _ in range(RUNS):
            best["plain"] = max(best["plain"], _upload_once(plain, plain_key, file, size))
            best["encrypted"] = max(best["encrypted"], _upload_once(sealed, sealed_key, file, size))
    return {
        "upload_mb_per_s_plain": round(best["plain"] / 1e6),
        "upload_mb_per_s_encrypted": round(best["encrypted"] / 1e6),
        "upload_encrypted_ratio": round(best["encrypted"] / best["plain"], 3),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)))
