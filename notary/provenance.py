"""What a depositor may state of an original's origin: its JSON Schema, enforced. PURE.

The house repeats it as *stated by the depositor* and never as its own finding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import jsonschema_rs

from notary.errors import MalformedInput

MAX_BYTES = 16_384
"""In JSON. Room for a page of text; a longer account belongs into a document of its own."""

_TEXT = {"type": "string", "minLength": 1, "maxLength": 2000}
_TIME = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$",
}
SCHEMA: dict[str, object] = {
    "type": "object",
    "title": "Provenance",
    "description": "Where the original comes from, as stated by the depositor.",
    "additionalProperties": False,
    "minProperties": 1,
    "properties": {
        "source": {**_TEXT, "description": "system, account, address or person it came from"},
        "tool": {**_TEXT, "description": "capture tool"},
        "tool_version": _TEXT,
        "device": {**_TEXT, "description": "make, model, serial number"},
        "operator": {**_TEXT, "description": "who captured it"},
        "captured_at": _TIME,
        "place": _TEXT,
        "environment": {**_TEXT, "description": "state of the system it was captured on"},
        "steps": {
            "type": "array",
            "maxItems": 50,
            "items": _TEXT,
            "description": "the reproducible steps of the capture",
        },
    },
}
_TO_THE_MINUTE = len("2026-11-24T14:03")
_VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)


def from_fields(fields: Mapping[str, str]) -> Mapping[str, object] | None:
    """Provenance out of a form's texts, None where all are blank. Of `captured_at` a form knows
    the local time to the minute or second, and in `captured_zone` its offset; `steps` are lines.

    Raises MalformedInput (`provenance_malformed`).
    """
    stated: dict[str, object] = {
        name: text.strip() for name, text in fields.items() if text.strip()
    }
    zone = stated.pop("captured_zone", "Z")
    if "captured_at" in stated:
        local = str(stated["captured_at"])
        stated["captured_at"] = f"{local}{':00' if len(local) == _TO_THE_MINUTE else ''}{zone}"
    if "steps" in stated:
        lines = str(stated["steps"]).splitlines()
        stated["steps"] = [line.strip() for line in lines if line.strip()]
    return check_provenance(stated) if stated else None


def parse_provenance(text: str | bytes) -> Mapping[str, object]:
    """Raises MalformedInput (`provenance_malformed`)."""
    if len(text) > MAX_BYTES:
        raise MalformedInput(
            f"provenance has {len(text)} bytes; the limit is {MAX_BYTES}",
            code="provenance_malformed",
        )
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise MalformedInput(f"provenance is not JSON: {exc}", code="provenance_malformed") from exc
    return check_provenance(value)


def check_provenance(value: object) -> Mapping[str, object]:
    """The same for a value that was parsed already. Raises MalformedInput."""
    try:
        _VALIDATOR.validate(value)
        size = len(json.dumps(value, ensure_ascii=False).encode("utf-8"))
    except jsonschema_rs.ValidationError as exc:
        where = "/".join(str(part) for part in exc.instance_path)
        raise MalformedInput(
            f"provenance{'/' + where if where else ''}: {exc.message:.200}",
            code="provenance_malformed",
        ) from exc
    except (UnicodeEncodeError, ValueError) as exc:
        raise MalformedInput(
            "provenance is not valid Unicode", code="provenance_malformed"
        ) from exc
    assert isinstance(value, dict)
    if size > MAX_BYTES:
        raise MalformedInput(
            f"provenance has {size} bytes; the limit is {MAX_BYTES}", code="provenance_malformed"
        )
    return value
