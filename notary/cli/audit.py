"""`notary audit`: every original read again and compared with the ledger, by hand."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import click

from notary.auditing import Stopped, Worker
from notary.audits import Run
from notary.office import Office
from notary.rereads import Finding
from notary.settings import Settings

CHOICE = "operator"
SHOW_EVERY_S = 0.5
BAR = 30
LOOK_AGAIN_S = 1.0
"""While others hold what is left: where one of them dies, its range becomes free."""


@click.command()
@click.option("--rate", type=click.IntRange(min=0), help="Bytes per second, over all workers.")
@click.option("--sample", type=click.IntRange(min=1), help="So many originals, drawn at random.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
def audit(*, rate: int | None, sample: int | None, workers: int) -> None:
    """Read every original again and compare it with the ledger. Exit 70 if anything contradicts.

    Interrupted or killed, it goes on when started again: an unfinished audit comes first, with the
    rate and sample it was begun with."""
    house = Office(Settings.from_env(os.environ))
    house.examine()
    before = house.auditing.audits.unfinished()
    run = house.auditing.begin(CHOICE, rate=rate, sample=sample)
    if before is not None:
        click.echo(f"Goes on with audit {run.id}, begun by {run.started_by}", err=True)
    stop = threading.Event()
    try:
        _work(house, run, workers, stop)
    except KeyboardInterrupt:
        click.echo(f"\nAudit {run.id} is unfinished: `notary audit` goes on with it", err=True)
        sys.exit(130)
    sys.exit(70 if _report(house, run.id) else 0)


def _work(house: Office, run: Run, workers: int, stop: threading.Event) -> None:
    with ThreadPoolExecutor(workers) as pool:
        try:
            futures = [pool.submit(_worker, house, run, stop) for _ in range(workers)]
            while not all(future.done() for future in futures) and not _failed(futures):
                _show(house, run)
                stop.wait(SHOW_EVERY_S)
        finally:
            stop.set()
    for future in futures:
        future.result()
    _show(house, run, last=True)


def _failed(futures: list[Future[None]]) -> bool:
    return any(each.done() and each.exception() is not None for each in futures)


def _worker(house: Office, run: Run, stop: threading.Event) -> None:
    worker = Worker(stop=stop.is_set, wait=stop.wait, told=_told)
    try:
        while True:
            while house.auditing.step(run, worker):
                pass
            if house.auditing.audits.run(run.id).finished_at is not None:
                return
            stop.wait(LOOK_AGAIN_S)
    except Stopped:
        return


def _told(found: Finding) -> None:
    named = f"entry {found.index}" if found.deposit_id is None else f"original {found.deposit_id}"
    click.echo(f"{_CLEAR}✗ {named}: {found.kind}: {found.detail}")


_CLEAR = "\r\x1b[K" if sys.stderr.isatty() else ""


def _show(house: Office, run: Run, *, last: bool = False) -> None:
    if not sys.stderr.isatty():
        return
    counts = house.auditing.audits.run(run.id).counts
    part = counts.done / counts.ranges if counts.ranges else 1.0
    bar = "█" * round(part * BAR)
    click.echo(
        f"{_CLEAR}{bar:░<{BAR}} {100 * part:.0f} %  {counts.originals:,} originals, "
        f"{counts.bytes / (1 << 20):,.0f} MiB, {counts.findings} findings",
        nl=last,
        err=True,
    )


def _report(house: Office, run_id: str) -> int:
    """The number of findings, after they were told."""
    run = house.auditing.audits.run(run_id)
    counts = run.counts
    click.echo(
        f"Audit {run.id} of the ledger's first {run.size} entries: {counts.deposits} deposits, "
        f"{counts.originals} originals read again ({counts.bytes} bytes), "
        f"{counts.findings} findings"
    )
    after = (-1, "")
    while found := house.auditing.rereads.findings(run_id, after=after):
        for each in found:
            named = f"entry {each.index}" if each.deposit_id is None else each.deposit_id
            click.echo(f"  {named}: {each.kind}")
        after = (found[-1].index, found[-1].kind)
    return counts.findings
