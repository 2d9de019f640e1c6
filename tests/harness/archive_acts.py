"""The acts of evidence records: a tree with its tokens, a time-stamp renewal, a hash-tree renewal;
and what authorities say about revocations, kept."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path

from notary.archive_stamps import STAMP
from notary.clock import SystemClock
from notary.ers import parse_evidence_record, verify_evidence_record
from notary.hash_trees import CHUNKS, TREE
from notary.office import Office
from notary.register import DEPOSIT
from notary.revocations import REVOCATION
from tests.harness.acts import Act, house, rows_of

LATER = timedelta(hours=2)


class _Later:
    """The period is over."""

    def now(self) -> datetime:
        return SystemClock().now() + LATER


def _later(root: Path, *, chance: int) -> AbstractContextManager[Office]:
    return house(root, chance=chance, clock=_Later())


def _archive(office: Office) -> object:
    return office.archiving.run()


def _archived(office: Office) -> None:
    """Each document once in one tree, with one token; every record leads to it."""
    (tree,) = rows_of(office, TREE)
    assert len(rows_of(office, CHUNKS)) == 1
    (stamp,) = rows_of(office, STAMP)
    assert (stamp.tree_id, stamp.position, stamp.is_last) == (tree.id, 0, True)
    _hold(office, 1)


def _hold(office: Office, tokens: int) -> None:
    for row in rows_of(office, DEPOSIT, DEPOSIT.c.idx < rows_of(office, TREE)[0].next_idx):
        deposit = office.register.deposit(row.id)
        (given,) = office.evidence.of(deposit)
        assert given.timestamps == tokens
        verify_evidence_record(
            parse_evidence_record(given.record),
            digests={"sha256": bytes.fromhex(row.sha256)}, roots=office.trust.timestamp_roots,
        )  # fmt: skip


def _stamped(root: Path) -> None:
    with _later(root, chance=7) as office:
        office.archiving.run()


def _renew(office: Office) -> object:
    """As if the certificate were about to end: the one token is stamped by another."""
    (stamp, *_) = office.archived.chain(1, rows_of(office, STAMP)[0].authority)
    if len(rows_of(office, STAMP)) > 1:
        return None
    return office.archiving._renew_together([stamp], "sha256", stamp.authority, office.clock.now())


def _renewed(office: Office) -> None:
    assert [row.is_last for row in rows_of(office, STAMP)] == [False, True]
    _hold(office, 2)


def _rehash(office: Office) -> object:
    return office.rehashing.run()


def _rehashed(office: Office) -> None:
    base, renewal = rows_of(office, TREE)
    assert (renewal.renews, renewal.documents) == (base.id, base.documents)
    assert [row.tree_id for row in rows_of(office, STAMP)] == [base.id, renewal.id]


def _keep_revocation(office: Office) -> object:
    office.revocations.keep(
        b"a certificate", crl=b"a list", response=None, due_at=office.clock.now(), error=None
    )
    return None


def _kept_revocation(office: Office) -> None:
    (row,) = rows_of(office, REVOCATION)
    assert row.crl == b"a list"


ARCHIVE_ACTS: dict[str, Act] = {
    "archive": Act(run=_archive, held=_archived, opened=_later),
    "renewal": Act(run=_renew, held=_renewed, opened=_later, spoil=_stamped),
    "rehash": Act(run=_rehash, held=_rehashed, opened=_later, spoil=_stamped),
    "revocation": Act(run=_keep_revocation, held=_kept_revocation),
}
