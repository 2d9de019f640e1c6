from __future__ import annotations

import base64
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notary.errors import BadConsistency, BadInclusion
from notary.tlog.merkle import (
    EMPTY_ROOT,
    HASH_SIZE,
    HashReader,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    root_hash,
)
from tests.harness.oracle import Oracle, shared_vector

ENTRIES = [b"entry %d" % i for i in range(2001)]
ORACLE = Oracle(ENTRIES)
CHOSEN_SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 255, 256, 257, 300)


def reader(size: int) -> HashReader:
    return partial(ORACLE.complete_subtree, size)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, 2000))
    return draw(st.integers(0, size - 1)), size


# Roots


def test_reference_tree_has_the_published_hashes() -> None:
    tree = shared_vector("rfc6962/reference_tree.json")
    leaves = [leaf_hash(bytes.fromhex(entry)) for entry in tree["leaf_inputs_hex"]]
    levels = [
        [bytes.fromhex(value) for value in level]
        for level in tree["complete_subtree_hashes_hex_by_level"]
    ]
    assert leaves == levels[0]
    assert [node_hash(*leaves[i : i + 2]) for i in range(0, 8, 2)] == levels[1]
    assert bytes.fromhex(tree["empty_root_hex"]) == EMPTY_ROOT
    for size, expected in enumerate(tree["roots_hex_by_size_from_1"], start=1):
        assert root_hash(size, lambda level, index: levels[level][index]).hex() == expected


def test_every_root_up_to_600_is_the_oracles() -> None:
    for size in range(601):
        assert root_hash(size, reader(size)) == ORACLE.mth(0, size)


@given(st.integers(0, 2000))
def test_root_is_the_oracles(size: int) -> None:
    assert root_hash(size, reader(size)) == ORACLE.mth(0, size)


def test_root_of_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        root_hash(-1, reader(0))


# Inclusion


def test_all_inclusion_vectors_are_judged_as_published() -> None:
    for case in shared_vector("rfc6962/inclusion.json"):
        accepted = True
        try:
            check_inclusion(
                index=case["leafIdx"],
                size=case["treeSize"],
                leaf=base64.b64decode(case["leafHash"] or ""),
                proof=[base64.b64decode(value) for value in case["proof"] or ()],
                root=base64.b64decode(case["root"] or ""),
            )
        except BadInclusion:
            accepted = False
        assert accepted is not case["wantErr"], case["file"]


@pytest.mark.parametrize("size", CHOSEN_SIZES)
def test_all_inclusion_proofs_of_a_size_are_the_oracles_and_hold(size: int) -> None:
    for index in range(size):
        proof = prove_inclusion(index, size, reader(size))
        assert list(proof) == ORACLE.path(index, size)
        check_inclusion(
            index=index,
            size=size,
            leaf=leaf_hash(ENTRIES[index]),
            proof=proof,
            root=ORACLE.mth(0, size),
        )


@given(places())
def test_inclusion_proof_is_the_oracles_and_holds(place: tuple[int, int]) -> None:
    index, size = place
    proof = prove_inclusion(index, size, reader(size))
    assert list(proof) == ORACLE.path(index, size)
    check_inclusion(
        index=index,
        size=size,
        leaf=leaf_hash(ENTRIES[index]),
        proof=proof,
        root=ORACLE.mth(0, size),
    )


@given(places(), st.data())
def test_inclusion_with_one_flipped_bit_is_refused(
    place: tuple[int, int], data: st.DataObject
) -> None:
    index, size = place
    hashes = [leaf_hash(ENTRIES[index]), ORACLE.mth(0, size), *ORACLE.path(index, size)]
    which = data.draw(st.integers(0, len(hashes) - 1))
    hashes[which] = flipped(hashes[which], data.draw(st.integers(0, HASH_SIZE * 8 - 1)))
    leaf, root, *proof = hashes
    with pytest.raises(BadInclusion, match="root hash mismatch"):
        check_inclusion(index=index, size=size, leaf=leaf, proof=proof, root=root)


@pytest.mark.parametrize("size", [1, 2, 5, 7, 8, 13, 32])
def test_inclusion_proof_holds_for_no_other_index(size: int) -> None:
    for index in range(size):
        for other in range(-1, size + 2):
            if other != index:
                with pytest.raises(BadInclusion):
                    check_inclusion(
                        index=other,
                        size=size,
                        leaf=leaf_hash(ENTRIES[index]),
                        proof=ORACLE.path(index, size),
                        root=ORACLE.mth(0, size),
                    )


@given(places(), st.integers(0, 2000))
def test_inclusion_proof_under_the_root_of_another_size_is_refused(
    place: tuple[int, int], other: int
) -> None:
    index, size = place
    if other == size:
        return
    with pytest.raises(BadInclusion):
        check_inclusion(
            index=index,
            size=size,
            leaf=leaf_hash(ENTRIES[index]),
            proof=ORACLE.path(index, size),
            root=ORACLE.mth(0, other),
        )


def longer_and_shorter(proof: list[bytes]) -> list[list[bytes]]:
    shorter = [proof[:i] + proof[i + 1 :] for i in range(len(proof))]
    longer = [[*proof[:i], EMPTY_ROOT, *proof[i:]] for i in range(len(proof) + 1)]
    return shorter + longer


def test_inclusion_proof_of_any_other_length_is_refused_before_hashing() -> None:
    for index, size in ((0, 1), (0, 2), (4, 5), (6, 7), (99, 100), (3, 300)):
        for proof in longer_and_shorter(ORACLE.path(index, size)):
            with pytest.raises(BadInclusion, match=rf"{len(proof)} hashes, but index {index}"):
                check_inclusion(
                    index=index,
                    size=size,
                    leaf=leaf_hash(ENTRIES[index]),
                    proof=proof,
                    root=ORACLE.mth(0, size),
                )


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33), bytes(64)])
def test_inclusion_hash_that_is_not_32_bytes_is_refused_before_hashing(wrong: bytes) -> None:
    hashes = [leaf_hash(ENTRIES[2]), ORACLE.mth(0, 5), *ORACLE.path(2, 5)]
    for i in range(len(hashes)):
        spoiled = list(hashes)
        spoiled[i] = wrong
        leaf, root, *proof = spoiled
        with pytest.raises(BadInclusion, match=f"hash of {len(wrong)} bytes, not 32"):
            check_inclusion(index=2, size=5, leaf=leaf, proof=proof, root=root)


def test_a_node_cannot_pass_for_a_leaf_of_the_full_tree() -> None:
    """The classic second-preimage: the inner node above leaves 0 and 1 of four."""
    with pytest.raises(BadInclusion):
        check_inclusion(
            index=0, size=4, leaf=ORACLE.mth(0, 2), proof=[ORACLE.mth(2, 4)], root=ORACLE.mth(0, 4)
        )


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 5), (5, 5), (0, -1)])
def test_inclusion_outside_the_tree_is_neither_proved_nor_accepted(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="is not in a tree of size"):
        prove_inclusion(index, size, reader(2000))
    with pytest.raises(BadInclusion, match="is not in a tree of size"):
        check_inclusion(index=index, size=size, leaf=EMPTY_ROOT, proof=(), root=EMPTY_ROOT)


def test_inclusion_at_sizes_beyond_any_machine_ends() -> None:
    with pytest.raises(BadInclusion):
        check_inclusion(
            index=2**64 - 1, size=2**64, leaf=EMPTY_ROOT, proof=[EMPTY_ROOT] * 64, root=EMPTY_ROOT
        )


# Consistency


def test_all_consistency_vectors_are_judged_as_published() -> None:
    for case in shared_vector("rfc6962/consistency.json"):
        old_root = base64.b64decode(case["root1"] or "")
        accepted = True
        try:
            check_consistency(
                old=case["size1"],
                new=case["size2"],
                old_root=old_root,
                new_root=base64.b64decode(case["root2"] or ""),
                proof=[base64.b64decode(value) for value in case["proof"] or ()],
            )
        except BadConsistency:
            accepted = False
        # One vector calls 12-byte "roots" good: here every hash has to be 32 bytes.
        wanted = not case["wantErr"] and len(old_root) == HASH_SIZE
        assert accepted is wanted, case["file"]


def test_all_consistency_proofs_up_to_size_70_are_the_oracles_and_hold() -> None:
    for new in range(1, 71):
        for old in range(1, new + 1):
            proof = prove_consistency(old, new, reader(new))
            assert list(proof) == ORACLE.proof(old, new)
            check_consistency(
                old=old,
                new=new,
                old_root=ORACLE.mth(0, old),
                new_root=ORACLE.mth(0, new),
                proof=proof,
            )


@given(places())
def test_consistency_proof_is_the_oracles_and_holds(place: tuple[int, int]) -> None:
    old, new = place[0] + 1, place[1]
    proof = prove_consistency(old, new, reader(new))
    assert list(proof) == ORACLE.proof(old, new)
    check_consistency(
        old=old, new=new, old_root=ORACLE.mth(0, old), new_root=ORACLE.mth(0, new), proof=proof
    )


@given(places(), st.data())
def test_consistency_with_one_flipped_bit_is_refused(
    place: tuple[int, int], data: st.DataObject
) -> None:
    old, new = place[0] + 1, place[1]
    hashes = [ORACLE.mth(0, old), ORACLE.mth(0, new), *ORACLE.proof(old, new)]
    which = data.draw(st.integers(0, len(hashes) - 1))
    hashes[which] = flipped(hashes[which], data.draw(st.integers(0, HASH_SIZE * 8 - 1)))
    old_root, new_root, *proof = hashes
    with pytest.raises(BadConsistency, match="root hash mismatch"):
        check_consistency(old=old, new=new, old_root=old_root, new_root=new_root, proof=proof)


def test_consistency_proof_holds_between_no_other_trees() -> None:
    for old in range(14):
        for new in range(14):
            if (old, new) != (6, 11):
                with pytest.raises(BadConsistency):
                    check_consistency(
                        old=old,
                        new=new,
                        old_root=ORACLE.mth(0, old),
                        new_root=ORACLE.mth(0, new),
                        proof=ORACLE.proof(6, 11),
                    )


def test_sizes_are_bound_to_roots_by_the_checkpoint_and_not_by_the_proof() -> None:
    """A property of RFC 6962 that callers have to know: these sizes have paths of one shape."""
    for old, new in ((6, 11), (6, 12), (3, 6)):
        check_consistency(
            old=old,
            new=new,
            old_root=ORACLE.mth(0, 6),
            new_root=ORACLE.mth(0, 11),
            proof=ORACLE.proof(6, 11),
        )


def test_rewritten_history_is_refused_whichever_entry_changed() -> None:
    for changed in range(6):
        other = Oracle([*ENTRIES[:changed], b"forged", *ENTRIES[changed + 1 : 12]])
        for proof in (ORACLE.proof(6, 11), other.proof(6, 11)):
            with pytest.raises(BadConsistency):
                check_consistency(
                    old=6,
                    new=11,
                    old_root=ORACLE.mth(0, 6),
                    new_root=other.mth(0, 11),
                    proof=proof,
                )


def test_consistency_proof_of_any_other_length_is_refused_before_hashing() -> None:
    for old, new in ((0, 5), (1, 2), (4, 8), (5, 5), (6, 11), (100, 300)):
        right = ORACLE.proof(old, new) if old else []
        for proof in longer_and_shorter(right):
            with pytest.raises(BadConsistency, match=rf"{len(proof)} hashes, but size {old}"):
                check_consistency(
                    old=old,
                    new=new,
                    old_root=ORACLE.mth(0, old),
                    new_root=ORACLE.mth(0, new),
                    proof=proof,
                )


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33)])
def test_consistency_hash_that_is_not_32_bytes_is_refused_before_hashing(wrong: bytes) -> None:
    hashes = [ORACLE.mth(0, 6), ORACLE.mth(0, 11), *ORACLE.proof(6, 11)]
    for i in range(len(hashes)):
        spoiled = list(hashes)
        spoiled[i] = wrong
        old_root, new_root, *proof = spoiled
        with pytest.raises(BadConsistency, match=f"hash of {len(wrong)} bytes, not 32"):
            check_consistency(old=6, new=11, old_root=old_root, new_root=new_root, proof=proof)


@pytest.mark.parametrize("new", [0, 1, 5, 256])
def test_every_tree_extends_the_empty_one_by_the_empty_proof(new: int) -> None:
    assert prove_consistency(0, new, reader(new)) == ()
    root = ORACLE.mth(0, new)
    check_consistency(old=0, new=new, old_root=EMPTY_ROOT, new_root=root, proof=())
    with pytest.raises(BadConsistency, match="size 0 has root"):
        check_consistency(old=0, new=new, old_root=bytes(32), new_root=root, proof=())


def test_equal_sizes_want_equal_roots() -> None:
    one, other = ORACLE.mth(0, 5), ORACLE.mth(0, 6)
    assert prove_consistency(5, 5, reader(5)) == ()
    check_consistency(old=5, new=5, old_root=one, new_root=one, proof=())
    with pytest.raises(BadConsistency, match="root hash mismatch at size 5"):
        check_consistency(old=5, new=5, old_root=one, new_root=other, proof=())


@pytest.mark.parametrize(("old", "new"), [(2, 1), (1, 0), (-1, 3), (-2, -1)])
def test_shrinking_is_neither_proved_nor_accepted(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="no consistency proof"):
        prove_consistency(old, new, reader(2000))
    with pytest.raises(BadConsistency, match="cannot extend"):
        check_consistency(old=old, new=new, old_root=EMPTY_ROOT, new_root=EMPTY_ROOT, proof=())
