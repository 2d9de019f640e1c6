"""Cases of evidence records (RFC 4998), of sections withheld, of originals not kept, and of files
that an honest mistake made another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from certs.certificate import EvidenceRecordOf, UnsignedCertificate, Withheld
from certs.reading import b64url
from notary.digest import Digester
from notary.ers import (
    ArchiveTimestamp,
    Chain,
    EvidenceRecord,
    join,
    levels_of,
    path_in,
    reduced_hashtree,
    renewed_value,
)
from notary.record import EVIDENCE, build_record, disclosure_digest
from tests.harness.tokens import DAY, Draft, Issued, issue
from tests.vectors.certificates.case import Case
from tests.vectors.certificates.cases_of_time import GEN_TIME
from tests.vectors.certificates.house import CONTENT, RECEIVED, House, seed

YEAR = 365 * DAY
START = GEN_TIME.replace(microsecond=0)
DIGESTS = {name: hashlib.new(name, CONTENT).digest() for name in ("sha256", "sha512")}


def all_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    return [
        *of_records(house, draft), *of_withheld(house, draft), *of_content(),
        *of_documents(house, draft),
    ]  # fmt: skip


# --- evidence records -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Authorities under one root, whose certificates end one after the other."""

    root: Issued
    signers: tuple[Issued, ...]

    @classmethod
    def found(cls) -> Archive:
        root = issue("Archive root", ca=True, valid=(START - DAY, START + 40 * YEAR))
        signers = tuple(
            issue(f"Archive authority {n}", issuer=root, valid=(START - DAY, START + years * YEAR))
            for n, years in enumerate((2, 6), 1)
        )
        return cls(root=root, signers=signers)

    def token(self, number: int, imprint: bytes, at: datetime, algorithm: str = "sha256") -> bytes:
        return Draft(
            signer=self.signers[number], imprint=imprint, imprint_algorithm=algorithm, gen_time=at
        ).token()

    def first(self, document: bytes = CONTENT, at: datetime = START) -> ArchiveTimestamp:
        """In a tree with four others, as the house makes them."""
        leaves = [hashlib.sha256(each).digest() for each in (document, b"1", b"2", b"3", b"4")]
        blinds = [seed(f"blind {n}") for n in range(5)]
        nodes = [join("sha256", *pair) for pair in zip(leaves, blinds, strict=True)]
        levels = levels_of(nodes, "sha256")
        lists = reduced_hashtree(leaves[0], (blinds[0], *path_in(levels, 0)))
        return ArchiveTimestamp(token=self.token(0, levels[-1][0], at), reduced=lists)

    def renewal(self, old: ArchiveTimestamp, at: datetime) -> ArchiveTimestamp:
        value = hashlib.sha256(old.token).digest()
        return ArchiveTimestamp(token=self.token(1, value, at), reduced=None)

    def rehashed(self, chains: tuple[Chain, ...], at: datetime) -> Chain:
        value = renewed_value("sha512", DIGESTS["sha512"], chains)
        return (ArchiveTimestamp(token=self.token(1, value, at, "sha512"), reduced=None),)

    def given(self, record: bytes) -> tuple[EvidenceRecordOf, ...]:
        ders = tuple(each.der for each in (*self.signers, self.root))
        return (
            EvidenceRecordOf(
                authority="Archive", self_operated=False, record=record, certificates=ders
            ),
        )


def _record(*chains: Sequence[ArchiveTimestamp], names: tuple[str, ...] = ("sha256",)) -> bytes:
    return EvidenceRecord(algorithms=names, chains=tuple(map(tuple, chains))).encode()


def of_records(house: House, draft: UnsignedCertificate) -> list[Case]:
    archive = Archive.found()
    trust = replace(
        house.trusted(), timestamp_roots=(*house.authority.roots, archive.root.der)
    ).encode()
    first = archive.first()
    alone = ArchiveTimestamp(token=archive.token(0, DIGESTS["sha256"], START), reduced=None)
    renewal = archive.renewal(first, START + YEAR)
    chain = (first, renewal)
    rehashed = archive.rehashed((chain,), START + 3 * YEAR)
    both = _record(chain, rehashed, names=("sha256", "sha512"))
    spoiled = bytearray(_record([first]))
    spoiled[-1] ^= 1
    assert first.reduced is not None
    shorter = replace(first, reduced=first.reduced[:-1])
    with_sha512 = house_of(("sm3", "sha-512"))

    def case(name: str, why: str, code: str, record: bytes, **other: Any) -> Case:
        by = other.pop("by", house)
        base = draft if by is house else by.draft()
        certificate = by.seal(replace(base, evidence_records=archive.given(record)))
        verdict = "confirmed" if code == "match" else "not_genuine"
        given: dict[str, Any] = {"trust": trust, "verdict": verdict, **other}
        return Case(name=name, why=why, code=code, certificate=certificate, **given)

    own = replace(
        with_sha512.trusted(), timestamp_roots=(*with_sha512.authority.roots, archive.root.der)
    ).encode()
    bad = "evidence_record_invalid"
    return [
        case("match_evidence_record", "One token over the file's digest itself.", "match",
             _record([alone])),
        case("match_evidence_record_tree", "One token over a tree in which the file is one of "
             "five.", "match", _record([first])),
        case("match_evidence_record_renewed", "The token was renewed while its certificate was "
             "valid.", "match", _record(chain)),
        case("match_evidence_record_rehashed", "Renewed by SHA-512, of which section content has "
             "the digest.", "match", both, by=with_sha512, trust=own),
        case("match_evidence_record_digest_missing", "Renewed by SHA-512, of which nothing is "
             "known: the check is not made.", "match", both),
        case("match_evidence_record_untrusted", "The trust file has not the root: the check is not "
             "made.", "match", _record([first]), trust=house.trust()),
        case("match_evidence_record_embedded", "Without a trust file the embedded root is used.",
             "match", _record([first]), trust=None),
        case("evidence_record_of_another_fail", "The record is of another document.", bad,
             _record([archive.first(b"another")])),
        case("evidence_record_list_missing_fail", "The tree lacks its last list.", bad,
             _record([shorter])),
        case("evidence_record_token_spoiled_fail", "One bit of the token's signature differs.", bad,
             bytes(spoiled)),
        case("evidence_record_cut_fail", "The record lacks its last byte.", bad,
             _record([first])[:-1]),
        case("evidence_record_order_fail", "The renewal is older than what it renews.", bad,
             _record([first, archive.renewal(first, START - timedelta(hours=1))])),
        case("evidence_record_too_late_fail", "Renewed when the first certificate had ended.", bad,
             _record([first, archive.renewal(first, START + 3 * YEAR)])),
        case("evidence_record_renewal_of_another_fail", "The renewal is over another token.", bad,
             _record([first, archive.renewal(alone, START + YEAR)])),
        case("evidence_record_algorithms_fail", "It names an algorithm that no chain uses.", bad,
             _record([first], names=("sha256", "sha512"))),
        case("evidence_record_rehashed_of_another_fail", "The second chain is over other chains "
             "than the first.", bad, _record([first], rehashed, names=("sha256", "sha512")),
             by=with_sha512, trust=own),
    ]  # fmt: skip


# --- what the record shows ------------------------------------------------------------------------


def house_of(algorithms: tuple[str, ...] = ("sm3",), *, stored: bool = True) -> House:
    digester = Digester(algorithms)
    digester.update(CONTENT)
    content = {
        "digests": digester.digests(),
        "size": len(CONTENT),
        "name": "minutes.txt",
        "media_type": {"declared": "text/plain", "detected": None},
        "stored": stored,
    }
    record = build_record(
        type_=EVIDENCE, id_="01a20cd5-6bb0-7a1c-8f2e-5d1f0a7be6c2", received_at=RECEIVED,
        sections={"content": content}, salts=seed("salt of content"),
    )  # fmt: skip
    return House("main", record=record)


def of_content() -> list[Case]:
    its = house_of(stored=False)
    return [
        Case(
            name="match_digest_only_record", verdict="confirmed", code="match_digest_only_record",
            why="The house never had the file, only its digest.",
            certificate=its.seal(its.draft()), trust=its.trust(),
        ),
    ]  # fmt: skip


def of_withheld(house: House, draft: UnsignedCertificate) -> list[Case]:
    hidden = {
        name: hashlib.sha256(text.encode("ascii")).digest()
        for name, text in zip(("content", "case", "depositor"), draft.disclosures, strict=True)
    }
    assert b64url(hidden["case"]) == disclosure_digest(draft.disclosures[1])
    shown, trust = draft.disclosures[:1], house.trust()
    case, depositor = (Withheld(section=n, digest=hidden[n]) for n in ("case", "depositor"))

    def made(name: str, why: str, code: str, *withheld: Withheld, **other: Any) -> Case:
        given: dict[str, Any] = {"disclosures": shown, **other}
        sealed = house.seal(replace(draft, withheld=withheld, **given))
        verdict = {"match": "confirmed", "proof_missing": "undecided"}.get(code, "not_genuine")
        return Case(name=name, why=why, code=code, certificate=sealed, verdict=verdict, trust=trust)

    bad = "certificate_altered"
    return [
        made("match_withheld", "Two sections are withheld, and named.", "match", case, depositor),
        made("content_withheld_named_fail", "Section content is withheld, and named.",
             "proof_missing", Withheld(section="content", digest=hidden["content"]),
             disclosures=draft.disclosures[1:]),
        made("withheld_one_not_named_fail", "Two sections are left out, one is named.", bad, case),
        made("withheld_digest_of_none_fail", "A digest is named that the record has not.", bad,
             case, replace(depositor, digest=bytes(32))),
        made("withheld_is_shown_fail", "What is said to be withheld is shown.", bad, case,
             depositor, disclosures=draft.disclosures),
        made("withheld_name_is_shown_fail", "A withheld section has the name of a shown one.", bad,
             case, replace(depositor, section="content")),
        made("withheld_name_twice_fail", "Two withheld sections have one name.", bad, case,
             replace(depositor, section="case")),
        made("withheld_digest_twice_fail", "Two withheld sections have one digest.", bad, case,
             depositor, replace(case, section="links")),
    ]  # fmt: skip


# --- another file, by an honest mistake -----------------------------------------------------------


def of_documents(house: House, draft: UnsignedCertificate) -> list[Case]:
    sealed, trust = house.seal(draft), house.trust()
    bom = b"\xef\xbb\xbf"
    windows = CONTENT.replace(b"\n", b"\r\n")
    changes: tuple[tuple[str, str, str, bytes], ...] = (
        ("document_bytes_appended_fail", "Something was appended to the file.", "bytes_appended",
         CONTENT + b"\n%%EOF\n"),
        ("document_bom_fail", "A byte order mark was put before the file.", "bom_only",
         bom + CONTENT),
        ("document_line_ends_fail", "The line ends are those of Windows.", "line_ends_only",
         windows),
        ("document_old_line_ends_fail", "The line ends are CR alone.", "line_ends_only",
         CONTENT.replace(b"\n", b"\r")),
        ("document_line_ends_and_bom_fail", "Line ends of Windows, and a byte order mark.",
         "line_ends_only", bom + windows),
        ("document_line_ends_and_a_word_fail", "Line ends of Windows, and one word is another.",
         "digest_mismatch", windows.replace(b"ended", b"begun")),
    )  # fmt: skip
    return [
        Case(
            name=name, why=why, code=code, content=content, verdict="not_this_file",
            certificate=sealed, trust=trust,
        )
        for name, why, code, content in changes
    ]  # fmt: skip
