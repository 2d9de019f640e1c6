"""The papers of certificates: drawn and sealed when they are asked for, then kept.

A paper is kept under its certificate's id, which every reissue has anew, with a digest of all else
that went into it: when the original was last found whole, where the service is reached, the seal,
the software. What has changed is drawn and sealed again; the older paper stays as valid as it was.
Papers go with their certificate when it is disposed of, and after a month by themselves.

A court profile's paper carries what people stated, which is not for us to keep, and one that
withholds sections was made for one purpose: these are made anew each time.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from certs.attached import RECEIPT_NAME
from certs.bundle import PROOF_NAME
from certs.certificate import Certificate
from certs.form import Form
from certs.pdf import Paper, render_pdf
from certs.sealed import Words
from certs.wording import PaperLang, load_wording
from notary.clock import Clock, rfc3339
from notary.issued import CERTIFICATE, PAPER
from notary.keyring import Keyring
from notary.receipt import sign_inclusion
from notary.rereads import Rereads
from notary.sealing import Sealing
from notary.statement import parse_statement
from notary.tlog.checkpoint import parse_checkpoint_text
from notary.tlog.note import parse_note
from storage.database import Database

KEPT = timedelta(days=30)
MANIFEST = "manifest"
"""The variant under which the token over a container's manifest is kept; of papers it is language
and size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    certificate_id: str
    variant: str
    made_from: bytes


class Papers:
    def __init__(
        self,
        *,
        database: Database,
        keyring: Keyring,
        rereads: Rereads,
        sealing: Sealing,
        clock: Clock,
        software: str,
        base_url: str,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._rereads = rereads
        self._sealing = sealing
        self._clock = clock
        self._software = software
        self._verify_url = f"{base_url}/verify"

    def pdf(
        self,
        certificate: Certificate,
        *,
        deposit_id: str,
        version: int,
        lang: PaperLang,
        paper: Paper,
        proof: bytes,
        form: Form | None = None,
    ) -> bytes:
        """The paper of a certificate that was issued; `proof` is its tlog-proof, `form` a court
        profile filled in for it.

        Not sealed where the house has no seal, and then it doesn't say that it is. Raises what
        `Sealing.seal` and `in_force` do, and CertsError.
        """
        last = self._rereads.last((certificate.log.index,)).get(certificate.log.index)
        reread_at = last.at if last is not None and last.finding is None else None
        used = self._sealing.in_force()
        asked = _Asked(
            certificate_id=certificate.certificate_id,
            variant=f"{lang} {paper}",
            made_from=_digest(
                self._software,
                self._verify_url,
                None if reread_at is None else rfc3339(reread_at),
                None if used is None else used.fingerprint.hex(),
            ),
        )
        keeps = form is None and not certificate.withheld
        kept = self._kept(asked) if keeps else None
        if kept is not None:
            return kept
        pdf = render_pdf(
            certificate,
            lang=lang,
            verify_url=self._verify_url,
            reread_at=reread_at,
            paper=paper,
            proofs={PROOF_NAME: proof, RECEIPT_NAME: self.receipt(certificate)},
            sealed=used is not None,
            form=form,
        )
        if used is not None:
            largest = max((len(each.response) for each in certificate.timestamps), default=0)
            pdf = self._sealing.seal(
                pdf, used, words=_words(certificate, lang), largest_token=largest
            )
        if keeps:
            self._keep(asked, deposit_id, version, pdf)
        return pdf

    def manifest_token(
        self, certificate: Certificate, *, deposit_id: str, version: int, manifest: bytes
    ) -> bytes:
        """The TimeStampToken over the manifest of a certificate's container, kept as papers are:
        while nothing in it changes the container is the same each time, and no authority is asked
        again. Raises what `Sealing.timestamp` does."""
        asked = _Asked(
            certificate_id=certificate.certificate_id,
            variant=MANIFEST,
            made_from=hashlib.sha256(manifest).digest(),
        )
        kept = self._kept(asked)
        if kept is None:
            kept = self._sealing.timestamp(asked.made_from)
            self._keep(asked, deposit_id, version, kept)
        return kept

    def receipt(self, certificate: Certificate) -> bytes:
        """RFC 9942, over the certificate's own checkpoint, by the log's key of now."""
        log = certificate.log
        note = parse_note(log.checkpoint.encode("utf-8"))
        return sign_inclusion(
            self._keyring.fresh().keys.log,
            issuer=log.origin,
            subject=parse_statement(certificate.statement).subject,
            size=log.size,
            index=log.index,
            path=log.inclusion_proof,
            root=parse_checkpoint_text(note.text).root,
        )

    def _kept(self, asked: _Asked) -> bytes | None:
        with self._database.reading() as connection:
            row = connection.execute(
                sa.select(PAPER.c.made_from, PAPER.c.pdf).where(
                    PAPER.c.certificate_id == asked.certificate_id,
                    PAPER.c.variant == asked.variant,
                )
            ).first()
        return row.pdf if row is not None and row.made_from == asked.made_from else None

    def _keep(self, asked: _Asked, deposit_id: str, version: int, pdf: bytes) -> None:
        """Not where the certificate was disposed of meanwhile: the row of the certificate is what
        both wait for. A crash leaves no paper, and it is drawn again."""
        now = self._clock.now()
        with self._database.writing() as connection:
            there = connection.execute(
                sa.select(CERTIFICATE.c.id)
                .where(CERTIFICATE.c.deposit_id == deposit_id, CERTIFICATE.c.version == version)
                .with_for_update()
            ).first()
            if there is None:
                return
            connection.execute(
                sa.delete(PAPER).where(
                    sa.or_(
                        PAPER.c.made_at < rfc3339(now - KEPT),
                        sa.and_(
                            PAPER.c.certificate_id == asked.certificate_id,
                            PAPER.c.variant == asked.variant,
                        ),
                    )
                )
            )
            connection.execute(
                sa.insert(PAPER).values(
                    certificate_id=asked.certificate_id,
                    variant=asked.variant,
                    deposit_id=deposit_id,
                    made_from=asked.made_from,
                    made_at=rfc3339(now),
                    pdf=pdf,
                )
            )


def _words(certificate: Certificate, lang: PaperLang) -> Words:
    text = load_wording(lang).text
    return Words(
        signer=certificate.issuer.name,
        reason=text("pdf.seal_reason"),
        seal=text("pdf.seal_field"),
        timestamp=text("pdf.timestamp_field"),
    )


def _digest(*facts: str | None) -> bytes:
    return hashlib.sha256(json.dumps(facts).encode()).digest()
