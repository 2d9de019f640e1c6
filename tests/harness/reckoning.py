"""What every fault ends with: is all that was promised there, once, and nothing else?"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from notary.ledger import Ledger
from notary.office import Office
from notary.originals import object_key
from notary.register import DEPOSIT
from notary.sweep import sweep
from notary.tlog.checkpoint import Checkpoint
from notary.tlog.merkle import check_consistency
from notary.tlog.note import VerifierKey
from tests.harness.depositors import Told
from tests.harness.receipts import check_receipt, open_checkpoint
from tests.harness.server import Client
from tests.harness.uploaders import Acknowledged, Notebook
from tests.harness.world import World

OLDER = 200
"""How many acknowledgements and checkpoints of earlier faults are looked at after each one."""
AGAIN = 5
"""How many requests that were answered are made again."""


@dataclass(slots=True, kw_only=True)
class Reckoning:
    """One world, and all that its clients were ever told."""

    world: World
    chance: random.Random
    everything: list[Acknowledged] = field(default_factory=list)
    by_index: dict[int, str] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    derived: int = 0
    endings: int = 0

    def ending(self, told: Told, *, fully: bool = True) -> str:
        """After a fault has ended. Waits until the service is back by itself, asks again what was
        not answered, and looks at everything that was acknowledged. Gives what is to be said."""
        back = self.world.await_ready()
        notebook = told.notebook
        answered = len(notebook.acknowledged)
        self._ask_again(told)
        assert not told.odd, told.odd[:5]
        self._none_twice(notebook.acknowledged)
        with self.world.opened() as office:
            self._receipts_hold(office, notebook)
            self._kept(office, notebook.acknowledged)
            self._kept(office, self._some(self.everything))
            sweep(office.register, office.objects, office.clock.now())
            self._nothing_else(office)
        self.everything += notebook.acknowledged
        self._derive(fully=fully)
        self._stamped()
        self.endings += 1
        return (
            f"back in {back:.1f} s; {answered} acknowledged before, "
            f"{len(notebook.acknowledged) - answered} after, {len(self.everything)} in all; "
            f"refused meanwhile: {dict(told.refusals)}"
        )

    def _some(self, all_: Sequence[Acknowledged]) -> list[Acknowledged]:
        return self.chance.sample(all_, min(OLDER, len(all_)))

    def _ask_again(self, told: Told) -> None:
        """What was not answered is answered now, whether or not it had been registered; and what
        was answered is answered again in the same way."""
        clients = [Client(node.base, self.world.key) for node in self.world.nodes]
        notebook = told.notebook
        waiting, notebook.unanswered = notebook.unanswered, []
        for request in waiting:
            assert told.ask(self.chance.choice(clients), request), told
        for request, ids in self.chance.sample(
            notebook.answered, min(AGAIN, len(notebook.answered))
        ):
            again = Told()
            assert again.ask(self.chance.choice(clients), request), again
            assert tuple(each.id for each in again.notebook.acknowledged) == ids

    def _none_twice(self, acknowledged: Iterable[Acknowledged]) -> None:
        """No index was ever given to two deposits, and no deposit got two."""
        for each in acknowledged:
            assert self.by_index.setdefault(each.index, each.id) == each.id
            self.ids.add(each.id)
        assert len(self.by_index) == len(self.ids)

    def _receipts_hold(self, office: Office, notebook: Notebook) -> None:
        """Each by itself; and the tree of now has grown from every checkpoint in them."""
        for receipt in notebook.receipts:
            check_receipt(receipt, self.world.keys)
        mine = [open_checkpoint(note, self.world.keys) for note in notebook.checkpoints]
        older = self.chance.sample(self.checkpoints, min(OLDER, len(self.checkpoints)))
        check_growths(office.ledger, [*mine, *older], self.world.keys)
        self.checkpoints += mine

    def _kept(self, office: Office, acknowledged: Sequence[Acknowledged]) -> None:
        """Each has its row, at its index, and its original hashes right."""
        with office.database.reading() as connection:
            columns = (DEPOSIT.c.id, DEPOSIT.c.idx, DEPOSIT.c.sha256)
            asked = sa.select(*columns).where(DEPOSIT.c.id.in_([each.id for each in acknowledged]))
            rows = {id_: (index, sha256) for id_, index, sha256 in connection.execute(asked)}
        for each in acknowledged:
            assert rows[each.id] == (each.index, each.sha256)
            if each.stored:
                original = hashlib.sha256()
                for chunk in office.objects.open(object_key(each.id)):
                    original.update(chunk)
                assert original.hexdigest() == each.sha256

    def _nothing_else(self, office: Office) -> None:
        """After the sweep the originals are those of the deposits, and no others."""
        with office.database.reading() as connection:
            asked = sa.select(DEPOSIT.c.id).where(DEPOSIT.c.stored)
            stored = {object_key(id_) for (id_,) in connection.execute(asked)}
        there = {found.key for found in office.objects.walk("originals/")}
        assert there == stored, (there - stored, stored - there)

    def _derive(self, *, fully: bool) -> None:
        """By the command that a clerk types: all of it, or the tree and what is new in it."""
        state = self.world.folder / "fsck.state"
        given: list[str] = []
        if not fully:
            state.write_text(str(self.derived))
            given = ["--state", str(state)]
        checked = self.world.bare.cli("fsck", *given, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        self.derived = max(self.by_index, default=0)

    def _stamped(self) -> None:
        """Time goes on being fetched, and by itself."""
        newest = max(self.everything, key=lambda each: each.index, default=None)
        if newest is not None:
            node = self.world.nodes[0]
            client = Client(node.base, self.world.key)
            path = f"/v1/deposits/{newest.id}"
            node.wait_for(lambda: client.get(path).json()["times"]["timestamped_at"], seconds=90)


def check_growths(
    ledger: Ledger, olds: Iterable[Checkpoint], keys: tuple[VerifierKey, ...]
) -> None:
    """The newest tree begins with each of those, by proofs from the tiles. Raises where not."""
    new = open_checkpoint(ledger.head().checkpoint, keys)
    for old in olds:
        check_consistency(
            old=old.size,
            new=new.size,
            old_root=old.root,
            new_root=new.root,
            proof=ledger.prove_consistency(old.size, new.size),
        )
