from __future__ import annotations

import hashlib
import itertools
import random
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from asn1crypto import tsp
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from notary.authority import EmbeddedAuthority, create_chain
from notary.clock import SystemClock
from notary.errors import BadTimestamp, Unreachable, Unverifiable
from notary.tsa import (
    EmbeddedTransport,
    HttpAuthority,
    Stamped,
    TimestampAuthority,
    encode_request,
    request_timestamp,
)
from notary.tsp import parse_response, verify_token
from tests.harness.certomancer import Certomancer, certomancer
from tests.harness.liar import Liar, Lie, lying_authority
from tests.harness.openssl_tsa import openssl_authority, openssl_verify
from tests.harness.tokens import PrivateKey, p256

DATA = b"exhibit 7"
IMPRINT = hashlib.sha256(DATA).digest()
MINUTE = timedelta(minutes=1)


def stamp(authority: TimestampAuthority, policies: tuple[str, ...] = ()) -> Stamped:
    return request_timestamp(
        authority,
        imprint=IMPRINT,
        nonce=secrets.randbits(64),
        now=datetime.now(UTC),
        tolerance=MINUTE,
        policies=policies,
    )


@pytest.fixture(scope="module")
def running_liar() -> Iterator[Liar]:
    with lying_authority() as liar:
        yield liar


@pytest.fixture
def liar(running_liar: Liar) -> Liar:
    running_liar.lie = Lie.NONE
    return running_liar


def at(liar: Liar, *, timeout_s: float = 10.0) -> HttpAuthority:
    return HttpAuthority(liar.url, (liar.root,), name="liar", timeout_s=timeout_s)


# --- authorities that are not ours


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certomancer]:
    with certomancer(tmp_path_factory.mktemp("certomancer")) as running:
        yield running


@pytest.mark.parametrize("kind", ["rsa", "pss", "ec"])
def test_certomancer_stamps_and_is_believed(
    foreign: Certomancer, kind: str, tmp_path: Path
) -> None:
    stamped = stamp(HttpAuthority(foreign.url(kind), (foreign.root,), name=kind))
    assert stamped.verified.authority == f"Certomancer {'ec' if kind == 'ec' else 'rsa'}"
    assert stamped.verified.chain[-1] == foreign.root
    if kind != "pss":  # `openssl ts` cannot read RSASSA-PSS
        judged = openssl_verify(tmp_path, response=stamped.response, data=DATA, root=foreign.root)
        assert judged == "OK"


def test_certomancer_under_a_root_that_is_not_configured_is_undecided(
    foreign: Certomancer,
) -> None:
    root, _, _ = create_chain("Somebody else", datetime.now(UTC))
    with pytest.raises(Unverifiable) as caught:
        stamp(HttpAuthority(foreign.url("ec"), (root,), name="ec"))
    assert caught.value.code == "timestamp_untrusted"


def test_certomancer_with_its_clock_set_back_is_refused(foreign: Certomancer) -> None:
    class SetBack(HttpAuthority):
        def exchange(self, request_der: bytes) -> bytes:
            headers = {
                "Content-Type": "application/timestamp-query",
                "X-Certomancer-Fake-Time": "2024-01-01T00:00:00+00:00",
            }
            return requests.post(self.url, data=request_der, headers=headers, timeout=10).content

    with pytest.raises(BadTimestamp) as caught:
        stamp(SetBack(foreign.url("ec"), (foreign.root,), name="set back"))
    assert caught.value.code == "timestamp_clock_skew"


def test_a_certomancer_that_is_not_there_is_unreachable(foreign: Certomancer) -> None:
    with pytest.raises(Unreachable, match="404"):
        stamp(HttpAuthority(foreign.url("nobody"), (foreign.root,), name="nobody"))


@pytest.mark.parametrize("ess_chain", [False, True], ids=["", "whole chain named"])
@pytest.mark.parametrize("ess_hash", ["sha1", "sha256", "sha384"])
@pytest.mark.parametrize(
    "key",
    [
        p256(),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
    ids=["p-256", "p-384", "rsa"],
)
def test_openssl_stamps_and_is_believed(
    tmp_path: Path, key: PrivateKey, ess_hash: str, ess_chain: bool
) -> None:
    authority = openssl_authority(tmp_path, key=key, ess_hash=ess_hash, ess_chain=ess_chain)
    stamped = stamp(authority, policies=("1.3.6.1.4.1.99999.1",))
    assert stamped.verified.authority == "OpenSSL TSA"
    assert parse_response(stamped.response).accuracy_us == 1_000_000


# --- the house's own


def test_the_embedded_authority_stamps_and_is_believed(tmp_path: Path) -> None:
    root, certificate, key = create_chain("Test House", datetime.now(UTC))
    authority = EmbeddedAuthority(
        root=root,
        certificate=certificate,
        key=key,
        clock=SystemClock(),
        serials=itertools.count(1).__next__,
        last_gen_time=lambda: None,
    )
    transport = EmbeddedTransport(authority, name="embedded")
    assert transport.self_operated
    stamped = stamp(transport)
    assert stamped.verified.serial == 1
    assert stamped.verified.chain == (certificate, root)
    assert openssl_verify(tmp_path, response=stamped.response, data=DATA, root=root) == "OK"


# --- the request


def test_the_request_asks_for_sha256_with_the_nonce_and_the_certificates(liar: Liar) -> None:
    nonce = 2**64 - 1
    now = datetime.now(UTC)
    request_timestamp(at(liar), imprint=IMPRINT, nonce=nonce, now=now, tolerance=MINUTE)
    request = tsp.TimeStampReq.load(liar.asked[-1], strict=True)
    assert request["message_imprint"]["hash_algorithm"]["algorithm"].native == "sha256"
    assert request["message_imprint"]["hashed_message"].native == IMPRINT
    assert request["nonce"].native == nonce
    assert request["cert_req"].native is True


@pytest.mark.parametrize(("imprint", "nonce"), [(b"", 1), (bytes(20), 1), (bytes(32), -1)])
def test_what_makes_no_request(imprint: bytes, nonce: int) -> None:
    with pytest.raises(ValueError, match="make no request"):
        encode_request(imprint=imprint, nonce=nonce)


# --- every lie


def test_an_honest_authority_is_believed(liar: Liar) -> None:
    stamped = stamp(at(liar))
    assert stamped.verified.authority == "Liar"
    again = verify_token(parse_response(stamped.response), imprint=IMPRINT, roots=[liar.root])
    assert again == stamped.verified


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (Lie.WRONG_IMPRINT, "timestamp_imprint_mismatch"),
        (Lie.WRONG_NONCE, "timestamp_nonce_mismatch"),
        (Lie.NO_NONCE, "timestamp_nonce_mismatch"),
        (Lie.EXPIRED, "timestamp_certificate_expired"),
        (Lie.NO_PURPOSE, "timestamp_wrong_purpose"),
        (Lie.PURPOSE_NOT_CRITICAL, "timestamp_wrong_purpose"),
        (Lie.PURPOSE_NOT_ALONE, "timestamp_wrong_purpose"),
        (Lie.SKEWED, "timestamp_clock_skew"),
        (Lie.REFUSED, "timestamp_refused"),
        (Lie.GARBAGE, "timestamp_invalid"),
        (Lie.EMPTY, "timestamp_invalid"),
        (Lie.CUT, "timestamp_invalid"),
    ],
)
def test_a_lie_in_the_token_is_refused_by_its_name(liar: Liar, lie: Lie, code: str) -> None:
    liar.lie = lie
    with pytest.raises(BadTimestamp) as caught:
        stamp(at(liar))
    assert caught.value.code == code


def test_a_chain_to_a_root_that_is_not_configured_is_undecided(liar: Liar) -> None:
    liar.lie = Lie.OTHER_ROOT
    with pytest.raises(Unverifiable) as caught:
        stamp(at(liar))
    assert caught.value.code == "timestamp_untrusted"


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (Lie.ERROR, "status 500"),
        (Lie.REDIRECT, "status 302"),
        (Lie.CONTENT_TYPE, "type 'text/html'"),
        (Lie.HUGE, "more than 65536 bytes"),
        (Lie.HANG_UP, "ConnectionError"),
    ],
)
def test_a_lie_in_the_transport_is_no_answer(liar: Liar, lie: Lie, why: str) -> None:
    liar.lie = lie
    with pytest.raises(Unreachable, match=why):
        stamp(at(liar))


@pytest.mark.parametrize("lie", [Lie.SLOW, Lie.SILENT])
def test_an_authority_that_takes_its_time_is_given_up(liar: Liar, lie: Lie) -> None:
    liar.lie = lie
    # Which of the two limits is first, of one read or of the whole, is for the machine to say.
    with pytest.raises(Unreachable, match=r"within 0\.3 s|timed out"):
        stamp(at(liar, timeout_s=0.3))


def test_an_authority_that_drips_its_headers_is_given_up() -> None:
    """Each byte is within every single limit of the HTTP library; only the whole is not."""
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Endless: ")
            while not ended.wait(0.02):
                connection.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip, args=(listener,), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
            stamp(HttpAuthority(url, (), name="drip", timeout_s=0.3))
        ended.set()
        server.join()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://[::bad/",
        "tsa",
        "",
        "ftp://127.0.0.1/",
        "http://a..b/",
        "http:///",
    ],
)
def test_an_authority_at_no_address_is_unreachable(url: str) -> None:
    with pytest.raises(Unreachable):
        stamp(HttpAuthority(url, (), name="nowhere", timeout_s=3))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_bytes_of_an_authority_never_raise_anything_but_our_own_errors(liar: Liar) -> None:
    honest = stamp(at(liar)).response
    noise = random.Random(7)

    class Changed:
        name, self_operated, roots = "changed", False, (liar.root,)

        def __init__(self, response: bytes) -> None:
            self.response = response

        def exchange(self, request_der: bytes) -> bytes:
            return self.response

    for start in range(0, len(honest), 7):
        changed = honest[:start] + noise.randbytes(3) + honest[start + 3 :]
        with pytest.raises((BadTimestamp, Unverifiable)):
            stamp(Changed(changed))


def test_giving_up_leaves_nothing_behind(liar: Liar) -> None:
    liar.lie = Lie.SLOW
    with pytest.raises(Unreachable):
        stamp(at(liar, timeout_s=0.2))
    liar.lie = Lie.NONE
    deadline = time.monotonic() + 10
    while any(thread.name == "tsa liar" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the thread of the exchange is still there"
        time.sleep(0.02)
