"""The house's own RFC 3161 authority, for a deployment with no outside one in reach.

Its tokens prove order and integrity, not independent time: whoever runs the house runs this
clock. Every certificate that carries one of them says so.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from notary.certpath import read_certificate
from notary.clock import Clock
from notary.cms import DIGEST_SIZES
from notary.der import OID, SEQUENCE, Reader, context
from notary.errors import MalformedInput
from notary.private_ca import VALID_FOR, Issued, issue
from notary.tsp import read_imprint

# The policy under which the house stamps, on the arc that needs no registration (ITU-T X.667):
# 2.25 and the UUID 3de76496-fce1-4bba-816a-485037fc1210 as a decimal.
POLICY = "2.25.82284368520648744138314016389991240208"
ACCURACY_S = 1

# RFC 5754 §2 wants SHA-256 written without parameters; asn1crypto by itself writes NULL.
_SHA256 = algos.DigestAlgorithm.load(bytes.fromhex("300b0609608648016503040201"))


def create_authority(
    name: str, now: datetime, *, valid_for: timedelta = VALID_FOR
) -> tuple[Issued, ec.EllipticCurvePrivateKey]:
    """A new P-256 chain for the house called `name`, with its revocation list, and the
    authority's key. The root's own key is gone: see `private_ca`."""
    key = ec.generate_private_key(ec.SECP256R1())
    purposes = [ExtendedKeyUsageOID.TIME_STAMPING]
    issued = issue(name, "TSA", key.public_key(), now, valid_for=valid_for, purposes=purposes)
    return issued, key


def create_chain(
    name: str, now: datetime, *, valid_for: timedelta = VALID_FOR
) -> tuple[bytes, bytes, ec.EllipticCurvePrivateKey]:
    """The same without the list: root certificate and authority certificate (DER), key."""
    issued, key = create_authority(name, now, valid_for=valid_for)
    return issued.root, issued.certificate, key


class _RefusedError(Exception):
    """Why there is no token: `failure` is a name of RFC 3161's PKIFailureInfo."""

    def __init__(self, failure: str, text: str) -> None:
        super().__init__(text)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A TimeStampReq that can be served; `imprint` is the DER of its MessageImprint."""

    imprint: bytes
    nonce: int | None
    cert_req: bool


class _TimeStampResp(core.Sequence):  # type: ignore[misc]  # asn1crypto carries no types
    """RFC 3161 §2.4.2. asn1crypto's own has no way to leave the token out, as a refusal does."""

    _fields = [  # noqa: RUF012  # asn1crypto's way of declaring a structure
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


class EmbeddedAuthority:
    """Answers TimeStampReq with TimeStampResp (RFC 3161 §2.4), one at a time.

    `serials` gives a number never given before, also after a crash; it is called once for each
    token and before it is signed, so a crash wastes a number and never repeats one.
    `last_gen_time` gives the genTime of the newest token this authority ever gave, by any
    process, or a moment of the same millisecond: the clock is held against it. What these two
    raise passes through `respond`.
    """

    def __init__(
        self,
        *,
        root: bytes,
        certificate: bytes,
        key: ec.EllipticCurvePrivateKey,
        clock: Clock,
        serials: Callable[[], int],
        last_gen_time: Callable[[], datetime | None],
        policy: str = POLICY,
    ) -> None:
        self.root = root
        self.certificate = certificate
        self.policy = policy
        self._key = key
        self._clock = clock
        self._serials = serials
        self._last_gen_time = last_gen_time
        self._last_here: datetime | None = None
        self._turn = threading.Lock()
        self._validity = read_certificate(certificate).parsed
        self._asn1 = asn1_x509.Certificate.load(certificate)
        self._sid, self._self_reference = _names_of(certificate)

    def respond(self, request_der: bytes) -> bytes:
        """The DER of a TimeStampResp: a token, or a rejection with its PKIFailureInfo.

        Of any bytes: a request that cannot be served is answered, not raised. How many bytes
        may come in is for the door to say.
        """
        try:
            request = self._read_request(request_der)
            with self._turn:
                gen_time = self._gen_time()
                serial = self._serials()
                self._last_here = gen_time
        except _RefusedError as refusal:
            info = {
                "status": "rejection",
                "status_string": [str(refusal)],
                "fail_info": {refusal.failure},
            }
            return bytes(_TimeStampResp({"status": info}).dump())
        token = self._token(request, gen_time, serial)
        answer = _TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token})
        return bytes(answer.dump())

    def _read_request(self, der: bytes) -> _Request:
        """RFC 3161 §2.4.1, with the failure that §2.4.2 names for each fault."""
        try:
            fields = Reader.inside(der, SEQUENCE, "TimeStampReq")
            version = fields.integer()
            imprint = fields.take_encoded(SEQUENCE)
            policy = fields.oid() if fields.next_tag() == OID else None
            nonce, cert_req = fields.integer_if(), fields.boolean_if()
            extensions = fields.take_if(context(0))
            fields.end()
            algorithm, digest = read_imprint(Reader(imprint, "TimeStampReq"))
        except MalformedInput as error:
            raise _RefusedError("bad_data_format", str(error)) from error
        if version != 1:
            raise _RefusedError("bad_request", f"version {version:#x}, known is 1")
        if algorithm not in DIGEST_SIZES:
            known = sorted(DIGEST_SIZES)
            raise _RefusedError("bad_alg", f"digest {algorithm!r}, known are {known}")
        if len(digest) != DIGEST_SIZES[algorithm]:
            sides = f"{len(digest)} bytes, {algorithm} has {DIGEST_SIZES[algorithm]}"
            raise _RefusedError("bad_data_format", f"digest of {sides}")
        if policy not in (None, self.policy):
            raise _RefusedError("unaccepted_policy", f"policy {policy!r}, known is {self.policy!r}")
        if extensions is not None:
            raise _RefusedError("unaccepted_extensions", "no extension is known here")
        return _Request(imprint=imprint, nonce=nonce, cert_req=cert_req)

    def _gen_time(self) -> datetime:
        """The clock, to the millisecond, if it can be believed; called under the lock."""
        now = _millisecond(self._clock.now())
        for last in (self._last_gen_time(), self._last_here):
            if last is not None and now < _millisecond(last):
                why = f"the clock is at {now}, a token is of {last}"
                raise _RefusedError("time_not_available", why)
        first, last = self._validity.not_valid_before_utc, self._validity.not_valid_after_utc
        if not first <= now <= last:
            why = f"the clock is at {now}, the certificate is valid from {first} to {last}"
            raise _RefusedError("time_not_available", why)
        return now

    def _token(self, request: _Request, gen_time: datetime, serial: int) -> Any:
        info = {
            "version": "v1",
            "policy": self.policy,
            "message_imprint": tsp.MessageImprint.load(request.imprint),
            "serial_number": serial,
            "gen_time": gen_time,
            "accuracy": {"seconds": ACCURACY_S},
            "tsa": asn1_x509.GeneralName(name="directory_name", value=self._asn1.subject),
        }
        if request.nonce is not None:
            info["nonce"] = request.nonce
        content = tsp.TSTInfo(info).dump()
        signed = {
            "version": "v3",
            "digest_algorithms": [_SHA256],
            "encap_content_info": {
                "content_type": "tst_info",
                "content": core.ParsableOctetString(content),
            },
            "signer_infos": [self._signer_info(content)],
        }
        if request.cert_req:
            signed["certificates"] = [self._asn1]
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})

    def _signer_info(self, content: bytes) -> dict[str, Any]:
        """RFC 5652 §5.3, over the attributes that RFC 3161 §2.4.2 and RFC 5816 ask for."""
        digest = hashlib.sha256(content).digest()
        attributes = _frozen(
            cms.CMSAttributes(
                [
                    {"type": "content_type", "values": ["tst_info"]},
                    {"type": "message_digest", "values": [digest]},
                    self._self_reference,
                ]
            )
        )
        return {
            "version": "v1",
            "sid": self._sid,
            "digest_algorithm": _SHA256,
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": self._key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256())),
        }


def _millisecond(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _names_of(certificate: bytes) -> tuple[Any, Any]:
    """What names the signing certificate: the sid, and the attribute with its ESSCertIDv2."""
    parsed = asn1_x509.Certificate.load(certificate)
    issuer, serial = parsed.issuer, parsed.serial_number
    sid = cms.SignerIdentifier(
        "issuer_and_serial_number", {"issuer": issuer, "serial_number": serial}
    )
    named = {
        "cert_hash": hashlib.sha256(certificate).digest(),
        "issuer_serial": {
            "issuer": [asn1_x509.GeneralName(name="directory_name", value=issuer)],
            "serial_number": serial,
        },
    }
    attribute = {"type": "signing_certificate_v2", "values": [{"certs": [named]}]}
    return _frozen(sid), _frozen(cms.CMSAttribute(attribute))


def _frozen(value: Any) -> Any:
    """The same value, read back from its bytes.

    asn1crypto writes what was built, not read, anew at every level above it: ten times the
    work for a token, and the bytes that were signed should be those that are sent.
    """
    return type(value).load(value.dump())
