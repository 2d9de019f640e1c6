"""verify.html and `notary verify` say the same of a part that is spoiled and signed over again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certs.certificate import Certificate, UnsignedCertificate, parse_certificate
from tests.harness.browser_page import BrowserPage
from tests.page.test_same_verdicts import FLIPS, VECTORS, by_python, compared
from tests.vectors.certificates.house import House

Put = Callable[[Certificate, bytes], UnsignedCertificate]


@pytest.fixture(scope="module")
def house() -> House:
    """Of the vectors: its keys sign what was spoiled."""
    return House("main")


def flipped(whole: bytes, flips: int) -> Iterator[bytes]:
    for at in range(0, len(whole), max(1, len(whole) // flips)):
        yield whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]


def put_list(certificate: Certificate, data: bytes) -> UnsignedCertificate:
    (stamp,) = certificate.timestamps
    assert stamp.revocation is not None
    said = replace(stamp.revocation, crls=(data,))
    return replace(certificate, timestamps=(replace(stamp, revocation=said),))


def put_answer(certificate: Certificate, data: bytes) -> UnsignedCertificate:
    (stamp,) = certificate.timestamps
    assert stamp.revocation is not None
    said = replace(stamp.revocation, responses=(data,))
    return replace(certificate, timestamps=(replace(stamp, revocation=said),))


def put_record(certificate: Certificate, data: bytes) -> UnsignedCertificate:
    (record,) = certificate.evidence_records
    return replace(certificate, evidence_records=(replace(record, record=data),))


def put_token(certificate: Certificate, data: bytes) -> UnsignedCertificate:
    stamp, *others = certificate.timestamps
    return replace(certificate, timestamps=(replace(stamp, response=data), *others))


def part_of(case: str, certificate: Certificate) -> tuple[bytes, Put]:
    stamp = certificate.timestamps[0]
    if "record" in case:
        return certificate.evidence_records[0].record, put_record
    if stamp.revocation is None:
        return stamp.response, put_token
    if stamp.revocation.crls:
        return stamp.revocation.crls[0], put_list
    return stamp.revocation.responses[0], put_answer


@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize(
    "case",
    [
        "match_revocation_list", "revocation_list_of_its_place_fail", "match_revocation_answer",
        "revocation_answer_by_responder_fail", "match_evidence_record_rehashed", "match_withheld",
    ],
)  # fmt: skip
def test_of_a_part_with_a_byte_flipped_the_page_says_what_the_command_says(
    verifier: BrowserPage, house: House, tmp_path: Path, case: str, flips: int
) -> None:
    folder = VECTORS / case
    certificate = parse_certificate((folder / "certificate.json").read_bytes())
    whole, put = part_of(case, certificate)
    path = tmp_path / "certificate.json"
    for number, data in enumerate(flipped(whole, flips)):
        spoiled = put(certificate, data)
        fields = {n: getattr(spoiled, n) for n in UnsignedCertificate.__dataclass_fields__}
        path.write_bytes(house.seal(UnsignedCertificate(**fields)))
        given = (path, folder / "content", folder / "trust.toml")
        report = verifier.judge(*given)
        assert compared(report) == compared(by_python(*given)), number
