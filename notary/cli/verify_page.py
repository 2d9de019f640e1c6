"""`notary verify-page > verify.html`: the verifier as one page for a browser."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from notary.verify_page import pack_page


@click.command("verify-page")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="a file instead of stdout"
)
def verify_page(output: Path | None) -> None:
    """Write verify.html, which checks certificates in a browser without any network."""
    page = pack_page()
    if output is None:
        sys.stdout.buffer.write(page)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f"{output.name}.{os.getpid()}")
    temporary.write_bytes(page)
    temporary.replace(output)
    click.echo(f"{output}: {len(page)} bytes")
