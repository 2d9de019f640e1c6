"""A byte flipped anywhere in a certificate: never *confirmed*, never a traceback.

In a PDF or a bundle most bytes are not part of the proof: there a flip may leave the verdict
standing only if the certificate read from it is, to the byte, the one that was issued.
"""

from __future__ import annotations

import random

import pytest

from certs.container import Contents, read_container
from certs.errors import CertificateMalformed
from notary.digest import Digester
from notary.report import report_object
from notary.trust import parse_trust
from notary.verdict import Document, Report, Verdict
from notary.verify import verify
from tests.harness.certified import DOCUMENT, Papers, certify

SAMPLE = 400


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return certify(tmp_path_factory.mktemp("papers"))


def document(content: bytes) -> Document:
    digester = Digester()
    digester.update(content)
    return Document(digests=digester.digests(), size=digester.size)


def read(data: bytes) -> Contents | None:
    try:
        return read_container(data, "mutated")
    except CertificateMalformed:
        return None


def flipped(data: bytes, position: int) -> bytes:
    """One bit of the byte, another one at each position."""
    return data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :]


def told(report: Report) -> Report:
    """The report, after it was put into words: no code may be without them."""
    assert report_object(report, "en")["headline"]
    return report


def test_every_byte_of_certificate_json_counts(papers: Papers) -> None:
    original, ours = papers.certificate.read_bytes(), document(DOCUMENT)
    # Without a trust file: whoever flips a key is not stopped by ours.
    assert verify(original, ours, None).verdict is Verdict.CONFIRMED
    for position in range(len(original)):
        mutated = flipped(original, position)
        contents = read(mutated)
        report = verify(b"" if contents is None else contents.certificate, ours, None)
        assert told(report).verdict is not Verdict.CONFIRMED, (position, mutated[position])


def test_every_byte_of_certificate_json_may_be_missing_or_doubled_to_no_avail(
    papers: Papers,
) -> None:
    original, ours = papers.certificate.read_bytes(), document(DOCUMENT)
    for position in random.Random(1).sample(range(len(original)), SAMPLE):
        for mutated in (
            original[:position] + original[position + 1 :],
            original[: position + 1] + original[position:],
            original[:position],
        ):
            if mutated != original:
                assert told(verify(mutated, ours, None)).verdict is not Verdict.CONFIRMED, position


@pytest.mark.parametrize("form", ["pdf", "bundle", "extended"])
def test_byte_flipped_in_a_container_never_changes_what_is_confirmed(
    papers: Papers, form: str
) -> None:
    data, issued = getattr(papers, form).read_bytes(), papers.certificate.read_bytes()
    trust = parse_trust(papers.trust.read_text("utf-8"))
    for position in random.Random(form).sample(range(len(data)), SAMPLE):
        mutated = flipped(data, position)
        contents = read(mutated)
        certificate = b"" if contents is None else contents.certificate
        content = DOCUMENT
        if contents is not None and contents.original is not None:
            place = contents.original
            content = mutated[place.offset : place.offset + place.size]
        report = told(verify(certificate, document(content), trust))
        if report.verdict is Verdict.CONFIRMED:
            assert certificate == issued, position
            assert content == DOCUMENT, position


@pytest.mark.parametrize("form", ["bundle", "extended"])
def test_byte_flipped_in_the_original_of_a_bundle_is_found(papers: Papers, form: str) -> None:
    data = getattr(papers, form).read_bytes()
    place = read_container(data, "bundle").original
    assert place is not None
    for position in range(place.offset, place.offset + place.size, 97):
        mutated = flipped(data, position)
        contents = read(mutated)
        assert contents is not None
        content = mutated[place.offset : place.offset + place.size]
        report = verify(contents.certificate, document(content), None)
        assert report.verdict is Verdict.NOT_THIS_FILE
