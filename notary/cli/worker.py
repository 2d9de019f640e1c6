"""The worker process: background work alone."""

from __future__ import annotations

import os
import signal
from types import FrameType

import click

from notary.cli.process import configure_log, end_with_parent
from notary.jobs import Jobs
from notary.office import Office
from notary.settings import Settings


@click.command()
def worker() -> None:
    """Background work alone; `serve` starts one by itself."""
    work(Settings.from_env(os.environ))


def work(settings: Settings) -> None:
    """The worker process. Ends when told to, and when the parent that started it is gone."""
    configure_log(settings.log_level)
    jobs = Jobs(Office(settings), settings.home)

    def stop(_number: int, _frame: FrameType | None) -> None:
        jobs.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    end_with_parent(jobs.stop)
    jobs.run()
