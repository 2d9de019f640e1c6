"""The log is told what happens, and decides nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
import structlog

from notary.cli.process import configure_log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_line_is_json_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_log("info")
    structlog.get_logger().info("began", size=3)
    said = json.loads(capsys.readouterr().err)
    assert (said["event"], said["size"], said["level"]) == ("began", 3, "info")


def test_a_log_whose_disk_is_full_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115  # closing it fails too
    monkeypatch.setattr(sys, "stderr", full)
    with pytest.raises(OSError, match="No space"):
        print("a line", file=full, flush=True)
    configure_log("info")
    structlog.get_logger().info("began")
    with suppress(OSError):
        full.close()
