"""Writes the vectors of containers: `python -m tests.vectors.containers.regenerate`.

`tests/certs/test_more_vectors.py` checks them; a new one needs no code there. What is there keeps
its bytes: only cases without a folder are written. In place of the two verifiers, which are large,
stands a line of text.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.asic import (
    MANIFEST_NAME,
    MANIFEST_TOKEN_NAME,
    Extended,
    prepare_extended,
    write_extended,
    write_simple,
)
from certs.bundle import write_bundle
from certs.certificate import Certificate, EvidenceRecordOf, parse_certificate
from notary.ers import ArchiveTimestamp, EvidenceRecord
from notary.tlog.proof import TlogProof
from notary.tsp import parse_response
from tests.vectors.certificates.case import STATUS
from tests.vectors.certificates.cases_of_age import house_of
from tests.vectors.certificates.house import CONTENT, House

HERE = Path(__file__).parent
ORIGINAL = "original/minutes.txt"
Members = dict[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    why: str
    data: bytes
    verdict: str
    code: str
    container: bool
    """Whether a validator of ASiC-E accepts it."""

    file: str = "bundle.asice"


def _token(house: House, covers: str, data: bytes) -> bytes:
    return parse_response(house.timestamp(covers, hashlib.sha256(data).digest()).response).der


def certificate_of(house: House, *, record: bool = False) -> Certificate:
    draft = house.draft()
    if record:
        stamp = house.timestamp("record", hashlib.sha256(CONTENT).digest())
        only = ArchiveTimestamp(token=parse_response(stamp.response).der, reduced=None)
        its = EvidenceRecordOf(
            authority=stamp.authority, self_operated=True, certificates=stamp.chain,
            record=EvidenceRecord(algorithms=("sha256",), chains=((only,),)).encode(),
        )  # fmt: skip
        draft = replace(draft, evidence_records=(its,))
    return parse_certificate(house.seal(draft))


def proof_of(certificate: Certificate) -> bytes:
    log = certificate.log
    return TlogProof(
        index=log.index, path=log.inclusion_proof, checkpoint=log.checkpoint.encode()
    ).encode()


def prepared(house: House, certificate: Certificate, *, stored: bool = True) -> Extended:
    return prepare_extended(
        certificate, has_original=stored, pdfs={}, proof=proof_of(certificate),
        receipt=b"(not in this example)\n", trust=house.trust(),
        verifier=b"(not in this example)\n", page=b"(not in this example)\n",
    )  # fmt: skip


def whole(house: House, made: Extended) -> bytes:
    original = partial(io.BytesIO, CONTENT) if made.has_original else None
    token = _token(house, "manifest", made.manifest)
    return b"".join(write_extended(made, token=token, original=original))


def packed(data: bytes, change: Callable[[Members], Members]) -> bytes:
    """The container with other members, and right CRC-32s."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        entries = {each.filename: each for each in old.infolist()}
        members = change({name: old.read(name) for name in entries})
    first, sink = next(iter(entries.values())), io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as new:
        for name, content in members.items():
            new.writestr(entries.get(name) or zipfile.ZipInfo(name, first.date_time), content)
    return sink.getvalue()


def flip(name: str, at: int = -2) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        raw = bytearray(members[name])
        raw[at] ^= 1
        return members | {name: bytes(raw)}

    return change


def swap(name: str, old: bytes, new: bytes) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        assert old in members[name]
        return members | {name: members[name].replace(old, new)}

    return change


def without(name: str) -> Callable[[Members], Members]:
    return lambda members: {each: data for each, data in members.items() if each != name}


def good_cases(house: House) -> list[Case]:
    plain, aged = certificate_of(house), certificate_of(house, record=True)
    token = _token(house, "original", CONTENT)
    bundle = write_bundle(
        plain, original=io.BytesIO(CONTENT), pdfs={}, proof=proof_of(plain), trust=house.trust()
    )
    simple = write_simple(plain, token=token, original=partial(io.BytesIO, CONTENT))
    case = partial(Case, verdict="confirmed", code="match", container=True)
    return [
        case(name="match", why="An ASiC-E container with everything in it.",
             data=whole(house, prepared(house, plain))),
        case(name="match_evidence_record", why="With an evidence record and its own manifest.",
             data=whole(house, prepared(house, aged))),
        case(name="match_bundle_zip", why="A plain bundle: no ASiC container, and as good for a "
             "verifier.", data=b"".join(bundle), file="bundle.zip", container=False),
        Case(name="simple_fail", why="An ASiC-S container has no certificate.",
             data=b"".join(simple), file="bundle.asics", verdict="undecided",
             code="certificate_unreadable", container=False),
    ]  # fmt: skip


def digest_only_cases(house: House) -> list[Case]:
    empty = whole(house, prepared(house, certificate_of(house), stored=False))
    case = partial(Case, container=True)
    return [
        case(name="digest_only_fail", why="Only a digest was registered: the place of the file is "
             "free.", data=empty, verdict="undecided", code="no_document"),
        case(name="match_digest_only_filled", why="The depositor put the file at its place: the "
             "manifest, which does not name it, still holds.",
             data=packed(empty, lambda m: m | {"original/any name.txt": CONTENT}),
             verdict="confirmed", code="match_digest_only_record"),
        case(name="digest_only_filled_with_another_fail", why="Another file was put there.",
             data=packed(empty, lambda m: m | {"original/any name.txt": b"another file\n"}),
             verdict="not_this_file", code="digest_mismatch"),
    ]  # fmt: skip


def altered_cases(house: House) -> list[Case]:
    data = whole(house, prepared(house, certificate_of(house, record=True)))
    other = _token(house, "manifest", b"another manifest")
    record = "META-INF/evidencerecord001.ers"
    purpose = swap("certificate.json", b'"issued_for":"generic"', b'"issued_for":"another"')
    second = packed(data, lambda m: m | {"original/second.txt": b"x"})
    changes: tuple[tuple[str, str, str, str, Callable[[Members], Members]], ...] = (
        ("original_altered_fail", "One bit of the original differs.", "not_this_file",
         "digest_mismatch", flip(ORIGINAL)),
        ("certificate_altered_fail", "The certificate's purpose was changed.", "not_genuine",
         "signature_invalid", purpose),
        ("certificate_absent_fail", "There is no certificate in it.", "undecided",
         "certificate_unreadable", without("certificate.json")),
        ("original_removed_fail", "The original was taken out: the manifest still names it.",
         "undecided", "no_document", without(ORIGINAL)),
        ("match_readme_altered", "A file that proves nothing was changed: a validator of the "
         "container sees it, the certificate and the original are as they were.", "confirmed",
         "match", flip("README.txt")),
        ("match_manifest_altered", "The manifest was changed, and with it a digest.", "confirmed",
         "match", swap(MANIFEST_NAME, b'URI="README.txt"', b'URI="README.TXT"')),
        ("match_token_of_another_manifest", "The token is over something else.", "confirmed",
         "match", lambda m: m | {MANIFEST_TOKEN_NAME: other}),
        ("match_token_absent", "The token over the manifest is not there.", "confirmed", "match",
         without(MANIFEST_TOKEN_NAME)),
        ("match_record_altered", "The evidence record in META-INF was changed; the one in the "
         "certificate was not.", "confirmed", "match", flip(record)),
        ("match_type_altered", "mimetype says another type.", "confirmed", "match",
         flip("mimetype", 0)),
    )  # fmt: skip
    cases = [
        Case(
            name=name, why=why, data=packed(data, change), verdict=verdict, code=code,
            container=False,
        )
        for name, why, verdict, code, change in changes
    ]  # fmt: skip
    two = Case(
        name="two_originals_fail", why="Two files are there: which one is meant is not said.",
        data=second, verdict="undecided", code="certificate_unreadable", container=True,
    )  # fmt: skip
    cut = Case(
        name="cut_fail", why="The file lacks its last byte.", data=data[:-1],
        verdict="undecided", code="certificate_unreadable", container=False,
    )  # fmt: skip
    return [*cases, two, cut]


def main() -> None:
    house = House("main")
    for case in [*good_cases(house), *altered_cases(house)]:
        write(case, house)
    its = house_of((), stored=False)
    for case in digest_only_cases(its):
        write(case, its)


def write(case: Case, house: House) -> None:
    folder = HERE / case.name
    if folder.exists():
        return
    folder.mkdir()
    folder.joinpath("README").write_text(case.why + "\n", "utf-8")
    folder.joinpath(case.file).write_bytes(case.data)
    folder.joinpath("trust.toml").write_text(house.trust(), "utf-8")
    root = x509.load_der_x509_certificate(house.authority.roots[0])
    folder.joinpath("roots.pem").write_bytes(root.public_bytes(Encoding.PEM))
    expected = {
        "verdict": case.verdict,
        "code": case.code,
        "exit_status": STATUS[case.verdict],
        "trusted_keys": True,
        "container": "holds" if case.container else "broken",
    }
    text = json.dumps(expected, indent=2) + "\n"
    folder.joinpath("expected.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
