"""PURE. What a certificate's tokens and evidence records say about time: checks, and what follows.

Per token: imprint, signature, chain, at the token's own time (`timestamp`); then whether its
authority's certificates were revoked, by what is kept beside it (`revocation`). A token that no
trusted root reaches, or that a revocation takes, proves nothing, and the others stand by
themselves. How many authorities must be left is for the trust file to ask (`timestamp_quorum`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from certs.certificate import Certificate, EvidenceRecordOf, Timestamp
from notary.certpath import read_certificate
from notary.clock import rfc3339
from notary.errors import BadEvidenceRecord, BadTimestamp, MalformedInput, Unverifiable
from notary.judged import judge_record, judge_standing, judge_token
from notary.remembered import remembering
from notary.revocation import State
from notary.trust import Trust
from notary.tsp import VerifiedTimestamp, parse_response
from notary.verdict import Check, Status

UNTRUSTED, REVOKED, TOO_FEW = (
    "timestamp_untrusted", "timestamp_revoked", "timestamp_quorum_missing",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFindings:
    """`broken` is the code where the certificate is not genuine; `undecided` the code where its
    time could not be decided; `unstamped` where it claims no outside time."""

    checks: tuple[Check, ...]
    broken: str | None
    undecided: str | None
    unstamped: bool


def judge_times(
    certificate: Certificate, *, checkpoint_text: str, digests: Mapping[str, bytes],
    trust: Trust | None,
) -> TimeFindings:  # fmt: skip
    """`digests` are the original's, by hashlib's names, as far as they are known; `checkpoint_text`
    is the signed text of the certificate's checkpoint. Never raises for bad input."""
    judging = _Judging(certificate=certificate, trust=trust, digests=digests)
    judging.tokens(hashlib.sha256(checkpoint_text.encode("utf-8")).digest())
    if judging.broken is None:
        judging.claim()
        judging.quorum()
        for record in certificate.evidence_records:
            judging.record(record)
    return TimeFindings(
        checks=tuple(judging.checks),
        broken=judging.broken,
        undecided=judging.undecided,
        unstamped=certificate.times.timestamped_at is None,
    )


@dataclass(slots=True, kw_only=True)
class _Judging:
    certificate: Certificate
    trust: Trust | None
    digests: Mapping[str, bytes]
    checks: list[Check] = field(default_factory=list)
    broken: str | None = None
    undecided: str | None = None
    _proved: list[datetime] = field(default_factory=list)
    _claimed: list[datetime] = field(default_factory=list)
    _authorities: set[bytes] = field(default_factory=set)
    _refused: str = UNTRUSTED

    def tokens(self, checkpoint: bytes) -> None:
        imprints = {"checkpoint": checkpoint}
        if "sha256" in self.digests:
            imprints["original"] = self.digests["sha256"]
        if not self.certificate.timestamps:
            self._leave("timestamp", "timestamp_none", "the certificate holds no token yet")
        for stamp in self.certificate.timestamps:
            if stamp.covers not in imprints:
                self._leave(
                    "timestamp", "proof_missing", "section content is withheld, so the token of "
                    f"{stamp.authority} over the original was not compared",
                )  # fmt: skip
            elif self.broken is None:
                self._token(stamp, imprints[stamp.covers])

    def _token(self, stamp: Timestamp, imprint: bytes) -> None:
        roots = stamp.chain[-1:] if self.trust is None else self.trust.timestamp_roots
        over_checkpoint = stamp.covers == "checkpoint"
        try:
            judge = remembering(judge_token, stamp.response, *stamp.chain)
            token = judge(stamp.response, imprint, roots, stamp.chain)
        except (BadTimestamp, MalformedInput) as exc:
            self._fail("timestamp", "timestamp_invalid", exc)
            return
        except Unverifiable as exc:
            self._leave("timestamp", UNTRUSTED, f"{stamp.authority}: {exc}")
            if over_checkpoint:
                self._claimed += _own_time(stamp.response)
            return
        self._pass("timestamp", f"{stamp.covers}, {stamp.authority}, {rfc3339(token.gen_time)}")
        if over_checkpoint:
            self._claimed.append(token.gen_time)
        if self._stands(stamp, token) and over_checkpoint:
            self._proved.append(token.gen_time)
            self._authorities.add(read_certificate(token.chain[0]).subject.public_bytes())

    def _stands(self, stamp: Timestamp, token: VerifiedTimestamp) -> bool:
        """Whether no revocation takes it. A self-operated authority has nobody who says."""
        data = stamp.revocation
        if data is None and stamp.self_operated:
            return True
        crls, responses = ((), ()) if data is None else (data.crls, data.responses)
        judge = remembering(judge_standing, *token.chain, *crls, *responses)
        standing = judge(token.chain, token.gen_time, crls, responses)
        detail = f"{stamp.authority}: {standing.detail}"
        if standing.state is State.GOOD:
            self._pass("revocation", detail)
        elif standing.state is State.REVOKED:
            self.checks.append(
                Check(name="revocation", status=Status.FAILED, code=REVOKED, detail=detail)
            )
            self._refused = REVOKED
        else:
            assert standing.code is not None
            self._leave("revocation", standing.code, detail)
        return standing.state is not State.REVOKED

    def claim(self) -> None:
        """The time that the certificate says is the one that its tokens say."""
        said, quorum = (
            self.certificate.times.timestamped_at,
            self.certificate.times.timestamp_quorum,
        )
        covering = any(each.covers == "checkpoint" for each in self.certificate.timestamps)
        if quorum is None:
            wrong = bool(self._proved) and (said is None or said > min(self._proved))
            wrong = wrong or (said is not None and not covering)
        else:
            times = sorted(self._claimed)
            wrong = said != (times[quorum - 1] if len(times) >= quorum else None)
        if wrong:
            times_said = [rfc3339(moment) for moment in self._proved]
            detail = f"certificate says timestamped at {said and rfc3339(said)}, its tokens say "
            self._fail("timestamp", "certificate_altered", BadTimestamp(f"{detail}{times_said}"))
        elif covering and not self._proved:
            self.undecided = self._refused

    def quorum(self) -> None:
        asked = 0 if self.trust is None else self.trust.timestamp_quorum
        if not asked:
            return
        detail = f"tokens that hold by {len(self._authorities)} authorities, asked for are {asked}"
        if len(self._authorities) >= asked:
            self._pass("timestamp_quorum", detail)
        else:
            self._leave("timestamp_quorum", TOO_FEW, detail)
            self.undecided = self.undecided or TOO_FEW

    def record(self, given: EvidenceRecordOf) -> None:
        if "sha256" not in self.digests:
            self._leave("evidence_record", "proof_missing", "section content is withheld")
            return
        try:
            roots = _roots(given) if self.trust is None else self.trust.timestamp_roots
            proved = judge_record(given.record, self.digests, roots, given.certificates)
        except (BadEvidenceRecord, MalformedInput) as exc:
            self._fail("evidence_record", "evidence_record_invalid", exc)
            return
        except Unverifiable as exc:
            code = "timestamp_untrusted" if exc.code == "undecided" else exc.code
            self._leave("evidence_record", code, f"{given.authority}: {exc}")
            return
        self._pass(
            "evidence_record",
            f"{given.authority}, {rfc3339(proved.gen_time)}, {len(proved.tokens)} time-stamps, "
            f"valid until {rfc3339(proved.expires_at)}",
        )

    def _pass(self, name: str, detail: str) -> None:
        self.checks.append(Check(name=name, status=Status.PASSED, detail=detail))

    def _leave(self, name: str, code: str, detail: str) -> None:
        self.checks.append(Check(name=name, status=Status.NOT_MADE, code=code, detail=detail))

    def _fail(self, name: str, code: str, error: Exception) -> None:
        self.broken = code
        self.checks.append(Check(name=name, status=Status.FAILED, code=code, detail=str(error)))


def _own_time(response: bytes) -> list[datetime]:
    """What a token that could not be tested says itself."""
    try:
        return [parse_response(response).gen_time]
    except (BadTimestamp, MalformedInput):
        return []


def _roots(given: EvidenceRecordOf) -> tuple[bytes, ...]:
    """Without a trust file: those of the embedded certificates that nobody else issued."""
    read = [read_certificate(der) for der in given.certificates]
    return tuple(each.der for each in read if each.issuer == each.subject)
