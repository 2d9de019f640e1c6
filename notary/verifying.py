"""Verifies many certificates at once, over all cores.

Certificates of one checkpoint go to one worker together: it judges checkpoint, tokens and keys once
and remembers them. What a worker gives back is a row, small and the same for every certificate; a
row that names a difference is looked at again at the end, when it is known what else was given.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from notary.comparing import registered_content, registered_name
from notary.digest import SHA256
from notary.handed import FIRST_MEMBER, UNEXPLAINED, Registered, Unreadable, judge
from notary.nearmiss import APPENDED, BOM_ONLY, LINE_ENDS
from notary.trust import Trust, parse_trust
from notary.verdict import EXIT_STATUS, Report, Status, Verdict

AT_ONCE: Final = 64
"""Certificates in one piece of work: few enough to share out evenly, enough for a message."""
HELD: Final = 4096
"""Certificates whose piece is not full yet."""
WAITING: Final = 4
"""Pieces of work for each worker that wait for it: a million must not be in memory."""
_CHECKPOINT: Final = b'"checkpoint":"'
_OPEN: Final = (*UNEXPLAINED, APPENDED, LINE_ENDS, BOM_ONLY)
"""Codes that give way to a relation with another file: that is what people call it by."""
_HEAD_BYTES: Final = 64 * 1024
"""Where a checkpoint stands in a certificate of usual size; grouped or not, all are judged."""
_CHECKPOINT_BYTES: Final = 400
"""Origin, size, root and the first signature of a checkpoint: what tells one from another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What is verified together, as paths. `document` is None where only a certificate was given,
    or a bundle that carries its own; with `beside` the file of the registered name is taken then,
    if one lies in the certificate's folder."""

    number: int
    certificate: str
    document: str | None
    beside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One verdict, in little. `failed` and `not_made` are `check: code`; `detail` is that of the
    check that decided, both sides shown. What the certificate says is None unless it is genuine.
    `number` is the pair's."""

    number: int
    certificate: str
    document: str | None
    verdict: Verdict
    code: str
    failed: tuple[str, ...] = ()
    not_made: tuple[str, ...] = ()
    detail: str = ""
    certificate_id: str | None = None
    registration: str | None = None
    registered_name: str | None = None
    registered_sha256: str | None = None
    sha256: str | None = None
    size: int | None = None
    registered_at: str | None = None
    timestamped_at: str | None = None
    registered: Registered | None = None
    """What it registers, for other rows to be explained by."""


def verify_all(pairs: Iterable[Pair], trust: str | None, *, workers: int) -> Iterator[Row]:
    """A row for each pair, in no order, while they are made; those whose difference another one of
    them explains come last. `trust` is a trust file's text, which was parsed before.

    Raises BrokenProcessPool when a worker was killed.
    """
    held: list[Row] = []
    seen: dict[bytes, Registered] = {}
    for row in _rows(_pieces(pairs), trust, workers):
        if row.registered is not None:
            seen[bytes.fromhex(row.registered.sha256)] = row.registered
        if row.code in _OPEN:
            held.append(row)
        else:
            yield row
    for row in held:
        yield _explained(row, seen)


def _rows(pieces: Iterator[list[Pair]], trust: str | None, workers: int) -> Iterator[Row]:
    if workers == 1:
        parsed = None if trust is None else parse_trust(trust)
        for piece in pieces:
            yield from (_row(pair, parsed) for pair in piece)
        return
    with ProcessPoolExecutor(workers, initializer=_begin, initargs=(trust,)) as pool:
        waiting: set[Future[list[Row]]] = set()
        for piece in pieces:
            waiting.add(pool.submit(_judge_piece, piece))
            if len(waiting) >= workers * WAITING:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        for future in waiting:
            yield from future.result()


def _pieces(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    """By checkpoint: a piece is given out when it is full; the oldest where too many are begun."""
    begun: dict[bytes, list[Pair]] = {}
    held = 0
    for pair in pairs:
        key = _checkpoint_of(pair.certificate)
        piece = begun.setdefault(key, [])
        piece.append(pair)
        held += 1
        if len(piece) == AT_ONCE:
            held -= AT_ONCE
            yield begun.pop(key)
        elif held == HELD:
            oldest = _oldest(begun)
            held -= len(oldest)
            yield oldest
    while begun:
        yield _oldest(begun)


def _oldest(begun: dict[bytes, list[Pair]]) -> list[Pair]:
    """One piece of those begun first, taken out of `begun`."""
    piece: list[Pair] = []
    while begun and len(piece) < AT_ONCE:
        piece += begun.pop(next(iter(begun)))
    return piece


def _checkpoint_of(path: str) -> bytes:
    """What stands for the checkpoint in a certificate.json; nothing for other forms."""
    try:
        with open(path, "rb") as file:  # a Path for each of a million takes long
            data = file.read(_HEAD_BYTES)
    except OSError:
        return b""
    at = data.find(_CHECKPOINT) if data.startswith(FIRST_MEMBER) else -1
    return b"" if at < 0 else hashlib.sha256(data[at : at + _CHECKPOINT_BYTES]).digest()


# --- in a worker ------------------------------------------------------------------------------

_BELIEVED: dict[str, Trust | None] = {}
"""The trust file of this worker's run, parsed once."""


def _begin(trust: str | None) -> None:
    _BELIEVED["trust"] = None if trust is None else parse_trust(trust)


def _judge_piece(piece: list[Pair]) -> list[Row]:
    return [_row(pair, _BELIEVED["trust"]) for pair in piece]


def _row(pair: Pair, trust: Trust | None) -> Row:
    certificate = Path(pair.certificate)
    document = None if pair.document is None else Path(pair.document)
    try:
        report = judge(document, certificate, trust, algorithms=())
        if report.code == "no_document" and pair.beside:
            document = _beside(certificate, report)
            if document is not None:
                report = judge(document, certificate, trust, algorithms=())
    except Unreadable as exc:
        return Row(
            number=pair.number,
            certificate=pair.certificate,
            document=None if document is None else str(document),
            verdict=Verdict.UNDECIDED,
            code="document_unreadable" if exc.document else "certificate_unreadable",
            detail=str(exc),
        )
    return Row(
        number=pair.number,
        certificate=pair.certificate,
        document=None if document is None else str(document),
        verdict=report.verdict,
        code=report.code,
        failed=_named(report, Status.FAILED),
        not_made=_named(report, Status.NOT_MADE),
        detail=next((c.detail for c in report.checks if c.code == report.code), ""),
        sha256=None if report.document is None else report.document.digests[SHA256],
        size=None if report.document is None else report.document.size,
        **_said(report),
    )


def _beside(certificate: Path, report: Report) -> Path | None:
    """The file of the registered name in the certificate's folder, and nowhere else."""
    name = None if report.facts is None else registered_name(report.facts.sections)
    if name is None or "\0" in name or Path(name).name != name:
        return None
    found = certificate.with_name(name)
    return found if found.is_file() else None


def _named(report: Report, status: Status) -> tuple[str, ...]:
    return tuple(f"{c.name}: {c.code}" for c in report.checks if c.status is status)


def _said(report: Report) -> dict[str, Any]:
    facts = report.facts
    if facts is None:
        return {}
    return {
        "certificate_id": facts.certificate_id,
        "registration": facts.deposit_id,
        "registered_name": registered_name(facts.sections),
        "registered_sha256": registered_content(facts.sections)[0],
        "registered_at": facts.registered_at,
        "timestamped_at": facts.timestamped_at,
        "registered": Registered.of(facts),
    }


def _explained(row: Row, seen: dict[bytes, Registered]) -> Row:
    found = None if row.sha256 is None else seen.get(bytes.fromhex(row.sha256))
    if found is None or row.registration is None:
        return row
    code = found.relation_to(row.registration)
    return replace(
        row,
        code=code,
        failed=tuple(each.replace(row.code, code) for each in row.failed),
        detail=f"{row.detail}; it is the file of registration {found.deposit_id}",
    )


# --- the whole --------------------------------------------------------------------------------


class Tally:
    """How many there were of each code."""

    def __init__(self) -> None:
        self.codes: Counter[tuple[Verdict, str]] = Counter()

    def add(self, row: Row) -> None:
        self.codes[row.verdict, row.code] += 1

    @property
    def total(self) -> int:
        return self.codes.total()

    def verdicts(self) -> dict[str, int]:
        """How many of each class, all of them named."""
        return {
            verdict.value: sum(n for (v, _), n in self.codes.items() if v is verdict)
            for verdict in Verdict
        }

    @property
    def exit_status(self) -> int:
        """1 where anything failed, else 2 where anything could not be decided, else that of what
        there is; nothing at all is not confirmed."""
        there = {EXIT_STATUS[verdict] for verdict, _ in self.codes}
        return next((status for status in (1, 2, 3, 0) if status in there), 2)


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
