"""What stands on the paper: a certificate as plain data in one language, ready to be drawn.

Every sentence is chosen here and every word comes from the wording; the template only places
them. Text from outside travels as runs (see `glyphs`), so that nothing unprintable gets through.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from certs.bundle import timestamp_stem
from certs.certificate import TYPE, Certificate, Timestamp
from certs.glyphs import Coverage, Run, deceives
from certs.reading import b64url
from certs.sections import Content, Sections, cosigners, log_key_id, read_sections, root_hash
from certs.wording import Wording

Sheet = dict[str, object]
Line = dict[str, object]
Row = dict[str, object]


# Characters: what surely fits on one page is not torn apart.
_PAGEFUL = 1500
_PROVENANCE = (
    "source", "captured_at", "place", "operator", "device", "tool", "tool_version",
    "environment", "steps",
)  # fmt: skip


def build_sheet(
    certificate: Certificate,
    wording: Wording,
    coverage: Coverage,
    *,
    verify_url: str | None,
    reread_at: datetime | None = None,
) -> Sheet:
    """The data of `templates/certificate.typ`, of JSON's kinds only.

    Raises CertificateMalformed when the record, a disclosure or the checkpoint cannot be read.
    """
    return _Drawing(
        certificate=certificate,
        sections=read_sections(certificate),
        words=wording,
        coverage=coverage,
        verify_url=verify_url,
        reread_at=reread_at,
    ).sheet()


def qr_content(certificate: Certificate, *, verify_url: str | None) -> tuple[str, str]:
    """(text of the QR code, wording key of its caption)."""
    if verify_url is not None:
        return verify_url, "pdf.qr_link"
    content = read_sections(certificate).content
    if content is not None:
        return f"sha256:{content.sha256}", "pdf.qr_digest"
    return f"urn:uuid:{certificate.certificate_id}", "pdf.qr_certificate"


def groups(text: str, size: int = 4) -> list[str]:
    """The text in groups of `size` characters, as people read digests to one another."""
    return [text[at : at + size] for at in range(0, len(text), size)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    certificate: Certificate
    sections: Sections
    words: Wording
    coverage: Coverage
    verify_url: str | None
    reread_at: datetime | None

    def sheet(self) -> Sheet:
        certificate = self.certificate
        return {
            "lang": self.words.lang,
            "title": self._say("title"),
            "page": self.words.texts["pdf.page"],
            "header": self._header(),
            "issuer": self._runs(certificate.issuer.name),
            "issuer_plain": certificate.issuer.name,
            "number": [self._say("number"), certificate.certificate_id],
            "version": self._say("version", version=certificate.version),
            **self._opening(),
            "facts": [self._file(), self._people()],
            "times": self._times(),
            "ledger": self._ledger(),
            "timestamps": self._timestamps(),
            "provenance": self._provenance(),
            "proves": self._list("proves"),
            "proves_not": self._list("proves_not"),
            "check": self._check(),
            "declaration": {
                "title": self._say("declaration"),
                "note": self._say("declaration_note"),
                "fields": [
                    self._say(f"declaration_{name}")
                    for name in ("name", "capacity", "date", "sign")
                ],
            },
            "foot": self._foot(),
            "form": None,
        }

    def _say(self, key: str, **values: object) -> str:
        return self.words.text(f"pdf.{key}", **values)

    def _runs(self, text: str) -> list[Run]:
        return self.coverage.runs(text)

    def _row(self, label: str, *lines: Line) -> Row:
        return {"label": self._runs(self._say(label)), "lines": list(lines)}

    def _line(self, text: str, style: str = "plain") -> Line:
        return {"style": style, "runs": self._runs(text)}

    def _missing(self, section: str) -> list[Line]:
        """What to print for an undisclosed section; nothing when it was never recorded."""
        if section in self.sections.withheld:
            return [self._line(self._say("withheld"), "missing")]
        if section in self.sections.unclear:
            return [self._line(self._say("withheld_or_absent"), "missing")]
        return []

    def _header(self) -> list[str]:
        content = self.sections.content
        right = self._say("version", version=self.certificate.version)
        if content is not None:
            right = self._say("snippet", start=content.sha256[:8], end=content.sha256[-8:])
        return [f"{self._say('number')} {self.certificate.certificate_id}", right]

    def _opening(self) -> Sheet:
        content = self.sections.content
        stored = content is None or content.stored
        text, caption = qr_content(self.certificate, verify_url=self.verify_url)
        return {
            "headline": self._say(
                "headline" if stored else "headline_digest",
                registered_at=self.words.moment(self.certificate.times.registered_at),
            ),
            "headline_detail": self._runs(
                self._say(
                    "headline_detail",
                    index=f"{self.certificate.log.index:,}",
                    origin=self.certificate.log.origin,
                )
            ),
            "qr_caption": self.words.text(caption),
            "qr_alt": self._say("qr_alt", content=text),
        }

    def _file(self) -> Sheet:
        content = self.sections.content
        if content is None:
            keys = ("name", "digest_sha-256", "size")
            rows = [self._row(key, *self._missing("content")) for key in keys]
        else:
            rows = [
                self._row("name", *self._name(content.name)),
                *(self._digest(name, value) for name, value in content.digests),
                self._row("size", self._line(self._say("size_bytes", size=f"{content.size:,}"))),
                self._row("media_type", *self._media_type(content)),
                self._row("original", *self._kept(content)),
            ]
        rows.append(self._row("registration", self._line(self.sections.registration_id, "mono")))
        return {"title": self._say("file"), "rows": rows}

    def _name(self, name: str | None) -> list[Line]:
        if name is None:
            return [self._line(self._say("name_none"), "missing")]
        runs = self._runs(name)
        lines: list[Line] = [{"style": "strong", "runs": runs}]
        deceiving = any(deceives(run.get("text", run.get("alphabet", ""))) for run in runs)
        if deceiving:
            lines.append(self._line(self._say("name_exact"), "note"))
            lines.append({"style": "exact", "runs": self.coverage.exact_runs(name)})
        if deceiving or any("code" in run for run in runs):
            lines.append(self._line(self._say("name_codes"), "note"))
        return lines

    def _digest(self, name: str, value: str) -> Row:
        known = f"pdf.digest_{name}" in self.words.texts
        label = self._say(f"digest_{name}") if known else name
        return {"label": self._runs(label), "lines": [{"style": "groups", "groups": groups(value)}]}

    def _media_type(self, content: Content) -> list[Line]:
        declared = content.declared or self._say("none")
        detected = content.detected or self._say("unknown")
        return [
            self._line(self._say("declared", declared=declared)),
            self._line(self._say("detected", detected=detected)),
        ]

    def _kept(self, content: Content) -> list[Line]:
        if not content.stored:
            return [self._line(self._say("original_not_stored"), "strong")]
        lines = [self._line(self._say("original_stored"))]
        if self.reread_at is not None:
            at = self.words.moment(self.reread_at)
            lines.append(self._line(self._say("original_reread", at=at), "note"))
        return lines

    def _people(self) -> Sheet:
        return {
            "title": self._say("people"),
            "rows": [*self._depositor(), *self._case(), *self._links()],
        }

    def _depositor(self) -> list[Row]:
        depositor = self.sections.depositor
        if depositor is None:
            missing = self._missing("depositor")
            return [self._row("depositor", *missing)] if missing else []
        role = self._known("role", depositor.role)
        means = self._known("authenticated_by", depositor.authenticated_by)
        how = (self._say("role", role=role), self._say("authenticated", means=means))
        return [
            self._row(
                "depositor",
                self._line(self._say("account", account=depositor.account), "strong"),
                self._line(self._say("list_separator").join(how)),
            )
        ]

    def _known(self, family: str, code: str) -> str:
        return self.words.texts.get(f"{family}.{code}", code)

    def _case(self) -> list[Row]:
        case = self.sections.case
        if case is None:
            missing = self._missing("case")
            return [self._row(key, *missing) for key in ("court", "case_number")] if missing else []
        named = {
            "court": case.court,
            "case_number": case.number,
            "case_title": case.title,
            "exhibit": case.exhibit,
        }
        return [
            self._row(key, self._line(value, "strong" if key == "exhibit" else "plain"))
            for key, value in named.items()
            if value is not None
        ]

    def _links(self) -> list[Row]:
        if not self.sections.links:
            missing = self._missing("links")
            return [self._row("links", *missing)] if missing else []
        lines = []
        for name, target in self.sections.links:
            known = f"pdf.link_{name}" in self.words.texts
            text = self._say(f"link_{name}", id=target) if known else f"{name}: {target}"
            lines.append(self._line(text))
        return [self._row("links", *lines)]

    def _times(self) -> Sheet:
        times = self.certificate.times
        content = self.sections.content
        by_digest = content is not None and not content.stored
        cells = {
            "received_at": (times.received_at, "received_note_digest" if by_digest else ""),
            "registered_at": (times.registered_at, ""),
            "timestamped_at": (times.timestamped_at, ""),
            "issued_at": (times.issued_at, ""),
        }
        return {
            "title": self._say("times"),
            "zone": self._say("times_zone"),
            "cells": [
                self._cell(key, moment, note or key.removesuffix("_at") + "_note")
                for key, (moment, note) in cells.items()
            ],
        }

    def _cell(self, key: str, moment: datetime | None, note: str) -> Sheet:
        if moment is None:
            return {"label": self._say(key), "missing": self._say("not_yet")}
        return {
            "label": self._say(key),
            "date": self.words.date(moment),
            "clock": moment.astimezone(UTC).strftime("%H:%M:%S"),
            "note": self._say(note),
        }

    def _ledger(self) -> Sheet:
        log = self.certificate.log
        place = self._say("entry_of", index=f"{log.index:,}", size=f"{log.size:,}")
        ids = [log_key_id(vkey) for vkey in self.certificate.keys.log]
        rows = [
            self._row("origin", self._line(log.origin)),
            self._row("entry", self._line(place, "strong")),
            self._row("root", self._line(root_hash(log.checkpoint), "mono")),
            self._row("log_keys", *(self._line(id_, "mono") for id_ in ids)),
        ]
        if log.witness_policy is not None:
            names = cosigners(log.checkpoint, log.origin)
            rows.append(self._row("cosigned_by", *(self._line(name) for name in names)))
        return {"title": self._say("ledger"), "rows": rows}

    def _timestamps(self) -> Sheet:
        return {
            "title": self._say("timestamps"),
            "head": [self._say(key) for key in ("authority", "covers", "operator")],
            "rows": [self._timestamp(stamp) for stamp in self.certificate.timestamps],
            "none": self._say("timestamps_none"),
        }

    def _timestamp(self, stamp: Timestamp) -> Sheet:
        return {
            "authority": self._runs(stamp.authority),
            "covers": self._say(f"covers_{stamp.covers}"),
            "operator": self._say("self_operated" if stamp.self_operated else "independent"),
            "self_operated": stamp.self_operated,
        }

    def _provenance(self) -> Sheet | None:
        stated = self.sections.provenance
        missing = self._missing("provenance")
        if not stated and not missing:
            return None
        rows: list[Row] = [{"label": [], "lines": missing}] if missing else []
        for name, texts in sorted(stated, key=lambda item: _place(item[0])):
            known = f"pdf.prov_{name}" in self.words.texts
            label = self._say(f"prov_{name}") if known else name
            steps = name == "steps"
            lines = [
                self._line(f"{at}. {text}" if steps else text) for at, text in enumerate(texts, 1)
            ]
            rows.append({"label": self._runs(label), "lines": lines})
        return {
            "title": self._say("provenance"),
            "note": None if missing else self._say("provenance_note"),
            "rows": rows,
            "whole": sum(len(text) for _, texts in stated for text in texts) < _PAGEFUL,
        }

    def _list(self, key: str) -> Sheet:
        return {
            "title": self._say(key),
            "items": [self._say(f"{key}_{number}") for number in (1, 2, 3)],
        }

    def _check(self) -> Sheet:
        content = self.sections.content
        steps: list[Sheet] = []
        if content is not None:
            steps.append(
                {
                    "text": self._say("check_digest"),
                    "commands": [
                        ["", "sha256sum FILE"],
                        [self._say("check_windows"), "certutil -hashfile FILE SHA256"],
                        [self._say("check_macos"), "shasum -a 256 FILE"],
                    ],
                    "expected": [self._say("check_expected"), content.sha256],
                }
            )
        steps.append(
            {
                "text": self._say("check_proof"),
                "commands": [["", "python3 verify.pyz FILE --certificate CERT"]],
                "note": self._say("check_trust"),
            }
        )
        steps += self._check_tokens()
        return {
            "title": self._say("check"),
            "intro": self._say("check_intro"),
            "steps": steps,
            "online": self.verify_url and [self._say("check_online"), self.verify_url],
        }

    def _check_tokens(self) -> list[Sheet]:
        stems = [
            timestamp_stem(at, stamp)
            for at, stamp in enumerate(self.certificate.timestamps, 1)
            if stamp.covers == "original"
        ]
        if not stems:
            return []
        commands = [
            ["", f"openssl ts -verify -data FILE -in {stem}.tsr -CAfile {stem}.pem"]
            for stem in stems
        ]
        return [{"text": self._say("check_token"), "commands": commands}]

    def _foot(self) -> list[list[Run]]:
        certificate = self.certificate
        made = self._say(
            "software",
            software=certificate.issuer.software,
            type=TYPE,
            purpose=certificate.issued_for,
        )
        kid = f"{self._say('key_ids')} {b64url(certificate.signature.kid)}"
        return [self._runs(self._say("attached")), self._runs(made), self._runs(kid)]


def _place(name: str) -> tuple[int, str]:
    known = name in _PROVENANCE
    return (_PROVENANCE.index(name) if known else len(_PROVENANCE), name)
