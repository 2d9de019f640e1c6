"""Every word, in both languages alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pylopdf_fonts_zh_cn
import pytest

from certs.glyphs import Coverage, read_ranges
from certs.wording import LANGS, Lang, load_wording, verdict_classes

AT = datetime(2026, 11, 24, 14, 3, 5, 999999, tzinfo=UTC)
EN, ZH = load_wording("en"), load_wording("zh")

VERDICTS = {
    "confirmed": {
        "match",
        "match_not_yet_anchored",
        "match_disposed",
        "match_digest_only_record",
        "disposal_confirmed",
    },
    "not_this_file": {
        "digest_mismatch", "size_mismatch", "empty_file", "certificate_file_given",
        "bytes_appended", "line_ends_only", "bom_only", "same_name_other_size", "redacted_copy",
        "derivative_of", "other_exhibit",
    },
    "not_genuine": {
        "signature_invalid",
        "certificate_altered",
        "record_mismatch",
        "statement_invalid",
        "inclusion_proof_invalid",
        "checkpoint_invalid",
        "timestamp_invalid",
        "evidence_record_invalid",
        "checkpoint_inconsistent",
    },
    "undecided": {
        "unknown_key",
        "unsupported_version",
        "certificate_unreadable",
        "proof_missing",
        "no_document",
        "witness_quorum_missing",
        "timestamp_untrusted",
        "timestamp_revoked",
        "timestamp_quorum_missing",
        "service_unreachable",
        "not_authorised_or_unknown",
        "service_answer_invalid",
        "document_unreadable",
        "no_certificate",
    },
    "superseded": {"certificate_reissued", "certificate_withdrawn"},
}  # fmt: skip
CHECKS = (
    "certificate_format",
    "certificate_signature",
    "record",
    "disclosures",
    "withheld",
    "statement",
    "inclusion",
    "checkpoint",
    "log_keys",
    "witnesses",
    "witness_policy",
    "consistency",
    "supersession",
    "timestamp",
    "revocation",
    "timestamp_quorum",
    "evidence_record",
    "document_digest",
    "document_size",
)


def test_both_languages_have_the_same_keys() -> None:
    assert EN.texts.keys() == ZH.texts.keys()


def test_both_languages_fill_in_the_same_values() -> None:
    for key, text in EN.texts.items():
        if key.startswith("calendar."):
            continue
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", ZH.texts[key])), (
            key
        )


def test_no_text_is_empty_or_padded() -> None:
    for lang in LANGS:
        for key, text in load_wording(lang).texts.items():
            assert text, key
            assert text == text.strip() or key == "pdf.list_separator", key


def test_chinese_texts_are_chinese_with_chinese_punctuation() -> None:
    names = {"pdf.digest_sha-256", "pdf.digest_sha-512", "pdf.digest_sm3", "pdf.snippet"}
    plain = {
        "calendar.months",
        "calendar.moment",
        "pdf.list_separator",
        "bundle.windows",
        "form.open",
    }
    for key, text in ZH.texts.items():
        if key in names | plain or key in {"pdf.check_windows", "pdf.check_macos"}:
            continue
        assert re.search("[\u4e00-\u9fff]", text), key
        assert not re.search("[\u4e00-\u9fff][,;:!?]|[,;!?][\u4e00-\u9fff]", text), key


@pytest.mark.parametrize("lang", LANGS)
def test_nothing_is_promised_that_is_not_ours_to_promise(lang: Lang) -> None:
    forbidden = re.compile(
        r"tamper|court-admissible|admissib|notari[sz]|blockchain|guarantee|公证|防篡改|区块链|不可篡改",
        re.IGNORECASE,
    )
    for key, text in load_wording(lang).texts.items():
        assert not forbidden.search(text), key


def test_the_glossary_words_are_used_in_chinese() -> None:
    everything = "".join(ZH.texts.values())
    assert "存证" in everything
    assert "核验" in everything


@pytest.mark.parametrize("lang", LANGS)
def test_every_verdict_has_a_class_a_headline_and_an_explanation(lang: Lang) -> None:
    wording = load_wording(lang)
    for class_, codes in VERDICTS.items():
        for code in codes:
            words = wording.verdict(code, registered_at=AT)
            assert (words.class_, words.code) == (class_, code)
            assert words.class_label == wording.texts[f"class.{class_}"]
            assert "{" not in words.headline + words.explanation


def test_there_are_no_verdicts_beyond_the_vocabulary() -> None:
    assert verdict_classes() == {code: name for name, codes in VERDICTS.items() for code in codes}


def test_a_confirmed_verdict_names_the_time_of_registration() -> None:
    assert EN.verdict("match", registered_at=AT).headline == (
        "This is exactly the file registered on 24 November 2026, 14:03:05 UTC"
    )
    assert "2026年11月24日 14:03:05 UTC" in ZH.verdict("match", registered_at=AT).headline
    with pytest.raises(KeyError):
        EN.verdict("match")


def test_what_cannot_be_decided_says_that_the_file_may_be_unchanged() -> None:
    for code in VERDICTS["undecided"] - {"no_document"}:
        words = EN.verdict(code)
        assert "does not mean that the file was changed" in words.headline + words.explanation
        chinese = ZH.verdict(code)
        assert "并不表示文件被改动" in chinese.headline + chinese.explanation


@pytest.mark.parametrize("lang", LANGS)
def test_every_check_has_a_sentence_for_every_status(lang: Lang) -> None:
    wording = load_wording(lang)
    sentences = {
        wording.check(name, status).sentence
        for name in CHECKS
        for status in ("passed", "failed", "not_made")
    }
    assert len(sentences) >= 3 * len(CHECKS) - 1
    named = {key.split(".")[1] for key in wording.texts if key.startswith("check.")}
    assert named == set(CHECKS)


def test_the_trust_note_says_where_the_keys_came_from() -> None:
    assert "trust file" in EN.trust(trust_file=True)
    assert "Only the keys embedded" in EN.trust(trust_file=False)


def test_times_for_people_are_in_utc_whatever_zone_they_come_in() -> None:
    shanghai = AT.astimezone(timezone(timedelta(hours=8)))
    assert EN.moment(shanghai) == EN.moment(AT) == "24 November 2026, 14:03:05 UTC"
    assert EN.date(datetime(2026, 1, 2, tzinfo=UTC)) == "2 January 2026"
    assert ZH.date(datetime(2026, 12, 31, tzinfo=UTC)) == "2026年12月31日"


def test_an_unknown_code_is_an_error_and_not_silence() -> None:
    with pytest.raises(KeyError):
        EN.verdict("no_such_code", registered_at=AT)
    with pytest.raises(KeyError):
        EN.check("record", "maybe")
    with pytest.raises(KeyError):
        EN.text("pdf.no_such_text")


def test_the_paper_s_font_has_every_character_of_the_wording() -> None:
    own = Coverage(read_ranges(pylopdf_fonts_zh_cn.sans_path()))
    for lang in LANGS:
        for key, text in load_wording(lang).texts.items():
            assert [c for c in text if not own.prints(c)] == [], key
