"""`notary keys`: which keys hold, since when, and where this node has their private halves."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing

import click

from notary.clock import rfc3339
from notary.errors import KeyMissing, MalformedInput, Unreachable
from notary.house import read_house
from notary.keyhistory import KeyHistory, read_history
from notary.keyring import named_keys, read_rotations
from notary.keystore import KeyStore
from notary.office import open_keys
from notary.rotation import Job
from notary.settings import Settings
from storage.database import Database


@click.command()
def keys() -> None:
    """List the keys that hold: job, public half, since when, where. Exit 70 if one is missing.

    It opens the house no further than that, so that a node without access is told what it lacks."""
    settings = Settings.from_env(os.environ)
    with closing(Database(settings.database_url)) as database:
        if not database.has_tables():
            raise MalformedInput(
                f"no house at {settings.home}: make one with `notary init`", code="no_house"
            )
        genesis = read_house(database).genesis
        with database.reading() as connection:
            history = read_history(genesis, read_rotations(connection))
    missing = False
    for job, shown, since, name, public_key in _holding(history, genesis):
        click.echo(f"{job} {shown}")
        click.echo(f"  since {since}")
        try:
            click.echo(f"  {_where(open_keys(settings), name, public_key)}")
        except (KeyMissing, Unreachable) as exc:
            missing = True
            click.echo(f"  {exc.code}: {exc}")
    sys.exit(70 if missing else 0)


def _holding(history: KeyHistory, genesis: str) -> Iterator[tuple[Job, str, str, str, bytes]]:
    """(job, public half as documents write it, since when, name of its kind, raw public key)."""
    active = history.active
    names = iter(named_keys(active))
    created_at = json.loads(genesis)["created_at"]
    for job, shown in active.encode().items():
        since = f"entry 0, {created_at}"
        for registered, rotation in zip(history.registered, history.rotations, strict=True):
            if Job(job) in rotation.jobs():
                at = rfc3339(rotation.at)
                since = f"rotation {rotation.serial}, entry {registered.index}, {at}"
        for text in shown:
            name, public_key = next(names)
            yield Job(job), text, since, name, public_key


def _where(store: KeyStore, name: str, public_key: bytes) -> str:
    return store.where(name, store.find(name, public_key))
