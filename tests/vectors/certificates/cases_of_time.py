"""Cases of time-stamp tokens, by authorities that are not the house's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.certificate import Timestamp, UnsignedCertificate
from notary.tlog.note import parse_note
from tests.harness.tokens import DAY, NOW, TIME_STAMPING, Draft, Ess, Issued, issue, refusal
from tests.vectors.certificates.case import Case
from tests.vectors.certificates.house import RECEIVED, House

GEN_TIME = (RECEIVED + timedelta(seconds=1)).replace(microsecond=120_000)
EXPIRED = (NOW - 9 * DAY, NOW - 8 * DAY)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def all_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    desk = Desk(house=house, draft=draft, root=issue("Outside TSA root", ca=True))
    return [
        *accepted(desk), *refused_tokens(desk), *refused_signers(desk), *paths(desk),
        *without_trust(desk), *several(desk),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where certificates with a foreign token are put together."""

    house: House
    draft: UnsignedCertificate
    root: Issued

    @property
    def imprint(self) -> bytes:
        text = parse_note(self.draft.log.checkpoint.encode()).text
        return hashlib.sha256(text.encode()).digest()

    def signer(self, **other: Any) -> Issued:
        return issue("Outside TSA", **{"issuer": self.root, **other})

    def token(self, signer: Issued, **other: Any) -> bytes:
        given = {"imprint": self.imprint, "gen_time": GEN_TIME, **other}
        return Draft(signer=signer, **given).response()

    def stamp(self, response: bytes, chain: Sequence[Issued]) -> Timestamp:
        return Timestamp(
            covers="checkpoint", authority="Outside TSA", self_operated=False, response=response,
            chain=tuple(each.der for each in chain),
        )  # fmt: skip

    def case(
        self, name: str, why: str, code: str, *stamps: Timestamp,
        roots: Sequence[Issued] | None = None, trusting: bool = True, **times: Any,
    ) -> Case:  # fmt: skip
        verdict = {"match": "confirmed", "timestamp_untrusted": "undecided"}
        known = [self.root] if roots is None else roots
        ders = (*self.house.authority.roots, *(each.der for each in known))
        trust = replace(self.house.trusted(), timestamp_roots=ders).encode()
        draft = replace(self.draft, timestamps=stamps, times=replace(self.draft.times, **times))
        return Case(
            name=name, why=why, certificate=self.house.seal(draft),
            verdict=verdict.get(code, "not_genuine"), code=code, trust=trust if trusting else None,
        )  # fmt: skip

    def plain(self, name: str, why: str, code: str, signer: Issued, **other: Any) -> Case:
        """A token by `signer`, which the root issued, and their chain."""
        return self.case(
            name, why, code, self.stamp(self.token(signer, **other), [signer, self.root])
        )


def accepted(desk: Desk) -> list[Case]:
    good: Callable[..., Case] = partial(desk.plain)
    plain, by_rsa = desk.signer(), desk.signer(key=_rsa(2048))
    bare = desk.token(plain, certificates=())
    earlier = RECEIVED + timedelta(milliseconds=500)
    return [
        good("match_timestamp_rsa", "Signed with RSA, PKCS #1 v1.5.", "match", by_rsa),
        good("match_timestamp_rsa_pss", "Signed with RSASSA-PSS.", "match", by_rsa, pss=True),
        good("match_timestamp_ed25519", "Signed with Ed25519, the digests by SHA-512.", "match",
             desk.signer(key=ed25519.Ed25519PrivateKey.generate()), digest="sha512"),
        good("match_timestamp_sha384", "The digests are by SHA-384.", "match", plain,
             digest="sha384"),
        good("match_timestamp_ess_v1", "The signer is named by an ESSCertID, whose hash is SHA-1.",
             "match", plain, ess=Ess.V1),
        good("match_timestamp_by_key_id", "The signer is named by its subject key identifier.",
             "match", plain, by_key_id=True),
        desk.case("match_timestamp_signer_in_chain", "The token carries no certificate; chain "
                  "does.", "match", desk.stamp(bare, [plain, desk.root])),
        desk.case("match_timestamp_chain_of_signer_only", "The root stands in the trust file "
                  "only.", "match", desk.stamp(bare, [plain])),
        desk.case("match_timestamp_signer_trusted", "The signer's own certificate stands among "
                  "the trusted roots; its issuer is nowhere.", "match",
                  desk.stamp(bare, [plain]), roots=[plain]),
        desk.case("match_timestamped_at_earlier", "timestamped_at is earlier than the token "
                  "says: only later is refused.", "match",
                  desk.stamp(desk.token(plain), [plain, desk.root]), timestamped_at=earlier),
    ]  # fmt: skip


def refused_tokens(desk: Desk) -> list[Case]:
    signer, bad = desk.signer(), partial(desk.plain, code="timestamp_invalid")
    refused = desk.stamp(refusal("rejection", "bad_alg"), [signer, desk.root])
    waiting = Draft(signer=signer, imprint=desk.imprint, gen_time=GEN_TIME)
    cut = {"certificates": ()}
    return [
        desk.case("timestamp_refused_fail", "The response is a refusal and has no token.",
                  "timestamp_invalid", refused),
        desk.case("timestamp_status_waiting_fail", "The status is waiting, though a token is "
                  "there.", "timestamp_invalid",
                  desk.stamp(waiting.response(status="waiting"), [signer, desk.root])),
        bad("timestamp_signature_fail", "One bit of the token's signature differs.",
            signer=signer, spoil_signature=True),
        bad("timestamp_imprint_of_sha512_fail", "The imprint is by SHA-512.", signer=signer,
            imprint_algorithm="sha512", imprint=hashlib.sha512(b"").digest()),
        bad("timestamp_signed_with_sha1_fail", "The digests are by SHA-1.", signer=signer,
            digest="sha1"),
        bad("timestamp_signer_not_named_fail", "No signed attribute names the signer.",
            signer=signer, ess=Ess.ABSENT),
        bad("timestamp_other_signer_named_fail", "The signed attribute names another certificate.",
            signer=signer, ess=Ess.OTHER),
        bad("timestamp_message_digest_fail", "The message-digest attribute is of something else.",
            signer=signer, digest_attributes=(bytes(32),)),
        desk.case("timestamp_signer_absent_fail", "The signer's certificate is neither in the "
                  "token nor in chain.", "timestamp_untrusted",
                  desk.stamp(desk.token(signer, **cut), [desk.root])),
        desk.case("timestamp_not_der_fail", "A length is written in one byte more than needed.",
                  "timestamp_invalid",
                  desk.stamp(_longer_length(desk.token(signer)), [signer, desk.root])),
    ]  # fmt: skip


def _longer_length(der: bytes) -> bytes:
    """The outermost length in one byte more (BER)."""
    assert der[1] == 0x82
    return der[:1] + b"\x83\x00" + der[2:]


def refused_signers(desk: Desk) -> list[Case]:
    bad = partial(desk.plain, code="timestamp_invalid")
    two = (TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING)
    return [
        bad("timestamp_two_purposes_fail", "The signer's certificate is for code signing too.",
            signer=desk.signer(purposes=two)),
        bad("timestamp_no_purpose_fail", "The signer's certificate has no extended key usage.",
            signer=desk.signer(purposes=())),
        bad("timestamp_purpose_not_critical_fail", "Its extended key usage is not critical.",
            signer=desk.signer(purposes_critical=False)),
        bad("timestamp_signer_signs_certificates_fail", "Its key usage permits keyCertSign.",
            signer=desk.signer(signs_certificates=True)),
        bad("timestamp_signer_expired_fail", "The signer's certificate had expired at genTime.",
            signer=desk.signer(valid=EXPIRED)),
        bad("timestamp_small_rsa_fail", "The signer's RSA key has 1,024 bits.",
            signer=desk.signer(key=_rsa(1024))),
        desk.plain("timestamp_signer_critical_extension_fail", "The signer's certificate has a "
                   "critical extension that is not known.", "timestamp_untrusted",
                   signer=desk.signer(extra=[(UNKNOWN, True)])),
        desk.plain("match_timestamp_extension", "The same extension, not critical.", "match",
                   signer=desk.signer(extra=[(UNKNOWN, False)])),
    ]  # fmt: skip


def paths(desk: Desk) -> list[Case]:
    untrusted, root = "timestamp_untrusted", desk.root

    def through(name: str, why: str, code: str, *between: Issued, **other: Any) -> Case:
        """A token by a signer that the last of `between` issued; chain and token carry all."""
        signer = desk.signer(issuer=between[-1])
        carried = (signer.der, *(each.der for each in between))
        token = desk.token(signer, certificates=carried)
        return desk.case(
            name, why, code, desk.stamp(token, [signer, *between[::-1], root]), **other
        )

    middle = issue("Middle CA", issuer=root, ca=True)
    no_ca = issue("Middle CA", issuer=root, ca=False, signs_certificates=True, purposes=())
    may_not = issue("Middle CA", issuer=root, ca=True, signs_certificates=False)
    short = issue("Short CA", issuer=root, ca=True, path_length=0)
    below = issue("Lower CA", issuer=short, ca=True)
    old = issue("Middle CA", issuer=root, ca=True, valid=EXPIRED)
    old_root = issue("Old root", ca=True, valid=EXPIRED)
    signer = desk.signer()
    namesake = issue("Outside TSA root", ca=True)
    of_old = desk.signer(issuer=old_root)
    return [
        through("match_timestamp_intermediate", "An intermediate certificate authority.", "match",
                middle),
        through("timestamp_intermediate_no_ca_fail", "The intermediate is no certificate "
                "authority.", untrusted, no_ca),
        through("timestamp_intermediate_key_usage_fail", "The intermediate's key usage lacks "
                "keyCertSign.", untrusted, may_not),
        through("timestamp_path_length_fail", "An intermediate below one with path length 0.",
                untrusted, short, below),
        through("timestamp_intermediate_expired_fail", "The intermediate had expired at genTime.",
                "timestamp_invalid", old),
        through("match_timestamp_intermediate_trusted", "The intermediate itself stands among the "
                "trusted roots; its issuer does not.", "match", middle, roots=[middle]),
        desk.case("timestamp_root_expired_fail", "The trusted root had expired at genTime.",
                  "timestamp_invalid", desk.stamp(desk.token(of_old), [of_old, old_root]),
                  roots=[old_root]),
        desk.case("timestamp_root_of_same_name_fail", "The trusted root has the right name and "
                  "another key.", untrusted, desk.stamp(desk.token(signer), [signer, root]),
                  roots=[namesake]),
        desk.case("match_timestamp_root_of_same_name_too", "Two trusted roots of one name: one of "
                  "them signed.", "match", desk.stamp(desk.token(signer), [signer, root]),
                  roots=[namesake, root]),
    ]  # fmt: skip


def without_trust(desk: Desk) -> list[Case]:
    signer, untrusted = desk.signer(), "timestamp_untrusted"
    token = desk.token(signer)
    case = partial(desk.case, trusting=False)
    other = issue("Another root", ca=True)
    return [
        case(
            "match_embedded_outside_authority",
            "Without a trust file the last certificate of chain stands in for a root.",
            "match",
            desk.stamp(token, [signer, desk.root]),
        ),
        case(
            "timestamp_embedded_chain_empty_fail",
            "Without a trust file and with an empty chain no root is there.",
            untrusted,
            desk.stamp(token, []),
        ),
        case(
            "timestamp_embedded_chain_other_fail",
            "The last certificate of chain did not issue the signer's.",
            untrusted,
            desk.stamp(token, [signer, desk.root, other]),
        ),
        case(
            "match_embedded_chain_of_signer_only",
            "The last certificate of chain is the signer's own, and so the root.",
            "match",
            desk.stamp(token, [signer]),
        ),
    ]


def several(desk: Desk) -> list[Case]:
    known, stranger = desk.signer(), issue("Stranger", issuer=issue("Nobody's root", ca=True))
    good = desk.stamp(desk.token(known), [known, desk.root])
    unknown = desk.stamp(desk.token(stranger), [stranger])
    bad = desk.stamp(desk.token(known, spoil_signature=True), [known, desk.root])
    original = replace(desk.draft.timestamps[1], response=unknown.response)
    return [
        desk.case("match_timestamp_one_of_two", "One token is accepted, the other's authority is "
                  "not trusted.", "match", unknown, good),
        desk.case("timestamp_one_of_two_bad_fail", "One token is accepted, the other's signature "
                  "does not hold.", "timestamp_invalid", good, bad),
        desk.case("timestamp_untrusted_over_checkpoint_only_fail", "The token over the original "
                  "is accepted, the one over the checkpoint is not trusted.",
                  "timestamp_untrusted", unknown, desk.draft.timestamps[1]),
        desk.case("timestamp_original_token_of_checkpoint_fail", "The token over the original "
                  "has the checkpoint's imprint.", "timestamp_invalid", good, original),
        desk.case("timestamped_at_missing_fail", "A token is accepted and timestamped_at is "
                  "null.", "certificate_altered", good, timestamped_at=None),
    ]  # fmt: skip
