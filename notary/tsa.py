"""Time-stamp authorities as the house meets them: asked, answered by, and believed only after
`notary.tsp` has judged the answer.

The request is written by rfc3161ng; nothing else here imports it, and none of its exceptions
leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Protocol

import rfc3161ng

from notary import outside
from notary.authority import EmbeddedAuthority
from notary.cms import DIGEST_SIZES
from notary.errors import BadTimestamp, MalformedInput, Unreachable
from notary.tsp import MAX_RESPONSE_BYTES, VerifiedTimestamp, parse_response, verify_token

QUERY_TYPE = "application/timestamp-query"
REPLY_TYPE = "application/timestamp-reply"


class TimestampAuthority(Protocol):
    """Something that answers RFC 3161 requests, and what we hold it to."""

    @property
    def name(self) -> str:
        """How this deployment calls it."""

    @property
    def self_operated(self) -> bool:
        """Whether its clock and key are ours: then its word on time is only our own."""

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The certificates (DER), configured here, that its chain must lead to."""

    def exchange(self, request_der: bytes) -> bytes:
        """The bytes it answers with, whatever they are. Raises Unreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """A TimeStampResp (DER) as the authority gave it, and what it was found to prove."""

    response: bytes
    verified: VerifiedTimestamp


def request_timestamp(
    authority: TimestampAuthority,
    *,
    imprint: bytes,
    nonce: int,
    now: datetime,
    tolerance: timedelta,
    policies: tuple[str, ...] = (),
    imprint_algorithm: str = "sha256",
) -> Stamped:
    """A verified token over the `imprint`, from `authority` (RFC 3161 §2.4).

    `nonce` is of 64 random bits; `now` is our clock before asking: a genTime further than
    `tolerance` from it is refused, the clock is never adjusted. Nothing is kept here: if we
    crash, the authority has given a token that nobody knows, and asking again is harmless.

    Raises Unreachable when there is no answer; BadTimestamp with the codes of
    `notary.tsp.verify_token`, `timestamp_clock_skew`, or `timestamp_invalid` for an answer that
    is no TimeStampResp; Unverifiable as `verify_token` does.
    """
    request = encode_request(imprint=imprint, nonce=nonce, algorithm=imprint_algorithm)
    response = authority.exchange(request)
    try:
        token = parse_response(response)
        verified = verify_token(
            token,
            imprint=imprint,
            imprint_algorithm=imprint_algorithm,
            roots=authority.roots,
            nonce=nonce,
            policies=policies,
        )
    except MalformedInput as error:
        # Not the caller's bytes, so not for the caller to mend.
        raise BadTimestamp(f"{authority.name!r} answered with {error}") from error
    if abs(verified.gen_time - now) > tolerance:
        raise BadTimestamp(
            f"{authority.name!r} says {verified.gen_time}, our clock {now}, tolerated are "
            f"{tolerance}",
            code="timestamp_clock_skew",
        )
    return Stamped(response=response, verified=verified)


def encode_request(*, imprint: bytes, nonce: int, algorithm: str = "sha256") -> bytes:
    """The DER of a TimeStampReq for an imprint by that hash, certificates asked for (§2.4.1)."""
    if len(imprint) != DIGEST_SIZES[algorithm] or nonce < 0:
        raise ValueError(f"imprint of {len(imprint)} bytes and nonce {nonce} make no request")
    request = rfc3161ng.make_timestamp_request(
        digest=imprint, hashname=algorithm, include_tsa_certificate=True, nonce=nonce
    )
    return bytes(rfc3161ng.encode_timestamp_request(request))


class EmbeddedTransport:
    """The house's own authority, asked in process."""

    self_operated = True

    def __init__(self, authority: EmbeddedAuthority, *, name: str) -> None:
        self.name = name
        self.roots: tuple[bytes, ...] = (authority.root,)
        self._authority = authority

    def exchange(self, request_der: bytes) -> bytes:
        return self._authority.respond(request_der)


class HttpAuthority:
    """An outside authority over HTTP (RFC 3161 §3.4)."""

    self_operated = False

    def __init__(
        self, url: str, roots: tuple[bytes, ...], *, name: str, timeout_s: float = 10.0
    ) -> None:
        self.url = url
        self.roots = roots
        self.name = name
        self.timeout_s = timeout_s

    def exchange(self, request_der: bytes) -> bytes:
        """The body of a 200 of type application/timestamp-reply, of at most 64 KiB.

        Raises Unreachable for everything else, and after `timeout_s` in all.
        """
        who = f"time-stamp authority {self.name!r}"
        reply = outside.exchange(
            self.url,
            who=who,
            timeout_s=self.timeout_s,
            max_bytes=MAX_RESPONSE_BYTES,
            data=request_der,
            headers={"Content-Type": QUERY_TYPE, "Accept": REPLY_TYPE},
        )
        if reply.status != HTTPStatus.OK or reply.media_type != REPLY_TYPE:
            raise Unreachable(
                f"{who}: status {reply.status}, an answer of type {reply.media_type!r:.100}",
                retry_after_s=outside.RETRY_AFTER_S,
            )
        return reply.body
