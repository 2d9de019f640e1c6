"""Outside time: it arrives when it can, from whoever tells it truly; no deposit waits for it."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from notary.model import Declared, Principal, Role
from notary.office import Office, found
from notary.settings import Settings
from notary.tsp import parse_response, verify_token
from tests.harness.certomancer import Certomancer, certomancer
from tests.harness.liar import Liar, Lie, lying_authority
from tests.harness.openssl_tsa import openssl_verify
from tests.harness.server import Client, Service

BY = Principal(account_id="0" * 36, name="agency", role=Role.API_CLIENT, authenticated_by="api-key")
SLOW = {Lie.SLOW, Lie.SILENT, Lie.HUGE}
LIES = [lie for lie in Lie if lie is not Lie.NONE]


class Clock:
    """The machine's, moved on where the test says so."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def roots(folder: Path, *ders: bytes) -> Path:
    path = folder / "roots.pem"
    loaded = (x509.load_der_x509_certificate(der) for der in ders)
    path.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in loaded))
    return path


@pytest.fixture
def liars() -> Iterator[list[Liar]]:
    with ExitStack() as stack:
        yield [stack.enter_context(lying_authority()) for _ in range(2)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Office]]:
    """Makes a house that asks the authorities at these liars."""
    made: list[Office] = []

    def office(*asked: Liar) -> Office:
        settings = Settings(
            home=tmp_path / "house",
            tsa_urls=tuple(each.url for each in asked),
            tsa_roots=roots(tmp_path, *(each.root for each in asked)),
            tsa_timeout=1,
        )
        found(settings)
        made.append(Office(settings, clock=clock))
        return made[-1]

    yield office
    for each in made:
        each.close()


def deposit(office: Office, content: bytes = b"x", *, document: bool = False) -> str:
    declared = Declared(name="a.txt", document_timestamp=document)
    with office.intake.receive(office.intake.admit(BY, declared)) as reception:
        reception.write(content)
        return reception.register(declared).deposit.id


def state(office: Office, liar: Liar) -> Any:
    (found_,) = (each for each in office.stamps.authorities() if each.name == liar.url)
    return found_


def tokens_over(office: Office, deposit_id: str) -> set[str]:
    """The authorities whose tokens the deposit's certificate carries, all over its checkpoint."""
    issued = office.issue.certificate(office.register.deposit(deposit_id), by=BY)
    return {token.authority for token in issued.certificate.timestamps}


# --- one authority -------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_noted_and_not_kept_and_the_truth_is_asked_for_again(
    make: Callable[..., Office], clock: Clock, liars: list[Liar], lie: Lie
) -> None:
    liar = liars[0]
    office = make(liar)
    liar.lie = lie
    deposit_id = deposit(office, document=True)
    assert office.stamping.run(liar.url) == 0
    noted = state(office, liar)
    assert (noted.failures, noted.last_token_at) == (1, None)
    assert noted.last_error
    assert office.stamps.newest_size() == 0
    assert office.stamps.of_document(deposit_id) == ()
    # It is left alone for a moment, then asked again.
    asked = len(liar.asked)
    assert office.stamping.run(liar.url) == 0
    assert len(liar.asked) == asked
    liar.lie = Lie.NONE
    clock.ahead += timedelta(seconds=2)
    assert office.stamping.run(liar.url) == 2
    noted = state(office, liar)
    assert (noted.failures, noted.retry_at, noted.last_error) == (0, None, None)
    assert tokens_over(office, deposit_id) == {token.authority for token in all_kept(office)}


def all_kept(office: Office) -> list[Any]:
    stamped = office.stamps.covering(0)
    assert stamped is not None
    return list(stamped.tokens)


def test_an_authority_that_goes_on_lying_is_asked_less_and_less_but_for_ever(
    make: Callable[..., Office], clock: Clock, liars: list[Liar]
) -> None:
    liar = liars[0]
    office = make(liar)
    liar.lie = Lie.GARBAGE
    deposit(office)
    waits = []
    for _ in range(9):
        office.stamping.run(liar.url)
        retry_at = state(office, liar).retry_at
        assert retry_at is not None
        waits.append(round((retry_at - clock.now()).total_seconds()))
        clock.ahead += timedelta(seconds=waits[-1] + 1)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert len(liar.asked) == 9


def test_what_was_stamped_is_the_checkpoint_and_the_document_themselves(
    make: Callable[..., Office], liars: list[Liar], tmp_path: Path
) -> None:
    liar, content = liars[0], b"the exhibit itself"
    office = make(liar)
    deposit_id = deposit(office, content, document=True)
    assert office.stamping.run(liar.url) == 2
    stamped = office.stamps.covering(0)
    assert stamped is not None
    text = stamped.checkpoint[: stamped.checkpoint.index(b"\n\n") + 1]
    (token,), (document,) = stamped.tokens, office.stamps.of_document(deposit_id)
    for response, data in ((token.response, text), (document.response, content)):
        imprint = hashlib.sha256(data).digest()
        verify_token(parse_response(response), imprint=imprint, roots=[liar.root])
        assert openssl_verify(tmp_path, response=response, data=data, root=liar.root) == "OK"
        assert openssl_verify(tmp_path, response=response, data=b"x", root=liar.root) != "OK"


def test_a_checkpoint_that_did_not_grow_is_stamped_once(
    make: Callable[..., Office], liars: list[Liar]
) -> None:
    office = make(liars[0])
    for _ in range(3):
        deposit(office)
    assert office.stamping.run(liars[0].url) == 1
    assert office.stamping.run(liars[0].url) == 0
    assert len(liars[0].asked) == 1
    deposit(office)
    assert office.stamping.run(liars[0].url) == 1


# --- several at once -----------------------------------------------------------------------------


def test_tokens_of_all_authorities_cover_one_checkpoint(
    make: Callable[..., Office], liars: list[Liar]
) -> None:
    """Also when entries came between the one's turn and the other's."""
    first, second = liars
    office = make(first, second)
    early = deposit(office, document=True)
    assert office.stamping.run(first.url) == 2
    late = deposit(office)
    assert office.stamping.run(second.url) == 2
    stamped = office.stamps.covering(office.register.deposit(early).index)
    assert stamped is not None
    assert {token.authority for token in stamped.tokens} == {first.url, second.url}
    assert office.stamps.covering(office.register.deposit(late).index) is None
    for each in (first, second):
        assert office.stamping.run(each.url) == 1
    stamped = office.stamps.covering(office.register.deposit(late).index)
    assert stamped is not None
    assert {token.authority for token in stamped.tokens} == {first.url, second.url}
    assert {token.authority for token in office.stamps.of_document(early)} == {
        first.url, second.url,
    }  # fmt: skip


def test_one_that_fails_delays_nothing_of_the_other(
    make: Callable[..., Office], clock: Clock, liars: list[Liar]
) -> None:
    honest, lying = liars
    office = make(honest, lying)
    lying.lie = Lie.WRONG_IMPRINT
    deposit_id = deposit(office, document=True)
    index = office.register.deposit(deposit_id).index
    for _ in range(3):
        office.stamping.run(lying.url)
        office.stamping.run(honest.url)
        deposit(office)
    stamped = office.stamps.covering(index)
    assert stamped is not None
    assert {token.authority for token in stamped.tokens} == {honest.url}
    assert len(office.stamps.of_document(deposit_id)) == 1
    # Recovered, it also stamps the document that waited for it.
    lying.lie = Lie.NONE
    clock.ahead += timedelta(seconds=5)
    office.stamping.run(lying.url)
    assert {token.authority for token in office.stamps.of_document(deposit_id)} == {
        honest.url, lying.url,
    }  # fmt: skip
    assert office.stamps.documents_due(1) == ()


def test_a_certificate_takes_the_checkpoint_that_most_authorities_stamped(
    make: Callable[..., Office], liars: list[Liar]
) -> None:
    """Two that work at the same moment may each take another checkpoint: the next one is both's."""
    first, second = liars
    office = make(first, second)
    deposit_id = deposit(office)
    answer = first.answer

    def meanwhile(request_der: bytes) -> bytes:
        first.answer = answer  # type: ignore[method-assign]
        deposit(office)
        assert office.stamping.run(second.url) == 1
        return answer(request_der)

    first.answer = meanwhile  # type: ignore[method-assign]  # what happens while it is asked
    assert office.stamping.run(first.url) == 1
    assert len(tokens_over(office, deposit_id)) == 1
    for each in (first, second):
        office.stamping.run(each.url)
    stamped = office.stamps.covering(office.register.deposit(deposit_id).index)
    assert stamped is not None
    assert {token.authority for token in stamped.tokens} == {first.url, second.url}
    assert len(tokens_over(office, deposit_id)) == 2


# --- jobs that run twice -------------------------------------------------------------------------


def test_jobs_that_run_twice_at_once_harm_nothing(
    make: Callable[..., Office], liars: list[Liar]
) -> None:
    office = make(*liars)
    deposits = [deposit(office, document=True) for _ in range(5)]
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(office.stamping.run, liars[n % 2].url) for n in range(8)]
            for job in jobs:
                job.result()
        deposit(office)
    for deposit_id in deposits:
        kept = [token.authority for token in office.stamps.of_document(deposit_id)]
        assert sorted(kept) == sorted(each.url for each in liars)
    with office.database.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT size, deposit_id, authority, count(*) FROM timestamp_token GROUP BY 1, 2, 3"
        ).all()
    assert rows
    assert all(count == 1 for *_, count in rows)
    assert office.stamps.documents_due(1) == ()
    assert all(state(office, each).failures == 0 for each in liars)


# --- the service ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certomancer]:
    with certomancer(tmp_path_factory.mktemp("certomancer")) as running:
        yield running


@pytest.mark.slow
def test_a_service_whose_authorities_fail_takes_deposits_says_so_and_recovers(
    new_service: Callable[..., Service], liars: list[Liar], foreign: Certomancer, tmp_path: Path
) -> None:
    """A real certomancer, and one that answers nothing, then lies, then is there."""
    liar, other = liars[0], foreign.url("ec")
    liar.lie = Lie.SILENT
    service = new_service(
        tsa_urls=f"{other},{liar.url}",
        tsa_roots=str(roots(tmp_path, foreign.root, liar.root)),
        tsa_timeout="1",
        timestamp_interval="0.1",
    )
    client = Client(service.base, service.key("agency"))

    def put(content: bytes) -> str:
        given = client.post("/v1/deposits?timestamp=document", data=content)
        assert given.status_code == 201
        assert given.json()["times"]["timestamped_at"] is None
        return str(given.json()["links"]["self"])

    def timestamps(path: str) -> set[tuple[str, str]]:
        certificate = client.get(f"{path}/certificate.json").json()
        return {(each["covers"], each["authority"]) for each in certificate["timestamps"]}

    first = put(b"first")
    service.wait_for(lambda: client.get(first).json()["times"]["timestamped_at"])
    covers = service.wait_for(lambda: timestamps(first))
    assert {kind for kind, _ in covers} == {"checkpoint", "original"}
    failing = service.wait_for(
        lambda: client.get("/readyz").json()["checks"].get(f"authority {liar.url}")
    )
    assert failing.startswith("failing")
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert f"authority {other}" not in ready.json()["checks"]
    assert failures(client, liar) >= 1
    for lie in (Lie.WRONG_NONCE, Lie.SKEWED, Lie.GARBAGE):
        liar.lie = lie
        put(lie.encode())
    liar.lie = Lie.NONE
    service.wait_for(lambda: failures(client, liar) == 0, seconds=70)
    last = put(b"last")
    service.wait_for(lambda: len(timestamps(last)) == 4)
    service.wait_for(lambda: len({each for each in timestamps(first) if "orig" in each[0]}) == 2)
    check_tokens(client.get(f"{last}/certificate.json").json(), [foreign.root, liar.root])
    assert client.get("/readyz").json()["checks"]["timestamps"] == "ok"


def failures(client: Client, liar: Liar) -> float:
    """From the metrics, as whoever is on call sees it."""
    line = next(
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("evidence_authority_failures{") and liar.url in line
    )
    return float(line.rpartition(" ")[2])


def check_tokens(certificate: dict[str, Any], trusted: list[bytes]) -> None:
    """Each token in it verifies by itself, and none is said to be our own."""
    text = certificate["log"]["checkpoint"].partition("\n\n")[0] + "\n"
    imprints = {
        "checkpoint": hashlib.sha256(text.encode()).digest(),
        "original": hashlib.sha256(b"last").digest(),
    }
    for each in certificate["timestamps"]:
        response = parse_response(b64decode(each["response"]))
        verify_token(response, imprint=imprints[each["covers"]], roots=trusted)
        assert each["self_operated"] is False
    assert json.loads(certificate["record"])["type"] == "evidence-record/v1"
