"""Retentions, holds and disposals as they go out as JSON. Pure functions, no lookups."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from notary.clock import rfc3339
from notary.disposals import Disposal
from notary.standing import Hold, Retention, Standing


def standing(given: Standing, disposal_: Disposal | None) -> dict[str, Any]:
    until = given.retained_until
    return {
        "retained_until": None if until is None else rfc3339(until),
        "retentions": [_retention(each) for each in given.retentions],
        "holds": [hold(each) for each in given.holds],
        "disposal": None if disposal_ is None else disposal(disposal_),
    }


def _retention(each: Retention) -> dict[str, Any]:
    return {
        "rule": each.rule.value,
        "until": rfc3339(each.until),
        "basis": each.basis,
        "set_by": each.set_by,
        "set_at": _time(each.set_at),
    }


def hold(each: Hold) -> dict[str, Any]:
    return {
        "id": each.id,
        "rule": each.rule.value,
        "deposit": each.deposit_id,
        "case": each.case_id,
        "reason": each.reason,
        "placed_by": each.placed_by,
        "placed_at": rfc3339(each.placed_at),
    }


def disposal(each: Disposal) -> dict[str, Any]:
    base = f"/v1/disposals/{each.id}"
    return {
        "id": each.id,
        "deposit": each.deposit_id,
        "state": each.state.value,
        "reason": each.reason,
        "basis": each.basis,
        "requested_by": each.requester,
        "requested_at": rfc3339(each.requested_at),
        "approved_by": each.approver,
        "approved_at": _time(each.approved_at),
        "withdrawn_by": each.withdrawn_by,
        "withdrawn_at": _time(each.withdrawn_at),
        "erased_at": _time(each.erased_at),
        "waits_until": _time(each.waits_until),
        "discarded_at": _time(each.discarded_at),
        "links": {
            "self": base,
            "certificate_json": f"{base}/certificate.json",
            "certificate_pdf": f"{base}/certificate.pdf",
        },
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
