"""What an issuer says became of a certificate, judged: is it signed, is it about this one, and does
the ledger's entry in it say the same? PURE.
"""

from __future__ import annotations

from dataclasses import dataclass

from certs.certificate import Certificate, Key
from certs.entry import Entry
from certs.errors import CertificateMalformed, CertsError
from certs.status import CertificateStatus, StatusDraft, parse_status
from notary.clock import rfc3339
from notary.entered import (
    check_event_inclusion,
    check_event_statement,
    open_event_checkpoint,
)
from notary.errors import BadCertificate, MalformedInput, Unverifiable, VerificationError
from notary.record import CUSTODY, disclosed, parse_record
from notary.tlog.note import VerifierKey
from notary.verdict import Check, Status
from notary.versions import State

NAME = "supersession"
BAD_ANSWER = "service_answer_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """The keys to go by: the trust file's, or those embedded in the certificate."""

    log: tuple[VerifierKey, ...]
    statement: tuple[Key, ...]
    certificate: tuple[Key, ...]


def judge_status(
    data: bytes, certificate: Certificate, registration: str, keys: Believed
) -> tuple[Check, StatusDraft | None]:
    """The check, and what the statement says if all of it holds."""
    try:
        statement = parse_status(data)
        statement.check_seal(keys.certificate)
        _check_about(statement, certificate, registration)
        if statement.draft.entry is not None:
            _check_entry(statement.draft, statement.draft.entry, certificate, keys)
    except (CertsError, MalformedInput, VerificationError, Unverifiable) as exc:
        return _not_made(f"the statement does not hold: {exc}"), None
    draft = statement.draft
    said = _told(draft)
    if draft.status == State.CURRENT:
        return Check(name=NAME, status=Status.PASSED, detail=said), draft
    code = "certificate_reissued" if draft.status == State.SUPERSEDED else "certificate_withdrawn"
    return Check(name=NAME, status=Status.FAILED, code=code, detail=said), draft


def _not_made(why: str) -> Check:
    return Check(name=NAME, status=Status.NOT_MADE, code=BAD_ANSWER, detail=why)


def _told(draft: StatusDraft) -> str:
    match draft.status:
        case State.WITHDRAWN:
            what = f"version {draft.version} was withdrawn at {rfc3339(draft.since)}: "
            what += f"{draft.reason!r}"
        case State.SUPERSEDED:
            what = f"version {draft.version} was replaced at {rfc3339(draft.since)}; "
            what += f"the newest is version {draft.newest}"
        case _:
            what = f"version {draft.version} is the newest"
    proof = "" if draft.entry is not None else ", without a proof from the ledger"
    return f"{what}; stated at {rfc3339(draft.stated_at)}{proof}"


def _check_about(statement: CertificateStatus, certificate: Certificate, registration: str) -> None:
    draft = statement.draft
    asked = (
        certificate.certificate_id, registration, certificate.log.origin, certificate.version
    )  # fmt: skip
    told = (draft.certificate_id, draft.registration, draft.origin, draft.version)
    if asked != told:
        raise BadCertificate(f"asked about {asked}, the statement is about {told}")
    if draft.newest < draft.version or (
        (draft.status == State.WITHDRAWN) != (draft.reason is not None)
    ):
        raise BadCertificate("the statement contradicts itself")


def _check_entry(
    draft: StatusDraft, entry: Entry, certificate: Certificate, keys: Believed
) -> None:
    """Raises what its parts raise."""
    record = parse_record(entry.record)
    if record["type"] != CUSTODY:
        raise BadCertificate(f"the entry is of type {record['type']!r}")
    sections = disclosed(record, entry.disclosures)
    act, terms = sections.get("act"), sections.get("terms")
    if not isinstance(act, dict) or not isinstance(terms, dict):
        raise CertificateMalformed("the entry does not disclose act and terms")
    _check_event(draft, act.get("kind"), {str(k): str(v) for k, v in terms.items()})
    origin = certificate.log.origin
    check_event_statement(entry, origin, keys.statement)
    checkpoint, _ = open_event_checkpoint(entry, origin, keys.log)
    check_event_inclusion(entry, checkpoint.root)


def _check_event(draft: StatusDraft, kind: object, terms: dict[str, str]) -> None:
    """The ledger's event says what the statement says."""
    match draft.status:
        case State.CURRENT:
            holds = kind == "certificate-issued" and terms.get("certificate") == (
                draft.certificate_id
            )
        case State.SUPERSEDED:
            # Of several versions after it the entry is the next one's, which names it.
            holds = kind == "certificate-issued" and terms.get("replaces") == draft.certificate_id
        case _:
            named = terms.get("certificates", "").split(" ")
            holds = (
                kind == "certificate-withdrawn"
                and draft.certificate_id in named
                and terms.get("reason") == draft.reason
            )
    if not holds:
        raise BadCertificate(
            f"the statement says {draft.status}, the ledger's entry says {kind!r} of {terms}"
        )
