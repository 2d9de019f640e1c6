"""Gathers register, proof and tokens into one certificate, checks it as a stranger would, keeps it.

A certificate once issued is kept and given again byte for byte. It is issued anew, with the next
version, when more tokens cover the deposit than the last one carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from certs.bundle import write_bundle
from certs.certificate import (
    Certificate,
    Issuer,
    Key,
    Keys,
    LogEntry,
    Times,
    Timestamp,
    UnsignedCertificate,
    parse_certificate,
)
from certs.pdf import render_pdf
from certs.seal import sign_certificate
from certs.wording import LANGS, Lang
from notary import __version__, register
from notary.chronicle import Chronicle
from notary.clock import Clock, parse_rfc3339, rfc3339
from notary.digest import SHA256
from notary.errors import BadSignature, Conflict, Corrupt, KeyMissing, NotFound, Unverifiable
from notary.issued import CERTIFICATE
from notary.judged import meet_policy
from notary.keyhistory import KeyHistory
from notary.keyring import Held, Keyring
from notary.keys import raw_public
from notary.ledger import Ledger
from notary.model import Deposit, EventKind, Principal, uuid7
from notary.originals import Originals
from notary.pack import pack
from notary.rereads import Rereads
from notary.stamps import CHECKPOINT, ORIGINAL, Stamped, Stamps, Token
from notary.statement import parse_statement
from notary.tlog.note import parse_note
from notary.tlog.proof import TlogProof
from notary.trust import Trust
from notary.verdict import Document, Verdict
from notary.verify import verify
from notary.verify_page import pack_page
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


class Issue:
    def __init__(
        self,
        *,
        database: Database,
        ledger: Ledger,
        stamps: Stamps,
        chronicle: Chronicle,
        originals: Originals,
        rereads: Rereads,
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
        self._chronicle = chronicle
        self._originals = originals
        self._rereads = rereads
        self._clock = clock
        self._randomness = randomness
        self._keyring = keyring
        self._issuer = issuer
        self._trust = trust
        self._witness_policy = witness_policy
        self._base_url = base_url

    def certificate(self, deposit: Deposit, *, by: Principal) -> Issued:
        """The newest certificate, made now if there is none or more tokens have come."""
        stamped = self._stamps.covering(deposit.index)
        documents = self._stamps.of_document(deposit.id)
        tokens = (0 if stamped is None else len(stamped.tokens)) + len(documents)
        latest = self._latest(deposit.id)
        if latest is not None and latest.tokens >= tokens:
            return self._issued(latest)
        version = 1 if latest is None else latest.version + 1
        now = self._clock.now()
        id_ = uuid7(now, self._randomness(10))
        held = self._keyring.fresh()
        draft = self._draft(deposit, stamped, documents, held, id_=id_, version=version, now=now)
        try:
            certificate = sign_certificate(draft, held.keys.certificate)
        except KeyMissing:
            if self._keyring.fresh().serial == held.serial:
                raise
            return self.certificate(deposit, by=by)  # retired, and destroyed in its token
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
            connection.execute(sa.insert(CERTIFICATE).values(**row))

        try:
            self._chronicle.record(
                EventKind.CERTIFICATE_ISSUED,
                actor=by.name,
                deposit_id=deposit.id,
                case_id=deposit.case_id,
                subject=f"{id_} v{version}",
                also=keep,
            )
        except _IssuedMeanwhile:
            return self.certificate(deposit, by=by)
        return Issued(json=encoded, certificate=certificate, version=version)

    def last_issued(self, deposit_id: str) -> tuple[int, datetime] | None:
        """Version and time of the newest certificate, None while there is none."""
        latest = self._latest(deposit_id)
        return None if latest is None else (latest.version, parse_rfc3339(latest.issued_at))

    def pdf(self, issued: Issued, *, lang: Lang) -> bytes:
        """Drawn anew each time: it also says when the original was last found whole."""
        index = issued.certificate.log.index
        last = self._rereads.last((index,)).get(index)
        return render_pdf(
            issued.certificate,
            lang=lang,
            verify_url=f"{self._base_url}/verify",
            reread_at=last.at if last is not None and last.finding is None else None,
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
        original = None
        if deposit.stored:
            original = self._originals.open(
                deposit.id,
                data_key=deposit.data_key,
                size=deposit.size,
                version=deposit.object_version,
            )
        return write_bundle(
            issued.certificate,
            original=original,
            pdfs=pdfs,
            proof=self.proof(issued),
            trust=self._trust().encode(),
            verifier=pack(),
            page=pack_page(),
        )

    # --- steps -----------------------------------------------------------------------------

    def _draft(
        self,
        deposit: Deposit,
        stamped: Stamped | None,
        documents: tuple[Token, ...],
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
        stamps = [_timestamp(CHECKPOINT, t) for t in (stamped.tokens if stamped else ())]
        stamps += [_timestamp(ORIGINAL, token) for token in documents]
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
                timestamped_at=None if stamped is None else stamped.first_time(),
                issued_at=now,
            ),
            keys=_keys_of(statement, checkpoint, held, self._keyring.history()),
        )

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
        if report.verdict is not Verdict.CONFIRMED:
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
        return Issued(json=row.json, certificate=parse_certificate(row.json), version=row.version)


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


def _timestamp(covers: str, token: Token) -> Timestamp:
    return Timestamp(
        covers=covers,
        authority=token.authority,
        self_operated=token.self_operated,
        response=token.response,
        chain=token.chain,
    )
