"""`notary issuer admit|retire|list`: outside issuers that may register statements of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from notary.clock import parse_rfc3339, rfc3339
from notary.errors import MalformedInput
from notary.issuer_key import ALGORITHMS, parse_issuer_key
from notary.issuers import KeptPolicy
from notary.office import Office
from notary.settings import Settings

ACTOR = "operator"


@click.group()
def issuer() -> None:
    """Outside issuers that may register statements of their own (SCITT)."""


@contextmanager
def _house() -> Iterator[Office]:
    office = Office(Settings.from_env(os.environ))
    try:
        yield office
    finally:
        office.close()


@issuer.command()
@click.argument("iss")
@click.argument("key", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--kid", help="The kid its statements carry, as text; the key's thumbprint if not.")
@click.option("--kid-hex", help="The same as hex digits.")
@click.option("--from", "start", help="RFC 3339; the time of the entry if not given.")
@click.option("--until", "end", help="RFC 3339; without end if not given.")
def admit(
    iss: str, key: Path, kid: str | None, kid_hex: str | None, start: str | None, end: str | None
) -> None:
    """Admit the issuer ISS (a URI) with the public key in the file KEY (PEM or COSE_Key)."""
    with _house() as house:
        kept = house.admitting.admit(
            ACTOR,
            iss=iss,
            key=parse_issuer_key(key.read_bytes()),
            kid=_kid(kid, kid_hex),
            start=_time(start),
            end=_time(end),
        )
    admitted = kept.policy.keys[-1]
    click.echo(f"{admitted.key.thumbprint().hex()} kid {admitted.kid.hex()}")
    _say(kept)


@issuer.command()
@click.argument("thumbprint")
def retire(thumbprint: str) -> None:
    """Retire the key with that THUMBPRINT, as `list` shows it. What it registered stays."""
    try:
        named = bytes.fromhex(thumbprint)
    except ValueError as exc:
        raise MalformedInput(f"{thumbprint!r:.80} is not hex", code="value_malformed") from exc
    with _house() as house:
        _say(house.admitting.retire(ACTOR, named))


@issuer.command("list")
def list_keys() -> None:
    """List admitted keys: thumbprint, algorithm, kid, from, until, issuer."""
    with _house() as house:
        policy = house.issuers.newest()
        for each in () if policy is None else policy.keys:
            end = "" if each.end is None else rfc3339(each.end)
            click.echo(
                f"{each.key.thumbprint().hex()} {ALGORITHMS[each.key.alg]} {each.kid.hex()} "
                f"{rfc3339(each.start)} {end or '-'} {each.iss}"
            )


def _say(kept: KeptPolicy) -> None:
    click.echo(f"registration policy {kept.policy.serial} is entry {kept.index}")


def _kid(text: str | None, digits: str | None) -> bytes | None:
    if text is not None and digits is not None:
        raise click.UsageError("give --kid or --kid-hex, not both")
    try:
        found = text.encode() if text is not None else bytes.fromhex(digits or "")
    except ValueError as exc:
        raise MalformedInput(f"{digits!r:.80} is not hex", code="value_malformed") from exc
    return found or None


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_rfc3339(text)
    except ValueError as exc:
        raise MalformedInput(
            f"{text!r:.40} is not an RFC 3339 time with its zone", code="value_malformed"
        ) from exc
