"""What a custody event says of itself, and what each kind must name. PURE.

An event is a salted record like a deposit's (`custody-event/v1`), so that the public log shows
neither who acted nor on what, and its statement is an entry like any other. The first event of
an exhibit, `registered`, is the deposit's own entry: it is not written twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from notary.errors import MalformedInput
from notary.model import EventKind


class Names(StrEnum):
    """What an event must name besides its actor."""

    DEPOSIT = "deposit"
    CASE = "case"
    ACCOUNT = "account"
    SUBJECT = "subject"
    MATTER = "deposit or case"


TABLE: dict[EventKind, Names] = {
    EventKind.REGISTERED: Names.DEPOSIT,
    EventKind.OPENED: Names.DEPOSIT,
    EventKind.DOWNLOADED: Names.DEPOSIT,
    EventKind.CERTIFICATE_ISSUED: Names.DEPOSIT,
    EventKind.CERTIFICATE_WITHDRAWN: Names.DEPOSIT,
    EventKind.CASE_OPENED: Names.CASE,
    EventKind.PARTY_ADDED: Names.CASE,
    EventKind.SIGNED_IN: Names.ACCOUNT,
    EventKind.SIGN_IN_REFUSED: Names.ACCOUNT,
    EventKind.SIGNED_OUT: Names.ACCOUNT,
    EventKind.PASSWORD_SET: Names.ACCOUNT,
    EventKind.LINK_MADE: Names.ACCOUNT,
    EventKind.ROLE_CHANGED: Names.ACCOUNT,
    EventKind.ACCOUNT_CREATED: Names.ACCOUNT,
    EventKind.ACCOUNT_DISABLED: Names.ACCOUNT,
    EventKind.KEY_CREATED: Names.ACCOUNT,
    EventKind.KEY_REVOKED: Names.ACCOUNT,
    EventKind.ISSUER_ADMITTED: Names.ACCOUNT,
    EventKind.ISSUER_RETIRED: Names.ACCOUNT,
    # Where no row is left, there is no deposit to name.
    EventKind.FIXITY_FAILED: Names.SUBJECT,
    EventKind.AUDIT_FINISHED: Names.SUBJECT,
    EventKind.RETENTION_SET: Names.MATTER,
    EventKind.HOLD_PLACED: Names.MATTER,
    EventKind.HOLD_RELEASED: Names.MATTER,
    EventKind.DISPOSAL_REQUESTED: Names.DEPOSIT,
    EventKind.DISPOSAL_WITHDRAWN: Names.DEPOSIT,
    EventKind.DISPOSED: Names.DEPOSIT,
}


def sections(
    kind: EventKind,
    *,
    actor: str,
    deposit_id: str | None,
    case_id: str | None,
    subject: str | None,
    terms: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """The record's sections: `act`, `actor`, `about`, each to be disclosed alone; `terms` where
    the act has any, such as a reason, a legal basis, a date.

    Raises MalformedInput when the event lacks what its kind must name.
    """
    named = {
        Names.DEPOSIT: deposit_id,
        Names.CASE: case_id,
        Names.ACCOUNT: subject,
        Names.SUBJECT: subject,
        Names.MATTER: deposit_id or case_id,
    }
    if named[TABLE[kind]] is None:
        raise MalformedInput(f"event {kind} must name a {TABLE[kind]}", code="event_malformed")
    about = {"deposit": deposit_id, "case": case_id, "subject": subject}
    more: dict[str, object] = {} if terms is None else {"terms": dict(terms)}
    return {
        "act": {"kind": kind.value},
        "actor": {"account": actor},
        "about": {name: value for name, value in about.items() if value is not None},
        **more,
    }
