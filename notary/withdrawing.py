"""Withdraws certificates, and says of one what became of it, to whoever asks.

Nothing here has a table of its own. Each issue and each withdrawal is a custody event of the
deposit, with the certificate it is about among its terms, so that a statement can prove from the
ledger what it says, and go on doing so after the certificates' rows went with a disposal.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from certs.entry import Entry
from certs.status import CertificateStatus, StatusDraft, sign_status
from notary import access, register, versions
from notary.access import Act
from notary.chronicle import Chronicle
from notary.clock import Clock
from notary.errors import Conflict, NotFound
from notary.keyring import Keyring
from notary.ledger import Ledger
from notary.model import CustodyEvent, Deposit, EventKind, Principal, check_label
from notary.record import parse_disclosure
from notary.register import Register
from notary.versions import State
from storage.database import Database

SHOWN: Final = ("act", versions.TERMS)
"""Sections of the event that a statement discloses: neither who acted, nor the case."""


class Withdrawing:
    def __init__(
        self,
        *,
        database: Database,
        register: Register,
        ledger: Ledger,
        chronicle: Chronicle,
        keyring: Keyring,
        clock: Clock,
        origin: str,
    ) -> None:
        self._database = database
        self._register = register
        self._ledger = ledger
        self._chronicle = chronicle
        self._keyring = keyring
        self._clock = clock
        self._origin = origin

    def withdraw(self, by: Principal, deposit: Deposit, *, reason: str) -> CustodyEvent:
        """Withdraws every version issued so far. Raises NotAllowed, MalformedInput, Gone
        (`deposit_disposed`, `certificate_withdrawn`), Conflict (`certificate_not_issued`;
        `conflict` where another one was issued at the same moment)."""
        access.check(by, Act.WITHDRAW_CERTIFICATE)
        reason = check_label(reason, what="reason")
        register.check_not_disposed(deposit)
        events = self.events(deposit.id)
        versions.check_not_withdrawn(events)
        issued = versions.issued(events)
        if not issued:
            raise Conflict(
                f"no certificate of deposit {deposit.id} was issued", code="certificate_not_issued"
            )

        def also(connection: sa.Connection, _at: datetime) -> None:
            register.check_not_disposed(
                register.find_deposit(connection, register.DEPOSIT.c.id == deposit.id)
            )
            now = register.find_events(connection, deposit.id, versions.KINDS)
            if len(now) != len(events):
                raise Conflict("a certificate was issued or withdrawn meanwhile: ask again")

        return self._chronicle.record(
            EventKind.CERTIFICATE_WITHDRAWN,
            actor=by.name,
            deposit_id=deposit.id,
            case_id=deposit.case_id,
            subject=versions.named(*issued[-1]),
            also=also,
            terms={"certificates": " ".join(id_ for id_, _ in issued), "reason": reason},
        )

    def events(self, deposit_id: str) -> tuple[CustodyEvent, ...]:
        """Every issue and withdrawal of the deposit's certificates, in order."""
        with self._database.reading() as connection:
            return register.find_events(connection, deposit_id, versions.KINDS)

    def status(self, certificate_id: str, registration: str) -> CertificateStatus:
        """What is so now of a certificate of which the asker knows both numbers. Raises NotFound
        (`certificate_not_found`), in the same words whichever of them is unknown; KeyMissing,
        Unreachable."""
        events = self.events(registration)
        issued = versions.issued(events)
        version = dict(issued).get(certificate_id)
        if version is None:
            raise NotFound("no such certificate", code="certificate_not_found")
        state, event = versions.state_of(events, certificate_id, version)
        reason = versions.terms_of(event).get("reason") if state is State.WITHDRAWN else None
        draft = StatusDraft(
            certificate_id=certificate_id,
            registration=registration,
            origin=self._origin,
            version=version,
            status=state.value,
            newest=issued[-1][1],
            since=event.at,
            reason=reason,
            disposed=self._register.deposit(registration).disposed_at is not None,
            stated_at=self._clock.now(),
            entry=self._entry(event),
        )
        return sign_status(draft, self._keyring.fresh().keys.certificate)

    def _entry(self, event: CustodyEvent) -> Entry | None:
        shown = tuple(text for text in event.disclosures if parse_disclosure(text)[0] in SHOWN)
        if len(shown) != len(SHOWN):
            return None  # entered before events named the certificate
        (statement,) = self._ledger.entries(event.index, 1)
        head, size, proof = self._ledger.prove_inclusion(event.index)
        return Entry(
            record=event.record,
            disclosures=shown,
            statement=statement,
            index=event.index,
            size=size,
            inclusion_proof=proof,
            checkpoint=head.checkpoint.decode("utf-8"),
        )
