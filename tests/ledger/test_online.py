"""`--online` against a house that answers, one that is silent, and answers that lie."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import create_app
from certs.status import parse_status, sign_status
from notary.errors import Unreachable
from notary.model import Declared, Principal, Role
from notary.office import Office
from notary.online import ask
from notary.settings import Settings
from notary.trust import Trust
from notary.verdict import Check, Document, Report, Status, Verdict
from notary.verify import verify
from tests.harness.certified import deposit, depositor, open_house

CONTENT = b"minutes of the meeting"
CHECKPOINT, STATUS = "log/checkpoint", "v1/certificates/"


@dataclass
class Answers:
    """The house's own, through its own door; those for paths that begin with a key are changed."""

    client: FlaskClient
    changed: dict[str, Callable[[bytes], bytes | None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    name: str = "http://house.test"

    def read(self, path: str, max_bytes: int) -> bytes | None:
        self.asked.append(path)
        answer = self.client.get(f"/{path}")
        data = answer.data if answer.status_code == 200 else None
        for begin, change in self.changed.items():
            if path.startswith(begin):
                return change(data or b"")
        return data


def silence(_: bytes) -> bytes:
    raise Unreachable("no answer within 20.0 s")


@dataclass(frozen=True)
class Scene:
    house: Office
    clerk: Principal
    answers: Answers
    deposit_id: str
    json: bytes
    document: Document

    def offline(self, trust: Trust | None = None) -> Report:
        return verify(self.json, self.document, trust or self.house.trust)

    def online(self) -> Report:
        return ask(self.offline(), self.json, self.house.trust, self.answers)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    house = open_house(tmp_path / "house")
    account, _ = house.people.create_account("operator", "clerk", Role.CLERK)
    clerk = Principal(
        account_id=account.id, name="clerk", role=Role.CLERK, authenticated_by="password"
    )
    receipt = deposit(house, clerk, CONTENT, Declared(name="minutes.txt"))
    for authority in house.stamping.authorities:
        house.stamping.run(authority)
    issued = house.issue.certificate(receipt.deposit, by=clerk)
    for number in range(3):
        deposit(house, clerk, b"%d" % number, Declared(name=str(number)))
    yield Scene(
        house=house,
        clerk=clerk,
        answers=Answers(create_app(house.settings).test_client()),
        deposit_id=receipt.deposit.id,
        json=issued.json,
        document=Document(digests=dict(receipt.deposit.digests), size=len(CONTENT)),
    )
    house.close()


def checks(report: Report) -> dict[str, Check]:
    return {check.name: check for check in report.checks}


def told(report: Report) -> tuple[str, str, Status, Status]:
    by_name = checks(report)
    return (
        report.verdict.value,
        report.code,
        by_name["consistency"].status,
        by_name["supersession"].status,
    )


PASSED, FAILED, NOT_MADE = Status.PASSED, Status.FAILED, Status.NOT_MADE


def test_a_certificate_that_is_current_stays_confirmed_with_two_checks_more(scene: Scene) -> None:
    assert told(scene.online()) == ("confirmed", "match", PASSED, PASSED)


def test_nothing_of_the_document_is_sent(scene: Scene) -> None:
    scene.online()
    for path in scene.answers.asked:
        assert path.startswith(("log/checkpoint", "log/tile/", "v1/certificates/"))
        assert scene.document.digests["sha-256"] not in path


def test_a_replaced_certificate_is_superseded_with_status_3(scene: Scene) -> None:
    deposit_ = scene.house.register.deposit(scene.deposit_id)
    scene.house.issue.reissue(deposit_, by=scene.clerk, reason="a correction")
    report = scene.online()
    assert told(report) == ("superseded", "certificate_reissued", PASSED, FAILED)
    assert report.exit_status == 3
    assert "newest is version 2" in checks(report)["supersession"].detail


def test_a_withdrawn_certificate_is_superseded_and_the_reason_is_shown(scene: Scene) -> None:
    deposit_ = scene.house.register.deposit(scene.deposit_id)
    scene.house.withdrawing.withdraw(scene.clerk, deposit_, reason="by order 7/26")
    report = scene.online()
    assert told(report) == ("superseded", "certificate_withdrawn", PASSED, FAILED)
    assert "'by order 7/26'" in checks(report)["supersession"].detail


def test_a_file_that_does_not_match_is_not_made_better_or_worse_by_a_replacement(
    scene: Scene,
) -> None:
    deposit_ = scene.house.register.deposit(scene.deposit_id)
    scene.house.issue.reissue(deposit_, by=scene.clerk, reason="a correction")
    other = replace(scene, document=Document(digests={"sha-256": "0" * 64}, size=1))
    assert told(other.online())[:2] == ("not_this_file", "digest_mismatch")


@pytest.mark.parametrize("silent", [CHECKPOINT, "log/tile/", STATUS, ""])
def test_a_network_that_fails_is_no_verdict_on_the_document(scene: Scene, silent: str) -> None:
    scene.answers.changed[silent] = silence
    report = scene.online()
    assert (report.verdict, report.code) == (Verdict.UNDECIDED, "service_unreachable")
    assert report.exit_status == 2
    assert report.facts is not None
    assert not [check for check in report.checks if check.status is FAILED]
    assert checks(report)["document_digest"].status is PASSED


def test_a_house_that_knows_no_such_certificate_leaves_it_undecided(scene: Scene) -> None:
    scene.answers.changed[STATUS] = lambda _: None
    assert told(scene.online()) == (
        "undecided", "not_authorised_or_unknown", PASSED, NOT_MADE,
    )  # fmt: skip


def flipped(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


@pytest.mark.parametrize("path", [CHECKPOINT, "log/tile/", STATUS])
@pytest.mark.parametrize(
    "change", [flipped, lambda _: b"", lambda _: b"<html>", lambda data: data[:-1]]
)
def test_an_answer_that_cannot_be_proved_is_a_check_not_made(
    scene: Scene, path: str, change: Callable[[bytes], bytes]
) -> None:
    scene.answers.changed[path] = change
    report = scene.online()
    assert report.verdict is Verdict.UNDECIDED
    assert report.code in ("service_answer_invalid", "service_unreachable")
    assert not [check for check in report.checks if check.status is FAILED]


def test_an_older_checkpoint_than_the_certificates_is_no_evidence(
    scene: Scene, tmp_path: Path
) -> None:
    newer = deposit(scene.house, scene.clerk, b"newer", Declared(name="newer"))
    old = scene.house.ledger.head().checkpoint
    deposit(scene.house, scene.clerk, b"newest", Declared(name="newest"))
    for authority in scene.house.stamping.authorities:
        scene.house.stamping.run(authority)
    issued = scene.house.issue.certificate(newer.deposit, by=scene.clerk)
    document = Document(digests=dict(newer.deposit.digests), size=5)
    scene.answers.changed[CHECKPOINT] = lambda _: old
    report = replace(scene, json=issued.json, document=document).online()
    assert told(report) == ("undecided", "service_answer_invalid", NOT_MADE, PASSED)


def test_a_ledger_with_two_histories_is_said_whatever_the_document(tmp_path: Path) -> None:
    """Both are signed with the same keys: a house whose database was copied, and went on twice."""
    open_house(tmp_path / "one").close()
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    one, other = (Office(Settings(home=tmp_path / name)) for name in ("one", "other"))
    by = depositor(one)
    receipt = deposit(one, by, CONTENT, Declared(name="minutes.txt"))
    data, trust = one.issue.certificate(receipt.deposit, by=by).json, one.trust
    theirs = depositor(other)
    for number in range(5):
        deposit(other, theirs, b"%d" % number, Declared(name=str(number)))
    answers = Answers(create_app(other.settings).test_client())
    registered = Document(digests=dict(receipt.deposit.digests), size=len(CONTENT))
    for document in (registered, None, Document(digests={"sha-256": "0" * 64}, size=1)):
        report = ask(verify(data, document, trust), data, trust, answers)
        assert (report.verdict, report.code) == (Verdict.NOT_GENUINE, "checkpoint_inconsistent")
        assert report.facts is None
        assert checks(report)["consistency"].status is FAILED
    one.close()
    other.close()


def test_a_certificate_that_does_not_check_out_is_not_asked_about(scene: Scene) -> None:
    bad = scene.json.replace(b'"version":1}', b'"version":2}')
    offline = verify(bad, scene.document, scene.house.trust)
    assert ask(offline, bad, scene.house.trust, scene.answers) == offline
    assert scene.answers.asked == []


def test_a_statement_about_another_certificate_is_worth_nothing(scene: Scene) -> None:
    other = deposit(scene.house, scene.clerk, b"other", Declared(name="other"))
    issued = scene.house.issue.certificate(other.deposit, by=scene.clerk)
    theirs = scene.house.withdrawing.status(
        issued.certificate.certificate_id, other.deposit.id
    ).encode()
    scene.answers.changed[STATUS] = lambda _: theirs
    assert told(scene.online())[1:] == ("service_answer_invalid", PASSED, NOT_MADE)


def test_a_statement_by_a_key_that_the_trust_file_lacks_is_worth_nothing(
    scene: Scene, tmp_path: Path
) -> None:
    other = open_house(tmp_path / "stranger")
    scene.answers.changed[STATUS] = lambda data: sign_status(
        parse_status(data).draft, other.keys.certificate
    ).encode()
    assert told(scene.online())[1:] == ("service_answer_invalid", PASSED, NOT_MADE)
    other.close()


def test_a_disposed_deposit_is_said_so_and_stays_confirmed(scene: Scene) -> None:
    house = scene.house
    account, _ = house.people.create_account("operator", "second clerk", Role.CLERK)
    second = replace(scene.clerk, account_id=account.id, name="second clerk")
    deposit_ = house.register.deposit(scene.deposit_id)
    asked = house.disposing.request(scene.clerk, deposit_, reason="over", basis="section 5")
    house.disposing.approve(second, asked)
    report = scene.online()
    assert told(report) == ("confirmed", "match_disposed", PASSED, PASSED)
