"""The seal on a paper, before judges that nobody here wrote: pyHanko's validation, poppler."""

from __future__ import annotations

import io
import itertools
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pypdf
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from certs import pades
from certs import sealed as values
from certs.errors import SealFailed
from certs.pdf import Paper, render_pdf
from certs.wording import Lang
from notary.authority import EmbeddedAuthority, create_authority
from notary.clock import SystemClock
from notary.private_ca import Issued, issue
from notary.tsa import EmbeddedTransport, request_timestamp
from tests.certs import papers
from tests.harness.pades import is_accepted, judge

WORDS = values.Words(signer="House", reason="Why", seal="The seal", timestamp="The timestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    seal: values.Seal
    stamp: Callable[[bytes], values.Stamp]
    authority: Issued
    issued: Issued

    @property
    def roots(self) -> tuple[bytes, bytes]:
        return self.issued.root, self.authority.root

    def sealed(self, pdf: bytes) -> bytes:
        return pades.seal_pdf(
            pdf, seal=self.seal, stamp=self.stamp, words=WORDS, at=datetime.now(UTC),
            token_bytes=2500,
        )  # fmt: skip


def make_desk() -> Desk:
    made = datetime.now(UTC) - timedelta(hours=1)
    chain, key = create_authority("House", made)
    serials = itertools.count(1)
    authority = EmbeddedTransport(
        EmbeddedAuthority(
            root=chain.root, certificate=chain.certificate, key=key, clock=SystemClock(),
            serials=lambda: next(serials), last_gen_time=lambda: None,
        ),
        name="House",
    )  # fmt: skip

    def stamp(imprint: bytes) -> values.Stamp:
        found = request_timestamp(
            authority, imprint=imprint, nonce=7, now=datetime.now(UTC),
            tolerance=timedelta(seconds=60),
        )  # fmt: skip
        evidence = values.Evidence(certificates=found.verified.chain, crls=(chain.crl,))
        return values.Stamp(response=found.response, evidence=evidence)

    signer = ec.generate_private_key(ec.SECP256R1())
    issued = issue("House", "seal", signer.public_key(), made, commits=True)
    seal = values.Seal(
        certificate=issued.certificate,
        evidence=values.Evidence(certificates=(issued.root,), crls=(issued.crl,)),
        mechanism="sha256_ecdsa",
        sign=lambda data: signer.sign(data, ec.ECDSA(hashes.SHA256())),
    )
    return Desk(seal=seal, stamp=stamp, authority=chain, issued=issued)


@pytest.fixture(scope="module")
def desk() -> Desk:
    return make_desk()


@pytest.fixture(scope="module")
def paper() -> bytes:
    return drawn()


@pytest.fixture(scope="module")
def sealed(desk: Desk, paper: bytes) -> bytes:
    return desk.sealed(paper)


def drawn(lang: Lang = "en", size: Paper = "a4") -> bytes:
    proofs = {"receipt.cose": b"receipt", "proof.tlog-proof": b"proof\n"}
    return render_pdf(
        papers.certificate(), lang=lang, verify_url=None, paper=size, proofs=proofs, sealed=True
    )


def test_pyhanko_accepts_the_paper_at_level_lta_offline(desk: Desk, sealed: bytes) -> None:
    found = judge(sealed, desk.roots)
    assert found.ades_subindic.standard_name == "OK"
    assert found.api_status.modification_level.name == "LTA_UPDATES"
    assert is_accepted(sealed, desk.roots)


@pytest.mark.parametrize("size", ["a4", "letter"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_paper_can_be_sealed(desk: Desk, lang: Lang, size: Paper) -> None:
    assert is_accepted(desk.sealed(drawn(lang, size)), desk.roots)


def test_sealing_only_adds_and_keeps_what_was_drawn(paper: bytes, sealed: bytes) -> None:
    assert sealed.startswith(paper)
    before, after = (pypdf.PdfReader(io.BytesIO(each)) for each in (paper, sealed))
    assert [page.extract_text() for page in before.pages] == [
        page.extract_text() for page in after.pages
    ]
    assert {each.name: each.content for each in before.attachment_list} == {
        each.name: each.content for each in after.attachment_list
    }


def test_the_seal_certifies_and_allows_no_changes(sealed: bytes) -> None:
    root = pypdf.PdfReader(io.BytesIO(sealed)).root_object
    seal = root["/Perms"]["/DocMDP"]  # type: ignore[index]
    assert seal["/SubFilter"] == "/ETSI.CAdES.detached"
    assert seal["/Reference"][0]["/TransformParams"]["/P"] == 1
    assert len(root["/DSS"]["/CRLs"]) == 2  # type: ignore[index]
    assert len(root["/DSS"]["/Certs"]) == 4  # type: ignore[index]


@pytest.mark.parametrize("missing", ["seal", "authority"])
def test_a_root_that_is_not_trusted_is_not_accepted(
    desk: Desk, sealed: bytes, missing: str
) -> None:
    roots = desk.roots[1:] if missing == "seal" else desk.roots[:1]
    assert not is_accepted(sealed, roots)


def test_without_revocation_lists_it_is_not_accepted(desk: Desk, paper: bytes) -> None:
    bare = replace(desk.seal, evidence=replace(desk.seal.evidence, crls=()))
    without = replace(desk, seal=bare)
    assert not is_accepted(without.sealed(paper), desk.roots)


def test_a_seal_by_another_key_than_the_certificates_is_not_accepted(
    desk: Desk, paper: bytes
) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    wrong = replace(desk.seal, sign=lambda data: other.sign(data, ec.ECDSA(hashes.SHA256())))
    assert not is_accepted(replace(desk, seal=wrong).sealed(paper), desk.roots)


def places(sealed: bytes) -> list[int]:
    """In the middle of every object, table and trailer, and around each signature; in the CMS of
    a signature well before the zeros that fill its place up."""
    found = []
    marks = [m.start() for m in re.finditer(rb"\d+ \d+ obj\b|\bxref\b|startxref|%%EOF", sealed)]
    for start, end in itertools.pairwise([0, *marks, len(sealed)]):
        part = sealed[start:end]
        contents = re.search(rb"/Contents <([0-9A-F]+)>", part)
        if contents is None:
            found.append(start + len(part) // 2)
        else:
            found.append(start + contents.start(1) + 400)
            found.append(start + contents.end() + 3)
    return found


@pytest.mark.slow
def test_a_byte_flipped_in_any_object_is_never_accepted(desk: Desk, sealed: bytes) -> None:
    flips = places(sealed)
    assert len(flips) > 60
    accepted = []
    for at in flips:
        altered = bytearray(sealed)
        altered[at] ^= 0x01
        if is_accepted(bytes(altered), desk.roots):
            accepted.append((at, sealed[at - 20 : at + 20]))
    assert accepted == []


def test_a_byte_flipped_in_some_objects_is_never_accepted(desk: Desk, sealed: bytes) -> None:
    for at in places(sealed)[::12]:
        altered = bytearray(sealed)
        altered[at] ^= 0x01
        assert not is_accepted(bytes(altered), desk.roots), at


def test_what_is_appended_is_not_accepted(desk: Desk, sealed: bytes) -> None:
    writer = pypdf.PdfWriter(io.BytesIO(sealed), incremental=True)
    writer.add_metadata({"/Title": "Another title"})
    changed = io.BytesIO()
    writer.write(changed)
    assert not is_accepted(changed.getvalue(), desk.roots)


def test_a_token_larger_than_its_place_is_asked_for_again(desk: Desk, paper: bytes) -> None:
    asked: list[bytes] = []

    def stamp(imprint: bytes) -> values.Stamp:
        asked.append(imprint)
        return desk.stamp(imprint)

    pdf = pades.seal_pdf(
        paper, seal=desk.seal, stamp=stamp, words=WORDS, at=datetime.now(UTC), token_bytes=64
    )
    assert is_accepted(pdf, desk.roots)
    assert len(asked) > 2


def test_what_an_authority_raises_passes_through(desk: Desk, paper: bytes) -> None:
    class GoneError(Exception):
        pass

    def stamp(_imprint: bytes) -> values.Stamp:
        raise GoneError

    with pytest.raises(GoneError):
        pades.seal_pdf(paper, seal=desk.seal, stamp=stamp, words=WORDS, at=datetime.now(UTC))


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7\n", b"no PDF at all", b"%PDF-1.7\n%%EOF\n"])
def test_what_is_no_pdf_is_an_error_of_ours(desk: Desk, data: bytes) -> None:
    with pytest.raises(SealFailed, match="cannot be sealed"):
        desk.sealed(data)


@pytest.mark.skipif(shutil.which("pdfsig") is None, reason="pdfsig (poppler) is not installed")
def test_poppler_accepts_the_seal_and_no_other_bytes(
    tmp_path: Path, desk: Desk, sealed: bytes
) -> None:
    def said(pdf: bytes) -> str:
        (tmp_path / "paper.pdf").write_bytes(pdf)
        done = subprocess.run(
            ["pdfsig", "paper.pdf"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.stdout

    told = said(sealed)
    assert "Signature is Valid" in told
    assert "ETSI.CAdES.detached" in told
    assert "Total document signed" in told
    altered = bytearray(sealed)
    altered[len(drawn()) // 2] ^= 0x01
    assert "Signature is Valid" not in said(bytes(altered))
