"""The web processes, and a witness: what answers HTTP."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from notary.cli.process import configure_log, end_with_parent
from notary.settings import Settings
from notary.web import witness as witness_door
from notary.witness_house import found_witness, open_witness, witness_keys


@click.command(hidden=True)
def web() -> None:
    """The web processes alone; `serve` starts them."""
    serve_web(Settings.from_env(os.environ))


@click.command()
@click.argument("home", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The witness's name, like court-b.example/witness.")
@click.option("--log", "logs", multiple=True, help="A vkey of a log to watch (see its /log/keys).")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8081, show_default=True)
def witness(home: Path, name: str, logs: tuple[str, ...], host: str, port: int) -> None:
    """Run a witness in the folder HOME, made at first start: another court's eye on our log."""
    found_witness(home, name=name, logs=logs)
    for key in witness_keys(home):
        click.echo(key.encode())
    serve_witness(home, host=host, port=port)


def serve_web(settings: Settings) -> None:
    """The web processes alone, under the parent that `serve` is."""
    configure_log(settings.log_level)
    end_with_parent(lambda: os.killpg(0, signal.SIGTERM))
    Server(
        target="app:create_app",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.web_processes,
        blocking_threads=settings.web_threads,
        # More requests than threads would queue unseen inside; the ledger's queue is bounded.
        backpressure=settings.web_threads * 4,
        respawn_failed_workers=True,
        log_level=LogLevels.error,
        websockets=False,
    ).serve()


def serve_witness(home: Path, *, host: str, port: int) -> None:
    """A witness in one process of its own; blocks until told to stop."""
    configure_log("info")
    open_witness(home)
    os.environ[witness_door.HOME] = str(home)
    print(f"Witness at http://{host}:{port}", flush=True)
    Server(
        target="notary.web.witness:create_witness",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=4,
        log_level=LogLevels.error,
        websockets=False,
    ).serve()
