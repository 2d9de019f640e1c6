"""Every parser of foreign input: whatever it is given, a value or its one documented error.

A new `parse_…` function in notary/ or certs/ must be entered in PARSERS, with its error and valid
samples; the mutations start from these.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import pkgutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import certs
import notary
from certs.canonical import parse_canonical, parse_json
from certs.certificate import Issuer, parse_certificate
from certs.container import read_container
from certs.destruction import (
    Act,
    Destroyed,
    DestructionDraft,
    parse_destruction,
    sign_destruction,
)
from certs.entry import Entry
from certs.errors import CertificateMalformed, ProfileMalformed, UnsupportedFormat
from certs.profile import parse_profile
from certs.status import StatusDraft, parse_status, sign_status
from certs.verification import VerificationDraft, make_verification, parse_verification
from notary import declaration
from notary.admission import AdmittedKey, admitted, parse_kid, parse_policy_document
from notary.backup_format import Manifest, Part, encode_frame, parse_frames, parse_manifest
from notary.certpath import read_certificate
from notary.clock import parse_rfc3339
from notary.digest import parse_digest_field, parse_digests
from notary.errors import BadRotation, BadTimestamp, Corrupt, MalformedInput, Rejected
from notary.ers import ArchiveTimestamp, EvidenceRecord, parse_evidence_record
from notary.issuer_key import parse_issuer_key
from notary.journal_segment import Block, SegmentHead, encode_segment, parse_segment
from notary.keyhistory import encode_rotations, parse_rotations
from notary.keyplace import parse_key_place
from notary.private_ca import issue
from notary.provenance import parse_provenance
from notary.receipt import parse_receipt, sign_inclusion
from notary.record import EVIDENCE, build_record, parse_disclosure, parse_record
from notary.rotation import parse_genesis_keys, parse_rotation
from notary.schema import parse_revision
from notary.sealing import parse_chain
from notary.signed_statement import parse_signed_statement
from notary.statement import EVIDENCE_TYPE, StatementSigner, parse_statement
from notary.tlog.checkpoint import (
    Checkpoint,
    decode_base64,
    parse_checkpoint_text,
    parse_decimal,
)
from notary.tlog.cosignature import MLDSA44Signer
from notary.tlog.note import (
    Ed25519Signer,
    parse_note,
    parse_signature_line,
    parse_vkey,
    sign_note,
)
from notary.tlog.policy import parse_policy
from notary.tlog.proof import TlogProof, parse_proof
from notary.tlog.tile import encode_bundle, parse_bundle, parse_tile_path
from notary.trust import parse_trust
from notary.tsp import parse_response, parse_token
from notary.web.issuers import parse_thumbprint
from notary.web.people import parse_role
from notary.web.standing import parse_until
from tests.harness.issuer import OutsideIssuer
from tests.harness.judging import ROOT, draft
from tests.harness.rotating import Chain

CERTIFICATE = Path(__file__).parents[1] / "vectors" / "certificates" / "match"

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = Ed25519Signer("log.example/court", KEY)
ML_DSA = MLDSA44Signer("log.example/court", MLDSA44PrivateKey.from_seed_bytes(bytes(32)), lambda: 7)
TEXT = Checkpoint(origin="log.example/court", size=300, root=bytes(32)).text()
NOTE = sign_note(TEXT, (LOG, ML_DSA))
RECORD = build_record(
    type_=EVIDENCE,
    id_="0190b5a0-0000-7000-8000-000000000001",
    received_at=datetime(2026, 11, 24, tzinfo=UTC),
    sections={"content": {"size": 3, "name": "ü.pdf"}, "case": {"court": "Berlin"}},
    salts=bytes(64),
)
STATEMENT = StatementSigner("log.example/court", KEY).sign(
    bytes(32), preimage_type=EVIDENCE_TYPE, randomness=bytes(16)
)
RECEIPT = sign_inclusion(
    KEY, issuer="x", subject="y", size=3, index=1, path=(bytes(32), bytes(32)), root=bytes(32)
)
VKEY = LOG.verifier.encode()
ISSUERS = tuple(OutsideIssuer.new("https://vendor.example", alg) for alg in ("ES256", "EdDSA"))
ADMITTED = admitted(
    None,
    AdmittedKey(
        iss="https://vendor.example",
        kid=b"key-1",
        key=parse_issuer_key(ISSUERS[0].pem),
        start=datetime(2026, 11, 24, tzinfo=UTC),
        end=None,
    ),
    origin="log.example/court",
    at=datetime(2026, 11, 24, tzinfo=UTC),
)
SEGMENT = encode_segment(
    origin="log.example/court",
    number=0,
    previous=bytes(32),
    first=0,
    end=1,
    head=SegmentHead(size=1, root=bytes(32), checkpoint=NOTE.encode(), signed_at="2026-11-24"),
    at="2026-11-24T14:03:05.123456Z",
    blocks=[Block(table="entry", columns=("idx", "statement"), rows=((0, b"x"),))],
    sign=KEY.sign,
)
BACKED_UP = Manifest(
    origin="log.example/court", made_at="2026-11-24", revision="0001", size=1, root="00" * 32,
    checkpoint="note", signed_at="2026-11-24", segments=0, digest="00" * 32, journalled_at="",
    notes=0, objects="file:///objects", originals=1, original_bytes=7,
    parts=(Part(path="rows/entry", size=9, sha256="00" * 32, rows=1),),
)  # fmt: skip
AT = datetime(2026, 11, 24, tzinfo=UTC)
DESTRUCTION = sign_destruction(
    DestructionDraft(
        disposal_id="0190b5a0-0000-7000-8000-000000000002",
        deposit_id="0190b5a0-0000-7000-8000-000000000001", deposit_index=1,
        issuer=Issuer(name="Court", origin="log.example/court", software="notary"),
        reason="over", basis="§ 5", requested=Act(by="one", at=AT), approved=Act(by="two", at=AT),
        destroyed=Destroyed(details_at=AT, key_at=None, object="waiting", object_at=AT),
        entry=Entry(
            record=RECORD.text, disclosures=RECORD.disclosures, statement=STATEMENT, index=2,
            size=3, inclusion_proof=(bytes(32),), checkpoint=NOTE.encode().decode(),
        ),
        issued_at=AT,
    ),
    KEY,
)  # fmt: skip
STATUS = StatusDraft(
    certificate_id="0190b5a0-0000-7000-8000-000000000002",
    registration="0190b5a0-0000-7000-8000-000000000001", origin="log.example/court", version=1,
    status="withdrawn", newest=1, since=datetime(2026, 11, 24, tzinfo=UTC), reason="by order",
    disposed=False, stated_at=datetime(2026, 11, 25, tzinfo=UTC),
    entry=Entry(
        record=RECORD.text, disclosures=RECORD.disclosures, statement=STATEMENT, index=1, size=3,
        inclusion_proof=(bytes(32),), checkpoint=NOTE.encode().decode(),
    ),
)  # fmt: skip
VERIFICATION = VerificationDraft(
    made_at=datetime(2026, 11, 24, tzinfo=UTC), software="verifier 1", trust_sha256=None, total=1,
    verdicts={"confirmed": 1}, codes={"match": 1}, table="results.csv", table_sha256="00" * 32,
)  # fmt: skip
P256 = ec.generate_private_key(ec.SECP256R1())
CHAIN = Chain()
CHAIN.rotate(5)
POLICY = f"log {VKEY}\n# one\nwitness w {ML_DSA.verifier.encode()}\ngroup g 1 w\nquorum g\n"
PROVENANCE = {"source": "a scanner", "captured_at": "2026-11-24T14:03:00Z", "steps": ["a", "b"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """`samples` are valid, and of the type that the parser takes: bytes, text, or a JSON value."""

    parse: Callable[[Any], object]
    error: type[Exception] | tuple[type[Exception], ...]
    samples: tuple[object, ...]


def malformed(parse: Callable[[Any], object], *samples: object) -> Parser:
    return Parser(parse=parse, error=MalformedInput, samples=samples)


def _file(name: str) -> bytes:
    return (CERTIFICATE / name).read_bytes()


PARSERS: dict[str, Parser] = {
    "certs.destruction.parse_destruction": Parser(
        parse=parse_destruction,
        error=(CertificateMalformed, UnsupportedFormat),
        samples=(DESTRUCTION.encode(),),
    ),
    "notary.web.standing.parse_until": malformed(parse_until, "2036-11-24T00:00:00Z"),
    "certs.canonical.parse_canonical": Parser(
        parse=parse_canonical, error=CertificateMalformed, samples=(b'{"a":[1,"\xc3\xbc"]}',)
    ),
    "certs.canonical.parse_json": Parser(
        parse=parse_json, error=CertificateMalformed, samples=(b' {"b": [1, null]}', '{"a":"ü"}')
    ),
    "certs.certificate.parse_certificate": Parser(
        parse=parse_certificate,
        error=(CertificateMalformed, UnsupportedFormat),
        samples=(_file("certificate.json"),),
    ),
    "certs.profile.parse_profile": Parser(
        parse=parse_profile,
        error=ProfileMalformed,
        samples=tuple(
            Path(certs.__file__).with_name("profiles").joinpath(f"{name}.toml").read_bytes()
            for name in ("uk-cea-9", "eu-ts-41")
        ),
    ),
    "certs.status.parse_status": Parser(
        parse=parse_status,
        error=(CertificateMalformed, UnsupportedFormat),
        samples=(sign_status(STATUS, KEY).encode(),),
    ),
    "certs.verification.parse_verification": Parser(
        parse=parse_verification,
        error=CertificateMalformed,
        samples=(
            make_verification(VERIFICATION, KEY).encode(),
            make_verification(VERIFICATION, None).encode(),
        ),
    ),
    "notary.admission.parse_kid": malformed(parse_kid, "a2V5LTE"),
    "notary.admission.parse_policy_document": malformed(parse_policy_document, ADMITTED.encode()),
    "notary.backup_format.parse_manifest": malformed(parse_manifest, BACKED_UP.encode()),
    "notary.backup_format.parse_frames": malformed(
        lambda data: list(parse_frames([data])), encode_frame(["idx"], [[1], [2]])
    ),
    "notary.clock.parse_rfc3339": Parser(
        parse=parse_rfc3339, error=ValueError, samples=("2026-11-24T14:03:05.123456Z",)
    ),
    "notary.declaration.parse_label": malformed(
        partial(declaration.parse_label, what="case"), "2026/1"
    ),
    "notary.declaration.parse_link": malformed(
        declaration.parse_link, "0190b5a0-0000-7000-8000-000000000001"
    ),
    "notary.declaration.parse_media_type": malformed(
        declaration.parse_media_type, "text/plain; charset=utf-8", None
    ),
    "notary.declaration.parse_object": malformed(
        declaration.parse_object, b'{"name": "\\u00fc", "size": 1.5}'
    ),
    "notary.declaration.parse_size": malformed(declaration.parse_size, 0, (1 << 53) - 1),
    "notary.declaration.parse_switch": malformed(
        partial(declaration.parse_switch, what="atomic"), "1", "0"
    ),
    "notary.declaration.parse_timestamp": malformed(declaration.parse_timestamp, "document", None),
    "notary.digest.parse_digest_field": malformed(
        parse_digest_field, f"sha-256=:{'A' * 43}=:, sha-512=:{'A' * 86}==:, md5=:AAAA:"
    ),
    "notary.digest.parse_digests": malformed(parse_digests, {"sha-256": "0" * 64, "sm3": "f" * 64}),
    "notary.ers.parse_evidence_record": malformed(
        parse_evidence_record,
        EvidenceRecord(
            algorithms=("sha256",),
            chains=((ArchiveTimestamp(token=draft().token(), reduced=((bytes(32),),)),),),
        ).encode(),
    ),
    "notary.issuer_key.parse_issuer_key": malformed(
        parse_issuer_key, *(each.pem for each in ISSUERS), ADMITTED.keys[0].key.cose_key
    ),
    "notary.journal_segment.parse_segment": malformed(parse_segment, SEGMENT),
    "notary.keyhistory.parse_rotations": Parser(
        parse=parse_rotations, error=BadRotation, samples=(encode_rotations(CHAIN.registered),)
    ),
    "notary.keyplace.parse_key_place": malformed(
        parse_key_place, "file:", "pkcs11:token=a;serial=%E4%B8%80?module-path=/m&pin-source=env:A"
    ),
    "notary.provenance.parse_provenance": malformed(
        parse_provenance, json.dumps(PROVENANCE), json.dumps(PROVENANCE).encode()
    ),
    "notary.receipt.parse_receipt": malformed(parse_receipt, RECEIPT),
    "notary.record.parse_disclosure": malformed(parse_disclosure, *RECORD.disclosures),
    "notary.record.parse_record": malformed(parse_record, RECORD.text),
    "notary.rotation.parse_genesis_keys": Parser(
        parse=parse_genesis_keys, error=BadRotation, samples=(CHAIN.genesis,)
    ),
    "notary.rotation.parse_rotation": Parser(
        parse=parse_rotation, error=BadRotation, samples=(CHAIN.registered[0].document,)
    ),
    "notary.schema.parse_revision": malformed(parse_revision, "0003_from_0002"),
    "notary.sealing.parse_chain": Parser(
        parse=partial(parse_chain, name="seal.crt"),
        error=Corrupt,
        samples=(issue("Court", "seal", P256.public_key(), AT, commits=True).encode(),),
    ),
    "notary.signed_statement.parse_signed_statement": Parser(
        parse=parse_signed_statement,
        error=Rejected,
        samples=tuple(each.statement(b"it is so") for each in ISSUERS),
    ),
    "notary.statement.parse_statement": malformed(parse_statement, STATEMENT),
    "notary.tlog.checkpoint.parse_checkpoint_text": malformed(parse_checkpoint_text, TEXT),
    "notary.tlog.checkpoint.parse_decimal": malformed(parse_decimal, "0", str(2**63 - 1)),
    "notary.tlog.note.parse_note": malformed(parse_note, NOTE.encode()),
    "notary.tlog.note.parse_signature_line": malformed(
        parse_signature_line, NOTE.signatures[0].encode().removesuffix("\n")
    ),
    "notary.tlog.note.parse_vkey": malformed(parse_vkey, VKEY, ML_DSA.verifier.encode()),
    "notary.tlog.policy.parse_policy": malformed(parse_policy, POLICY, "quorum none\n"),
    "notary.tlog.proof.parse_proof": malformed(
        parse_proof,
        TlogProof(index=7, path=(bytes(32),) * 3, checkpoint=NOTE.encode(), extra=b"x").encode(),
    ),
    "notary.tlog.tile.parse_bundle": malformed(parse_bundle, encode_bundle([b"", b"a", b"bc"])),
    "notary.tlog.tile.parse_tile_path": malformed(
        parse_tile_path, "tile/0/x001/x234/067.p/112", "tile/entries/000"
    ),
    "notary.trust.parse_trust": malformed(parse_trust, _file("trust.toml").decode()),
    "notary.tsp.parse_response": Parser(
        parse=parse_response,
        error=(MalformedInput, BadTimestamp),
        samples=(draft().response(), _file("checkpoint.tsr")),
    ),
    "notary.tsp.parse_token": malformed(parse_token, draft().token()),
    "notary.web.issuers.parse_thumbprint": malformed(parse_thumbprint, "0a" * 32),
    "notary.web.people.parse_role": malformed(parse_role, "clerk"),
}  # fmt: skip


def _zip(name: str, data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(name, data)
    return packed.getvalue()


# Readers of foreign bytes that are named otherwise.
PARSERS_TOO: dict[str, Parser] = {
    "certs.container.read_container": Parser(
        parse=partial(read_container, filename="handed in"),
        error=CertificateMalformed,
        samples=(_file("certificate.json"), _zip("certificate.json", _file("certificate.json"))),
    ),
    "notary.certpath.read_certificate": malformed(read_certificate, ROOT.der),
    "notary.tlog.checkpoint.decode_base64": malformed(decode_base64, "AAEC/w=="),
}
ALL = {**PARSERS, **PARSERS_TOO}

HOSTILE_TEXT: tuple[str, ...] = (
    *("", "\n", "\0", "\ud800", "\ufeff{}", "9" * 5000, "-" * 5000, "é" * 999, "NaN", "1e999"),
    *("[" * 100_000, '{"a":' * 100_000, "a = " + "[" * 100_000, "a." * 1_000 + "b = 1"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z"),
    *("a=1\n" * 3, "x = 99999-99-99", "=" * 500, "+" * 500, "— a AAAA\n" * 200),
)
HOSTILE_BYTES: tuple[bytes, ...] = (
    *(text.encode("utf-8", "surrogatepass") for text in HOSTILE_TEXT),
    *(b"\xff" * 999, b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03" * 50_000),
    *(b"\x81" * 100_000, b"\xd2\x84" * 50_000, b"\x9b" + b"\xff" * 8, b"\x5b" + b"\x7f" * 8),
    *(b"\xd8\x1e\x82\x01\x00", b"\xd8\x1c\x81\xd8\x1d\x00", b"\xd8\x23\x61(", b"\xc1\xf9\x7e\x00"),
    *(b"\xd2\x84\x41\xa0\xa0\xf6\x40", b"PK\x03\x04" + bytes(99), b"%PDF-1.7\n%%EOF", b"{}"),
)
HOSTILE_VALUES: tuple[object, ...] = (
    *(None, True, False, -1, 1 << 53, 1 << 5000, 0.5, float("nan"), float("inf")),
    *([], {}, [[]], {"": None}, {"sha-256": None}, {"sha-256": "\ud800" * 64}, "\ud800"),
)


def names_of_parsers() -> Iterator[str]:
    for package in (notary, certs):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                own = inspect.isfunction(value) and value.__module__ == found.name
                if own and name.startswith("parse_"):
                    yield f"{found.name}.{name}"


def test_every_parser_is_tried_here() -> None:
    assert sorted(names_of_parsers()) == sorted(PARSERS)


def tried(parser: Parser, given_: object) -> None:
    try:
        parser.parse(given_)
    except parser.error as exc:
        assert str(exc)


EVERY = pytest.mark.parametrize("name", sorted(ALL))


@EVERY
def test_the_samples_are_read(name: str) -> None:
    for sample in ALL[name].samples:
        ALL[name].parse(sample)


@EVERY
def test_hostile_input_is_read_or_refused(name: str) -> None:
    parser = ALL[name]
    for kind in {type(sample) for sample in parser.samples}:
        for hostile in _hostile(kind):
            tried(parser, hostile)


def _hostile(kind: type) -> tuple[object, ...]:
    if kind is bytes:
        return HOSTILE_BYTES
    if kind is str:
        return HOSTILE_TEXT
    if kind is dict:
        return tuple(value for value in HOSTILE_VALUES if isinstance(value, dict))
    return HOSTILE_VALUES


# --- random and mutated --------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
ENCODED = st.binary(max_size=200) | VALUES.map(cbor2.dumps) | VALUES.map(
    lambda value: json.dumps(value).encode()
)  # fmt: skip
TEXTS = st.text(max_size=200) | VALUES.map(json.dumps)


def cut(sample: Any, at: int, length: int, put: Any) -> Any:
    """The sample with `length` of its bytes or characters replaced by `put`."""
    return sample[:at] + put + sample[at + length :]


def mutated(sample: Any) -> st.SearchStrategy[Any]:
    """The sample altered in one to three places: a bit, a byte, a part lost, twice or elsewhere."""
    if isinstance(sample, dict):
        return st.dictionaries(st.sampled_from([*sample, "x"]), VALUES).map(
            lambda some: {**sample, **some}
        )
    if not isinstance(sample, str | bytes):
        return VALUES
    put = st.binary(max_size=4) if isinstance(sample, bytes) else st.text(max_size=4)
    place, length = st.integers(0, len(sample)), st.sampled_from((0, 0, 1, 1, 1, 2, 8, 64))
    own = st.tuples(place, length).map(lambda part: sample[part[0] : part[0] + part[1]])
    edits = st.lists(st.tuples(place, length, put | own), min_size=1, max_size=3)

    def edited(parts: list[tuple[int, int, Any]]) -> Any:
        changed = sample
        for at, count, new in parts:
            changed = cut(changed, at, count, new)
        return changed

    return edits.map(edited)


def inputs(name: str) -> st.SearchStrategy[Any]:
    samples = ALL[name].samples
    kinds = {type(sample) for sample in samples}
    random = st.one_of(
        *([ENCODED] if bytes in kinds else []),
        *([TEXTS] if str in kinds else []),
        *([st.dictionaries(st.text(max_size=8), VALUES)] if dict in kinds else []),
        *([VALUES] if kinds - {bytes, str, dict} else []),
    )
    return random | st.sampled_from(samples).flatmap(mutated)


def fuzz(name: str, examples: int, *, derandomize: bool) -> None:
    @settings(
        max_examples=examples,
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(name))
    def run(data: object) -> None:
        tried(ALL[name], data)

    run()


@EVERY
def test_random_and_altered_input_is_read_or_refused(name: str) -> None:
    fuzz(name, 60, derandomize=True)


@pytest.mark.slow
@EVERY
def test_much_random_and_altered_input_is_read_or_refused(name: str) -> None:
    fuzz(name, 600, derandomize=False)
