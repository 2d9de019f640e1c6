"""What a depositor declares, taken apart and checked. PURE.

The same members in the query, in a form, in a JSON body and in a row of a batch.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from notary.digest import parse_digests
from notary.errors import MalformedInput
from notary.model import MAX_LABEL_CHARS, Declared, check_label, check_name
from notary.provenance import check_provenance

LINKS = ("previous", "derivative_of", "replaces", "redaction_of")
TEXTS = ("case", "court", "exhibit", "client_reference")
_MEMBERS = frozenset(
    {"size", "digests", "name", "media_type", "provenance", "links", "timestamp", *TEXTS}
)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.20} is no number of JSON")
    return number


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def parse_object(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
        value = _DECODER.decode(text)
        if "\\u" in text:  # only an escape can stand for a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as exc:
        raise MalformedInput(f"not JSON: {exc}", code="json_malformed") from exc
    if not isinstance(value, dict):
        raise MalformedInput("the JSON must be an object", code="json_malformed")
    return value


def from_json(body: Mapping[str, Any], declared: Declared) -> Declared:
    """The members of a digest-only deposit, as in a JSON body or a row of a batch.

    Raises MalformedInput, also for a member that is not known.
    """
    if not body.keys() <= _MEMBERS:
        raise MalformedInput(
            f"unknown members {sorted(body.keys() - _MEMBERS)!r:.200}", code="json_malformed"
        )
    size, digests, name = body.get("size"), body.get("digests"), body.get("name")
    if not isinstance(digests, dict):
        raise MalformedInput("digests must be an object", code="digests_malformed")
    texts = {
        member: parse_label(body[member], member)
        for member in TEXTS
        if body.get(member) is not None
    }
    provenance = body.get("provenance")
    return replace(
        declared,
        **texts,
        size=parse_size(size),
        digests=parse_digests(digests),
        name=None if name is None else check_name(_text(name, "name")),
        media_type=parse_media_type(body.get("media_type")),
        provenance=None if provenance is None else check_provenance(provenance),
        links={**declared.links, **_links(body.get("links"))},
        document_timestamp=parse_timestamp(body.get("timestamp")) or declared.document_timestamp,
    )


def parse_size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise MalformedInput(
            f"size must be a whole number below 2^53, got {value!r:.40}", code="digests_malformed"
        )
    return value


def parse_media_type(value: object) -> str | None:
    if value is None or value == "":
        return None
    return check_label(_text(value, "media type"), what="media type", limit=200)


def parse_label(value: object, what: str) -> str:
    return check_label(_text(value, what), what=what, limit=MAX_LABEL_CHARS)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise MalformedInput(f"{what} must be a text, got {value!r:.40}", code="value_malformed")
    return value


def parse_timestamp(value: object) -> bool:
    if value is None or value == "":
        return False
    if value != "document":
        raise MalformedInput(f"timestamp is {value!r:.40}; known: document", code="value_malformed")
    return True


def parse_switch(value: str | None, what: str) -> bool:
    """`1` or `0`, or nothing. What else a switch were set to must not be taken for off."""
    if value not in (None, "", "0", "1"):
        raise MalformedInput(f"{what} is {value!r:.40}; known: 0, 1", code="value_malformed")
    return value == "1"


def parse_link(value: object) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise MalformedInput(f"{value!r:.60} is no deposit id", code="links_malformed")
    return value


def _links(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not value.keys() <= set(LINKS):
        raise MalformedInput(f"links may name {', '.join(LINKS)}", code="links_malformed")
    return {name: parse_link(link) for name, link in value.items()}
