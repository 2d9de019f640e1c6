"""Two outside authorities of a real PKI (certomancer): k of n, and a certificate revoked later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from notary.digest import SHA256
from notary.errors import MalformedInput
from notary.model import Deposit
from notary.office import Office, found
from notary.settings import Settings
from notary.trust import parse_trust
from notary.verdict import Document, Report, Status, Verdict
from notary.verify import verify
from tests.harness.revoking import free_port, make_keys, pki
from tests.ledger.test_archiving import BY, deposit
from tests.ledger.test_stamping import Clock, roots


class Court:
    """Both authorities, which can be stopped and started again, revoked."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock, self.port = folder, clock, free_port()
        make_keys(folder)

    @contextmanager
    def open(self, revoked: dict[str, Any] | None = None) -> Iterator[None]:
        with pki(self.folder, self.port, revoked=revoked):
            yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def court(tmp_path: Path, clock: Clock) -> Court:
    return Court(tmp_path, clock)


def stamp(office: Office, *which: int) -> None:
    names = list(office.stamping.authorities)
    for at in which or (0, 1):
        assert office.stamping.run(names[at]) == 1


def judged(office: Office, of: Deposit, quorum: int = 0) -> Report:
    issued = office.issue.certificate(of, by=BY)
    trust = replace(office.trust, timestamp_quorum=quorum)
    return verify(issued.json, Document(digests={SHA256: of.sha256}, size=of.size), trust)


def of(report: Report, name: str) -> list[tuple[Status, str | None]]:
    return [(each.status, each.code) for each in report.checks if each.name == name]


GOOD = (Status.PASSED, None)
GONE = (Status.FAILED, "timestamp_revoked")


@contextmanager
def running(court: Court, **settings: Any) -> Iterator[tuple[Office, Deposit]]:
    with pki(court.folder, court.port) as there:
        chosen = Settings(
            home=court.folder / "house",
            tsa_urls=(there.tsa("first"), there.tsa("second")),
            tsa_roots=roots(court.folder, there.root), **settings,
        )  # fmt: skip
        found(chosen)
        office = Office(chosen, clock=court.clock)
        one = deposit(office, b"one")
        yield office, one
    office.close()


def test_what_the_authorities_say_is_kept_with_the_token_and_checked_without_a_network(
    court: Court,
) -> None:
    with running(court) as (office, one):
        stamp(office)
        assert office.revocation_watch.is_due()
        assert office.revocation_watch.run() == 4  # a list and an answer about each
        report = judged(office, one, quorum=2)
        assert (report.verdict, report.code) == (Verdict.CONFIRMED, "match")
        assert of(report, "revocation") == [GOOD, GOOD]
        assert of(report, "timestamp_quorum") == [GOOD]
        assert not office.revocation_watch.is_due()


def test_who_cannot_be_reached_keeps_no_token_and_no_certificate_from_anybody(
    court: Court, clock: Clock
) -> None:
    with running(court) as (office, one):
        stamp(office)
    office = Office(office.settings, clock=clock)
    assert office.revocation_watch.run() == 0
    report = judged(office, one)
    assert (report.verdict, report.code) == (Verdict.CONFIRMED, "match")
    assert of(report, "revocation") == [(Status.NOT_MADE, "revocation_none")] * 2
    with court.open():
        clock.ahead += timedelta(minutes=11)
        assert office.revocation_watch.run() == 4
    office.close()


def revoked_later(court: Court, clock: Clock, how: dict[str, Any]) -> tuple[Office, Deposit]:
    with running(court) as (office, one):
        stamp(office)
        office.revocation_watch.run()
        assert of(judged(office, one), "revocation") == [GOOD, GOOD]
    office = Office(office.settings, clock=clock)
    with court.open(how):
        clock.ahead += timedelta(hours=25)
        assert office.revocation_watch.run() == 4
    return office, one


@pytest.mark.parametrize("how", [{"reason": "key_compromise"}, {}])
def test_an_authority_revoked_later_does_not_take_the_other_down(
    court: Court, clock: Clock, how: dict[str, str]
) -> None:
    # certomancer's lists are as of its last weekly update.
    since = (datetime.now(UTC) - timedelta(days=10)).replace(microsecond=0).isoformat()
    office, one = revoked_later(court, clock, {"revoked-since": since, **how})
    report = judged(office, one)
    assert office.issue.certificate(one, by=BY).version == 2
    assert office.issue.certificate(one, by=BY).version == 2
    assert sorted(of(report, "revocation")) == sorted([GONE, GOOD])
    assert (report.verdict, report.code) == (Verdict.CONFIRMED, "match")
    report = judged(office, one, quorum=2)
    assert (report.verdict, report.code) == (Verdict.UNDECIDED, "timestamp_quorum_missing")
    assert judged(office, one, quorum=1).verdict is Verdict.CONFIRMED
    office.close()


def test_a_revoked_authority_alone_leaves_the_time_undecided(court: Court, clock: Clock) -> None:
    with running(court) as (office, one):
        stamp(office, 0)
    office = Office(office.settings, clock=clock)
    with court.open({"revoked-since": "2026-01-01T00:00:00Z", "reason": "key_compromise"}):
        office.revocation_watch.run()
    report = judged(office, one)
    assert (report.verdict, report.code) == (Verdict.UNDECIDED, "timestamp_revoked")
    office.close()


def test_a_deposit_counts_as_timestamped_when_so_many_have_stamped(court: Court) -> None:
    with running(court, tsa_quorum=2) as (office, one):
        stamp(office, 0)
        covering = office.stamps.covering(one.index)
        assert covering is not None
        assert covering.time() is None
        issued = office.issue.certificate(one, by=BY).certificate
        assert (issued.times.timestamped_at, len(issued.timestamps)) == (None, 1)
        assert judged(office, one).code == "match_not_yet_anchored"
        stamp(office, 1)
        covering = office.stamps.covering(one.index)
        assert covering is not None
        assert covering.time() == max(token.gen_time for token in covering.tokens)
        issued = office.issue.certificate(one, by=BY).certificate
        assert issued.times.timestamped_at == covering.time()
        assert judged(office, one, quorum=2).code == "match"


def test_a_quorum_that_cannot_be_is_refused() -> None:
    with pytest.raises(MalformedInput, match="NOTARY_TSA_QUORUM"):
        Settings.from_env({"NOTARY_TSA_QUORUM": "2"})
    for text in ('"2"', "true", "-1", "65"):
        with pytest.raises(MalformedInput, match="timestamp_quorum"):
            parse_trust(
                'format = "evidence-trust/v1"\norigin = "a"\nlog_keys = []\nstatement_keys = []\n'
                f"certificate_keys = []\ntimestamp_roots = []\ntimestamp_quorum = {text}\n"
            )
