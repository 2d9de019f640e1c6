"""The command line: `notary init`, `serve`, `verify`, `key`, `sweep`, `fsck`, `monitor`…"""

from __future__ import annotations

import importlib
import os
import re
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click

from notary.clock import rfc3339
from notary.errors import IntegrityError, NotaryError, Rejected, TryAgain
from notary.findings import Depth
from notary.fsck import fsck
from notary.keyplace import parse_key_place
from notary.model import Role
from notary.office import Office, found
from notary.people import DEFAULT_KEY_DAYS
from notary.rotation import Job
from notary.settings import Settings, describe
from notary.sweep import sweep
from storage.database import shown_url
from storage.durable import replace_file
from storage.errors import InvalidValue, StorageError

EXIT_BY_CLASS: tuple[tuple[type[Exception], int], ...] = (
    (Rejected, 64),
    (TryAgain, 75),
    (InvalidValue, 64),
    (StorageError, 75),
    (IntegrityError, 70),
    (NotaryError, 70),
)


LOADED_WHEN_ASKED_FOR = {
    "serve": "notary.cli.serve",
    "web": "notary.cli.web",
    "worker": "notary.cli.worker",
    "witness": "notary.cli.web",
    "verify": "notary.cli.verify_command",
    "verify-page": "notary.cli.verify_page",
    "monitor": "notary.cli.watch",
    "mirror": "notary.cli.watch",
    "issuer": "notary.cli.issuer",
    "journal": "notary.cli.restore",
    "backup": "notary.cli.backup",
    "restore": "notary.cli.backup",
    "keys": "notary.cli.keys",
    "seal": "notary.cli.seal",
    "wrapping-key": "notary.cli.wrapping",
    "rewrap": "notary.cli.wrapping",
    "migrate": "notary.cli.migrate",
    "rebuild": "notary.cli.restore",
    "audit": "notary.cli.audit",
    "resume": "notary.cli.resume",
    "reconcile": "notary.cli.reconcile",
    "retain": "notary.cli.retain",
    "renew": "notary.cli.renew",
}
"""Command to the module that holds it under that name. No command waits until the web server, the
queue and the rest of what the others need are loaded."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *LOADED_WHEN_ASKED_FOR})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = LOADED_WHEN_ASKED_FOR.get(cmd_name)
        if module is None:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(importlib.import_module(module), cmd_name.replace("-", "_"))
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Evidence registration with certificates that anyone verifies offline."""


def _open() -> Office:
    return Office(Settings.from_env(os.environ))


@cli.command()
@click.option("--if-absent", is_flag=True, help="Do nothing where a house stands already.")
def init(*, if_absent: bool) -> None:
    """Make a house: keys, ledger, database, first administrator."""
    settings = Settings.from_env(os.environ)
    try:
        founded = found(settings)
    except Rejected as exc:
        if if_absent and exc.code == "house_exists":
            return
        raise
    click.echo(f"A new house stands in {settings.home}. Its log's origin: {founded.origin}")
    click.echo("Sign in once as administrator, within seven days, with this link:")
    click.echo(f"  {settings.base_url}/sign-in/{founded.link_secret}")
    click.echo("Make an API key with: notary key create NAME")


@cli.group()
def key() -> None:
    """API keys."""


@key.command("create")
@click.argument("name")
@click.option("--days", default=DEFAULT_KEY_DAYS, show_default=True)
@click.option("--scope", "scopes", multiple=True, help="Narrows what the key may do.")
def create_key(name: str, days: int, scopes: tuple[str, ...]) -> None:
    """Make an API key for the API client NAME, which is created if need be. Prints the key."""
    house = _open()
    actor = "operator"
    try:
        account = house.accounts.get_by_name(name)
    except Rejected:
        account, _ = house.people.create_account(actor, name, Role.API_CLIENT)
    _, secret = house.people.create_key(
        actor, account, label=f"made by {actor}", scopes=list(scopes) or None, days=days
    )
    click.echo(secret)


@cli.command("link")
@click.argument("name")
def make_link(name: str) -> None:
    """Make a one-time sign-in link for the account NAME, which lost link or password."""
    house = _open()
    secret = house.people.new_link("operator", house.accounts.get_by_name(name))
    click.echo(f"{house.settings.base_url}/sign-in/{secret}")


@cli.command("trust")
def print_trust() -> None:
    """Print the trust file: what verifiers need to know of this house, by a second way."""
    click.echo(_open().trust.encode(), nl=False)


@cli.command()
@click.option("--log", is_flag=True, help="The keys that sign checkpoints.")
@click.option("--statement", is_flag=True, help="The key that signs entries.")
@click.option("--certificate", is_flag=True, help="The key that signs certificates.")
@click.option("--reason", default="", help="A text for the public document.")
@click.option("--to", help="Where the new keys live: one of NOTARY_KEYS, or file:.")
@click.option("--keep-retired", is_flag=True, help="Leave the retired private keys there.")
def rotate(
    *,
    log: bool,
    statement: bool,
    certificate: bool,
    reason: str,
    to: str | None,
    keep_retired: bool,
) -> None:
    """Change the house's signing keys: of the jobs named, or of all three.

    It holds for every running process from its commit on. Back up the keys right after it."""
    place = None if to is None else parse_key_place(to)
    house = _open()
    house.examine()
    named = ((Job.LOG, log), (Job.STATEMENT, statement), (Job.CERTIFICATE, certificate))
    jobs = frozenset(job for job, asked in named if asked) or frozenset(Job)
    rotated = house.rotating.rotate(jobs, to=place, reason=reason, keep_retired=keep_retired)
    click.echo(f"Key rotation {rotated.serial} is entry {rotated.index}. The keys that hold now:")
    for job, keys in rotated.keys.encode().items():
        for key in keys:
            click.echo(f"  {job} {key}")
    for where in rotated.removed:
        click.echo(f"removed {where}: its key is retired")
    for where in rotated.strays:
        click.echo(
            f"{where} is of no key that this house registered: a rotation was interrupted; "
            "remove it"
        )


@cli.command("sweep")
@click.option(
    "--older-than",
    default=None,
    type=float,
    help="Hours; NOTARY_ORPHAN_HOURS if not given. 0 only while nothing is being uploaded.",
)
def sweep_orphans(older_than: float | None) -> None:
    """Remove uploads that never became deposits. `reconcile` does that and more."""
    house = _open()
    hours = house.settings.orphan_hours if older_than is None else older_than
    now = house.clock.now()
    found_ = sweep(
        house.register, house.objects, now - timedelta(hours=hours),
        since=house.reconciling.remains.began(now),
    )  # fmt: skip
    click.echo(f"{found_.unfinished} unfinished uploads and {len(found_.orphans)} orphans removed")


@cli.command("fsck")
@click.option(
    "--depth",
    type=click.Choice([each.value for each in Depth]),
    default=Depth.ORIGINALS.value,
    show_default=True,
    help="How far down to derive.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="File that remembers how far it came; started again with it, it goes on there.",
)
def check_all(*, depth: str, state: Path | None) -> None:
    """Derive everything again, from the originals up. Exit 70 if anything contradicts."""
    house = Office(replace(Settings.from_env(os.environ), database_timeout=0.0))
    start = int(state.read_text()) if state is not None and state.exists() else 0
    said = [""]

    def progress(what: str, done: int, of: int) -> None:
        if sys.stderr.isatty() and said[0] != (now := f"{what} {100 * done // max(of, 1)} %"):
            said[0] = now
            click.echo(f"\r{now}   ", nl=False, err=True)
        if state is not None and what != "entries":
            replace_file(str(state), str(done).encode())

    found_ = fsck(
        database=house.database,
        objects=house.objects,
        wrapping=house.wrapping,
        trust=house.trust,
        strays_before=house.clock.now() - timedelta(hours=house.settings.orphan_hours),
        depth=Depth(depth),
        start=start,
        progress=progress,
    )
    if state is not None:
        state.unlink(missing_ok=True)
    for fault in found_.faults:
        click.echo(f"✗ {fault.name}: {fault.detail}")
    click.echo(
        f"{found_.entries} entries, {found_.deposits} deposits ({found_.disposed} disposed of), "
        f"{found_.events} events, "
        f"{found_.statements} outside statements, {found_.policies} policies, "
        f"{found_.tokens} tokens, {found_.originals} originals read again; "
        f"{found_.segments} journal segments, {found_.journal_lag} entries not in them yet; "
        f"{len(found_.faults)} faults"
    )
    sys.exit(70 if found_.faults else 0)


@cli.command("settings")
def show_settings() -> None:
    """Print every setting, its value, default and meaning."""
    settings = Settings.from_env(os.environ)
    for name, default, meaning in describe():
        value = str(getattr(settings, name.removeprefix("NOTARY_").lower()))
        if name == "NOTARY_DATABASE" and value:
            value = shown_url(value)
        value = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", value)
        click.echo(f"{name}={value}  # {meaning} (default {default!r})")


@cli.command("head")
@click.option("--keys", is_flag=True, help="The log's vkeys instead, one a line, for a witness.")
def show_head(*, keys: bool) -> None:
    """Print the newest checkpoint's size, root and time, and publish it."""
    house = _open()
    if keys:
        for key in house.trust.log_keys:
            click.echo(key.encode())
        return
    head = house.ledger.head()
    house.publish()
    click.echo(f"{head.size} {head.root.hex()} {rfc3339(head.signed_at)}")


def main() -> None:
    """The entry point. Errors are one line for the person who must act, and a status."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except click.Abort:
        sys.exit(130)
    except (NotaryError, StorageError) as exc:
        code = f"{exc.code}: " if isinstance(exc, NotaryError) else ""
        click.echo(f"notary: {code}{exc}", err=True)
        sys.exit(next(status for cls, status in EXIT_BY_CLASS if isinstance(exc, cls)))


if __name__ == "__main__":
    main()
