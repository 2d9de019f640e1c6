"""A house's seal on its papers: made at the first start, renewed, from outside, in a token."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from notary.clock import SystemClock
from notary.errors import Corrupt, KeyMissing, MalformedInput, Unreachable
from notary.intake import Receipt
from notary.issued import PAPER
from notary.keyplace import KmsPlace, parse_key_place
from notary.model import Declared
from notary.office import Office
from notary.revocation_fetch import Collector
from notary.sealing import SEAL_CHAIN, make_seal
from notary.sealkey import key_label
from notary.settings import Settings
from notary.tsa import TimestampAuthority
from tests.harness.certified import deposit, depositor, open_house
from tests.harness.disposing import clerks, dispose
from tests.harness.pades import is_accepted
from tests.harness.softhsm import SoftHsm

DAY = timedelta(days=1)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Office]:
    made = open_house(tmp_path / "house")
    yield made
    made.close()


def roots(house: Office) -> list[bytes]:
    used = house.sealing.in_force()
    assert used is not None
    return [used.root.public_bytes(Encoding.DER), *house.trust.timestamp_roots]


def registered(house: Office) -> Receipt:
    return deposit(house, depositor(house), b"an original", Declared(name="a.txt"))


def paper_of(house: Office, receipt: Receipt, **more: str) -> bytes:
    by = depositor(house, f"reader-{secrets.token_hex(4)}")
    issued = house.issue.certificate(receipt.deposit, by=by)
    return house.issue.pdf(issued, lang="en", **more)  # type: ignore[arg-type]


def kept(house: Office) -> list[str]:
    with house.database.reading() as connection:
        return sorted(connection.execute(sa.select(PAPER.c.variant)).scalars())


def test_a_new_house_seals_and_a_judge_accepts_it_offline(house: Office) -> None:
    pdf = paper_of(house, registered(house))
    assert is_accepted(pdf, roots(house))
    assert b"receipt.cose" in pdf


def test_no_key_of_the_roots_is_kept(house: Office) -> None:
    used = house.sealing.in_force()
    assert used is not None
    assert used.own
    (path,) = (house.settings.home / "keys").glob("seal*.pem")
    assert path.stem == key_label(used.certificate.public_key())  # type: ignore[arg-type]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_paper_is_drawn_once_and_each_size_and_language_by_itself(house: Office) -> None:
    receipt = registered(house)
    first = paper_of(house, receipt)
    assert paper_of(house, receipt) == first
    assert paper_of(house, receipt, paper="letter") != first
    assert kept(house) == ["en a4", "en letter"]


def test_a_reissue_has_a_paper_of_its_own(house: Office) -> None:
    receipt = registered(house)
    first = paper_of(house, receipt)
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    again = paper_of(house, receipt)
    assert again != first
    assert paper_of(house, receipt) == again
    assert kept(house) == ["en a4", "en a4"]


def test_a_kept_paper_is_not_given_when_what_it_says_has_changed(house: Office) -> None:
    receipt = registered(house)
    first = paper_of(house, receipt)
    other = Office(replace(house.settings, public_url="https://other.example"))
    again = paper_of(other, receipt)
    other.close()
    assert again != first
    assert kept(house) == ["en a4"]


def test_a_disposal_takes_the_papers_along(house: Office) -> None:
    both = clerks(house)
    receipt = registered(house)
    paper_of(house, receipt)
    assert kept(house)
    dispose(house, both, receipt.deposit)
    assert kept(house) == []


def test_a_new_seal_seals_from_then_on_and_the_old_paper_stays_valid(house: Office) -> None:
    receipt = registered(house)
    old, old_roots = paper_of(house, receipt), roots(house)
    make_seal(house.settings.home, parse_key_place("file:"), "House", house.clock.now())
    new = paper_of(house, receipt)
    assert is_accepted(new, roots(house))
    assert not is_accepted(new, old_roots)
    assert is_accepted(old, old_roots)
    assert len(list((house.settings.home / "keys").glob("seal-*.crt"))) == 2


def test_a_house_without_a_seal_gives_papers_that_do_not_claim_one(house: Office) -> None:
    (house.settings.home / "keys" / SEAL_CHAIN).unlink()
    pdf = paper_of(house, registered(house))
    assert b"/ByteRange" not in pdf


def test_a_seal_without_its_key_is_named_with_where_it_should_be(house: Office) -> None:
    (path,) = (house.settings.home / "keys").glob("seal*.pem")
    path.unlink()
    with pytest.raises(KeyMissing, match=path.name):
        paper_of(house, registered(house))


@pytest.mark.parametrize("text", ["", "no PEM", "reversed"])
def test_a_chain_that_is_none_is_refused(house: Office, text: str) -> None:
    path = house.settings.home / "keys" / SEAL_CHAIN
    if text == "reversed":
        first, second, *_ = path.read_text().split("-----END CERTIFICATE-----\n")
        end = "-----END CERTIFICATE-----\n"
        text = second + end + first + end
    path.write_text(text)
    with pytest.raises(Corrupt, match="no chain"):
        paper_of(house, registered(house))


def test_a_seal_that_has_ended_seals_nothing(house: Office) -> None:
    now = house.clock.now() - 4000 * DAY
    make_seal(house.settings.home, parse_key_place("file:"), "House", now)
    with pytest.raises(KeyMissing, match="notary seal --new"):
        paper_of(house, registered(house))


def test_a_place_that_holds_no_seal_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedInput, match="holds no seal keys"):
        make_seal(tmp_path, KmsPlace(alias="alias/court"), "House", datetime.now(UTC))


class Silent:
    name, self_operated, roots = "silent", False, ()

    def exchange(self, request_der: bytes) -> bytes:
        raise Unreachable(f"no answer to {len(request_der)} bytes")


def with_authorities(house: Office, *authorities: TimestampAuthority) -> None:
    house.sealing._authorities = authorities


def test_authorities_are_asked_in_their_order_until_one_answers(house: Office) -> None:
    with_authorities(house, Silent(), *house.authorities)
    assert is_accepted(paper_of(house, registered(house)), roots(house))


def test_without_an_authority_nothing_is_given_out_and_nothing_kept(house: Office) -> None:
    with_authorities(house, Silent())
    with pytest.raises(Unreachable, match="silent") as raised:
        paper_of(house, registered(house))
    assert raised.value.code == "seal_timestamp_unreachable"
    assert kept(house) == []


def test_a_key_in_a_token_seals_and_never_leaves_it(tmp_path: Path) -> None:
    token = SoftHsm(tmp_path / "hsm").token(f"seal-{secrets.token_hex(4)}")
    house = open_house(tmp_path / "house", keys=(token.uri,))
    used = house.sealing.in_force()
    assert used is not None
    assert "pkcs11:token=" in used.where
    assert not list((house.settings.home / "keys").glob("seal*.pem"))
    assert is_accepted(paper_of(house, registered(house)), roots(house))
    house.close()


# --- a seal from outside ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """An RSA certificate of an authority that publishes its list over HTTP."""

    chain: Path
    key: bytes
    root: bytes
    url: str
    lists: dict[str, bytes]


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def listed(
    key: ec.EllipticCurvePrivateKey, now: datetime, *, until: datetime | None = None
) -> bytes:
    crl = x509.CertificateRevocationListBuilder().issuer_name(name("Trust Service"))
    crl = crl.last_update(now).next_update(until or now + DAY)
    crl = crl.add_extension(x509.CRLNumber(7), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    crl = crl.add_extension(identifier, critical=False)
    return crl.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    lists: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            self.send_response(200 if self.path in lists else 404)
            self.end_headers()
            self.wfile.write(lists.get(self.path, b""))

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/list.crl"
        yield make_outside(tmp_path, url, lists)
        server.shutdown()


def make_outside(folder: Path, url: str, lists: dict[str, bytes]) -> Outside:
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    root_key = ec.generate_private_key(ec.SECP256R1())
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    draft = x509.CertificateBuilder().issuer_name(name("Trust Service"))
    draft = draft.not_valid_before(now).not_valid_after(now + 365 * DAY)
    root = draft.subject_name(name("Trust Service")).public_key(root_key.public_key())
    root = root.serial_number(1).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    no = (
        "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
        "encipher_only", "decipher_only",
    )  # fmt: skip
    usage = dict.fromkeys(no, False)
    seal = draft.subject_name(name("Court of Somewhere")).public_key(key.public_key())
    seal = seal.serial_number(2).add_extension(x509.CRLDistributionPoints([point]), critical=False)
    seal = seal.add_extension(
        x509.KeyUsage(digital_signature=True, content_commitment=True, **usage), critical=True
    )
    made = [each.sign(root_key, hashes.SHA256()) for each in (seal, root)]
    lists["/list.crl"] = listed(root_key, now)
    lists["/ended"] = listed(root_key, now - 2 * DAY, until=now)
    lists["/forged"] = listed(ec.generate_private_key(ec.SECP256R1()), now)
    chain = folder / "outside.pem"
    chain.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in made))
    return Outside(
        chain=chain,
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        root=made[1].public_bytes(Encoding.DER),
        url=url,
        lists=lists,
    )


def outside_house(tmp_path: Path, outside: Outside) -> Office:
    open_house(tmp_path / "house").close()
    path = tmp_path / "house/keys/seal-court.pem"
    path.write_bytes(outside.key)
    path.chmod(0o600)
    return Office(Settings(home=tmp_path / "house", seal_chain=outside.chain))


def test_an_outside_seal_is_used_and_its_list_embedded(tmp_path: Path, outside: Outside) -> None:
    house = outside_house(tmp_path, outside)
    pdf = paper_of(house, registered(house))
    assert is_accepted(pdf, [outside.root, *house.trust.timestamp_roots])
    house.close()


@pytest.mark.parametrize(
    ("instead", "said"),
    [(None, "answers 404"), ("/ended", "renewed"), ("/forged", "not signed"), (b"x", "no revoc")],
)
def test_without_a_list_that_holds_nothing_is_given_out(
    tmp_path: Path, outside: Outside, instead: str | bytes | None, said: str
) -> None:
    house = outside_house(tmp_path, outside)
    if instead is None:
        del outside.lists["/list.crl"]
    else:
        found = outside.lists[instead] if isinstance(instead, str) else instead
        outside.lists["/list.crl"] = found
    with pytest.raises(Unreachable, match=said):
        paper_of(house, registered(house))
    assert kept(house) == []
    house.close()


def test_a_list_is_asked_for_once(outside: Outside) -> None:
    collector = Collector(clock=SystemClock(), timeout_s=5)
    chain = tuple(
        each.public_bytes(Encoding.DER)
        for each in x509.load_pem_x509_certificates(outside.chain.read_bytes())
    )
    first = collector.collect(chain)
    outside.lists.clear()
    assert collector.collect(chain) == first
    assert len(first.crls) == 1
