"""SCRAPI over HTTP: statements of issuers and judges of receipts that are not ours."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from notary.issuer_key import parse_issuer_key
from notary.model import Role
from notary.receipt import transparent
from notary.web import build
from tests.harness.issuer import ALGORITHMS, OutsideIssuer, entry_of, id_of
from tests.harness.people import Staff
from tests.harness.server import Client, Service
from tests.harness.watching import SetClock, new_house

COSE = {"Content-Type": "application/cose"}
LATER = {**COSE, "Prefer": "respond-async"}
RECEIPT = "application/scitt-receipt+cose"
PROBLEM = "application/concise-problem-details+cbor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    service: Service
    anyone: Client
    administrator: Client
    vendors: dict[str, OutsideIssuer]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings = {"timestamp_interval": "0.2", "entries_per_minute": "1000000"}
    service = Service(home=tmp_path_factory.mktemp("scitt"), settings=settings)
    service.init()
    vendors = {alg: OutsideIssuer.new(f"https://{alg.lower()}.example", alg) for alg in ALGORITHMS}
    service.start()
    try:
        with Staff(service) as staff:
            administrator = staff.client(Role.ADMINISTRATOR)
            for vendor in vendors.values():
                assert admit(administrator, vendor).status_code == 201
            yield Stage(
                service=service, anyone=Client(service.base), administrator=administrator,
                vendors=vendors,
            )  # fmt: skip
    finally:
        service.stop()


def admit(administrator: Client, vendor: OutsideIssuer, **more: str) -> Any:
    kid = base64.urlsafe_b64encode(vendor.kid).decode().rstrip("=")
    body = {"iss": vendor.iss, "key": vendor.pem.decode(), "kid": kid, **more}
    return administrator.post("/v1/issuers", json=body)


def post(client: Client, statement: bytes, headers: dict[str, str] = COSE) -> Any:
    return client.post("/entries", data=statement, headers=headers, allow_redirects=False)


def problem(answer: Any) -> tuple[int, str]:
    """(status, title), after the form was checked."""
    assert answer.headers["Content-Type"] == PROBLEM
    said = cbor2.loads(answer.content)
    assert said.keys() == {-1, -2}
    assert all(isinstance(text, str) and text for text in said.values())
    return answer.status_code, said[-1]


def log_pem(client: Client, receipt: bytes) -> str:
    """The log's key, found as SCRAPI says: by the receipt's kid."""
    kid = cbor2.loads(cbor2.loads(receipt).value[0])[4]
    name = base64.urlsafe_b64encode(kid).decode().rstrip("=")
    key = cbor2.loads(client.get(f"/.well-known/scitt-keys/{name}").content)
    public = Ed25519PublicKey.from_public_bytes(key[-2])
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def index_of(receipt: bytes) -> int:
    (proof,) = cbor2.loads(receipt).value[1][396][-1]
    index: int = cbor2.loads(proof)[1]
    return index


# --- registered at once, judged by others -------------------------------------------------------


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_scitt_cose_accepts_the_receipt_and_refuses_it_for_another_entry(
    stage: Stage, alg: str
) -> None:
    data = stage.vendors[alg].statement(b"payload of %s" % alg.encode())
    given = post(stage.anyone, data)
    assert (given.status_code, given.headers["Content-Type"]) == (201, RECEIPT)
    assert given.headers["Location"] == f"/entries/{id_of(data)}"
    assert "Retry-After" not in given.headers
    pem = log_pem(stage.anyone, given.content)
    judged = scitt_cose.verify_receipt(
        given.content, leaf_entry_hex=entry_of(data).hex(), log_public_key_pem=pem
    )
    assert judged.ok, judged.errors
    other = stage.vendors[alg].statement(b"other")
    for entry in (other, entry_of(data)[:-1] + bytes([entry_of(data)[-1] ^ 1])):
        judged = scitt_cose.verify_receipt(
            given.content, leaf_entry_hex=entry.hex(), log_public_key_pem=pem
        )
        assert not judged.ok


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_a_statement_made_by_scitt_cose_becomes_a_transparent_statement(
    stage: Stage, alg: str
) -> None:
    vendor = stage.vendors[alg]
    data = scitt_cose.build_signed_statement(
        b"made elsewhere", alg=alg, private_key_pem=vendor.private_pem.decode(),
        issuer=vendor.iss, subject="urn:made:elsewhere", content_type="text/plain", kid=vendor.kid,
    )  # fmt: skip
    given = post(stage.anyone, data, {"Content-Type": "application/scitt-statement+cose"})
    assert given.status_code == 201, given.content
    # The issuer attaches the receipt by itself; so do we, to the same bytes.
    attached = scitt_cose.attach_receipts(data, [given.content])
    assert scitt_cose.extract_receipts(attached) == [given.content]
    assert scitt_cose.parse_signed_statement(attached, public_key_pem=vendor.pem.decode())
    assert scitt_cose.extract_receipts(transparent(data, [given.content])) == [given.content]
    protected = cbor2.loads(cbor2.loads(given.content).value[0])
    assert protected[15][2] == "urn:made:elsewhere"
    assert protected[395] == 1
    # A transparent statement is registered as the statement that it is.
    assert index_of(post(stage.anyone, attached).content) == index_of(given.content)


def test_the_entry_is_in_the_log_as_anyone_reads_it(stage: Stage) -> None:
    data = stage.vendors["ES256"].statement(b"read me", unprotected={394: [b"other receipt"]})
    index = index_of(post(stage.anyone, data).content)
    size = int(stage.anyone.get("/log/checkpoint").text.splitlines()[1])
    width = min(256, size - index // 256 * 256)
    suffix = "" if width == 256 else f".p/{width}"
    bundle = stage.anyone.get(f"/log/tile/entries/{index // 256:03d}{suffix}").content
    for _ in range(index % 256):
        bundle = bundle[2 + int.from_bytes(bundle[:2], "big") :]
    assert bundle[2 : 2 + int.from_bytes(bundle[:2], "big")] == entry_of(data)


def test_asked_again_it_has_the_first_index_and_a_fresh_receipt(stage: Stage) -> None:
    vendor = stage.vendors["EdDSA"]
    data = vendor.statement(b"once")
    first = post(stage.anyone, data)
    post(stage.anyone, vendor.statement(b"another"))
    second = post(stage.anyone, data)
    third = stage.anyone.get(f"/entries/{id_of(data)}")
    assert (second.status_code, third.status_code) == (201, 200)
    assert index_of(first.content) == index_of(second.content) == index_of(third.content)
    assert first.content != second.content
    for given in (second, third):
        assert given.headers["Location"] == first.headers["Location"]
        judged = scitt_cose.verify_receipt(
            given.content, leaf_entry_hex=data.hex(),
            log_public_key_pem=log_pem(stage.anyone, given.content),
        )  # fmt: skip
        assert judged.ok, judged.errors


def test_many_at_once_get_one_index(stage: Stage) -> None:
    data = stage.vendors["ES256"].statement(b"many at once")

    def ask(number: int) -> Any:
        return post(Client(stage.service.base), data, LATER if number % 4 == 3 else COSE)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    assert {201} <= {answer.status_code for answer in answers} <= {201, 303}
    indices = {index_of(answer.content) for answer in answers if answer.status_code == 201}
    assert len(indices) == 1
    assert index_of(stage.anyone.get(f"/entries/{id_of(data)}").content) in indices


def test_a_client_that_asks_for_application_cose_gets_that(stage: Stage) -> None:
    data = stage.vendors["EdDSA"].statement(b"typed")
    for accept, media in (
        ("application/cose", "application/cose"),
        ("*/*", RECEIPT),
        ("application/cbor", RECEIPT),
    ):
        given = post(stage.anyone, data, {**COSE, "Accept": accept})
        assert (given.status_code, given.headers["Content-Type"]) == (201, media)


def test_an_unknown_key_is_answered_as_scrapi_has_it(stage: Stage) -> None:
    for name in ("x", base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")):
        answer = stage.anyone.get(f"/.well-known/scitt-keys/{name}")
        assert problem(answer) == (404, "No such key")


# --- later --------------------------------------------------------------------------------------


def test_asked_to_be_registered_later_it_waits_and_then_has_its_receipt(stage: Stage) -> None:
    data = stage.vendors["ES256"].statement(b"later")
    taken = post(stage.anyone, data, {**COSE, "Prefer": "wait=1, Respond-Async"})
    assert (taken.status_code, taken.content) == (303, b"")
    assert taken.headers["Location"] == f"/entries/{id_of(data)}"
    assert taken.headers["Retry-After"] == "1"

    def asked() -> Any:
        answer = stage.anyone.get(taken.headers["Location"], allow_redirects=False)
        if answer.status_code == 302:
            assert answer.headers["Location"] == taken.headers["Location"]
            assert answer.headers["Retry-After"] == "1"
            return None
        return answer

    given = stage.service.wait_for(asked)
    assert (given.status_code, given.headers["Content-Type"]) == (200, RECEIPT)
    judged = scitt_cose.verify_receipt(
        given.content, leaf_entry_hex=entry_of(data).hex(),
        log_public_key_pem=log_pem(stage.anyone, given.content),
    )  # fmt: skip
    assert judged.ok, judged.errors


@pytest.mark.slow
def test_what_waits_when_the_whole_service_is_killed_is_registered_after_it(
    tmp_path: Path,
) -> None:
    # The worker's pulse is slow enough not to come before the kill.
    service = Service(home=tmp_path, settings={"timestamp_interval": "60"})
    service.init()
    vendor = OutsideIssuer.new("https://vendor.example")
    key = tmp_path / "vendor.pem"
    key.write_bytes(vendor.pem)
    service.cli("issuer", "admit", vendor.iss, str(key), "--kid", vendor.kid.decode())
    datas = [vendor.statement(b"%d" % n) for n in range(20)]
    service.start()
    try:
        client = Client(service.base)
        assert {post(client, data, LATER).status_code for data in datas} == {303}
        service.kill()
        service.settings["timestamp_interval"] = "0.2"
        service.start()
        client = Client(service.base)
        receipts = [service.wait_for(lambda data=data: registered(client, data)) for data in datas]
        assert len({index_of(receipt) for receipt in receipts}) == len(datas)
        again = [index_of(post(client, data).content) for data in datas]
        assert again == [index_of(receipt) for receipt in receipts]
    finally:
        service.stop()
    checked = service.cli("fsck")
    assert "20 outside statements, 1 policies" in checked.stdout


def registered(client: Client, data: bytes) -> bytes | None:
    answer = client.get(f"/entries/{id_of(data)}", allow_redirects=False)
    assert answer.status_code in (200, 302), answer.content
    return answer.content if answer.status_code == 200 else None


# --- refused ------------------------------------------------------------------------------------


def cases(vendor: OutsideIssuer) -> dict[str, tuple[bytes, int, str]]:
    good = vendor.statement(b"refused")
    header = vendor.header()
    imposter = OutsideIssuer.new(vendor.iss, vendor.alg, vendor.kid)
    return {
        "no CBOR": (b"hello", 400, "Malformed request"),
        "nothing": (b"", 400, "Malformed request"),
        "cut": (good[:-1], 400, "Malformed request"),
        "no payload": (vendor.statement(None), 400, "Payload Missing"),
        "an unknown algorithm": (
            vendor.statement(header={**header, 1: -65535}), 400, "Bad Signature Algorithm",
        ),
        "another key's algorithm": (
            vendor.statement(header={**header, 1: -8}), 400, "Bad Signature Algorithm",
        ),
        "an algorithm by name": (
            vendor.statement(header={**header, 1: "WalnutDSA"}), 400, "Bad Signature Algorithm",
        ),
        "a stranger": (OutsideIssuer.new("https://x.example").statement(), 400, "Rejected"),
        "another kid": (replace(vendor, kid=b"key-9").statement(), 400, "Rejected"),
        "an imposter": (imposter.statement(), 400, "Rejected"),
        "a changed payload": (good.replace(b"refused", b"admired"), 400, "Rejected"),
        "a certificate": (
            vendor.statement(header={**header, 33: b"certificate"}), 400, "Rejected",
        ),
        "a critical unknown": (
            vendor.statement(header={**header, 2: [77], 77: 1}), 400, "Rejected",
        ),
        "an entry too large": (vendor.statement(bytes(65_536)), 413, "Rejected"),
        "a body too large": (bytes(200_000), 413, "Rejected"),
    }  # fmt: skip


CASES = list(cases(OutsideIssuer.new("https://any.example")))


@pytest.mark.parametrize("headers", [COSE, LATER], ids=["now", "later"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_not_admitted_is_refused_by_scrapis_titles(
    stage: Stage, case: str, headers: dict[str, str]
) -> None:
    data, status, title = cases(stage.vendors["ES256"])[case]
    assert problem(post(stage.anyone, data, headers)) == (status, title)


def test_another_kind_of_body_or_method_is_refused_in_cbor_too(stage: Stage) -> None:
    for media in ("application/json", "text/plain", ""):
        assert problem(post(stage.anyone, b"x", {"Content-Type": media}))[0] == 415
    assert problem(stage.anyone.put("/entries", data=b"x"))[0] == 405
    assert problem(stage.anyone.get("/entries"))[0] == 405


def test_a_body_in_chunks_without_an_end_is_not_read_for_ever(stage: Stage) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(1000):
            yield bytes(1000)

    answer = stage.anyone.post("/entries", data=chunks(), headers=COSE)
    assert problem(answer) == (413, "Rejected")


@pytest.mark.parametrize("id_", ["1", "x", "A" * 64, "0" * 63, "%00"])
def test_a_malformed_locator_is_called_so(stage: Stage, id_: str) -> None:
    assert problem(stage.anyone.get(f"/entries/{id_}"))[1] in ("Invalid locator", "Not Found")


def test_what_is_sealed_and_what_does_not_exist_are_answered_alike(stage: Stage) -> None:
    agency = Client(stage.service.base, stage.service.key("agency"))
    deposit = agency.post("/v1/deposits", data=b"sealed").json()
    sealed = hashlib.sha256(base64.b64decode(deposit["statement"])).hexdigest()
    answers = []
    for client in (stage.anyone, agency, stage.administrator):
        for id_ in (sealed, "0" * 64):
            answer = client.get(f"/entries/{id_}")
            assert problem(answer) == (404, "Not Found")
            answers.append(answer.content.replace(id_.encode(), b"ID"))
    assert len(set(answers)) == 1


def test_a_statement_of_the_house_is_no_outside_statement(stage: Stage) -> None:
    agency = Client(stage.service.base, stage.service.key("agency"))
    deposit = agency.post("/v1/deposits", data=b"posted back").json()
    assert problem(post(stage.anyone, base64.b64decode(deposit["statement"]))) == (400, "Rejected")


def test_too_many_requests_are_told_to_wait(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(entries_per_minute="3")
    # A connection of its own for each, so that both processes are asked: they count together.
    client = Client(service.base)
    client.headers["Connection"] = "close"
    answers = [post(client, b"x") for _ in range(5)]
    assert not any("Retry-After" in answer.headers for answer in answers[:3])
    assert [answer.status_code for answer in answers] == [400] * 3 + [429] * 2
    assert problem(answers[-1]) == (429, "Too Many Requests")
    assert int(answers[-1].headers["Retry-After"]) > 0
    asked = [client.get(f"/entries/{'0' * 64}") for _ in range(5)]
    assert [answer.status_code for answer in asked] == [404] * 3 + [429] * 2


# --- states of the house, asked inside this process ---------------------------------------------


def test_a_house_that_cannot_write_says_so_in_cbor(tmp_path: Path) -> None:
    clock = SetClock()
    house = new_house(tmp_path / "house", clock)
    vendor = OutsideIssuer.new("https://vendor.example")
    client = build(house).test_client()

    def ask(data: bytes, headers: dict[str, str] = COSE) -> tuple[int, str, str | None]:
        answer = client.post("/entries", data=data, headers=headers)
        assert answer.content_type == PROBLEM
        said = cbor2.loads(answer.data)
        return answer.status_code, said[-1], answer.headers.get("Retry-After")

    assert ask(vendor.statement())[:2] == (400, "Rejected")
    house.admitting.admit(
        "operator", iss=vendor.iss, key=parse_issuer_key(vendor.pem), kid=vendor.kid,
        start=clock.now().replace(year=2025),
    )  # fmt: skip
    clock.pass_(seconds=-10)
    status, title, wait = ask(vendor.statement())
    assert (status, wait) == (503, "30")
    assert "clock" in title
    clock.pass_(seconds=10)
    (house.settings.home / "halted.json").write_text("{}")
    for headers in (COSE, LATER):
        status, title, _ = ask(vendor.statement(), headers)
        assert (status, title) == (503, "Writing has stopped; reading goes on")
    house.sequencer.resume()
    data = vendor.statement()
    assert client.post("/entries", data=data, headers=COSE).status_code == 201


# --- policies and issuers -----------------------------------------------------------------------


def test_an_auditor_can_replay_the_policies_from_what_is_public(stage: Stage) -> None:
    listed = stage.anyone.get("/log/registration-policies").json()
    assert listed["next"] is None
    previous = None
    for serial, item in enumerate(listed["items"], start=1):
        assert item["serial"] == serial
        document = stage.anyone.get(item["document"]).content
        assert hashlib.sha256(document).hexdigest() == item["sha256"]
        said = json.loads(document)
        assert (said["serial"], said["previous"]) == (serial, previous)
        previous = item["sha256"]
        index = item["leaf_index"]
        proof = stage.anyone.get("/v1/log/proof/inclusion", params={"index": str(index)}).json()
        assert proof["index"] == index
    newest = {(key["iss"], key["alg"]) for key in said["issuers"]}
    assert {(v.iss, ALGORITHMS[v.alg]) for v in stage.vendors.values()} <= newest
    assert stage.anyone.get("/log/registration-policies/99999").status_code == 404
    assert stage.anyone.get("/log/registration-policies/0").status_code == 404
    assert stage.anyone.get(f"/log/registration-policies/{10**30}").status_code == 404


def test_a_long_list_of_policies_has_pages(stage: Stage) -> None:
    seen: list[int] = []
    after: dict[str, str] = {}
    while True:
        page = stage.anyone.get("/log/registration-policies", params={"limit": "1", **after}).json()
        seen += [item["serial"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == list(range(1, len(seen) + 1))


def test_an_issuer_is_admitted_and_retired_by_api(stage: Stage) -> None:
    vendor = OutsideIssuer.new("did:web:short.example", "EdDSA", kid=b"\xff\x00")
    assert problem(post(stage.anyone, vendor.statement()))[1] == "Rejected"
    made = admit(stage.administrator, vendor, until="2199-01-01T00:00:00+01:00")
    assert made.status_code == 201
    assert admit(stage.administrator, vendor).json()["code"] == "issuer_key_exists"
    kept = vendor.statement(b"kept")
    assert post(stage.anyone, kept).status_code == 201
    (shown,) = [
        key for key in stage.administrator.get("/v1/issuers").json() if key["iss"] == vendor.iss
    ]
    assert (shown["algorithm"], shown["in_force"]) == ("EdDSA", True)
    assert shown["until"] == "2198-12-31T23:00:00.000000Z"
    gone = stage.administrator.delete(f"/v1/issuers/{shown['thumbprint']}")
    assert gone.json()["serial"] == made.json()["serial"] + 1
    assert problem(post(stage.anyone, vendor.statement(b"new"))) == (400, "Rejected")
    assert post(stage.anyone, kept).status_code == 201
    again = stage.administrator.delete(f"/v1/issuers/{shown['thumbprint']}")
    assert (again.status_code, again.json()["code"]) == (404, "issuer_not_found")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"iss": "vendor"}, "value_malformed"),
        ({"key": "no key"}, "issuer_key_malformed"),
        ({"key": "AAAA"}, "issuer_key_malformed"),
        ({"key": "-----BEGIN NOTHING-----"}, "issuer_key_malformed"),
        ({"kid": "a+b"}, "value_malformed"),
        ({"kid": ""}, "value_malformed"),
        ({"from": "yesterday"}, "value_malformed"),
        ({"from": "2026-01-01T00:00:00"}, "value_malformed"),
        ({"from": "2027-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "value_malformed"),
        ({"until": 5}, "json_malformed"),
        ({"more": "x"}, "json_malformed"),
        ({"iss": None}, "json_malformed"),
    ],
)
def test_an_issuer_that_cannot_be_read_is_not_admitted(
    stage: Stage, change: dict[str, Any], code: str
) -> None:
    vendor = OutsideIssuer.new("https://never.example")
    body = {"iss": vendor.iss, "key": vendor.pem.decode(), **change}
    answer = stage.administrator.post("/v1/issuers", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_the_command_line_admits_lists_and_retires(stage: Stage, tmp_path: Path) -> None:
    vendor = OutsideIssuer.new("https://typed.example", "ES384")
    key = tmp_path / "typed.pem"
    key.write_bytes(vendor.pem)
    admitted = stage.service.cli("issuer", "admit", vendor.iss, str(key), "--kid", "key-1")
    thumbprint = admitted.stdout.split()[0]
    assert post(stage.anyone, vendor.statement()).status_code == 201
    (line,) = [
        line for line in stage.service.cli("issuer", "list").stdout.splitlines()
        if line.endswith(vendor.iss)
    ]  # fmt: skip
    assert line.split()[:3] == [thumbprint, "ES384", b"key-1".hex()]
    stage.service.cli("issuer", "retire", thumbprint)
    assert problem(post(stage.anyone, vendor.statement(b"2"))) == (400, "Rejected")
    refused = stage.service.cli("issuer", "retire", thumbprint, check=False)
    assert (refused.returncode, "issuer_not_found" in refused.stderr) == (64, True)
    key.write_bytes(vendor.private_pem)
    refused = stage.service.cli("issuer", "admit", vendor.iss, str(key), check=False)
    assert (refused.returncode, "private key" in refused.stderr) == (64, True)


def test_metrics_count_what_is_registered_and_refused_by_reason(stage: Stage) -> None:
    stranger = OutsideIssuer.new("https://counted.example")
    post(stage.anyone, stranger.statement())
    post(stage.anyone, b"x")
    text = stage.anyone.get("/metrics").text
    for reason in ("issuer_not_admitted", "signed_statement_malformed"):
        assert f'evidence_statements_refused_total{{reason="{reason}"}}' in text
    assert "evidence_statements " in text
    assert "evidence_statements_waiting " in text


def test_mirror_and_monitor_read_a_log_with_outside_entries(stage: Stage, tmp_path: Path) -> None:
    trust = tmp_path / "trust.toml"
    trust.write_text(stage.anyone.get("/v1/trust.toml").text)
    url = f"{stage.service.base}/log"
    known = ("--trust", str(trust))
    state = str(tmp_path / "place")
    stage.service.cli("monitor", url, "--once", "--entries", "--state", state, *known)
    stage.service.cli("mirror", url, str(tmp_path / "copy"), *known)
    stage.service.cli("mirror", "--verify", str(tmp_path / "copy"), *known)


def test_the_database_of_it_all_passes_fsck(stage: Stage) -> None:
    done = stage.service.cli("fsck", check=False)
    assert done.returncode == 0, done.stdout
