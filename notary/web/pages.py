"""The pages for people: server-rendered, no build step, English and Chinese.

pages_frame has what every page shares; pages_entry, pages_cases, pages_verify and pages_accounts
are the rooms; here are the doors that stand open to everybody.
"""

from __future__ import annotations

from typing import Any

from flask import Response, current_app

from notary.web import (
    openapi,
    pages_accounts,
    pages_audits,
    pages_cases,
    pages_certificates,
    pages_entry,
    pages_papers,
    pages_remains,
    pages_standing,
    pages_verify,
)
from notary.web.pages_frame import bp, problem_page, render, wants_page
from notary.web.problems import TITLES

__all__ = ["ROOMS", "bp", "problem_page", "wants_page"]

ROOMS = (
    pages_accounts, pages_audits, pages_cases, pages_certificates, pages_entry, pages_papers,
    pages_remains, pages_standing, pages_verify,
)  # fmt: skip
"""Named so that their views are hung on `bp` before it is hung on the application."""

_ORDER = (
    "v1", "certificates", "batches", "verification", "log", "people", "standing", "audits",
    "remains", "status",
)  # fmt: skip


@bp.get("/")
def index() -> Response:
    return render("index.html")


@bp.get("/docs")
def docs() -> Response:
    """The API in short, from the same document that programs read, and every problem code."""
    described = openapi.complete({}, current_app)
    sections: dict[str, list[dict[str, Any]]] = {}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            section = sections.setdefault(operation["tags"][0], [])
            section.append({"method": method.upper(), "path": path, **operation})
    ordered = {tag: sections[tag] for tag in sorted(sections, key=_place)}
    return render("docs.html", sections=ordered, problems=TITLES)


def _place(tag: str) -> tuple[int, str]:
    return (_ORDER.index(tag) if tag in _ORDER else len(_ORDER), tag)
