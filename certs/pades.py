"""The seal on a paper: PAdES B-LTA (ETSI EN 319 142-1), written by pyHanko as two updates.

The first is the signature with its timestamp: a certification that allows no changes. The second
adds the chains and the revocation data of both (DSS) and a document timestamp over everything
before it, so that a verifier needs no network, now and when the certificates have ended.

Nothing is fetched or judged here: the caller hands in what is embedded, and judges each token.
To load this takes a second and 25 MiB: who seals now and then loads it then.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from datetime import datetime
from typing import Any

from asn1crypto import algos, crl, ocsp, tsp, x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.sign.ades.api import CAdESSignedAttrSpec
from pyhanko.sign.fields import InvisSigSettings, MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers import constants
from pyhanko.sign.signers.cms_embedder import (
    PdfCMSEmbedder,
    SigIOSetup,
    SigMDPSetup,
    SigObjSetup,
)
from pyhanko.sign.signers.pdf_byterange import DocumentTimestamp, PdfSignedData, SignatureObject
from pyhanko.sign.signers.pdf_cms import PdfCMSSignedAttributes, Signer
from pyhanko.sign.timestamps import TimeStamper
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko_certvalidator.registry import SimpleCertificateStore

from certs.errors import SealFailed
from certs.sealed import TOKEN_BYTES, Evidence, Seal, Stamp, Words

SEAL_FIELD, TIMESTAMP_FIELD = "Seal", "Timestamp"
DIGEST = "sha256"
_MOST_TOKEN_BYTES = 64 * 1024
# Signed attributes, signature and the structure around: some 600 bytes with RSA-4096.
_AROUND_BYTES = 2 * 1024
# PDF/A wants the print flag, PDF/UA a tag for what lies on the page: so it lies beside it.
_UNSEEN = InvisSigSettings(set_print_flag=True, set_hidden_flag=False, box_out_of_bounds=True)


def seal_pdf(
    pdf: bytes,
    *,
    seal: Seal,
    stamp: Callable[[bytes], Stamp],
    words: Words,
    at: datetime,
    token_bytes: int = TOKEN_BYTES,
) -> bytes:
    """`pdf` sealed to PAdES B-LTA. It must be one that we drew: it is read, never repaired.

    `stamp` gives a token over a SHA-256 digest; it is asked twice, and must be one authority,
    whose evidence the first token brings for both. `at` is the time that the signature claims for
    itself. `token_bytes` is how large a token may be; larger ones are asked for again, with more
    room. Raises SealFailed, and whatever `stamp` and `seal.sign` raise.
    """
    try:
        try:
            return _Paper(pdf, seal, stamp, words, token_bytes).sealed(at)
        except _NoRoomError:
            return _Paper(pdf, seal, stamp, words, _MOST_TOKEN_BYTES).sealed(at)
    except (PdfError, SigningError, _NoRoomError) as exc:
        raise SealFailed(f"the paper cannot be sealed: {exc!r:.300}") from exc


class _NoRoomError(Exception):
    """A signature or token is larger than the place that was kept for it."""


class _Writer(IncrementalPdfFileWriter):
    def _update_meta(self) -> None:
        """Leaves XMP as it was drawn. It says when the paper was drawn and with what; the
        signature says when it was sealed."""


class _SealSigner(Signer):
    def __init__(self, seal: Seal) -> None:
        known = SimpleCertificateStore()  # type: ignore[no-untyped-call]
        known.register_multiple(_loaded(x509.Certificate, [seal.evidence.certificates]))
        super().__init__(
            signing_cert=x509.Certificate.load(seal.certificate),
            cert_registry=known,
            signature_mechanism=algos.SignedDigestAlgorithm({"algorithm": seal.mechanism}),
        )
        self._sign = seal.sign

    async def async_sign_raw(
        self,
        data: bytes,
        digest_algorithm: str,  # the mechanism names it
        dry_run: bool = False,  # pyHanko's signature
    ) -> bytes:
        return self._sign(data)


class _Stamper(TimeStamper):
    def __init__(self, stamp: Callable[[bytes], Stamp]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # pyHanko's types are not whole
        self._stamp = stamp
        self.evidence: list[Evidence] = []

    async def async_timestamp(
        self,
        message_digest: bytes,
        md_algorithm: str,  # SHA-256 throughout
    ) -> Any:
        stamp = self._stamp(message_digest)
        self.evidence.append(stamp.evidence)
        return tsp.TimeStampResp.load(stamp.response)["time_stamp_token"]


class _Paper:
    def __init__(
        self,
        pdf: bytes,
        seal: Seal,
        stamp: Callable[[bytes], Stamp],
        words: Words,
        token_bytes: int,
    ) -> None:
        self._stream = io.BytesIO()
        self._stream.write(pdf)
        self._seal = seal
        self._stamper = _Stamper(stamp)
        self._words = words
        self._token_bytes = token_bytes

    def sealed(self, at: datetime) -> bytes:
        self._sign(at)
        self._timestamp()
        return self._stream.getvalue()

    def _sign(self, at: datetime) -> None:
        signer = _SealSigner(self._seal)
        chain = sum(map(len, (self._seal.certificate, *self._seal.evidence.certificates)))
        placeholder = SignatureObject(
            timestamp=at,
            subfilter=SigSeedSubFilter.PADES,
            name=self._words.signer,
            reason=self._words.reason,
            bytes_reserved=2 * (chain + self._token_bytes + _AROUND_BYTES),
        )
        writer = _Writer(self._stream)
        writer.register_extension(constants.ESIC_EXTENSION_1)
        certified = SigMDPSetup(md_algorithm=DIGEST, certify=True, docmdp_perms=MDPPerm.NO_CHANGES)

        async def signature(digest: bytes) -> Any:
            return await signer.async_sign(
                digest,
                DIGEST,
                use_pades=True,
                timestamper=self._stamper,
                signed_attr_settings=PdfCMSSignedAttributes(
                    cades_signed_attrs=CAdESSignedAttrSpec()
                ),
            )

        self._fill(
            writer,
            SEAL_FIELD,
            self._words.seal,
            SigObjSetup(sig_placeholder=placeholder, mdp_setup=certified),
            lambda digest: asyncio.run(signature(digest)),
        )

    def _timestamp(self) -> None:
        writer = _Writer(self._stream)
        self._add_evidence(writer)
        placeholder: PdfSignedData = DocumentTimestamp(  # type: ignore[no-untyped-call]
            bytes_reserved=2 * self._token_bytes
        )
        self._fill(
            writer,
            TIMESTAMP_FIELD,
            self._words.timestamp,
            SigObjSetup(sig_placeholder=placeholder),
            lambda digest: asyncio.run(self._stamper.async_timestamp(digest, DIGEST)),
        )

    def _add_evidence(self, writer: _Writer) -> None:
        own = Evidence(certificates=(self._seal.certificate,))
        every = (own, self._seal.evidence, *self._stamper.evidence)
        DocumentSecurityStore.supply_dss_in_writer(
            writer,
            None,
            certs=_loaded(x509.Certificate, [each.certificates for each in every]),
            crls=_loaded(crl.CertificateList, [each.crls for each in every]),
            ocsps=_loaded(ocsp.OCSPResponse, [each.ocsps for each in every]),
        )

    def _fill(
        self,
        writer: _Writer,
        field: str,
        label: str,
        setup: SigObjSetup,
        make: Callable[[bytes], Any],
    ) -> None:
        """One signature field of the paper, written in place. `make` gives the CMS over a digest
        of everything but that CMS."""
        spec = SigFieldSpec(
            sig_field_name=field, invis_sig_settings=_UNSEEN, readable_field_name=label
        )
        steps = PdfCMSEmbedder(new_field_spec=spec).write_cms(field, writer)
        next(steps)
        steps.send(setup)
        prepared, _ = steps.send(SigIOSetup(md_algorithm=DIGEST, in_place=True))
        encoded = make(prepared.document_digest).dump()
        room = prepared.reserved_region_end - prepared.reserved_region_start - 2
        if 2 * len(encoded) > room:
            raise _NoRoomError(f"{len(encoded)} bytes for {field}, {room // 2} were kept")
        steps.send(encoded)


def _loaded(kind: Any, groups: list[tuple[bytes, ...]]) -> list[Any]:
    """Each once, in the order in which they were first named."""
    return [kind.load(der) for der in dict.fromkeys(der for group in groups for der in group)]
