"""Tokens to be judged, and the judgement: what the tests of notary.tsp share."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from notary.errors import BadTimestamp, Unverifiable
from notary.tsp import VerifiedTimestamp, parse_response, verify_token
from tests.harness.tokens import DAY, NOW, Draft, issue

IMPRINT = hashlib.sha256(b"exhibit 7").digest()
ROOT = issue("Root", ca=True, valid=(NOW - 9 * DAY, NOW + 9 * DAY))
TSA = issue("Tick Tock TSA", issuer=ROOT)
MICROSECOND = timedelta(microseconds=1)


def draft(**otherwise: Any) -> Draft:
    settings: dict[str, Any] = {"signer": TSA, "imprint": IMPRINT} | otherwise
    return Draft(**settings)


def judge(made: Draft, **otherwise: Any) -> VerifiedTimestamp:
    settings: dict[str, Any] = {"imprint": IMPRINT, "roots": [ROOT.der]} | otherwise
    return verify_token(parse_response(made.response()), **settings)


def refused(made: Draft, **otherwise: Any) -> str:
    """The code of the error that the token is refused with."""
    with pytest.raises((BadTimestamp, Unverifiable)) as caught:
        judge(made, **otherwise)
    return caught.value.code
