"""`notary verify --batch`: many certificates at once, a table of the results, and a report over it
that the verifier may sign. Part of verify.pyz."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs.verification import VerificationDraft, make_verification
from certs.wording import Lang, load_wording
from notary import __version__
from notary.cli.batch_pairs import is_certificate, read_pairs, walk
from notary.cli.verify_frame import USAGE, UsageError, read_trust
from notary.clock import SystemClock, parse_rfc3339
from notary.verdict import Verdict
from notary.verifying import Pair, Row, Tally, cores, verify_all

SOFTWARE: Final = f"evidence-notary {__version__}"
COLUMNS: Final = (
    "number", "document", "certificate", "verdict", "code", "headline", "document_sha256",
    "document_size", "registered_sha256", "registered_name", "registered_at", "timestamped_at",
    "certificate_id", "registration", "failed", "not_made", "detail",
)  # fmt: skip
BROKEN: Final = 70
SHOWN: Final = 20
_BAR: Final = 30
_PAUSE_S: Final = 0.2


def add_options(parser: argparse.ArgumentParser) -> None:
    batch = parser.add_argument_group("many at once")
    batch.add_argument(
        "--batch",
        metavar="MANIFEST|DIR",
        help="a CSV file with the columns certificate and document, or a folder with certificates "
        "and documents",
    )
    batch.add_argument(
        "--report", metavar="FILE", help="a line for each certificate, as .csv or .json"
    )
    batch.add_argument(
        "--signed-report",
        metavar="FILE",
        help="a JSON document over the --report file, for the file of the court",
    )
    batch.add_argument(
        "--sign", metavar="KEY", help="your Ed25519 private key (PEM), to sign that document with"
    )
    batch.add_argument(
        "--workers", type=int, default=None, help="processes; one a core if left out"
    )


def run(given: argparse.Namespace) -> int:
    """Judges all, writes what was asked for, and gives the exit status."""
    try:
        key = _options(given)
        trust = None if given.trust is None else _trust_text(given.trust)
        pairs = read_pairs(given.batch)
        with table_of(given.report, given.lang) as table:
            tally = _judge_all(given, pairs, trust, table)
        if given.signed_report is not None:
            _write_signed(given, tally, trust, key)
    except UsageError as exc:
        print(f"notary verify: {exc}", file=sys.stderr)
        return USAGE
    except BrokenProcessPool:
        print("notary verify: a worker was ended from outside; nothing is known", file=sys.stderr)
        return BROKEN
    _summarise(given, tally, key)
    return tally.exit_status


def _options(given: argparse.Namespace) -> Ed25519PrivateKey | None:
    """The key to sign with. Raises UsageError."""
    if given.workers is not None and given.workers < 1:
        raise UsageError("--workers must be 1 or more")
    if given.report is not None and Path(given.report).suffix not in (".csv", ".json"):
        raise UsageError(f"--report {given.report} ends in neither .csv nor .json")
    if given.signed_report is not None and given.report is None:
        raise UsageError("--signed-report is over the table: give --report too")
    if given.sign is None:
        return None
    if given.signed_report is None:
        raise UsageError("--sign signs the --signed-report, which was not asked for")
    try:
        key = load_pem_private_key(Path(given.sign).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as exc:
        raise UsageError(f"key {given.sign} cannot be read: {exc}") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"key {given.sign} is no Ed25519 key")
    return key


def _trust_text(path: str) -> str:
    """Byte for byte, once it was found to be one. Raises UsageError."""
    read_trust(path)
    return Path(path).read_bytes().decode("utf-8")


def _judge_all(
    given: argparse.Namespace, pairs: list[Pair], trust: str | None, table: Table
) -> Tally:
    tally = Tally()
    progress = _Progress(len(pairs))
    claimed = set()
    for row in verify_all(pairs, trust, workers=given.workers or min(cores(), len(pairs))):
        tally.add(row)
        table.add(row)
        claimed.add(row.document)
        progress.step()
    for row in _unclaimed(given.batch, claimed, len(pairs)):
        tally.add(row)
        table.add(row)
    progress.end()
    return tally


def _unclaimed(place: str, claimed: set[str | None], after: int) -> Iterator[Row]:
    """Files of the folder without a certificate: nobody is to think that they were checked."""
    folder = Path(place)
    if not folder.is_dir():
        return
    for path in walk(folder):
        if path not in claimed and not is_certificate(path):
            after += 1
            yield Row(
                number=after,
                certificate="",
                document=path,
                verdict=Verdict.UNDECIDED,
                code="no_certificate",
            )


# --- the table ----------------------------------------------------------------------------------


class Table(Protocol):
    def add(self, row: Row) -> None:
        """One more line."""


class _Shown:
    """On standard output, what was not confirmed, a bounded number of lines."""

    def __init__(self, lang: Lang) -> None:
        self._lang, self._left = lang, SHOWN

    def add(self, row: Row) -> None:
        if row.verdict is Verdict.CONFIRMED:
            return
        self._left -= 1
        if self._left >= 0:
            print(f"{row.document or row.certificate}: {row.code}: {_headline(row, self._lang)}")
        elif self._left == -1:
            print("… (all of them with --report)")


class _Csv:
    def __init__(self, file: IO[str], lang: Lang) -> None:
        self._lang = lang
        self._rows = csv.writer(file)
        self._rows.writerow(COLUMNS)

    def add(self, row: Row) -> None:
        self._rows.writerow([_cell(value) for value in _values(row, self._lang).values()])


class _Json:
    """An array, a line for each."""

    def __init__(self, file: IO[str], lang: Lang) -> None:
        self._file, self._lang, self._first = file, lang, True

    def add(self, row: Row) -> None:
        self._file.write("[\n" if self._first else ",\n")
        json.dump(_values(row, self._lang), self._file, ensure_ascii=False)
        self._first = False

    def end(self) -> None:
        self._file.write("\n]\n" if not self._first else "[]\n")


@contextmanager
def table_of(path: str | None, lang: Lang) -> Iterator[Table]:
    """Under its name only when it is whole. Raises UsageError."""
    if path is None:
        yield _Shown(lang)
        return
    target = Path(path)
    partial = target.with_name(f"{target.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            if target.suffix == ".csv":
                yield _Csv(file, lang)
            else:
                rows = _Json(file, lang)
                yield rows
                rows.end()
        partial.replace(target)
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc


def _values(row: Row, lang: Lang) -> dict[str, object]:
    values = (
        row.number, row.document, row.certificate, row.verdict.value, row.code,
        _headline(row, lang), row.sha256, row.size, row.registered_sha256, row.registered_name,
        row.registered_at, row.timestamped_at, row.certificate_id, row.registration,
        "; ".join(row.failed), "; ".join(row.not_made), row.detail,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _headline(row: Row, lang: Lang) -> str:
    at = None if row.registered_at is None else parse_rfc3339(row.registered_at)
    return load_wording(lang).verdict(row.code, registered_at=at).headline


def _cell(value: object) -> object:
    """A spreadsheet takes a text that begins like this for a formula, whoever named the file."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


# --- the report over it -------------------------------------------------------------------------


def _write_signed(
    given: argparse.Namespace, tally: Tally, trust: str | None, key: Ed25519PrivateKey | None
) -> None:
    table = Path(given.report)
    try:
        with table.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        draft = VerificationDraft(
            made_at=SystemClock().now(),
            software=SOFTWARE,
            trust_sha256=None if trust is None else hashlib.sha256(trust.encode()).hexdigest(),
            total=tally.total,
            verdicts=tally.verdicts(),
            codes={code: n for (_, code), n in sorted(tally.codes.items())},
            table=table.name,
            table_sha256=digest,
        )
        Path(given.signed_report).write_bytes(make_verification(draft, key).encode())
    except OSError as exc:
        raise UsageError(f"cannot write {given.signed_report}: {exc.strerror}") from exc


def _summarise(given: argparse.Namespace, tally: Tally, key: Ed25519PrivateKey | None) -> None:
    words = load_wording(given.lang)
    for (verdict, code), count in sorted(tally.codes.items()):
        print(f"{count:>9}  {words.text(f'class.{verdict.value}')} ({code})")
    print(f"{tally.total:>9}  {words.text('batch.total')}")
    print(words.trust(trust_file=given.trust is not None))
    if given.signed_report is not None:
        print(words.text("batch.signed" if key else "batch.unsigned", file=given.signed_report))


class _Progress:
    """A bar on a terminal's standard error, nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._on = sys.stderr.isatty()
        self._began = self._shown = time.monotonic()

    def step(self) -> None:
        self._done += 1
        if self._on and time.monotonic() - self._shown > _PAUSE_S:
            self._show()

    def end(self) -> None:
        if self._on:
            self._show()
            print(file=sys.stderr)

    def _show(self) -> None:
        self._shown = time.monotonic()
        rate = self._done / max(self._shown - self._began, 0.001)
        filled = _BAR * self._done // self._total
        left = (self._total - self._done) / max(rate, 0.001)
        print(
            f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {self._done}/{self._total}"
            f"  {rate:.0f}/s  {left:.0f} s ",
            end="",
            file=sys.stderr,
            flush=True,
        )
