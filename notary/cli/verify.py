"""`notary verify`: offline, with nothing but the pure rooms. Also the whole of verify.pyz.

The judging is notary.verify's, of files notary.handed's, of many notary.verifying's; the words are
those of certs/wording/. Exit status: 0 confirmed, 1 not this file or certificate not genuine,
2 cannot be decided, 3 superseded; 64 for a command line that cannot be followed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from certs.wording import LANGS, Lang, load_wording
from notary import online
from notary.asking import PlainSource
from notary.cli import verify_batch
from notary.cli.verify_frame import USAGE, Parser, UsageError, read_trust
from notary.errors import MalformedInput
from notary.handed import Unreadable, read_certificate
from notary.handed import judge as judge_files
from notary.report import registered_at, report_object
from notary.trust import Trust
from notary.verdict import Report, Status
from notary.verify_destruction import FIRST_MEMBER as DESTRUCTION

__all__ = ["USAGE", "judge", "main"]

_MARKS = {Status.PASSED: "✓", Status.FAILED: "✗", Status.NOT_MADE: "–"}


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parse(arguments)
    if given.batch is not None:
        return verify_batch.run(given)
    return run(given)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="notary verify",
        description="Check a file against its certificate. Nothing is sent anywhere, unless "
        "--online is given: then the ledger is read, and the certificate's number asked about.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        help="the document in your hands; not needed with a bundle, which carries it",
    )
    parser.add_argument(
        "--certificate",
        "-c",
        help="certificate.json, the certificate PDF, bundle.zip, bundle.asice, or destruction.json",
    )
    parser.add_argument(
        "--trust", "-t", help="trust file, from a source other than the certificate's"
    )
    parser.add_argument(
        "--related",
        action="append",
        default=[],
        metavar="CERTIFICATE",
        help="another certificate whose file this one may be; may be given again",
    )
    parser.add_argument(
        "--online",
        metavar="URL",
        help="also compare with the live ledger of the service at URL, and ask it whether the "
        "certificate was replaced or withdrawn",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--lang", choices=LANGS, default="en")
    verify_batch.add_options(parser)
    given = parser.parse_args(arguments)
    if (given.batch is None) == (given.certificate is None):
        parser.error("one of --certificate and --batch is needed, and not both")
    if given.batch is None and (given.report or given.sign or given.signed_report):
        parser.error("--report, --signed-report and --sign belong to --batch")
    if given.batch is not None and (given.file or given.online or given.related or given.json):
        parser.error("with --batch no file, --related, --online or --json can be given")
    return given


def run(given: argparse.Namespace) -> int:
    """Judges, prints, and gives the exit status."""
    try:
        report = _judged(given)
    except UsageError as exc:
        print(f"notary verify: {exc}", file=sys.stderr)
        return USAGE
    if given.json:
        print(json.dumps(report_object(report, given.lang), ensure_ascii=False, indent=2))
    else:
        print(as_text(report, given.lang))
    return report.exit_status


def _judged(given: argparse.Namespace) -> Report:
    """Raises UsageError."""
    report = judge(given.file, given.certificate, given.trust, related=given.related)
    if given.online is None:
        return report
    try:
        source = PlainSource(given.online)
        data, _ = read_certificate(Path(given.certificate), (), with_original=False)
    except (MalformedInput, Unreadable) as exc:
        raise UsageError(str(exc)) from exc
    if data.startswith(DESTRUCTION):
        raise UsageError(
            f"--online asks about a certificate; {given.certificate} is about a disposal"
        )
    return online.ask(report, data, _trust(given.trust), source)


def judge(
    file: str | None, certificate: str, trust: str | None, *, related: Sequence[str] = ()
) -> Report:
    """Raises UsageError for files that cannot be read."""
    try:
        return judge_files(
            None if file is None else Path(file),
            Path(certificate),
            _trust(trust),
            related=[Path(each) for each in related],
        )
    except Unreadable as exc:
        raise UsageError(str(exc)) from exc


def _trust(path: str | None) -> Trust | None:
    return None if path is None else read_trust(path)


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
