"""Hash-tree renewal (RFC 4998 §5.3): every document's record begins a chain by SHA-512, told to.

Each tree of a period gets a new tree for each of its sequences, over H(document) and all that the
document's record has so far. A document's SHA-512 is the registered one, or is computed from the
original, whose SHA-256 is compared; a deposit of digests alone that has no SHA-512 is named and
left, and its record goes on by SHA-256. Run again, it goes on where it was; what is whole is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from notary.archive_stamps import ArchiveStamps
from notary.archiving import Archiving
from notary.clock import Clock
from notary.digest import SHA256, SHA512, Digester
from notary.errors import DigestMismatch, NotaryError, NotFound
from notary.ers import join, levels_of, renewed_value
from notary.evidence import Evidence
from notary.hash_trees import CHUNK, HashTrees, Leaf, Source, Tree, blind_of
from notary.originals import Originals
from notary.register import Register
from storage.errors import StorageError

ALGORITHM = "sha512"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A deposit whose record goes on by SHA-256, and why."""

    deposit_id: str
    why: str


class Rehashing:
    def __init__(
        self,
        *,
        trees: HashTrees,
        stamps: ArchiveStamps,
        evidence: Evidence,
        archiving: Archiving,
        register: Register,
        originals: Originals,
        clock: Clock,
    ) -> None:
        self._trees = trees
        self._stamps = stamps
        self._evidence = evidence
        self._archiving = archiving
        self._register = register
        self._originals = originals
        self._clock = clock

    def run(self, told: Callable[[Left], None] = lambda _left: None) -> int:
        """Renews every sequence that has no chain by SHA-512 yet; `told` of each deposit that is
        left. Gives how many sequences got their token."""
        kept = 0
        for base in self._bases():
            trees = self._begin(base)
            while trees := tuple(tree for tree in trees if tree.next < base.next):
                trees = self._step(base, trees, told)
            for tree in self._trees.unfinished(renews=base.id):
                roots = self._trees.roots(tree.id)
                root = levels_of(roots, ALGORITHM)[-1][0] if roots else b""
                self._trees.finish(tree, root=root, at=self._clock.now())
            kept += self._archiving.stamp()
        return kept

    def _bases(self) -> Iterator[Tree]:
        after = 0
        while page := self._trees.bases(after=after):
            yield from (tree for tree in page if tree.documents)
            after = page[-1].id

    def _begin(self, base: Tree) -> tuple[Tree, ...]:
        """The unfinished trees, one for each sequence that is to be renewed. One that was begun
        over less than the sequence has now is begun anew."""
        for authority in self._stamps.sequences(base.id):
            if self._trees.renewals(base.id, authority):
                continue
            after = self._stamps.chain(base.id, authority)[-1].position
            there = [
                tree
                for tree in self._trees.unfinished(renews=base.id)
                if tree.authority == authority
            ]
            for tree in there:
                if tree.after != after:
                    self._trees.drop(tree.id)
            if not any(tree.after == after for tree in there):
                self._trees.begin_renewal(
                    base, algorithm=ALGORITHM, authority=authority, after=after
                )
        return self._trees.unfinished(renews=base.id)

    def _step(
        self, base: Tree, trees: tuple[Tree, ...], told: Callable[[Left], None]
    ) -> tuple[Tree, ...]:
        """One chunk of those trees that are furthest back; then the trees as they are."""
        first = min(tree.next for tree in trees)
        sources = self._trees.sources(first, end=base.next, limit=CHUNK)
        end = sources[-1].index + 1 if len(sources) == CHUNK else base.next
        hashed, left = [], 0
        for source in sources:
            if not source.sha256 or self._trees.place_in(base, source.index) is None:
                continue
            try:
                hashed.append((source, self._sha512(source)))
            except (NotaryError, StorageError) as exc:
                left += 1
                told(Left(deposit_id=source.deposit_id, why=str(exc)))
        for tree in trees:
            if tree.next == first:
                leaves = [self._leaf(base, tree, *each) for each in hashed]
                root = levels_of([leaf.node for leaf in leaves], ALGORITHM)[-1]
                self._trees.keep_chunk(tree, leaves, root=b"".join(root), end=end, left_out=left)
        return self._trees.unfinished(renews=base.id)

    def _sha512(self, source: Source) -> bytes:
        """Raises NotaryError, StorageError where there is none to be had."""
        if not source.stored:
            if source.sha512 is None:
                raise NotFound("only its digests are here, and no SHA-512 among them")
            return source.sha512
        deposit = self._register.deposit(source.deposit_id)
        digester = Digester((SHA256, SHA512))
        for chunk in self._originals.open(
            deposit.id, data_key=deposit.data_key, size=deposit.size, version=deposit.object_version
        ):
            digester.update(chunk)
        found = digester.digests()
        if found[SHA256] != source.sha256.hex():
            raise DigestMismatch(
                f"the original has sha-256 {found[SHA256]}, registered {source.sha256.hex()}"
            )
        return bytes.fromhex(found[SHA512])

    def _leaf(self, base: Tree, tree: Tree, source: Source, sha512: bytes) -> Leaf:
        assert tree.authority is not None and tree.after is not None
        parts = self._evidence.chains(
            base, tree.authority, source.index, source.sha256, source.blind
        )
        assert parts is not None
        chains = (*parts[0][:-1], parts[0][-1][: tree.after + 1])
        value = renewed_value(ALGORITHM, sha512, chains)
        node = join(ALGORITHM, value, blind_of(ALGORITHM, source.blind))
        return Leaf(index=source.index, node=node, renewed=value)
