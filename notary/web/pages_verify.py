"""Verification for anyone: the same code and the same words as POST /v1/verify."""

from __future__ import annotations

import base64
import binascii

from flask import Response, request

from notary.digest import SHA256, parse_digests
from notary.errors import MalformedInput, Rejected
from notary.model import check_name
from notary.report import registered_at, report_object
from notary.verdict import Document
from notary.verify_page import FILE_NAME, pack_page
from notary.web import verification
from notary.web.pages_frame import bp, in_other_language, language, render, said
from notary.web.verification import HandedIn

MOST_REPEATED = 300_000
"""Characters of a certificate that the page carries along to be shown in the other language."""


@bp.get("/verify")
def verify_page() -> Response:
    return _form()


@bp.post("/verify")
def verify_form() -> Response:
    """Two files, or what an earlier verdict page carried along: certificate and digest."""
    try:
        if request.mimetype == "multipart/form-data":
            given = verification.read_hand_in(request)
        else:
            given = _again()
    except Rejected as refused:
        return _form(refused)
    report = verification.judge(given)
    content = None if report.facts is None else report.facts.sections.get("content")
    return render(
        "verdict.html",
        report=report_object(report, language()),
        registered=content if isinstance(content, dict) else None,
        registered_at=registered_at(report),
        file_name=given.file_name,
        again=_carried(given),
        switch=in_other_language("pages.verify_page"),
    )


@bp.get("/verify.html")
def verifier_page() -> Response:
    """The verifier for a browser, as a file: opened here it would stand under this site's policy,
    and under this site's trust."""
    response = Response(pack_page(), content_type="text/html; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=FILE_NAME)
    return response


def _form(refused: Rejected | None = None) -> Response:
    problem = None if refused is None else said(refused)
    return render(
        "verify.html",
        200 if problem is None else problem.status,
        problem=problem,
        most=verification.MAX_CERTIFICATE,
        switch=in_other_language("pages.verify_page"),
    )


def _carried(given: HandedIn) -> dict[str, str] | None:
    """What the page needs to be made again, in the other language, without the file."""
    certificate = base64.b64encode(given.certificate).decode("ascii")
    if len(certificate) > MOST_REPEATED:
        return None
    carried = {"certificate": certificate}
    if given.document is not None:
        carried |= {
            "sha256": given.document.digests[SHA256],
            "size": str(given.document.size),
            "is_certificate": "1" if given.document.is_certificate else "",
            "name": given.file_name or "",
        }
    return carried


def _again() -> HandedIn:
    """Raises MalformedInput."""
    form = request.form
    try:
        certificate = base64.b64decode(form.get("certificate", ""), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MalformedInput("the certificate is not base64", code="form_malformed") from exc
    if "sha256" not in form:
        return HandedIn(certificate=certificate, document=None)
    size = form.get("size", "")
    if not (size.isascii() and size.isdigit() and len(size) < 18):
        raise MalformedInput(f"size is {size!r:.40}", code="form_malformed")
    name = check_name(form["name"]) if form.get("name") else None
    document = Document(
        digests=parse_digests({SHA256: form["sha256"]}),
        size=int(size),
        is_certificate=form.get("is_certificate") == "1",
        name=name,
    )
    return HandedIn(certificate=certificate, document=document, file_name=name)
