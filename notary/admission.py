"""Who may register statements of their own, and which: the registration policy (RFC 9943). PURE.

A policy is a canonical JSON document, each one naming the hash of the one before it. Its hash is
the payload of a statement of the house, so that it is an entry of the ledger; in force for an entry
is the last policy before it. What it asks, `check_admission` checks: an auditor who has the
documents and the entries can do the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from certs.canonical import canonical, parse_canonical
from certs.errors import CertificateMalformed
from notary.clock import parse_rfc3339, rfc3339
from notary.errors import BadSignature, Conflict, MalformedInput, NotFound, Rejected, TooLarge
from notary.issuer_key import ALGORITHMS, IssuerKey, check_signature, parse_issuer_key
from notary.signed_statement import (
    ALG,
    CWT_CLAIMS,
    ISS,
    KID,
    SUB,
    UNDERSTOOD,
    SignedStatement,
)

T = TypeVar("T")

POLICY = "registration-policy/v1"
MAX_ENTRY_BYTES = 65_535
"""What an entry bundle of C2SP tlog-tiles can hold."""
MAX_ISS_CHARS, MAX_KID_BYTES, MOST_KEYS = 1_000, 64, 1_000
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is asked of every statement. Labels and algorithms are COSE's numbers."""

    algorithms: tuple[int, ...] = tuple(sorted(ALGORITHMS, reverse=True))
    protected: tuple[int, ...] = (ALG, KID, CWT_CLAIMS)
    claims: tuple[int, ...] = (ISS, SUB)
    critical: tuple[int, ...] = UNDERSTOOD
    payload: str = "attached"
    max_entry_bytes: int = MAX_ENTRY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedKey:
    """A key with which `iss` may sign from `start` on, before `end`."""

    iss: str
    kid: bytes
    key: IssuerKey
    start: datetime
    end: datetime | None

    def open_at(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`previous` is SHA-256 of the document before it in hex, None for serial 1."""

    origin: str
    serial: int
    previous: str | None
    at: datetime
    rules: Rules
    keys: tuple[AdmittedKey, ...]

    def encode(self) -> str:
        return canonical(
            {
                "type": POLICY,
                "origin": self.origin,
                "serial": self.serial,
                "previous": self.previous,
                "created_at": rfc3339(self.at),
                "rules": {
                    "algorithms": self.rules.algorithms,
                    "protected": self.rules.protected,
                    "claims": self.rules.claims,
                    "critical": self.rules.critical,
                    "payload": self.rules.payload,
                    "max_entry_bytes": self.rules.max_entry_bytes,
                },
                "issuers": [_show(each) for each in self.keys],
            }
        ).decode("utf-8")

    def digest(self) -> bytes:
        """SHA-256 of the document: the payload of its entry."""
        return hashlib.sha256(self.encode().encode("utf-8")).digest()


def parse_policy_document(text: str) -> Policy:
    """Raises MalformedInput (`registration_policy_malformed`) for anything but `Policy.encode`."""
    try:
        said: Any = parse_canonical(text.encode("utf-8"))
        rules = said["rules"]
        policy = Policy(
            origin=_typed(said["origin"], str),
            serial=_typed(said["serial"], int),
            previous=None if said["previous"] is None else _typed(said["previous"], str),
            at=parse_rfc3339(said["created_at"]),
            rules=Rules(
                algorithms=_numbers(rules["algorithms"]),
                protected=_numbers(rules["protected"]),
                claims=_numbers(rules["claims"]),
                critical=_numbers(rules["critical"]),
                payload=_typed(rules["payload"], str),
                max_entry_bytes=_typed(rules["max_entry_bytes"], int),
            ),
            keys=tuple(_read(each) for each in said["issuers"]),
        )
        if policy.encode() != text:
            raise ValueError("it has other members, or other types")
    except (
        CertificateMalformed, UnicodeEncodeError, ValueError, TypeError, LookupError,
        AttributeError, MalformedInput,
    ) as exc:  # fmt: skip
        raise MalformedInput(
            f"registration policy cannot be read: {exc}", code="registration_policy_malformed"
        ) from exc
    return policy


def admitted(before: Policy | None, key: AdmittedKey, *, origin: str, at: datetime) -> Policy:
    """The policy that admits one more key. One that is past its end may come back.

    Raises Conflict (`issuer_key_exists`) where the key, or the kid under this iss, is in use, or
    too many are admitted.
    """
    now = () if before is None else before.keys
    past = [each for each in now if each.end is not None and each.end <= at]
    for each in now:
        same = each.key == key.key or (each.iss, each.kid) == (key.iss, key.kid)
        if same and each not in past:
            raise Conflict(
                f"{each.iss} signs with key {each.key.thumbprint().hex()[:16]}…, "
                f"kid {each.kid.hex()}, already",
                code="issuer_key_exists",
            )
    kept = tuple(
        each for each in now
        if each.key != key.key and (each.iss, each.kid) != (key.iss, key.kid)
    )  # fmt: skip
    if len(kept) >= MOST_KEYS:
        raise Conflict(f"{MOST_KEYS} keys are admitted already", code="issuer_key_exists")
    return _next(before, (*kept, key), origin=origin, at=at)


def retired(before: Policy | None, thumbprint: bytes, *, origin: str, at: datetime) -> Policy:
    """The policy after which the key signs nothing more. Raises NotFound (`issuer_not_found`) for
    a key that is not admitted, or past its end."""
    keys = () if before is None else before.keys
    for place, each in enumerate(keys):
        if each.key.thumbprint() == thumbprint and (each.end is None or each.end > at):
            ended = replace(each, start=min(each.start, at), end=at)
            changed = (*keys[:place], ended, *keys[place + 1 :])
            return _next(before, changed, origin=origin, at=at)
    raise NotFound(f"no admitted key {thumbprint.hex()}", code="issuer_not_found")


def _next(
    before: Policy | None, keys: tuple[AdmittedKey, ...], *, origin: str, at: datetime
) -> Policy:
    return Policy(
        origin=origin,
        serial=1 if before is None else before.serial + 1,
        previous=None if before is None else before.digest().hex(),
        at=at,
        rules=Rules(),
        keys=keys,
    )


def check_admission(policy: Policy | None, statement: SignedStatement, at: datetime) -> AdmittedKey:
    """The key that admits the statement at that time, its signature verified.

    Raises what `admitting_key` raises, and Rejected (`issuer_signature_invalid`).
    """
    found = admitting_key(policy, statement, at)
    try:
        check_signature(found.key, statement.signature, statement.signed_bytes())
    except BadSignature as exc:
        raise Rejected(str(exc), code="issuer_signature_invalid") from exc
    return found


def admitting_key(policy: Policy | None, statement: SignedStatement, at: datetime) -> AdmittedKey:
    """All that a policy asks but the signature, which costs a thousand times as much.

    Raises Rejected: `algorithm_refused`, `issuer_not_admitted`, `issuer_key_not_in_force`;
    TooLarge (`signed_statement_too_large`).
    """
    if policy is None or not policy.keys:
        raise Rejected("no issuer is admitted here", code="issuer_not_admitted")
    rules = policy.rules
    if len(statement.entry) > rules.max_entry_bytes:
        raise TooLarge(
            f"the entry would have {len(statement.entry)} bytes, at most {rules.max_entry_bytes}",
            code="signed_statement_too_large",
        )
    if statement.alg not in rules.algorithms or statement.alg not in ALGORITHMS:
        known = ", ".join(f"{ALGORITHMS[n]} ({n})" for n in rules.algorithms if n in ALGORITHMS)
        raise Rejected(
            f"signing algorithm {statement.alg} is not accepted; accepted are {known}",
            code="algorithm_refused",
        )
    found = _find(policy, statement)
    if not found.open_at(at):
        end = "" if found.end is None else f" to {rfc3339(found.end)}"
        raise Rejected(
            f"key {found.kid.hex()} of {found.iss} is admitted from {rfc3339(found.start)}{end}; "
            f"it is {rfc3339(at)}",
            code="issuer_key_not_in_force",
        )
    if found.key.alg != statement.alg:
        raise Rejected(
            f"key {found.kid.hex()} signs {ALGORITHMS[found.key.alg]} ({found.key.alg}), "
            f"the statement says {statement.alg}",
            code="algorithm_refused",
        )
    return found


def _find(policy: Policy, statement: SignedStatement) -> AdmittedKey:
    of_issuer = [each for each in policy.keys if each.iss == statement.issuer]
    for each in of_issuer:
        if each.kid == statement.kid:
            return each
    if of_issuer:
        raise Rejected(
            f"issuer {statement.issuer!r:.100} has no admitted key with kid "
            f"{statement.kid.hex():.64}",
            code="issuer_not_admitted",
        )
    raise Rejected(f"issuer {statement.issuer!r:.100} is not admitted", code="issuer_not_admitted")


def check_iss(iss: str, *, origin: str) -> str:
    """A URI, as RFC 9943 wants it of issuers. Raises MalformedInput (`value_malformed`), also for
    the house's own name: nobody else may speak under it."""
    if not _URI.fullmatch(iss) or len(iss) > MAX_ISS_CHARS:
        raise MalformedInput(
            f"iss must be a URI of at most {MAX_ISS_CHARS} characters, got {iss!r:.60}",
            code="value_malformed",
        )
    if iss == origin or iss.partition(":")[2].lstrip("/") == origin:
        raise MalformedInput(f"{origin} is this house's own name", code="value_malformed")
    return iss


def parse_kid(text: str) -> bytes:
    """base64url without padding, 1 to MAX_KID_BYTES bytes. Raises MalformedInput
    (`value_malformed`)."""
    try:
        return _unb64(text, most=MAX_KID_BYTES)
    except ValueError as exc:
        raise MalformedInput(
            f"kid must be base64url of 1 to {MAX_KID_BYTES} bytes, got {text!r:.60}",
            code="value_malformed",
        ) from exc


def show_key(key: AdmittedKey) -> Mapping[str, object]:
    """As the document has it."""
    return _show(key)


def _show(key: AdmittedKey) -> dict[str, object]:
    return {
        "iss": key.iss,
        "kid": _b64(key.kid),
        "alg": key.key.alg,
        "key": _b64(key.key.cose_key),
        "from": rfc3339(key.start),
        "until": None if key.end is None else rfc3339(key.end),
    }


def _read(said: Mapping[str, Any]) -> AdmittedKey:
    end = said["until"]
    return AdmittedKey(
        iss=_typed(said["iss"], str),
        kid=_unb64(said["kid"]),
        key=parse_issuer_key(_unb64(said["key"])),
        start=parse_rfc3339(said["from"]),
        end=None if end is None else parse_rfc3339(end),
    )


def _typed(value: Any, kind: type[T]) -> T:
    """JSON's true is Python's 1: the type itself is wanted."""
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    found: T = value
    return found


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(_typed(each, int) for each in _typed(value, list))


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _unb64(text: str, *, most: int = 1 << 16) -> bytes:
    """Raises ValueError for anything but the one spelling of 1 to `most` bytes."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError(f"{text!r:.40} is not base64url") from exc
    if not 1 <= len(raw) <= most or _b64(raw) != text:
        raise ValueError(f"{text!r:.40} is not base64url of 1 to {most} bytes")
    return raw
