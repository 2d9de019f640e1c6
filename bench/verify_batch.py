"""`notary verify --batch`: manifests of certificates and documents in files, on all cores.

Certificates are those of one batch, which share checkpoint and token, each with a document of
1 KiB; all of it is read from files, and the rows are formed. `verify_batch_per_s` is for one core:
the rate of all, divided by the cores. Beside it only the signature checks that such a certificate
needs by itself, as for `verify_per_s`. `verify_hash_ratio` is a large original hashed as the
verifier does it, against hashlib in a plain loop over the same file.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

from bench.house import office, say
from bench.verify import signatures_per_s
from notary.handed import read_document
from notary.model import Declared
from notary.verdict import Verdict
from notary.verifying import Pair, cores, verify_all

CERTIFICATES = 500
CHUNK = 1 << 20


def measure(*, quick: bool) -> dict[str, object]:
    say("verification of many")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rate = _per_s(folder, rounds=8 if quick else 60)
        ratio = _hash_ratio(folder / "large", mib=256 if quick else 2048)
    return {
        "verify_batch_per_s": round(rate),
        "verify_batch_per_s_yardstick": round(signatures_per_s(1.0 if quick else 4.0)),
        "verify_hash_ratio": round(ratio, 3),
        "verify_hash_ratio_yardstick": 1.0,
    }


def _per_s(folder: Path, *, rounds: int) -> float:
    trust = _write(folder)
    pairs = [
        Pair(
            number=number,
            certificate=str(folder / f"{number % CERTIFICATES}.json"),
            document=str(folder / f"{number % CERTIFICATES}.bin"),
        )
        for number in range(rounds * CERTIFICATES)
    ]
    began = time.perf_counter()
    for row in verify_all(pairs, trust, workers=cores()):
        if row.verdict is not Verdict.CONFIRMED:
            raise RuntimeError(f"a certificate did not verify: {row}")
    return len(pairs) / (time.perf_counter() - began) / cores()


def _write(folder: Path) -> str:
    """Certificates and documents under their numbers; gives the trust file's text."""
    with office() as (house, by):
        deposits = []
        for number in range(CERTIFICATES):
            content = os.urandom(1024)
            (folder / f"{number}.bin").write_bytes(content)
            declared = Declared(
                name=f"{number}.bin",
                size=len(content),
                digests={"sha-256": hashlib.sha256(content).hexdigest()},
            )
            deposits.append(house.intake.register_digests(by, declared).deposit)
        for authority in house.stamping.authorities:
            house.stamping.run(authority)
        for number, deposit in enumerate(deposits):
            issued = house.issue.certificate(deposit, by=by)
            (folder / f"{number}.json").write_bytes(issued.json)
        return house.trust.encode()


def _hash_ratio(path: Path, *, mib: int) -> float:
    """The best of three of each, in turn: the file is in memory from the first on."""
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(CHUNK))
    ours, plain = [], []
    for _ in range(3):
        plain.append(_seconds(path, own=False))
        ours.append(_seconds(path, own=True))
    return min(plain) / min(ours)


def _seconds(path: Path, *, own: bool) -> float:
    began = time.perf_counter()
    with path.open("rb") as source:
        if own:
            read_document(source, path.name, ())
        else:
            digest = hashlib.sha256()
            while chunk := source.read(CHUNK):
                digest.update(chunk)
    return time.perf_counter() - began
