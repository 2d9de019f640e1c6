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

import hashlib
from collections.abc import Mapping

from certs.destruction import Destruction, parse_destruction
from certs.errors import CertificateMalformed, SealInvalid, UnknownKey, UnsupportedFormat
from notary import statement as cose
from notary.clock import rfc3339
from notary.errors import (
    BadCertificate,
    BadInclusion,
    BadSignature,
    MalformedInput,
    Unverifiable,
)
from notary.judged import open_log_checkpoint, trusted_keys
from notary.record import CUSTODY, disclosed, parse_record
from notary.tlog import merkle
from notary.tlog.note import open_note, parse_note
from notary.tlog.policy import NONE
from notary.trust import Trust
from notary.verdict import Check, Report, Status, Verdict

FIRST_MEMBER = b'{"approved":'
"""How every one begins, its names being sorted."""


class _Stop(Exception):
    """Ends the examination with a verdict."""

    def __init__(self, verdict: Verdict, code: str) -> None:
        super().__init__(code)
        self.verdict = verdict
        self.code = code


def verify_destruction(data: bytes, trust: Trust | None) -> Report:
    """Judges the bytes of a `destruction.json`. Never raises for bad input. `facts` stay None: what
    was registered is no part of it."""
    examination = _Examination()
    try:
        destruction = examination.read(data)
        examination.examine(destruction, trust)
        verdict, code = Verdict.CONFIRMED, "disposal_confirmed"
    except _Stop as stop:
        verdict, code = stop.verdict, stop.code
    return Report(
        verdict=verdict,
        code=code,
        checks=tuple(examination.checks),
        trusted_keys=trust is not None,
        facts=None,
        document=None,
    )


class _Examination:
    def __init__(self) -> None:
        self.checks: list[Check] = []

    def _pass(self, name: str, detail: str = "") -> None:
        self.checks.append(Check(name=name, status=Status.PASSED, detail=detail))

    def _fail(self, name: str, code: str, error: Exception) -> _Stop:
        self.checks.append(Check(name=name, status=Status.FAILED, code=code, detail=str(error)))
        return _Stop(Verdict.NOT_GENUINE, code)

    def _leave(self, name: str, code: str, detail: object) -> _Stop:
        self.checks.append(Check(name=name, status=Status.NOT_MADE, code=code, detail=str(detail)))
        return _Stop(Verdict.UNDECIDED, code)

    def read(self, data: bytes) -> Destruction:
        try:
            destruction = parse_destruction(data)
        except (CertificateMalformed, UnsupportedFormat) as exc:
            raise self._leave("certificate_format", exc.code, exc) from exc
        self._pass("certificate_format")
        return destruction

    def examine(self, destruction: Destruction, trust: Trust | None) -> None:
        trust = self._keys(destruction, trust)
        try:
            destruction.check_seal(trusted_keys(trust.certificate_keys))
        except UnknownKey as exc:
            raise self._leave("certificate_signature", "unknown_key", exc) from exc
        except SealInvalid as exc:
            raise self._fail("certificate_signature", "signature_invalid", exc) from exc
        self._pass("certificate_signature")
        self._record(destruction)
        self._statement(destruction, trust)
        self._log(destruction, trust)
        self._witnesses(destruction.draft.entry.checkpoint, trust)

    def _keys(self, destruction: Destruction, trust: Trust | None) -> Trust:
        signer, origin = destruction.signature.kid, destruction.draft.issuer.origin
        if trust is None:
            raise self._leave("log_keys", "unknown_key", "no trust file was given")
        known = [key.kid for key in trusted_keys(trust.certificate_keys)]
        if origin != trust.origin or signer not in known:
            raise self._leave(
                "log_keys",
                "unknown_key",
                f"destruction certificate of log {origin!r} signed by {signer.hex()}; the trust "
                f"file knows log {trust.origin!r} and its keys",
            )
        self._pass("log_keys")
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
            raise self._fail("record", "record_mismatch", exc) from exc
        draft = destruction.draft
        self._pass(
            "record",
            f"deposit {draft.deposit_id}, disposal {draft.disposal_id}: asked for by "
            f"{draft.requested.by!r} on {rfc3339(draft.requested.at)}, approved by "
            f"{draft.approved.by!r} on {rfc3339(draft.approved.at)}; {draft.reason!r}, "
            f"{draft.basis!r}; object {draft.destroyed.object}",
        )
        self._pass("disclosures")

    def _statement(self, destruction: Destruction, trust: Trust) -> None:
        draft, entry = destruction.draft, destruction.draft.entry
        try:
            statement = cose.parse_statement(entry.statement)
            digest = hashlib.sha256(entry.record.encode("utf-8")).digest()
            for what, ours, said in (
                ("over", digest.hex(), statement.payload.hex()),
                ("by", draft.issuer.origin, statement.issuer),
                ("about", cose.CUSTODY_TYPE, statement.preimage_type),
            ):
                if ours != said:
                    raise BadSignature(f"statement is {what} {said!r}, not {ours!r}")
            keys = trusted_keys(trust.statement_keys)
            key = next((key for key in keys if key.kid == statement.kid), None)
            if key is None:
                raise self._leave(
                    "statement", "unknown_key", f"signed by key {statement.kid.hex()}"
                )
            cose.check_statement(statement, key.public_key)
        except (MalformedInput, BadSignature) as exc:
            raise self._fail("statement", "statement_invalid", exc) from exc
        self._pass("statement")

    def _log(self, destruction: Destruction, trust: Trust) -> None:
        entry = destruction.draft.entry
        try:
            _, checkpoint, signatures = open_log_checkpoint(entry.checkpoint, trust.log_keys)
            if (checkpoint.origin, checkpoint.size) != (trust.origin, entry.size):
                raise BadSignature(
                    f"checkpoint is of {checkpoint.origin!r} at size {checkpoint.size}, the "
                    f"certificate says {trust.origin!r} at {entry.size}"
                )
        except Unverifiable as exc:
            raise self._leave("checkpoint", "unknown_key", exc) from exc
        except (MalformedInput, BadSignature) as exc:
            raise self._fail("checkpoint", "checkpoint_invalid", exc) from exc
        self._pass("checkpoint", f"{signatures} signatures")
        try:
            merkle.check_inclusion(
                index=entry.index,
                size=entry.size,
                leaf=merkle.leaf_hash(entry.statement),
                proof=entry.inclusion_proof,
                root=checkpoint.root,
            )
        except BadInclusion as exc:
            raise self._fail("inclusion", "inclusion_proof_invalid", exc) from exc
        self._pass("inclusion", f"leaf {entry.index} of {entry.size}")

    def _witnesses(self, checkpoint: str, trust: Trust) -> None:
        policy = trust.witness_policy
        if policy is None or policy.quorum == NONE:
            return
        try:
            note = parse_note(checkpoint.encode("utf-8"))
            cosigners = open_note(note, [witness.key for witness in policy.witnesses])
            policy.check([each.key for each in cosigners])
        except BadSignature as exc:
            raise self._fail("witnesses", "checkpoint_invalid", exc) from exc
        except Unverifiable as exc:
            raise self._leave("witnesses", "witness_quorum_missing", exc) from exc
        self._pass("witnesses", ", ".join(each.key.name for each in cosigners))


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
