"""The pages for people: server-rendered, no build step, English and Chinese."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, request

from notary.web import problems

bp = APIBlueprint("pages", __name__, enable_openapi=False)


def wants_page() -> bool:
    """A browser that navigates, not a program: it ranks HTML before JSON, outside /v1."""
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return best == "text/html" and not request.path.startswith(("/v1/", "/log/"))


def problem_page(problem: problems.Problem) -> Response:
    return Response(problem.detail, status=problem.status)


@bp.get("/sign-in")
def sign_in() -> str:
    return ""


@bp.get("/sign-in/<secret>")
def sign_in_by_link(secret: str) -> str:
    return ""


@bp.get("/verify")
def verify_form() -> str:
    return ""
