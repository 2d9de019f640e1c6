"""Evidence records over time: a tree for each period, its tokens, their renewal (RFC 4998 §4, §5).

 1. When a period is over, the deposits registered in it are put into a hash tree, chunk by chunk.
 2. Each authority stamps the root. Each token begins a sequence of its own, so that what becomes
    of one authority touches no other's.
 3. Before the certificates of a sequence's newest token end, that token is stamped anew, with
    others that are due by one token (§5.2): by the same authority, or by another where that one is
    gone or its certificates end as soon.
 4. When told to, the documents are hashed by SHA-512, together with all that their records have so
    far, into a new tree, which begins a new chain (§5.3).

What is due is asked of the rows each time. If we crash, a tree goes on at its last chunk, and a
token that nobody kept is asked for again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from notary.archive_stamps import ArchiveStamps, Stamp
from notary.clock import Clock
from notary.ers import expiry_of, join, levels_of, path_in, reduced_hashtree
from notary.hash_trees import CHUNK, MAX_CHUNKS, HashTrees, Leaf, Source, Tree, blind_of
from notary.stamping import REFUSALS, Stamping
from notary.stamps import Token
from notary.tsp import parse_response

AT_ONCE = 16
RENEWED_AT_ONCE = 4_096
"""Tokens that one token renews: their hashes are in memory together."""
LATE = timedelta(days=7)
"""How old a tree may be for an authority that did not stamp it, where others did."""
LOOK_EVERY = timedelta(minutes=1)
TRY_AGAIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What came of a renewal: how many tokens have a successor, and why others have none."""

    renewed: int
    left: tuple[str, ...]


class Archiving:
    def __init__(
        self,
        *,
        trees: HashTrees,
        stamps: ArchiveStamps,
        stamping: Stamping,
        clock: Clock,
        interval: timedelta,
        renew_before: timedelta,
    ) -> None:
        """`interval` of nothing makes no trees; what there is is renewed all the same."""
        self._trees = trees
        self._stamps = stamps
        self._stamping = stamping
        self._clock = clock
        self._interval = interval
        self._renew_before = renew_before
        self._look_at: datetime | None = None
        self._renew_at: datetime | None = None

    # --- the pulse ------------------------------------------------------------------------

    def is_due(self) -> bool:
        now = self._clock.now()
        if self._look_at is None or now >= self._look_at:
            return True
        return bool(self._interval) and self._begins(now) is not None

    def run(self) -> int:
        """All that is due; gives how many tokens were kept. Never raises for what an authority
        did."""
        self.build()
        kept = self.stamp()
        now = self._clock.now()
        if self._renew_at is None or now >= self._renew_at:
            renewal = self.renew()
            kept += renewal.renewed
            self._renew_at = now + TRY_AGAIN if renewal.left else None
        self._look_at = now + LOOK_EVERY
        return kept

    # --- trees ----------------------------------------------------------------------------

    def _begins(self, now: datetime) -> tuple[int, datetime] | None:
        """(first index, end of the period) of a tree that can be built now."""
        first = self._trees.next_index()
        until = _start_of_period(now, self._interval)
        return (first, until) if self._trees.has_waiting(first, until) else None

    def build(self) -> None:
        """Finishes the tree that was begun, and makes those of all periods that are over."""
        while self._interval or self._trees.unfinished():
            if not self._trees.unfinished():
                begins = self._begins(self._clock.now())
                if begins is None:
                    return
                self._trees.begin(first=begins[0], until=begins[1])
            for tree in self._trees.unfinished():
                self._build(tree)

    def _build(self, tree: Tree) -> None:
        while len(self._trees.roots(tree.id)) < MAX_CHUNKS:
            page = self._trees.sources(tree.next, limit=CHUNK)
            taken = [each for each in page if each.registered_at < tree.until]
            if taken:
                leaves = [_leaf(each) for each in taken if each.sha256]
                root = levels_of([leaf.node for leaf in leaves], tree.algorithm)[-1]
                end = taken[-1].index + 1
                if not self._trees.keep_chunk(tree, leaves, root=b"".join(root), end=end):
                    return  # another worker is at it
                (tree,) = (each for each in self._trees.unfinished() if each.id == tree.id)
            if len(taken) < CHUNK:
                break
        self._finish(tree)

    def _finish(self, tree: Tree) -> None:
        roots = self._trees.roots(tree.id)
        root = levels_of(roots, tree.algorithm)[-1][0] if roots else b""
        self._trees.finish(tree, root=root, at=self._clock.now())

    # --- first tokens ---------------------------------------------------------------------

    def stamp(self) -> int:
        """First tokens of trees; gives how many were kept."""
        kept = 0
        since = self._clock.now() - LATE
        for name in self._stamping.authorities:
            for tree in self._stamps.unstamped(name, since=since, limit=AT_ONCE):
                kept += self._stamp_tree(tree, name, name)
        for tree in self._stamps.unstamped_renewals(limit=AT_ONCE):
            assert tree.authority is not None
            kept += self._stamp_tree(tree, tree.authority, *self._order(tree.authority))
        return kept

    def _stamp_tree(self, tree: Tree, sequence: str, *names: str) -> int:
        assert tree.root is not None
        token = self._request(tree.root, tree.algorithm, names)
        if token is None:
            return 0
        ends = []
        if tree.renews is not None and tree.left_out == 0:
            ends = [self._before(tree.renews, sequence, tree.id)]
        stamp = _stamp(token, tree_id=tree.id, sequence=sequence, position=0, siblings=None)
        self._stamps.keep([stamp], ends=ends)
        return 1

    def _before(self, base: int, sequence: str, tree_id: int) -> tuple[int, str]:
        """The chain that a hash-tree renewal succeeds."""
        earlier = [each.id for each in self._trees.renewals(base, sequence) if each.id < tree_id]
        return (earlier[-1] if earlier else base, sequence)

    def _order(self, preferred: str) -> tuple[str, ...]:
        names = tuple(self._stamping.authorities)
        return tuple(sorted(names, key=lambda name: name != preferred))

    def _request(
        self,
        imprint: bytes,
        algorithm: str,
        names: Sequence[str],
        *,
        beyond: datetime | None = None,
    ) -> Token | None:
        """A token by the first of these that gives one whose certificates are valid `beyond`."""
        for name in names:
            if self._stamping.is_resting(name):
                continue
            try:
                authority = self._stamping.authorities[name]
                token = self._stamping.request(authority, imprint, algorithm=algorithm)
            except REFUSALS as exc:
                self._stamping.note_failure(name, exc)
                continue
            if beyond is None or expiry_of(token.chain) > beyond:
                return token
        return None

    # --- time-stamp renewal ---------------------------------------------------------------

    def renew(self, *, within: timedelta | None = None) -> Renewal:
        """§5.2, for every sequence whose newest certificates end within that, or within the
        house's own setting. Too late it is where they have ended: such a sequence is left."""
        renewed = 0
        now = self._clock.now()
        left = [
            f"{count} sequences of {authority!r}: their certificates ended, it is too late"
            for authority, count in self._stamps.ended(now)
        ]
        beyond = now + (self._renew_before if within is None else within)
        due: dict[tuple[str, str], list[Stamp]] = {}
        for stamp in self._stamps.ageing(now, beyond, limit=RENEWED_AT_ONCE):
            algorithm = self._stamps.algorithm_of(stamp.tree_id)
            due.setdefault((algorithm, stamp.authority), []).append(stamp)
        for (algorithm, authority), stamps in due.items():
            if self._renew_together(stamps, algorithm, authority, beyond):
                renewed += len(stamps)
            else:
                left.append(
                    f"{len(stamps)} sequences of {authority!r}: no authority gave a token whose "
                    f"certificates are valid beyond {beyond}"
                )
        return Renewal(renewed=renewed, left=tuple(left))

    def _renew_together(
        self, stamps: Sequence[Stamp], algorithm: str, authority: str, beyond: datetime
    ) -> bool:
        values = [hashlib.new(algorithm, each.token).digest() for each in stamps]
        levels = levels_of(values, algorithm)
        token = self._request(levels[-1][0], algorithm, self._order(authority), beyond=beyond)
        if token is None:
            return False
        self._stamps.keep(
            [
                _stamp(
                    token, tree_id=old.tree_id, sequence=old.authority, position=old.position + 1,
                    siblings=(value, path_in(levels, at)),
                )
                for at, (old, value) in enumerate(zip(stamps, values, strict=True))
            ]
        )  # fmt: skip
        return True


def _start_of_period(now: datetime, interval: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (now - epoch) // interval * interval


def _leaf(source: Source) -> Leaf:
    node = join("sha256", source.sha256, blind_of("sha256", source.blind))
    return Leaf(index=source.index, node=node)


def _stamp(
    token: Token,
    *,
    tree_id: int,
    sequence: str,
    position: int,
    siblings: tuple[bytes, Sequence[bytes]] | None,
) -> Stamp:
    return Stamp(
        id=0,
        tree_id=tree_id,
        authority=sequence,
        position=position,
        given_by=token.authority,
        self_operated=token.self_operated,
        gen_time=token.gen_time,
        expires_at=expiry_of(token.chain),
        reduced=None if siblings is None else reduced_hashtree(*siblings),
        token=parse_response(token.response).der,
        chain=token.chain,
    )
