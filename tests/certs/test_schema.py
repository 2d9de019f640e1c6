"""docs/certificate.schema.json and the parser are one truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.certs import papers
from tests.certs.test_certificate import BEYOND_THE_SCHEMA, CHANGES, Change, members_of

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "certificate.schema.json").read_text("utf-8")
)
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)


def test_the_schema_is_a_schema() -> None:
    jsonschema_rs.meta.validate(SCHEMA)


@pytest.mark.parametrize(
    "certificate",
    [papers.certificate(), papers.nasty(), papers.withholding("case", "depositor")],
    ids=["ordinary", "nasty", "withholding"],
)
def test_the_schema_accepts_what_the_parser_accepts(certificate: Any) -> None:
    VALIDATOR.validate(members_of(certificate))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_schema_refuses_what_the_parser_refuses(change: Change) -> None:
    members = members_of(papers.certificate())
    change(members)
    with pytest.raises(jsonschema_rs.ValidationError):
        VALIDATOR.validate(members)


@pytest.mark.parametrize("change", BEYOND_THE_SCHEMA.values(), ids=BEYOND_THE_SCHEMA)
def test_the_schema_cannot_know_when(change: Change) -> None:
    members = members_of(papers.certificate())
    change(members)
    VALIDATOR.validate(members)


OPTIONAL = {"witness_policy", "withheld", "evidence_records", "revocation", "timestamp_quorum"}


def test_every_member_is_in_the_schema_and_required_but_those_that_may_be_left_out() -> None:
    def walk(schema: dict[str, Any]) -> None:
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False
            assert set(schema["properties"]) - set(schema["required"]) <= OPTIONAL
        for inner in schema.values():
            for item in inner if isinstance(inner, list) else [inner]:
                if isinstance(item, dict):
                    walk(item)

    walk(SCHEMA)
    assert set(members_of(papers.certificate())) == set(SCHEMA["properties"]) - OPTIONAL
