"""What can go wrong with a paper. Codes are stable: verdicts and documents depend on them.

CertsError
├── CertificateMalformed   the bytes are not a certificate, or hold none
├── UnsupportedFormat      a certificate of a version this software does not know
├── SealInvalid            the certificate is not what its issuer signed
├── UnknownKey             signed by a key that the caller does not trust
├── OriginalDiffers        the original handed in for a bundle is not the registered one
├── RenderFailed           the PDF could not be drawn
├── ProfileMalformed       the bytes are not a court profile
├── FactMissing            a profile needs a fact from the system, and there is none
├── FactRefused            a fact was stated that is not for a person to state here
└── SealFailed             the PDF could not be sealed

Messages are lower case, quote values and show both sides.
"""

from __future__ import annotations


class CertsError(Exception):
    """Base of all. `code` is the stable machine-readable name of what happened."""

    code = "certificate_error"


class CertificateMalformed(CertsError):
    code = "certificate_unreadable"


class UnsupportedFormat(CertsError):
    code = "unsupported_version"


class SealInvalid(CertsError):
    code = "signature_invalid"


class UnknownKey(CertsError):
    code = "unknown_key"


class OriginalDiffers(CertsError):
    code = "original_differs"


class RenderFailed(CertsError):
    code = "render_failed"


class ProfileMalformed(CertsError):
    code = "profile_malformed"


class FactMissing(CertsError):
    """`fact` is the id of the first one that is missing."""

    code = "fact_missing"

    def __init__(self, message: str, *, fact: str) -> None:
        super().__init__(message)
        self.fact = fact


class FactRefused(CertsError):
    code = "fact_refused"


class SealFailed(CertsError):
    code = "seal_failed"
