"""`notary monitor` and `notary mirror`: a log of ours, watched and copied by somebody else.

Exit status of both: 0 all is well; 1 a contradiction, with the evidence; 2 it could not look:
unreachable, a key that is not known, a checkpoint too old.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import click

from notary.cli.progress import show_progress
from notary.clock import SystemClock, rfc3339
from notary.collect import collect
from notary.errors import MalformedInput, TryAgain, Unverifiable
from notary.findings import Fault
from notary.mirror import copy, derive
from notary.monitor import Monitor, keep_evidence
from notary.signed_head import Contradiction, Identity
from notary.source import open_source
from notary.tlog.note import VerifierKey, parse_vkey
from notary.tlog.policy import Policy, parse_policy
from notary.trust import parse_trust

CONTRADICTED, COULD_NOT_LOOK = 1, 2
DEFAULT_INTERVAL_S, DEFAULT_MAX_AGE_S = 60.0, 1800

F = TypeVar("F", bound=Callable[..., None])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _who(command: F) -> F:
    """The options that say whose log it must be."""
    for option in (
        click.option("--policy", type=_FILE, help="tlog-policy file: witnesses and their quorum."),
        click.option("--trust", type=_FILE, help="Trust file of the house (`notary trust`)."),
        click.option("--key", "keys", multiple=True, help="A vkey of the log. May be repeated."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("url")
@click.option(
    "--state",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that remembers the last verified checkpoint. Evidence goes to FILE.evidence.",
)
@_who
@click.option(
    "--max-age",
    default=DEFAULT_MAX_AGE_S,
    show_default=True,
    help="Seconds since the log signed its newest checkpoint, at most. 0 for any age.",
)
@click.option("--entries", is_flag=True, help="Also read every new entry against its leaf.")
@click.option("--once", is_flag=True, help="Look once, instead of every --interval seconds.")
@click.option("--interval", default=DEFAULT_INTERVAL_S, show_default=True, help="Seconds.")
def monitor(
    *, url: str, state: Path, keys: tuple[str, ...], trust: Path | None, policy: Path | None,
    max_age: int, entries: bool, once: bool, interval: float,
) -> None:  # fmt: skip
    """Follow the log at URL (its prefix, such as https://notary.example/log) from outside.

    Exit 1 with the evidence on the first contradiction, 2 if it could not look."""
    watching = Monitor(
        source=open_source(url),
        identity=identity_of(keys, trust, policy),
        state=state,
        clock=SystemClock(),
        max_age_s=max_age or None,
        entries=entries,
    )
    while True:
        try:
            look = watching.look()
            for rotation in look.learned:
                click.echo(
                    f"key rotation {rotation.serial}, signed by the keys before it and proved in "
                    f"the tree: keys changed of {', '.join(sorted(rotation.jobs()))}"
                )
            age = "" if look.age_s is None else f", signed {look.age_s} s ago"
            click.echo(f"size {look.size} (+{look.size - look.old}) root {look.root.hex()}{age}")
        except Contradiction as exc:
            _tell(exc, state)
        except (TryAgain, Unverifiable) as exc:
            click.echo(f"{rfc3339(SystemClock().now())} {exc.code}: {exc}", err=True)
            # What passes by itself is waited for; an unknown key does not.
            if once or isinstance(exc, Unverifiable):
                sys.exit(COULD_NOT_LOOK)
        if once:
            return
        time.sleep(interval)


@click.command()
@click.argument("places", nargs=-1, required=True, metavar="[URL] DIR")
@_who
@click.option("--verify", is_flag=True, help="Prove every file of DIR again; URL may be left out.")
@click.option(
    "collected",
    "--collect",
    is_flag=True,
    help="Remove partial tiles and bundles of DIR whose full ones are there; URL may be left out.",
)
def mirror(
    *, places: tuple[str, ...], keys: tuple[str, ...], trust: Path | None, policy: Path | None,
    verify: bool, collected: bool,
) -> None:  # fmt: skip
    """Copy the public side of the log at URL into the folder DIR, proved as it comes.

    Started again, it goes on where it was. Nothing that is there is written over."""
    if len(places) > 2 or (len(places) == 1 and not (verify or collected)):
        raise MalformedInput(
            "give URL and DIR, or DIR with --verify or --collect or both", code="settings"
        )
    identity, folder = identity_of(keys, trust, policy), Path(places[-1])
    faults = 0
    try:
        if len(places) == 2:
            copied = copy(open_source(places[0]), folder, identity, progress=show_progress)
            click.echo(
                f"size {copied.size} (+{copied.size - copied.old}), {copied.files} files written"
            )
        if collected:
            faults += _collect(folder, identity)
        if verify:
            faults += _verify(folder, identity)
    except Contradiction as exc:
        _tell(exc, folder.resolve())
    except (TryAgain, Unverifiable) as exc:
        click.echo(f"{exc.code}: {exc}", err=True)
        sys.exit(COULD_NOT_LOOK)
    sys.exit(CONTRADICTED if faults else 0)


def _collect(folder: Path, identity: Identity) -> int:
    """How many faults it told of."""
    found = collect(folder, identity, progress=show_progress)
    _name_all(found.faults)
    click.echo(
        f"{found.removed} partial files removed, {found.kept} kept; {len(found.faults)} faults"
    )
    return len(found.faults)


def _verify(folder: Path, identity: Identity) -> int:
    """How many faults it told of."""
    derived = derive(folder, identity, progress=show_progress)
    _name_all(derived.faults)
    click.echo(
        f"size {derived.size}, {derived.files} files proved, {derived.beyond} beyond the "
        f"checkpoint; {len(derived.faults)} faults"
    )
    return len(derived.faults)


def _name_all(faults: Sequence[Fault]) -> None:
    for fault in faults:
        click.echo(f"✗ {fault.name}: {fault.detail}")


def identity_of(keys: tuple[str, ...], trust: Path | None, policy: Path | None) -> Identity:
    """From --key, --trust and the policy's own log lines; without --policy, the trust file's holds.
    Raises MalformedInput where there is no key, or they are not of one log."""
    read = None if policy is None else parse_policy(_text(policy))
    known = [parse_vkey(line) for line in keys]
    if trust is not None:
        trusted = parse_trust(_text(trust))
        # Only what has the log's own name is the log's own key.
        known += [key for key in trusted.log_keys if key.name == trusted.origin]
        read = read or trusted.witness_policy
    if not known and read is not None:
        known = [log.key for log in read.logs]
    return _identity(tuple(dict.fromkeys(known)), read)


def _identity(keys: tuple[VerifierKey, ...], policy: Policy | None) -> Identity:
    origins = sorted({key.name for key in keys})
    if not origins:
        raise MalformedInput("whose log is it? give --key VKEY or --trust FILE", code="settings")
    if len(origins) > 1:
        raise MalformedInput(f"the keys are of several logs: {origins}", code="settings")
    return Identity(origin=origins[0], keys=keys, policy=policy)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise MalformedInput(f"{path} cannot be read: {exc}", code="settings") from exc


def _tell(contradiction: Contradiction, beside: Path) -> NoReturn:
    click.echo(contradiction.evidence(), nl=False)
    sys.stdout.flush()
    click.echo(f"The evidence is kept in {keep_evidence(contradiction, beside)}", err=True)
    sys.exit(CONTRADICTED)
