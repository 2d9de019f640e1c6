"""Our own readers as one judge more: what the foreign ones refuse, we refuse too."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence

from notary.errors import BadSignature, NotaryError
from notary.receipt import check_receipt, parse_receipt
from notary.tlog.checkpoint import Checkpoint, parse_checkpoint_text
from notary.tlog.merkle import check_consistency, check_inclusion, leaf_hash
from notary.tlog.note import VerifierKey, open_note, parse_note, parse_vkey
from notary.tlog.policy import parse_policy
from notary.tlog.proof import parse_proof
from tests.harness.judges import CONSISTENCY, INCLUSION, PROOF, RECEIPT, Case


def ask(cases: Sequence[Case]) -> list[str]:
    judges = {
        INCLUSION: _inclusion,
        CONSISTENCY: _consistency,
        PROOF: _proof,
        RECEIPT: _receipt,
    }
    answers = []
    for case in cases:
        try:
            judges.get(str(case["Kind"]), _note)(case)
            answers.append("")
        except NotaryError as exc:
            answers.append(f"{exc.code}: {exc}")
    return answers


def _note(case: Case) -> None:
    _opened(_bytes(case, "Note"), case, (parse_vkey(str(case["Vkey"])),))


def _opened(
    data: bytes, case: Case, keys: tuple[VerifierKey, ...]
) -> tuple[Checkpoint, frozenset[VerifierKey]]:
    note = parse_note(data)
    signers = frozenset(signature.key for signature in open_note(note, keys))
    checkpoint = parse_checkpoint_text(note.text)
    if checkpoint.origin != case["Origin"]:
        raise BadSignature(f"another log: {checkpoint.origin}")
    return checkpoint, signers


def _proof(case: Case) -> None:
    proof = parse_proof(_bytes(case, "File"))
    log, policy = parse_vkey(str(case["Vkey"])), parse_policy(str(case["Policy"]))
    keys = (log, *(witness.key for witness in policy.witnesses))
    checkpoint, signers = _opened(proof.checkpoint, case, keys)
    if log not in signers:
        raise BadSignature("the log did not sign")
    policy.check(signers)
    check_inclusion(
        index=proof.index,
        size=checkpoint.size,
        leaf=leaf_hash(_bytes(case, "Entry")),
        proof=proof.path,
        root=checkpoint.root,
    )


def _inclusion(case: Case) -> None:
    check_inclusion(
        index=_number(case, "Index"),
        size=_number(case, "Size"),
        leaf=leaf_hash(_bytes(case, "Entry")),
        proof=_path(case),
        root=_bytes(case, "Root"),
    )


def _consistency(case: Case) -> None:
    check_consistency(
        old=_number(case, "Old"),
        new=_number(case, "Size"),
        old_root=_bytes(case, "From"),
        new_root=_bytes(case, "Root"),
        proof=_path(case),
    )


def _receipt(case: Case) -> None:
    receipt = parse_receipt(_bytes(case, "File"))
    check_receipt(receipt, entry=_bytes(case, "Entry"), public_key=_bytes(case, "Key"))


def _number(case: Case, field: str) -> int:
    value = case[field]
    assert isinstance(value, int)
    return value


def _bytes(case: Case, field: str) -> bytes:
    return b64decode(str(case[field]))


def _path(case: Case) -> tuple[bytes, ...]:
    nodes = case["Proof"]
    assert isinstance(nodes, list)
    return tuple(b64decode(node) for node in nodes)
