"""ASiC containers of a real house: before openssl and a stranger's reader, a byte flipped in each
member, the token over the manifest asked for once."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from notary.cli.verify import judge
from notary.errors import Conflict, NotFound, Unreachable
from notary.issued import PAPER
from notary.model import Declared, Deposit, Principal
from notary.office import Office
from notary.papers import MANIFEST
from notary.tsa import TimestampAuthority
from notary.verdict import Verdict
from tests.harness.asic_reader import NotGood, check_extended, check_token
from tests.harness.certified import DOCUMENT, deposit, depositor, open_house
from tests.harness.contained import NAME, Contained, contain

ORIGINAL = f"original/{NAME}"


@pytest.fixture(scope="module")
def contained(tmp_path_factory: pytest.TempPathFactory) -> Contained:
    return contain(tmp_path_factory.mktemp("contained"))


def places(path: Path) -> dict[str, tuple[int, int]]:
    """Where each member's own bytes lie: first and end."""
    found = {}
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        for each in archive.infolist():
            at = each.header_offset
            lengths = int.from_bytes(data[at + 26 : at + 28], "little")
            lengths += int.from_bytes(data[at + 28 : at + 30], "little")
            found[each.filename] = (at + 30 + lengths, at + 30 + lengths + each.file_size)
    return found


def flipped(source: Path, target: Path, at: int) -> Path:
    data = bytearray(source.read_bytes())
    data[at] ^= 1
    target.write_bytes(data)
    return target


# --- judges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["extended", "later", "digest_only"])
def test_a_strangers_reader_finds_every_digest_and_openssl_the_token(
    contained: Contained, form: str, tmp_path: Path
) -> None:
    path: Path = getattr(contained, form)
    covered = check_extended(path, contained.roots, tmp_path)
    with zipfile.ZipFile(path) as archive:
        left = set(archive.namelist()) - covered
        stored = ORIGINAL in archive.namelist()
    assert left == {"mimetype", "META-INF/ASiCManifest001.xml", "META-INF/timestamp001.tst"}
    assert stored == (form != "digest_only")


def test_openssl_accepts_the_token_of_the_simple_container_over_its_file(
    contained: Contained, tmp_path: Path
) -> None:
    with zipfile.ZipFile(contained.simple) as archive:
        assert archive.namelist() == ["mimetype", NAME, "META-INF/timestamp.tst"]
        token = archive.read("META-INF/timestamp.tst")
        check_token(archive.read(NAME), token, contained.roots, tmp_path)
    with pytest.raises(NotGood, match=r"(?i)mismatch"):
        check_token(DOCUMENT + b"x", token, contained.roots, tmp_path)


def test_unzip_finds_nothing_wrong(contained: Contained) -> None:
    if shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    for path in (contained.extended, contained.later, contained.digest_only, contained.simple):
        said = subprocess.run(
            ["unzip", "-t", path], capture_output=True, text=True, check=False, timeout=60
        )
        assert said.returncode == 0, said.stdout


# --- `notary verify` ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["extended", "later", "bundle"])
def test_the_original_inside_is_the_document(contained: Contained, form: str) -> None:
    report = judge(None, str(getattr(contained, form)), str(contained.trust))
    assert (report.verdict, report.code) == (Verdict.CONFIRMED, "match")


def test_a_digest_alone_wants_the_file_and_takes_it_from_its_place(
    contained: Contained, tmp_path: Path
) -> None:
    report = judge(None, str(contained.digest_only), str(contained.trust))
    assert (report.verdict, report.code) == (Verdict.UNDECIDED, "no_document")
    document = tmp_path / "document"
    document.write_bytes(DOCUMENT)
    report = judge(str(document), str(contained.digest_only), str(contained.trust))
    assert report.code == "match_digest_only_record"
    if shutil.which("zip") is None:
        pytest.skip("zip is not installed: the file was not put into the container")
    filled = tmp_path / "filled.asice"
    shutil.copy(contained.digest_only, filled)
    (tmp_path / "original").mkdir()
    document.rename(tmp_path / ORIGINAL)
    subprocess.run(["zip", "-q", "-0", "-X", filled.name, ORIGINAL], cwd=tmp_path, check=True)
    report = judge(None, str(filled), str(contained.trust))
    assert report.code == "match_digest_only_record"
    assert ORIGINAL not in check_extended(filled, contained.roots, tmp_path)


def test_a_simple_container_has_no_certificate_to_verify(contained: Contained) -> None:
    report = judge(None, str(contained.simple), str(contained.trust))
    assert report.code == "certificate_unreadable"


def test_a_byte_flipped_in_any_member_is_found(contained: Contained, tmp_path: Path) -> None:
    """By a reader of the container; and the verifier confirms only what it has checked itself."""
    for name, (first, end) in places(contained.later).items():
        for at in {first, (first + end) // 2, end - 1}:
            path = flipped(contained.later, tmp_path / "flipped.asice", at)
            with pytest.raises(NotGood):
                check_extended(path, contained.roots, tmp_path)
            code = judge(None, str(path), str(contained.trust)).code
            if name == "certificate.json":
                assert code == "certificate_unreadable", (name, at)
            elif name == ORIGINAL:
                assert code == "digest_mismatch", (name, at)
            else:
                assert code == "match", (name, at)


def test_a_member_changed_with_its_checksum_is_found_too(
    contained: Contained, tmp_path: Path
) -> None:
    path = tmp_path / "whole.asice"
    with zipfile.ZipFile(contained.later) as old:
        members = {each: old.read(each) for each in old.infolist()}
    for changed in members:
        with zipfile.ZipFile(path, "w") as new:
            for each, data in members.items():
                spoiled = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
                new.writestr(each, spoiled if each is changed else data)
        with pytest.raises(NotGood):
            check_extended(path, contained.roots, tmp_path)
        report = judge(None, str(path), str(contained.trust))
        tested = changed.filename in ("certificate.json", ORIGINAL)
        assert (report.verdict is Verdict.CONFIRMED) != tested, changed.filename


def test_the_same_flip_has_the_same_code_as_in_bundle_zip(
    contained: Contained, tmp_path: Path
) -> None:
    for name in ("certificate.json", ORIGINAL, "README.txt", "proof.tlog-proof"):
        codes = set()
        for container in (contained.bundle, contained.extended):
            first, end = places(container)[name]
            path = flipped(container, tmp_path / container.name, (first + end) // 2)
            codes.add(judge(None, str(path), str(contained.trust)).code)
        assert len(codes) == 1, (name, codes)


# --- the token over the manifest ------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Office]:
    opened = open_house(tmp_path / "house")
    yield opened
    opened.close()


class Silent:
    name, self_operated, roots = "silent", False, ()

    def exchange(self, request_der: bytes) -> bytes:
        raise Unreachable(f"no answer to {len(request_der)} bytes")


def with_authorities(house: Office, *authorities: TimestampAuthority) -> None:
    house.sealing._authorities = authorities


def handed_in(house: Office, *, asked: bool = False) -> tuple[Deposit, Principal]:
    by = depositor(house)
    declared = Declared(name="a.txt", media_type="text/plain", document_timestamp=asked)
    return deposit(house, by, DOCUMENT, declared).deposit, by


def container_of(house: Office, given: Deposit, by: Principal) -> bytes:
    issued = house.issue.certificate(given, by=by)
    return b"".join(house.issue.extended(given, issued))


def kept_tokens(house: Office) -> int:
    with house.database.reading() as connection:
        return len(
            connection.execute(sa.select(PAPER).where(PAPER.c.variant == MANIFEST)).fetchall()
        )


def test_a_container_asked_for_again_is_the_same_and_no_authority_is_asked(house: Office) -> None:
    given, by = handed_in(house)
    first = container_of(house, given, by)
    assert kept_tokens(house) == 1
    with_authorities(house, Silent())
    assert container_of(house, given, by) == first


def test_a_reissue_has_a_manifest_and_a_token_of_its_own(house: Office) -> None:
    given, by = handed_in(house)
    first = container_of(house, given, by)
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    assert container_of(house, given, by) != first
    assert kept_tokens(house) == 2


def test_authorities_are_asked_in_their_order_until_one_answers(
    house: Office, tmp_path: Path
) -> None:
    given, by = handed_in(house)
    with_authorities(house, Silent(), *house.authorities)
    assert b"META-INF/timestamp001.tst" in container_of(house, given, by)


def test_while_no_authority_answers_nothing_is_sent_and_nothing_kept(house: Office) -> None:
    given, by = handed_in(house)
    issued = house.issue.certificate(given, by=by)
    b"".join(house.issue.bundle(given, issued))  # both papers are there
    with_authorities(house, Silent())
    with pytest.raises(Unreachable, match="silent") as raised:
        house.issue.extended(given, issued)
    assert raised.value.code == "container_timestamp_unreachable"
    with_authorities(house)
    with pytest.raises(Unreachable, match="this node has none"):
        house.issue.extended(given, issued)
    assert kept_tokens(house) == 0


# --- ASiC-S ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "code"), [(False, "timestamp_not_requested"), (True, "timestamp_pending")]
)
def test_without_a_token_of_its_own_there_is_no_simple_container(
    house: Office, asked: bool, code: str
) -> None:
    given, by = handed_in(house, asked=asked)
    with pytest.raises(NotFound) as raised:
        house.issue.simple(given, house.issue.certificate(given, by=by))
    assert raised.value.code == code


def test_of_a_digest_alone_there_is_no_simple_container(house: Office) -> None:
    by = depositor(house)
    declared = Declared(name="a.txt", media_type="text/plain", document_timestamp=True)
    digests = {"sha-256": hashlib.sha256(DOCUMENT).hexdigest()}
    given = house.intake.register_digests(
        by, replace(declared, size=len(DOCUMENT), digests=digests)
    ).deposit
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    with pytest.raises(Conflict) as raised:
        house.issue.simple(given, house.issue.certificate(given, by=by))
    assert raised.value.code == "original_not_stored"
