"""Court profiles on paper: every fact is there or is named as missing, and nothing is invented."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any

import pypdf
import pytest

from certs.certificate import Certificate
from certs.errors import FactMissing, FactRefused
from certs.form import Answered, Form, Stated, fill_form
from certs.known import Beside, CustodyFacts, TokenFacts, known_facts
from certs.pdf import render_pdf
from certs.profile import HAND, Fact, Profile, load_profiles
from certs.seal import sign_certificate
from certs.wording import PAPER_LANGS, PaperLang, load_wording
from tests.certs import papers

PROFILES = load_profiles()
IDS = tuple(PROFILES)
BESIDE = Beside(
    reread_at=papers.RECEIVED,
    tokens=(
        TokenFacts(
            authority="Evidence Notary embedded TSA",
            gen_time=papers.RECEIVED,
            serial=4711,
            policy="1.3.6.1.4.1.99999.1",
            imprint_algorithm="sha256",
            accuracy_us=1_500_000,
        ),
    ),
    custody=(
        CustodyFacts(at=papers.RECEIVED, kind="opened", actor="s.brandt", index=20_490),
        CustodyFacts(at=papers.RECEIVED, kind="unheard-of", actor="s.brandt", index=20_491),
    ),
)
LONG = "Wolfeschlegelsteinhausenbergerdorff" * 8 + "-" + "Nguyễn Ōé" * 2
RIGHT_TO_LEFT = "محمد بن عبد الله Wolfeschlegelsteinhausenbergerdorff שלום כהן"


def whole() -> Certificate:
    """A certificate that can answer everything."""
    shown = papers.sections() | {
        "provenance": {"stated_by_depositor": {**_stated_origin(), "place": "Freiburg"}},
        "links": {"previous": "019ab6f1-0000-7d02-9c41-5d1f0a7be6c2"},
    }
    base = papers.draft(shown)
    witnessed = base.log.checkpoint + "— witness.example d2l0bmVzcw==\n"
    log = replace(base.log, checkpoint=witnessed, witness_policy="witness w witness.example+x+y")
    return sign_certificate(replace(base, log=log), papers.SEALING_KEY)


def _stated_origin() -> dict[str, Any]:
    stated = papers.PROVENANCE["stated_by_depositor"]
    assert isinstance(stated, dict)
    return {**stated, "environment": "clean installation"}


def fill(profile: Profile, lang: PaperLang = "en", **given: Any) -> Form:
    certificate = given.pop("certificate", None) or whole()
    return fill_form(profile, certificate, lang=lang, beside=given.pop("beside", BESIDE), **given)


def drawn(form: Form, certificate: Certificate) -> bytes:
    return render_pdf(certificate, lang=form.lang, verify_url=None, form=form)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def text_of(pdf: bytes) -> str:
    """All text without white space, which lines and columns put anywhere."""
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return squeezed("".join(page.extract_text() for page in pages))


def human(fact: Fact) -> bool:
    return fact.by != "system"


@pytest.mark.parametrize("lang", PAPER_LANGS)
@pytest.mark.parametrize("id_", IDS)
def test_each_profile_in_each_language_has_every_fact_and_every_blank(
    id_: str, lang: PaperLang
) -> None:
    certificate = whole()
    form = fill(PROFILES[id_], lang, certificate=certificate)
    pdf = drawn(form, certificate)
    text = text_of(pdf)
    wording = load_wording(lang)
    for part in form.parts:
        for answer in part.answers:
            for label in answer.fact.label.lines(lang):
                assert squeezed(label) in text, answer.fact.id
            for line in answer.lines:
                assert squeezed(line) in text, (answer.fact.id, line)
            if answer.answered is Answered.BLANK:
                who = wording.text(f"form.by_{answer.fact.by}")
                caption = wording.text(f"form.caption_{answer.fact.kind}", who=who)
                assert squeezed(caption) in text, answer.fact.id
    for words in (*PROFILES[id_].proves, *PROFILES[id_].proves_not):
        for line in words.lines(lang):
            assert squeezed(line) in text
    draft = {"en": "Draft for review by counsel.", "zh": "本表为草稿，须经律师审阅"}
    for each in ("en", "zh"):
        assert (squeezed(draft[each]) in text) == (each in lang)
    assert "公证" not in text


@pytest.mark.parametrize("lang", PAPER_LANGS)
@pytest.mark.parametrize("id_", IDS)
def test_each_profile_is_tagged_pdf_a_3a_and_pdf_ua_1(id_: str, lang: PaperLang) -> None:
    certificate = whole()
    form = fill(PROFILES[id_], lang, certificate=certificate)
    reader = pypdf.PdfReader(io.BytesIO(drawn(form, certificate)))
    xmp = reader.root_object["/Metadata"].get_data().decode()  # type: ignore[attr-defined]
    assert "<pdfaid:part>3</pdfaid:part>" in xmp
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in xmp
    assert "<pdfuaid:part>1</pdfuaid:part>" in xmp
    assert "/StructTreeRoot" in reader.root_object
    attached = {each.name: each.content for each in reader.attachment_list}
    assert attached["certificate.json"] == certificate.encode()
    assert attached["profile.json"] == form.encode()


@pytest.mark.parametrize("id_", IDS)
def test_what_only_people_can_state_is_blank_and_listed_exactly(id_: str) -> None:
    profile = PROFILES[id_]
    form = fill(profile)
    origin = {"source", "device", "place"}
    left = [fact.id for fact in profile.facts() if human(fact) and fact.value is None]
    assert list(form.unsatisfied) == left
    assert not origin & set(left) or id_ not in ("generic", "cn-spc-16", "iso-27037")
    data = json.loads(form.encode())
    assert data["unsatisfied"] == left
    assert [s["id"] for s in data["statements"]] == [fact.id for fact in profile.facts()]
    for statement in data["statements"]:
        assert (statement["value"] == []) == (statement["id"] in left)


@pytest.mark.parametrize("id_", IDS)
def test_without_any_stated_origin_that_is_blank_too(id_: str) -> None:
    form = fill(PROFILES[id_], certificate=papers.certificate())
    assert {fact.id for fact in PROFILES[id_].facts() if human(fact)} <= set(form.unsatisfied)


@pytest.mark.parametrize("lang", PAPER_LANGS)
@pytest.mark.parametrize("id_", IDS)
def test_nothing_is_on_the_form_that_the_certificate_does_not_say(
    id_: str, lang: PaperLang
) -> None:
    known = known_facts(whole(), load_wording(lang), BESIDE)
    for part in fill(PROFILES[id_], lang).parts:
        for answer in part.answers:
            if answer.answered in (Answered.BLANK, Answered.NOT_RECORDED):
                assert answer.lines == ()
            else:
                assert answer.fact.value is not None
                assert answer.lines == known[answer.fact.value]


@pytest.mark.parametrize(
    ("id_", "fact"),
    [(p.id, f) for p in PROFILES.values() for f in p.facts() if f.by == "system"],
    ids=lambda given: given if isinstance(given, str) else given.id,
)
def test_a_fact_that_the_system_must_assert_is_refused_when_missing_or_else_named(
    id_: str, fact: Fact, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = dict(known_facts(whole(), load_wording("en"), BESIDE))
    assert fact.value is not None
    del known[fact.value]
    monkeypatch.setattr("certs.form.known_facts", lambda *_: known)
    if fact.absent == "refuse":
        with pytest.raises(FactMissing, match=re.escape(fact.value)) as refused:
            fill(PROFILES[id_])
        asked = [f.id for f in PROFILES[id_].facts() if f.value == fact.value and f.by == "system"]
        assert refused.value.fact == asked[0]
    else:
        form = fill(PROFILES[id_])
        assert fact.id in form.unsatisfied
        certificate = whole()
        assert "notrecorded,orwithheld" in text_of(drawn(form, certificate))


def test_a_profile_that_needs_a_withheld_section_says_which_is_withheld() -> None:
    with pytest.raises(FactMissing, match="withheld sections: \\['content'\\]"):
        fill(PROFILES["in-bsa-63"], certificate=papers.withholding("content"))


def test_a_time_stamp_statement_without_a_token_is_refused() -> None:
    base = papers.draft()
    bare = replace(base, timestamps=(), times=replace(base.times, timestamped_at=None))
    certificate = sign_certificate(bare, papers.SEALING_KEY)
    with pytest.raises(FactMissing, match=r"times\.timestamped_at"):
        fill(PROFILES["eu-ts-41"], certificate=certificate, beside=Beside())


def test_a_custody_record_without_the_trail_or_the_depositor_is_refused() -> None:
    with pytest.raises(FactMissing, match=r"custody\.events"):
        fill(PROFILES["iso-27037"], beside=Beside())
    with pytest.raises(FactMissing, match=r"depositor\.account"):
        fill(PROFILES["iso-27037"], certificate=papers.withholding("depositor"))


def test_a_withheld_depositor_does_not_come_back_through_the_custody_trail() -> None:
    known = known_facts(papers.withholding("depositor"), load_wording("en"), BESIDE)
    assert "custody.events" not in known
    assert "m.keller" not in str(known)


def test_of_a_long_trail_both_ends_are_printed_and_the_rest_is_counted() -> None:
    events = tuple(
        CustodyFacts(at=papers.RECEIVED, kind="opened", actor="s.brandt", index=30_000 + at)
        for at in range(500)
    )
    lines = known_facts(whole(), load_wording("en"), replace(BESIDE, custody=events))[
        "custody.events"
    ]
    assert len(lines) == 201
    assert "entry 20,488" in lines[0] and "registered" in lines[0]
    assert lines[100].startswith("301 events between these are not printed")
    assert "entry 30,499" in lines[-1]


def test_a_digest_deposit_is_not_said_to_have_been_hashed_on_the_way_in() -> None:
    certificate = papers.certificate(papers.sections(stored=False))
    for lang in PAPER_LANGS:
        known = known_facts(certificate, load_wording(lang), BESIDE)
        assert "content.reread_at" not in known
        assert "while the bytes" not in str(known) and "字节到达的同时" not in str(known)
    form = fill(PROFILES["us-902-14"], certificate=certificate)
    assert "Theserviceneverheldthefile." in text_of(drawn(form, certificate))


# --- what people state ------------------------------------------------------------------------


def stated(value: str, **also: Any) -> Stated:
    return Stated(
        **{"value": value, "stated_by": "Dr. A. Falk", "capacity": "records officer",
           "entered_by": "m.keller", **also}
    )  # fmt: skip


def test_a_statement_is_shown_as_that_person_s_and_the_fact_is_no_longer_open() -> None:
    certificate = whole()
    given = {"officer": stated("Dr. Anna Falk"), "organisation": stated("Brenner GmbH")}
    form = fill(PROFILES["uk-cea-9"], certificate=certificate, stated=given)
    assert list(form.unsatisfied) == ["position", "forms_part", "date", "signature"]
    text = text_of(drawn(form, certificate))
    assert "Dr.AnnaFalk" in text
    assert "StatedbyDr.A.Falk,recordsofficer.Writtendownbytheaccountm.keller;notchecked" in text
    (officer,) = [s for s in json.loads(form.encode())["statements"] if s["id"] == "officer"]
    assert officer["answered"] == "stated"
    assert officer["stated"] == {
        "value": "Dr. Anna Falk", "stated_by": "Dr. A. Falk", "capacity": "records officer",
        "entered_by": "m.keller",
    }  # fmt: skip


def test_a_statement_stands_before_what_the_depositor_stated_at_registration() -> None:
    form = fill(PROFILES["generic"], stated={"source": stated("The archive")})
    (source,) = [a for p in form.parts for a in p.answers if a.fact.id == "source"]
    assert (source.answered, source.lines) == (Answered.STATED, ("The archive",))


def test_what_the_depositor_stated_is_marked_as_that_and_as_not_checked() -> None:
    certificate = whole()
    text = text_of(drawn(fill(PROFILES["generic"], certificate=certificate), certificate))
    assert "Statedbythedepositor'saccountatregistration,repeatedasitwasstated,notchecked." in text


def test_a_choice_is_ticked_and_only_that_one() -> None:
    certificate = whole()
    form = fill(
        PROFILES["in-bsa-63"], certificate=certificate, stated={"a_device_kind": stated("server")}
    )
    text = text_of(drawn(form, certificate))
    assert text.count("[x]") == 1
    assert "[x]Server" in text


@pytest.mark.parametrize(
    ("fact", "given", "said"),
    [
        ("no_such_fact", stated("x"), "has no fact"),
        ("digests", stated("abc"), "is the system's"),
        ("a_signature", stated("A. Falk"), "for the hand of the party"),
        ("a_working", stated("yes"), "for the hand of the party"),
        ("a_device_kind", stated("abacus"), "known are"),
        ("a_name", stated("  "), "1 to 2000"),
        ("a_name", stated("x" * 2001), "1 to 2000"),
        ("a_name", stated("x", stated_by=""), "stated_by"),
        ("a_name", stated("x", stated_by="n" * 301), "1 to 300"),
        ("a_name", stated("x", capacity=" "), "capacity"),
        ("a_name", stated("x\0y"), "U+0000"),
        ("a_name", stated("x", stated_by="a\nb"), "U+000A"),
        ("a_name", stated("x\ud800"), "U+D800"),
    ],
)
def test_a_statement_that_is_not_a_person_s_to_make_here_is_refused(
    fact: str, given: Stated, said: str
) -> None:
    profile = PROFILES["in-bsa-63" if fact != "digests" else "uk-cea-9"]
    with pytest.raises(FactRefused, match=re.escape(said)):
        fill(profile, stated={fact: given})


@pytest.mark.parametrize("id_", IDS)
def test_no_oath_and_no_signature_can_be_written_for_another(id_: str) -> None:
    for fact in PROFILES[id_].facts():
        if fact.kind in HAND:
            with pytest.raises(FactRefused, match="stays blank"):
                fill(PROFILES[id_], stated={fact.id: stated("x")})


@pytest.mark.parametrize("lang", PAPER_LANGS)
@pytest.mark.parametrize("name", [LONG, RIGHT_TO_LEFT, "\u202e" + "x" * 299, "证" * 300])
def test_a_name_of_300_characters_or_from_right_to_left_breaks_nothing(
    name: str, lang: PaperLang
) -> None:
    certificate = papers.certificate(papers.sections(name=name))
    given = {"officer": stated(name), "organisation": stated("x", stated_by=name, capacity=name)}
    form = fill(PROFILES["uk-cea-9"], lang, certificate=certificate, stated=given)
    pdf = drawn(form, certificate)
    for page in pypdf.PdfReader(io.BytesIO(pdf)).pages:
        edges: list[float] = []

        def visit(text: str, _cm: object, tm: list[float], *_: object) -> None:
            if text.strip():
                edges.append(tm[4])  # noqa: B023  # used within this turn

        page.extract_text(visitor_text=visit)
        assert max(edges) < 595 - 48
    if name == RIGHT_TO_LEFT:
        # Between two right-to-left words the letters still run from left to right.
        plain = text_of(pdf).replace("\u200e", "")
        assert plain.count("Wolfeschlegelsteinhausenbergerdorff") >= 3
        assert "ffrodregrebnesuah" not in plain


def test_the_same_form_gives_the_same_bytes() -> None:
    certificate = whole()
    first, again = (
        drawn(fill(PROFILES["us-902-13"], "en+zh", certificate=certificate), certificate)
        for _ in range(2)
    )
    assert first == again


def test_a_certificate_with_a_form_has_one_place_to_sign() -> None:
    certificate = whole()
    alone = text_of(render_pdf(certificate, lang="en", verify_url=None))
    text = text_of(drawn(fill(PROFILES["generic"], certificate=certificate), certificate))
    assert "Forthepersonwhopresentsthiscertificate" in alone
    assert "Forthepersonwhopresentsthiscertificate" not in text


def test_a_paper_in_both_languages_has_both_and_its_chinese_is_marked_as_chinese() -> None:
    pdf = render_pdf(whole(), lang="en+zh", verify_url=None)
    text = text_of(pdf)
    for said in ("Certificateofevidenceregistration", "电子证据存证证书", "2026-11-24,14:03:04UTC"):
        assert squeezed(said) in text
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert str(reader.root_object["/Lang"]).startswith("en")
    for page in reader.pages:
        contents = page.get_contents()
        assert contents is not None
        assert b"/Lang(zh-CN)" in contents.get_data()
