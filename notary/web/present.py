"""Values → what goes out as JSON. Pure functions, no lookups."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from notary.accounts import Account, ApiKey
from notary.audits import Run
from notary.clock import rfc3339
from notary.digest import SHA256
from notary.intake import Receipt
from notary.model import Case, CustodyEvent, Deposit
from notary.record import parse_disclosure
from notary.rereads import Finding, LastRead
from notary.stamps import Stamped


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def receipt(
    given: Receipt, stamped: Stamped | None = None, last: LastRead | None = None
) -> dict[str, Any]:
    deposit = given.deposit
    base = f"/v1/deposits/{deposit.id}"
    return {
        "id": deposit.id,
        "leaf_index": deposit.index,
        "name": deposit.name,
        "size": None if deposit.disposed_at else deposit.size,
        "digests": dict(deposit.digests) or None,
        "disposed_at": None if deposit.disposed_at is None else rfc3339(deposit.disposed_at),
        "media_type": {
            "declared": deposit.media_type_declared,
            "detected": deposit.media_type_detected,
        },
        "stored": deposit.stored,
        "case": deposit.case_id,
        "exhibit": deposit.exhibit,
        "client_reference": deposit.client_reference,
        "record": deposit.record,
        "disclosures": list(deposit.disclosures),
        "sections": dict(parse_disclosure(text) for text in deposit.disclosures),
        "statement": b64(given.statement),
        "inclusion_proof": {
            "index": deposit.index,
            "size": given.head.size,
            "path": [b64(node) for node in given.proof],
            "checkpoint": given.head.checkpoint.decode("utf-8"),
        },
        "times": {
            "received_at": rfc3339(deposit.received_at),
            "registered_at": rfc3339(deposit.registered_at),
            "timestamped_at": _moment(None if stamped is None else stamped.time()),
        },
        "fixity": fixity(last) if deposit.stored and not deposit.disposed_at else None,
        "links": {
            "self": base,
            "certificate_json": f"{base}/certificate.json",
            "certificate_pdf": f"{base}/certificate.pdf",
            "bundle": f"{base}/bundle.zip",
            "bundle_asice": f"{base}/bundle.asice",
            "bundle_asics": f"{base}/bundle.asics",
            "timestamp": f"{base}/timestamp.tsr",
            "evidence_record": f"{base}/evidence.ers",
            "proof": f"{base}/proof.tlog-proof",
            "content": f"{base}/content",
            "custody": f"{base}/custody",
        },
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def fixity(last: LastRead | None) -> dict[str, Any]:
    """Of a stored original: when it was last read again, and what came of it."""
    if last is None:
        return {"state": "never", "checked_at": None, "whole_at": None, "audit": None}
    return {
        "state": "whole" if last.finding is None else last.finding.value,
        "checked_at": rfc3339(last.at),
        "whole_at": None if last.whole_at is None else rfc3339(last.whole_at),
        "audit": last.run_id,
    }


def summary(deposit: Deposit) -> dict[str, Any]:
    return {
        "id": deposit.id,
        "leaf_index": deposit.index,
        "name": deposit.name,
        "size": None if deposit.disposed_at else deposit.size,
        "sha256": deposit.sha256 or None,
        "disposed_at": None if deposit.disposed_at is None else rfc3339(deposit.disposed_at),
        "case": deposit.case_id,
        "exhibit": deposit.exhibit,
        "client_reference": deposit.client_reference,
        "registered_at": rfc3339(deposit.registered_at),
    }


def case(given: Case) -> dict[str, Any]:
    return {
        "id": given.id,
        "court": given.court,
        "number": given.number,
        "title": given.title,
        "opened_at": rfc3339(given.opened_at),
    }


def event(given: CustodyEvent) -> dict[str, Any]:
    return {
        "id": given.id,
        "leaf_index": given.index,
        "kind": given.kind.value,
        "actor": given.actor,
        "deposit": given.deposit_id,
        "case": given.case_id,
        "subject": given.subject,
        "at": rfc3339(given.at),
        "record": given.record,
        "disclosures": list(given.disclosures),
    }


def account(given: Account) -> dict[str, Any]:
    return {
        "id": given.id,
        "name": given.name,
        "role": given.role.value,
        "disabled": given.disabled,
        "created_at": rfc3339(given.created_at),
    }


def api_key(given: ApiKey) -> dict[str, Any]:
    return {
        "id": given.id,
        "account": given.account_id,
        "label": given.label,
        "scopes": None if given.scopes is None else list(given.scopes),
        "created_at": rfc3339(given.created_at),
        "expires_at": rfc3339(given.expires_at),
        "revoked": given.revoked,
    }


def registered_event(deposit: Deposit, actor: str) -> dict[str, Any]:
    """The first event of every exhibit: its own entry."""
    return {
        "id": deposit.id,
        "leaf_index": deposit.index,
        "kind": "registered",
        "actor": actor,
        "deposit": deposit.id,
        "case": deposit.case_id,
        "subject": deposit.digests.get(SHA256),
        "at": rfc3339(deposit.registered_at),
        "record": deposit.record,
        "disclosures": list(deposit.disclosures),
    }


def audit(given: Run) -> dict[str, Any]:
    counts = given.counts
    return {
        "id": given.id,
        "state": "running" if given.finished_at is None else "finished",
        "scope": given.scope.value,
        "rate": given.rate or None,
        "started_by": given.started_by,
        "started_at": rfc3339(given.started_at),
        "finished_at": None if given.finished_at is None else rfc3339(given.finished_at),
        "ledger_size": given.size,
        "checkpoint": given.checkpoint.decode("utf-8"),
        "ranges": counts.ranges,
        "ranges_done": counts.done,
        "deposits": counts.deposits,
        "originals": counts.originals,
        "bytes": counts.bytes,
        "findings": counts.findings,
    }


def finding(given: Finding) -> dict[str, Any]:
    return {
        "leaf_index": given.index,
        "deposit": given.deposit_id,
        "kind": given.kind.value,
        "detail": given.detail,
        "found_at": rfc3339(given.found_at),
        "whole_at": None if given.whole_at is None else rfc3339(given.whole_at),
    }
