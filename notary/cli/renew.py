"""`notary renew`: evidence records are renewed, by hand; the worker does it by its schedule."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import click

from notary.office import Office
from notary.rehashing import Left
from notary.settings import Settings


@click.command()
@click.option(
    "--within",
    type=click.IntRange(min=0),
    help="Days: renew what is by certificates that end in them; NOTARY_RENEW_DAYS if not given.",
)
@click.option(
    "--hash",
    "algorithm",
    type=click.Choice(["sha-512"]),
    help="Hash-tree renewal: read every original, and begin a new chain by this hash.",
)
def renew(*, within: int | None, algorithm: str | None) -> None:
    """Renew evidence records (RFC 4998). Exit 70 where some are left, each named with the reason.

    Killed, it goes on where it was when it is started again."""
    house = Office(Settings.from_env(os.environ))
    try:
        left = _rehash(house) if algorithm is not None else _restamp(house, within)
    finally:
        house.close()
    sys.exit(70 if left else 0)


def _restamp(house: Office, days: int | None) -> int:
    renewal = house.archiving.renew(within=None if days is None else timedelta(days=days))
    click.echo(f"{renewal.renewed} sequences renewed")
    for why in renewal.left:
        click.echo(f"✗ {why}")
    return len(renewal.left)


def _rehash(house: Office) -> int:
    left = 0

    def told(given: Left) -> None:
        nonlocal left
        left += 1
        click.echo(f"✗ deposit {given.deposit_id}: {given.why}")

    kept = house.rehashing.run(told)
    waiting = len(house.archived.unstamped_renewals(limit=1_000))
    click.echo(f"{kept} sequences renewed, {left} deposits left, {waiting} wait for a token")
    return left + waiting
