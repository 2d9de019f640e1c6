"""Tokens of a real PKCS#11 module, SoftHSM 2, in a folder of the test's own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
    Path("/opt/homebrew/lib/softhsm/libsofthsm2.so"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftToken:
    """One token. `uri` is what NOTARY_KEYS takes."""

    label: str
    pin: str
    pin_file: Path
    module: Path
    folder: Path

    @property
    def uri(self) -> str:
        return self.reached_by(f"file:{self.pin_file}")

    def reached_by(self, pin_source: str) -> str:
        return f"pkcs11:token={self.label}?module-path={self.module}&pin-source={pin_source}"

    def take_away(self) -> None:
        """As if its device was unplugged."""
        self.folder.rename(self._away)

    def bring_back(self) -> None:
        self._away.rename(self.folder)

    @property
    def _away(self) -> Path:
        return self.folder.parent.parent / self.folder.name


@dataclass(slots=True)
class SoftHsm:
    folder: Path
    module: Path = field(init=False)

    def __post_init__(self) -> None:
        """Skips the test where there is none. The configuration is named in our environment, which
        every process that we start inherits."""
        found = [path for path in MODULES if path.is_file()]
        if not found or shutil.which("softhsm2-util") is None:
            pytest.skip("SoftHSM 2 (softhsm2-util and its module) is not installed")
        self.module = found[0]
        (self.folder / "tokens").mkdir(parents=True)
        configuration = self.folder / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {self.folder / 'tokens'}\n")
        os.environ["SOFTHSM2_CONF"] = str(configuration)

    def token(self, label: str) -> SoftToken:
        before = set((self.folder / "tokens").iterdir())
        pin = secrets.token_hex(8)
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin,
             "--so-pin", secrets.token_hex(8)],
            check=True, capture_output=True,
        )  # fmt: skip
        (made,) = set((self.folder / "tokens").iterdir()) - before
        pin_file = self.folder / f"{label}.pin"
        pin_file.write_text(pin + "\n")
        pin_file.chmod(0o600)
        return SoftToken(label=label, pin=pin, pin_file=pin_file, module=self.module, folder=made)
