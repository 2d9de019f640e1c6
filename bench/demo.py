"""`make demo [FILES=…]`: real files through a real service, and what a stranger makes of them.

    python -m bench.demo [FILE…]

Deposits each file over HTTP with a timestamp of its own, fetches its certificate, verifies it
offline with `notary verify` and the timestamp with `openssl ts -verify`, then flips one byte in a
copy and demands that both refuse it. The papers stay in ./demo-out/. Exit 0 only if all went so.
"""

from __future__ import annotations

import json
import mimetypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from notary.trust import parse_trust
from tests.harness.server import REPOSITORY, Client, Service

OUT = Path("demo-out")
SUFFIXES = frozenset(
    (".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".tiff", ".txt", ".md")
)
GENERATED_BYTES = 64 << 20
PATIENCE_S = 60.0
NOT_THIS_FILE = 1


class DemoFailed(Exception):
    """Something did not go as it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A file and the papers about it; `stem` begins the papers' names."""

    file: Path
    stem: Path
    id: str
    index: int

    def paper(self, suffix: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}.{suffix}")


def main(arguments: Sequence[str]) -> int:
    try:
        with tempfile.TemporaryDirectory(prefix="demo-") as where:
            _demo([Path(name) for name in arguments], Path(where))
    except DemoFailed as exc:
        print(f"✗ {exc}", file=sys.stderr)
        return 1
    return 0


def _demo(files: list[Path], where: Path) -> None:
    if shutil.which("openssl") is None:
        raise DemoFailed("openssl is not installed: it is the one that judges the timestamps")
    files = files or [*_found(), _generated(where)]
    for file in files:
        if not file.is_file() or file.stat().st_size == 0:
            raise DemoFailed(f"{file} is no file with a byte to flip")
    OUT.mkdir(exist_ok=True)
    for old in OUT.glob("[0-9][0-9]*-*"):
        old.unlink()
    home = where / "house"
    home.mkdir()
    service = Service(home=home)
    service.init()
    key = service.key("demo")
    service.start()
    print(f"A service in {home}, on {service.base}")
    try:
        exhibits = _register(Client(service.base, key), files)
        (OUT / "trust.toml").write_text(service.cli("trust").stdout, "utf-8")
    finally:
        service.stop()
    _write_roots()
    print(f"The service is stopped. Verifying {len(exhibits)} files offline:")
    flipped = where / "flipped"
    flipped.mkdir()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for line in pool.map(lambda exhibit: _judge(exhibit, flipped), exhibits):
            print(line, flush=True)
    print(f"All as it should be. Papers: {OUT}/")


# --- depositing -------------------------------------------------------------------------------


def _found() -> list[Path]:
    return sorted(p for p in (REPOSITORY / "docs").rglob("*") if p.suffix.lower() in SUFFIXES)


def _generated(where: Path) -> Path:
    file = where / "generated-64-mib.bin"
    with file.open("wb") as target:
        for _ in range(GENERATED_BYTES >> 20):
            target.write(os.urandom(1 << 20))
    return file


def _register(client: Client, files: list[Path]) -> list[Exhibit]:
    began = time.monotonic()
    exhibits = [_deposit(client, number, file) for number, file in enumerate(files, start=1)]
    size = sum(file.stat().st_size for file in files)
    took = time.monotonic() - began
    print(f"{len(exhibits)} files, {size / 1e6:.1f} MB, registered in {took:.1f} s")
    for exhibit in exhibits:
        path = f"/v1/deposits/{exhibit.id}"
        _await(partial(_stamped, client, path), f"a timestamp for {exhibit.file.name}")
        for suffix, name in (
            ("tsr", "timestamp.tsr"), ("json", "certificate.json"), ("pdf", "certificate.pdf"),
        ):  # fmt: skip
            answer = client.get(f"{path}/{name}")
            if answer.status_code != 200:
                raise DemoFailed(f"{name} of {exhibit.file.name}: {answer.text}")
            exhibit.paper(suffix).write_bytes(answer.content)
    return exhibits


def _deposit(client: Client, number: int, file: Path) -> Exhibit:
    declared, _ = mimetypes.guess_type(file.name)
    with file.open("rb") as body:
        answer = client.post(
            "/v1/deposits?timestamp=document",
            data=body,
            headers={
                "Content-Type": declared or "application/octet-stream",
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}",
            },
        )
    if answer.status_code != 201:
        raise DemoFailed(f"{file}: {answer.status_code} {answer.text}")
    said = answer.json()
    return Exhibit(
        file=file, stem=OUT / f"{number:02}-{file.name}", id=said["id"], index=said["leaf_index"]
    )


def _stamped(client: Client, path: str) -> bool:
    """Both the original and a checkpoint that covers it."""
    if client.get(f"{path}/timestamp.tsr").status_code != 200:
        return False
    return client.get(path).json()["times"]["timestamped_at"] is not None


def _await(question: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not question():
        if time.monotonic() > deadline:
            raise DemoFailed(f"{what} did not come within {PATIENCE_S:.0f} s")
        time.sleep(0.2)


def _write_roots() -> None:
    """What `openssl` is to trust: the timestamp roots of the trust file, as PEM."""
    roots = parse_trust((OUT / "trust.toml").read_text("utf-8")).timestamp_roots
    pems = [x509.load_der_x509_certificate(root).public_bytes(Encoding.PEM) for root in roots]
    (OUT / "roots.pem").write_bytes(b"".join(pems))


# --- judging ----------------------------------------------------------------------------------


def _judge(exhibit: Exhibit, folder: Path) -> str:
    """One line for people. Raises DemoFailed."""
    for form in ("json", "pdf"):
        status, verdict = _verify(exhibit.file, exhibit.paper(form))
        if status != 0:
            raise DemoFailed(f"{exhibit.file} by its {form}: exit {status}, {verdict}")
    _openssl(exhibit, exhibit.file, accepted=True)
    copy = _flip(exhibit, folder)
    status, altered = _verify(copy, exhibit.paper("json"))
    if status != NOT_THIS_FILE:
        raise DemoFailed(f"{exhibit.file} with a byte flipped: exit {status}, {altered}")
    _openssl(exhibit, copy, accepted=False)
    copy.unlink()
    return f"✓ {exhibit.file.name}: {verdict}, openssl OK; a byte flipped: {altered}"


def _verify(file: Path, certificate: Path) -> tuple[int, str]:
    """(exit status, verdict and code) of `notary verify`, without the rest of the commands."""
    finished = subprocess.run(
        [
            sys.executable, "-m", "notary.cli.verify", str(file.resolve()),
            "--certificate", str(certificate.resolve()),
            "--trust", str((OUT / "trust.toml").resolve()), "--json",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if finished.returncode not in (0, 1, 2, 3):
        raise DemoFailed(f"notary verify: exit {finished.returncode}: {finished.stderr}")
    report = json.loads(finished.stdout)
    return finished.returncode, f"{report['verdict']} ({report['code']})"


def _openssl(exhibit: Exhibit, file: Path, *, accepted: bool) -> None:
    finished = subprocess.run(
        [
            "openssl", "ts", "-verify", "-data", str(file), "-in", str(exhibit.paper("tsr")),
            "-CAfile", str(OUT / "roots.pem"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if (finished.returncode == 0) is not accepted:
        raise DemoFailed(f"openssl ts -verify of {file}: {finished.stdout}{finished.stderr}")


def _flip(exhibit: Exhibit, folder: Path) -> Path:
    copy = folder / exhibit.stem.name
    shutil.copyfile(exhibit.file, copy)
    with copy.open("r+b") as target:
        target.seek(copy.stat().st_size // 2)
        (byte,) = target.read(1)
        target.seek(-1, os.SEEK_CUR)
        target.write(bytes([byte ^ 1]))
    return copy


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
