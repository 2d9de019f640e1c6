"""Pages of long lists: an opaque cursor, a bounded limit, no silent truncation."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flask import request

from notary.errors import MalformedInput

DEFAULT, MOST = 50, 200
T = TypeVar("T")


def limit() -> int:
    """Raises MalformedInput (`page_malformed`)."""
    given = request.args.get("limit", str(DEFAULT))
    if not (given.isascii() and given.isdigit()) or not 1 <= int(given) <= MOST:
        raise MalformedInput(f"limit must be 1 to {MOST}, got {given!r:.20}", code="page_malformed")
    return int(given)


def after_text() -> str:
    """The cursor's text, empty for the first page. Raises MalformedInput (`page_malformed`)."""
    given = request.args.get("after")
    if given is None:
        return ""
    try:
        text = base64.b64decode(given.encode("ascii"), b"-_", validate=True).decode("ascii")
        if not text:
            raise ValueError("an empty cursor")
        return text
    except (binascii.Error, ValueError) as exc:
        raise MalformedInput(f"after {given!r:.60} is no cursor", code="page_malformed") from exc


def after_index() -> int:
    """The cursor as a ledger index, -1 for the first page."""
    text = after_text()
    if not text:
        return -1
    if not text.isdigit() or len(text) > 18:
        raise MalformedInput("after is no cursor of this list", code="page_malformed")
    return int(text)


def page(
    found: Sequence[T], wanted: int, *, cursor: Callable[[T], str], show: Callable[[T], Any]
) -> dict[str, Any]:
    """`found` holds up to `wanted` + 1 things: the one too many only tells that there are more."""
    shown = found[:wanted]
    more = len(found) > wanted
    return {
        "items": [show(each) for each in shown],
        "next": base64.urlsafe_b64encode(cursor(shown[-1]).encode()).decode() if more else None,
    }
