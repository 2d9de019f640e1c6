"""A report in codes and in words: the same for the command line, the API and the page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from certs.wording import Lang, load_wording
from notary.clock import parse_rfc3339
from notary.verdict import Facts, Report


def registered_at(report: Report) -> datetime | None:
    return None if report.facts is None else parse_rfc3339(report.facts.registered_at)


def report_object(report: Report, lang: Lang) -> dict[str, Any]:
    """JSON-ready. `facts` is null for a certificate that is not genuine: none of it is a fact."""
    words = load_wording(lang)
    verdict = words.verdict(report.code, registered_at=registered_at(report))
    document = report.document
    return {
        "verdict": report.verdict.value,
        "code": report.code,
        "exit_status": report.exit_status,
        "headline": verdict.headline,
        "explanation": verdict.explanation,
        "trusted_keys": report.trusted_keys,
        "trust_note": words.trust(trust_file=report.trusted_keys),
        "checks": [
            {
                "name": check.name,
                "status": check.status.value,
                "code": check.code,
                "sentence": words.check(check.name, check.status).sentence,
                "detail": check.detail,
            }
            for check in report.checks
        ],
        "facts": None if report.facts is None else _facts(report.facts),
        "document": None
        if document is None
        else {"digests": dict(document.digests), "size": document.size},
    }


def _facts(said: Facts) -> dict[str, Any]:
    return {
        "certificate_id": said.certificate_id,
        "issuer": said.issuer,
        "origin": said.origin,
        "deposit_id": said.deposit_id,
        "leaf_index": said.index,
        "tree_size": said.size,
        "sections": dict(said.sections),
        "received_at": said.received_at,
        "registered_at": said.registered_at,
        "timestamped_at": said.timestamped_at,
        "issued_at": said.issued_at,
        "self_operated_time_only": said.self_operated_only,
    }
