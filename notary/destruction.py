"""Makes the destruction certificate of a disposal, from its row and the ledger's entry of it."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from certs.certificate import Issuer
from certs.destruction import (
    Act,
    Destroyed,
    Destruction,
    DestructionDraft,
    sign_destruction,
)
from certs.entry import Entry
from notary.clock import Clock
from notary.disposals import Disposal, State
from notary.errors import Conflict
from notary.keyring import Keyring
from notary.ledger import Ledger
from notary.model import EventKind
from notary.register import CUSTODY, DEPOSIT
from storage.database import Database


class Destructions:
    def __init__(
        self,
        *,
        database: Database,
        ledger: Ledger,
        keyring: Keyring,
        clock: Clock,
        issuer: Issuer,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._keyring = keyring
        self._clock = clock
        self._issuer = issuer

    def certificate(self, disposal: Disposal) -> Destruction:
        """As of now, signed by the certificates' key: what waits for a lock is said to wait.

        Raises Conflict (`disposal_unfinished`) until data key and salts are gone everywhere in the
        house; KeyMissing, Unreachable."""
        if disposal.erased_at is None or disposal.approved_at is None or disposal.approver is None:
            raise Conflict(
                f"disposal {disposal.id} is {disposal.state}: its certificate comes when data key "
                "and salts are gone",
                code="disposal_unfinished",
            )
        with self._database.reading() as connection:
            event = connection.execute(
                sa.select(CUSTODY.c.idx, CUSTODY.c.record, CUSTODY.c.disclosures).where(
                    CUSTODY.c.deposit_id == disposal.deposit_id,
                    CUSTODY.c.kind == EventKind.DISPOSED.value,
                )
            ).one()
            index = connection.execute(
                sa.select(DEPOSIT.c.idx).where(DEPOSIT.c.id == disposal.deposit_id)
            ).scalar_one()
        (statement,) = self._ledger.entries(event.idx, 1)
        head, size, proof = self._ledger.prove_inclusion(event.idx)
        draft = DestructionDraft(
            disposal_id=disposal.id,
            deposit_id=disposal.deposit_id,
            deposit_index=index,
            issuer=self._issuer,
            reason=disposal.reason,
            basis=disposal.basis,
            requested=Act(by=disposal.requester, at=disposal.requested_at),
            approved=Act(by=disposal.approver, at=disposal.approved_at),
            destroyed=_destroyed(disposal, disposal.erased_at),
            entry=Entry(
                record=event.record,
                disclosures=tuple(event.disclosures.split()),
                statement=statement,
                index=event.idx,
                size=size,
                inclusion_proof=proof,
                checkpoint=head.checkpoint.decode("utf-8"),
            ),
            issued_at=self._clock.now(),
        )
        return sign_destruction(draft, self._keyring.fresh().keys.certificate)


def _destroyed(disposal: Disposal, erased_at: datetime) -> Destroyed:
    if not disposal.stored:
        state, at = "never_stored", None
    elif disposal.state is State.DISPOSED:
        state, at = "removed", disposal.discarded_at
    else:
        state, at = "waiting", disposal.waits_until
    return Destroyed(
        details_at=erased_at,
        key_at=erased_at if disposal.encrypted else None,
        object=state,
        object_at=at,
    )
