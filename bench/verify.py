"""Offline verification on one core: a certificate's bytes in, a verdict out.

Different certificates of one house, each with a checkpoint's token, against its trust file; the
documents are hashed beforehand. `verify_per_s` is for certificates of one batch, which share
checkpoint and token; of those for `verify_strangers_per_s` no two do, so that nothing judged
before helps. Beside both only the signature checks that a certificate needs by itself.
"""

from __future__ import annotations

import hashlib
import itertools
import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from bench.house import office, say
from bench.ledger import rate
from notary.model import Declared, Principal
from notary.office import Office
from notary.verdict import Document, Verdict
from notary.verify import verify

CERTIFICATES = 100
Papers = tuple[bytes, Document]


def measure(*, quick: bool) -> dict[str, object]:
    say("verification")
    seconds = 2.0 if quick else 8.0
    with office() as (house, by):
        batch = _per_s(house, _certificates(house, by, shared=True), seconds)
        strangers = _per_s(house, _certificates(house, by, shared=False), seconds)
    bare = round(signatures_per_s(seconds / 2))
    return {
        "verify_per_s": round(batch),
        "verify_per_s_yardstick": bare,
        "verify_strangers_per_s": round(strangers),
        "verify_strangers_per_s_yardstick": bare,
    }


def _per_s(house: Office, papers: list[Papers], seconds: float) -> float:
    pile, trust = itertools.cycle(papers), house.trust

    def check() -> None:
        data, document = next(pile)
        report = verify(data, document, trust)
        if report.verdict is not Verdict.CONFIRMED:
            raise RuntimeError(f"a certificate did not verify: {report}")

    return rate(check, seconds)


def _certificates(house: Office, by: Principal, *, shared: bool) -> list[Papers]:
    deposits = []
    for number in range(CERTIFICATES):
        sha256 = hashlib.sha256(os.urandom(32)).hexdigest()
        declared = Declared(
            name=f"{number}.pdf",
            media_type="application/pdf",
            size=1000 + number,
            digests={"sha-256": sha256},
        )
        deposits.append(house.intake.register_digests(by, declared).deposit)
        if not shared or number == CERTIFICATES - 1:
            for authority in house.stamping.authorities:
                house.stamping.run(authority)
    return [
        (
            house.issue.certificate(deposit, by=by).json,
            Document(digests=dict(deposit.digests), size=deposit.size),
        )
        for deposit in deposits
    ]


def signatures_per_s(seconds: float) -> float:
    """Seal, statement and checkpoint (Ed25519), checkpoint again (ML-DSA-44), token and its
    certificate (ECDSA P-256)."""
    message = os.urandom(200)
    ed25519, mldsa44 = Ed25519PrivateKey.generate(), MLDSA44PrivateKey.generate()
    p256 = ec.generate_private_key(ec.SECP256R1())
    by_ed25519, by_mldsa44 = ed25519.sign(message), mldsa44.sign(message)
    algorithm = ec.ECDSA(hashes.SHA256())
    by_p256 = p256.sign(message, algorithm)
    keys = ed25519.public_key(), mldsa44.public_key(), p256.public_key()

    def check() -> None:
        for _ in range(3):
            keys[0].verify(by_ed25519, message)
        keys[1].verify(by_mldsa44, message)
        for _ in range(2):
            keys[2].verify(by_p256, message, algorithm)

    return rate(check, seconds)
