"""A certificate and the bytes in hand → checks → a verdict. PURE: no network, no clock, no files.

The checks, in the order they are made:

 1. certificate_format      exactly the canonical form of a certificate we can read
 2. certificate_signature   its issuer's signature over all of it
 3. log_keys                its keys are those of the trust file (without one: embedded keys only)
 4. record, disclosures     each section shown is one that the record commits to
    withheld                each section left out is one too, where any is
 5. statement               signed by a statement key, over this record
 6. checkpoint              the signed tree head: origin, size, signatures
 7. inclusion               the statement is the leaf at its index under that root
 8. witnesses               the quorum of cosignatures, where the trust file asks for one
 9. witness_policy          the cosignatures meet the policy that the certificate says they meet
10. timestamp, revocation, timestamp_quorum, evidence_record   see `notary.verify_time`
11. document_digest, document_size   the bytes in hand are the registered ones

*Altered* is said only of what was tested and failed; all else is *could not be checked, because*.
The same code answers the command line, the page and the API; words are in certs/wording/.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from certs.certificate import Certificate, Key, LogEntry, parse_certificate
from certs.errors import CertificateMalformed, SealInvalid, UnsupportedFormat
from certs.reading import b64url
from certs.seal import check_seal
from notary import statement as cose
from notary.clock import rfc3339
from notary.comparing import Comparison, compare, registered_content
from notary.digest import SHA256, SHA512
from notary.errors import (
    BadCertificate,
    BadInclusion,
    BadSignature,
    MalformedInput,
    Unverifiable,
)
from notary.examination import Examination, Stop
from notary.judged import (
    embedded_keys,
    meet_policy,
    open_log_checkpoint,
    trusted_keys,
)
from notary.record import EVIDENCE, disclosed, disclosure_digest, parse_record
from notary.remembered import remembering
from notary.tlog import merkle
from notary.tlog.note import VerifierKey
from notary.trust import Trust
from notary.verdict import Document, Facts, Report, Verdict
from notary.verify_time import judge_times

_ANY_HEX = re.compile(r"([0-9a-f]{2})+")


def verify(data: bytes, document: Document | None, trust: Trust | None) -> Report:
    """Judges the bytes of a `certificate.json` and, if given, a document against them.

    Never raises for bad input: whatever the bytes are, there is a report.
    """
    examination = _Examination(trust)
    facts: Facts | None = None
    try:
        certificate = examination.read(data)
        facts = examination.examine(certificate, data, document)
        comparison = compare(facts.sections, document)
        examination.checks.extend(comparison.checks)
        verdict, code = examination.with_time(comparison)
    except Stop as stop:
        verdict, code = stop.verdict, stop.code
        if verdict is Verdict.NOT_GENUINE:
            facts = None
    return Report(
        verdict=verdict,
        code=code,
        checks=tuple(examination.checks),
        trusted_keys=trust is not None,
        facts=facts,
        document=document,
    )


class _Examination(Examination):
    def __init__(self, trust: Trust | None) -> None:
        super().__init__()
        self.trust = trust
        self._unstamped = True
        self._time_undecided: str | None = None

    def with_time(self, comparison: Comparison) -> tuple[Verdict, str]:
        """The verdict, once it is known what the timestamps proved."""
        if comparison.verdict is Verdict.CONFIRMED:
            if self._time_undecided is not None:
                return Verdict.UNDECIDED, self._time_undecided
            if self._unstamped:
                return Verdict.CONFIRMED, "match_not_yet_anchored"
        return comparison.verdict, comparison.code

    # --- the certificate -------------------------------------------------------------------

    def read(self, data: bytes) -> Certificate:
        try:
            certificate = parse_certificate(data)
        except (CertificateMalformed, UnsupportedFormat) as exc:
            raise self.left("certificate_format", exc.code, str(exc)) from exc
        self.passed("certificate_format")
        return certificate

    def examine(self, certificate: Certificate, data: bytes, document: Document | None) -> Facts:
        self._signature(certificate, data)
        log_keys, statement_keys = self._keys(certificate)
        sections, record = self._record(certificate)
        leaf = self._statement(certificate, statement_keys)
        checkpoint_text = self._log(certificate, log_keys, leaf)
        self._timestamps(certificate, checkpoint_text, sections, document)
        times = certificate.times
        return Facts(
            certificate_id=certificate.certificate_id,
            issuer=certificate.issuer.name,
            origin=certificate.log.origin,
            deposit_id=str(record["id"]),
            sections=sections,
            index=certificate.log.index,
            size=certificate.log.size,
            received_at=rfc3339(times.received_at),
            registered_at=rfc3339(times.registered_at),
            timestamped_at=None if times.timestamped_at is None else rfc3339(times.timestamped_at),
            issued_at=rfc3339(times.issued_at),
            self_operated_only=all(stamp.self_operated for stamp in certificate.timestamps),
        )

    def _signature(self, certificate: Certificate, data: bytes) -> None:
        try:
            check_seal(certificate, data=data)
        except SealInvalid as exc:
            raise self.failed("certificate_signature", "signature_invalid", exc) from exc
        self.passed("certificate_signature")

    def _keys(self, certificate: Certificate) -> tuple[tuple[VerifierKey, ...], tuple[Key, ...]]:
        """The keys to go by: the trust file's, or the embedded ones, which is then said."""
        try:
            read = remembering(embedded_keys, *certificate.keys.log)
            embedded = read(certificate.keys.log)
        except MalformedInput as exc:
            raise self.failed("log_keys", "certificate_altered", exc) from exc
        if self.trust is None:
            self.left("log_keys", "embedded_keys", "no trust file was given")
            return embedded, certificate.keys.statement
        trust = self.trust
        signer = certificate.signature.kid
        if (
            certificate.log.origin != trust.origin
            or certificate.issuer.origin != trust.origin
            or signer not in [key.kid for key in trusted_keys(trust.certificate_keys)]
        ):
            raise self.left(
                "log_keys",
                "unknown_key",
                f"certificate of log {certificate.log.origin!r} signed by {signer.hex()}; the "
                f"trust file knows log {trust.origin!r} and its keys",
            )
        self.passed("log_keys")
        return trust.log_keys, trusted_keys(trust.statement_keys)

    def _record(self, certificate: Certificate) -> tuple[dict[str, object], dict[str, object]]:
        try:
            record = parse_record(certificate.record)
            if record["type"] != EVIDENCE:
                raise BadCertificate(f"record is of type {record['type']!r}, not {EVIDENCE!r}")
            received = rfc3339(certificate.times.received_at)
            if record["received_at"] != received:
                raise BadCertificate(
                    f"record was received at {record['received_at']}, certificate says {received}"
                )
            sections = disclosed(record, certificate.disclosures)
        except (MalformedInput, BadCertificate) as exc:
            raise self.failed("record", "record_mismatch", exc) from exc
        self.passed("record")
        self.passed("disclosures", ", ".join(sections))
        self._withheld(certificate, record, sections)
        return sections, record

    def _withheld(
        self, certificate: Certificate, record: Mapping[str, object], sections: Mapping[str, object]
    ) -> None:
        """What is left out stands in the record by its digest: it can only be shown unchanged."""
        committed = record["_sd"]
        assert isinstance(committed, list)
        shown = {disclosure_digest(disclosure) for disclosure in certificate.disclosures}
        hidden = set(committed) - shown
        names = [each.section for each in certificate.withheld]
        if names:
            listed = [b64url(each.digest) for each in certificate.withheld]
            doubled = len(set(names)) < len(names) or len(set(listed)) < len(listed)
            if doubled or set(listed) != hidden or set(names) & sections.keys():
                error = BadCertificate(
                    f"certificate withholds {names} by {sorted(listed)}, the record leaves "
                    f"{sorted(hidden)}"
                )
                raise self.failed("withheld", "certificate_altered", error)
        if hidden:
            named = ", ".join(names) or f"{len(hidden)} not named"
            self.passed("withheld", f"{named}: withheld, provably unchanged")

    def _statement(self, certificate: Certificate, keys: tuple[Key, ...]) -> bytes:
        """The leaf hash."""
        try:
            statement = cose.parse_statement(certificate.statement)
            digest = hashlib.sha256(certificate.record.encode("utf-8")).digest()
            if statement.payload != digest:
                raise BadSignature(
                    f"statement is over {statement.payload.hex()}, record is {digest.hex()}"
                )
            if statement.issuer != certificate.log.origin:
                raise BadSignature(
                    f"statement is by {statement.issuer!r}, log is {certificate.log.origin!r}"
                )
            if statement.preimage_type != cose.EVIDENCE_TYPE:
                raise BadSignature(f"statement is about {statement.preimage_type!r}")
            key = next((key for key in keys if key.kid == statement.kid), None)
            if key is None:
                raise self.left("statement", "unknown_key", f"signed by key {statement.kid.hex()}")
            cose.check_statement(statement, key.public_key)
        except (MalformedInput, BadSignature) as exc:
            raise self.failed("statement", "statement_invalid", exc) from exc
        self.passed("statement")
        return merkle.leaf_hash(certificate.statement)

    def _log(self, certificate: Certificate, keys: tuple[VerifierKey, ...], leaf: bytes) -> str:
        """The signed text of the checkpoint."""
        entry = certificate.log
        try:
            open_ = remembering(open_log_checkpoint, entry.checkpoint)
            text, checkpoint, signatures = open_(entry.checkpoint, keys)
            if (checkpoint.origin, checkpoint.size) != (entry.origin, entry.size):
                raise BadSignature(
                    f"checkpoint is of {checkpoint.origin!r} at size {checkpoint.size}, "
                    f"certificate says {entry.origin!r} at {entry.size}"
                )
        except Unverifiable as exc:
            raise self.left("checkpoint", "unknown_key", str(exc)) from exc
        except (MalformedInput, BadSignature) as exc:
            raise self.failed("checkpoint", "checkpoint_invalid", exc) from exc
        self.passed("checkpoint", f"{signatures} signatures")
        try:
            merkle.check_inclusion(
                index=entry.index,
                size=entry.size,
                leaf=leaf,
                proof=entry.inclusion_proof,
                root=checkpoint.root,
            )
        except BadInclusion as exc:
            raise self.failed("inclusion", "inclusion_proof_invalid", exc) from exc
        self.passed("inclusion", f"leaf {entry.index} of {entry.size}")
        self.witnesses(entry.checkpoint, None if self.trust is None else self.trust.witness_policy)
        self._own_policy(entry)
        return text

    def _own_policy(self, entry: LogEntry) -> None:
        """The policy that the certificate says its cosignatures meet, if it says one."""
        policy = entry.witness_policy
        if policy is None:
            return
        try:
            meet = remembering(meet_policy, entry.checkpoint, policy)
            names = meet(entry.checkpoint, policy)
        except (MalformedInput, BadSignature, Unverifiable) as exc:
            raise self.failed("witness_policy", "certificate_altered", exc) from exc
        self.passed("witness_policy", ", ".join(names))

    # --- time ------------------------------------------------------------------------------

    def _timestamps(
        self,
        certificate: Certificate,
        text: str,
        sections: Mapping[str, object],
        document: Document | None,
    ) -> None:
        found = judge_times(
            certificate,
            checkpoint_text=text,
            digests=_known_digests(sections, document),
            trust=self.trust,
        )
        self.checks += found.checks
        if found.broken is not None:
            raise Stop(Verdict.NOT_GENUINE, found.broken)
        self._unstamped, self._time_undecided = found.unstamped, found.undecided


def _known_digests(sections: Mapping[str, object], document: Document | None) -> dict[str, bytes]:
    """The original's, by hashlib's names: those registered, and where the document in hand is that
    original, its own."""
    sha256, _ = registered_content(sections)
    if sha256 is None:
        return {}
    named = {SHA256: sha256}
    if document is not None and document.digests[SHA256] == sha256:
        named |= document.digests
    content = sections.get("content")
    if isinstance(content, dict):
        registered = content["digests"].get(SHA512)
        named |= {SHA512: registered} if isinstance(registered, str) else {}
    return {
        name.replace("-", ""): bytes.fromhex(text)
        for name, text in named.items()
        if _ANY_HEX.fullmatch(text)
    }
