"""The rows of a batch, read and checked: each a row of the register to be, or a problem."""

from __future__ import annotations

import json
from collections import Counter
from typing import NamedTuple

from notary.clock import rfc3339
from notary.declaration import from_json, parse_object
from notary.digest import SHA256
from notary.errors import MalformedInput, Rejected
from notary.intake import Intake, case_section, check_size, depositor_section
from notary.model import Case, Declared, Principal
from notary.signing import Row

CHUNK_ROWS = 1_000
CHUNK_BYTES = 4 << 20
MAX_ROW_BYTES = 65_536


class Problem(NamedTuple):
    """Why a row was refused."""

    code: str
    detail: str


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
