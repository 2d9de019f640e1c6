"""POST /v1/batches: NDJSON in, NDJSON out, both streamed."""

from __future__ import annotations

from collections.abc import Iterator

from apiflask import APIBlueprint
from flask import Response, json, request

from notary import access
from notary.batch import Totals
from notary.batch_rows import MAX_ROW_BYTES
from notary.declaration import parse_switch
from notary.digest import EMPTY_SHA256, SHA256, Digester, check_declared
from notary.errors import MalformedInput, Rejected
from notary.ledger import TreeHead
from notary.web import auth, uploads
from notary.web.auth import office
from notary.web.openapi import (
    DIGEST_FIELD,
    IDEMPOTENCY_KEY,
    SWITCH,
    UUID,
    answer,
    describe,
    header,
    query,
)

bp = APIBlueprint("batches", __name__, url_prefix="/v1", enable_openapi=False)

NDJSON = "application/x-ndjson"
_LINES = {
    "type": "string",
    "description": "one JSON object a line: {row, index, id[, client_reference]}, or {row, id, "
    "duplicate, …}, or {row, problem: {code, detail}}; the last line has the totals and the "
    "signed checkpoint",
}
_ROWS = {
    "type": "string",
    "example": f'{{"size": 0, "digests": {{"sha-256": "{EMPTY_SHA256}"}}}}\n{{"end": 1}}\n',
    "description": 'one DigestDeposit a line; a closing line {"end": n} is needed where '
    "neither Content-Length nor a digest marks the end",
}


_ENOUGH = MAX_ROW_BYTES + 1
"""Of a row that is too long, so much shows it; the rest is not held."""


class _Body:
    """The body's lines, digested and counted on their way."""

    def __init__(self) -> None:
        self.declared = uploads.declared_digests(request)
        self.digester = Digester((SHA256, *self.declared))

    def lines(self) -> Iterator[bytes]:
        rest = b""
        while chunk := request.stream.read(uploads.CHUNK):
            self.digester.update(chunk)
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line[:_ENOUGH] for line in whole)
            rest = rest[:_ENOUGH]
        if rest:
            yield rest

    def check_end(self, stated: int | None, rows: int) -> None:
        """Raises where the body is not all there, or might not be."""
        length = request.content_length
        if length is not None and length != self.digester.size:
            raise MalformedInput(
                f"declared {length} bytes, {self.digester.size} came", code="body_incomplete"
            )
        check_declared(self.declared, self.digester.digests())
        if stated is not None and stated != rows:
            raise MalformedInput(
                f"the closing line states {stated} rows, {rows} came", code="body_incomplete"
            )
        if stated is None and length is None and not self.declared:
            raise Rejected(
                'send Content-Length, or Repr-Digest (RFC 9530), or a closing line {"end": n}: '
                "a chunked body alone does not show whether it arrived whole",
                code="length_required",
            )


@bp.post("/batches")
@describe(
    "Register many digests at once, in order",
    answers={
        201: answer("entered; row by row", _LINES, media=NDJSON, headers=("Location",)),
        200: answer(
            "the same batch had been entered before", _LINES, media=NDJSON, headers=("Location",)
        ),
    },
    problems=(409, 411, 413, 415, 422),
    parameters=[
        query("atomic", SWITCH, "1: all rows or none"),
        IDEMPOTENCY_KEY,
        header("Repr-Digest", "digest of the body (RFC 9530)", DIGEST_FIELD),
        header("Content-Digest", "the same", DIGEST_FIELD),
    ],
    body={"required": True, "content": {NDJSON: {"schema": _ROWS}}},
)
def post_batch() -> Response:
    by = auth.principal()
    access.check(by, access.Act.BATCH)
    if request.mimetype != NDJSON:
        raise Rejected(
            f"content type {request.mimetype!r:.60}: send {NDJSON}", code="unsupported_media_type"
        )
    body = _Body()
    done = office().batches.receive(
        body.lines(),
        by=by,
        key=uploads.idempotency_key(request),
        atomic=parse_switch(request.args.get("atomic"), "atomic"),
        check_end=body.check_end,
    )
    return _answer(done.outcome, done.appended.head, 201 if done.fresh else 200)


@bp.get("/batches/<batch_id>")
@describe(
    "What became of a batch, row by row",
    answers={200: answer("row by row", _LINES, media=NDJSON, headers=("Location",))},
    problems=(404,),
    path={"batch_id": UUID},
)
def show_batch(batch_id: str) -> Response:
    by = auth.principal()
    totals = office().batches.totals(batch_id, by)
    return _answer(totals, office().ledger.head(), 200)


def _answer(totals: Totals, head: TreeHead, status: int) -> Response:
    batches = office().batches

    def lines() -> Iterator[bytes]:
        yield from batches.answer(totals)
        last = {
            "batch": totals.id,
            "rows": totals.rows,
            "registered": totals.registered,
            "duplicates": totals.duplicates,
            "refused": totals.refused,
            "first_index": totals.first_index,
            "checkpoint": head.checkpoint.decode("utf-8"),
        }
        yield json.dumps(last).encode() + b"\n"

    response = Response(lines(), status=status, content_type=NDJSON)
    response.headers["Location"] = f"/v1/batches/{totals.id}"
    return response
