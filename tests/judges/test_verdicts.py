"""Everything we give out, before every judge that can read it.

Each artefact comes from a real service with two witnesses, over HTTP. A judge must accept it, and
refuse each of its mutations but those that it is known not to see: these stand in BLIND, exactly,
and no mutation may be left with less than two judges that refuse it.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from notary.receipt import sign_inclusion
from tests.harness import judges
from tests.harness.judges import (
    CHECKPOINT,
    CONSISTENCY,
    COSIGNATURE,
    GO,
    INCLUSION,
    KINDS,
    ML_DSA,
    NODE,
    PROOF,
    RECEIPT,
    Ask,
    Case,
    b64,
)
from tests.harness.oracle import Oracle
from tests.judges import forgeries, mutations, ours
from tests.judges.conftest import Given, Town

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"

BLIND: Mapping[tuple[str, str], frozenset[str]] = {
    # They open notes, whatever stands in them: that the origin is the log's is the caller's to see.
    ("sumdb", CHECKPOINT): frozenset({"another log expected"}),
    ("sigstore", CHECKPOINT): frozenset({"another log expected"}),
    # It derives the id of a cosigner's key instead of reading it.
    ("formats", COSIGNATURE): frozenset({"a key that says another id"}),
    ("formats", ML_DSA): frozenset({"a key that says another id"}),
    # It takes the fifth line for the first signature, whatever the fourth says.
    ("scales", COSIGNATURE): frozenset({"without the empty line"}),
    ("scales", ML_DSA): frozenset({"without the empty line"}),
}

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ENTRIES = [b"entry %d" % n for n in range(11)]

Matter = dict[str, tuple[Case, mutations.Cases]]
"""Good cases under their names, each with its mutations."""
Judged = Callable[[Town], Matter]


def checkpoints(town: Town) -> Matter:
    good = _note(CHECKPOINT, town, town.ed25519)
    wrong = {**_signed(good, town), **mutations.extended(good)}
    return {"the log's Ed25519": (good, wrong)}


def cosignatures(town: Town) -> Matter:
    matter: Matter = {}
    for vkey, other in (town.witnesses, town.witnesses[::-1]):
        good = _note(COSIGNATURE, town, vkey)
        wrong = {
            **_signed(good, town),
            **mutations.extended(good),
            **mutations.cosignature(good, other=other),
        }
        matter[vkey] = (good, wrong)
    return matter


def ml_dsa_cosignatures(town: Town) -> Matter:
    good = _note(ML_DSA, town, town.ml_dsa)
    other = mutations.cosignature(good, other=town.witnesses[0])
    return {"the log's ML-DSA-44": (good, {**_signed(good, town), **other})}


def _note(kind: str, town: Town, vkey: str) -> Case:
    note = b64(town.last.checkpoint)[0]
    return {"Kind": kind, "Vkey": vkey, "Origin": town.origin, "Note": note}


def _signed(good: Case, town: Town) -> mutations.Cases:
    return mutations.signed_note(good, earlier=town.first.checkpoint)


def inclusions(town: Town) -> Matter:
    matter: Matter = {}
    last = town.last
    leaves = {given.index: given.entry for given in town.papers}
    for index, entry in {**leaves, 300: town.entry(300)}.items():
        path = town.inclusion(index, last.size)
        good: Case = {
            "Kind": INCLUSION, "Index": index, "Size": last.size,
            "Entry": b64(entry)[0], "Root": b64(last.root)[0], "Proof": b64(*path),
        }  # fmt: skip
        matter[f"leaf {index}"] = (
            good,
            mutations.inclusion(good, another_entry=town.entry(42), another_root=town.first.root),
        )
    return matter


def consistencies(town: Town) -> Matter:
    matter: Matter = {}
    last = town.last
    for old in town.papers[:-1]:
        good: Case = {
            "Kind": CONSISTENCY, "Old": old.size, "Size": last.size, "From": b64(old.root)[0],
            "Root": b64(last.root)[0], "Proof": b64(*town.consistency(old.size, last.size)),
        }  # fmt: skip
        wrong = mutations.consistency(good, another_root=b"\x11" * 32)
        matter[f"{old.size} to {last.size}"] = good, wrong
    return matter


def proof_files(town: Town) -> Matter:
    good: Case = {
        "Kind": PROOF, "Vkey": town.ed25519, "Origin": town.origin, "Policy": town.policy,
        "Entry": b64(town.last.entry)[0], "File": b64(town.last.proof)[0],
    }  # fmt: skip
    wrong = mutations.proof_file(
        good,
        log=town.ed25519,
        witnesses=town.witnesses,
        earlier=town.first.checkpoint,
        another_entry=town.first.entry,
    )
    return {"the last deposit": (good, wrong)}


def receipts(town: Town) -> Matter:
    first, last = town.first, town.last
    good = _receipt(last.receipt, last.entry, receipt_key(town))
    wrong = forgeries.altered(good, last.receipt, another_entry=first.entry, another=first.receipt)
    carried = cbor2.loads(last.transparent).value[1][394][0]
    within = _receipt(carried, last.entry, receipt_key(town))
    return {"the last deposit": (good, wrong), "in a transparent statement": (within, {})}


def our_forgeries(_: Town) -> Matter:
    """Receipts that only who holds the key could get wrong."""
    tree, size = Oracle(ENTRIES), len(ENTRIES)
    root = tree.mth(0, size)
    data = sign_inclusion(
        KEY, issuer="log.example", subject="urn:uuid:1", size=size, index=5,
        path=tree.path(5, size), root=root,
    )  # fmt: skip
    good = _receipt(data, ENTRIES[5], KEY.public_key().public_bytes_raw())
    return {"leaf 5 of 11": (good, forgeries.forged(good, KEY, data, root, tree.mth(0, 7)))}


def _receipt(data: bytes, entry: bytes, key: bytes) -> Case:
    return {"Kind": RECEIPT, "File": b64(data)[0], "Entry": b64(entry)[0], "Key": b64(key)[0]}


def receipt_key(town: Town) -> bytes:
    """The published key under the receipt's kid."""
    kid = cbor2.loads(cbor2.loads(town.last.receipt).value[0])[4]
    keys = cbor2.loads(town.client.get("/.well-known/scitt-keys").content)
    (found,) = (key[-2] for key in keys if key[2] == kid)
    assert isinstance(found, bytes)
    return found


MATTERS: tuple[tuple[str, Judged], ...] = (
    (CHECKPOINT, checkpoints),
    (COSIGNATURE, cosignatures),
    (ML_DSA, ml_dsa_cosignatures),
    (INCLUSION, inclusions),
    (CONSISTENCY, consistencies),
    (PROOF, proof_files),
    (RECEIPT, receipts),
    (RECEIPT, our_forgeries),
)


@pytest.fixture
def ask(request: pytest.FixtureRequest, judge: str) -> Ask:
    if judge in GO + NODE:
        programs: dict[str, Ask] = request.getfixturevalue(
            "go_judges" if judge in GO else "node_judges"
        )
        return programs[judge]
    return judges.scales() if judge == "scales" else judges.scitt()


@pytest.mark.parametrize(
    ("judge", "kind", "matter"),
    [
        pytest.param(judge, kind, matter, id=f"{judge}-{matter.__name__}")
        for kind, matter in MATTERS
        for judge, kinds in KINDS.items()
        if kind in kinds
    ],
)
def test_the_judge_accepts_it_and_refuses_what_was_altered(
    town: Town, ask: Ask, judge: str, kind: str, matter: Judged
) -> None:
    for name, (good, wrong) in matter(town).items():
        accepted, *answers = ask([good, *wrong.values()])
        assert accepted == "", (name, accepted)
        seen = {done for done, answer in zip(wrong, answers, strict=True) if answer == ""}
        assert seen == BLIND.get((judge, kind), frozenset()) & set(wrong), name


@pytest.mark.parametrize("matter", [each for _, each in MATTERS])
def test_we_judge_as_they_do_and_see_all_of_it(town: Town, matter: Judged) -> None:
    for name, (good, wrong) in matter(town).items():
        accepted, *answers = ours.ask([good, *wrong.values()])
        assert accepted == "", name
        assert [done for done, said in zip(wrong, answers, strict=True) if said == ""] == [], name


def test_every_kind_has_two_judges_and_no_mutation_less(town: Town) -> None:
    for kind, matter in MATTERS:
        judges_of = [judge for judge, kinds in KINDS.items() if kind in kinds]
        assert len(judges_of) >= 2, kind
        for _, wrong in matter(town).values():
            for name in wrong:
                refusing = [j for j in judges_of if name not in BLIND.get((j, kind), ())]
                assert len(refusing) >= 2, (kind, name)


def test_the_table_of_the_documents_says_who_judges_what() -> None:
    lines = DOCUMENT.read_text("utf-8").splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("| | checkpoint |"))
    rows = lines[at + 2 : at + 2 + len(KINDS)]
    said = [[cell.strip() == "✓" for cell in row.split("|")[2:-1]] for row in rows]
    order = (CHECKPOINT, COSIGNATURE, ML_DSA, INCLUSION, CONSISTENCY, PROOF, RECEIPT)
    assert sorted(said) == sorted([kind in kinds for kind in order] for kinds in KINDS.values())


@pytest.mark.parametrize("judge", GO + NODE)
def test_a_program_that_cannot_judge_has_no_opinion(ask: Ask) -> None:
    """It ends with status 2: what is wrong with our driver is never taken for a refusal."""
    with pytest.raises(AssertionError, match="not a judge of"):
        ask([{"Kind": "the weather"}])


def test_what_the_judges_see_is_what_was_signed(town: Town) -> None:
    """The papers belong together: two checkpoints of one log, each with four signatures."""
    for given in (town.first, town.last):
        assert isinstance(given, Given)
        assert given.checkpoint.count("\n— ".encode()) == 4
        assert given.proof.endswith(given.checkpoint)
        assert b64decode(given.checkpoint.decode().split("\n")[2]) == given.root
    assert town.first.size < town.last.size
