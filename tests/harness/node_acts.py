"""What nodes write to agree with one another: who asked too often, who does which job, and that
writing goes on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from notary.counters import REQUEST_COUNT
from notary.errors import Rollback
from notary.halt import FILE as HALTED
from notary.leases import JOB_LEASE
from notary.ledger import halt_writing
from notary.office import Office
from tests.harness.acts import Act, house, rows_of

ASKED, JOB, HOLDER = "who asked", "stamp", "this worker"


def _count(office: Office) -> object:
    return office.counters.add(ASKED, 1, now=1_000, span=60)


def _counted(office: Office) -> None:
    """At least once for each answer; a repetition counts again."""
    (row,) = rows_of(office, REQUEST_COUNT)
    assert (row.key, row.until) == (ASKED, 1_060)
    assert row.count >= 1


def _lease(office: Office) -> object:
    return office.leases.take(
        JOB, holder=HOLDER, now=office.clock.now(), span=timedelta(seconds=10)
    )


def _leased(office: Office) -> None:
    (row,) = rows_of(office, JOB_LEASE)
    assert (row.job, row.holder) == (JOB, HOLDER)


def _halted(root: Path) -> None:
    with house(root, chance=7) as office:
        halt = office.sequencer._halt
        evidence = halt.stop(Rollback("the database went back"), office.clock.now())
        with office.database.writing() as connection:
            halt_writing(connection, evidence)


def _resume(office: Office) -> None:
    office.sequencer.resume()


def _resumed(office: Office) -> None:
    """Nothing stops writing any more, and the evidence is kept."""
    assert office.ledger.head().halted is None
    assert not (office.settings.home / HALTED).exists()
    assert list(office.settings.home.glob(f"resumed-*-{HALTED}"))
    office.sequencer.check_writing()


NODE_ACTS: dict[str, Act] = {
    "count": Act(run=_count, held=_counted),
    "lease": Act(run=_lease, held=_leased),
    "resume": Act(run=_resume, held=_resumed, spoil=_halted, outside=(OSError,)),
}
