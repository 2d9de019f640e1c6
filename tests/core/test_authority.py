"""The house's own authority: every token it gives is judged by `openssl ts -verify` and by
rfc3161-client, which nobody here wrote, and by our own verifier.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc3161_client
from asn1crypto import core, tsp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from notary.authority import ACCURACY_S, POLICY, EmbeddedAuthority, create_chain
from notary.errors import BadTimestamp, MalformedInput, Unverifiable
from notary.private_ca import MAX_NAME_BYTES
from notary.tsp import parse_response, verify_token
from tests.harness.openssl_tsa import openssl_verify

DATA = b"exhibit 7"
IMPRINT = hashlib.sha256(DATA).digest()
SECOND = timedelta(seconds=1)
# openssl judges a chain at the present, so the authority must be one of the present.
START = datetime.now(UTC).replace(microsecond=123_456)
ROOT, CERTIFICATE, KEY = create_chain("Test House", START)


@dataclass
class Clock:
    moment: datetime = START

    def now(self) -> datetime:
        return self.moment


@dataclass
class House:
    """An authority with its clock and its books in the hands of the test."""

    clock: Clock = field(default_factory=Clock)
    last: datetime | None = None
    given: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        numbers = itertools.count(1)

        def serial() -> int:
            self.given.append(next(numbers))
            return self.given[-1]

        self.authority = EmbeddedAuthority(
            root=ROOT,
            certificate=CERTIFICATE,
            key=KEY,
            clock=self.clock,
            serials=serial,
            last_gen_time=lambda: self.last,
        )


def request(**otherwise: Any) -> bytes:
    fields: dict[str, Any] = {
        "version": "v1",
        "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": IMPRINT},
        "nonce": 77,
        "cert_req": True,
    }
    return bytes(tsp.TimeStampReq(fields | otherwise).dump())


def imprint(algorithm: str, value: bytes) -> dict[str, Any]:
    named = {"hash_algorithm": {"algorithm": algorithm}, "hashed_message": value}
    return {"message_imprint": named}


def failure(house: House, der: bytes) -> set[str]:
    """asn1crypto's reading of the PKIFailureInfo of a refusal."""
    status, *others = core.SequenceOf.load(house.authority.respond(der), spec=tsp.PKIStatusInfo)
    assert not others
    assert status["status"].native == "rejection"
    assert status["status_string"].native[0]
    return set(status["fail_info"].native)


def rfc3161_client_verify(response: bytes, data: bytes) -> str:
    """What rfc3161-client says: "OK", or its complaint."""
    root = x509.load_der_x509_certificate(ROOT)
    verifier = rfc3161_client.VerifierBuilder().add_root_certificate(root).build()
    try:
        verifier.verify_message(rfc3161_client.decode_timestamp_response(response), data)
    except (rfc3161_client.VerificationError, ValueError) as error:
        return str(error)
    return "OK"


# --- what it gives


def test_a_token_says_what_the_standard_wants_said() -> None:
    token = parse_response(House().authority.respond(request()))
    assert token.imprint == IMPRINT
    assert (token.nonce, token.serial, token.policy) == (77, 1, POLICY)
    assert token.accuracy_us == ACCURACY_S * 1_000_000
    assert token.gen_time == START.replace(microsecond=123_000)
    assert token.certificates == (CERTIFICATE,)
    (reference,) = token.signer.signing_certificates
    assert reference.digest == hashlib.sha256(CERTIFICATE).digest()
    info = tsp.TSTInfo.load(token.tst_info)
    assert info["ordering"].native is False
    assert info["tsa"].native["common_name"] == "Test House TSA"


def test_our_own_verifier_takes_it() -> None:
    token = parse_response(House().authority.respond(request()))
    found = verify_token(token, imprint=IMPRINT, nonce=77, roots=[ROOT], policies=[POLICY])
    assert found.authority == "Test House TSA"
    assert found.chain == (CERTIFICATE, ROOT)


def test_openssl_takes_it(tmp_path: Path) -> None:
    response = House().authority.respond(request())
    assert openssl_verify(tmp_path, response=response, data=DATA, root=ROOT) == "OK"
    other = openssl_verify(tmp_path, response=response, data=b"exhibit 8", root=ROOT)
    assert "message imprint mismatch" in other
    other_root, _, _ = create_chain("Test House", START)
    other = openssl_verify(tmp_path, response=response, data=DATA, root=other_root)
    assert other != "OK"


def test_rfc3161_client_takes_it() -> None:
    response = House().authority.respond(request())
    assert rfc3161_client_verify(response, DATA) == "OK"
    assert "Mismatch between messages" in rfc3161_client_verify(response, b"exhibit 8")


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_other_hashes_are_stamped_and_judged(algorithm: str, tmp_path: Path) -> None:
    value = hashlib.new(algorithm, DATA).digest()
    response = House().authority.respond(request(**imprint(algorithm, value)))
    assert openssl_verify(tmp_path, response=response, data=DATA, root=ROOT) == "OK"
    assert rfc3161_client_verify(response, DATA) == "OK"
    verify_token(parse_response(response), imprint=value, imprint_algorithm=algorithm, roots=[ROOT])


def test_sm3_is_stamped() -> None:
    response = House().authority.respond(request(**imprint("1.2.156.10197.1.401", IMPRINT)))
    assert parse_response(response).imprint_algorithm == "sm3"


@pytest.mark.parametrize("microsecond", [0, 999, 1000, 120_000, 999_999])
def test_fractions_of_a_second_are_written_as_the_standard_wants(
    microsecond: int, tmp_path: Path
) -> None:
    house = House(clock=Clock(START.replace(microsecond=microsecond)))
    response = house.authority.respond(request())
    assert parse_response(response).gen_time.microsecond == microsecond // 1000 * 1000
    assert openssl_verify(tmp_path, response=response, data=DATA, root=ROOT) == "OK"
    assert rfc3161_client_verify(response, DATA) == "OK"


def test_certificates_are_left_out_when_not_asked_for() -> None:
    token = parse_response(House().authority.respond(request(cert_req=False)))
    assert token.certificates == ()
    verify_token(token, imprint=IMPRINT, roots=[ROOT], intermediates=[CERTIFICATE])
    with pytest.raises(Unverifiable):
        verify_token(token, imprint=IMPRINT, roots=[ROOT])


def test_the_nonce_is_left_out_when_there_was_none() -> None:
    assert parse_response(House().authority.respond(request(nonce=None))).nonce is None


@pytest.mark.parametrize("nonce", [0, 127, 128, 2**63, 2**64 - 1, 2**200, -5])
def test_the_nonce_comes_back_as_it_went(nonce: int) -> None:
    assert parse_response(House().authority.respond(request(nonce=nonce))).nonce == nonce


def test_its_policy_may_be_asked_for() -> None:
    token = parse_response(House().authority.respond(request(req_policy=POLICY)))
    assert token.policy == POLICY


# --- what a judge does with a token that was touched


def _touched(response: bytes) -> list[bytes]:
    """The same response with one bit of what its signature covers, or of it, the other way."""
    token = parse_response(response)
    parts = (token.tst_info, token.signer.signed_attributes[1:], token.signer.signature)
    places: list[int] = []
    for part in parts:
        start = response.index(part)
        places += range(start, start + len(part), len(part) // 12)
    return [response[:at] + bytes([response[at] ^ 4]) + response[at + 1 :] for at in places]


def test_a_token_that_was_touched_is_refused_by_every_judge(tmp_path: Path) -> None:
    for touched in _touched(House().authority.respond(request())):
        with pytest.raises((MalformedInput, BadTimestamp, Unverifiable)):
            verify_token(parse_response(touched), imprint=IMPRINT, nonce=77, roots=[ROOT])
        assert rfc3161_client_verify(touched, DATA) != "OK"
        assert openssl_verify(tmp_path, response=touched, data=DATA, root=ROOT) != "OK"


# --- what it refuses


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (imprint("sha1", bytes(20)), "bad_alg"),
        (imprint("md5", bytes(16)), "bad_alg"),
        (imprint("1.2.3.4", bytes(32)), "bad_alg"),
        (imprint("sha256", bytes(31)), "bad_data_format"),
        (imprint("sha512", bytes(32)), "bad_data_format"),
        (imprint("sha256", b""), "bad_data_format"),
        ({"version": "v2"}, "bad_request"),
        ({"version": "v0"}, "bad_request"),
        ({"req_policy": "1.2.3"}, "unaccepted_policy"),
        ({"extensions": [{"extn_id": "1.2.3", "extn_value": b"x"}]}, "unaccepted_extensions"),
    ],
    ids=str,
)
def test_a_request_it_cannot_serve_is_answered_with_the_reason(
    wrong: dict[str, Any], named: str
) -> None:
    house = House()
    assert failure(house, request(**wrong)) == {named}
    assert house.given == [], "a serial was spent on a refusal"
    with pytest.raises(BadTimestamp) as caught:
        parse_response(house.authority.respond(request(**wrong)))
    assert caught.value.code == "timestamp_refused"


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x30\x00",
        b"POST / HTTP/1.1",
        request()[:-1],
        request() + b"\x00",
        b"\x30\x80" + request()[2:] + b"\x00\x00",
        bytes(100_000),
    ],
    ids=lambda der: f"{len(der)} bytes",
)
def test_what_is_no_request_is_answered_with_bad_data_format(der: bytes) -> None:
    assert failure(House(), der) == {"bad_data_format"}


@given(data=st.data())
def test_any_bytes_at_all_get_an_answer(data: st.DataObject) -> None:
    good = request()
    at, until = data.draw(st.integers(0, len(good))), data.draw(st.integers(0, len(good)))
    der = good[:at] + data.draw(st.binary(max_size=20)) + good[until:]
    try:
        parse_response(House().authority.respond(der))
    except BadTimestamp as refusal:
        assert refusal.code == "timestamp_refused"


# --- its clock and its numbers


def test_a_clock_behind_the_last_token_gives_none() -> None:
    house = House(last=START + SECOND)
    assert failure(house, request()) == {"time_not_available"}
    assert house.given == []
    house.clock.moment += SECOND
    parse_response(house.authority.respond(request()))


def test_a_last_token_written_down_finer_than_a_millisecond_is_not_ahead_of_the_clock() -> None:
    parse_response(House(last=START.replace(microsecond=123_999)).authority.respond(request()))
    assert failure(House(last=START.replace(microsecond=124_000)), request()) == {
        "time_not_available"
    }


def test_a_clock_that_runs_backwards_between_two_tokens_gives_none() -> None:
    house = House()
    house.authority.respond(request())
    house.clock.moment -= timedelta(milliseconds=1)
    assert failure(house, request()) == {"time_not_available"}


def test_two_tokens_of_the_same_millisecond_are_two_tokens() -> None:
    house = House()
    one, two = (parse_response(house.authority.respond(request())) for _ in range(2))
    assert one.gen_time == two.gen_time
    assert (one.serial, two.serial) == (1, 2)


@pytest.mark.parametrize("offset", [timedelta(days=-1), timedelta(days=3651)])
def test_a_clock_outside_the_certificates_validity_gives_none(offset: timedelta) -> None:
    house = House(clock=Clock(START + offset))
    assert failure(house, request()) == {"time_not_available"}


def test_a_serial_that_cannot_be_had_is_not_hidden_and_gives_no_token() -> None:
    def broken() -> int:
        raise OSError("database is gone")

    authority = EmbeddedAuthority(
        root=ROOT,
        certificate=CERTIFICATE,
        key=KEY,
        clock=Clock(),
        serials=broken,
        last_gen_time=lambda: None,
    )
    with pytest.raises(OSError, match="database is gone"):
        authority.respond(request())


def test_many_askers_at_once_get_one_serial_each_in_the_order_of_time() -> None:
    tick: Callable[[], int] = itertools.count().__next__

    class Ticking(Clock):
        def now(self) -> datetime:
            return START + timedelta(milliseconds=tick())

    house = House(clock=Ticking())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(house.authority.respond, [request()] * 64))
    tokens = sorted((parse_response(each) for each in answers), key=lambda token: token.serial)
    assert [token.serial for token in tokens] == list(range(1, 65))
    assert [token.gen_time for token in tokens] == sorted(token.gen_time for token in tokens)


# --- its chain


def test_a_new_chain_is_two_p256_certificates_for_one_purpose() -> None:
    root, certificate = (x509.load_der_x509_certificate(der) for der in (ROOT, CERTIFICATE))
    limits = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)
    certificate.verify_directly_issued_by(root)
    purpose = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert purpose.critical
    assert list(purpose.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
    for each in (root, certificate):
        key = each.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
        assert each.not_valid_after_utc - each.not_valid_before_utc == timedelta(days=3650)
    assert certificate.public_key() == KEY.public_key()


def test_two_chains_of_one_name_do_not_vouch_for_each_other() -> None:
    other_root, _, _ = create_chain("Test House", START)
    token = parse_response(House().authority.respond(request()))
    with pytest.raises(Unverifiable) as caught:
        verify_token(token, imprint=IMPRINT, roots=[other_root])
    assert caught.value.code == "timestamp_untrusted"


@pytest.mark.parametrize("name", ["x" * 200, "院" * 17, "a" + "院" * 16, "𠮷" * 13, " ", "é" * 40])
def test_of_a_name_the_certificates_carry_what_fits(name: str) -> None:
    root, certificate, _ = create_chain(name, START)
    for der in (root, certificate):
        (found,) = x509.load_der_x509_certificate(der).subject
        carried, _, _ = str(found.value).rpartition("TSA")
        assert name.startswith(carried.strip())
        assert len(carried.strip().encode()) <= MAX_NAME_BYTES


def test_a_name_in_chinese(tmp_path: Path) -> None:
    root, certificate, key = create_chain("测试区人民法院" + "一" * 9, START)
    authority = EmbeddedAuthority(
        root=root,
        certificate=certificate,
        key=key,
        clock=Clock(),
        serials=lambda: 1,
        last_gen_time=lambda: None,
    )
    response = authority.respond(request())
    found = verify_token(parse_response(response), imprint=IMPRINT, roots=[root])
    assert found.authority.startswith("测试区人民法院")
    assert openssl_verify(tmp_path, response=response, data=DATA, root=root) == "OK"
