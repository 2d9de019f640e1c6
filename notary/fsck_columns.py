"""What a row repeats of its record, so that people can search, must be what the record says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from notary import custody
from notary.errors import NotaryError
from notary.findings import Findings
from notary.model import EventKind
from notary.record import parse_record

Sections = Mapping[str, object]


def compare_deposit(row: sa.Row[Any], sections: Sections, findings: Findings) -> None:
    """Sections that are withheld prove nothing and are passed over."""
    name = f"deposit {row.id}"
    _compare_head(name, row, row.received_at, findings)
    match sections.get("content"):
        case {
            "digests": digests,
            "size": size,
            "name": given,
            "media_type": {"declared": declared, "detected": detected},
            "stored": stored,
        }:
            for what, ours, said in (
                ("digests", _digests(row.digests), digests),
                ("size", row.size, size),
                ("name", row.name, given),
                ("media type declared", row.media_type_declared, declared),
                ("media type detected", row.media_type_detected, detected),
                ("stored", row.stored, stored),
            ):
                _compare(name, what, ours, said, findings)
            said_sha256 = digests.get("sha-256") if isinstance(digests, dict) else None
            _compare(name, "sha-256", row.sha256, said_sha256, findings)
        case None:
            pass
        case _:
            findings.fault(name, "its record has no readable content section")
    match sections.get("case"):
        case {"court": court, "number": number, "exhibit": exhibit}:
            _compare(name, "exhibit", row.exhibit, exhibit, findings)
            _compare(name, "case", (row.court, row.number), (court, number), findings)


def compare_event(row: sa.Row[Any], sections: Sections, findings: Findings) -> None:
    name = f"event {row.id}"
    _compare_head(name, row, row.at, findings)
    try:
        ours = custody.sections(
            EventKind(row.kind),
            actor=row.actor,
            deposit_id=row.deposit_id,
            case_id=row.case_id,
            subject=row.subject,
        )
    except (ValueError, NotaryError) as exc:
        findings.fault(name, exc)
        return
    for what, said in sections.items():
        if what != "terms":  # no row of the event's repeats them
            _compare(name, what, ours.get(what), said, findings)


def _compare_head(name: str, row: sa.Row[Any], at: str, findings: Findings) -> None:
    try:
        head = parse_record(row.record)
    except NotaryError:
        return  # named already
    _compare(name, "id", row.id, head.get("id"), findings)
    _compare(name, "time", at, head.get("received_at"), findings)


def _compare(name: str, what: str, ours: object, said: object, findings: Findings) -> None:
    if ours != said:
        findings.fault(name, f"{what} is {ours!r} in the row, {said!r} in the record")


def _digests(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
