"""The crash and loss table of a rebuild: broken off at each of its transactions, it opens for
nobody and goes on to the same rows.

What else a rebuild refuses, and that it can be killed between any two steps, is in
`tests/ledger/test_rebuild.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

import notary.rebuild
from notary.errors import Corrupt, MalformedInput
from notary.findings import Depth
from notary.fsck import fsck
from notary.mirror import copy
from notary.office import Office
from notary.rebuild import Rebuilt, rebuild
from notary.settings import Settings
from storage.errors import StorageError
from tests.harness.acts import copied, house, make_house
from tests.harness.endings import dies, fails
from tests.harness.faults import Faults, Hook, watching
from tests.harness.house_acts import ACTS
from tests.harness.restoring import Rows, rows_of
from tests.harness.watching import OfficeSource, identity

TRANSACTIONS = (
    "commit tree_head",  # the tables, and a journal of which nothing was replayed
    "commit journal", "commit journal 2", "commit journal 3",  # one for each segment
    "commit tree_head 2",  # the entry that only the mirror has
    "commit embedded_authority",  # the head, and the house
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A house without its database, beside its mirror; the checkpoint that it had, and what
    a rebuild that nobody breaks off makes of it."""

    root: Path
    checkpoint: bytes
    rows: Rows


@pytest.fixture(scope="module", autouse=True)
def small_steps() -> Iterator[None]:
    """A segment or a bundle for each transaction."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notary.rebuild, "GROUP_SEGMENTS", 1)
        patch.setattr(notary.rebuild, "GROUP_BUNDLES", 1)
        yield


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    root = tmp_path_factory.mktemp("rebuild") / "made"
    make_house(root)
    with house(root, chance=1) as office:
        for names in ((), ("deposit", "batch"), ("rotation", "digest")):
            for name in names:
                ACTS[name].run(office)
            office.journal.run()
        ACTS["event"].run(office)
        copy(OfficeSource(office), root / "mirror", identity(office))
        checkpoint = office.ledger.head().checkpoint
    for path in (root / "house").glob("notary.db*"):
        path.unlink()
    whole = copied(root, root.with_name("whole"))
    with watching(whole) as faults:
        done = again(whole)
        commits = tuple(name for name in faults.names if name.startswith("commit "))
    assert commits == TRANSACTIONS
    assert done.segments == 3
    with closing(Office(settings(whole))) as office:
        return Lost(root=root, checkpoint=checkpoint, rows=rows_of(office))


def settings(root: Path) -> Settings:
    return Settings(home=root / "house")


def again(root: Path) -> Rebuilt:
    return rebuild(settings(root), mirror=root / "mirror")


def opens_for_nobody(root: Path) -> None:
    with pytest.raises((Corrupt, MalformedInput)) as refused:
        Office(settings(root))
    assert refused.value.code in ("no_house", "corrupt")


def ends_well(root: Path, lost: Lost, *, transactions: int) -> None:
    """After so many of them were made."""
    if transactions == len(TRANSACTIONS):
        with pytest.raises(MalformedInput) as stands:
            again(root)
        assert stands.value.code == "house_exists"
    else:
        opens_for_nobody(root)
        made = again(root)
        assert made.resumed == min(max(transactions - 1, 0), made.segments)
    with closing(Office(settings(root))) as office:
        office.examine()
        assert office.ledger.head().checkpoint == lost.checkpoint
        assert rows_of(office) == lost.rows
        findings = fsck(
            database=office.database, objects=office.objects, trust=office.trust,
            strays_before=office.clock.now(), depth=Depth.LEDGER,
        )  # fmt: skip
        assert findings.faults == []


def test_each_start_that_makes_one_transaction_and_dies_brings_it_nearer(
    lost: Lost, tmp_path: Path
) -> None:
    root = copied(lost.root, tmp_path / "0")
    for number in range(1, len(TRANSACTIONS) + 1):
        opens_for_nobody(root)
        left = tmp_path / str(number)
        with watching(root) as faults:
            faults.begin(_dies_at_the_first_commit(faults, left))
            again(root)
        root = left
    ends_well(root, lost, transactions=len(TRANSACTIONS))


def _dies_at_the_first_commit(faults: Faults, left: Path) -> Hook:
    def hook(name: str, when: str) -> None:
        if name.startswith("commit ") and when == "after" and not left.exists():
            faults.copy(left, "after")

    return hook


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["before", "after", "power"])
@pytest.mark.parametrize("commit", TRANSACTIONS)
def test_after_a_crash(lost: Lost, tmp_path: Path, commit: str, kind: str) -> None:
    root, left = copied(lost.root, tmp_path / "begun"), tmp_path / "left"
    with watching(root) as faults:
        faults.begin(dies(faults, commit, kind, left))
        again(root)
    ends_well(left, lost, transactions=TRANSACTIONS.index(commit) + (kind != "before"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refused", "lost"])
@pytest.mark.parametrize("commit", TRANSACTIONS)
def test_after_an_error(lost: Lost, tmp_path: Path, commit: str, kind: str) -> None:
    root = copied(lost.root, tmp_path / "house")
    with watching(root) as faults:
        faults.begin(fails(commit, kind))
        with pytest.raises(StorageError):
            again(root)
    ends_well(root, lost, transactions=TRANSACTIONS.index(commit) + (kind == "lost"))
