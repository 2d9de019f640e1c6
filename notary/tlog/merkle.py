"""The Merkle tree of RFC 6962 §2.1 (RFC 9162 §2.1): hashes, roots, and the two proofs.

An inclusion proof for leaf 2 of 5, leaf's sibling first: (d, g, e)

            root
           /    \\
          i      e          g = node(a, b)   h = node(c, d)   i = node(g, h)
        /   \\
       g     h
      / \\   / \\
     a   b c   d            indices 0 1 2 3, and e is leaf 4

`prove_*` read complete subtrees through a `HashReader`; `check_*` need nothing but their
arguments, and raise unless the proof holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from notary.errors import BadConsistency, BadInclusion, VerificationError

HASH_SIZE: Final = 32
MAX_SIZE: Final = 2**63 - 1  # what a signed 64-bit integer holds: every peer can read it
EMPTY_ROOT: Final = sha256(b"").digest()

# (level, index) → hash of the complete subtree of 2**level leaves starting at index << level.
HashReader = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def root_hash(size: int, read: HashReader) -> bytes:
    """MTH(D[size]): the root of the first `size` leaves, 32 bytes.

    Raises ValueError for a negative size, else only what `read` raises.
    """
    if size < 0:
        raise ValueError(f"tree size {size} is negative")
    return _range_hash(0, size, read) if size else EMPTY_ROOT


def prove_inclusion(index: int, size: int, read: HashReader) -> tuple[bytes, ...]:
    """PATH(index, D[size]): the leaf's sibling first, the root's child last.

    Raises ValueError unless 0 <= index < size, else only what `read` raises.
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} is not in a tree of size {size}")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, read))
            end = middle
        else:
            path.append(_range_hash(start, middle, read))
            start = middle
    return tuple(reversed(path))


def prove_consistency(old: int, new: int, read: HashReader) -> tuple[bytes, ...]:
    """PROOF(old, D[new]); empty where old is 0 (as C2SP witnesses want it) or equals new.

    Raises ValueError unless 0 <= old <= new, else only what `read` raises.
    """
    if not 0 <= old <= new:
        raise ValueError(f"no consistency proof from size {old} to size {new}")
    if old in (0, new):
        return ()
    start, end, path = 0, new, []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_hash(middle, end, read))
            end = middle
        else:
            path.append(_range_hash(start, middle, read))
            start = middle
    if start:  # a subtree that starts at 0 is the old tree itself: its root is known
        path.append(_range_hash(start, end, read))
    return tuple(reversed(path))


def check_inclusion(
    *, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """RFC 9162 §2.1.3.2: `leaf` (a leaf hash) is number `index` of the tree with this root.

    Raises BadInclusion. The lengths of every hash and of the proof are checked first, so
    that for one leaf there is exactly one accepted proof.
    """
    _check_hash_sizes((root,), BadInclusion)
    computed = implied_root(index=index, size=size, leaf=leaf, proof=proof)
    if computed != root:
        raise BadInclusion(
            f"root hash mismatch at size {size}: checkpoint has {root.hex()}, "
            f"proof of index {index} gives {computed.hex()}"
        )


def implied_root(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The one root under which the proof holds: for receipts, which carry no root.

    Raises BadInclusion for a proof that fits no tree of this size.
    """
    if not 0 <= index < size:
        raise BadInclusion(f"index {index} is not in a tree of size {size}")
    _check_hash_sizes((leaf, *proof), BadInclusion)
    expected = _inclusion_length(index, size)
    if len(proof) != expected:
        raise BadInclusion(
            f"inclusion proof of {len(proof)} hashes, but index {index} of size {size} "
            f"has {expected}"
        )
    fn, sn, computed = index, size - 1, leaf
    for sibling in proof:
        if fn & 1 or fn == sn:
            computed = node_hash(sibling, computed)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            computed = node_hash(computed, sibling)
        fn, sn = fn >> 1, sn >> 1
    return computed


def check_consistency(
    *, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """RFC 9162 §2.1.4.2: the tree of size `new` extends the tree of size `old`.

    Beyond the RFC's range: equal sizes want equal roots and an empty proof, and from size 0
    only the empty proof is accepted. A tree of size 0 has the root SHA-256("").
    What size a root is of is not in the hashes: take both sizes from signed checkpoints.
    Raises BadConsistency; lengths are checked first, as for inclusion.
    """
    if not 0 <= old <= new:
        raise BadConsistency(f"size {new} cannot extend size {old}")
    _check_hash_sizes((old_root, new_root, *proof), BadConsistency)
    for size, root in ((old, old_root), (new, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise BadConsistency(f"size 0 has root {root.hex()}, not {EMPTY_ROOT.hex()}")
    expected = _consistency_length(old, new)
    if len(proof) != expected:
        raise BadConsistency(
            f"consistency proof of {len(proof)} hashes, but size {old} to {new} has {expected}"
        )
    if old == 0:
        return
    computed_old, computed_new = (
        (old_root, old_root) if old == new else _consistency_roots(old, new, old_root, proof)
    )
    for size, root, computed in ((old, old_root, computed_old), (new, new_root, computed_new)):
        if computed != root:
            raise BadConsistency(
                f"root hash mismatch at size {size}: checkpoint has {root.hex()}, "
                f"proof from {old} to {new} gives {computed.hex()}"
            )


def _consistency_roots(
    old: int, new: int, old_root: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """The old and the new root as the proof has them, for 0 < old < new; the RFC's own steps.

    The RFC's tests of `sn` are left out: the length of the proof is already the right one.
    """
    path = (old_root, *proof) if old & (old - 1) == 0 else tuple(proof)
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return fr, sr


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (which is at least 2)."""
    return 1 << (size - 1).bit_length() - 1


def _range_hash(start: int, end: int, read: HashReader) -> bytes:
    """MTH(D[start:end]) of a range that RFC 6962's splitting can reach.

    Such a range is a row of complete subtrees, larger ones to the left, each aligned.
    """
    hashes = []
    while start < end:
        level = (end - start).bit_length() - 1
        hashes.append(read(level, start >> level))
        start += 1 << level
    computed = hashes.pop()
    while hashes:
        computed = node_hash(hashes.pop(), computed)
    return computed


def _inclusion_length(index: int, size: int) -> int:
    """Up to where the paths of the leaf and of the last leaf meet there is a hash at every
    level; above, only where there is something to the left."""
    inner = (index ^ (size - 1)).bit_length()
    return inner + (index >> inner).bit_count()


def _consistency_length(old: int, new: int) -> int:
    if old in (0, new):
        return 0
    # The proof starts at the largest complete subtree the old tree ends with; that hash is
    # sent, unless the old tree is nothing else.
    lowest = (old & -old).bit_length() - 1
    sent = 0 if old == 1 << lowest else 1
    return sent + _inclusion_length(old - 1, new) - lowest


def _check_hash_sizes(hashes: Sequence[bytes], error: type[VerificationError]) -> None:
    for value in hashes:
        if len(value) != HASH_SIZE:
            raise error(f"hash of {len(value)} bytes, not {HASH_SIZE}")
