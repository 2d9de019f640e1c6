"""A stranger's reader of ASiC containers: Python's zipfile and XML parser, openssl, ETSI EN 319
162-1 as it is written; nothing of ours."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

ASIC = "{http://uri.etsi.org/02918/v1.2.1#}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"
TYPES = {
    "application/vnd.etsi.asic-e+zip": "asice",
    "application/vnd.etsi.asic-s+zip": "asics",
}


class NotGood(Exception):
    """Why a validator would refuse the container."""


def check_extended(path: Path, roots: Path, folder: Path) -> set[str]:
    """The names of the members that a manifest covers, each compared, the token over it accepted by
    openssl. Raises NotGood."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_type(path, archive, "asice")
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise NotGood(f"names twice: {sorted(names)}")
            return _check_manifests(archive, roots, folder)
    except (zipfile.BadZipFile, ElementTree.ParseError, KeyError, ValueError, OSError) as exc:
        raise NotGood(repr(exc)) from exc


def _check_type(path: Path, archive: zipfile.ZipFile, wanted: str) -> None:
    """Annex A.1: the type is to be read at a fixed place of the file."""
    first = archive.infolist()[0]
    with path.open("rb") as file:
        head = file.read(38 + first.file_size)
    if head[30:38] != b"mimetype" or TYPES.get(head[38:].decode("ascii")) != wanted:
        raise NotGood(f"the container does not say what it is: {head[26:]!r}")
    if head[6:10] != b"\0\0\0\0" or head[28:30] != b"\0\0" or first.header_offset != 0:
        raise NotGood("mimetype is not first, stored, and without extra fields")


def _check_manifests(archive: zipfile.ZipFile, roots: Path, folder: Path) -> set[str]:
    covered: set[str] = set()
    for name in archive.namelist():
        if not (name.startswith("META-INF/ASiC") and name.endswith(".xml")):
            continue
        manifest = archive.read(name)
        root = ElementTree.fromstring(manifest)
        if root.tag != f"{ASIC}ASiCManifest":
            raise NotGood(f"{name} is {root.tag}")
        reference = root.find(f"{ASIC}SigReference")
        if reference is None:
            raise NotGood(f"{name} names nothing that covers it")
        by = archive.read(unquote(reference.attrib["URI"]))
        if reference.get("MimeType") == "application/vnd.etsi.timestamp-token":
            check_token(manifest, by, roots, folder)
        covered |= set(_compared(archive, root))
    return covered


def _compared(archive: zipfile.ZipFile, root: ElementTree.Element) -> Iterator[str]:
    for each in root.findall(f"{ASIC}DataObjectReference"):
        name = unquote(each.attrib["URI"])
        method, value = each.find(f"{DS}DigestMethod"), each.findtext(f"{DS}DigestValue")
        if method is None or method.get("Algorithm") != "http://www.w3.org/2001/04/xmlenc#sha256":
            raise NotGood(f"{name}: a digest by {method}")
        digest = base64.b64encode(hashlib.sha256(archive.read(name)).digest()).decode()
        if digest != value:
            raise NotGood(f"{name} has {digest}, the manifest {value}")
        yield name


def check_token(data: bytes, token: bytes, roots: Path, folder: Path) -> None:
    """`openssl ts -verify` of a TimeStampToken over `data`. Raises NotGood."""
    (folder / "data").write_bytes(data)
    (folder / "token").write_bytes(token)
    said = subprocess.run(
        ["openssl", "ts", "-verify", "-token_in", "-data", folder / "data",
         "-in", folder / "token", "-CAfile", roots],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if said.returncode != 0 or "Verification: OK" not in said.stdout:
        raise NotGood(said.stdout + said.stderr)
