"""SCITT's side of the house (RFC 9942, RFC 9943): receipts, statements, keys, as CBOR."""

from __future__ import annotations

import base64
import binascii

from apiflask import APIBlueprint
from flask import Response

from notary.access import Act
from notary.errors import NotFound
from notary.receipt import (
    RECEIPT_TYPE,
    STATEMENT_TYPE,
    cose_key,
    key_set,
    sign_inclusion,
    transparent,
)
from notary.statement import key_thumbprint, parse_statement
from notary.tlog.note import ED25519
from notary.web import auth
from notary.web.auth import office
from notary.web.openapi import BYTES, TEXT, UUID, answer, describe
from notary.web.scrapi import PROBLEM

bp = APIBlueprint("scitt", __name__, enable_openapi=False)

ID = {"deposit_id": UUID}


def _statement(deposit_id: str) -> tuple[bytes, int]:
    """The deposit's entry and its index, for one who may see its certificate."""
    deposit = office().intake.known_deposit(auth.principal(), deposit_id, Act.ISSUE_CERTIFICATE)
    (statement,) = office().ledger.entries(deposit.index, 1)
    return statement, deposit.index


def receipt_for(statement: bytes, index: int) -> bytes:
    """A fresh receipt against the newest checkpoint."""
    head, size, path = office().ledger.prove_inclusion(index)
    return sign_inclusion(
        office().keys.log,
        issuer=office().house.origin,
        subject=parse_statement(statement).subject,
        size=size,
        index=index,
        path=path,
        root=head.root,
    )


@bp.get("/v1/deposits/<deposit_id>/receipt.cose")
@describe(
    "A COSE receipt of the entry (RFC 9942)",
    problems=(404,),
    path=ID,
    answers={200: answer("the receipt", BYTES, media=RECEIPT_TYPE)},
)
def receipt(deposit_id: str) -> Response:
    return _cbor(receipt_for(*_statement(deposit_id)), RECEIPT_TYPE)


@bp.get("/v1/deposits/<deposit_id>/statement.cose")
@describe(
    "The signed statement: the entry itself",
    problems=(404,),
    path=ID,
    answers={200: answer("the statement", BYTES, media=STATEMENT_TYPE)},
)
def statement(deposit_id: str) -> Response:
    return _cbor(_statement(deposit_id)[0], STATEMENT_TYPE)


@bp.get("/v1/deposits/<deposit_id>/transparent-statement.cose")
@describe(
    "The statement with its receipt in it (RFC 9943)",
    problems=(404,),
    path=ID,
    answers={200: answer("the statement", BYTES, media=STATEMENT_TYPE)},
)
def transparent_statement(deposit_id: str) -> Response:
    entry, index = _statement(deposit_id)
    return _cbor(transparent(entry, [receipt_for(entry, index)]), STATEMENT_TYPE)


@bp.get("/.well-known/scitt-keys")
@describe(
    "The keys of receipts and statements as a COSE key set",
    public=True,
    answers={
        200: answer("the keys", BYTES, media="application/cbor"),
        **dict.fromkeys((500, 503), PROBLEM),
    },
)
def keys() -> Response:
    return _cbor(key_set(_public_keys()), "application/cbor")


@bp.get("/.well-known/scitt-keys/<kid>")
@describe(
    "One key, by its thumbprint in base64url",
    public=True,
    answers={
        200: answer("the key", BYTES, media="application/cbor"),
        **dict.fromkeys((404, 500, 503), PROBLEM),
    },
    path={"kid": TEXT},
)
def key(kid: str) -> Response:
    try:
        wanted = base64.urlsafe_b64decode(kid + "=" * (-len(kid) % 4))
    except (binascii.Error, ValueError) as exc:
        raise NotFound("no such key", code="key_not_found") from exc
    for public_key in _public_keys():
        if key_thumbprint(public_key) == wanted:
            return _cbor(cose_key(public_key), "application/cbor")
    raise NotFound("no such key", code="key_not_found")


def _public_keys() -> tuple[bytes, ...]:
    """Those that hold first; those that are retired verify what they signed."""
    known = office().trust
    log = [key.public_key for key in known.log_keys if key.type == ED25519]
    return tuple(dict.fromkeys((*log, *known.statement_keys)))


def _cbor(data: bytes, media: str) -> Response:
    return Response(data, content_type=media)
