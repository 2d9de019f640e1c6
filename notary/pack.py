"""Packs verify.pyz: `notary verify` as one file, for machines that have no service.

What goes in is found by following the imports of notary.cli.verify: our own modules one by one,
pure-Python packages whole, with their licences. Native packages stay out, since a zip can't be
loaded as a library; where they are missing, the file says how to get them. Nothing in the archive
depends on when or where it was packed: the same sources and the same zlib give the same bytes.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import io
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ENTRY = "notary.cli.verify"
OURS = ("notary", "certs")
NATIVE = ("cryptography", "cbor2")
NEWEST = "cryptography.hazmat.primitives.asymmetric.mldsa"
"""What the newest of `cryptography` that we need has, and what older ones have not."""
DATA = ("certs/wording",)
SHEBANG = b"#!/usr/bin/env python3\n"
EPOCH = (1980, 1, 1, 0, 0, 0)
UNAVAILABLE = 69
"""Exit status when a native package is missing or old: EX_UNAVAILABLE, none of the verdicts'."""

_LIBRARIES = (".so", ".pyd", ".dylib")
_SOURCES = Path(__file__).resolve().parents[1]
_MAIN = f"""\
import importlib.util
import sys

if sys.version_info < (3, 11):
    sys.exit("verify.pyz needs Python 3.11 or newer, this is " + sys.version.split()[0])
missing = [name for name in {NATIVE!r} if importlib.util.find_spec(name) is None]
if "cryptography" not in missing and importlib.util.find_spec({NEWEST!r}) is None:
    missing.insert(0, "cryptography")  # an older one, as systems bring it
if missing:
    needs = "a present " + " and ".join(missing)
    install = " -m pip install --upgrade " + " ".join(missing)
    print(
        "verify.pyz needs " + needs + ", which must be installed here:\\n"
        "    " + sys.executable + install + "\\n"
        "or, where the system refuses that, in a folder of its own:\\n"
        "    " + sys.executable + " -m venv checking\\n"
        "    checking/bin/python" + install + "\\n"
        "and run checking/bin/python instead of " + sys.executable,
        file=sys.stderr,
    )
    sys.exit({UNAVAILABLE})

from {ENTRY} import main

sys.exit(main())
"""


class PackError(Exception):
    """The verifier can't be packed as it is."""


@cache
def pack() -> bytes:
    """The bytes of verify.pyz, made once in a process.

    Raises PackError where a dependency is neither pure nor known to be native.
    """
    files = {"__main__.py": _MAIN.encode("utf-8")}
    foreign: set[str] = set()
    for name, path, imported in _our_modules():
        files[name] = path.read_bytes()
        foreign |= imported
    for folder in DATA:
        for path in sorted((_SOURCES / folder).iterdir()):
            if path.is_file():
                files[f"{folder}/{path.name}"] = path.read_bytes()
    for package in sorted(foreign - set(NATIVE)):
        files |= _pure_package(package)
    buffer = io.BytesIO()
    buffer.write(SHEBANG)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, EPOCH)
            member.create_system, member.external_attr = 3, 0o100644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, files[name])
    return buffer.getvalue()


def _our_modules() -> Iterator[tuple[str, Path, set[str]]]:
    """(name in the archive, file, foreign packages it imports) of all that ENTRY needs."""
    pending, seen = [ENTRY], {ENTRY}
    while pending:
        module = pending.pop()
        name = _file(module)
        path = _SOURCES / name
        ours = {".".join(module.split(".")[:i]) for i in range(1, module.count(".") + 1)}
        foreign: set[str] = set()
        for imported in _imports(path):
            top = imported.partition(".")[0]
            if top in OURS:
                ours.add(imported)
            elif top not in sys.stdlib_module_names:
                foreign.add(top)
        for wanted in sorted(ours - seen):
            if _is_module(wanted):
                seen.add(wanted)
                pending.append(wanted)
        yield name, path, foreign


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise PackError(f"{path} has a relative import, which is not followed")
            yield node.module
            # `from notary import verify` names a module, `from notary.verify import Report` not.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_module(module: str) -> bool:
    return (_SOURCES / _file(module)).is_file()


def _file(module: str) -> str:
    """`certs.wording` is certs/wording.py, though a folder of that name holds its texts."""
    stem = module.replace(".", "/")
    plain = f"{stem}.py"
    return plain if (_SOURCES / plain).is_file() else f"{stem}/__init__.py"


def _pure_package(package: str) -> dict[str, bytes]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise PackError(f"package {package} is not installed, or is no package")
    root = Path(spec.submodule_search_locations[0])
    files: dict[str, bytes] = {}
    for path in root.rglob("*"):
        if path.suffix in _LIBRARIES:
            raise PackError(f"{package} holds {path.name}: name it among the native packages")
        if path.suffix == ".py" and path.is_file():
            files[f"{package}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    for licence in importlib.metadata.distribution(package).files or ():
        if licence.name.upper().startswith("LICEN") and ".dist-info" in str(licence):
            files[f"{package}/{licence.name}"] = Path(str(licence.locate())).read_bytes()
    return files
