"""Derives everything again, from the originals up, and names what contradicts.

Entries give leaves, leaves give tiles and roots; roots must be those of the head and of every
checkpoint that was stamped or witnessed, and each token must cover its checkpoint. Every entry
must be the statement over exactly one row's record, every row and every original what its record
says, every certificate one that a stranger confirms, every object some deposit's; every retention,
hold and disposal what its custody events say. Read-only, in bounded memory. The tree is derived in
fsck_tree, the rest in fsck_records.
"""

from __future__ import annotations

from datetime import datetime

from notary.findings import Depth, Findings, Progress
from notary.fsck_journal import check_journal
from notary.fsck_keys import check_rotations
from notary.fsck_records import check_certificates, check_records, check_strays, check_tokens
from notary.fsck_standing import check_standing
from notary.fsck_tree import derive_tree
from notary.originals import Originals
from notary.trust import Trust
from notary.wrapping import Wrapping
from storage.database import Database
from storage.objects import ObjectStore


def fsck(
    *,
    database: Database,
    objects: ObjectStore,
    trust: Trust,
    strays_before: datetime,
    depth: Depth = Depth.ORIGINALS,
    start: int = 0,
    progress: Progress = lambda what, done, of: None,
    wrapping: Wrapping | None = None,
) -> Findings:
    """Nothing is changed. Records and originals are read from index `start` on; the tree always
    from its beginning, since that is what the rest is compared with.

    An object without a deposit that was touched since `strays_before` is an upload on its way,
    or what a crash left for the sweep; an older one is a fault. Without `wrapping` no encrypted
    original can be read, which is a fault as well.
    """
    findings = Findings()
    history = check_rotations(database, findings)
    derive_tree(database, history, findings, progress)
    check_tokens(database, trust, findings)
    if depth is not Depth.LEDGER:
        check_records(
            database,
            Originals(objects=objects, wrapping=wrapping),
            history,
            findings,
            depth,
            start,
            progress,
        )
        check_certificates(database, trust, findings)
    if depth is not Depth.LEDGER and start == 0:
        check_journal(database, objects, history.all().statement, findings)
        check_standing(database, findings)
    if depth is Depth.ORIGINALS and start == 0:
        check_strays(database, objects, strays_before, findings)
    return findings
