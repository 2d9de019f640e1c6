"""pyHanko's own AdES validation of a sealed paper, offline: the judge, and what it is asked."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from typing import Any

from asn1crypto import x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESPassed
from pyhanko.sign.validation.ades import ades_lta_validation
from pyhanko.sign.validation.policy_decl import (
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko.sign.validation.status import SignatureCoverageLevel
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.policy_decl import REQUIRE_REVINFO, CertRevTrustPolicy
from pyhanko_certvalidator.registry import SimpleTrustManager


def judge(pdf: bytes, roots: Iterable[bytes]) -> Any:
    """What `ades_lta_validation` says (ETSI EN 319 102-1 §5.6.3): revocation data of every
    certificate is required, and nothing may be fetched. Passes through whatever it raises."""
    trusted = SimpleTrustManager.build(trust_roots=[x509.Certificate.load(der) for der in roots])
    spec = SignatureValidationSpec(
        cert_validation_policy=CertValidationPolicySpec(
            trust_manager=trusted,
            revinfo_policy=CertRevTrustPolicy(revocation_checking_policy=REQUIRE_REVINFO),
        ),
        revinfo_gathering_policy=RevocationInfoGatheringSpec(
            online_fetching_rule=RevinfoOnlineFetchingRule.LOCAL_ONLY
        ),
    )
    reader = PdfFileReader(io.BytesIO(pdf))
    (seal,) = reader.embedded_regular_signatures
    return asyncio.run(ades_lta_validation(seal, PdfSignatureValidationSpec(spec)))


def is_accepted(pdf: bytes, roots: Iterable[bytes]) -> bool:
    """The seal holds, in the whole file, with a document timestamp over it and changes of no
    other kind. False also where the judge can't read it."""
    try:
        found = judge(pdf, roots)
        timestamps = PdfFileReader(io.BytesIO(pdf)).embedded_timestamp_signatures
        return (
            isinstance(found.ades_subindic, AdESPassed)
            and found.api_status is not None
            and bool(found.api_status.bottom_line)
            and found.oldest_evidence_record_timestamp is not None
            and len(timestamps) == 1
            and timestamps[0].evaluate_signature_coverage() is SignatureCoverageLevel.ENTIRE_FILE
        )
    except Exception:  # noqa: BLE001  # a judge of its own: whatever it raises at altered bytes is a refusal
        return False
