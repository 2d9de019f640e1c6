"""`notary reconcile`: what is half done, mended or reported, by hand."""

from __future__ import annotations

import os
import sys

import click

from notary.office import Office
from notary.reconcile import Walker
from notary.remains import LOOKS, Finding, Kind, Pass, Remnant
from notary.settings import Settings

CHOICE = "operator"
MENDS = {look.kind: look.mends for look in LOOKS}
_CLEAR = "\r\x1b[K" if sys.stderr.isatty() else ""


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done and change nothing.")
@click.option("--rate", type=click.IntRange(min=0), default=0, help="Originals a second; 0: all.")
def reconcile(*, dry_run: bool, rate: int) -> None:
    """Find what is half done; mend what can be mended, report the rest. Exit 70 if findings stand.

    Interrupted or killed, the pass goes on where it was when it is started again, or by a worker.
    While a worker of some node is at it, this one ends with 75."""
    house = Office(Settings.from_env(os.environ))
    sys.exit(70 if (_look(house) if dry_run else _run(house, rate)) else 0)


def _look(house: Office) -> int:
    """The number of what would be reported."""
    reported = mended = 0
    for remnant in house.reconciling.look(Walker()):
        mends = MENDS[remnant.kind] and remnant.kind is not Kind.UNCLAIMED
        reported, mended = reported + (not mends), mended + mends
        click.echo(f"{'would mend' if mends else '✗'} {_line(remnant)}")
    click.echo(f"{mended} would be mended, {reported} findings; nothing was changed")
    return reported


def _run(house: Office, rate: int) -> int:
    walker = Walker(found=_found, gone=_gone, mended=_mended, progress=_progress, rate=rate)
    done = house.reconciling.run(walker, by=CHOICE)
    if done is None:
        click.echo("notary: a worker is at it now; try again when it is done", err=True)
        sys.exit(75)
    click.echo(
        f"{_CLEAR}{done.objects} originals in storage, {done.deposits} in the register; "
        f"{done.mended} mended, {done.findings} findings"
    )
    after = ("", "")
    while standing := house.reconciling.remains.findings(after=after):
        for each in standing:
            click.echo(f"  since {each.since:%Y-%m-%d %H:%M} {_line(each.remnant)}")
        after = (standing[-1].remnant.kind, standing[-1].remnant.name)
    return done.findings


def _found(remnant: Remnant) -> None:
    click.echo(f"{_CLEAR}✗ {_line(remnant)}")


def _gone(finding: Finding) -> None:
    click.echo(f"{_CLEAR}gone: {_line(finding.remnant)}")


def _mended(kind: Kind, name: str) -> None:
    click.echo(f"{_CLEAR}mended {kind}: {name}")


def _line(remnant: Remnant) -> str:
    return f"{remnant.kind} {remnant.name}: {remnant.detail}"


def _progress(now: Pass) -> None:
    if sys.stderr.isatty():
        click.echo(
            f"{_CLEAR}{now.objects:,} originals, {now.findings} findings", nl=False, err=True
        )
