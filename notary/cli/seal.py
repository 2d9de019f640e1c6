"""`notary seal`: the certificate under which papers are sealed, and where its key is."""

from __future__ import annotations

import os
import sys
from contextlib import closing

import click
from cryptography.hazmat.primitives import hashes

from notary.clock import SystemClock, rfc3339
from notary.errors import MalformedInput
from notary.office import Office, seal_place
from notary.sealing import make_seal
from notary.settings import Settings

NO_SEAL = 1


@click.command()
@click.option("--new", is_flag=True, help="Make a key and a certificate of the house's own.")
@click.option("--root", is_flag=True, help="Print the root in PEM instead, for those who verify.")
def seal(*, new: bool, root: bool) -> None:
    """Show the seal of papers, or make a new one. Exit 1 if there is none.

    With --new papers are sealed with the new one from now on, by every process of this home;
    those that were sealed before stay valid. Copy key and chain to every node and to the backup."""
    settings = Settings.from_env(os.environ)
    with closing(Office(settings)) as house:
        if new:
            if settings.seal_chain is not None:
                raise MalformedInput(
                    "NOTARY_SEAL_CHAIN names an outside seal: its issuer renews it",
                    code="settings",
                )
            name = house.house.name
            click.echo(make_seal(settings.home, seal_place(settings), name, SystemClock().now()))
        used = house.sealing.in_force()
    if used is None:
        click.echo(
            "This house has no seal: its papers are not sealed. `notary seal --new`", err=True
        )
        sys.exit(NO_SEAL)
    if root:
        click.echo(used.root_pem(), nl=False)
        return
    click.echo(f"{used.certificate.subject.rfc4514_string()}")
    click.echo(f"  valid from {rfc3339(used.certificate.not_valid_before_utc)}")
    click.echo(f"  valid until {rfc3339(used.certificate.not_valid_after_utc)}")
    click.echo(f"  root {used.root.subject.rfc4514_string()}")
    click.echo(f"  root SHA-256 {used.root.fingerprint(hashes.SHA256()).hex()}")
    click.echo(f"  {'of the house itself' if used.own else 'outside, by NOTARY_SEAL_CHAIN'}")
    click.echo(f"  key {used.where}")
