"""What the OpenAPI document says beyond APIFlask: bodies, parameters and answers of each view.

`describe` hangs an OpenAPI operation on a view; `complete` merges them into the document that
APIFlask generates from the routes. Schemas are shared components.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import Flask

from notary import provenance
from notary.access import Act
from notary.audits import Kind, Scope
from notary.disposals import State
from notary.remains import Kind as Remaining
from notary.standing import Rule
from notary.web.problems import MEDIA_TYPE, TITLES

View = TypeVar("View", bound=Callable[..., Any])
_OPERATION = "__openapi__"

HEX64 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
UUID = {
    "type": "string",
    "format": "uuid",
    "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
}
TIME = {"type": "string", "format": "date-time"}
TEXT = {"type": "string"}
LABEL = {
    "type": "string",
    "minLength": 1,
    "maxLength": 500,
    "pattern": r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
}
SWITCH = {"type": "string", "enum": ["0", "1"]}
INDEX = {"type": "integer", "minimum": 0, "maximum": 9007199254740991}
BASE64 = {"type": "string", "contentEncoding": "base64"}
DIGESTS = {
    "type": "object",
    "properties": {
        "sha-256": HEX64,
        "sm3": HEX64,
        "sha-512": {"type": "string", "pattern": "^[0-9a-f]{128}$"},
    },
    "required": ["sha-256"],
    "additionalProperties": False,
}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def page_of(name: str) -> dict[str, Any]:
    """A page of things, with the cursor of the next one or null."""
    return _object({"items": {"type": "array", "items": ref(name)}, "next": nullable(TEXT)})


LINKS: dict[str, Any] = {
    "type": "object",
    "properties": dict.fromkeys(("previous", "derivative_of", "replaces", "redaction_of"), UUID),
    "additionalProperties": False,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "Problem": _object(
        {
            "type": {"type": "string", "format": "uri-reference"},
            "title": TEXT,
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": sorted(TITLES)},
            "detail": TEXT,
            "instance": TEXT,
        }
    ),
    "Provenance": provenance.SCHEMA,
    "Digests": DIGESTS,
    "InclusionProof": _object(
        {
            "index": INDEX,
            "size": INDEX,
            "path": {"type": "array", "items": BASE64},
            "checkpoint": {"type": "string", "description": "signed note, C2SP tlog-checkpoint"},
        }
    ),
    "Times": _object(
        {"received_at": TIME, "registered_at": TIME, "timestamped_at": nullable(TIME)}
    ),
    "Fixity": _object(
        {
            "state": {"type": "string", "enum": ["never", "whole", *Kind]},
            "checked_at": nullable(TIME),
            "whole_at": nullable(TIME),
            "audit": nullable(UUID),
        }
    ),
    "Audit": _object(
        {
            "id": UUID,
            "state": {"type": "string", "enum": ["running", "finished"]},
            "scope": {"type": "string", "enum": list(Scope)},
            "rate": nullable(INDEX),
            "started_by": TEXT,
            "started_at": TIME,
            "finished_at": nullable(TIME),
            "ledger_size": INDEX,
            "checkpoint": {"type": "string", "description": "signed note, C2SP tlog-checkpoint"},
            "ranges": INDEX,
            "ranges_done": INDEX,
            "deposits": INDEX,
            "originals": INDEX,
            "bytes": INDEX,
            "findings": INDEX,
        }
    ),
    "Remnant": _object(
        {
            "kind": {"type": "string", "enum": list(Remaining)},
            "name": TEXT,
            "deposit": nullable(UUID),
            "detail": TEXT,
            "since": TIME,
            "seen_at": TIME,
        }
    ),
    "Pass": _object(
        {
            "id": UUID,
            "started_by": TEXT,
            "started_at": TIME,
            "finished_at": nullable(TIME),
            "objects": INDEX,
            "deposits": INDEX,
            "mended": INDEX,
            "findings": INDEX,
        }
    ),
    "Finding": _object(
        {
            "leaf_index": INDEX,
            "deposit": nullable(UUID),
            "kind": {"type": "string", "enum": list(Kind)},
            "detail": TEXT,
            "found_at": TIME,
            "whole_at": nullable(TIME),
        }
    ),
    "Deposit": _object(
        {
            "id": UUID,
            "leaf_index": INDEX,
            "name": nullable(TEXT),
            "size": nullable(INDEX),
            "digests": nullable(ref("Digests")),
            "disposed_at": nullable(TIME),
            "media_type": _object({"declared": nullable(TEXT), "detected": nullable(TEXT)}),
            "stored": {"type": "boolean"},
            "case": nullable(UUID),
            "exhibit": nullable(TEXT),
            "client_reference": nullable(TEXT),
            "record": {"type": "string", "description": "canonical JSON, exactly as hashed"},
            "disclosures": {"type": "array", "items": TEXT},
            "sections": {"type": "object", "description": "the disclosures, decoded"},
            "statement": {**BASE64, "description": "COSE_Sign1: the ledger's entry"},
            "inclusion_proof": ref("InclusionProof"),
            "times": ref("Times"),
            "fixity": nullable(ref("Fixity")),
            "links": {"type": "object", "additionalProperties": TEXT},
        }
    ),
    "DepositSummary": _object(
        {
            "id": UUID,
            "leaf_index": INDEX,
            "name": nullable(TEXT),
            "size": nullable(INDEX),
            "sha256": nullable(HEX64),
            "disposed_at": nullable(TIME),
            "case": nullable(UUID),
            "exhibit": nullable(TEXT),
            "client_reference": nullable(TEXT),
            "registered_at": TIME,
        }
    ),
    "DigestDeposit": _object(
        {
            "size": INDEX,
            "digests": ref("Digests"),
            "name": {"type": "string", "minLength": 1, "maxLength": 1024},
            "media_type": {"type": "string", "maxLength": 200},
            "case": LABEL,
            "court": LABEL,
            "exhibit": LABEL,
            "client_reference": LABEL,
            "provenance": ref("Provenance"),
            "links": LINKS,
            "timestamp": {"type": "string", "enum": ["document"]},
        },
        optional=(
            "name",
            "media_type",
            "case",
            "court",
            "exhibit",
            "client_reference",
            "provenance",
            "links",
            "timestamp",
        ),
    ),
    "DepositForm": {
        "type": "object",
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "case": LABEL,
            "court": LABEL,
            "exhibit": LABEL,
            "client_reference": LABEL,
            "provenance": {"type": "string", "contentMediaType": "application/json"},
            "timestamp": {"type": "string", "enum": ["document"]},
            "allow_empty": SWITCH,
            **LINKS["properties"],
        },
        "required": ["file"],
        "additionalProperties": False,
    },
    "Case": _object({"id": UUID, "court": TEXT, "number": TEXT, "title": TEXT, "opened_at": TIME}),
    "NewCase": _object({"court": LABEL, "number": LABEL, "title": LABEL}),
    "NewParty": _object({"account": LABEL}),
    "Reason": _object({"reason": LABEL}),
    "Reissued": _object({"deposit_id": UUID, "certificate_id": UUID, "version": INDEX}),
    "CertificateWithdrawal": _object(
        {
            "certificates": {"type": "array", "items": UUID},
            "reason": TEXT,
            "event": ref("CustodyEvent"),
        }
    ),
    "NewRetention": _object({"until": TIME, "basis": LABEL}),
    "NewDisposal": _object({"reason": LABEL, "basis": LABEL}),
    "Retention": _object(
        {
            "rule": {"type": "string", "enum": list(Rule)},
            "until": TIME,
            "basis": TEXT,
            "set_by": nullable(TEXT),
            "set_at": nullable(TIME),
        }
    ),
    "Hold": _object(
        {
            "id": UUID,
            "rule": {"type": "string", "enum": list(Rule)},
            "deposit": nullable(UUID),
            "case": nullable(UUID),
            "reason": TEXT,
            "placed_by": TEXT,
            "placed_at": TIME,
        }
    ),
    "Standing": _object(
        {
            "retained_until": nullable(TIME),
            "retentions": {"type": "array", "items": ref("Retention")},
            "holds": {"type": "array", "items": ref("Hold")},
            "disposal": nullable(ref("Disposal")),
        }
    ),
    "Disposal": _object(
        {
            "id": UUID,
            "deposit": UUID,
            "state": {"type": "string", "enum": list(State)},
            "reason": TEXT,
            "basis": TEXT,
            "requested_by": TEXT,
            "requested_at": TIME,
            "approved_by": nullable(TEXT),
            "approved_at": nullable(TIME),
            "withdrawn_by": nullable(TEXT),
            "withdrawn_at": nullable(TIME),
            "erased_at": nullable(TIME),
            "waits_until": nullable(TIME),
            "discarded_at": nullable(TIME),
            "links": {"type": "object", "additionalProperties": TEXT},
        }
    ),
    "CustodyEvent": _object(
        {
            "id": UUID,
            "leaf_index": INDEX,
            "kind": TEXT,
            "actor": TEXT,
            "deposit": nullable(UUID),
            "case": nullable(UUID),
            "subject": nullable(TEXT),
            "at": TIME,
            "record": TEXT,
            "disclosures": {"type": "array", "items": TEXT},
        }
    ),
    "Words": _object({"en": TEXT, "zh": TEXT}),
    "ProfileFact": _object(
        {
            "id": TEXT,
            "part": TEXT,
            "by": {"type": "string", "enum": ["system", "party", "expert"]},
            "kind": {"type": "string", "enum": ["value", "text", "choice", "affirm", "sign"]},
            "label": ref("Words"),
            "text": nullable(ref("Words")),
            "source": TEXT,
            "refused_without": {"type": "boolean"},
            "choices": {
                "type": "array",
                "items": _object({"id": TEXT, "label": ref("Words")}),
            },
        }
    ),
    "Profile": _object(
        {
            "id": TEXT,
            "version": {"type": "integer", "minimum": 1},
            "draft": {"const": True},
            "title": ref("Words"),
            "jurisdiction": ref("Words"),
            "purpose": ref("Words"),
            "sources": {
                "type": "array",
                "items": _object(
                    {"id": TEXT, "rule": ref("Words"), "requires": ref("Words"), "read": TEXT}
                ),
            },
            "facts": {"type": "array", "items": ref("ProfileFact")},
            "proves": {"type": "array", "items": ref("Words")},
            "proves_not": {"type": "array", "items": ref("Words")},
        }
    ),
    "Profiles": _object({"items": {"type": "array", "items": ref("Profile")}}),
    "StatedFacts": _object(
        {
            "facts": {
                "type": "object",
                "description": "by the fact's id in the profile",
                "additionalProperties": _object(
                    {
                        "value": {"type": "string", "minLength": 1, "maxLength": 2000},
                        "stated_by": {"type": "string", "minLength": 1, "maxLength": 300},
                        "capacity": nullable({"type": "string", "minLength": 1, "maxLength": 300}),
                    },
                    optional=("capacity",),
                ),
            }
        }
    ),
    "Limits": _object(
        {
            "file_bytes": INDEX,
            "account_bytes": nullable(INDEX),
            "account_bytes_used": nullable(INDEX),
            "batch_rows": INDEX,
            "batch_row_bytes": INDEX,
            "form_field_bytes": INDEX,
            "provenance_bytes": INDEX,
            "name_bytes": INDEX,
            "verify_per_minute": INDEX,
            "digests": {"type": "array", "items": TEXT},
        }
    ),
    "Account": _object(
        {
            "id": UUID,
            "name": TEXT,
            "role": TEXT,
            "disabled": {"type": "boolean"},
            "created_at": TIME,
        }
    ),
    "NewAccount": _object(
        {
            "name": {**LABEL, "maxLength": 200},
            "role": {
                "type": "string",
                "enum": ["administrator", "clerk", "auditor", "party", "api-client"],
            },
        }
    ),
    "SignInLink": _object({"sign_in_link": TEXT}),
    "AccountWithLink": _object({"account": ref("Account"), "sign_in_link": TEXT}),
    "AccountChange": {
        **_object(
            {
                "role": {
                    "type": "string",
                    "enum": ["administrator", "clerk", "auditor", "party", "api-client"],
                },
                "disabled": {"type": "boolean", "enum": [True]},
            },
            optional=("role", "disabled"),
        ),
        "minProperties": 1,
    },
    "ApiKey": _object(
        {
            "id": TEXT,
            "account": UUID,
            "label": TEXT,
            "scopes": nullable({"type": "array", "items": TEXT}),
            "created_at": TIME,
            "expires_at": TIME,
            "revoked": {"type": "boolean"},
        }
    ),
    "NewApiKey": _object(
        {
            "label": {**LABEL, "maxLength": 200},
            "scopes": {
                "type": "array",
                "items": {"type": "string", "enum": sorted(Act)},
                "minItems": 1,
                "description": "acts that the account's role may do; all of them if left out",
            },
            "days": {"type": "integer", "minimum": 1, "maximum": 3650},
        },
        optional=("scopes", "days"),
    ),
    "ApiKeyWithSecret": _object({"key": ref("ApiKey"), "secret": TEXT}),
    "Inclusion": ref("InclusionProof"),
    "Consistency": _object(
        {"old": INDEX, "new": INDEX, "path": {"type": "array", "items": BASE64}}
    ),
    "Check": _object(
        {
            "name": TEXT,
            "status": {"type": "string", "enum": ["passed", "failed", "not_made"]},
            "code": nullable(TEXT),
            "sentence": TEXT,
            "detail": TEXT,
        }
    ),
    "Report": _object(
        {
            "verdict": {
                "type": "string",
                "enum": ["confirmed", "not_this_file", "not_genuine", "undecided", "superseded"],
            },
            "code": TEXT,
            "exit_status": {"type": "integer"},
            "headline": TEXT,
            "explanation": TEXT,
            "trusted_keys": {"type": "boolean"},
            "trust_note": TEXT,
            "checks": {"type": "array", "items": ref("Check")},
            "facts": nullable({"type": "object"}),
            "document": nullable(_object({"digests": ref("Digests"), "size": INDEX})),
        }
    ),
    "VerifyRequest": {
        "type": "object",
        "properties": {
            "certificate": {"type": "string", "description": "text of certificate.json"},
            "digests": ref("Digests"),
            "size": INDEX,
        },
        "required": ["certificate"],
        "dependentRequired": {"digests": ["size"], "size": ["digests"]},
        "additionalProperties": False,
    },
    "VerifyForm": {
        "type": "object",
        "properties": {
            "certificate": {"type": "string", "format": "binary", "minLength": 1},
            "file": {"type": "string", "format": "binary"},
        },
        "required": ["certificate"],
        "additionalProperties": False,
    },
    "RegistrationPolicy": _object(
        {
            "serial": {**INDEX, "minimum": 1},
            "leaf_index": INDEX,
            "sha256": HEX64,
            "created_at": TIME,
            "document": {"type": "string", "format": "uri-reference"},
        }
    ),
    "NewIssuerKey": _object(
        {
            "iss": {"type": "string", "format": "uri", "maxLength": 1000},
            "key": {"type": "string", "description": "PEM, or a COSE_Key in base64"},
            "kid": {"type": "string", "description": "base64url; the thumbprint if left out"},
            "from": TIME,
            "until": TIME,
        },
        optional=("kid", "from", "until"),
    ),
    "IssuerKey": _object(
        {
            "iss": TEXT,
            "kid": TEXT,
            "alg": {"type": "integer"},
            "key": {"type": "string", "description": "the COSE_Key in base64url"},
            "from": TIME,
            "until": nullable(TIME),
            "thumbprint": HEX64,
            "algorithm": TEXT,
            "in_force": {"type": "boolean"},
        }
    ),
    "LogHealth": _object(
        {
            "status": TEXT,
            "fault": nullable(TEXT),
            "size": INDEX,
            "signed_at": TIME,
            "age_s": {"type": "integer"},
            "timestamped_at": nullable(TIME),
        }
    ),
    "Health": _object({"status": TEXT}),
    "Readiness": _object(
        {"status": TEXT, "checks": {"type": "object", "additionalProperties": TEXT}}
    ),
}
SCHEMAS["Inclusion"] = SCHEMAS["InclusionProof"]


def query(
    name: str, schema: dict[str, Any], text: str, *, required: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "schema": schema,
        "description": text,
        "required": required,
    }


def header(name: str, text: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "schema": schema or TEXT,
        "description": text,
        "required": False,
    }


IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    "makes retrying safe",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
)
DIGEST_FIELD = {
    "type": "string",
    "pattern": "^[a-z0-9*][a-z0-9_.*-]*=:[A-Za-z0-9+/]*={0,2}:"
    "(, *[a-z0-9*][a-z0-9_.*-]*=:[A-Za-z0-9+/]*={0,2}:)*$",
}
PAGE = [
    query("after", TEXT, "cursor: `next` of the page before"),
    query("limit", {"type": "integer", "minimum": 1, "maximum": 200}, "items, default 50"),
]


def json_body(schema: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": ref(schema)}}}


def answer(
    text: str,
    schema: dict[str, Any] | None = None,
    *,
    media: str = "application/json",
    headers: tuple[str, ...] = (),
) -> dict[str, Any]:
    given: dict[str, Any] = {"description": text}
    if schema is not None:
        given["content"] = {media: {"schema": schema}}
    if headers:
        given["headers"] = {name: {"schema": TEXT} for name in headers}
    return given


BYTES = {"type": "string", "format": "binary"}


def describe(
    summary: str,
    *,
    answers: Mapping[int, dict[str, Any]],
    problems: tuple[int, ...] = (),
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
    public: bool = False,
    path: Mapping[str, dict[str, Any]] | None = None,
) -> Callable[[View], View]:
    """Hangs the operation on a view. 401 and 403 come by themselves unless it is `public`;
    `path` gives the schemas of path parameters."""
    if not public:
        problems = (*problems, 401, 403)
    responses = {str(status): dict(given) for status, given in answers.items()}
    for status in sorted({*problems, 400, 429, 500, 503} if not public else {*problems, 500, 503}):
        responses.setdefault(
            str(status),
            {"description": "Problem", "content": {MEDIA_TYPE: {"schema": ref("Problem")}}},
        )
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = body
    operation["security"] = [] if public else [{"key": []}, {"session": []}]

    def hang(view: View) -> View:
        setattr(view, _OPERATION, (operation, path or {}))
        return view

    return hang


def complete(spec: dict[str, Any], app: Flask) -> dict[str, Any]:
    """The document, each described view's operation in it. Views without one are pages."""
    paths: dict[str, Any] = {}
    for rule in app.url_map.iter_rules():
        hung = getattr(app.view_functions[rule.endpoint], _OPERATION, None)
        if hung is None:
            continue
        operation, path_schemas = hung
        template = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        inside = [
            {"name": name, "in": "path", "required": True, "schema": path_schemas.get(name, TEXT)}
            for name in re.findall(r"\{([^}]+)\}", template)
        ]
        for method in sorted((rule.methods or set()) & {"GET", "POST", "PATCH", "DELETE", "PUT"}):
            given = dict(operation)
            given["parameters"] = inside + operation.get("parameters", [])
            given["operationId"] = f"{method.lower()}_{rule.endpoint.replace('.', '_')}"
            given["tags"] = [rule.endpoint.split(".")[0]]
            paths.setdefault(template, {})[method.lower()] = given
    spec["paths"] = dict(sorted(paths.items()))
    spec["components"] = {
        "schemas": SCHEMAS,
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer", "bearerFormat": "nk_<id>_<secret>"},
            "session": {"type": "apiKey", "in": "cookie", "name": "evidence_session"},
        },
    }
    spec.pop("tags", None)
    return spec
