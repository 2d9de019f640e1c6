"""/v1/issuers: the operator admits outside issuers' keys and retires them."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

from apiflask import APIBlueprint
from flask import Response, request

from notary import access
from notary.access import Act
from notary.admission import AdmittedKey, parse_kid, show_key
from notary.clock import parse_rfc3339
from notary.errors import MalformedInput
from notary.issuer_key import ALGORITHMS, parse_issuer_key
from notary.model import Principal
from notary.web import auth, uploads
from notary.web.api import as_json
from notary.web.auth import office
from notary.web.openapi import HEX64, answer, describe, json_body, ref
from notary.web.scrapi import policy_summary

bp = APIBlueprint("issuers", __name__, url_prefix="/v1", enable_openapi=False)

_MEMBERS = frozenset({"iss", "key", "kid", "from", "until"})


def _manager() -> Principal:
    by = auth.principal()
    access.check(by, Act.MANAGE_ISSUERS)
    return by


@bp.post("/issuers")
@describe(
    "Admit a key of an outside issuer: makes the next registration policy",
    answers={201: answer("admitted", ref("RegistrationPolicy"))},
    problems=(409,),
    body=json_body("NewIssuerKey"),
)
def post_issuer() -> Response:
    by = _manager()
    body = uploads.read_json(request)
    if not {"iss", "key"} <= body.keys() <= _MEMBERS or not all(
        isinstance(value, str) for value in body.values()
    ):
        raise MalformedInput(
            "an issuer's key has iss and key, and may have kid, from and until, all texts",
            code="json_malformed",
        )
    kept = office().admitting.admit(
        by.name,
        iss=body["iss"],
        key=parse_issuer_key(_key_bytes(body["key"])),
        kid=parse_kid(body["kid"]) if "kid" in body else None,
        start=_time(body, "from"),
        end=_time(body, "until"),
    )
    return as_json(policy_summary(kept), 201)


@bp.get("/issuers")
@describe(
    "The admitted keys of outside issuers, as the newest policy has them",
    answers={200: answer("the keys", {"type": "array", "items": ref("IssuerKey")})},
)
def list_issuers() -> Response:
    _manager()
    policy = office().issuers.newest()
    return as_json([_shown(each) for each in ([] if policy is None else policy.keys)])


@bp.delete("/issuers/<thumbprint>")
@describe(
    "Retire an issuer's key, named by its thumbprint (RFC 9679): makes the next policy",
    answers={200: answer("retired", ref("RegistrationPolicy"))},
    problems=(404,),
    path={"thumbprint": HEX64},
)
def delete_issuer(thumbprint: str) -> Response:
    by = _manager()
    return as_json(policy_summary(office().admitting.retire(by.name, parse_thumbprint(thumbprint))))


def parse_thumbprint(text: str) -> bytes:
    """Hex. Raises MalformedInput (`value_malformed`)."""
    try:
        return bytes.fromhex(text)
    except ValueError as exc:
        raise MalformedInput(
            f"a thumbprint is 64 hex digits, got {text!r:.80}", code="value_malformed"
        ) from exc


def _shown(key: AdmittedKey) -> dict[str, Any]:
    now = office().clock.now()
    return {
        **show_key(key),
        "thumbprint": key.key.thumbprint().hex(),
        "algorithm": ALGORITHMS[key.key.alg],
        "in_force": key.open_at(now),
    }


def _key_bytes(text: str) -> bytes:
    """PEM as it is, a COSE_Key in base64."""
    if text.lstrip().startswith("-----BEGIN"):
        return text.encode("utf-8", "replace")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MalformedInput(
            "key is neither PEM nor a COSE_Key in base64", code="issuer_key_malformed"
        ) from exc


def _time(body: dict[str, Any], name: str) -> datetime | None:
    if name not in body:
        return None
    try:
        return parse_rfc3339(body[name])
    except (ValueError, OverflowError) as exc:
        raise MalformedInput(
            f"{name} must be an RFC 3339 time with its zone, got {body[name]!r:.40}",
            code="value_malformed",
        ) from exc
