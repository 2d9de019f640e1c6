"""The certificate vectors: every folder has the verdict that it says, and match/ the values on the
way, computed here a second time from docs/format.md with nothing of ours."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import cbor2
import jsonschema_rs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from notary.cli.verify import judge
from notary.verdict import Status

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors" / "certificates"
MATCH = VECTORS / "match"
FORMAT = (ROOT / "docs" / "format.md").read_text("utf-8")


def cases() -> list[Path]:
    return sorted(path.parent for path in VECTORS.glob("*/expected.json"))


def found(path: Path) -> str | None:
    return str(path) if path.exists() else None


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_every_certificate_has_its_verdict(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text("utf-8"))
    report = judge(
        found(case / "content"), str(case / "certificate.json"), found(case / "trust.toml")
    )
    assert {
        "verdict": report.verdict.value,
        "code": report.code,
        "exit_status": report.exit_status,
        "trusted_keys": report.trusted_keys,
    } == expected
    assert (case / "README").read_text("utf-8").strip()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_folder_named_fail_is_not_confirmed_and_the_others_are(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text("utf-8"))
    assert case.name.endswith("_fail") == (expected["verdict"] != "confirmed")


def test_there_are_more_certificates_that_fail_than_hold() -> None:
    failing = [case for case in cases() if case.name.endswith("_fail")]
    assert len(failing) > len(cases()) - len(failing) > 3


def test_every_failing_check_of_a_not_genuine_certificate_is_the_last() -> None:
    for case in cases():
        report = judge(None, str(case / "certificate.json"), found(case / "trust.toml"))
        failed = [
            check
            for check in report.checks
            if check.status is Status.FAILED and check.code != "timestamp_revoked"
        ]
        assert failed in ([], [report.checks[-1]]), case.name


# --- a stranger's verifier -----------------------------------------------------------------------


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def jcs(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def certificate() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MATCH / "certificate.json").read_bytes())
    return loaded


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MATCH / "intermediate.json").read_text("utf-8"))
    return loaded


def test_the_signature_is_over_the_bytes_that_the_format_says(said: dict[str, Any]) -> None:
    given = certificate()
    assert jcs(given) == (MATCH / "certificate.json").read_bytes()
    signature = given.pop("signature")
    signed = b"evidence-certificate/v1\n" + jcs(given)
    assert hashlib.sha256(signed).hexdigest() == said["signed_bytes_sha256"]
    (key,) = [each for each in given["keys"]["certificate"] if each["kid"] == signature["kid"]]
    public = base64.b64decode(key["public_key"])
    thumbprint = hashlib.sha256(bytes.fromhex("a301012006215820") + public).digest()
    assert b64url(thumbprint) == key["kid"]
    assert thumbprint.hex() == said["certificate_kid"]
    Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature["value"]), signed)


def test_record_and_statement_are_bound_as_the_format_says(said: dict[str, Any]) -> None:
    given = certificate()
    record = json.loads(given["record"])
    digests = [b64url(hashlib.sha256(each.encode()).digest()) for each in given["disclosures"]]
    assert digests == said["disclosure_digests"]
    assert sorted(digests) == record["_sd"]
    sections = {each[1]: each[2] for each in map(json.loads, map(unb64url, given["disclosures"]))}
    assert sections["content"]["digests"]["sha-256"] == said["content_sha256"]
    tag = cbor2.loads(base64.b64decode(given["statement"]))
    protected, unprotected, payload, signature = tag.value
    assert (tag.tag, unprotected) == (18, {})
    assert payload == hashlib.sha256(given["record"].encode()).digest()
    assert payload.hex() == said["record_sha256"]
    assert protected.hex() == said["statement_protected"]
    signed = b"\x84\x6aSignature1\x58" + bytes([len(protected)]) + protected + b"\x40\x58\x20"
    signed += payload
    assert signed.hex() == said["statement_signed_bytes"]
    public = base64.b64decode(given["keys"]["statement"][0]["public_key"])
    Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)


def test_leaf_root_and_checkpoint_are_bound_as_the_format_says(said: dict[str, Any]) -> None:
    given = certificate()
    log = given["log"]
    node = hashlib.sha256(b"\0" + base64.b64decode(given["statement"])).digest()
    assert node.hex() == said["leaf_hash"]
    fn, sn, steps = log["index"], log["size"] - 1, []
    for encoded in log["inclusion_proof"]:
        sibling = base64.b64decode(encoded)
        if fn % 2 or fn == sn:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while fn and not fn % 2:
                fn, sn = fn // 2, sn // 2
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        fn, sn = fn // 2, sn // 2
        steps.append(node.hex())
    assert steps == said["nodes_upwards"]
    text, _, lines = log["checkpoint"].rpartition("\n\n")
    text += "\n"
    assert text == said["checkpoint_text"]
    assert text.split("\n")[:3] == [
        log["origin"],
        str(log["size"]),
        base64.b64encode(node).decode(),
    ]
    _signatures(given["keys"]["log"], text, lines, said)


def _signatures(vkeys: list[str], text: str, lines: str, said: dict[str, Any]) -> None:
    for vkey, line in zip(vkeys, lines.strip().split("\n"), strict=True):
        name, key_id, key = vkey.split("+", 2)
        kind, public = base64.b64decode(key)[:1], base64.b64decode(key)[1:]
        digest = hashlib.sha256(name.encode() + b"\n" + kind + public).hexdigest()
        assert digest[:8] == key_id
        dash, signer, blob64 = line.split(" ")
        blob = base64.b64decode(blob64)
        assert (dash, signer, blob[:4].hex()) == ("—", name, key_id)
        if kind == b"\x01":
            Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], text.encode())
        else:
            message = bytes.fromhex(said["ml_dsa_44_message"])
            assert message[:13] == b"subtree/v1\n\0" + bytes([len(name)])
            MLDSA44PublicKey.from_public_bytes(public).verify(blob[12:], message)


# --- what docs/format.md quotes ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "record_sha256",
        "leaf_hash",
        "root_hash",
        "checkpoint_text_sha256",
        "signed_bytes_sha256",
        "certificate_kid",
        "statement_kid",
        "statement_protected",
        "ml_dsa_44_message",
        "content_sha256",
    ],
)
def test_format_quotes_the_value(said: dict[str, Any], name: str) -> None:
    assert said[name] in re.sub(r"\s", "", FORMAT)


def test_format_quotes_the_certificate() -> None:
    given = certificate()
    page = re.sub(r"\s", "", FORMAT)
    for text in (given["record"], given["disclosures"][0], given["statement"]):
        assert re.sub(r"\s", "", text) in page
    for line in given["log"]["checkpoint"].split("\n")[:5]:
        assert re.sub(r"\s", "", line) in page
    for node in given["log"]["inclusion_proof"]:
        assert node in page


def test_the_certificate_fits_the_published_schema() -> None:
    schema = json.loads((ROOT / "docs" / "certificate.schema.json").read_text("utf-8"))
    validator = jsonschema_rs.Draft202012Validator(schema)
    for case in cases():
        code = json.loads((case / "expected.json").read_text("utf-8"))["code"]
        if code != "certificate_unreadable":
            loaded = json.loads((case / "certificate.json").read_bytes())
            assert validator.is_valid(loaded) == (code != "unsupported_version"), case.name
