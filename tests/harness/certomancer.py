"""A real time-stamp authority that nobody here wrote: certomancer, as a subprocess on loopback.

Its keys and certificates are made by `cryptography`; only the tokens are certomancer's own.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.harness.tokens import DAY, NOW, Issued, issue, p256

ABSENT = "no certomancer here: install certomancer[web-api] (requirements-dev.txt)"
_START_TIMEOUT_S = 30
_VALID = (NOW - 3650 * DAY, NOW + 3650 * DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certomancer:
    """Where it listens, and the root (DER) that all its authorities lead to."""

    base_url: str
    root: bytes

    def url(self, authority: str) -> str:
        """`authority` is one of rsa, pss, ec."""
        return f"{self.base_url}/court/tsa/{authority}"


def _keep(folder: Path, name: str, issued: Issued) -> None:
    pem = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key.pem").write_bytes(pem)
    (folder / f"{name}.cert.pem").write_bytes(issued.certificate.public_bytes(Encoding.PEM))


def _configuration(names: tuple[str, ...], url: str) -> dict[str, Any]:
    """certomancer reads YAML, and JSON is YAML."""
    authorities = {
        "rsa": {"signing-cert": "rsa"},
        "pss": {"signing-cert": "rsa", "signature-algo": "rsassa_pss"},
        "ec": {"signing-cert": "ec"},
    }
    architecture = {
        "keyset": "keys",
        "entities": {name: {"common-name": f"Certomancer {name}"} for name in names},
        "certs": {
            name: {
                "subject": name,
                "issuer": "root",
                "certificate-file": f"{name}.cert.pem",
                "validity": {
                    "valid-from": _VALID[0].isoformat(),
                    "valid-to": _VALID[1].isoformat(),
                },
            }
            for name in names
        },
        "services": {"time-stamping": authorities},
    }
    keys = {name: {"path": f"{name}.key.pem"} for name in names}
    return {
        "external-url-prefix": url,
        "keysets": {"keys": {"path-prefix": ".", "keys": keys}},
        "pki-architectures": {"court": architecture},
    }


@contextmanager
def certomancer(folder: Path) -> Iterator[Certomancer]:
    """Runs for as long as the block; skips the test where certomancer is not installed."""
    if importlib.util.find_spec("certomancer") is None:
        pytest.skip(ABSENT)
    root = issue("Certomancer root", ca=True, valid=_VALID)
    _keep(folder, "root", root)
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _keep(folder, "rsa", issue("Certomancer rsa", issuer=root, key=rsa_key, valid=_VALID))
    _keep(folder, "ec", issue("Certomancer ec", issuer=root, key=p256(), valid=_VALID))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    configuration = folder / "certomancer.yml"
    configuration.write_text(json.dumps(_configuration(("root", "rsa", "ec"), url)))
    command = [sys.executable, "-m", "certomancer", "--config", str(configuration)]
    with (folder / "certomancer.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "animate", "--port", str(port), "--no-web-ui"], stdout=log, stderr=log
        )
        try:
            _wait(process, port, folder / "certomancer.log")
            yield Certomancer(base_url=url, root=root.der)
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"certomancer did not start:\n{log.read_text(errors='replace')[-2000:]}")
