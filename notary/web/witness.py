"""The witness's door: two routes of C2SP tlog-witness, in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, Response, request

from notary.cosigner import MAX_BODY_BYTES, Answer, Cosigner
from notary.witness_house import open_witness

HOME = "EVIDENCE_WITNESS_HOME"
"""Where the parent command says the witness lives."""


def create_witness() -> Flask:
    return build_witness(open_witness(Path(os.environ[HOME])))


def build_witness(cosigner: Cosigner) -> Flask:
    app = Flask("notary.web.witness", static_folder=None)

    @app.post("/add-checkpoint")
    def add_checkpoint() -> Response:
        return _respond(cosigner.add_checkpoint(request.stream.read(MAX_BODY_BYTES + 1)))

    @app.get("/<origin_hash>/checkpoint")
    def latest(origin_hash: str) -> Response:
        found = cosigner.latest(origin_hash)
        if found is None:
            return _respond(Answer(status=404, body="no checkpoint of this log\n"))
        return _respond(Answer(status=200, body=found.decode("utf-8")))

    @app.get("/healthz")
    def healthz() -> Response:
        return _respond(Answer(status=200, body="alive\n"))

    return app


def _respond(answer: Answer) -> Response:
    response = Response(answer.body, status=answer.status, content_type=answer.content_type)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
