"""Part of fsck: registration policies, and the outside statements that were admitted under them.

The policies must be one chain, each the one that its entry commits to. Each outside statement must
be admitted, signature and all, by the policy in force at its index: the last one before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from notary import statement as cose
from notary.admission import Policy, check_admission, parse_policy_document
from notary.clock import parse_rfc3339
from notary.errors import NotaryError
from notary.findings import Findings
from notary.issuers import POLICY, STATEMENT
from notary.keyhistory import KeyHistory, check_signer
from notary.signed_statement import parse_signed_statement
from storage.database import Database


class Admissions:
    """All policies in memory, there being few; statements chunk by chunk."""

    def __init__(self, database: Database, history: KeyHistory, findings: Findings) -> None:
        """Checks the chain at once."""
        self._history, self._findings = history, findings
        self._by_index: list[tuple[int, Policy]] = []
        with database.reading() as connection:
            rows = connection.execute(sa.select(POLICY).order_by(POLICY.c.serial)).all()
        self._rows = {row.idx: row for row in rows}
        before: Policy | None = None
        for expected, row in enumerate(rows, start=1):
            before = self._link(expected, row, before)

    def check(self, index: int, entry: bytes, statements: Mapping[int, sa.Row[Any]]) -> bool:
        """False, and nothing named, where neither a policy nor one of `statements` has the
        index."""
        if index in self._rows:
            self._check_policy(index, entry)
        elif index in statements:
            self._check_statement(statements[index], entry)
        else:
            return False
        return True

    def _check_policy(self, index: int, entry: bytes) -> None:
        """The entry is the house's statement over the document in the row."""
        self._findings.policies += 1
        name = f"policy {self._rows[index].serial}"
        try:
            statement = cose.parse_statement(entry)
            check_signer(statement, index, self._history)
            digest = hashlib.sha256(self._rows[index].document.encode("utf-8")).digest()
            if statement.payload != digest or statement.preimage_type != cose.POLICY_TYPE:
                self._findings.fault(
                    name,
                    f"is {digest.hex()}, entry {index} signs {statement.payload.hex()} "
                    f"as {statement.preimage_type}",
                )
        except NotaryError as exc:
            self._findings.fault(name, exc)

    def _check_statement(self, row: sa.Row[Any], entry: bytes) -> None:
        """The row repeats what the entry says, and the policy in force admits it."""
        self._findings.statements += 1
        name = f"signed statement {row.idx}"
        try:
            statement = parse_signed_statement(entry)
            for what, ours, said in (
                ("id", row.id, statement.id()),
                ("iss", row.iss, statement.issuer),
                ("kid", row.kid, statement.kid.hex()),
            ):
                if ours != said:
                    self._findings.fault(
                        name, f"{what} is {ours!r} in the row, {said!r} in the entry"
                    )
            if statement.entry != entry:
                self._findings.fault(name, "the entry's unprotected header is not empty")
            check_admission(self._in_force(row.idx), statement, parse_rfc3339(row.registered_at))
        except NotaryError as exc:
            self._findings.fault(name, f"{exc.code}: {exc}")
        except ValueError as exc:
            self._findings.fault(name, f"registered_at: {exc}")

    def _in_force(self, index: int) -> Policy | None:
        found = [policy for at, policy in self._by_index if at < index]
        return found[-1] if found else None

    def _link(self, expected: int, row: sa.Row[Any], before: Policy | None) -> Policy | None:
        name = f"policy {row.serial}"
        try:
            policy = parse_policy_document(row.document)
        except NotaryError as exc:
            self._findings.fault(name, exc)
            return before
        previous = None if before is None else before.digest().hex()
        if (row.serial, policy.serial) != (expected, expected):
            self._findings.fault(
                name, f"says serial {policy.serial}, and is the {expected}. of those that are there"
            )
        elif policy.previous != previous:
            self._findings.fault(
                name, f"follows {policy.previous}, the one before it is {previous}"
            )
        elif self._by_index and row.idx <= self._by_index[-1][0]:
            self._findings.fault(name, f"has index {row.idx}, not behind the one before it")
        self._by_index.append((row.idx, policy))
        return policy


def statement_rows(connection: sa.Connection, first: int, end: int) -> dict[int, sa.Row[Any]]:
    found = connection.execute(
        sa.select(STATEMENT).where(STATEMENT.c.idx >= first, STATEMENT.c.idx < end)
    )
    return {row.idx: row for row in found}


def check_beyond(connection: sa.Connection, size: int, findings: Findings) -> None:
    """Rows may not claim an index that the tree does not have."""
    for table, name in ((POLICY, "policy"), (STATEMENT, "signed statement")):
        for index in connection.execute(
            sa.select(table.c.idx).where(table.c.idx >= size)
        ).scalars():
            findings.fault(f"{name} {index}", f"has index {index}, the tree ends at {size}")
