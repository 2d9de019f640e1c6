"""Gathers register, proof and tokens into one certificate, checks it as a stranger would, keeps it.

A certificate once issued is kept and given again byte for byte. It is issued anew, with the next
version, when more tokens cover the deposit than the last one carries.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from certs.asic import prepare_extended, write_extended, write_simple
from certs.bundle import write_bundle
from certs.certificate import (
    Certificate,
    EvidenceRecordOf,
    Issuer,
    Key,
    Keys,
    LogEntry,
    Revocation,
    Times,
    Timestamp,
    UnsignedCertificate,
    parse_certificate,
)
from certs.form import Form
from certs.pdf import Paper
from certs.seal import sign_certificate
from certs.wording import LANGS, PaperLang
from notary import __version__, access, register, versions
from notary.access import Act
from notary.chronicle import Chronicle
from notary.clock import Clock, parse_rfc3339, rfc3339
from notary.digest import SHA256
from notary.errors import BadSignature, Conflict, Corrupt, KeyMissing, NotFound, Unverifiable
from notary.evidence import DocumentRecord, Evidence
from notary.issued import CERTIFICATE
from notary.judged import judge_standing, meet_policy
from notary.keyhistory import KeyHistory
from notary.keyring import Held, Keyring
from notary.keys import raw_public
from notary.ledger import Ledger
from notary.model import Deposit, EventKind, Principal, check_label, uuid7
from notary.originals import Originals
from notary.pack import pack
from notary.papers import Papers
from notary.revocation import State
from notary.revocations import Revocations
from notary.stamps import CHECKPOINT, ORIGINAL, Stamped, Stamps, Token
from notary.statement import parse_statement
from notary.tlog.note import parse_note
from notary.tlog.proof import TlogProof
from notary.trust import Trust
from notary.tsp import parse_response
from notary.verdict import Document, Verdict
from notary.verify import verify
from notary.verify_page import pack_page
from notary.verify_time import REVOKED
from storage.database import Database

SOFTWARE = f"evidence-notary {__version__}"


class _IssuedMeanwhile(Conflict):
    """Another request issued this very version while we built it, or our key was retired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """`json` are the bytes of certificate.json, `certificate` the same, parsed."""

    json: bytes
    certificate: Certificate
    version: int
    deposit_id: str


class Issue:
    def __init__(
        self,
        *,
        database: Database,
        ledger: Ledger,
        stamps: Stamps,
        evidence: Evidence,
        revocations: Revocations,
        chronicle: Chronicle,
        originals: Originals,
        papers: Papers,
        clock: Clock,
        randomness: Callable[[int], bytes],
        keyring: Keyring,
        issuer: Issuer,
        trust: Callable[[], Trust],
        witness_policy: str | None,
        base_url: str,
    ) -> None:
        """`witness_policy` are the lines of the tlog-policy by which witnesses are asked."""
        self._database = database
        self._ledger = ledger
        self._stamps = stamps
        self._evidence = evidence
        self._revocations = revocations
        self._chronicle = chronicle
        self._originals = originals
        self._papers = papers
        self._clock = clock
        self._randomness = randomness
        self._keyring = keyring
        self._issuer = issuer
        self._trust = trust
        self._witness_policy = witness_policy
        self._base_url = base_url

    def certificate(self, deposit: Deposit, *, by: Principal) -> Issued:
        """The newest certificate, made now if there is none, if more tokens have come, or if one of
        its authorities was found revoked. Raises Gone (`certificate_withdrawn`)."""
        return self._certificate(deposit, by=by, reason=None)

    def reissue(self, deposit: Deposit, *, by: Principal, reason: str) -> Issued:
        """The next version, whether or not more tokens have come, and after a withdrawal too.
        Raises NotAllowed, MalformedInput, Gone (`deposit_disposed`)."""
        access.check(by, Act.WITHDRAW_CERTIFICATE)
        return self._certificate(deposit, by=by, reason=check_label(reason, what="reason"))

    def _certificate(self, deposit: Deposit, *, by: Principal, reason: str | None) -> Issued:
        stamped = self._stamps.covering(deposit.index)
        documents = self._stamps.of_document(deposit.id)
        records = self._evidence.of(deposit)
        tokens = (0 if stamped is None else len(stamped.tokens)) + len(documents)
        tokens += sum(each.timestamps for each in records)
        latest = self._latest(deposit.id)
        if reason is None and latest is not None:
            with self._database.reading() as connection:
                _check_not_withdrawn(connection, deposit.id)
            if latest.tokens >= tokens:
                issued = self._issued(latest)
                if not self._was_revoked_since(issued.certificate):
                    return issued
        version = 1 if latest is None else latest.version + 1
        now = self._clock.now()
        id_ = uuid7(now, self._randomness(10))
        held = self._keyring.fresh()
        draft = self._draft(
            deposit, stamped, documents, records, held, id_=id_, version=version, now=now
        )
        try:
            certificate = sign_certificate(draft, held.keys.certificate)
        except KeyMissing:
            if self._keyring.fresh().serial == held.serial:
                raise
            return self._certificate(deposit, by=by, reason=reason)  # retired, and destroyed
        encoded = certificate.encode()
        self._check(encoded, deposit)
        row = {
            "deposit_id": deposit.id,
            "version": version,
            "id": id_,
            "tokens": tokens,
            "issued_at": rfc3339(now),
            "json": encoded,
        }

        def keep(connection: sa.Connection, _at: datetime) -> None:
            if self._keyring.held().serial != held.serial:  # known under the lock
                raise _IssuedMeanwhile("the keys were rotated meanwhile")
            register.check_not_disposed(
                register.find_deposit(connection, register.DEPOSIT.c.id == deposit.id)
            )
            there = connection.execute(
                sa.select(CERTIFICATE.c.version).where(
                    CERTIFICATE.c.deposit_id == deposit.id, CERTIFICATE.c.version == version
                )
            ).first()
            if there is not None:
                raise _IssuedMeanwhile(f"version {version} was issued meanwhile")
            if reason is None:
                _check_not_withdrawn(connection, deposit.id)
            connection.execute(sa.insert(CERTIFICATE).values(**row))

        try:
            self._chronicle.record(
                EventKind.CERTIFICATE_ISSUED,
                actor=by.name,
                deposit_id=deposit.id,
                case_id=deposit.case_id,
                subject=versions.named(id_, version),
                also=keep,
                terms={
                    "certificate": id_,
                    "version": str(version),
                    **({} if latest is None else {"replaces": latest.id}),
                    **({} if reason is None else {"reason": reason}),
                },
            )
        except _IssuedMeanwhile:
            return self._certificate(deposit, by=by, reason=reason)
        return Issued(json=encoded, certificate=certificate, version=version, deposit_id=deposit.id)

    def last_issued(self, deposit_id: str) -> tuple[int, datetime] | None:
        """Version and time of the newest certificate, None while there is none."""
        latest = self._latest(deposit_id)
        return None if latest is None else (latest.version, parse_rfc3339(latest.issued_at))

    def pdf(
        self, issued: Issued, *, lang: PaperLang, paper: Paper = "a4", form: Form | None = None
    ) -> bytes:
        """The sealed paper. Raises as `Papers.pdf`."""
        return self._papers.pdf(
            issued.certificate,
            deposit_id=issued.deposit_id,
            version=issued.version,
            lang=lang,
            paper=paper,
            proof=self.proof(issued),
            form=form,
        )

    def proof(self, issued: Issued) -> bytes:
        """The C2SP `.tlog-proof` of the certificate's own proof and checkpoint."""
        log = issued.certificate.log
        return TlogProof(
            index=log.index, path=log.inclusion_proof, checkpoint=log.checkpoint.encode("utf-8")
        ).encode()

    def document_token(self, deposit: Deposit) -> bytes:
        """The TimeStampResp over the original itself. Raises NotFound while there is none."""
        tokens = self._stamps.of_document(deposit.id)
        if not tokens:
            code = "timestamp_pending" if deposit.document_timestamp else "timestamp_not_requested"
            raise NotFound(
                "the original has no timestamp of its own"
                + (" yet" if deposit.document_timestamp else "; ask with ?timestamp=document"),
                code=code,
            )
        return tokens[0].response

    def bundle(self, deposit: Deposit, issued: Issued) -> Iterator[bytes]:
        """bundle.zip in chunks; the original is read from storage as the zip is sent."""
        pdfs = {lang: self.pdf(issued, lang=lang) for lang in LANGS}
        return write_bundle(
            issued.certificate,
            original=self._original(deposit) if deposit.stored else None,
            pdfs=pdfs,
            proof=self.proof(issued),
            trust=self._trust().encode(),
            verifier=pack(),
            page=pack_page(),
        )

    def extended(self, deposit: Deposit, issued: Issued) -> Iterator[bytes]:
        """bundle.asice in chunks. The original is read from storage twice as it is sent.

        Raises what `Papers.pdf` and `Papers.manifest_token` do, before anything is sent.
        """
        prepared = prepare_extended(
            issued.certificate,
            has_original=deposit.stored,
            pdfs={lang: self.pdf(issued, lang=lang) for lang in LANGS},
            proof=self.proof(issued),
            receipt=self._papers.receipt(issued.certificate),
            trust=self._trust().encode(),
            verifier=pack(),
            page=pack_page(),
        )
        token = self._papers.manifest_token(
            issued.certificate,
            deposit_id=issued.deposit_id,
            version=issued.version,
            manifest=prepared.manifest,
        )
        original = partial(self._original, deposit) if deposit.stored else None
        return write_extended(prepared, token=token, original=original)

    def simple(self, deposit: Deposit, issued: Issued) -> Iterator[bytes]:
        """bundle.asics in chunks: the original, and the token over it.

        Raises NotFound as `document_token` does, Conflict (`original_not_stored`).
        """
        token = parse_response(self.document_token(deposit)).der
        if not deposit.stored:
            raise Conflict("only digests were deposited", code="original_not_stored")
        return write_simple(
            issued.certificate, token=token, original=partial(self._original, deposit)
        )

    def _original(self, deposit: Deposit) -> Generator[bytes, None, None]:
        return self._originals.open(
            deposit.id,
            data_key=deposit.data_key,
            size=deposit.size,
            version=deposit.object_version,
        )

    # --- steps -----------------------------------------------------------------------------

    def _draft(
        self,
        deposit: Deposit,
        stamped: Stamped | None,
        documents: tuple[Token, ...],
        records: tuple[DocumentRecord, ...],
        held: Held,
        *,
        id_: str,
        version: int,
        now: datetime,
    ) -> UnsignedCertificate:
        size = None if stamped is None else stamped.size
        head, size, proof = self._ledger.prove_inclusion(deposit.index, size)
        checkpoint = head.checkpoint if stamped is None else stamped.checkpoint
        (statement,) = self._ledger.entries(deposit.index, 1)
        stamps = [self._timestamp(CHECKPOINT, t) for t in (stamped.tokens if stamped else ())]
        stamps += [self._timestamp(ORIGINAL, token) for token in documents]
        return UnsignedCertificate(
            certificate_id=id_,
            version=version,
            issuer=self._issuer,
            issued_for="generic",
            record=deposit.record,
            disclosures=deposit.disclosures,
            statement=statement,
            log=LogEntry(
                origin=self._issuer.origin,
                index=deposit.index,
                size=size,
                inclusion_proof=proof,
                checkpoint=checkpoint.decode("utf-8"),
                witness_policy=self._policy_met(checkpoint),
            ),
            timestamps=tuple(stamps),
            times=Times(
                received_at=deposit.received_at,
                registered_at=deposit.registered_at,
                timestamped_at=None if stamped is None else stamped.time(),
                issued_at=now,
                timestamp_quorum=self._stamps.quorum if self._stamps.quorum > 1 else None,
            ),
            evidence_records=tuple(
                EvidenceRecordOf(
                    authority=each.authority,
                    self_operated=each.self_operated,
                    record=each.record,
                    certificates=each.certificates,
                )
                for each in records
            ),
            keys=_keys_of(statement, checkpoint, held, self._keyring.history()),
        )

    def _timestamp(self, covers: str, token: Token) -> Timestamp:
        known = self._revocations.of(token.chain)
        revocation = None
        if known.crls or known.responses:
            revocation = Revocation(crls=known.crls, responses=known.responses)
        return Timestamp(
            covers=covers,
            authority=token.authority,
            self_operated=token.self_operated,
            response=token.response,
            chain=token.chain,
            revocation=revocation,
        )

    def _was_revoked_since(self, certificate: Certificate) -> bool:
        """Whether one of its authorities was found revoked, which it does not say yet."""
        for stamp in certificate.timestamps:
            known = self._revocations.of(stamp.chain)
            if (known.crls, known.responses) == _data_of(stamp):
                continue
            gen_time = parse_response(stamp.response).gen_time
            before = judge_standing(stamp.chain, gen_time, *_data_of(stamp))
            now = judge_standing(stamp.chain, gen_time, known.crls, known.responses)
            if now.state is State.REVOKED is not before.state:
                return True
        return False

    def evidence_record(self, deposit: Deposit, authority: str | None = None) -> bytes:
        """The RFC 4998 record of the original: by that authority, else by the first outside one,
        else the house's own. Raises NotFound (`evidence_record_pending`)."""
        records = self._evidence.of(deposit)
        wanted = [each for each in records if authority in (None, each.authority)]
        if not wanted:
            of = "" if authority is None else f" by {authority!r:.200}"
            raise NotFound(
                f"there is no evidence record{of} yet: the period's token has not come",
                code="evidence_record_pending",
            )
        return min(wanted, key=lambda each: each.self_operated).record

    def _policy_met(self, checkpoint: bytes) -> str | None:
        """The policy, where the cosignatures meet it: those of an earlier one may not, and when
        failing open there may be too few."""
        policy = self._witness_policy
        if policy is None:
            return None
        try:
            met = meet_policy(checkpoint.decode("utf-8"), policy)
        except (BadSignature, Unverifiable):
            return None
        return policy if met else None

    def _check(self, encoded: bytes, deposit: Deposit) -> None:
        document = Document(digests={SHA256: deposit.sha256}, size=deposit.size)
        report = verify(encoded, document, self._trust())
        if report.verdict is not Verdict.CONFIRMED and report.code != REVOKED:
            failed = [c for c in report.checks if c.code is not None]
            raise Corrupt(
                f"the certificate of deposit {deposit.id} does not verify: {report.code}: "
                + "; ".join(f"{c.name}: {c.detail}" for c in failed),
                name=f"deposit {deposit.id}",
            )

    def _latest(self, deposit_id: str) -> sa.Row[tuple[object, ...]] | None:
        with self._database.reading() as connection:
            return connection.execute(
                sa.select(CERTIFICATE)
                .where(CERTIFICATE.c.deposit_id == deposit_id)
                .order_by(CERTIFICATE.c.version.desc())
                .limit(1)
            ).first()

    def _issued(self, row: sa.Row[tuple[object, ...]]) -> Issued:
        return Issued(
            json=row.json,
            certificate=parse_certificate(row.json),
            version=row.version,
            deposit_id=row.deposit_id,
        )


def _check_not_withdrawn(connection: sa.Connection, deposit_id: str) -> None:
    """Raises Gone (`certificate_withdrawn`)."""
    versions.check_not_withdrawn(register.find_events(connection, deposit_id, versions.KINDS))


def _keys_of(statement: bytes, checkpoint: bytes, held: Held, history: KeyHistory) -> Keys:
    """The keys that this certificate needs: some of them may be retired by now."""
    lines = {(line.name, line.key_id) for line in parse_note(checkpoint).signatures}
    kid = parse_statement(statement).kid
    known = history.all()
    return Keys(
        log=tuple(key.encode() for key in known.log if (key.name, key.key_id) in lines),
        statement=tuple(key for key in map(Key.of, known.statement) if key.kid == kid),
        certificate=(Key.of(raw_public(held.keys.certificate)),),
    )


def _data_of(stamp: Timestamp) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    if stamp.revocation is None:
        return (), ()
    return stamp.revocation.crls, stamp.revocation.responses
