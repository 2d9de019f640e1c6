"""fsck of the journal: every segment against the chain whose end the database knows."""

from __future__ import annotations

from collections.abc import Sequence

from notary.findings import Findings
from notary.house import read_house
from notary.journal import read_place
from notary.journal_read import backwards, list_journal
from notary.journal_segment import parse_segment
from notary.ledger import read_head
from storage.database import Database
from storage.objects import ObjectStore

MOST_FAULTS = 100
"""A journal that is gone altogether need not be named segment by segment."""


def check_journal(
    database: Database,
    objects: ObjectStore,
    statement_keys: Sequence[bytes],
    findings: Findings,
) -> None:
    """Names each segment that is missing, changed, of another log or too many; how many entries
    are not in the journal yet is told, and no fault."""
    listed = list_journal(objects)  # first: what is put meanwhile is then in the place below
    with database.reading() as connection:
        place, head = read_place(connection), read_head(connection)
    findings.journal_lag = head.size - place.kept
    for key in listed.strangers:
        findings.fault(f"object {key}", "is no segment of the journal")
    if listed.end > place.number:
        findings.fault(
            f"journal segment {listed.end - 1}",
            f"is one too many: the house wrote {place.number} of them",
        )
    end, newest = place.number, place.digest
    if place.staged is not None:  # the newest is on its way, and names the one before it
        end, newest = end - 1, parse_segment(place.staged).header.previous
    faults = 0
    for read in backwards(
        objects,
        end,
        origin=read_house(database).origin,
        newest=newest,
        statement_keys=statement_keys,
    ):
        if read.fault is not None:
            findings.fault(read.fault.name, read.fault)
            faults += 1
            if faults == MOST_FAULTS:
                return
        else:
            findings.segments += 1
