"""Certificates that show less: what is left out is named, fixed by the record, and stays fixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certs.canonical import canonical
from certs.certificate import Certificate, Key, Withheld, parse_certificate
from certs.errors import CertificateMalformed, FactRefused
from certs.reading import b64url
from certs.redact import redact
from certs.seal import sign_certificate
from certs.sections import read_sections
from notary.errors import MalformedInput
from notary.issue import Issued
from notary.model import Declared
from notary.office import Office
from notary.verdict import Check, Document, Status, Verdict
from notary.verify import verify
from tests.certs import papers
from tests.harness.certified import DOCUMENT, deposit, depositor, open_house
from tests.harness.rotating import EVERY

KEY = Key.of(papers.SEALING_KEY.public_key().public_bytes_raw())


def shown(*names: str) -> Certificate:
    return sign_certificate(redact(papers.certificate(), names, key=KEY), papers.SEALING_KEY)


def hidden(certificate: Certificate) -> set[str]:
    return {each.section for each in certificate.withheld}


def test_a_redacted_certificate_shows_what_was_chosen_and_names_the_rest() -> None:
    made = shown("content")
    assert hidden(made) == {"case", "depositor"}
    for secret in (b"m.keller", b"Freiburg, Second", b"118/26"):
        assert secret not in made.encode()
        assert b64url(secret)[:-2].encode() not in made.encode()
    whole = papers.certificate()
    assert (made.certificate_id, made.version, made.record, made.times) == (
        whole.certificate_id, whole.version, whole.record, whole.times,
    )  # fmt: skip
    assert parse_certificate(made.encode()) == made
    sections = read_sections(made)
    assert sections.withheld == {"case", "depositor"}
    assert not sections.unclear


def test_of_what_is_withheld_already_more_can_be_withheld_and_nothing_comes_back() -> None:
    once = shown("content", "case")
    twice = sign_certificate(redact(once, ("content",), key=KEY), papers.SEALING_KEY)
    assert hidden(twice) == {"case", "depositor"}
    with pytest.raises(FactRefused, match="no section 'depositor'"):
        redact(once, ("content", "depositor"), key=KEY)


def test_a_section_that_was_never_recorded_cannot_be_shown() -> None:
    with pytest.raises(FactRefused, match="no section 'links'"):
        redact(papers.certificate(), ("content", "links"), key=KEY)


def test_a_certificate_that_withholds_nothing_has_no_such_member() -> None:
    assert b'"withheld"' not in papers.certificate().encode()
    value = json.loads(papers.certificate().encode())
    with pytest.raises(CertificateMalformed, match="empty"):
        parse_certificate(canonical(value | {"withheld": []}))


@pytest.mark.parametrize(
    "spoiled",
    [
        [{"section": "case"}],
        [{"section": "case", "digest": "AA"}],
        [{"section": "", "digest": b64url(bytes(32))}],
        [{"section": "case", "digest": b64url(bytes(32)), "value": 1}],
        {"case": b64url(bytes(32))},
        None,
    ],
)
def test_a_list_of_withheld_sections_in_another_form_is_refused(spoiled: object) -> None:
    value = json.loads(papers.certificate().encode())
    with pytest.raises(CertificateMalformed):
        parse_certificate(canonical(value | {"withheld": spoiled}))


def test_no_paper_is_drawn_that_names_other_sections_than_the_record_s() -> None:
    made = shown("content")
    for wrong in (
        made.withheld[:1],
        (*made.withheld, Withheld(section="links", digest=bytes(32))),
        tuple(replace(each, digest=bytes(32)) for each in made.withheld),
        tuple(replace(each, section="case") for each in made.withheld),
        tuple(replace(each, section="content") for each in made.withheld),
    ):
        with pytest.raises(CertificateMalformed):
            read_sections(replace(made, withheld=wrong))


# --- a real house -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    opened = open_house(tmp_path_factory.mktemp("redacting") / "house")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def issued(house: Office) -> Issued:
    by = depositor(house)
    declared = Declared(
        name="letter.txt",
        media_type="text/plain",
        provenance={"source": "mailbox"},
        document_timestamp=True,
    )
    receipt = deposit(house, by, DOCUMENT, declared)
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    return house.issue.certificate(receipt.deposit, by=by)


ORIGINAL = Document(digests={"sha-256": hashlib.sha256(DOCUMENT).hexdigest()}, size=len(DOCUMENT))


def checks(house: Office, data: bytes) -> tuple[Verdict, str, dict[str, Check]]:
    report = verify(data, ORIGINAL, house.trust)
    return report.verdict, report.code, {check.name: check for check in report.checks}


def test_the_verifier_says_withheld_provably_unchanged(house: Office, issued: Issued) -> None:
    made = house.forms.redacted(issued.certificate, ("content",))
    verdict, code, found = checks(house, made.encode())
    assert (verdict, code) == (Verdict.CONFIRMED, "match")
    assert found["withheld"].status is Status.PASSED
    assert "withheld, provably unchanged" in found["withheld"].detail
    assert "depositor" in found["withheld"].detail and "provenance" in found["withheld"].detail


def test_of_a_certificate_that_shows_all_nothing_is_said_to_be_withheld(
    house: Office, issued: Issued
) -> None:
    assert "withheld" not in checks(house, issued.json)[2]


def test_without_its_content_no_file_can_be_compared_and_nothing_is_called_altered(
    house: Office, issued: Issued
) -> None:
    made = house.forms.redacted(issued.certificate, ("depositor",))
    verdict, code, found = checks(house, made.encode())
    assert (verdict, code) == (Verdict.UNDECIDED, "proof_missing")
    assert found["withheld"].status is Status.PASSED


def test_what_was_withheld_can_only_be_disclosed_as_it_was_registered(
    house: Office, issued: Issued
) -> None:
    made = house.forms.redacted(issued.certificate, ("content",))
    keys = house.keyring.held().keys
    for disclosures, withheld in (
        (made.disclosures, made.withheld[1:]),
        (made.disclosures, (*made.withheld, Withheld(section="case", digest=bytes(32)))),
        (made.disclosures, tuple(replace(each, digest=bytes(32)) for each in made.withheld)),
        (made.disclosures, tuple(replace(each, section="content") for each in made.withheld)),
        (issued.certificate.disclosures, made.withheld),
    ):
        draft = replace(
            redact(issued.certificate, ("content",), key=made.keys.certificate[0]),
            disclosures=disclosures,
            withheld=withheld,
        )
        verdict, code, found = checks(house, sign_certificate(draft, keys.certificate).encode())
        assert (verdict, code) == (Verdict.NOT_GENUINE, "certificate_altered")
        assert found["withheld"].status is Status.FAILED


def test_a_name_of_a_withheld_section_cannot_be_changed_without_the_issuer_s_key(
    house: Office, issued: Issued
) -> None:
    made = house.forms.redacted(issued.certificate, ("content",))
    altered = made.encode().replace(b'"section":"provenance"', b'"section":"prominence"')
    assert altered != made.encode()
    assert checks(house, altered)[:2] == (Verdict.NOT_GENUINE, "signature_invalid")


def test_the_same_sections_give_the_same_bytes(house: Office, issued: Issued) -> None:
    first, again = (house.forms.redacted(issued.certificate, ("content",)) for _ in range(2))
    assert first.encode() == again.encode()


def test_a_section_that_the_registration_has_not_is_refused(house: Office, issued: Issued) -> None:
    with pytest.raises(MalformedInput, match="no section 'case'") as refused:
        house.forms.redacted(issued.certificate, ("content", "case"))
    assert refused.value.code == "section_unknown"


def test_after_a_rotation_of_keys_the_redacted_one_is_signed_by_the_new_one(
    tmp_path: Path,
) -> None:
    house = open_house(tmp_path / "house")
    by = depositor(house)
    receipt = deposit(house, by, DOCUMENT, Declared(name="letter.txt"))
    before = house.issue.certificate(receipt.deposit, by=by)
    house.rotating.rotate(EVERY)
    made = house.forms.redacted(before.certificate, ("content",))
    assert made.signature.kid != before.certificate.signature.kid
    assert checks(house, made.encode())[0] is Verdict.CONFIRMED
    house.close()
