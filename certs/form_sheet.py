"""What stands on the pages of a court profile, as plain data for `templates/form.typ`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from certs.form import DRAFT, Answer, Answered, FilledPart, Form
from certs.glyphs import Coverage, Run
from certs.profile import Source, Words
from certs.sheet import groups
from certs.wording import Wording

Sheet = dict[str, object]

_DIGEST = re.compile(r"\b[0-9a-f]{64,128}\b")
# Characters: what is still read at a glance in bold.
_SHORT = 160


def build_form_sheet(form: Form, wording: Wording, coverage: Coverage) -> Sheet:
    """The data of `templates/form.typ`, of JSON's kinds only."""
    return _Drawing(form=form, words=wording, coverage=coverage).sheet()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    form: Form
    words: Wording
    coverage: Coverage

    def sheet(self) -> Sheet:
        form, profile = self.form, self.form.profile
        return {
            "title": self._lines(profile.title),
            "about": self._say(
                "about",
                profile=profile.id,
                profile_version=profile.version,
                certificate=form.certificate_id,
                version=form.certificate_version,
            ),
            "draft": self._lines(DRAFT),
            "jurisdiction": self._lines(profile.jurisdiction),
            "purpose": self._lines(profile.purpose),
            "unsatisfied": self._unsatisfied(),
            "sources": {
                "title": self._say("sources"),
                "rows": [self._source(source) for source in profile.sources],
            },
            "parts": [self._part(part) for part in form.parts],
            "proves": self._list("proves", profile.proves),
            "proves_not": self._list("proves_not", profile.proves_not),
        }

    def _say(self, key: str, **values: object) -> str:
        return self.words.text(f"form.{key}", **values)

    def _lines(self, words: Words) -> list[str]:
        return list(words.lines(self.form.lang))

    def _runs(self, lines: Iterable[str]) -> list[list[Run]]:
        return [self.coverage.runs(line) for line in lines]

    def _source(self, source: Source) -> Sheet:
        return {
            "rule": self._lines(source.rule),
            "requires": self._lines(source.requires),
            "read": self._say(f"read_{source.read}"),
        }

    def _list(self, key: str, sentences: tuple[Words, ...]) -> Sheet:
        return {"title": self._say(key), "items": [self._lines(words) for words in sentences]}

    def _unsatisfied(self) -> Sheet:
        open_ = set(self.form.unsatisfied)
        items = [
            self._say(
                "open",
                label=" ".join(self._lines(answer.fact.label)),
                who=self._say(f"by_{answer.fact.by}"),
            )
            for part in self.form.parts
            for answer in part.answers
            if answer.fact.id in open_
        ]
        return {
            "title": self._say("unsatisfied", count=len(items)),
            "intro": self._say("unsatisfied_intro"),
            "items": items,
        }

    def _part(self, filled: FilledPart) -> Sheet:
        note = filled.part.note
        return {
            "title": self._lines(filled.part.title),
            "note": [] if note is None else self._lines(note),
            "facts": [self._fact(answer) for answer in filled.answers],
        }

    def _fact(self, answer: Answer) -> Sheet:
        fact = answer.fact
        return {
            "label": self._lines(fact.label),
            "who": self._say(f"by_{fact.by}"),
            "text": [] if fact.text is None else self._lines(fact.text),
            "lines": [] if fact.choices else [self._line(line) for line in answer.lines],
            "choices": self._choices(answer),
            "note": self._note(answer),
            "caption_only": bool(fact.choices) and answer.answered is Answered.BLANK,
            "blanks": fact.lines if answer.answered is Answered.BLANK and not fact.choices else 0,
            "short": fact.kind == "affirm",
            "caption": self._say(f"caption_{fact.kind}", who=self._say(f"by_{fact.by}")),
            "absent": answer.answered is Answered.NOT_RECORDED and self._say("not_recorded"),
        }

    def _line(self, line: str) -> Sheet:
        grouped = _DIGEST.sub(lambda found: " ".join(groups(found[0])), line)
        return {"runs": self.coverage.runs(grouped), "strong": len(line) <= _SHORT}

    def _choices(self, answer: Answer) -> list[Sheet]:
        ticked = None if answer.stated is None else answer.stated.value
        return [
            {
                # Letters and no drawn box: read aloud, and there in every font.
                "mark": "[x]" if choice.id == ticked else "[  ]",
                "text": self._lines(choice.label),
            }
            for choice in answer.fact.choices
        ]

    def _note(self, answer: Answer) -> list[list[Run]]:
        if answer.answered is Answered.DEPOSITED:
            return self._runs([self._say("note_deposited")])
        stated = answer.stated
        if stated is None:
            return []
        who = stated.stated_by
        if stated.capacity is not None:
            who = f"{who}, {stated.capacity}"
        return self._runs([self._say("note_stated", who=who, account=stated.entered_by)])
