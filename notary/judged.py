"""What certificates of one house share, judged once. PURE.

All entries of one second share a checkpoint and its tokens, so whoever verifies many certificates
meets the same ones again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from certs.certificate import Key
from notary.ers import VerifiedRecord, parse_evidence_record, verify_evidence_record
from notary.remembered import KEPT
from notary.revocation import Standing, judge_revocation
from notary.tlog.checkpoint import Checkpoint, parse_checkpoint_text
from notary.tlog.note import (
    ED25519,
    MLDSA44_COSIGNATURE,
    VerifierKey,
    open_note,
    parse_note,
    parse_vkey,
)
from notary.tlog.policy import parse_policy
from notary.tsp import VerifiedTimestamp, parse_response, verify_token

LOG_KEY_TYPES = (ED25519, MLDSA44_COSIGNATURE)


@lru_cache(maxsize=KEPT)
def embedded_keys(lines: tuple[str, ...]) -> tuple[VerifierKey, ...]:
    """Of vkey lines. Raises MalformedInput."""
    return tuple(parse_vkey(line) for line in lines)


@lru_cache(maxsize=KEPT)
def trusted_keys(raw: tuple[bytes, ...]) -> tuple[Key, ...]:
    """Of raw Ed25519 public keys, with their kids."""
    return tuple(Key.of(key) for key in raw)


@lru_cache(maxsize=KEPT)
def open_log_checkpoint(signed: str, keys: tuple[VerifierKey, ...]) -> tuple[str, Checkpoint, int]:
    """(signed text, what it says, how many signatures by the log's own keys hold). Raises
    MalformedInput, BadSignature, Unverifiable."""
    note = parse_note(signed.encode("utf-8"))
    checkpoint = parse_checkpoint_text(note.text)
    # Only the log itself speaks for its tree: no other key that is trusted for something (a
    # witness's, another log's) makes a checkpoint of this one.
    own = [key for key in keys if key.name == checkpoint.origin and key.type in LOG_KEY_TYPES]
    return note.text, checkpoint, len(open_note(note, own))


@lru_cache(maxsize=KEPT)
def meet_policy(signed: str, policy: str) -> tuple[str, ...]:
    """The names of the witnesses whose cosignatures meet a tlog-policy. Raises MalformedInput,
    BadSignature, Unverifiable."""
    asked = parse_policy(policy)
    note = parse_note(signed.encode("utf-8"))
    cosigners = open_note(note, [witness.key for witness in asked.witnesses])
    asked.check([each.key for each in cosigners])
    return tuple(each.key.name for each in cosigners)


@lru_cache(maxsize=KEPT)
def judge_token(
    response: bytes, imprint: bytes, roots: tuple[bytes, ...], chain: tuple[bytes, ...]
) -> VerifiedTimestamp:
    """What the token proves, once all of it holds. Raises BadTimestamp, MalformedInput,
    Unverifiable."""
    token = parse_response(response)
    return verify_token(token, imprint=imprint, roots=roots, intermediates=chain)


@lru_cache(maxsize=KEPT)
def judge_standing(
    chain: tuple[bytes, ...], at: datetime, crls: tuple[bytes, ...], responses: tuple[bytes, ...]
) -> Standing:
    """Whether a token of that verified chain and time stands by the revocation data beside it."""
    return judge_revocation(chain, at=at, crls=crls, responses=responses)


def judge_record(
    record: bytes,
    digests: Mapping[str, bytes],
    roots: Sequence[bytes],
    certificates: Sequence[bytes],
) -> VerifiedRecord:
    """What an evidence record proves of a document with these digests, by hashlib's names. Raises
    BadEvidenceRecord, MalformedInput, Unverifiable."""
    parsed = parse_evidence_record(record)
    return verify_evidence_record(parsed, digests=digests, roots=roots, intermediates=certificates)
