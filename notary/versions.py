"""What a deposit's certificates have become, read from its custody events. PURE.

Issues and withdrawals in the order of the ledger say it all: the newest issue is the current
version, an issue after a certificate's own replaces it, a withdrawal takes back every version
before it, and an issue after a withdrawal stands again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from notary.errors import Gone
from notary.model import CustodyEvent, EventKind
from notary.record import parse_disclosure

KINDS: Final = (EventKind.CERTIFICATE_ISSUED, EventKind.CERTIFICATE_WITHDRAWN)
TERMS: Final = "terms"


class State(StrEnum):
    """What a verifier is told. The words are those of a status statement (certs/status.py)."""

    CURRENT = "current"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


def named(certificate_id: str, version: int) -> str:
    """The subject of an event about this version."""
    return f"{certificate_id} v{version}"


def issued(events: Sequence[CustodyEvent]) -> tuple[tuple[str, int], ...]:
    """(certificate id, version) of each issue, in order."""
    found = []
    for event in events:
        if event.kind is EventKind.CERTIFICATE_ISSUED and event.subject is not None:
            id_, _, version = event.subject.partition(" v")
            found.append((id_, int(version)))
    return tuple(found)


def state_of(
    events: Sequence[CustodyEvent], certificate_id: str, version: int
) -> tuple[State, CustodyEvent]:
    """What became of one that was issued, and the event that made it so: a withdrawal counts more
    than an issue after it, and of several issues the first."""
    subject = named(certificate_id, version)
    at = next(
        number
        for number, event in enumerate(events)
        if event.kind is EventKind.CERTIFICATE_ISSUED and event.subject == subject
    )
    after = events[at + 1 :]
    for event in after:
        if event.kind is EventKind.CERTIFICATE_WITHDRAWN:
            return State.WITHDRAWN, event
    return (State.SUPERSEDED, after[0]) if after else (State.CURRENT, events[at])


def withdrawn(events: Sequence[CustodyEvent]) -> CustodyEvent | None:
    """The withdrawal, while nothing was issued since."""
    if events and events[-1].kind is EventKind.CERTIFICATE_WITHDRAWN:
        return events[-1]
    return None


def check_not_withdrawn(events: Sequence[CustodyEvent]) -> None:
    """Raises Gone (`certificate_withdrawn`), with the reason."""
    event = withdrawn(events)
    if event is not None:
        raise Gone(
            f"the certificate was withdrawn: {terms_of(event).get('reason', '')!r}; a new one is "
            "issued only by who may withdraw them",
            code="certificate_withdrawn",
        )


def terms_of(event: CustodyEvent) -> dict[str, str]:
    """The terms of the event, none where it has none."""
    said = dict(parse_disclosure(text) for text in event.disclosures).get(TERMS)
    return {str(k): str(v) for k, v in said.items()} if isinstance(said, dict) else {}
