"""Gets outside time for what is due: checkpoints that cover new entries, and single documents.

Each authority works by itself, so that one that is down, slow or lying delays nobody else. What
is due is asked of the database every time: a job that is lost or runs twice harms nothing. A
token is kept only after our own strict verification.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta

from notary.clock import Clock
from notary.errors import BadTimestamp, MalformedInput, NotaryError, Unreachable, Unverifiable
from notary.ledger import Ledger, TreeHead
from notary.stamps import AuthorityState, Stamps, Token
from notary.tlog.note import parse_note
from notary.tsa import TimestampAuthority, request_timestamp
from notary.witness import Witnessed, Witnesses

NONCE_BYTES = 8
DOCUMENTS_PER_RUN = 100
FIRST_RETRY_S = 1
LAST_RETRY_S = 60
REFUSALS = (Unreachable, BadTimestamp, Unverifiable, MalformedInput)
"""What an authority may do, and is noted."""


class Stamping:
    def __init__(
        self,
        *,
        ledger: Ledger,
        stamps: Stamps,
        authorities: Sequence[TimestampAuthority],
        clock: Clock,
        randomness: Callable[[int], bytes],
        tolerance: timedelta,
        refresh: timedelta,
        witnesses: Witnesses | None,
    ) -> None:
        self.authorities = {authority.name: authority for authority in authorities}
        self._ledger = ledger
        self._stamps = stamps
        self._clock = clock
        self._randomness = randomness
        self._tolerance = tolerance
        self._refresh = refresh
        self._witnesses = witnesses

    def is_due(self, name: str) -> bool:
        """There is something to stamp, and the authority is not being left alone for a while."""
        state = self._state(name)
        if self.is_resting(name):
            return False
        target = self._target()
        if target is not None and self._stamps.newest_size(name) < target.size:
            return True
        return self._is_stale(state) or bool(self._stamps.documents_due(1))

    def is_resting(self, name: str) -> bool:
        """It failed, and is left alone for a while."""
        retry_at = self._state(name).retry_at
        return retry_at is not None and retry_at > self._clock.now()

    def _is_stale(self, state: AuthorityState) -> bool:
        """Nothing was stamped for so long that outsiders may ask whether the log still lives."""
        last = state.last_token_at
        return last is not None and self._clock.now() - last >= self._refresh

    def run(self, name: str) -> int:
        """Stamps all that is due with one authority; gives the number of tokens kept.

        Never raises for what the authority did: that is noted, shown and tried again later.
        """
        if not self.is_due(name):
            return 0
        authority = self.authorities[name]
        try:
            kept = self._checkpoint(authority) + self._documents(authority)
            if not kept:
                kept = self._alive(authority)
        except REFUSALS as exc:
            self.note_failure(name, exc)
            return 0
        self._stamps.succeeded(name, self._clock.now())
        return kept

    def note_failure(self, name: str, exc: NotaryError) -> None:
        """Shows it to people, and leaves the authority alone for a while."""
        failures = self._state(name).failures + 1
        wait = min(FIRST_RETRY_S * 2 ** min(failures - 1, 10), LAST_RETRY_S)
        self._stamps.failed(
            name,
            failures=failures,
            retry_at=self._clock.now() + timedelta(seconds=wait),
            error=f"{exc.code}: {exc}",
        )

    def _checkpoint(self, authority: TimestampAuthority) -> int:
        # The newest checkpoint that another authority stamped comes first, so that certificates
        # carry the tokens of all of them over one checkpoint.
        target = self._target()
        newest = self._stamps.newest_size()
        mine = self._stamps.newest_size(authority.name)
        if target is None or mine >= target.size:
            return 0
        size, root, checkpoint = target.size, target.root, target.checkpoint
        if mine < newest:
            shared = self._stamps.covering(newest - 1)
            assert shared is not None
            size, root, checkpoint = shared.size, shared.root, shared.checkpoint
        text = parse_note(checkpoint).text
        token = self.request(authority, hashlib.sha256(text.encode("utf-8")).digest())
        self._stamps.keep_checkpoint(size=size, root=root, checkpoint=checkpoint, tokens=[token])
        return 1

    def _alive(self, authority: TimestampAuthority) -> int:
        target = self._target()
        if target is None or not self._is_stale(self._state(authority.name)):
            return 0
        text = parse_note(target.checkpoint).text
        token = self.request(authority, hashlib.sha256(text.encode("utf-8")).digest())
        self._stamps.keep_fresh(target.size, token)
        return 1

    def _target(self) -> TreeHead | Witnessed | None:
        """What is to be stamped: the newest checkpoint, or the newest that was witnessed where
        witnesses are asked."""
        return self._ledger.head() if self._witnesses is None else self._witnesses.newest()

    def _documents(self, authority: TimestampAuthority) -> int:
        kept = 0
        for deposit_id, sha256 in self._stamps.documents_due(DOCUMENTS_PER_RUN):
            had = {token.authority for token in self._stamps.of_document(deposit_id)}
            tokens = [] if authority.name in had else [self.request(authority, sha256)]
            done = had | {authority.name} >= set(self.authorities)
            self._stamps.keep_document(deposit_id, tokens, done=done)
            kept += len(tokens)
        return kept

    def request(
        self, authority: TimestampAuthority, imprint: bytes, *, algorithm: str = "sha256"
    ) -> Token:
        """A verified token over that imprint. Raises REFUSALS; nothing is kept."""
        stamped = request_timestamp(
            authority,
            imprint=imprint,
            imprint_algorithm=algorithm,
            nonce=int.from_bytes(self._randomness(NONCE_BYTES), "big"),
            now=self._clock.now(),
            tolerance=self._tolerance,
        )
        return Token(
            authority=authority.name,
            self_operated=authority.self_operated,
            gen_time=stamped.verified.gen_time,
            response=stamped.response,
            chain=stamped.verified.chain,
        )

    def _state(self, name: str) -> AuthorityState:
        for state in self._stamps.authorities():
            if state.name == name:
                return state
        return AuthorityState(
            name=name, last_token_at=None, failures=0, retry_at=None, last_error=None
        )
