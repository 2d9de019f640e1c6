"""OpenSSL as an authority (`openssl ts -reply`), and as a judge (`openssl ts -verify`)."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.harness.tokens import DAY, NOW, PrivateKey, issue

ABSENT = "no openssl here: the judge and authority `openssl ts` is left out"
_TIMEOUT_S = 30
_CONFIGURATION = """
[tsa]
default_tsa = t
[t]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
certs = {folder}/root.pem
signer_key = {folder}/tsa.key.pem
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha384, sha512
accuracy = secs:1
clock_precision_digits = 3
ordering = yes
tsa_name = yes
ess_cert_id_chain = {ess_chain}
ess_cert_id_alg = {ess_hash}
"""


def openssl() -> str:
    """The program; skips the test, with the reason, where there is none."""
    found = shutil.which("openssl")
    if found is None:
        pytest.skip(ABSENT)
    return found


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpensslAuthority:
    """A TimestampAuthority that starts `openssl ts -reply` for each request."""

    folder: Path
    roots: tuple[bytes, ...]
    name: str = "openssl ts"
    self_operated: bool = False

    def exchange(self, request_der: bytes) -> bytes:
        query, reply = self.folder / "query.tsq", self.folder / "reply.tsr"
        query.write_bytes(request_der)
        command = [openssl(), "ts", "-reply", "-config", str(self.folder / "tsa.cnf")]
        subprocess.run(
            [*command, "-queryfile", str(query), "-out", str(reply)],
            check=True,
            capture_output=True,
            timeout=_TIMEOUT_S,
        )
        return reply.read_bytes()


def openssl_authority(
    folder: Path,
    *,
    key: PrivateKey | None = None,
    ess_hash: str = "sha256",
    ess_chain: bool = False,
) -> OpensslAuthority:
    """`ess_hash` sha1 makes it write ESSCertID, all others ESSCertIDv2."""
    openssl()
    valid = (NOW - 3650 * DAY, NOW + 3650 * DAY)
    root = issue("OpenSSL root", ca=True, valid=valid)
    signer = issue("OpenSSL TSA", issuer=root, key=key, valid=valid)
    (folder / "root.pem").write_bytes(pem(root.der))
    (folder / "tsa.pem").write_bytes(pem(signer.der))
    (folder / "tsa.key.pem").write_bytes(
        signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(
        _CONFIGURATION.format(
            folder=folder, ess_hash=ess_hash, ess_chain="yes" if ess_chain else "no"
        )
    )
    return OpensslAuthority(folder=folder, roots=(root.der,))


def openssl_verify(folder: Path, *, response: bytes, data: bytes, root: bytes) -> str:
    """What `openssl ts -verify` says of a TimeStampResp over `data`: "OK", or its complaint."""
    paths = {name: folder / name for name in ("judged.tsr", "judged.data", "judged.root.pem")}
    for name, content in (
        ("judged.tsr", response),
        ("judged.data", data),
        ("judged.root.pem", pem(root)),
    ):
        paths[name].write_bytes(content)
    command = [openssl(), "ts", "-verify", "-in", str(paths["judged.tsr"])]
    result = subprocess.run(
        [
            *command,
            "-data",
            str(paths["judged.data"]),
            "-CAfile",
            str(paths["judged.root.pem"]),
        ],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if result.returncode == 0 and "Verification: OK" in result.stdout:
        return "OK"
    return result.stdout + result.stderr
