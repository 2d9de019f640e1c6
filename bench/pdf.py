"""The certificate for people, on one core: today typeset and with its attachment, not yet signed.

Beside it the same typesetting program on a sheet with one line.
"""

from __future__ import annotations

import hashlib
import os

import typst

from bench.house import office, say
from bench.ledger import rate
from notary.model import Declared

LINE = b'#set page(paper: "a4")\nOne line.\n'


def measure(*, quick: bool) -> dict[str, object]:
    say("certificates as PDF")
    seconds = 2.0 if quick else 8.0
    with office() as (house, by):
        sha256 = hashlib.sha256(os.urandom(32)).hexdigest()
        declared = Declared(name="a.pdf", size=1000, digests={"sha-256": sha256})
        deposit = house.intake.register_digests(by, declared).deposit
        issued = house.issue.certificate(deposit, by=by)
        per_s = rate(lambda: house.issue.pdf(issued, lang="en"), seconds, at_once=1)
    bare = rate(lambda: typst.compile(LINE), seconds / 2, at_once=1)
    return {
        "pdf_per_s": round(per_s, 1),
        "pdf_per_s_yardstick": round(bare, 1),
        "pdf_per_s_note": "typeset and with its attachment, not yet signed as PAdES",
    }
