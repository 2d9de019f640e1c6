"""Cases in which one part is unusual and all that depends on it was made to fit: a ledger that
really holds the odd statement, a statement that is really over the odd record."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cbor2

from certs.canonical import canonical
from certs.certificate import Certificate, Signature, UnsignedCertificate
from notary.clock import rfc3339
from notary.record import EVIDENCE, Record, disclosure_digest
from notary.statement import EVIDENCE_TYPE
from notary.tlog.note import key_id
from tests.vectors.certificates.case import Case
from tests.vectors.certificates.house import CONTENT, INDEX, ORIGIN, RECEIVED, House, encode, seed


def all_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    return [
        *file_cases(house, draft),
        *key_cases(house, draft),
        *record_cases(house),
        *statement_cases(house),
        *place_cases(),
    ]


# --- the file ------------------------------------------------------------------------------------


def file_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    sealed, trust = house.seal(draft), house.trust()
    purpose = b'"issued_for":"generic",'
    later = {"type": "evidence-certificate/v9"}
    moved = sealed.replace(purpose, b"").replace(b'"log":', purpose + b'"log":')
    unreadable: tuple[tuple[str, str, bytes], ...] = (
        ("name_twice_fail", "One name stands twice in the object, with the same value.",
         sealed.replace(purpose, purpose * 2)),
        ("fraction_fail", "The version is written 1.0: the same number, not its canonical form.",
         sealed.replace(b'"version":1}', b'"version":1.0}')),
        ("member_order_fail", "A member stands where its name does not sort.", moved),
        ("member_more_fail", "A member that no table lists.",
         canonical({**json.loads(sealed), "note": "x"})),
        ("nested_too_deeply_fail", "Arrays in arrays, 100,000 deep.", b"[" * 100_000),
        ("newer_version_not_canonical_fail", "Of a later version, and not in canonical form: the "
         "form comes first.", json.dumps(later).encode()),
    )  # fmt: skip
    cases = [
        Case(
            name=name, why=why, certificate=data, verdict="undecided",
            code="certificate_unreadable", trust=trust,
        )
        for name, why, data in unreadable
    ]  # fmt: skip
    newer = Case(
        name="newer_version_of_other_members_fail",
        why="Of a later version, which may have any members.",
        certificate=canonical(later), verdict="undecided", code="unsupported_version", trust=trust,
    )  # fmt: skip
    assert all(case.certificate != sealed for case in cases)
    return [*cases, newer]


# --- keys ----------------------------------------------------------------------------------------


def key_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    sealed, trusted = house.seal(draft), house.trusted()
    impostor = House("impostor")
    theirs = impostor.trusted()
    elsewhere = replace(draft, issuer=replace(draft.issuer, origin="log.elsewhere.example"))
    no_statement_key = house.seal(replace(draft, keys=replace(draft.keys, statement=())))
    no_log_keys = house.seal(replace(draft, keys=replace(draft.keys, log=())))
    name, _, key = draft.keys.log[0].split("+", 2)
    wrong_id = replace(draft.keys, log=(f"{name}+00000000+{key}", *draft.keys.log[1:]))
    other_type = bytes([2]) + bytes(32)
    unknown = f"{ORIGIN}+{key_id(ORIGIN, 2, bytes(32)):08x}+{encode(other_type)}"
    more = replace(draft.keys, log=(*draft.keys.log, unknown))
    bare = replace(draft, keys=replace(draft.keys, certificate=()))
    said = {name: getattr(bare, name) for name in UnsignedCertificate.__dataclass_fields__}
    kid = draft.keys.certificate[0].kid
    unnamed = Certificate(
        **said,
        signature=Signature(kid=kid, value=house.keys.certificate.sign(bare.unsigned_bytes())),
    ).encode()

    def case(name: str, why: str, code: str, data: bytes, trust: str | None) -> Case:
        verdict = {"match": "confirmed", "unknown_key": "undecided"}.get(code, "not_genuine")
        return Case(name=name, why=why, certificate=data, verdict=verdict, code=code, trust=trust)

    def unknown_key(name: str, why: str, **other: Any) -> Case:
        return case(name, why, "unknown_key", sealed, replace(trusted, **other).encode())

    return [
        unknown_key("unknown_key_of_trust_origin_fail", "The trust file is of another origin and "
                    "lists the same keys.", origin="log.elsewhere.example"),
        unknown_key("unknown_key_of_certificate_fail", "The trust file lists another certificate "
                    "key.", certificate_keys=theirs.certificate_keys),
        unknown_key("unknown_key_of_statement_fail", "The trust file lists another statement key, "
                    "though the certificate embeds the right one.",
                    statement_keys=theirs.statement_keys),
        unknown_key("unknown_key_of_checkpoint_fail", "The trust file lists other keys of the log "
                    "under its origin.", log_keys=theirs.log_keys),
        unknown_key("unknown_key_of_nothing_listed_fail", "Every list of the trust file is empty.",
                    log_keys=(), statement_keys=(), certificate_keys=(), timestamp_roots=()),
        case("unknown_key_of_issuer_origin_fail", "issuer.origin is not the trust file's.",
             "unknown_key", house.seal(elsewhere), house.trust()),
        case("match_embedded_issuer_origin_differs", "Without a trust file issuer.origin is "
             "compared with nothing.", "match", house.seal(elsewhere), None),
        case("match_embedded_forged", "The impostor's certificate without a trust file: unchanged "
             "in itself, which says nothing of who issued it.", "match",
             impostor.seal(impostor.draft()), None),
        case("embedded_statement_key_missing_fail", "No statement key is embedded and there is no "
             "trust file.", "unknown_key", no_statement_key, None),
        case("match_statement_key_trusted_only", "No statement key is embedded; the trust file "
             "has it.", "match", no_statement_key, house.trust()),
        case("embedded_log_keys_missing_fail", "No key of the log is embedded and there is no "
             "trust file.", "unknown_key", no_log_keys, None),
        case("keys_log_wrong_id_fail", "A key id in keys.log is not that of its key.",
             "certificate_altered", house.seal(replace(draft, keys=wrong_id)), house.trust()),
        case("keys_log_unknown_type_fail", "A key of type 0x02 stands in keys.log.",
             "certificate_altered", house.seal(replace(draft, keys=more)), None),
        case("signature_kid_not_embedded_fail", "The signature holds, and keys.certificate does "
             "not have its key.", "signature_invalid", unnamed, house.trust()),
    ]  # fmt: skip


# --- record and disclosures ----------------------------------------------------------------------


def disclosure(json_text: str) -> str:
    return base64.urlsafe_b64encode(json_text.encode()).rstrip(b"=").decode()


def record(
    disclosures: Sequence[str], change: Callable[[dict[str, Any]], Mapping[str, Any]] = dict
) -> Record:
    members = {
        "_sd": sorted(map(disclosure_digest, disclosures)),
        "_sd_alg": "sha-256",
        "id": "01a20cd5-6bb0-7a1c-8f2e-5d1f0a7be6c2",
        "received_at": rfc3339(RECEIVED),
        "type": EVIDENCE,
    }
    return Record(canonical(change(members)).decode(), tuple(disclosures))


def record_cases(house: House) -> list[Case]:
    content, court_case, depositor = house.record.disclosures
    sha256 = hashlib.sha256(CONTENT).hexdigest()

    def of(*disclosures: str) -> Record:
        return record(disclosures)

    def content_with(size: str) -> Record:
        digests = f'{{"digests":{{"sha-256":"{sha256}"}}'
        return of(disclosure(f'["","content",{digests}{size}}}]'), depositor)

    mismatch, proof, good = (
        ("not_genuine", "record_mismatch"), ("undecided", "proof_missing"), ("confirmed", "match"),
    )  # fmt: skip
    three = (content, court_case, depositor)
    table: tuple[tuple[str, str, tuple[str, str], Record], ...] = (
        ("record_digests_unsorted_fail", "_sd is not sorted.", mismatch,
         record(three, lambda m: {**m, "_sd": m["_sd"][::-1]})),
        ("record_digest_twice_fail", "One digest stands twice in _sd.", mismatch,
         record(three, lambda m: {**m, "_sd": [m["_sd"][0], *m["_sd"]]})),
        ("record_member_more_fail", "The record has a sixth member.", mismatch,
         record(three, lambda m: {**m, "version": 1})),
        ("record_of_an_event_fail", "The record is of a custody event.", mismatch,
         record(three, lambda m: {**m, "type": "custody-event/v1"})),
        ("disclosure_name_twice_fail", "A name stands twice in a section's value.", mismatch,
         of(content, disclosure('["","note",{"a":1,"a":2}]'))),
        ("disclosure_fraction_fail", "A section's value is a number with a fraction.", mismatch,
         of(content, disclosure('["","note",1.5]'))),
        ("disclosure_lone_surrogate_fail", "A section's name is a lone surrogate.", mismatch,
         of(content, disclosure('["","\\ud800",1]'))),
        ("disclosure_of_four_fail", "A disclosure is an array of four.", mismatch,
         of(content, disclosure('["","note",1,2]'))),
        ("disclosure_salt_is_a_number_fail", "A salt is a number.", mismatch,
         of(content, disclosure('[1,"note",1]'))),
        ("content_without_size_fail", "Section content has no size: nothing in it is used.",
         proof, content_with("")),
        ("content_size_is_true_fail", "Section content's size is true, which is no integer.",
         proof, content_with(',"size":true')),
        ("size_mismatch_fail", "The record states the right digest and one byte more.",
         ("not_this_file", "size_mismatch"), content_with(f',"size":{len(CONTENT) + 1}')),
        ("match_disclosure_not_canonical", "A disclosure with spaces and unsorted names: the "
         "digest covers its text, not its form.", good,
         of(content, disclosure('[ "salt" , "case" , {"title": "x", "court": "y"} ]'))),
        ("match_unknown_section", "A section of a name that no table has, and an empty salt.",
         good, of(content, disclosure('["","weather",["rain",1,null]]'))),
        ("match_digest_in_record_is_any_text", "An entry of _sd is no digest: it stands for a "
         "section that nobody can disclose.", good,
         record(three, lambda m: {**m, "_sd": sorted([*m["_sd"], "x"])})),
    )  # fmt: skip
    cases = []
    for name, why, (verdict, code), made in table:
        its = House("main", record=made)
        cases.append(
            Case(
                name=name, why=why, certificate=its.seal(its.draft()), verdict=verdict, code=code,
                trust=its.trust(),
            )
        )  # fmt: skip
    return cases


# --- statement -----------------------------------------------------------------------------------


def _protected(house: House, **other: Any) -> dict[int, Any]:
    header: dict[int, Any] = {
        1: -8,
        4: house.statements.kid,
        15: {1: other.get("issuer", ORIGIN), 2: f"urn:uuid:{seed('subject')[:16].hex()}"},
        258: -16,
        259: EVIDENCE_TYPE,
    }
    header.update(other.get("more", {}))
    return header


def statement_cases(house: House) -> list[Case]:
    digest = house.record.digest()

    def signed(
        protected: bytes, *, unprotected: Mapping[int, Any] | None = None, tag: bytes = b"\xd2",
        length: bytes = b"\x58\x20",
    ) -> bytes:  # fmt: skip
        to_sign = cbor2.dumps(["Signature1", protected, b"", digest])
        signature = house.keys.statement.sign(to_sign)
        header = cbor2.dumps(protected) + cbor2.dumps(dict(unprotected or {}))
        return tag + b"\x84" + header + length + digest + b"\x58\x40" + signature

    def right(**other: Any) -> bytes:
        return cbor2.dumps(_protected(house, **other), canonical=True)

    upside_down = dict(reversed(_protected(house).items()))
    table: tuple[tuple[str, str, bytes], ...] = (
        ("statement_not_shortest_fail", "The payload's length is written in three bytes.",
         signed(right(), length=b"\x59\x00\x20")),
        ("statement_protected_member_more_fail", "The protected header has a sixth member.",
         signed(right(more={3: "text/plain"}))),
        ("statement_unprotected_header_fail", "The unprotected header is not empty.",
         signed(right(), unprotected={99: 0})),
        ("statement_header_order_fail", "The members of the protected header are not sorted.",
         signed(cbor2.dumps(upside_down))),
        ("statement_untagged_fail", "Tag 18 is missing.", signed(right(), tag=b"")),
        ("statement_header_is_an_array_fail", "The protected header is an array.",
         signed(cbor2.dumps([1, 2]))),
        ("statement_of_another_issuer_fail", "The statement's issuer is not log.origin.",
         signed(right(issuer="log.elsewhere.example"))),
    )  # fmt: skip
    odd = House("main", statement=signed(right()))
    cases = [
        Case(
            name="match_subject_is_any_text",
            why="The subject is not of the form that the house writes: it means nothing.",
            certificate=odd.seal(odd.draft()), verdict="confirmed", code="match", trust=odd.trust(),
        )
    ]  # fmt: skip
    for name, why, statement in table:
        its = House("main", statement=statement)
        cases.append(
            Case(
                name=name, why=why, certificate=its.seal(its.draft()), verdict="not_genuine",
                code="statement_invalid", trust=its.trust(),
            )
        )  # fmt: skip
    return cases


# --- the place in the ledger ---------------------------------------------------------------------


def place_cases() -> list[Case]:
    cases = []
    for name, why, index, size in (
        ("match_last_entry", "The last of seven entries: its proof skips the levels on which it "
         "has no sibling.", 6, 7),
        ("match_lone_entry", "The only entry of a ledger: its proof is empty.", 0, 1),
        ("match_first_of_eight", "The first entry of a full tree.", 0, 8),
    ):  # fmt: skip
        its = House("main", index=index, size=size)
        cases.append(
            Case(
                name=name, why=why, certificate=its.seal(its.draft()), verdict="confirmed",
                code="match", trust=its.trust(),
            )
        )  # fmt: skip
    its = House("main", index=6, size=7)
    draft = its.draft()
    padded = (*draft.log.inclusion_proof, draft.log.inclusion_proof[-1])
    certificate = its.seal(replace(draft, log=replace(draft.log, inclusion_proof=padded)))
    cases.append(
        Case(
            name="inclusion_last_entry_hash_more_fail",
            why=f"The last entry's proof with as many hashes as that of entry {INDEX}.",
            certificate=certificate, verdict="not_genuine", code="inclusion_proof_invalid",
            trust=its.trust(),
        )
    )  # fmt: skip
    return cases
