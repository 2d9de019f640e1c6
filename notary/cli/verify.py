"""`notary verify`: offline, with nothing but the pure rooms. Also the whole of verify.pyz.

Files are read here and hashed in one pass; the judging is notary.verify's, the words are those of
certs/wording/. Exit status: 0 confirmed, 1 not this file or certificate not genuine, 2 cannot be
decided, 3 superseded; 64 for a command line that cannot be followed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from certs.certificate import MAX_BYTES
from certs.container import Contents, read_container
from certs.errors import CertificateMalformed
from certs.wording import LANGS, Lang, load_wording
from notary.digest import SM3, Digester
from notary.errors import MalformedInput
from notary.report import registered_at, report_object
from notary.trust import Trust, parse_trust
from notary.verdict import Document, Report, Status
from notary.verify import verify
from notary.verify_destruction import FIRST_MEMBER as DESTRUCTION
from notary.verify_destruction import verify_destruction

CHUNK = 1 << 20
# How every certificate begins, its names being sorted; other JSON documents do not.
FIRST_MEMBER = b'{"certificate_id":'
USAGE = 64
_MARKS = {Status.PASSED: "✓", Status.FAILED: "✗", Status.NOT_MADE: "–"}


class UsageError(Exception):
    """A file named on the command line cannot be read."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse's own 2 would say that the certificate could not be decided.
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _Parser(
        prog="notary verify",
        description="Check a file against its certificate. Nothing is sent anywhere.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        help="the document in your hands; not needed with a bundle, which carries it",
    )
    parser.add_argument(
        "--certificate",
        "-c",
        required=True,
        help="certificate.json, the certificate PDF, bundle.zip, or destruction.json",
    )
    parser.add_argument(
        "--trust", "-t", help="trust file, from a source other than the certificate's"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--lang", choices=LANGS, default="en")
    given = parser.parse_args(arguments)
    return run(
        file=given.file, certificate=given.certificate, trust=given.trust, as_json=given.json,
        lang=given.lang,
    )  # fmt: skip


def run(*, file: str | None, certificate: str, trust: str | None, as_json: bool, lang: Lang) -> int:
    """Judges, prints, and gives the exit status."""
    try:
        report = judge(file, certificate, trust)
    except UsageError as exc:
        print(f"notary verify: {exc}", file=sys.stderr)
        return USAGE
    if as_json:
        print(json.dumps(report_object(report, lang), ensure_ascii=False, indent=2))
    else:
        print(as_text(report, lang))
    return report.exit_status


def judge(file: str | None, certificate: str, trust: str | None) -> Report:
    """Raises UsageError for files that cannot be read."""
    believed = None if trust is None else _read_trust(trust)
    path = Path(certificate)
    try:
        with path.open("rb") as source:
            try:
                contents: Contents | None = read_container(source, path.name)
            except CertificateMalformed:
                contents = None
            if contents is not None and contents.certificate.startswith(DESTRUCTION):
                if file is not None:
                    raise UsageError(f"{certificate} is about a disposal, not a file: leave {file}")
                return verify_destruction(contents.certificate, believed)
            document = None
            if file is not None:
                document = _read_document(Path(file))
            elif contents is not None and contents.original is not None:
                source.seek(contents.original.offset)
                document = _digest(source, contents.original.size)
    except OSError as exc:
        raise UsageError(f"cannot read {certificate}: {exc.strerror}") from exc
    return verify(b"" if contents is None else contents.certificate, document, believed)


def _read_trust(path: str) -> Trust:
    try:
        return parse_trust(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, MalformedInput) as exc:
        raise UsageError(f"trust file {path}: {exc}") from exc


def _read_document(path: Path) -> Document:
    try:
        with path.open("rb") as source:
            document = _digest(source, None)
            is_certificate = document.size <= MAX_BYTES and _is_certificate(source)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    return Document(digests=document.digests, size=document.size, is_certificate=is_certificate)


def _is_certificate(source: Any) -> bool:
    source.seek(0)
    try:
        contents = read_container(source.read(), "document")
    except CertificateMalformed:
        return False
    return contents.original is None and contents.certificate.startswith(FIRST_MEMBER)


def _digest(source: Any, size: int | None) -> Document:
    digester = Digester((SM3,))
    left = size
    while chunk := source.read(CHUNK if left is None else min(CHUNK, left)):
        digester.update(chunk)
        if left is not None:
            left -= len(chunk)
    return Document(digests=digester.digests(), size=digester.size)


# --- showing --------------------------------------------------------------------------------


def as_text(report: Report, lang: Lang) -> str:
    words = load_wording(lang)
    verdict = words.verdict(report.code, registered_at=registered_at(report))
    lines = []
    for check in report.checks:
        said = words.check(check.name, check.status)
        lines.append(f"{_MARKS[check.status]} {said.label}: {said.status}. {said.sentence}")
        if check.detail:
            lines.append(f"    {check.detail}")
    return "\n".join(
        [
            *lines,
            "",
            f"{verdict.class_label.upper()} ({report.code})",
            verdict.headline,
            verdict.explanation,
            words.trust(trust_file=report.trusted_keys),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
