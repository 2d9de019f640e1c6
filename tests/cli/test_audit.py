"""`notary audit` as an operator types it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notary.audits import Scope
from notary.model import Declared, Principal, Role
from notary.office import Office
from notary.originals import object_key
from tests.harness.people import Staff
from tests.harness.server import REPOSITORY, Service

BY = Principal(account_id="0" * 36, name="agency", role=Role.API_CLIENT, authenticated_by="api-key")
ORIGINALS, SIZE = 4, 1_000


@pytest.fixture
def service(tmp_path: Path) -> Service:
    made = Service(home=tmp_path / "house")
    made.init()
    with Staff(made) as staff:
        for number in range(ORIGINALS):
            declared = Declared(name="a")
            with staff.office.intake.receive(staff.office.intake.admit(BY, declared)) as reception:
                reception.write(bytes([number]) * SIZE)
                reception.register(declared)
    return made


@pytest.fixture
def office(service: Service) -> Iterator[Office]:
    with Staff(service) as staff:
        yield staff.office


def test_a_sound_house_ends_with_0_and_says_what_was_read(service: Service) -> None:
    done = service.cli("audit", "--workers", "2")
    assert done.returncode == 0
    read = f"4 originals read again ({ORIGINALS * SIZE} bytes)"
    assert f"4 deposits, {read}, 0 findings" in done.stdout


def test_a_damaged_original_ends_with_70_and_its_name(service: Service, office: Office) -> None:
    first, *_ = office.register.deposits()
    (service.home / "objects" / object_key(first.id)).unlink()
    done = service.cli("audit", check=False)
    assert done.returncode == 70
    assert f"✗ original {first.id}: missing" in done.stdout
    assert "1 findings" in done.stdout


@pytest.mark.parametrize("wrong", [["--sample", "0"], ["--rate", "-1"], ["--workers", "0"]])
def test_a_wrong_option_begins_nothing(service: Service, office: Office, wrong: list[str]) -> None:
    assert service.cli("audit", *wrong, check=False).returncode == 2
    assert office.auditing.audits.runs() == ()


def begin(service: Service, office: Office) -> subprocess.Popen[str]:
    """An audit that is so slow that it will never end by itself, with its first original read."""
    process = subprocess.Popen(
        [sys.executable, "-m", "notary.cli.main", "audit", "--rate", "1"],
        cwd=REPOSITORY, env=service.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    service.wait_for(lambda: office.auditing.audits.unfinished() is not None)
    time.sleep(1)
    return process


def test_interrupted_it_gives_its_range_back_and_is_gone_on_with(
    service: Service, office: Office
) -> None:
    process = begin(service, office)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    run = office.auditing.audits.unfinished()
    assert run is not None
    assert run.id in said
    part = office.auditing.audits.claim(run.id, "x", office.clock.now())
    assert part is not None, "nobody holds it"
    office.auditing.audits.note(part, office.clock.now(), released=True)
    with office.database.writing() as connection:
        connection.exec_driver_sql("UPDATE audit_run SET rate = 0")
    done = service.cli("audit", "--sample", "1")
    assert f"Goes on with audit {run.id}" in done.stderr
    assert "4 originals read again" in done.stdout
    assert office.auditing.audits.run(run.id).scope is Scope.ALL


@pytest.mark.slow
def test_killed_it_is_gone_on_with_when_its_hold_has_run_out(
    service: Service, office: Office
) -> None:
    process = begin(service, office)
    process.kill()
    process.communicate()
    run = office.auditing.audits.unfinished()
    assert run is not None
    assert office.auditing.audits.claim(run.id, "x", office.clock.now()) is None
    with office.database.writing() as connection:
        connection.exec_driver_sql("UPDATE audit_run SET rate = 0")
        connection.exec_driver_sql(
            "UPDATE audit_range SET held_until = '2000-01-01T00:00:00.000000Z'"
        )
    done = service.cli("audit")
    assert "4 originals read again" in done.stdout
    assert done.returncode == 0
