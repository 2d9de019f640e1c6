"""Papers for one purpose: a certificate that shows less, a court profile filled in for it.

Nothing is kept here: both are made from the certificate that was issued, whenever they are asked
for. What people state for a form goes onto that paper and is not stored by the service.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from certs.certificate import Certificate, Key, Timestamp
from certs.errors import FactMissing, FactRefused
from certs.form import Form, Stated, fill_form
from certs.known import Beside, CustodyFacts, TokenFacts
from certs.profile import Profile, load_profiles
from certs.redact import redact
from certs.seal import sign_certificate
from certs.wording import PaperLang
from notary import tsp
from notary.errors import Conflict, Corrupt, KeyMissing, MalformedInput, NotFound
from notary.keyring import Keyring
from notary.keys import raw_public
from notary.model import Deposit
from notary.register import Register
from notary.rereads import Rereads
from notary.trust import Trust
from notary.verdict import Verdict
from notary.verify import verify

_PAGE = 1000
CUSTODY = "custody.events"


class Forms:
    def __init__(
        self,
        *,
        register: Register,
        rereads: Rereads,
        keyring: Keyring,
        trust: Callable[[], Trust],
    ) -> None:
        self._register = register
        self._rereads = rereads
        self._keyring = keyring
        self._trust = trust

    def profile(self, id_: str) -> Profile:
        """Raises NotFound (`profile_not_found`)."""
        try:
            return load_profiles()[id_]
        except KeyError:
            known = ", ".join(load_profiles())
            raise NotFound(
                f"no court profile {id_!r:.60}; known are {known}", code="profile_not_found"
            ) from None

    def redacted(self, certificate: Certificate, shown: Collection[str]) -> Certificate:
        """`certificate` with only the sections in `shown`, signed by the present key and checked.

        Raises MalformedInput (`section_unknown`) for a section that the registration has not,
        Corrupt where the result does not verify.
        """
        held = self._keyring.fresh()
        try:
            draft = redact(certificate, shown, key=Key.of(raw_public(held.keys.certificate)))
            made = sign_certificate(draft, held.keys.certificate)
        except FactRefused as exc:
            raise MalformedInput(str(exc), code="section_unknown") from exc
        except KeyMissing:
            if self._keyring.fresh().serial == held.serial:
                raise
            return self.redacted(certificate, shown)  # retired, and destroyed in its token
        report = verify(made.encode(), None, self._trust())
        if (report.verdict, report.code) != (Verdict.UNDECIDED, "no_document"):
            raise Corrupt(
                f"redacted certificate {made.certificate_id} does not verify: {report.code}",
                name=f"certificate {made.certificate_id}",
            )
        return made

    def fill(
        self,
        profile: Profile,
        deposit: Deposit,
        certificate: Certificate,
        *,
        lang: PaperLang,
        stated: Mapping[str, Stated],
    ) -> Form:
        """The form of `profile` for `certificate`, which is one of `deposit`.

        Raises Conflict (`fact_missing`) when the system has no answer to a fact that it must
        assert, MalformedInput (`fact_refused`) for a statement that the form cannot take.
        """
        trail = any(fact.value == CUSTODY for fact in profile.facts())
        last = self._rereads.last((deposit.index,)).get(deposit.index)
        beside = Beside(
            reread_at=last.at if last is not None and last.finding is None else None,
            tokens=tuple(map(_token, certificate.timestamps)),
            custody=self._custody(deposit) if trail else None,
        )
        try:
            return fill_form(profile, certificate, lang=lang, beside=beside, stated=stated)
        except FactMissing as exc:
            raise Conflict(str(exc), code="fact_missing") from exc
        except FactRefused as exc:
            raise MalformedInput(str(exc), code="fact_refused") from exc

    def _custody(self, deposit: Deposit) -> tuple[CustodyFacts, ...]:
        found: list[CustodyFacts] = []
        after = -1
        while events := self._register.events(deposit_id=deposit.id, after=after, limit=_PAGE):
            found += (
                CustodyFacts(at=e.at, kind=e.kind.value, actor=e.actor, index=e.index)
                for e in events
            )
            after = events[-1].index
        return tuple(found)


def _token(stamp: Timestamp) -> TokenFacts:
    """Of a certificate that was verified when it was issued: its tokens can be read."""
    token = tsp.parse_response(stamp.response)
    return TokenFacts(
        authority=stamp.authority,
        gen_time=token.gen_time,
        serial=token.serial,
        policy=token.policy,
        imprint_algorithm=token.imprint_algorithm,
        accuracy_us=token.accuracy_us,
    )
