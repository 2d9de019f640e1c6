"""The rows of a batch on their way to the transaction: read, checked, signed, spooled.

Memory holds one chunk of them. The spool is a nameless file: a crash leaves nothing of it.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from notary.clock import rfc3339
from notary.declaration import from_json, parse_object
from notary.digest import SHA256
from notary.errors import MalformedInput, Rejected
from notary.intake import Intake, case_section, check_size, depositor_section
from notary.model import Case, Declared, Principal
from notary.signing import Row, Signers, sign_rows, signers
from storage.errors import StoreUnavailable

CHUNK_ROWS = 1_000
CHUNK_BYTES = 4 << 20
CHUNKS_ALONE = 5
MAX_ROW_BYTES = 65_536


class Problem(NamedTuple):
    """Why a row was refused."""

    code: str
    detail: str


class Spool:
    """Built rows on their way from the stream to the transaction, a chunk at a time."""

    def __init__(self, folder: Path) -> None:
        """In `folder` rather than the system's own for such files, which may be in memory."""
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # by close()
        except OSError as exc:
            raise StoreUnavailable(f"temporary file for a batch: {exc.strerror}") from exc

    def append(self, packed: bytes) -> None:
        """A chunk as marshal packs it: plain values of our own, of this very batch only.

        Raises StoreUnavailable where there is no room for temporary files.
        """
        try:
            self._file.write(len(packed).to_bytes(8, "big") + packed)
            self._file.flush()
        except OSError as exc:
            raise StoreUnavailable(f"temporary file for a batch: {exc.strerror}") from exc

    def chunks(self) -> Iterator[list[Row]]:
        self._file.seek(0)
        while length := self._file.read(8):
            packed = self._file.read(int.from_bytes(length, "big"))
            yield marshal.loads(packed)  # noqa: S302  # our own unnamed file

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written is not wanted any more
            self._file.close()


class RowSigning:
    """Rows on their way into the spool. Those of a large batch are signed by processes beside
    ours, which take a moment to start."""

    def __init__(self, spool: Spool, intake: Intake, stack: contextlib.ExitStack) -> None:
        self._spool, self._stack = spool, stack
        held = intake.keyring.fresh()  # one for all rows: `under` says which
        self._statements, self._randomness = held.statements, intake.randomness
        self.under = held.serial
        self._signers: Signers | None = None
        self._chunks = 0

    def put(self, rows: list[Row]) -> None:
        self._chunks += 1
        if self._chunks == CHUNKS_ALONE:
            self._signers = self._stack.enter_context(signers(self._statements))
        if self._signers is None:
            rows = sign_rows(rows, self._statements, self._randomness)
            self._spool.append(marshal.dumps(rows))
        elif (signed := self._signers.give(rows)) is not None:
            self._spool.append(signed)

    def finish(self) -> None:
        if self._signers is not None:
            for signed in self._signers.rest():
                self._spool.append(signed)


class RowBuilder:
    """Turns lines into rows, not yet signed. Cases are looked up once, exhibit numbers taken
    chunk by chunk."""

    def __init__(self, intake: Intake, by: Principal) -> None:
        self._intake, self._by = intake, by
        self._depositor = depositor_section(by)
        self._cases: dict[tuple[str, str | None], Case] = {}

    def build(self, lines: list[tuple[int, bytes]]) -> list[Row]:
        received_at = rfc3339(self._intake.clock.now())
        parsed: list[tuple[int, tuple[Declared, Case | None] | Problem]] = []
        wanted: Counter[str] = Counter()
        for number, line in lines:
            try:
                declared = self._declared(line)
                case = self._case(declared)
                if case is not None and declared.exhibit is None:
                    wanted[case.id] += 1
                parsed.append((number, (declared, case)))
            except Rejected as exc:
                parsed.append((number, Problem(exc.code, str(exc))))
        numbers = {
            case_id: self._intake.register.reserve_exhibits(case_id, count)
            for case_id, count in wanted.items()
        }
        rows = []
        for number, found in parsed:
            if isinstance(found, Problem):
                rows.append({"batch_row": number, "problem": tuple(found)})
            else:
                rows.append(self._row(number, *found, received_at, numbers))
        return rows

    def _declared(self, line: bytes) -> Declared:
        if len(line) > MAX_ROW_BYTES:
            raise MalformedInput(
                f"the row has more than {MAX_ROW_BYTES} bytes", code="batch_malformed"
            )
        declared = from_json(parse_object(line), Declared())
        assert declared.size is not None
        check_size(declared.size, declared.digests[SHA256])
        for linked in declared.links.values():
            self._intake.known_deposit(self._by, linked)
        return declared

    def _case(self, declared: Declared) -> Case | None:
        if declared.case is None:
            return self._intake.find_case(self._by, declared)
        place = (declared.case, declared.court)
        found = self._cases.get(place)
        if found is None:
            found = self._intake.find_case(self._by, declared)
            assert found is not None
            self._cases[place] = found
        return found

    def _row(
        self,
        number: int,
        declared: Declared,
        case: Case | None,
        received_at: str,
        numbers: dict[str, int],
    ) -> Row:
        exhibit = declared.exhibit
        if case is not None and exhibit is None:
            exhibit = str(numbers[case.id])
            numbers[case.id] += 1
        sections: dict[str, object] = {
            "content": {
                "digests": declared.digests,
                "size": declared.size,
                "name": declared.name,
                "media_type": {"declared": declared.media_type, "detected": None},
                "stored": False,
            }
        }
        if case is not None:
            sections["case"] = case_section(case, exhibit)
        sections["depositor"] = self._depositor
        if declared.provenance is not None:
            sections["provenance"] = {"stated_by_depositor": declared.provenance}
        if declared.links:
            sections["links"] = declared.links
        return {
            "batch_row": number,
            "sections": sections,
            "account_id": self._by.account_id,
            "case_id": None if case is None else case.id,
            "exhibit": exhibit,
            "client_reference": declared.client_reference,
            "name": declared.name,
            "media_type_declared": declared.media_type,
            "media_type_detected": None,
            "size": declared.size,
            "sha256": declared.digests[SHA256],
            "digests": json.dumps(declared.digests),
            "stored": False,
            "document_timestamp": declared.document_timestamp,
            "received_at": received_at,
        }
