"""Background work on Huey: what is due is asked of the database, so a lost or doubled job harms
nothing.

Huey's own clock knows minutes; a timestamp every second needs a pulse of our own: a thread that
asks what is due and puts it on the queue. A task that was queued twice finds nothing to do.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import structlog
from huey import SqliteHuey
from huey.consumer import Consumer

from notary.auditing import Stopped, Worker
from notary.clock import rfc3339
from notary.errors import NotaryError
from notary.office import Office
from notary.reconcile import SCHEDULED_RATE, Walker
from notary.reconcile import Stopped as WalkStopped
from notary.remains import Finding as Remaining
from notary.remains import Kind, Remnant
from notary.rereads import Finding
from storage.errors import StorageError

LOG = structlog.get_logger("jobs")
WORKERS = 4
RECONCILE_EVERY_S = 3600.0
RECONCILE_AGAIN_S = 60.0
"""Where it could not be finished, or another worker was at it when it was due."""
LOST_AFTER_S = 60.0
LEASE_S = 10.0
"""How long a job stays with a worker that was killed, or three pulses."""
AUDIT_LOOK_S = 10.0
"""How often a worker asks whether there is something to audit."""


class _Consumer(Consumer):  # type: ignore[misc]  # Huey carries no types
    def _set_signal_handlers(self) -> None:
        """Signals are the process's own matter: `Jobs.stop` ends us."""


class Jobs:
    """The queue, its tasks, and the pulse that feeds it. One per worker process."""

    def __init__(self, office: Office, folder: Path) -> None:
        self._office = office
        self._refresh = timedelta(seconds=office.settings.checkpoint_refresh)
        self._stop = threading.Event()
        self.huey = SqliteHuey("evidence", filename=str(folder / "jobs.db"), results=False)
        self._stamp = self._task("stamp", self._run_stamp)
        self._witness = self._task("witness", self._run_witness)
        self._register = self._task("register", self._run_register)
        self._keep = self._task("keep", self._run_keep)
        self._dispose = self._task("dispose", self._run_dispose)
        self._retain = self._task("retain", self._run_retain)
        self._archive = self._task("archive", self._run_archive)
        self._revocations = self._task("revocations", self._run_revocations)
        self._queued: dict[str, float] = {}
        self._name = f"{platform.node()[:60]}:{os.getpid()}:{os.urandom(6).hex()}"
        self._working: set[str] = set()
        self._journalled: int | None = None

    def run(self) -> None:
        """Works until `stop`; a task under way is finished first."""
        pulses = [
            threading.Thread(target=self._pulse, name="pulse", daemon=True),
            threading.Thread(target=self._journal_pulse, name="journal", daemon=True),
            threading.Thread(target=self._audit_pulse, name="audit", daemon=True),
            threading.Thread(target=self._reconcile_pulse, name="reconcile", daemon=True),
        ]
        for pulse in pulses:
            pulse.start()
        consumer = _Consumer(
            self.huey, workers=WORKERS, initial_delay=0.05, max_delay=0.2, backoff=1.15,
            periodic=False, check_worker_health=True,
        )  # fmt: skip
        consumer.start()
        self._stop.wait()
        consumer.stop(graceful=True)
        for pulse in pulses:
            pulse.join(timeout=5)
        self.write_journal(last=True)
        try:
            self._office.leases.release(self._name)
        except StorageError as exc:
            LOG.warning("pulse", error=str(exc))

    def stop(self) -> None:
        self._stop.set()

    def _task(self, name: str, work: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: str) -> None:
            # The job boundary: whatever happens is logged, and what is due stays due.
            mark = name + "".join(arguments)
            try:
                if self._take(mark):
                    self._working.add(mark)
                    work(*arguments)
            except (NotaryError, StorageError) as exc:
                LOG.warning("job failed", job=name, error=f"{exc.__class__.__name__}: {exc}")
            except Exception:
                LOG.exception("job failed", job=name)
            finally:
                self._working.discard(mark)
                self._queued.pop(mark, None)

        task = self.huey.task(name=name)(guarded)

        def enqueue(*arguments: str) -> None:
            # Spares the queue what waits there already. A task that was lost is put again.
            mark, now = name + "".join(arguments), time.monotonic()
            if now - self._queued.get(mark, -LOST_AFTER_S) >= LOST_AFTER_S:
                self._queued[mark] = now
                task(*arguments)

        return enqueue

    def _take(self, mark: str) -> bool:
        """Whether this worker is the one that does it."""
        span = timedelta(seconds=max(LEASE_S, 3 * self._office.settings.timestamp_interval))
        now = self._office.clock.now()
        return self._office.leases.take(mark, holder=self._name, now=now, span=span)

    def _run_stamp(self, authority: str) -> None:
        self._office.stamping.run(authority)

    def _run_witness(self) -> None:
        if self._office.witnessing is not None:
            self._office.witnessing.run()

    def _run_register(self) -> None:
        self._office.registering.run()

    def _run_keep(self) -> None:
        self._office.keeping.apply()

    def _run_dispose(self) -> None:
        self._office.disposing.run()

    def _run_retain(self) -> None:
        for key, said in self._office.retention.run().failed:
            LOG.warning("retention", key=key, error=said)

    def _run_archive(self) -> None:
        self._office.archiving.run()

    def _run_revocations(self) -> None:
        self._office.revocation_watch.run()

    def _journal_pulse(self) -> None:
        # A thread of its own: how often an authority may be asked says nothing about how much
        # may be lost.
        while not self._stop.wait(self._office.settings.journal_interval):
            self.write_journal()

    def write_journal(self, *, last: bool = False) -> None:
        """Unless another worker has been at it since this one looked. Then shows outside the
        checkpoint that the journal has: what was published can always be rebuilt. While storage
        fails, the guard against old databases must not wait for it."""
        covered: bytes | None = None
        try:
            number = self._office.journal.number()
            others = self._journalled not in (None, number)
            self._journalled = number
            if others and not last and self._office.journal.is_due():
                return
            covered = self._office.journal.run().covered
            self._journalled = self._office.journal.number()
            if covered is None:
                return
        except (NotaryError, StorageError) as exc:
            LOG.warning("journal", error=f"{exc.__class__.__name__}: {exc}")
        except Exception:
            # Without its thread nothing would be journalled any more.
            LOG.exception("journal")
        try:
            self._office.publish(covered)
        except (NotaryError, StorageError, OSError) as exc:
            LOG.warning("journal", error=f"{exc.__class__.__name__}: {exc}")

    def _audit_pulse(self) -> None:
        # Not a task of the queue: it may read for days, and nothing else may wait for that.
        worker = Worker(stop=self._stop.is_set, wait=self._stop.wait, told=_log_finding)
        while not self._stop.wait(AUDIT_LOOK_S):
            self.audit(worker)

    def audit(self, worker: Worker) -> None:
        """Takes part in what is due, until nothing is left for this worker."""
        try:
            self._office.auditing.work_by_schedule(worker)
        except Stopped:
            return
        except (NotaryError, StorageError) as exc:
            LOG.warning("audit", error=f"{exc.__class__.__name__}: {exc}")
        except Exception:
            # Without its thread nothing would be audited any more.
            LOG.exception("audit")

    def _reconcile_pulse(self) -> None:
        # At once, then by schedule. Not a task of the queue: it may walk for hours.
        walker = Walker(
            stop=self._stop.is_set, wait=self._stop.wait, rate=SCHEDULED_RATE,
            found=_log_remnant, gone=_log_gone, mended=_log_mended,
        )  # fmt: skip
        pause = 0.0
        while not self._stop.wait(pause):
            pause = RECONCILE_EVERY_S if self.reconcile(walker) else RECONCILE_AGAIN_S

    def reconcile(self, walker: Walker) -> bool:
        """False where it has to be tried again soon."""
        try:
            return self._office.reconciling.run(walker) is not None
        except WalkStopped:
            return False
        except (NotaryError, StorageError) as exc:
            LOG.warning("reconcile", error=f"{exc.__class__.__name__}: {exc}")
        except Exception:
            # Without its thread nothing would be mended any more.
            LOG.exception("reconcile")
        return False

    def _pulse(self) -> None:
        interval = self._office.settings.timestamp_interval
        while not self._stop.wait(interval):
            try:
                for mark in tuple(self._working):
                    self._take(mark)
                self._office.sequencer.refresh(self._refresh)
                if self._office.witnessing is not None and self._office.witnessing.is_due():
                    self._witness()
                if self._office.registering.is_due():
                    self._register()
                if self._office.keeping.is_due():
                    self._keep()
                if self._office.disposing.is_due():
                    self._dispose()
                if self._office.retention.is_due():
                    self._retain()
                if self._office.archiving.is_due():
                    self._archive()
                if self._office.revocation_watch.is_due():
                    self._revocations()
                for name in self._office.stamping.authorities:
                    if self._office.stamping.is_due(name):
                        self._stamp(name)
            except (NotaryError, StorageError) as exc:
                LOG.warning("pulse", error=str(exc))
            except Exception:
                # The queue's own database failed: without its pulse nothing would resume.
                LOG.exception("pulse")


def _log_remnant(found: Remnant) -> None:
    LOG.error(
        "remains", kind=found.kind.value, name=found.name, deposit=found.deposit_id,
        detail=found.detail,
    )  # fmt: skip


def _log_gone(found: Remaining) -> None:
    LOG.warning(
        "remains gone", kind=found.remnant.kind.value, name=found.remnant.name,
        since=rfc3339(found.since),
    )  # fmt: skip


def _log_mended(kind: Kind, name: str) -> None:
    LOG.warning("sweep", kind=kind.value, name=name)


def _log_finding(found: Finding) -> None:
    LOG.error(
        "fixity",
        kind=found.kind.value,
        audit=found.run_id,
        entry=found.index,
        deposit=found.deposit_id,
        detail=found.detail,
    )
