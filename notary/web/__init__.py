"""The web door: builds the WSGI application around an opened house."""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from apiflask import APIFlask
from flask import Response, g, request
from werkzeug.exceptions import HTTPException

from certs.errors import CertsError
from notary import __version__
from notary.errors import IntegrityError, MalformedInput, NotaryError, Unreachable
from notary.office import Office
from notary.sequencer import unreachable
from notary.web import (
    api,
    audits,
    batches,
    certificates,
    issuers,
    limits,
    log,
    openapi,
    pages,
    papers,
    people,
    problems,
    remains,
    scitt,
    scrapi,
    standing,
    status,
    verification,
)
from storage.errors import InvalidValue, StorageError, StoreReadOnly

LOG = structlog.get_logger("web")

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def build(office: Office) -> APIFlask:
    app = APIFlask(
        "notary.web",
        title="Evidence registration",
        version=__version__,
        json_errors=False,
        docs_path=None,
        spec_path="/openapi.json",
        static_folder="static",
    )
    app.config["OPENAPI_VERSION"] = "3.1.0"
    app.config["SPEC_PROCESSOR_PASS_OBJECT"] = False
    app.extensions["office"] = office
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it

    @app.spec_processor
    def describe(spec: dict[str, Any] | str) -> dict[str, Any] | str:
        assert isinstance(spec, dict)
        return openapi.complete(spec, app)

    _before_and_after(app, office)
    status.watch(app)
    _errors(app)
    limiter = limits.make_limiter(app, office)
    for blueprint in (
        api.bp, batches.bp, people.bp, verification.bp, log.bp, scitt.bp, scrapi.bp, issuers.bp,
        audits.bp, standing.bp, remains.bp, certificates.bp, papers.bp,
        status.bp, pages.bp,
    ):  # fmt: skip
        app.register_blueprint(blueprint)
    limits.limit_views(app, limiter, office.settings)
    return app


def _before_and_after(app: APIFlask, office: Office) -> None:
    # Evidence and everything about it stays out of shared caches; the public log sets its own.
    always = [*SECURITY_HEADERS.items(), ("Cache-Control", "private, no-store")]
    if office.settings.secure_cookies:
        always.append(("Strict-Transport-Security", "max-age=31536000; includeSubDomains"))

    @app.before_request
    def name_request() -> None:
        g.request_id = str(uuid.uuid4())

    @app.after_request
    def finish(response: Response) -> Response:
        headers = response.headers
        headers["X-Request-Id"] = g.request_id
        there = {name.lower() for name, _ in headers}
        for name, value in always:
            if name.lower() not in there:
                headers.add(name, value)
        if "retry_after" in g:
            headers.pop("Retry-After", None)
            if g.retry_after is not None:
                headers["Retry-After"] = str(g.retry_after)
        elif response.status_code not in (429, 503):
            # The limiter says on each answer when its span ends: nobody is to come again then.
            headers.pop("Retry-After", None)
        LOG.info(
            "request",
            request_id=g.request_id,
            method=request.method,
            route=request.url_rule.rule if request.url_rule is not None else None,
            status=response.status_code,
        )
        return response


def _errors(app: APIFlask) -> None:
    """Every error becomes a problem, as JSON for programs and as a page for people."""

    @app.errorhandler(NotaryError)
    def ours(error: NotaryError) -> Response:
        if isinstance(error, IntegrityError):
            LOG.error("integrity", request_id=g.request_id, code=error.code, detail=str(error))
        return _show(problems.problem_of(error))

    @app.errorhandler(StorageError)
    def storage(error: StorageError) -> Response:
        LOG.warning("storage", request_id=g.request_id, detail=str(error))
        if isinstance(error, InvalidValue):
            refused = MalformedInput("a value that cannot be kept", code="value_malformed")
            return _show(problems.problem_of(refused))
        if isinstance(error, StoreReadOnly):
            return _show(problems.problem_of(unreachable(error)))
        return _show(
            problems.problem_of(
                Unreachable(
                    "storage or database does not answer",
                    code="storage_unreachable",
                    retry_after_s=5,
                )
            )
        )

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Any:
        if error.code is not None and error.code < 400:
            return error
        shown = _show(problems.problem_of_http(error))
        if error.code == 405 and getattr(error, "valid_methods", None):
            shown.headers["Allow"] = ", ".join(error.valid_methods)  # type: ignore[attr-defined]
        return shown

    @app.errorhandler(CertsError)
    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        LOG.error("unexpected", request_id=g.request_id, exc_info=error)
        return _show(problems.INTERNAL)


def _show(problem: problems.Problem) -> Response:
    if scrapi.speaks_here():
        return scrapi.respond(problem)
    if pages.wants_page():
        return pages.problem_page(problem)
    return problems.respond(problem)
