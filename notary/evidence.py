"""One document's Evidence Records (RFC 4998), put together from the trees and time-stamps it is in.

Nothing is kept of a record: it is made of the document's digest, its secret, one chunk of nodes and
the tokens, and is the same bytes every time until another token is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from notary.archive_stamps import ArchiveStamps, Stamp
from notary.errors import Corrupt
from notary.ers import (
    ArchiveTimestamp,
    Chain,
    EvidenceRecord,
    chain_algorithm,
    join,
    levels_of,
    path_in,
    reduced_hashtree,
)
from notary.hash_trees import HashTrees, Place, Tree, blind_of
from notary.model import Deposit

Levels = tuple[tuple[bytes, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord:
    """A record and what it says of itself: which authority it began with, how many archive
    time-stamps it has, the time of the first one. `certificates` are all that its tokens need."""

    authority: str
    self_operated: bool
    record: bytes
    timestamps: int
    gen_time: datetime
    certificates: tuple[bytes, ...]


class Evidence:
    """`of` gives the records; `chains` the parts, for who renews them."""

    def __init__(self, trees: HashTrees, stamps: ArchiveStamps) -> None:
        self._trees = trees
        self._stamps = stamps
        self._levels: dict[tuple[int, int], tuple[Levels, Levels]] = {}

    def of(self, deposit: Deposit) -> tuple[DocumentRecord, ...]:
        """One for each authority that stamped the deposit's period, none before that. Raises
        Corrupt where the tree does not hold the deposit's digest."""
        tree = self._trees.of_document(deposit.index)
        if tree is None or not deposit.sha256:
            return ()
        found = []
        for authority in self._stamps.sequences(tree.id):
            sha256, secret = bytes.fromhex(deposit.sha256), " ".join(deposit.disclosures)
            parts = self.chains(tree, authority, deposit.index, sha256, secret)
            if parts is not None:
                found.append(_document_record(authority, *parts))
        return tuple(found)

    def count(self, deposit: Deposit) -> int:
        """How many archive time-stamps the deposit's records have, all together at least."""
        return sum(each.timestamps for each in self.of(deposit))

    def chains(
        self, tree: Tree, authority: str, index: int, sha256: bytes, secret: str
    ) -> tuple[tuple[Chain, ...], tuple[Stamp, ...]] | None:
        """The chains of one document's sequence, and their time-stamps; `secret` is the text of
        its disclosures. None where the tree has not the document."""
        place = self._trees.place_in(tree, index)
        if place is None:
            return None
        stamps = self._stamps.chain(tree.id, authority)
        chains = [self._chain(tree, place, sha256, secret, stamps)]
        used = list(stamps)
        for renewal in self._trees.renewals(tree.id, authority):
            place = self._trees.place_in(renewal, index)
            stamps = self._stamps.chain(renewal.id, authority)
            if place is None or not stamps:
                continue
            assert place.renewed is not None and renewal.after is not None
            beyond = len(chains[-1]) - (renewal.after + 1)
            chains[-1] = chains[-1][: renewal.after + 1]
            used = used[: len(used) - beyond]
            chains.append(self._chain(renewal, place, place.renewed, secret, stamps))
            used += stamps
        return tuple(chains), tuple(used)

    def _chain(
        self, tree: Tree, place: Place, value: bytes, secret: str, stamps: tuple[Stamp, ...]
    ) -> Chain:
        """§4: the first time-stamp leads from `value` up the tree; each other is as it was kept."""
        blind = blind_of(tree.algorithm, secret)
        if join(tree.algorithm, value, blind) != place.nodes[place.position]:
            raise Corrupt(
                f"the hash tree {tree.id} does not hold what it should at {place.position} of "
                f"chunk {place.number}",
                name=f"hash_tree {tree.id}",
            )
        siblings = (blind, *self._path(tree, place))
        first = ArchiveTimestamp(token=stamps[0].token, reduced=reduced_hashtree(value, siblings))
        return (first, *(each.archive_timestamp() for each in stamps[1:]))

    def _path(self, tree: Tree, place: Place) -> tuple[bytes, ...]:
        """From the document's node to the tree's root. The levels of the chunk last asked for are
        remembered: who renews a tree asks for each of its documents."""
        key = (tree.id, place.number)
        known = self._levels.get(key)
        if known is None:
            tops = levels_of(self._trees.roots(tree.id), tree.algorithm)
            known = (levels_of(place.nodes, tree.algorithm), tops)
            self._levels = {key: known}
        chunk, tops = known
        return (*path_in(chunk, place.position), *path_in(tops, place.number))


def _document_record(
    authority: str, chains: tuple[Chain, ...], stamps: tuple[Stamp, ...]
) -> DocumentRecord:
    algorithms = dict.fromkeys(chain_algorithm(chain) for chain in chains)
    record = EvidenceRecord(algorithms=tuple(algorithms), chains=chains)
    return DocumentRecord(
        authority=authority,
        self_operated=stamps[0].self_operated,
        record=record.encode(),
        timestamps=len(stamps),
        gen_time=stamps[0].gen_time,
        certificates=tuple(dict.fromkeys(der for stamp in stamps for der in stamp.chain)),
    )
