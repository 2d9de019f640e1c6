"""What the two ways of `notary verify` share: its command line, its refusals, its trust file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final, NoReturn

from notary.errors import MalformedInput
from notary.trust import Trust, parse_trust

USAGE: Final = 64


class UsageError(Exception):
    """A file named on the command line cannot be read."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse's own 2 would say that the certificate could not be decided.
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def read_trust(path: str) -> Trust:
    """Raises UsageError."""
    try:
        return parse_trust(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, MalformedInput) as exc:
        raise UsageError(f"trust file {path}: {exc}") from exc
