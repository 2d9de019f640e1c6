"""Evidence records of a house: a tree for each period, tokens, renewals; a fake clock for years."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from asn1crypto import tsp

from notary import hash_trees
from notary.digest import SHA256, SHA512
from notary.errors import NotFound, Unreachable
from notary.ers import VerifiedRecord, parse_evidence_record, verify_evidence_record
from notary.evidence import DocumentRecord
from notary.hash_trees import TREE
from notary.model import Declared, Deposit, Principal, Role
from notary.office import Office, found
from notary.rehashing import Left
from notary.settings import Settings
from notary.verdict import Document, Status
from notary.verify import verify
from tests.harness.ers_oracle import openssl_verify_token, rederive
from tests.harness.tokens import DAY, Draft, Issued, issue

BY = Principal(account_id="0" * 36, name="agency", role=Role.API_CLIENT, authenticated_by="api-key")
HOUR, YEAR = timedelta(hours=1), 365 * DAY
START = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
ROOT = issue("root of all", ca=True, valid=(START - DAY, START + 60 * YEAR))


class Clock:
    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        self.at += timedelta(microseconds=1000)
        return self.at


@dataclass
class Authority:
    """Answers by the fake clock, with a certificate that can be renewed, or not at all."""

    name: str
    clock: Clock
    signer: Issued
    away: bool = False
    asked: int = 0
    self_operated: bool = False
    roots: tuple[bytes, ...] = (ROOT.der,)

    def renew_certificate(self, years: float) -> None:
        self.signer = certificate(self.name, self.clock.at, years)

    def exchange(self, request_der: bytes) -> bytes:
        self.asked += 1
        if self.away:
            raise Unreachable(f"{self.name} is away")
        request = tsp.TimeStampReq.load(request_der)
        imprint = request["message_imprint"]
        return Draft(
            signer=self.signer,
            imprint=imprint["hashed_message"].native,
            imprint_algorithm=imprint["hash_algorithm"]["algorithm"].native,
            gen_time=self.clock.at.replace(microsecond=0),
            nonce=request["nonce"].native,
            serial=self.asked,
        ).response()


def certificate(name: str, at: datetime, years: float) -> Issued:
    return issue(name, issuer=ROOT, valid=(at - DAY, at + years * YEAR))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authorities(clock: Clock) -> dict[str, Authority]:
    return {
        name: Authority(name, clock, certificate(name, START, years))
        for name, years in (("a", 1), ("b", 3))
    }


@pytest.fixture
def office(tmp_path: Path, clock: Clock, authorities: dict[str, Authority]) -> Iterator[Office]:
    settings = Settings(home=tmp_path / "house", renew_days=30)
    found(settings, clock=clock)
    house = Office(settings, clock=clock)
    house.stamping.authorities.clear()
    house.stamping.authorities.update(authorities)
    yield house
    house.close()


def deposit(office: Office, content: bytes) -> Deposit:
    declared = Declared(name="a.txt")
    with office.intake.receive(office.intake.admit(BY, declared)) as reception:
        reception.write(content)
        return reception.register(declared).deposit


def by_digest(office: Office, content: bytes, *names: str) -> Deposit:
    digests = {
        name: hashlib.new(name.replace("-", ""), content).hexdigest() for name in (SHA256, *names)
    }
    return office.intake.register_digests(BY, Declared(size=7, digests=digests)).deposit


def digests_of(content: bytes) -> dict[str, bytes]:
    return {name: hashlib.new(name, content).digest() for name in ("sha256", "sha512")}


def judged(given: DocumentRecord, content: bytes) -> VerifiedRecord:
    """By us, and by the second implementation."""
    proved = verify_evidence_record(
        parse_evidence_record(given.record), digests=digests_of(content), roots=[ROOT.der]
    )
    assert len(rederive(given.record, digests_of(content))) == len(proved.tokens)
    return proved


def trees(office: Office) -> int:
    with office.database.reading() as connection:
        query = sa.select(sa.func.count()).select_from(TREE).where(TREE.c.documents > 0)
        return connection.execute(query).scalar_one()


# --- a period ---------------------------------------------------------------------------------


def test_every_document_of_a_period_has_its_record_from_each_authority(
    office: Office, clock: Clock, tmp_path: Path
) -> None:
    whole = deposit(office, b"one")
    digest_only = by_digest(office, b"two")
    lines = [
        json.dumps({"digests": {SHA256: hashlib.sha256(b"%d" % n).hexdigest()}, "size": 1}).encode()
        for n in range(30)
    ]
    office.batches.receive(lines, by=BY, key=None, atomic=False, check_end=lambda _s, _r: None)
    assert office.evidence.of(whole) == ()
    clock.at += HOUR
    assert office.archiving.is_due()
    assert office.archiving.run() == 2
    contents = {each.sha256: content for each, content in ((whole, b"one"), (digest_only, b"two"))}
    contents |= {hashlib.sha256(b"%d" % n).hexdigest(): b"%d" % n for n in range(30)}
    deposits = office.register.deposits(limit=100)
    assert len(deposits) == 32
    for each in deposits:
        records = office.evidence.of(each)
        assert [record.authority for record in records] == ["a", "b"]
        for record in records:
            judged(record, contents[each.sha256])
            for token, digest in rederive(record.record, digests_of(contents[each.sha256])):
                chain = record.certificates
                assert len(chain) == 2
                if each in (whole, digest_only):
                    said = openssl_verify_token(
                        tmp_path, token=token, digest=digest, chain=chain, algorithm="sha256"
                    )
                    # The tokens are of the fake clock's years.
                    assert said == "OK"
    assert office.archiving.run() == 0


def test_a_record_tells_nothing_of_the_others_and_opens_for_no_other(
    office: Office, clock: Clock
) -> None:
    first, second = deposit(office, b"one"), deposit(office, b"two")
    clock.at += HOUR
    office.archiving.run()
    given = office.evidence.of(first)[0]
    assert hashlib.sha256(b"two").digest() not in given.record
    with pytest.raises(Exception, match="first list"):
        judged(given, b"two")
    assert given.record != office.evidence.of(second)[0].record


def test_the_same_bytes_twice_in_a_period_have_a_record_each(office: Office, clock: Clock) -> None:
    twice = [deposit(office, b"same"), deposit(office, b"same")]
    clock.at += HOUR
    office.archiving.run()
    records = [office.evidence.of(each)[0] for each in twice]
    assert records[0].record != records[1].record
    for each in records:
        judged(each, b"same")


def test_periods_have_a_tree_each_and_quiet_ones_none(office: Office, clock: Clock) -> None:
    assert not office.archiving._begins(clock.now())
    for content in (b"one", b"two"):
        deposit(office, content)
        clock.at += 3 * HOUR
        office.archiving.run()
    assert trees(office) == 2
    clock.at += 3 * HOUR
    office.archiving.run()
    assert trees(office) == 2


def test_what_is_registered_in_the_running_period_waits_for_its_end(
    office: Office, clock: Clock
) -> None:
    deposit(office, b"one")
    clock.at += HOUR
    waits = deposit(office, b"two")
    office.archiving.run()
    assert office.evidence.of(waits) == ()
    with pytest.raises(NotFound) as caught:
        office.issue.evidence_record(waits)
    assert caught.value.code == "evidence_record_pending"
    clock.at += HOUR
    office.archiving.run()
    judged(office.evidence.of(waits)[0], b"two")


def test_a_tree_of_many_chunks_goes_on_after_a_crash(
    office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notary.archiving.CHUNK", 3)
    kept = [(deposit(office, b"%d" % n), b"%d" % n) for n in range(11)]
    clock.at += HOUR
    keep_chunk = office.trees.keep_chunk
    calls = 0

    def dies(*arguments: object, **named: object) -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("killed")
        return keep_chunk(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(office.trees, "keep_chunk", dies)
    with pytest.raises(RuntimeError):
        office.archiving.run()
    (unfinished,) = office.trees.unfinished()
    assert unfinished.documents == 6
    deposit(office, b"later")
    assert office.archiving.run() == 2
    assert trees(office) == 1
    for each, content in kept:
        judged(office.evidence.of(each)[1], content)


def test_a_tree_that_is_full_is_followed_by_another(
    office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notary.archiving.CHUNK", 2)
    monkeypatch.setattr("notary.archiving.MAX_CHUNKS", 2)
    kept = [(deposit(office, b"%d" % n), b"%d" % n) for n in range(9)]
    clock.at += HOUR
    office.archiving.run()
    assert trees(office) == 3
    for each, content in kept:
        judged(office.evidence.of(each)[0], content)


def test_two_workers_at_one_tree_make_one(
    office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notary.archiving.CHUNK", 2)
    kept = [(deposit(office, b"%d" % n), b"%d" % n) for n in range(5)]
    clock.at += HOUR
    keep_chunk = office.trees.keep_chunk
    rival: list[bool] = []

    def raced(tree: hash_trees.Tree, *arguments: object, **named: object) -> bool:
        if not rival:
            rival.append(keep_chunk(tree, *arguments, **named))  # type: ignore[arg-type]
        return keep_chunk(tree, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(office.trees, "keep_chunk", raced)
    office.archiving.run()
    office.archiving.run()
    assert rival == [True]
    for each, content in kept:
        judged(office.evidence.of(each)[0], content)


# --- authorities ------------------------------------------------------------------------------


def test_an_authority_that_is_away_delays_no_other_and_catches_up(
    office: Office, clock: Clock, authorities: dict[str, Authority]
) -> None:
    authorities["a"].away = True
    one = deposit(office, b"one")
    clock.at += HOUR
    assert office.archiving.run() == 1
    assert [each.authority for each in office.evidence.of(one)] == ["b"]
    authorities["a"].away = False
    clock.at += HOUR
    assert office.archiving.run() == 1
    assert {each.authority for each in office.evidence.of(one)} == {"a", "b"}


# --- renewals ---------------------------------------------------------------------------------


def test_three_renewals_in_years(
    office: Office, clock: Clock, authorities: dict[str, Authority]
) -> None:
    """A time-stamp renewal, a hash-tree renewal, a time-stamp renewal; the record is good after
    each, for whom was there from the first."""
    one, two = deposit(office, b"one"), deposit(office, b"two")
    clock.at += HOUR
    office.archiving.run()

    clock.at += 340 * DAY
    authorities["a"].renew_certificate(4)
    assert office.archiving.run() == 1  # b's certificate is far from its end
    assert [each.timestamps for each in office.evidence.of(one)] == [2, 1]

    clock.at += YEAR
    left: list[Left] = []
    assert office.rehashing.run(left.append) == 2
    assert left == []
    assert [each.timestamps for each in office.evidence.of(one)] == [3, 2]

    clock.at += 2.95 * YEAR
    for authority in authorities.values():
        authority.renew_certificate(9)
    assert office.archiving.run() == 1
    assert [each.timestamps for each in office.evidence.of(one)] == [4, 2]
    for each, content in ((one, b"one"), (two, b"two")):
        proved = judged(office.evidence.of(each)[0], content)
        years = [(token.gen_time - START) // YEAR for token in proved.tokens]
        assert years == [0, 0, 1, 4]
        assert proved.expires_at > clock.at + 8 * YEAR


def test_a_renewal_of_many_trees_takes_one_token(
    office: Office, clock: Clock, authorities: dict[str, Authority]
) -> None:
    kept = []
    for number in range(5):
        kept.append((deposit(office, b"%d" % number), b"%d" % number))
        clock.at += HOUR
        office.archiving.run()
    clock.at += 340 * DAY
    authorities["a"].renew_certificate(4)
    asked = authorities["a"].asked
    assert office.archiving.renew().renewed == 5
    assert authorities["a"].asked == asked + 1
    for each, content in kept:
        assert len(judged(office.evidence.of(each)[0], content).tokens) == 2


def test_another_authority_renews_where_the_first_is_gone_or_ages_as_well(
    office: Office, clock: Clock, authorities: dict[str, Authority]
) -> None:
    one = deposit(office, b"one")
    clock.at += HOUR
    office.archiving.run()
    clock.at += 340 * DAY  # a has no new certificate
    assert office.archiving.renew().renewed == 1
    given = office.evidence.of(one)[0]
    assert given.authority == "a"
    assert [token.authority for token in judged(given, b"one").tokens] == ["a", "b"]


def test_a_renewal_that_nobody_can_give_is_said_and_tried_again(
    office: Office, clock: Clock, authorities: dict[str, Authority]
) -> None:
    one = deposit(office, b"one")
    clock.at += HOUR
    office.archiving.run()
    clock.at += 340 * DAY
    authorities["b"].away = True
    renewal = office.archiving.renew()
    assert renewal.renewed == 0
    assert len(renewal.left) == 1
    authorities["a"].renew_certificate(4)
    clock.at += 2 * HOUR
    assert office.archiving.run() == 1
    judged(office.evidence.of(one)[0], b"one")


def test_after_the_certificate_s_end_it_is_too_late_and_said(
    office: Office, clock: Clock, authorities: dict[str, Authority]
) -> None:
    deposit(office, b"one")
    clock.at += HOUR
    office.archiving.run()
    clock.at += 2 * YEAR
    authorities["a"].renew_certificate(4)
    renewal = office.archiving.renew()
    assert renewal.renewed == 0
    assert "ended" in renewal.left[0]


# --- SHA-512 ----------------------------------------------------------------------------------


def test_digests_without_a_sha_512_are_named_and_go_on_by_sha_256(
    office: Office, clock: Clock, authorities: dict[str, Authority]
) -> None:
    whole = deposit(office, b"whole")
    bare, full = by_digest(office, b"bare"), by_digest(office, b"full", SHA512)
    clock.at += HOUR
    office.archiving.run()
    left: list[Left] = []
    office.rehashing.run(left.append)
    assert {each.deposit_id for each in left} == {bare.id}
    chains = {
        content: len(parse_evidence_record(office.evidence.of(each)[0].record).chains)
        for each, content in ((whole, b"whole"), (bare, b"bare"), (full, b"full"))
    }
    assert chains == {b"whole": 2, b"bare": 1, b"full": 2}
    clock.at += 340 * DAY
    authorities["a"].renew_certificate(4)
    office.archiving.run()
    for each, content in ((whole, b"whole"), (bare, b"bare"), (full, b"full")):
        judged(office.evidence.of(each)[0], content)
    # The old chain goes on, since one needs it; the others' records end where they were renewed.
    assert [office.evidence.of(each)[0].timestamps for each in (whole, bare)] == [3, 2]
    asked = authorities["a"].asked
    assert office.rehashing.run() == 0
    assert authorities["a"].asked == asked


def test_an_original_that_is_not_the_registered_one_is_named(office: Office, clock: Clock) -> None:
    spoilt, other = deposit(office, b"one"), deposit(office, b"two")
    clock.at += HOUR
    office.archiving.run()
    (path,) = (p for p in (office.settings.home / "objects").rglob(f"*{spoilt.id}*") if p.is_file())
    path.chmod(0o644)
    path.write_bytes(b"bad")
    left: list[Left] = []
    office.rehashing.run(left.append)
    assert [each.deposit_id for each in left] == [spoilt.id]
    judged(office.evidence.of(other)[0], b"two")


def test_a_hash_tree_renewal_that_was_broken_off_goes_on(
    office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notary.rehashing.CHUNK", 3)
    kept = [(deposit(office, b"%d" % n), b"%d" % n) for n in range(8)]
    clock.at += HOUR
    office.archiving.run()
    keep_chunk, calls = office.trees.keep_chunk, 0

    def dies(*arguments: object, **named: object) -> bool:
        nonlocal calls
        calls += 1
        if calls == 4:  # between the two sequences
            raise RuntimeError("killed")
        return keep_chunk(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(office.trees, "keep_chunk", dies)
    with pytest.raises(RuntimeError):
        office.rehashing.run()
    assert office.rehashing.run() == 2
    for each, content in kept:
        for record in office.evidence.of(each):
            assert len(judged(record, content).tokens) == 2


def test_a_renewal_between_the_halves_of_a_hash_tree_renewal_begins_it_anew(
    office: Office, clock: Clock, authorities: dict[str, Authority],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    one = deposit(office, b"one")
    clock.at += HOUR
    office.archiving.run()
    with monkeypatch.context() as broken:
        broken.setattr(office.trees, "finish", lambda *_a, **_n: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            office.rehashing.run()
    clock.at += 340 * DAY
    authorities["a"].renew_certificate(4)
    assert office.archiving.renew().renewed == 1
    office.rehashing.run()
    proved = judged(office.evidence.of(one)[0], b"one")
    assert len(proved.tokens) == 3


# --- certificates -----------------------------------------------------------------------------


def test_a_certificate_reissued_carries_the_whole_chain(
    office: Office, clock: Clock, authorities: dict[str, Authority], tmp_path: Path
) -> None:
    office._roots = (*office._roots, ROOT.der)
    one = deposit(office, b"one")
    for name in office.stamping.authorities:
        office.stamping.run(name)
    first = office.issue.certificate(one, by=BY)
    assert first.certificate.evidence_records == ()

    def versions() -> tuple[int, list[int]]:
        version = office.issue.certificate(one, by=BY).version
        return version, [each.timestamps for each in office.evidence.of(one)]

    clock.at += HOUR
    office.archiving.run()
    assert versions() == (2, [1, 1])
    assert versions() == (2, [1, 1])
    clock.at += 340 * DAY
    authorities["a"].renew_certificate(4)
    office.archiving.run()
    assert versions() == (3, [2, 1])
    issued = office.issue.certificate(one, by=BY)
    document = Document(digests={SHA256: one.sha256}, size=one.size)
    report = verify(issued.json, document, office.trust)
    passed = [c for c in report.checks if c.name == "evidence_record"]
    assert [check.status for check in passed] == [Status.PASSED, Status.PASSED]
    # By SHA-512 it takes the document's own.
    office.rehashing.run()
    issued = office.issue.certificate(one, by=BY)
    asked = [
        c for c in verify(issued.json, document, office.trust).checks if c.name == "evidence_record"
    ]
    assert {check.code for check in asked} == {"evidence_record_digest"}
    both = Document(
        digests={SHA256: one.sha256, SHA512: hashlib.sha512(b"one").hexdigest()}, size=one.size
    )
    report = verify(issued.json, both, office.trust)
    assert all(c.status is Status.PASSED for c in report.checks if c.name == "evidence_record")
    assert b"".join(office.issue.bundle(one, issued)).count(b"evidence-records/01.ers") >= 2
