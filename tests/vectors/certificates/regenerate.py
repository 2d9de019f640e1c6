"""Writes the certificate vectors: `python -m tests.vectors.certificates.regenerate`.

Every case is a folder, as docs/format.md describes them. The cases here are of a certificate with
one thing wrong; further ones are in the
`cases_of_…` beside it. A case is checked by
`tests/certs/test_vectors.py`; a new one needs no code there.

The signing keys are SHA-256 of the words below, so that anyone can sign further cases. The
authority's chain, ECDSA and ML-DSA signatures are made anew at each run: docs/format.md quotes
this set, and a test compares the quotes. `--missing` writes only cases that have no folder yet.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from certs.canonical import canonical
from certs.certificate import UnsignedCertificate
from certs.seal import sign_certificate
from notary.record import disclose, disclosure_digest
from notary.statement import EVIDENCE_TYPE, parse_statement
from notary.tlog import merkle
from notary.tlog.note import key_id, parse_note, signed_message
from notary.tlog.proof import TlogProof
from tests.vectors.certificates import (
    cases_of_age,
    cases_of_checkpoint,
    cases_of_parts,
    cases_of_standing,
    cases_of_time,
)
from tests.vectors.certificates.case import Case, write
from tests.vectors.certificates.house import (
    CONTENT,
    INDEX,
    RECEIVED,
    SIZE,
    House,
    encode,
    seed,
)

HERE = Path(__file__).parent
FOREIGN = disclose("depositor", {"account": "somebody"}, bytes(32))


def _flip(text: str, at: int) -> str:
    """Base64 with one bit of one byte turned over."""
    raw = bytearray(base64.b64decode(text))
    raw[at] ^= 1
    return encode(bytes(raw))


def intermediate(house: House, draft: UnsignedCertificate) -> dict[str, Any]:
    """The values that a verifier meets on its way through match/, in order."""
    statement = parse_statement(draft.statement)
    text = parse_note(draft.log.checkpoint.encode()).text
    ed25519, mldsa = (signer.verifier for signer in house.signers)
    # Index 5 of 7 is right of its sibling, then left of the lone leaf 6, then right of leaves 0-3.
    leaf = merkle.leaf_hash(draft.statement)
    first, second, third = draft.log.inclusion_proof
    one = merkle.node_hash(first, leaf)
    two = merkle.node_hash(one, second)
    steps = [each.hex() for each in (one, two, merkle.node_hash(third, two))]
    return {
        "signed_bytes_sha256": hashlib.sha256(draft.unsigned_bytes()).hexdigest(),
        "certificate_kid": draft.keys.certificate[0].kid.hex(),
        "disclosure_digests": [disclosure_digest(each) for each in draft.disclosures],
        "record_sha256": house.record.digest().hex(),
        "statement_kid": statement.kid.hex(),
        "statement_protected": statement.protected.hex(),
        "statement_signed_bytes": statement.signed_bytes().hex(),
        "leaf_hash": merkle.leaf_hash(draft.statement).hex(),
        "nodes_upwards": steps,
        "root_hash": house.root.hex(),
        "checkpoint_text": text,
        "checkpoint_text_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "log_key_ids": {
            "ed25519": f"{key_id(ed25519.name, ed25519.type, ed25519.public_key):08x}",
            "ml-dsa-44": f"{key_id(mldsa.name, mldsa.type, mldsa.public_key):08x}",
        },
        "ml_dsa_44_message": signed_message(
            mldsa.name, mldsa.type, text, int(RECEIVED.timestamp())
        ).hex(),
        "content_sha256": hashlib.sha256(CONTENT).hexdigest(),
        "content_size": len(CONTENT),
    }


def good_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    trust, sealed = house.trust(), house.seal(draft)
    unstamped = replace(draft, timestamps=(), times=replace(draft.times, timestamped_at=None))
    original_only = replace(unstamped, timestamps=draft.timestamps[1:])
    return [
        Case(
            name="match",
            why="The certificate, the registered file and the issuer's trust file belong together.",
            certificate=sealed, verdict="confirmed", code="match", trust=trust,
        ),
        Case(
            name="match_embedded_keys",
            why="Without a trust file the embedded keys are used, and the report says so.",
            certificate=sealed, verdict="confirmed", code="match",
        ),
        Case(
            name="match_not_yet_anchored",
            why="Issued before a token covered the entry: the file matches, the time is the "
            "issuer's word.",
            certificate=house.seal(unstamped), verdict="confirmed",
            code="match_not_yet_anchored", trust=trust,
        ),
        Case(
            name="match_original_token_only",
            why="A token over the file alone says nothing about when the entry was made.",
            certificate=house.seal(original_only), verdict="confirmed",
            code="match_not_yet_anchored", trust=trust,
        ),
        Case(
            name="match_case_withheld",
            why="Section case is not disclosed: its digest stays in the record, all else holds.",
            certificate=house.seal(
                replace(draft, disclosures=(draft.disclosures[0], draft.disclosures[2]))
            ),
            verdict="confirmed", code="match", trust=trust,
        ),
    ]  # fmt: skip


def document_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    sealed, trust = house.seal(draft), house.trust()
    withheld = house.seal(replace(draft, disclosures=draft.disclosures[1:]))
    flipped = CONTENT.replace(b"ended", b"Ended")

    def case(name: str, why: str, code: str, content: bytes | None, **other: Any) -> Case:
        given: dict[str, Any] = {"certificate": sealed, "verdict": "not_this_file", **other}
        return Case(name=name, why=why, code=code, content=content, trust=trust, **given)

    return [
        case("document_byte_flipped_fail", "One bit of the file differs.", "digest_mismatch",
             flipped),
        case("document_cut_fail", "The file lacks its last byte.", "digest_mismatch", CONTENT[:-1]),
        case("document_empty_fail", "The file has no bytes; the registered one has.", "empty_file",
             b""),
        case("document_is_other_json_fail", "The file is JSON and no certificate.",
             "digest_mismatch", b'{"type":"something else"}'),
        case("document_is_the_certificate_fail", "The certificate was handed in as the file.",
             "certificate_file_given", sealed),
        case("no_document_fail", "No file was given: the certificate alone is not a match.",
             "no_document", None, verdict="undecided"),
        case("content_withheld_fail", "Section content is not disclosed: there is nothing to "
             "compare the file with.", "proof_missing", CONTENT, verdict="undecided",
             certificate=withheld),
    ]  # fmt: skip


Change = Callable[[UnsignedCertificate], UnsignedCertificate]


def _checkpoint(change: Callable[[str], str]) -> Change:
    return lambda d: replace(d, log=replace(d.log, checkpoint=change(d.log.checkpoint)))


def _signature_line(number: int, at: int) -> Callable[[str], str]:
    def change(note: str) -> str:
        lines = note.split("\n")
        first = lines.index("") + 1
        dash, name, value = lines[first + number].split(" ")
        lines[first + number] = f"{dash} {name} {_flip(value, at)}"
        return "\n".join(lines)

    return change


def _proof(change: Callable[[Sequence[bytes]], Sequence[bytes]]) -> Change:
    return lambda d: replace(
        d, log=replace(d.log, inclusion_proof=tuple(change(d.log.inclusion_proof)))
    )


def _with_text_payload(statement: bytes) -> bytes:
    head, _, rest = statement.partition(b"\xa0\x58\x20")
    return head + b"\xa0\x78\x20" + b"a" * 32 + rest[32:]


def resealed_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    """One part is wrong and the certificate was signed over it again, by its own key."""
    other = seed("another record")
    foreign = house.statements.sign(other, preimage_type=EVIDENCE_TYPE, randomness=bytes(16))
    event = house.statements.sign(
        house.record.digest(),
        preimage_type="application/custody-event+json",
        randomness=seed(f"subject {INDEX}")[:16],
    )
    later = replace(draft.times, timestamped_at=draft.times.issued_at)
    earlier = replace(draft.times, received_at=RECEIVED - timedelta(days=1))
    stranger = house.timestamp("checkpoint", other)
    changes: tuple[tuple[str, str, str, Change], ...] = (
        ("disclosure_not_in_record_fail", "A section is shown that the record does not list.",
         "record_mismatch",
         lambda d: replace(d, disclosures=(*d.disclosures[:2], FOREIGN))),
        ("disclosure_twice_fail", "One section is shown twice.", "record_mismatch",
         lambda d: replace(d, disclosures=(d.disclosures[0], *d.disclosures))),
        ("record_not_canonical_fail", "The record has a space that its canonical form has not.",
         "record_mismatch", lambda d: replace(d, record=d.record.replace(",", ", ", 1))),
        ("received_earlier_than_recorded_fail",
         "The time of receipt is a day before the one in the record.", "record_mismatch",
         lambda d: replace(d, times=earlier)),
        ("statement_about_another_record_fail", "A genuine statement, over another record.",
         "statement_invalid", lambda d: replace(d, statement=foreign)),
        ("statement_about_an_event_fail", "A genuine statement, about a custody event.",
         "statement_invalid", lambda d: replace(d, statement=event)),
        ("statement_signature_fail", "One bit of the statement's signature differs.",
         "statement_invalid",
         lambda d: replace(d, statement=d.statement[:-1] + bytes([d.statement[-1] ^ 1]))),
        ("statement_payload_is_text_fail",
         "The payload is a text of 32 characters and not 32 bytes.", "statement_invalid",
         lambda d: replace(d, statement=_with_text_payload(d.statement))),
        ("statement_trailing_byte_fail", "A byte follows the statement.", "statement_invalid",
         lambda d: replace(d, statement=d.statement + b"\0")),
        ("checkpoint_ed25519_signature_fail", "One bit of the Ed25519 signature differs.",
         "checkpoint_invalid", _checkpoint(_signature_line(0, -1))),
        ("checkpoint_ml_dsa_signature_fail",
         "One bit of the ML-DSA-44 signature differs; the Ed25519 one holds.",
         "checkpoint_invalid", _checkpoint(_signature_line(1, -1))),
        ("checkpoint_ml_dsa_time_fail", "The time that the ML-DSA-44 signature covers differs.",
         "checkpoint_invalid", _checkpoint(_signature_line(1, 11))),
        ("checkpoint_of_another_size_fail", "The certificate states another size than the "
         "checkpoint.", "checkpoint_invalid",
         lambda d: replace(d, log=replace(d.log, size=SIZE + 1))),
        ("inclusion_other_index_fail", "The proof is of index 5, stated is 4.",
         "inclusion_proof_invalid", lambda d: replace(d, log=replace(d.log, index=INDEX - 1))),
        ("inclusion_bit_flipped_fail", "One bit of one hash differs.", "inclusion_proof_invalid",
         _proof(lambda p: [bytes([p[0][0] ^ 1]) + p[0][1:], *p[1:]])),
        ("inclusion_one_hash_more_fail", "The proof has one hash more than the tree has levels.",
         "inclusion_proof_invalid", _proof(lambda p: [*p, p[-1]])),
        ("inclusion_one_hash_less_fail", "The proof lacks its last hash.",
         "inclusion_proof_invalid", _proof(lambda p: p[:-1])),
        ("timestamp_over_another_checkpoint_fail", "A genuine token over something else.",
         "timestamp_invalid", lambda d: replace(d, timestamps=(stranger,))),
        ("timestamp_response_cut_fail", "The token lacks its last byte.", "timestamp_invalid",
         lambda d: replace(d, timestamps=(
             replace(d.timestamps[0], response=d.timestamps[0].response[:-1]),))),
        ("timestamped_at_later_fail", "timestamped_at is later than the token says.",
         "certificate_altered", lambda d: replace(d, times=later)),
        ("timestamped_at_without_token_fail", "timestamped_at is stated, and there is no token.",
         "certificate_altered", lambda d: replace(d, timestamps=())),
    )  # fmt: skip
    trust = house.trust()
    return [
        Case(
            name=name, why=why, code=code, trust=trust, verdict="not_genuine",
            certificate=house.seal(change(draft)),
        )
        for name, why, code, change in changes
    ]  # fmt: skip


def bytes_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    """The file itself is not what it should be, or its keys are not those trusted."""
    sealed, trust = house.seal(draft), house.trust()
    loaded = json.loads(sealed)
    newer = canonical({**loaded, "type": "evidence-certificate/v2"})
    altered = canonical({**loaded, "issued_for": "another purpose"})
    impostor = House("impostor")
    forged = impostor.seal(impostor.draft())

    def case(name: str, why: str, code: str, data: bytes, verdict: str, **other: Any) -> Case:
        given: dict[str, Any] = {"trust": trust, **other}
        return Case(name=name, why=why, code=code, certificate=data, verdict=verdict, **given)

    return [
        case("not_canonical_fail", "A line feed ends the file: it is not its canonical form.",
             "certificate_unreadable", sealed + b"\n", "undecided"),
        case("not_json_fail", "The file is cut.", "certificate_unreadable", sealed[:-1],
             "undecided"),
        case("newer_version_fail", "A type of a later version.", "unsupported_version", newer,
             "undecided"),
        case("signature_fail", "issued_for was changed after signing.", "signature_invalid",
             altered, "not_genuine"),
        case("forged_by_another_key_fail", "Everything is in order, but signed by keys of an "
             "impostor who uses the log's name. Without a trust file this would be confirmed: "
             "that is what trust files are for.", "unknown_key", forged, "undecided"),
        case("timestamp_of_untrusted_authority_fail", "The trust file has another authority's "
             "root.", "timestamp_untrusted", sealed, "undecided",
             trust=House("main").trust()),
    ]  # fmt: skip


def main() -> None:
    house = House("main")
    draft = house.draft()
    cases = [
        *good_cases(house, draft),
        *document_cases(house, draft),
        *resealed_cases(house, draft),
        *bytes_cases(house, draft),
        *cases_of_parts.all_cases(house, draft),
        *cases_of_checkpoint.all_cases(house, draft),
        *cases_of_time.all_cases(house, draft),
        *cases_of_standing.all_cases(house, draft),
        *cases_of_age.all_cases(house, draft),
    ]
    if sys.argv[1:] == ["--missing"]:
        for case in cases:
            if not HERE.joinpath(case.name).exists():
                write(case, HERE)
        return
    for old in HERE.iterdir():
        if old.is_dir() and old.name != "__pycache__":
            shutil.rmtree(old)
    for case in cases:
        write(case, HERE)
    said = json.dumps(intermediate(house, draft), indent=2)
    match = HERE / "match"
    match.joinpath("intermediate.json").write_text(said + "\n", "utf-8")
    certificate = sign_certificate(draft, house.keys.certificate)
    log = certificate.log
    proof = TlogProof(index=log.index, path=log.inclusion_proof, checkpoint=log.checkpoint.encode())
    match.joinpath("proof.tlog-proof").write_bytes(proof.encode())
    for name, covers in zip(("checkpoint", "original"), certificate.timestamps, strict=True):
        match.joinpath(f"{name}.tsr").write_bytes(covers.response)


if __name__ == "__main__":
    main()
