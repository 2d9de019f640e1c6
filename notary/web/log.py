"""/log: the ledger's public side, as C2SP tlog-tiles writes it; /v1/log: proofs as JSON."""

from __future__ import annotations

import gzip

from apiflask import APIBlueprint
from flask import Response, request

from notary.clock import rfc3339
from notary.errors import MalformedInput, NotaryError, NotFound
from notary.keyhistory import encode_rotations
from notary.tlog import tile
from notary.web import present
from notary.web.api import as_json
from notary.web.auth import office
from notary.web.openapi import BYTES, INDEX, TEXT, answer, describe, query, ref
from notary.witness import with_cosignatures

bp = APIBlueprint("log", __name__, enable_openapi=False)

IMMUTABLE = "public, max-age=31536000, immutable"
PLAIN = "text/plain; charset=utf-8"
STALE_AFTER = 2
"""Refresh intervals after which a checkpoint that was not signed anew means that none is."""


@bp.get("/log/checkpoint")
@describe(
    "The newest signed checkpoint (C2SP tlog-checkpoint), cosigned where witnesses have seen it",
    public=True,
    answers={200: answer("signed note", TEXT, media="text/plain")},
)
def checkpoint() -> Response:
    house = office()
    signed = house.ledger.head().checkpoint
    if house.witnessing is not None:
        signed = with_cosignatures(signed, house.witnesses.newest())
    response = Response(signed, content_type=PLAIN)
    response.headers["Cache-Control"] = "no-cache"
    return response


@bp.get("/log/health")
@describe(
    "200 only while the newest checkpoint is valid, fresh, and matches the tree",
    public=True,
    answers={
        200: answer("it lives", ref("LogHealth")),
        503: answer("it does not", ref("LogHealth")),
    },
)
def health() -> Response:
    house = office()
    head = house.ledger.head()
    age_s = (house.clock.now() - head.signed_at).total_seconds()
    token = house.stamps.freshest()
    fault = None
    try:
        house.check_log()
        house.sequencer.check_writing()
    except NotaryError as exc:
        fault = f"{exc.code}: {exc}"
    if fault is None and age_s > STALE_AFTER * house.settings.checkpoint_refresh:
        fault = f"the newest checkpoint is {age_s:.0f} s old"
    return as_json(
        {
            "status": "alive" if fault is None else "failed",
            "fault": fault,
            "size": head.size,
            "signed_at": rfc3339(head.signed_at),
            "age_s": int(age_s),
            "timestamped_at": None if token is None else rfc3339(token[1]),
        },
        200 if fault is None else 503,
    )


@bp.get("/log/tile/<path:path>")
@describe(
    "A hash tile or an entry bundle (C2SP tlog-tiles)",
    public=True,
    problems=(404,),
    answers={200: answer("the tile", BYTES, media="application/octet-stream")},
)
def tiles(path: str) -> Response:
    try:
        wanted = tile.parse_tile_path(f"tile/{path}")
    except MalformedInput as exc:
        raise NotFound(str(exc), code="tile_not_found") from exc
    if isinstance(wanted.level, int):
        data = office().ledger.hash_tile(wanted.level, wanted.n, wanted.width)
    else:
        entries = office().ledger.entries(wanted.n * tile.TILE_WIDTH, wanted.width)
        data = tile.encode_bundle(entries)
    response = Response(data, content_type="application/octet-stream")
    if wanted.level == tile.ENTRIES:
        response.headers["Vary"] = "Accept-Encoding"
        if request.accept_encodings.quality("gzip") > 0:
            response.set_data(gzip.compress(data, mtime=0))
            response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = IMMUTABLE
    return response


@bp.get("/log/genesis.json")
@describe(
    "What entry 0 commits to: policy and keys of the log",
    public=True,
    answers={200: answer("canonical JSON", {"type": "object"})},
)
def genesis() -> Response:
    return Response(office().house.genesis, content_type="application/json")


@bp.get("/log/rotations.json")
@describe(
    "Every change of the log's keys: its entry's index, its document, its hand-over checkpoint",
    public=True,
    answers={200: answer("the rotations, the first one first", {"type": "array"})},
)
def rotations() -> Response:
    data = encode_rotations(office().keyring.history().registered)
    response = Response(data, content_type="application/json")
    response.headers["Cache-Control"] = "no-cache"
    return response


@bp.get("/log/policy")
@describe(
    "The witnesses asked and their quorum (C2SP tlog-policy)",
    public=True,
    problems=(404,),
    answers={200: answer("policy lines", TEXT, media="text/plain")},
)
def policy() -> Response:
    path = office().settings.witness_policy
    if path is None:
        raise NotFound("no witnesses are asked", code="not_found")
    return Response(path.read_text("utf-8"), content_type=PLAIN)


@bp.get("/log/keys")
@describe(
    "The log's verifier keys, a vkey a line (C2SP signed-note); the active first, then retired",
    public=True,
    answers={200: answer("vkey lines", TEXT, media="text/plain")},
)
def keys() -> Response:
    lines = "".join(f"{key.encode()}\n" for key in office().trust.log_keys)
    return Response(lines, content_type=PLAIN)


@bp.get("/v1/trust.toml")
@describe(
    "The trust file for offline verification; get it by a second way too",
    public=True,
    answers={200: answer("TOML", TEXT, media="application/toml")},
)
def trust() -> Response:
    response = Response(office().trust.encode(), content_type="application/toml")
    response.headers.set("Content-Disposition", "attachment", filename="trust.toml")
    return response


@bp.get("/v1/log/proof/inclusion")
@describe(
    "An inclusion proof (RFC 9162 section 2.1.3)", public=True, problems=(400,),
    answers={200: answer("the proof", ref("Inclusion"))},
    parameters=[query("index", INDEX, "leaf index", required=True),
                query("size", INDEX, "tree size; the newest if left out")],
)  # fmt: skip
def inclusion() -> Response:
    size = None if "size" not in request.args else _number("size")
    head, at, path = office().ledger.prove_inclusion(_number("index"), size)
    return as_json(
        {
            "index": _number("index"),
            "size": at,
            "path": [present.b64(node) for node in path],
            "checkpoint": head.checkpoint.decode("utf-8"),
        }
    )


@bp.get("/v1/log/proof/consistency")
@describe(
    "A consistency proof (RFC 9162 section 2.1.4)", public=True, problems=(400,),
    answers={200: answer("the proof", ref("Consistency"))},
    parameters=[query("old", INDEX, "smaller size", required=True),
                query("new", INDEX, "larger size", required=True)],
)  # fmt: skip
def consistency() -> Response:
    old, new = _number("old"), _number("new")
    path = office().ledger.prove_consistency(old, new)
    return as_json({"old": old, "new": new, "path": [present.b64(node) for node in path]})


def _number(name: str) -> int:
    given = request.args.get(name, "")
    if not (given.isascii() and given.isdigit()) or len(given) > 16:
        raise MalformedInput(
            f"{name} must be a whole number, got {given!r:.30}", code="proof_range"
        )
    return int(given)
