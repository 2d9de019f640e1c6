"""Writes these vectors: `python -m tests.vectors.destructions.regenerate`.

Each is of a disposal that is really an entry of a small log, whose certificate has one thing wrong
and was signed over it again. `tests/certs/test_more_vectors.py` checks them; a new one needs no
code there. What is there keeps its bytes: only cases without a folder are written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from certs.canonical import canonical
from certs.certificate import Issuer
from certs.destruction import Act, Destroyed, DestructionDraft, sign_destruction
from certs.entry import Entry
from notary.clock import rfc3339
from notary.record import CUSTODY, Record, build_record
from notary.statement import CUSTODY_TYPE, EVIDENCE_TYPE
from notary.tlog import merkle
from tests.vectors.certificates.case import STATUS
from tests.vectors.certificates.house import INDEX, NAME, ORIGIN, RECEIVED, SIZE, House, seed

HERE = Path(__file__).parent
DEPOSIT = "01a20cd5-6bb0-7a1c-8f2e-5d1f0a7be6c2"
DISPOSAL = "01a20cd6-0c31-7e55-b1aa-94c27be0d3f8"
REQUESTED = Act(by="clerk-office", at=RECEIVED - timedelta(minutes=40))
APPROVED = Act(by="registrar", at=RECEIVED)
SECOND = timedelta(seconds=1)

Change = Callable[[DestructionDraft], DestructionDraft]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    why: str
    data: bytes
    verdict: str
    code: str
    trust: str | None


def event(disposal: str = DISPOSAL) -> Record:
    """The custody event of the disposal."""
    sections: dict[str, object] = {
        "act": {"kind": "disposed"},
        "actor": {"account": APPROVED.by},
        "about": {"deposit": DEPOSIT, "case": None, "subject": disposal},
        "terms": {
            "reason": "retention ended",
            "basis": "court archives act, section 12",
            "requested_by": REQUESTED.by,
            "requested_at": rfc3339(REQUESTED.at),
        },
    }
    return build_record(
        type_=CUSTODY, id_="01a20cd6-0c40-7b1d-9a07-2f6e8c51d0b4", received_at=APPROVED.at,
        sections=sections, salts=b"".join(seed(f"{disposal} {name}") for name in sections),
    )  # fmt: skip


def house_of(record: Record, type_: str = CUSTODY_TYPE, words: str = "main") -> House:
    """A house whose ledger has the event where it says."""
    statement = House(words).statements.sign(
        record.digest(), preimage_type=type_, randomness=seed("subject of the event")[:16]
    )
    return House(words, record=record, statement=statement)


def draft_of(house: House) -> DestructionDraft:
    return DestructionDraft(
        disposal_id=DISPOSAL,
        deposit_id=DEPOSIT,
        deposit_index=2,
        issuer=Issuer(name=NAME, origin=ORIGIN, software="evidence-notary 0.1.0"),
        reason="retention ended",
        basis="court archives act, section 12",
        requested=REQUESTED,
        approved=APPROVED,
        destroyed=Destroyed(
            details_at=RECEIVED + SECOND,
            key_at=None,
            object="removed",
            object_at=RECEIVED + 2 * SECOND,
        ),
        entry=Entry(
            record=house.record.text,
            disclosures=house.record.disclosures,
            statement=house.entries[INDEX],
            index=INDEX,
            size=SIZE,
            inclusion_proof=merkle.prove_inclusion(INDEX, SIZE, house.read),
            checkpoint=house.sign_head(SIZE, house.root, RECEIVED).decode(),
        ),
        issued_at=RECEIVED + timedelta(minutes=3),
    )


def signed(house: House, draft: DestructionDraft) -> bytes:
    return sign_destruction(draft, house.keys.certificate).encode()


def whole_cases(house: House) -> list[Case]:
    data, trust = signed(house, draft_of(house)), house.trust()
    impostor = house_of(house.record, words="impostor")
    loaded = json.loads(data)
    locked = replace(draft_of(house), destroyed=Destroyed(
        details_at=RECEIVED + SECOND, key_at=RECEIVED + SECOND, object="waiting",
        object_at=RECEIVED + timedelta(days=90),
    ))  # fmt: skip

    def case(
        name: str, why: str, code: str, verdict: str, given: bytes, **other: str | None
    ) -> Case:
        known: dict[str, str | None] = {"trust": trust, **other}
        return Case(name=name, why=why, code=code, verdict=verdict, data=given, **known)

    good, open_ = ("disposal_confirmed", "confirmed"), "undecided"
    return [
        case("disposal", "The entry of the disposal, and a certificate that says what it says.",
             *good, data),
        case("disposal_of_a_locked_object", "The encrypted original's data key is gone, its object "
             "is locked for a while.", *good, signed(house, locked)),
        case("no_trust_file_fail", "It carries no keys: without a trust file nothing is decided.",
             "unknown_key", open_, data, trust=None),
        case("unknown_key_fail", "Signed by keys of an impostor who uses the log's name.",
             "unknown_key", open_, signed(impostor, draft_of(impostor))),
        case("another_origin_fail", "It names another log.", "unknown_key", open_,
             signed(house, replace(draft_of(house), issuer=replace(
                 draft_of(house).issuer, origin="log.elsewhere.example")))),
        case("object_state_unknown_fail", "It says of the object what no verifier knows.",
             "certificate_unreadable", open_,
             data.replace(b'"object":"removed"', b'"object":"locked"')),
        case("not_canonical_fail", "A line feed ends the file.", "certificate_unreadable", open_,
             data + b"\n"),
        case("member_more_fail", "A member that no table lists.", "certificate_unreadable", open_,
             canonical({**loaded, "note": "x"})),
        case("newer_version_fail", "A type of a later version.", "unsupported_version", open_,
             canonical({**loaded, "type": "evidence-destruction/v2"})),
        case("signature_fail", "The reason was changed after signing.", "signature_invalid",
             "not_genuine", canonical({**loaded, "reason": "by mistake"})),
    ]  # fmt: skip


def resigned_cases(house: House) -> list[Case]:
    """What somebody could say who has the certificates' key and not the ledger's."""
    other = house_of(event("01a20cd6-ffff-7e55-b1aa-94c27be0d3f8"))
    evidence = house_of(house.record, EVIDENCE_TYPE)

    def entry(**changed: object) -> Change:
        return lambda d: replace(d, entry=replace(d.entry, **changed))  # type: ignore[arg-type]

    theirs = draft_of(other).entry
    changes: tuple[tuple[str, str, str, Change], ...] = (
        ("deposit_fail", "It names another deposit than the event.", "record_mismatch",
         lambda d: replace(d, deposit_id="01a20cd5-0000-7a1c-8f2e-5d1f0a7be6c2")),
        ("disposal_fail", "It names another disposal than the event.", "record_mismatch",
         lambda d: replace(d, disposal_id="01a20cd6-0000-7e55-b1aa-94c27be0d3f8")),
        ("reason_fail", "It gives another reason.", "record_mismatch",
         lambda d: replace(d, reason="by mistake")),
        ("basis_fail", "It gives another basis.", "record_mismatch",
         lambda d: replace(d, basis="none")),
        ("requested_by_fail", "Another person asked.", "record_mismatch",
         lambda d: replace(d, requested=replace(d.requested, by="registrar"))),
        ("requested_at_fail", "It was asked for a second later.", "record_mismatch",
         lambda d: replace(d, requested=replace(d.requested, at=d.requested.at + SECOND))),
        ("approved_by_fail", "Another person approved.", "record_mismatch",
         lambda d: replace(d, approved=replace(d.approved, by="clerk-office"))),
        ("approved_at_fail", "It was approved a second later.", "record_mismatch",
         lambda d: replace(d, approved=replace(d.approved, at=d.approved.at + SECOND))),
        ("entry_of_another_disposal_fail", "A genuine entry, of another disposal.",
         "record_mismatch", lambda d: replace(d, entry=theirs)),
        ("nothing_disclosed_fail", "The event's sections are left out.", "record_mismatch",
         entry(disclosures=())),
        ("disclosures_of_another_fail", "The sections of another event.", "record_mismatch",
         entry(disclosures=theirs.disclosures)),
        ("statement_of_another_fail", "The statement of another event.", "statement_invalid",
         entry(statement=theirs.statement)),
        ("statement_about_a_registration_fail", "A genuine statement, in the ledger, about a "
         "registration.", "statement_invalid", lambda _: draft_of(evidence)),
        ("index_fail", "The entry is 5, stated is 4.", "inclusion_proof_invalid",
         entry(index=INDEX - 1)),
        ("size_fail", "It states another size than the checkpoint.", "checkpoint_invalid",
         entry(size=SIZE + 1)),
        ("no_inclusion_proof_fail", "The proof has no hashes.", "inclusion_proof_invalid",
         entry(inclusion_proof=())),
        ("checkpoint_cut_fail", "The checkpoint lacks its end.", "checkpoint_invalid",
         lambda d: replace(d, entry=replace(d.entry, checkpoint=d.entry.checkpoint[:-3]))),
    )  # fmt: skip
    draft = draft_of(house)
    return [
        Case(
            name=name, why=why, code=code, verdict="not_genuine",
            data=signed(house, change(draft)), trust=house.trust(),
        )
        for name, why, code, change in changes
    ]  # fmt: skip


def main() -> None:
    house = house_of(event())
    for case in [*whole_cases(house), *resigned_cases(house)]:
        folder = HERE / case.name
        if folder.exists():
            continue
        folder.mkdir()
        folder.joinpath("README").write_text(case.why + "\n", "utf-8")
        folder.joinpath("destruction.json").write_bytes(case.data)
        if case.trust is not None:
            folder.joinpath("trust.toml").write_text(case.trust, "utf-8")
        expected = {
            "verdict": case.verdict,
            "code": case.code,
            "exit_status": STATUS[case.verdict],
            "trusted_keys": case.trust is not None,
        }
        text = json.dumps(expected, indent=2) + "\n"
        folder.joinpath("expected.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
