"""Signed statements of outside issuers, and their keys: made by others, read by us."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from notary.errors import BadSignature, MalformedInput, NotaryError, Rejected
from notary.issuer_key import ALGORITHMS as NAMES
from notary.issuer_key import check_signature, parse_issuer_key
from notary.signed_statement import parse_signed_statement
from notary.statement import EVIDENCE_TYPE, StatementSigner, key_thumbprint
from tests.harness.issuer import ALGORITHMS, OutsideIssuer, entry_of, id_of

ISS = "https://vendor.example"
VENDORS = {alg: OutsideIssuer.new(ISS, alg) for alg in ALGORITHMS}
VENDOR = VENDORS["ES256"]


# --- statements ---------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_statement_is_taken_apart_and_its_signature_holds(alg: str) -> None:
    vendor = VENDORS[alg]
    data = vendor.statement(b"payload", unprotected={99: "not kept"})
    found = parse_signed_statement(data)
    assert (found.issuer, found.subject, found.kid) == (ISS, "urn:example:thing", b"key-1")
    assert (found.alg, found.payload) == (ALGORITHMS[alg], b"payload")
    assert (found.entry, found.id()) == (entry_of(data), id_of(data))
    check_signature(parse_issuer_key(vendor.pem), found.signature, found.signed_bytes())


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_a_statement_made_by_scitt_cose_is_read(alg: str) -> None:
    vendor = VENDORS[alg]
    data = scitt_cose.build_signed_statement(
        b"x", alg=alg, private_key_pem=vendor.private_pem.decode(), issuer=ISS, subject="s",
        content_type="text/plain", kid=b"k",
    )  # fmt: skip
    found = parse_signed_statement(data)
    check_signature(parse_issuer_key(vendor.pem), found.signature, found.signed_bytes())
    assert scitt_cose.parse_signed_statement(found.entry, public_key_pem=vendor.pem.decode())


def test_the_unprotected_header_alone_does_not_make_another_entry() -> None:
    data = VENDOR.statement()
    body = cbor2.loads(data).value
    receipted = cbor2.dumps(cbor2.CBORTag(18, [body[0], {394: [b"r"]}, body[2], body[3]]))
    assert parse_signed_statement(receipted).entry == parse_signed_statement(data).entry == data


def test_the_issuers_own_order_in_its_header_is_kept() -> None:
    header = dict(reversed(VENDOR.header().items()))
    found = parse_signed_statement(VENDOR.statement(header=header))
    assert found.protected == cbor2.dumps(header)


def without(label: int) -> dict[Any, Any]:
    return {k: v for k, v in VENDOR.header().items() if k != label}


MALFORMED: dict[str, bytes] = {
    "no alg": VENDOR.statement(header=without(1)),
    "alg is true": VENDOR.statement(header={**VENDOR.header(), 1: True}),
    "no kid": VENDOR.statement(header=without(4)),
    "kid is a text": VENDOR.statement(header={**VENDOR.header(), 4: "key-1"}),
    "kid unprotected": VENDOR.statement(header=without(4), unprotected={4: b"key-1"}),
    "kid in both": VENDOR.statement(unprotected={4: b"key-1"}),
    "no claims": VENDOR.statement(header=without(15)),
    "claims are a list": VENDOR.statement(header={**VENDOR.header(), 15: [1]}),
    "no iss": VENDOR.statement(header={**VENDOR.header(), 15: {2: "s"}}),
    "no sub": VENDOR.statement(header={**VENDOR.header(), 15: {1: ISS}}),
    "sub is empty": VENDOR.statement(header={**VENDOR.header(), 15: {1: ISS, 2: ""}}),
    "iss is bytes": VENDOR.statement(header={**VENDOR.header(), 15: {1: b"x", 2: "s"}}),
    "crit is empty": VENDOR.statement(header={**VENDOR.header(), 2: []}),
    "crit is a number": VENDOR.statement(header={**VENDOR.header(), 2: 15}),
    "crit names what is not there": VENDOR.statement(header={**VENDOR.header(), 2: [99]}),
    "crit unprotected": VENDOR.statement(unprotected={2: [15]}),
    "payload is a text": VENDOR.statement("text"),
    "a header that is a list": cbor2.dumps(cbor2.CBORTag(18, [b"\x80", {}, b"", b""])),
    "an empty header": cbor2.dumps(cbor2.CBORTag(18, [b"", {}, b"", b""])),
    "a name twice": cbor2.dumps(cbor2.CBORTag(18, [b"\xa2\x01\x26\x01\x27", {}, b"", b""])),
    "unprotected is a list": cbor2.dumps(cbor2.CBORTag(18, [b"\xa0", [], b"", b""])),
    "no tag": cbor2.dumps(cbor2.loads(VENDOR.statement()).value),
    "COSE_Sign": cbor2.dumps(cbor2.CBORTag(98, cbor2.loads(VENDOR.statement()).value)),
    "three parts": cbor2.dumps(cbor2.CBORTag(18, cbor2.loads(VENDOR.statement()).value[:3])),
    "a byte behind": VENDOR.statement() + b"\x00",
    "a byte short": VENDOR.statement()[:-1],
    "a second spelling of the frame": b"\xd8\x12" + VENDOR.statement()[1:],
    "nothing": b"",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_signed_statement_is_malformed(what: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_signed_statement(MALFORMED[what])
    assert caught.value.code == "signed_statement_malformed"


def test_a_detached_payload_is_said_to_be_missing() -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_signed_statement(VENDOR.statement(None))
    assert caught.value.code == "payload_missing"


@pytest.mark.parametrize(
    "data",
    [
        VENDOR.statement(header={**VENDOR.header(), 99: 1, 2: [99]}),
        VENDOR.statement(header={**VENDOR.header(), 258: -16, 2: [15, 258]}),
        VENDOR.statement(header={**VENDOR.header(), 34: [-16, b"x"]}),
        VENDOR.statement(header={**without(4), 33: b"certificate"}),
        VENDOR.statement(header=without(4), unprotected={33: b"certificate"}),
    ],
)
def test_what_is_critical_and_not_understood_is_refused_and_certificates_too(data: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        parse_signed_statement(data)
    assert caught.value.code == "header_refused"


def test_what_is_critical_and_understood_is_taken() -> None:
    parse_signed_statement(VENDOR.statement(header={**VENDOR.header(), 2: [15, 4]}))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_statement_or_one_documented_error(data: bytes) -> None:
    with pytest.raises(Rejected):
        parse_signed_statement(data)


@given(st.data())
def test_a_statement_changed_anywhere_is_read_or_refused_and_never_verifies(data: Any) -> None:
    vendor = VENDORS["EdDSA"]
    good = vendor.statement(unprotected={99: "x"})
    at = data.draw(st.integers(0, len(good) - 1))
    changed = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
    try:
        found = parse_signed_statement(changed)
        check_signature(parse_issuer_key(vendor.pem), found.signature, found.signed_bytes())
    except NotaryError:
        return
    assert found.entry == entry_of(good)  # only the unprotected header differed


@given(
    st.dictionaries(
        st.integers(-3, 40) | st.text(max_size=3),
        st.none()
        | st.integers()
        | st.binary(max_size=9)
        | st.text(max_size=9)
        | st.lists(st.integers(0, 40), max_size=3)
        | st.dictionaries(st.integers(0, 3), st.text(max_size=3), max_size=3),
    )
)
def test_any_header_is_read_or_refused(header: dict[Any, Any]) -> None:
    body = [cbor2.dumps({**VENDOR.header(), **header}), {}, b"", b""]
    try:
        parse_signed_statement(cbor2.dumps(cbor2.CBORTag(18, body)))
    except Rejected as exc:
        assert exc.code in (  # its documented ones
            "signed_statement_malformed", "header_refused", "algorithm_refused",
        )  # fmt: skip


def test_a_statement_of_the_house_has_the_same_form() -> None:
    private = VENDORS["EdDSA"].private
    signer = StatementSigner("example.org/log", private)  # type: ignore[arg-type]  # Ed25519
    data = signer.sign(bytes(32), preimage_type=EVIDENCE_TYPE, randomness=bytes(16))
    assert parse_signed_statement(data).entry == data


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_key_is_the_same_from_pem_and_as_cose_key(alg: str) -> None:
    key = parse_issuer_key(VENDORS[alg].pem)
    assert NAMES[key.alg] == alg
    assert parse_issuer_key(key.cose_key) == key
    more = {**cbor2.loads(key.cose_key), 2: b"kid", 3: key.alg}
    assert parse_issuer_key(cbor2.dumps(more)) == key


def test_the_thumbprint_of_an_ed25519_key_is_the_house_s_kid_of_it() -> None:
    key = parse_issuer_key(VENDORS["EdDSA"].pem)
    raw = VENDORS["EdDSA"].private.public_key().public_bytes_raw()  # type: ignore[union-attr]
    assert key.thumbprint() == key_thumbprint(raw)


def pem_of(key: Any) -> bytes:
    pem: bytes = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def a_cose_key(**changes: Any) -> bytes:
    members = cbor2.loads(parse_issuer_key(VENDOR.pem).cose_key)
    names = {"kty": 1, "alg": 3, "crv": -1, "x": -2, "y": -3, "d": -4}
    return cbor2.dumps({**members, **{names[k]: v for k, v in changes.items()}})


@pytest.mark.parametrize(
    "data",
    [
        b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\x80",
        VENDOR.private_pem,
        pem_of(rsa.generate_private_key(65537, 2048).public_key()),
        pem_of(x25519.X25519PrivateKey.generate().public_key()),
        pem_of(ec.generate_private_key(ec.SECP521R1()).public_key()),
        pem_of(ec.generate_private_key(ec.SECP256K1()).public_key()),
        a_cose_key(d=bytes(32)), a_cose_key(y=True), a_cose_key(x=bytes(32)),
        a_cose_key(x=bytes(31)), a_cose_key(alg=-35), a_cose_key(crv=2), a_cose_key(kty=1),
        a_cose_key(kty=None), a_cose_key(crv="P-256"), cbor2.dumps({1: 1, -1: 6, -2: bytes(31)}),
        cbor2.dumps({1: 7, 3: -48, -1: bytes(10)}), cbor2.dumps({1: 7, -1: bytes(1312)}),
    ],
    ids=lambda data: str(len(data)),
)  # fmt: skip
def test_what_is_no_public_key_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_issuer_key(data)
    assert caught.value.code == "issuer_key_malformed"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        parse_issuer_key(data)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_no_other_signature_verifies(alg: str) -> None:
    vendor = VENDORS[alg]
    key, good = parse_issuer_key(vendor.pem), vendor.sign(b"data")
    check_signature(key, good, b"data")
    other = parse_issuer_key(OutsideIssuer.new(ISS, alg).pem)
    for wrong, signature, data in (
        (key, good, b"date"), (key, good[:-1], b"data"), (key, good + b"\0", b"data"),
        (key, b"", b"data"), (key, bytes(len(good)), b"data"), (key, b"\xff" * len(good), b"data"),
        (other, good, b"data"), (key, bytes([good[0] ^ 1]) + good[1:], b"data"),
    ):  # fmt: skip
        with pytest.raises(BadSignature):
            check_signature(wrong, signature, data)


def test_der_signatures_are_not_cose_s() -> None:
    private = VENDOR.private
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    from_openssl = private.sign(b"data", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(BadSignature):
        check_signature(parse_issuer_key(VENDOR.pem), from_openssl, b"data")
