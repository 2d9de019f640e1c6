"""certomancer as an authority with CRL and OCSP services, whose certificate can be revoked.

Its OCSP answers have fractions of seconds, which RFC 6960 forbids and `cryptography` refuses: they
are fetched and kept here, and say nothing; `tests/core/test_revocation.py` has answers that do.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.harness.certomancer import ABSENT, _wait
from tests.harness.tokens import p256

ENTITIES = ("root", "first", "second", "responder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    """Where it listens, and its root (DER)."""

    base_url: str
    root: bytes

    def tsa(self, name: str) -> str:
        return f"{self.base_url}/court/tsa/{name}"


def _certificates(url: str, revoked: dict[str, Any] | None) -> dict[str, Any]:
    now = datetime.now(UTC).replace(microsecond=0)
    validity = {
        "valid-from": (now - timedelta(days=30)).isoformat(),
        "valid-to": (now + timedelta(days=3650)).isoformat(),
    }
    certificates: dict[str, Any] = {
        "root": {
            "subject": "root", "issuer": "root", "validity": validity,
            "extensions": [
                {"id": "basic_constraints", "critical": True, "value": {"ca": True}},
                {"id": "key_usage", "critical": True,
                 "smart-value": {"schema": "key-usage", "params": ["key_cert_sign", "crl_sign"]}},
            ],
        },
        "responder": {
            "subject": "responder", "issuer": "root", "validity": validity,
            "extensions": [
                {"id": "key_usage", "critical": True,
                 "smart-value": {"schema": "key-usage", "params": ["digital_signature"]}},
                {"id": "extended_key_usage", "value": ["ocsp_signing"]},
            ],
        },
    }  # fmt: skip
    for name in ("first", "second"):
        certificates[name] = {
            "subject": name, "issuer": "root", "validity": validity,
            "extensions": [
                {"id": "key_usage", "critical": True,
                 "smart-value": {"schema": "key-usage", "params": ["digital_signature"]}},
                {"id": "extended_key_usage", "critical": True, "value": ["time_stamping"]},
                {"id": "crl_distribution_points",
                 "smart-value": {"schema": "crl-dist-url",
                                 "params": {"crl-repo-names": ["root"]}}},
                {"id": "authority_information_access",
                 "smart-value": {"schema": "aia-urls",
                                 "params": {"ocsp-responder-names": ["root"]}}},
            ],
        }  # fmt: skip
    if revoked is not None:
        certificates["first"]["revocation"] = revoked
    return certificates


def _configuration(url: str, revoked: dict[str, Any] | None) -> dict[str, Any]:
    services = {
        "time-stamping": {name: {"signing-cert": name} for name in ("first", "second")},
        "ocsp": {
            "root": {
                "for-issuer": "root", "responder-cert": "responder", "signing-key": "responder"
            }
        },
        "crl-repo": {
            "root": {"for-issuer": "root", "signing-key": "root",
                     "simulated-update-schedule": "P7D"}
        },
    }  # fmt: skip
    return {
        "external-url-prefix": url,
        "keysets": {
            "keys": {
                "path-prefix": ".",
                "keys": {name: {"path": f"{name}.key.pem"} for name in ENTITIES},
            }
        },
        "pki-architectures": {
            "court": {
                "keyset": "keys",
                "entities": {name: {"common-name": f"Court {name}"} for name in ENTITIES},
                "certs": _certificates(url, revoked),
                "services": services,
            }
        },
    }


def make_keys(folder: Path) -> None:
    for name in ENTITIES:
        key = p256() if name != "first" else rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.key.pem").write_bytes(pem)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def pki(folder: Path, port: int, *, revoked: dict[str, Any] | None = None) -> Iterator[Pki]:
    """Runs for as long as the block, with the keys in `folder`; `revoked` is what the first
    authority's certificate was revoked with."""
    if importlib.util.find_spec("certomancer") is None:
        pytest.skip(ABSENT)
    url = f"http://127.0.0.1:{port}"
    path = folder / "pki.yml"
    path.write_text(json.dumps(_configuration(url, revoked)))
    command = [sys.executable, "-m", "certomancer", "--config", str(path)]
    with (folder / "pki.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "animate", "--port", str(port), "--no-web-ui"], stdout=log, stderr=log
        )
        try:
            _wait(process, port, folder / "pki.log")
            yield Pki(base_url=url, root=_root(folder))
        finally:
            process.kill()
            process.wait()


def _root(folder: Path) -> bytes:
    done = subprocess.run(
        [
            sys.executable, "-m", "certomancer", "--config", str(folder / "pki.yml"), "summon",
            "court", "root", "--no-pem",
        ],
        capture_output=True, check=True, timeout=60, cwd=folder,
    )  # fmt: skip
    return x509.load_der_x509_certificate(done.stdout).public_bytes(Encoding.DER)
