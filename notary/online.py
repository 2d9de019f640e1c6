"""Asks the live service what no certificate can know: does the ledger still continue the one that
it stands in, and was it replaced or withdrawn?

What a network does says nothing about a document: whatever does not come, or can't be proved, is a
check not made. Only what the log itself signed can speak against it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import quote

from certs.certificate import parse_certificate
from certs.status import MAX_BYTES, StatusDraft
from notary.errors import MalformedInput, Unreachable, Unverifiable
from notary.follow import fetch_checkpoint, open_tree
from notary.judged import embedded_keys, trusted_keys
from notary.readable import Source
from notary.signed_head import Contradiction, Identity, Kind, SignedHead, open_checkpoint
from notary.superseding import BAD_ANSWER, NAME, Believed, judge_status
from notary.trust import Trust
from notary.verdict import Check, Facts, Report, Status, Verdict

CONSISTENCY: Final = "consistency"
LOG: Final = "log"
UNREACHABLE: Final = "service_unreachable"
ITS, NOW = "the checkpoint in the certificate", "the newest checkpoint"


class Below:
    """What a source has below a path of its own."""

    def __init__(self, source: Source, path: str) -> None:
        self.name = f"{source.name}/{path}"
        self._source, self._path = source, path

    def read(self, path: str, max_bytes: int) -> bytes | None:
        return self._source.read(f"{self._path}/{path}", max_bytes)


def ask(report: Report, data: bytes, trust: Trust | None, source: Source) -> Report:
    """`report` is the verdict without network on the bytes `data` of a certificate.json; `source`
    the service's base URL. A certificate that did not check out by itself is not asked about.

    A ledger that contradicts the certificate's changes every verdict. Otherwise only a
    confirmation is changed: to superseded, or to undecided where the question was not answered.
    """
    facts = report.facts
    if facts is None or not _is_genuine(report):
        return report
    certificate = parse_certificate(data)
    if trust is None:
        keys = Believed(
            log=embedded_keys(certificate.keys.log),
            statement=certificate.keys.statement,
            certificate=certificate.keys.certificate,
        )
    else:
        keys = Believed(
            log=trust.log_keys,
            statement=trusted_keys(trust.statement_keys),
            certificate=trusted_keys(trust.certificate_keys),
        )
    first = _consistency(certificate.log.checkpoint, certificate.log.origin, keys, source)
    if first.status is Status.FAILED:
        return replace(
            report,
            verdict=Verdict.NOT_GENUINE,
            code=first.code or BAD_ANSWER,
            checks=(*report.checks, first),
            facts=None,
        )
    second, said = _supersession(data, facts, keys, source)
    return _concluded(report, (first, second), said)


def _is_genuine(report: Report) -> bool:
    return report.verdict in (Verdict.CONFIRMED, Verdict.NOT_THIS_FILE) or report.code in (
        "no_document", "proof_missing", "timestamp_untrusted",
    )  # fmt: skip


def _concluded(report: Report, checks: tuple[Check, ...], said: StatusDraft | None) -> Report:
    verdict, code = report.verdict, report.code
    if verdict is Verdict.CONFIRMED:
        unanswered = next((c.code for c in checks if c.status is Status.NOT_MADE), None)
        told = next((c.code for c in checks if c.status is Status.FAILED), None)
        if told is not None:
            verdict, code = Verdict.SUPERSEDED, told
        elif unanswered is not None:
            verdict, code = Verdict.UNDECIDED, unanswered
        elif said is not None and said.disposed and code == "match":
            code = "match_disposed"
    return replace(report, verdict=verdict, code=code, checks=(*report.checks, *checks))


def _consistency(checkpoint: str, origin: str, keys: Believed, source: Source) -> Check:
    identity = Identity(origin=origin, keys=keys.log)
    log = Below(source, LOG)
    try:
        its = open_checkpoint(checkpoint.encode("utf-8"), identity, label=ITS)
        now = fetch_checkpoint(log, identity)
        if now.size < its.size:
            return _not_made(
                CONSISTENCY,
                BAD_ANSWER,
                f"{NOW} has size {now.size}, {ITS} has size {its.size} already: it is an old one",
            )
        return _extends(log, its, now)
    except Unreachable as exc:
        return _not_made(CONSISTENCY, UNREACHABLE, str(exc))
    except Unverifiable as exc:  # its keys changed since the trust file was written
        return _not_made(CONSISTENCY, BAD_ANSWER, str(exc))
    except Contradiction as exc:
        # Tiles and lines that do not fit are what a proxy on the way can make of any answer.
        if exc.kind in (Kind.INCONSISTENT, Kind.FORK):
            return Check(
                name=CONSISTENCY,
                status=Status.FAILED,
                code="checkpoint_inconsistent",
                detail=str(exc),
            )
        return _not_made(CONSISTENCY, BAD_ANSWER, str(exc))


def _extends(log: Source, its: SignedHead, now: SignedHead) -> Check:
    open_tree(log, now).check_extends(its, labels=(ITS, NOW))
    return Check(
        name=CONSISTENCY,
        status=Status.PASSED,
        detail=f"from size {its.size} to size {now.size}, root {now.root.hex()}",
    )


def _supersession(
    data: bytes, facts: Facts, keys: Believed, source: Source
) -> tuple[Check, StatusDraft | None]:
    # A record's id may be any text, for all that the certificate's own checks say.
    asked = quote(facts.deposit_id, safe="")
    path = f"v1/certificates/{facts.certificate_id}/status?registration={asked}"
    try:
        answer = source.read(path, MAX_BYTES)
    except (Unreachable, MalformedInput) as exc:
        return _not_made(NAME, UNREACHABLE, str(exc)), None
    if answer is None:
        return _not_made(
            NAME, "not_authorised_or_unknown", f"{source.name} knows no such certificate"
        ), None
    return judge_status(answer, parse_certificate(data), facts.deposit_id, keys)


def _not_made(name: str, code: str, why: str) -> Check:
    return Check(name=name, status=Status.NOT_MADE, code=code, detail=why)
