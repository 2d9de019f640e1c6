"""Every error of the house, grouped by who must act.

NotaryError
├── Rejected            the caller can mend it; nothing was recorded
│   ├── MalformedInput      the bytes are not what they claim to be
│   ├── DigestMismatch      declared and computed digests differ
│   ├── TooLarge            over a limit that GET /v1/limits shows
│   ├── NotFound            unknown, or not for this caller to know
│   ├── NotAllowed          known to the caller, but not permitted
│   ├── Gone                was here, and was disposed of
│   ├── Unauthenticated     no credentials, or none that hold
│   └── Conflict            the move is not possible in the present state
├── TryAgain            nobody's fault; the same request may succeed later
│   ├── Pushback            a queue or the ledger is full
│   ├── Unreachable         storage, database or an outside authority does not answer
│   └── KeysRotated         what was signed by a key that is retired now must be signed anew
├── VerificationError   evidence was tested and did not hold
│   ├── BadSignature · BadInclusion · BadConsistency · BadTimestamp · BadCertificate
│   ├── BadRotation          a document of the keys' change, or its chain
│   └── BadEvidenceRecord    an RFC 4998 record: its tree, its order, its tokens
├── Unverifiable        it could not be tested: unknown key, newer format
└── IntegrityError      our own state contradicts itself: stop, keep both sides
    ├── Fork · Rollback · Corrupt
    └── KeyMissing           this node has no access to a signing key; others may

Messages are lower case, quote values and show both sides. Codes are stable: doors and
documents depend on them. HTTP statuses and exit codes are tables at the doors.
"""

from __future__ import annotations


class NotaryError(Exception):
    """Base of all. `code` is the stable machine-readable name of what happened."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class Rejected(NotaryError):
    code = "rejected"


class MalformedInput(Rejected):
    code = "malformed_input"


class DigestMismatch(Rejected):
    code = "digest_mismatch"


class TooLarge(Rejected):
    code = "too_large"


class NotFound(Rejected):
    code = "not_found"


class NotAllowed(Rejected):
    code = "not_allowed"


class Unauthenticated(Rejected):
    code = "unauthenticated"


class Conflict(Rejected):
    code = "conflict"


class Gone(Rejected):
    code = "deposit_disposed"


class TryAgain(NotaryError):
    code = "try_again"

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: int = 1) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Pushback(TryAgain):
    code = "busy"


class Unreachable(TryAgain):
    code = "unreachable"


class KeysRotated(TryAgain):
    code = "keys_rotated"


class VerificationError(NotaryError):
    code = "verification_failed"


class BadSignature(VerificationError):
    code = "signature_invalid"


class BadInclusion(VerificationError):
    code = "inclusion_proof_invalid"


class BadConsistency(VerificationError):
    code = "checkpoint_inconsistent"


class BadTimestamp(VerificationError):
    code = "timestamp_invalid"


class BadCertificate(VerificationError):
    code = "certificate_altered"


class BadRotation(VerificationError):
    code = "rotation_malformed"


class BadEvidenceRecord(VerificationError):
    code = "evidence_record_invalid"


class Unverifiable(NotaryError):
    code = "undecided"


class IntegrityError(NotaryError):
    code = "integrity"


class KeyMissing(IntegrityError):
    code = "key_missing"


class Fork(IntegrityError):
    """Two histories for one log. `ours` and `theirs` are the raw signed notes."""

    code = "fork"

    def __init__(self, message: str, *, ours: bytes, theirs: bytes) -> None:
        super().__init__(message)
        self.ours = ours
        self.theirs = theirs


class Rollback(IntegrityError):
    code = "rollback"


class Corrupt(IntegrityError):
    """A stored thing is not what the ledger says. `name` tells which one."""

    code = "corrupt"

    def __init__(self, message: str, *, name: str) -> None:
        super().__init__(message)
        self.name = name
