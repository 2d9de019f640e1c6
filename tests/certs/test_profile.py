"""Profile files: read strictly, saying what they must and nothing they may not."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pylopdf_fonts_zh_cn
import pytest

from certs.errors import ProfileMalformed
from certs.form import DRAFT
from certs.glyphs import Coverage, read_ranges
from certs.profile import HAND, KNOWN, MAX_BYTES, Profile, Words, load_profiles, parse_profile

IDS = (
    "cn-spc-16", "eu-ts-41", "generic", "in-bsa-63", "iso-27037", "uk-cea-9", "us-902-13",
    "us-902-14", "us-vt-1913",
)  # fmt: skip
FOLDER = Path(str(resources.files("certs"))) / "profiles"
SMALL = FOLDER.joinpath("uk-cea-9.toml").read_text("utf-8")


def texts(profile: Profile) -> list[Words]:
    """Every text of a profile."""
    found = [profile.title, profile.jurisdiction, profile.purpose]
    found += [words for source in profile.sources for words in (source.rule, source.requires)]
    for part in profile.parts:
        found += [part.title, *([] if part.note is None else [part.note])]
    for fact in profile.facts():
        found += [fact.label, *([] if fact.text is None else [fact.text])]
        found += [choice.label for choice in fact.choices]
    return [*found, *profile.proves, *profile.proves_not]


def test_the_nine_profiles_are_there_and_each_file_is_read() -> None:
    assert tuple(load_profiles()) == IDS
    assert sorted(path.stem for path in FOLDER.iterdir()) == list(IDS)


@pytest.mark.parametrize("id_", IDS)
def test_a_profile_claims_nothing_that_is_not_ours_to_claim(id_: str) -> None:
    forbidden = re.compile(
        r"tamper|court-admissible|notari[sz]|block ?chain|guarantee|unforgeable"
        r"|公证|防篡改|区块链|不可篡改",
        re.IGNORECASE,
    )
    for words in texts(load_profiles()[id_]):
        assert not forbidden.search(words.en + words.zh), words.en


@pytest.mark.parametrize("id_", IDS)
def test_a_profile_says_what_it_shows_and_does_not_and_leaves_admission_to_the_court(
    id_: str,
) -> None:
    profile = load_profiles()[id_]
    assert len(profile.proves) >= 2
    denied = " ".join(words.en for words in profile.proves_not)
    for said in ("content is true", "before it was handed in", "for the court alone", "signed"):
        assert said in denied
    assert "仅由法院决定" in "".join(words.zh for words in profile.proves_not)


def test_every_form_is_a_draft_for_counsel_in_both_languages() -> None:
    assert "Draft for review by counsel" in DRAFT.en
    assert "草稿" in DRAFT.zh and "律师" in DRAFT.zh


@pytest.mark.parametrize("id_", IDS)
def test_both_languages_are_what_they_say_and_can_be_printed(id_: str) -> None:
    own = Coverage(read_ranges(pylopdf_fonts_zh_cn.sans_path()))
    alike = {"DVR", "CD / DVD", "SHA1", "SHA256", "MD5", "ISO/IEC 27037:2012"}
    for words in texts(load_profiles()[id_]):
        assert not re.search("[\u2e80-\u9fff]", words.en), words.en
        assert words.en in alike or re.search("[\u4e00-\u9fff]", words.zh), words.zh
        assert [c for c in words.en + words.zh if not own.prints(c)] == [], words.en


@pytest.mark.parametrize("id_", IDS)
def test_a_profile_has_a_place_for_a_person_to_sign_and_every_source_is_for_a_fact(
    id_: str,
) -> None:
    profile = load_profiles()[id_]
    assert any(fact.kind == "sign" and "ignature" in fact.label.en for fact in profile.facts())
    used = {fact.source for fact in profile.facts()}
    assert {source.id for source in profile.sources} == used
    assert all(source.requires.en for source in profile.sources)


def test_what_is_oath_or_signature_is_never_for_the_system() -> None:
    for profile in load_profiles().values():
        for fact in profile.facts():
            assert fact.by != "system" or fact.kind == "value"
            assert fact.kind not in HAND or fact.value is None


def test_whether_a_time_stamp_is_qualified_is_for_an_expert_alone() -> None:
    facts = {fact.id: fact for fact in load_profiles()["eu-ts-41"].facts()}
    assert (facts["qualified"].by, facts["qualified"].value) == ("expert", None)


def test_parts_a_and_b_of_the_schedule_are_the_party_s_and_the_expert_s() -> None:
    part_a, part_b, annex = load_profiles()["in-bsa-63"].parts
    assert {fact.by for fact in part_a.facts} == {"party"}
    assert {fact.by for fact in part_b.facts} == {"expert"}
    assert {fact.by for fact in annex.facts} == {"system"}
    assert "a_algorithm" in [fact.id for fact in part_a.facts]


def test_nothing_from_before_the_entry_is_the_system_s_in_the_chinese_profile() -> None:
    parts = {part.id: part for part in load_profiles()["cn-spc-16"].parts}
    assert {fact.by for fact in parts["before"].facts} == {"party"}
    assert {fact.by for fact in parts["after"].facts} == {"system"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "uk-cea-9"', 'id = "UK"', "profile.id"),
        ('id = "uk-cea-9"', 'id = "uk-cea-9"\nunknown = 1', "unknown ['unknown']"),
        ("version = 1", "version = 0", "expected 1 to"),
        ("version = 1", "version = true", "expected 1 to"),
        ("version = 1", 'version = "1"', "expected 1 to"),
        ('read = "text"', 'read = "perhaps"', "known are"),
        ('value = "issuer.name"', 'value = "issuer.fame"', "known are"),
        ('value = "issuer.name"', 'value = "provenance.source"', "no finding of the system's"),
        ('by = "party"', 'by = "judge"', "known are"),
        ('by = "party"', 'by = "system"', "unknown ['kind']"),
        ('kind = "text"', 'kind = "value"', "known are"),
        ('kind = "text"', 'kind = "choice"', "wrong members"),
        ('kind = "sign"', 'kind = "sign"\nvalue = "provenance.source"', "wrong members"),
        ('kind = "text"', 'kind = "text"\nvalue = "content.size"', "not a depositor's"),
        ('kind = "text"', 'kind = "text"\nlines = 99', "expected 1 to 8"),
        ('absent = "name"', 'absent = "invent"', "known are"),
        ('source = "cea-1995-9"', 'source = "cea-1968"', "is for source 'cea-1968'"),
        ('id = "officer"', 'id = "issuer"', "fact 'issuer' is there twice"),
        ('id = "certificate"\ntitle', 'id = "document"\ntitle', "part 'document' is there twice"),
        ('zh = "文件"', 'zh = ""', "expected a text"),
        (', zh = "文件" }', " }", "missing ['zh']"),
        ('zh = "文件"', 'zh = " 文件"', "expected a text"),
        ('zh = "文件"', 'zh = "文件", fr = "document"', "unknown ['fr']"),
        ("[[proves_not]]", "[[proves]]", "missing ['proves_not']"),
        ("[[part]]", "[part]", "not TOML"),
    ],
)
def test_a_file_that_is_not_exactly_a_profile_is_refused(old: str, new: str, said: str) -> None:
    assert old in SMALL
    count = -1 if old == "[[proves_not]]" else 1
    with pytest.raises(ProfileMalformed, match=re.escape(said)):
        parse_profile(SMALL.replace(old, new, count).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"id = 1", b"=", b"a" * (MAX_BYTES + 1)])
def test_what_is_no_profile_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(ProfileMalformed):
        parse_profile(data)


def test_every_answer_that_a_certificate_can_give_is_asked_for_somewhere() -> None:
    asked = {fact.value for profile in load_profiles().values() for fact in profile.facts()}
    assert KNOWN - asked <= {
        "content.sha-256", "issuer.key", "case.title", "times.received_at",
    }  # fmt: skip
