"""The operator admits an outside issuer's key, or retires it: each change is a new registration
policy, entered together with its row and the event that says who did it.

One transaction: a crash leaves the old policy in force, or the new one whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

import sqlalchemy as sa

from notary.admission import MAX_KID_BYTES, AdmittedKey, Policy, admitted, check_iss, retired
from notary.chronicle import Chronicle
from notary.clock import rfc3339
from notary.errors import MalformedInput
from notary.issuer_key import EDDSA, IssuerKey
from notary.issuers import INSERT_POLICY, Issuers, KeptPolicy
from notary.ledger import Growing
from notary.model import CustodyEvent, EventKind
from notary.sequencer import Sequencer, Work
from notary.statement import POLICY_TYPE, StatementSigner

Change = Callable[[Policy | None, datetime], Policy]
"""(policy in force, time of the commit) to the next one. Raises Rejected."""


class _PolicyChange:
    """The work of one change under the ledger's lock."""

    alone = False
    asks = True

    def __init__(
        self,
        *,
        issuers: Issuers,
        change: Change,
        statements: StatementSigner,
        randomness: bytes,
        event: Work[CustodyEvent],
    ) -> None:
        self._issuers, self._change = issuers, change
        self._statements, self._randomness = statements, randomness
        self._event = event

    def settled(self, connection: sa.Connection) -> None:
        return None

    def enter(self, connection: sa.Connection, growing: Growing, at: datetime) -> KeptPolicy:
        policy = self._change(self._issuers.newest_in(connection), at)
        document, index = policy.encode(), growing.size
        statement = self._statements.sign(
            policy.digest(), preimage_type=POLICY_TYPE, randomness=self._randomness
        )
        growing.append([statement])
        growing.insert(INSERT_POLICY, {"serial": policy.serial, "idx": index, "document": document})
        self._event.enter(connection, growing, at)
        return KeptPolicy(index=index, policy=policy, document=document)


class Admitting:
    """`by` is always the name of who acts."""

    def __init__(
        self,
        *,
        issuers: Issuers,
        sequencer: Sequencer,
        chronicle: Chronicle,
        randomness: Callable[[int], bytes],
        origin: str,
        own_keys: Callable[[], Collection[bytes]],
    ) -> None:
        """`own_keys` gives the house's raw public keys, retired ones too: none of them may be an
        issuer's."""
        self._issuers = issuers
        self._sequencer = sequencer
        self._chronicle = chronicle
        self._randomness = randomness
        self._origin = origin
        self._own_keys = own_keys

    def admit(
        self,
        by: str,
        *,
        iss: str,
        key: IssuerKey,
        kid: bytes | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> KeptPolicy:
        """The policy that admits it. `kid` is the key's thumbprint, and `start` the time of the
        entry, where they are left out.

        Raises MalformedInput (`value_malformed`, `issuer_key_malformed`), Conflict
        (`issuer_key_exists`).
        """
        iss = check_iss(iss, origin=self._origin)
        if key.alg == EDDSA and any(own in key.cose_key for own in self._own_keys()):
            raise MalformedInput(
                "this is a key of the house itself; an issuer signs with its own",
                code="issuer_key_malformed",
            )
        if kid is not None and not 1 <= len(kid) <= MAX_KID_BYTES:
            raise MalformedInput(
                f"kid has {len(kid)} bytes, at most {MAX_KID_BYTES}", code="value_malformed"
            )
        if start is not None and end is not None and end <= start:
            raise MalformedInput(
                f"until is {rfc3339(end)}, not after from, {rfc3339(start)}",
                code="value_malformed",
            )

        def change(before: Policy | None, at: datetime) -> Policy:
            one = AdmittedKey(
                iss=iss, kid=kid or key.thumbprint(), key=key, start=start or at, end=end
            )
            return admitted(before, one, origin=self._origin, at=at)

        return self._enter(by, EventKind.ISSUER_ADMITTED, iss, key.thumbprint(), change)

    def retire(self, by: str, thumbprint: bytes) -> KeptPolicy:
        """The policy from whose entry on the key registers nothing more. What it registered
        stays. Raises NotFound (`issuer_not_found`)."""
        now = self._issuers.newest()
        iss = next(
            (each.iss for each in (now.keys if now else ()) if each.key.thumbprint() == thumbprint),
            "",
        )
        return self._enter(
            by, EventKind.ISSUER_RETIRED, iss, thumbprint,
            lambda before, at: retired(before, thumbprint, origin=self._origin, at=at),
        )  # fmt: skip

    def _enter(
        self, by: str, kind: EventKind, iss: str, thumbprint: bytes, change: Change
    ) -> KeptPolicy:
        subject = f"{iss[:400]} key {thumbprint.hex()}"
        event = self._chronicle.prepare(kind, actor=by, subject=subject)

        def work(statements: StatementSigner) -> _PolicyChange:
            return _PolicyChange(
                issuers=self._issuers,
                change=change,
                statements=statements,
                randomness=self._randomness(16),
                event=event(statements),
            )

        kept = self._sequencer.submit_signed(work).outcome
        self._issuers.remember(kept.policy)
        return kept
