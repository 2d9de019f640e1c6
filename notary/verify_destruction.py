"""A destruction certificate → checks → a verdict. PURE, as `verify` is.

It carries no keys: without a trust file nothing of it can be decided. The checks, in their order:

 1. certificate_format      exactly the canonical form of one that we can read
 2. log_keys                its origin and its signer are the trust file's
 3. certificate_signature   its issuer's signature over all of it
 4. record, disclosures     the event is a disposal, of the deposit, by whom and why it says
 5. statement               signed by a statement key, over this record
 6. checkpoint, inclusion   the statement is the leaf at its index under a root that the log signed
 7. witnesses               the quorum of cosignatures, where the trust file asks for one

That data key, salts and object are gone is the house's word, which it signed; what the ledger bears
out is that the disposal was asked for, approved and entered.
"""

from __future__ import annotations

from collections.abc import Mapping

from certs.destruction import Destruction, parse_destruction
from certs.errors import CertificateMalformed, SealInvalid, UnknownKey, UnsupportedFormat
from notary.clock import rfc3339
from notary.entered import (
    check_event_inclusion,
    check_event_statement,
    open_event_checkpoint,
)
from notary.errors import (
    BadCertificate,
    BadInclusion,
    BadSignature,
    MalformedInput,
    Unverifiable,
)
from notary.examination import Examination, Stop
from notary.judged import trusted_keys
from notary.record import CUSTODY, disclosed, parse_record
from notary.trust import Trust
from notary.verdict import Report, Verdict

FIRST_MEMBER = b'{"approved":'
"""How every one begins, its names being sorted."""


def verify_destruction(data: bytes, trust: Trust | None) -> Report:
    """Judges the bytes of a `destruction.json`. Never raises for bad input. `facts` stay None: what
    was registered is no part of it."""
    examination = _Examination()
    try:
        destruction = examination.read(data)
        examination.examine(destruction, trust)
        verdict, code = Verdict.CONFIRMED, "disposal_confirmed"
    except Stop as stop:
        verdict, code = stop.verdict, stop.code
    return Report(
        verdict=verdict,
        code=code,
        checks=tuple(examination.checks),
        trusted_keys=trust is not None,
        facts=None,
        document=None,
    )


class _Examination(Examination):
    def read(self, data: bytes) -> Destruction:
        try:
            destruction = parse_destruction(data)
        except (CertificateMalformed, UnsupportedFormat) as exc:
            raise self.left("certificate_format", exc.code, exc) from exc
        self.passed("certificate_format")
        return destruction

    def examine(self, destruction: Destruction, trust: Trust | None) -> None:
        trust = self._keys(destruction, trust)
        try:
            destruction.check_seal(trusted_keys(trust.certificate_keys))
        except UnknownKey as exc:
            raise self.left("certificate_signature", "unknown_key", exc) from exc
        except SealInvalid as exc:
            raise self.failed("certificate_signature", "signature_invalid", exc) from exc
        self.passed("certificate_signature")
        self._record(destruction)
        self._statement(destruction, trust)
        self._log(destruction, trust)
        self.witnesses(destruction.draft.entry.checkpoint, trust.witness_policy)

    def _keys(self, destruction: Destruction, trust: Trust | None) -> Trust:
        signer, origin = destruction.signature.kid, destruction.draft.issuer.origin
        if trust is None:
            raise self.left("log_keys", "unknown_key", "no trust file was given")
        known = [key.kid for key in trusted_keys(trust.certificate_keys)]
        if origin != trust.origin or signer not in known:
            raise self.left(
                "log_keys",
                "unknown_key",
                f"destruction certificate of log {origin!r} signed by {signer.hex()}; the trust "
                f"file knows log {trust.origin!r} and its keys",
            )
        self.passed("log_keys")
        return trust

    def _record(self, destruction: Destruction) -> None:
        """The event says what the certificate says."""
        entry = destruction.draft.entry
        try:
            record = parse_record(entry.record)
            if record["type"] != CUSTODY:
                raise BadCertificate(f"record is of type {record['type']!r}, not {CUSTODY!r}")
            _check_said(destruction, record, disclosed(record, entry.disclosures))
        except (MalformedInput, BadCertificate) as exc:
            raise self.failed("record", "record_mismatch", exc) from exc
        draft = destruction.draft
        self.passed(
            "record",
            f"deposit {draft.deposit_id}, disposal {draft.disposal_id}: asked for by "
            f"{draft.requested.by!r} on {rfc3339(draft.requested.at)}, approved by "
            f"{draft.approved.by!r} on {rfc3339(draft.approved.at)}; {draft.reason!r}, "
            f"{draft.basis!r}; object {draft.destroyed.object}",
        )
        self.passed("disclosures")

    def _statement(self, destruction: Destruction, trust: Trust) -> None:
        draft, keys = destruction.draft, trusted_keys(trust.statement_keys)
        try:
            check_event_statement(draft.entry, draft.issuer.origin, keys)
        except Unverifiable as exc:
            raise self.left("statement", exc.code, exc) from exc
        except (MalformedInput, BadSignature) as exc:
            raise self.failed("statement", "statement_invalid", exc) from exc
        self.passed("statement")

    def _log(self, destruction: Destruction, trust: Trust) -> None:
        entry = destruction.draft.entry
        try:
            checkpoint, signatures = open_event_checkpoint(entry, trust.origin, trust.log_keys)
        except Unverifiable as exc:
            raise self.left("checkpoint", "unknown_key", exc) from exc
        except (MalformedInput, BadSignature) as exc:
            raise self.failed("checkpoint", "checkpoint_invalid", exc) from exc
        self.passed("checkpoint", f"{signatures} signatures")
        try:
            check_event_inclusion(entry, checkpoint.root)
        except BadInclusion as exc:
            raise self.failed("inclusion", "inclusion_proof_invalid", exc) from exc
        self.passed("inclusion", f"leaf {entry.index} of {entry.size}")


def _check_said(
    destruction: Destruction, record: Mapping[str, object], sections: Mapping[str, object]
) -> None:
    """Raises BadCertificate with both sides."""
    draft = destruction.draft
    ours: dict[str, object] = {
        "act": {"kind": "disposed"},
        "actor": {"account": draft.approved.by},
        "terms": {
            "reason": draft.reason,
            "basis": draft.basis,
            "requested_by": draft.requested.by,
            "requested_at": rfc3339(draft.requested.at),
        },
    }
    for name, value in ours.items():
        if sections.get(name) != value:
            raise BadCertificate(
                f"section {name!r} of the event is {sections.get(name)!r}, the certificate says "
                f"{value!r}"
            )
    about = sections.get("about")
    said = about if isinstance(about, Mapping) else {}
    if (said.get("deposit"), said.get("subject")) != (draft.deposit_id, draft.disposal_id):
        raise BadCertificate(
            f"the event is about {about!r}, the certificate about deposit {draft.deposit_id!r} and "
            f"disposal {draft.disposal_id!r}"
        )
    if record["received_at"] != rfc3339(draft.approved.at):
        raise BadCertificate(
            f"the event is of {record['received_at']}, the certificate says "
            f"{rfc3339(draft.approved.at)}"
        )
