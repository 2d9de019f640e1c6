"""Cases of what is kept beside tokens about revocations, and of how many authorities are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.certificate import Revocation, Timestamp, UnsignedCertificate
from tests.harness.tokens import DAY, Issued, issue
from tests.vectors.certificates.case import Case
from tests.vectors.certificates.cases_of_time import GEN_TIME, Desk
from tests.vectors.certificates.house import House

LATER, BEFORE = GEN_TIME.replace(microsecond=0) + DAY, GEN_TIME.replace(microsecond=0) - DAY
VALID = (GEN_TIME.replace(microsecond=0) - 30 * DAY, GEN_TIME.replace(microsecond=0) + 900 * DAY)
PLACE = "http://authority.example/crl"
KEY, REPLACED = x509.ReasonFlags.key_compromise, x509.ReasonFlags.superseded
Gone = tuple[datetime, x509.ReasonFlags | None]


def all_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    root = issue("Outside TSA root", ca=True, valid=VALID)
    desk = Standing(house=house, draft=draft, root=root)
    return [*of_lists(desk), *of_answers(desk), *of_many(desk)]


def _point(url: str) -> x509.DistributionPoint:
    return x509.DistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url)],
        relative_name=None, reasons=None, crl_issuer=None,
    )  # fmt: skip


def _scope(**given: Any) -> x509.IssuingDistributionPoint:
    fields: dict[str, Any] = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False,
        "only_contains_ca_certs": False, "only_some_reasons": None, "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**{**fields, **given})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing(Desk):
    """A desk whose authority says something about its certificates."""

    def signer(self, **other: Any) -> Issued:
        points = (x509.CRLDistributionPoints([_point(PLACE)]), False)
        given = {"issuer": self.root, "valid": VALID, "extra": [points], **other}
        return issue("Outside TSA", **given)

    def crl(
        self, signer: Issued, gone: Gone | None = None, *, by: Issued | None = None,
        made: datetime = LATER, until: datetime = LATER + 7 * DAY, name: x509.Name | None = None,
        extra: Sequence[x509.ExtensionType] = (),
    ) -> Revocation:  # fmt: skip
        by = by or self.root
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=name or by.certificate.subject, last_update=made, next_update=until
        )
        for extension in extra:
            builder = builder.add_extension(extension, critical=True)
        if gone is not None:
            entry = x509.RevokedCertificateBuilder(
                serial_number=signer.certificate.serial_number, revocation_date=gone[0]
            )
            if gone[1] is not None:
                entry = entry.add_extension(x509.CRLReason(gone[1]), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        made_list = builder.sign(by.key, SHA256())
        return Revocation(crls=(made_list.public_bytes(Encoding.DER),), responses=())

    def answer(
        self, signer: Issued, gone: Gone | None = None, *, by: Issued | None = None,
        made: datetime = LATER, hashed: Any = None,
    ) -> Revocation:  # fmt: skip
        status = ocsp.OCSPCertStatus.GOOD if gone is None else ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=signer.certificate, issuer=self.root.certificate, algorithm=hashed or SHA1(),
            cert_status=status, this_update=made, next_update=made + DAY,
            revocation_time=None if gone is None else gone[0],
            revocation_reason=None if gone is None else gone[1],
        )  # fmt: skip
        answering = (by or self.root).certificate
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, answering)
        if by is not None:
            builder = builder.certificates([answering])
        made_answer = builder.sign((by or self.root).key, SHA256())
        return Revocation(crls=(), responses=(made_answer.public_bytes(Encoding.DER),))

    def said(
        self, name: str, why: str, code: str, signer: Issued, said: Revocation, **other: Any
    ) -> Case:
        """One token with that beside it. `code` may be of a certificate that is not decided."""
        stamp = self.stamp(self.token(signer), [signer, self.root])
        return self.ruled(name, why, code, replace(stamp, revocation=said), **other)

    def ruled(
        self, name: str, why: str, code: str, *stamps: Timestamp, asked: int = 0,
        roots: Sequence[Issued] | None = None, **other: Any,
    ) -> Case:  # fmt: skip
        made = self.case(name, why, code, *stamps, roots=roots, **other)
        if code in ("timestamp_revoked", "timestamp_quorum_missing"):
            made = replace(made, verdict="undecided")
        if asked and made.trust is not None:
            made = replace(made, trust=f"{made.trust}timestamp_quorum = {asked}\n")
        return made


def of_lists(desk: Standing) -> list[Case]:
    tsa = desk.signer()
    stranger = issue("Outside TSA root", ca=True, valid=VALID)
    spelled = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "Outside TSA root", _ASN1Type.PrintableString)]
    )
    here, elsewhere = (
        _scope(full_name=[x509.UniformResourceIdentifier(url)])
        for url in (PLACE, "http://elsewhere.example/crl")
    )
    taken, reasons = (LATER, KEY), frozenset({KEY})
    return [
        desk.said("match_revocation_list", "A later CRL of the issuer does not list the signer.",
                  "match", tsa, desk.crl(tsa)),
        desk.said("match_revocation_list_embedded", "The same, without a trust file.",
                  "match", tsa, desk.crl(tsa), trusting=False),
        desk.said("match_revocation_list_of_before", "The CRL had ended before the token: it says "
                  "nothing of it, and the check is not made.", "match", tsa,
                  desk.crl(tsa, made=BEFORE - 8 * DAY, until=BEFORE)),
        desk.said("match_revocation_superseded_later", "Revoked after the token, as superseded: "
                  "RFC 3161 section 4 lets the token stand.", "match", tsa,
                  desk.crl(tsa, (LATER, REPLACED))),
        desk.said("match_revocation_list_of_stranger", "The CRL that lists the signer is signed by "
                  "another key of the same name: it says nothing.", "match", tsa,
                  desk.crl(tsa, taken, by=stranger)),
        desk.said("match_revocation_list_elsewhere", "The CRL is of a distribution point that the "
                  "signer does not name.", "match", tsa, desk.crl(tsa, taken, extra=[elsewhere])),
        desk.said("match_revocation_list_of_some_reasons", "The CRL is of some reasons alone.",
                  "match", tsa,
                  desk.crl(tsa, taken, extra=[_scope(only_some_reasons=reasons)])),
        desk.said("match_revocation_list_of_authorities", "The CRL is of authorities alone.",
                  "match", tsa,
                  desk.crl(tsa, taken, extra=[_scope(only_contains_ca_certs=True)])),
        desk.said("revocation_list_fail", "The issuer's CRL lists the signer: its key was "
                  "compromised, and no token of it stands.", "timestamp_revoked", tsa,
                  desk.crl(tsa, taken)),
        desk.said("revocation_list_embedded_fail", "The same, without a trust file.",
                  "timestamp_revoked", tsa, desk.crl(tsa, taken), trusting=False),
        desk.said("revocation_list_without_reason_fail", "The CRL gives no reason: the worst is "
                  "assumed.", "timestamp_revoked", tsa, desk.crl(tsa, (LATER, None))),
        desk.said("revocation_superseded_before_fail", "Superseded a day before the token.",
                  "timestamp_revoked", tsa, desk.crl(tsa, (BEFORE, REPLACED))),
        desk.said("revocation_list_of_its_place_fail", "The CRL is of the distribution point that "
                  "the signer names.", "timestamp_revoked", tsa,
                  desk.crl(tsa, taken, extra=[here])),
        desk.said("revocation_list_name_spelled_otherwise_fail", "The CRL's issuer is the same "
                  "name in another kind of string.", "timestamp_revoked", tsa,
                  desk.crl(tsa, taken, name=spelled)),
    ]  # fmt: skip


def of_answers(desk: Standing) -> list[Case]:
    tsa, other = desk.signer(), desk.signer()
    purposes = [ExtendedKeyUsageOID.OCSP_SIGNING]
    responder = issue("Responder", issuer=desk.root, purposes=purposes, valid=VALID)
    ended = issue(
        "Responder", issuer=desk.root, purposes=purposes,
        valid=(VALID[0], GEN_TIME.replace(microsecond=0)),
    )  # fmt: skip
    taken = (LATER, None)
    return [
        desk.said("match_revocation_answer", "The issuer's OCSP response says good.", "match", tsa,
                  desk.answer(tsa)),
        desk.said("match_revocation_answer_sha256", "Its CertID is by SHA-256.", "match", tsa,
                  desk.answer(tsa, hashed=SHA256())),
        desk.said("match_revocation_answer_by_responder", "A responder that the issuer appointed "
                  "says good.", "match", tsa, desk.answer(tsa, by=responder)),
        desk.said("match_revocation_answer_of_another", "The response is about another "
                  "certificate.", "match", tsa, desk.answer(other, taken)),
        desk.said("match_revocation_answer_by_signer", "The response is by the signer itself, whom "
                  "nobody appointed: it says nothing.", "match", tsa,
                  desk.answer(tsa, taken, by=tsa)),
        desk.said("match_revocation_answer_by_ended_responder", "The responder's certificate had "
                  "ended.", "match", tsa, desk.answer(tsa, taken, by=ended)),
        desk.said("revocation_answer_fail", "The issuer's OCSP response says revoked.",
                  "timestamp_revoked", tsa, desk.answer(tsa, taken)),
        desk.said("revocation_answer_by_responder_fail", "An appointed responder says revoked.",
                  "timestamp_revoked", tsa, desk.answer(tsa, taken, by=responder)),
        desk.said("revocation_two_say_otherwise_fail", "The CRL does not list it, the OCSP "
                  "response says revoked: it is revoked.", "timestamp_revoked", tsa,
                  Revocation(crls=desk.crl(tsa).crls, responses=desk.answer(tsa, taken).responses)),
        desk.said("match_revocation_unreadable", "What is kept beside the token cannot be read: "
                  "it says nothing.", "match", tsa,
                  Revocation(crls=(b"\x30\x00",), responses=(b"x",))),
    ]  # fmt: skip


def of_many(desk: Standing) -> list[Case]:
    roots = [desk.root, issue("Second root", ca=True, valid=VALID)]
    first = desk.signer()
    second = issue("Second TSA", issuer=roots[1], valid=VALID)
    later = (GEN_TIME + DAY / 86_400).replace(microsecond=250_000)
    one = desk.stamp(desk.token(first), [first, roots[0]])
    two = desk.stamp(desk.token(second, gen_time=later), [second, roots[1]])
    gone = replace(one, revocation=desk.crl(first, (LATER, KEY)))
    counted: dict[str, Any] = {"timestamp_quorum": 2, "timestamped_at": later}
    return [
        desk.ruled("match_quorum_of_two", "The trust file asks for two authorities, and two there "
                   "are.", "match", one, two, asked=2, roots=roots),
        desk.ruled("match_two_counted", "timestamped_at is the time of the second token, as "
                   "timestamp_quorum says.", "match", one, two, roots=roots, **counted),
        desk.ruled("match_one_of_two_revoked", "One authority was revoked, the other stands: its "
                   "time is stated.", "match", gone, two, roots=roots, timestamped_at=later),
        desk.ruled("match_two_counted_one_revoked", "What was revoked since still counts for the "
                   "time that was stated.", "match", gone, two, roots=roots, **counted),
        desk.ruled("match_two_counted_one_unknown", "A token whose root is not trusted counts by "
                   "its own time.", "match", one, two, roots=roots[:1], **counted),
        desk.ruled("quorum_of_one_authority_fail", "Two tokens, by one authority.",
                   "timestamp_quorum_missing", one, one, asked=2, roots=roots),
        desk.ruled("quorum_one_revoked_fail", "Of two authorities one was revoked.",
                   "timestamp_quorum_missing", gone, two, asked=2, roots=roots,
                   timestamped_at=later),
        desk.ruled("quorum_all_revoked_fail", "The only authority was revoked: that is the reason "
                   "that is said.", "timestamp_revoked", gone, asked=1, roots=roots),
        desk.ruled("two_counted_first_stated_fail", "timestamp_quorum is 2, and timestamped_at the "
                   "time of the first token.", "certificate_altered", one, two, roots=roots,
                   timestamp_quorum=2),
        desk.ruled("two_counted_of_one_fail", "timestamp_quorum is 2, there is one token, and a "
                   "time is stated.", "certificate_altered", one, roots=roots, timestamp_quorum=2),
        desk.ruled("two_counted_none_stated_fail", "timestamp_quorum is 2, two tokens are there, "
                   "and no time is stated.", "certificate_altered", one, two, roots=roots,
                   timestamp_quorum=2, timestamped_at=None),
    ]  # fmt: skip
