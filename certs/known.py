"""What a certificate can answer of a profile's facts, in the words of one paper.

Nothing is filled in that is not in the certificate, or handed in beside it by the house that
issued it. A fact that is withheld or was never recorded is not in the answer at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from certs.certificate import Certificate
from certs.reading import b64url
from certs.sections import Sections, cosigners, read_sections, root_hash
from certs.wording import Wording

Lines = tuple[str, ...]

_ENDS = 100
"""Events printed from each end of a custody trail; of what is between, the number is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What an RFC 3161 token says. `accuracy_us` is None where the token states none."""

    authority: str
    gen_time: datetime
    serial: int
    policy: str
    imprint_algorithm: str
    accuracy_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodyFacts:
    """One event of the custody trail, at `index` of the ledger."""

    at: datetime
    kind: str
    actor: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What the issuing house knows beside the certificate. `custody` is None where the reader of
    the paper may not see it, `reread_at` where the original was not read again."""

    reread_at: datetime | None = None
    tokens: tuple[TokenFacts, ...] = ()
    custody: tuple[CustodyFacts, ...] | None = None


def known_facts(certificate: Certificate, words: Wording, beside: Beside) -> Mapping[str, Lines]:
    """The lines of each of `profile.KNOWN` that there is an answer to, never empty ones.

    Raises CertificateMalformed when the record, a disclosure or the checkpoint cannot be read.
    """
    answers = _Answers(certificate, read_sections(certificate), words, beside)
    pairs = (
        *answers.paper(), *answers.content(), *answers.matter(), *answers.times(),
        *answers.ledger(), *answers.stamps(), *answers.custody(), *answers.process(),
        *answers.stated(),
    )  # fmt: skip
    return {name: lines for name, lines in pairs if lines and all(lines)}


Pairs = Iterator[tuple[str, Lines]]


@dataclass(frozen=True, slots=True)
class _Answers:
    certificate: Certificate
    sections: Sections
    words: Wording
    beside: Beside

    def _say(self, key: str, **values: object) -> str:
        return self.words.text(key, **values)

    def paper(self) -> Pairs:
        certificate = self.certificate
        version = self._say("pdf.version", version=certificate.version)
        yield "certificate.number", (f"{certificate.certificate_id}, {version}",)
        yield "certificate.issued_at", (self.words.moment(certificate.times.issued_at),)
        yield "issuer.name", (certificate.issuer.name,)
        yield "issuer.software", (certificate.issuer.software,)
        yield "issuer.key", (b64url(certificate.signature.kid),)
        yield "registration.id", (self.sections.registration_id,)

    def content(self) -> Pairs:
        content = self.sections.content
        if content is None:
            return
        size = self._say("pdf.size_bytes", size=f"{content.size:,}")
        digests = tuple(f"{self._algorithm(name)}: {value}" for name, value in content.digests)
        yield "content.name", () if content.name is None else (content.name,)
        yield "content.size", (size,)
        yield "content.digests", digests
        yield "content.sha-256", (content.sha256,)
        declared = content.declared or self._say("pdf.none")
        detected = content.detected or self._say("pdf.unknown")
        yield (
            "content.media_type",
            (
                self._say("pdf.declared", declared=declared),
                self._say("pdf.detected", detected=detected),
            ),
        )
        stored = "original_stored" if content.stored else "original_not_stored"
        yield "content.original", (self._say(f"pdf.{stored}"),)
        if content.stored and self.beside.reread_at is not None:
            yield "content.reread_at", (self.words.moment(self.beside.reread_at),)
        name = content.name or self._say("pdf.name_none")
        yield "process.hash_report", (name, size, *digests)
        receipt = "receipt" if content.stored else "receipt_digest"
        yield "process.receipt", (self._say(f"form.process_{receipt}"),)

    def _algorithm(self, name: str) -> str:
        return self.words.texts.get(f"pdf.digest_{name}", name)

    def matter(self) -> Pairs:
        case, depositor = self.sections.case, self.sections.depositor
        if case is not None:
            yield "case.court", (case.court,)
            yield "case.number", (case.number,)
            yield "case.title", (case.title or "",)
            yield "case.exhibit", (case.exhibit or "",)
        if depositor is not None:
            role = self.words.texts.get(f"role.{depositor.role}", depositor.role)
            means = depositor.authenticated_by
            means = self.words.texts.get(f"authenticated_by.{means}", means)
            how = (
                self._say("pdf.role", role=role),
                self._say("pdf.authenticated", means=means),
            )
            yield (
                "depositor.account",
                (
                    self._say("pdf.account", account=depositor.account),
                    self._say("pdf.list_separator").join(how),
                ),
            )
        yield (
            "links.related",
            tuple(
                self._say(f"pdf.link_{name}", id=target)
                if f"pdf.link_{name}" in self.words.texts
                else f"{name}: {target}"
                for name, target in self.sections.links
            ),
        )

    def times(self) -> Pairs:
        times = self.certificate.times
        yield "times.received_at", (self.words.moment(times.received_at),)
        yield "times.registered_at", (self.words.moment(times.registered_at),)
        if times.timestamped_at is not None:
            yield "times.timestamped_at", (self.words.moment(times.timestamped_at),)

    def ledger(self) -> Pairs:
        log = self.certificate.log
        yield "ledger.origin", (log.origin,)
        place = self._say("pdf.entry_of", index=f"{log.index:,}", size=f"{log.size:,}")
        yield "ledger.entry", (place,)
        yield "ledger.root", (root_hash(log.checkpoint),)
        if log.witness_policy is not None:
            yield "ledger.witnesses", cosigners(log.checkpoint, log.origin)

    def stamps(self) -> Pairs:
        yield (
            "timestamps.authorities",
            tuple(
                self._say(
                    "form.authority",
                    authority=stamp.authority,
                    covers=self._say(f"pdf.covers_{stamp.covers}"),
                    operator=self._say(
                        "pdf.self_operated" if stamp.self_operated else "pdf.independent"
                    ),
                )
                for stamp in self.certificate.timestamps
            ),
        )
        yield "timestamps.tokens", tuple(map(self._token, self.beside.tokens))

    def _token(self, token: TokenFacts) -> str:
        accuracy = token.accuracy_us
        return self._say(
            "form.token",
            authority=token.authority,
            time=self.words.moment(token.gen_time),
            serial=token.serial,
            policy=token.policy,
            algorithm=self._algorithm(token.imprint_algorithm.replace("sha", "sha-", 1)),
            accuracy=self._say("form.accuracy_none")
            if accuracy is None
            else self._say("form.accuracy", seconds=f"{accuracy / 1_000_000:g}"),
        )

    def custody(self) -> Pairs:
        trail = self.beside.custody
        # The trail names accounts: where the depositor is withheld, so is all of it.
        if trail is None or self.sections.depositor is None:
            return
        first = CustodyFacts(
            at=self.certificate.times.registered_at,
            kind="registered",
            actor=self.sections.depositor.account,
            index=self.certificate.log.index,
        )
        events = [self._event(event) for event in (first, *trail)]
        if (more := len(events) - 2 * _ENDS) > 0:
            events[_ENDS:-_ENDS] = [self._say("form.events_left_out", count=more)]
        yield "custody.events", tuple(events)

    def _event(self, event: CustodyFacts) -> str:
        return self._say(
            "form.event",
            at=self.words.moment(event.at),
            what=self.words.texts.get(f"custody.{event.kind}", event.kind),
            who=event.actor,
            index=f"{event.index:,}",
        )

    def process(self) -> Pairs:
        yield "process.ledger", (self._say("form.process_ledger"),)
        yield "process.check", (self._say("form.process_check"),)

    def stated(self) -> Pairs:
        stated = dict(self.sections.provenance)
        tool = (*stated.get("tool", ()), *stated.get("tool_version", ()))
        for name in ("source", "device", "operator", "captured_at", "place", "environment"):
            yield f"provenance.{name}", stated.get(name, ())
        yield "provenance.tool", (" ".join(tool),)
        yield (
            "provenance.steps",
            tuple(f"{at}. {step}" for at, step in enumerate(stated.get("steps", ()), 1)),
        )
