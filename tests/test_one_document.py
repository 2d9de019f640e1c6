"""The whole way of one document, from the clerk's upload to the lawyer's verdict.

Read it as the documentation of the system: each step is one that a person or a program takes,
through the same doors, on a real service in a process of its own. Nothing is reached into.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from notary.tlog import merkle
from notary.tlog.checkpoint import parse_checkpoint_text
from notary.tlog.note import open_note, parse_note, parse_vkey
from tests.harness.server import REPOSITORY, Client, Service

NAME = "attachment; filename*=UTF-8''agreement%20%E5%90%88%E5%90%8C.pdf"
DOCUMENT = b"%PDF-1.7\n" + b"The parties agree as follows. " * 1_000


def test_the_way_of_one_document(service: Service, tmp_path: Path) -> None:
    # The operator makes an API key for an agency, at the machine.
    agency = Client(service.base, service.key("county court registry"))

    # The agency opens a case.
    case = agency.post(
        "/v1/cases",
        json={"court": "County Court", "number": "2026-CV-101", "title": "Roe v. Doe"},
    ).json()

    # A clerk hands in a document. The digest sent along is compared before anything is kept,
    # and the key makes it safe to send all this again if the line breaks.
    sha256 = hashlib.sha256(DOCUMENT).digest()
    answer = agency.post(
        "/v1/deposits",
        params={"case": "2026-CV-101", "timestamp": "document"},
        headers={
            "Content-Type": "application/pdf",
            "Content-Disposition": NAME,
            "Repr-Digest": f"sha-256=:{base64.b64encode(sha256).decode()}:",
            "Idempotency-Key": "agreement-1",
        },
        data=DOCUMENT,
    )
    assert answer.status_code == 201
    deposit = answer.json()
    assert deposit["name"] == "agreement 合同.pdf"
    assert deposit["digests"]["sha-256"] == sha256.hex()
    assert deposit["media_type"] == {"declared": "application/pdf", "detected": "application/pdf"}
    assert deposit["case"] == case["id"]
    assert deposit["exhibit"] == "1"

    # The answer already proves that the document is in the ledger: anyone can compute it.
    checkpoint = check_inclusion_as_a_stranger(deposit, agency.get("/log/keys").text)

    # Sent again, it is the same deposit: no second entry.
    again = agency.post(
        "/v1/deposits",
        params={"case": "2026-CV-101", "timestamp": "document"},
        headers={
            "Content-Type": "application/pdf",
            "Content-Disposition": NAME,
            "Idempotency-Key": "agreement-1",
        },
        data=DOCUMENT,
    )
    assert again.status_code == 200
    assert again.json()["id"] == deposit["id"]

    # Outside time arrives by itself, moments later, and only ever adds.
    def timestamped() -> Any:
        return agency.get(deposit["links"]["self"]).json()["times"]["timestamped_at"]

    service.wait_for(timestamped)
    service.wait_for(lambda: agency.get(deposit["links"]["timestamp"]).status_code == 200)

    # The papers: for machines, for people in two languages, and everything in one file.
    links = deposit["links"]
    certificate = save(agency, links["certificate_json"], tmp_path / "certificate.json")
    paper = save(agency, links["certificate_pdf"] + "?lang=en", tmp_path / "certificate.pdf")
    papier = save(agency, links["certificate_pdf"] + "?lang=zh", tmp_path / "certificate-zh.pdf")
    bundle = save(agency, links["bundle"], tmp_path / "bundle.zip")
    token = save(agency, links["timestamp"], tmp_path / "timestamp.tsr")
    original = save(agency, links["content"], tmp_path / "agreement.pdf")
    trust = save(agency, "/v1/trust.toml", tmp_path / "trust.toml")
    assert original.read_bytes() == DOCUMENT

    # Years later, elsewhere: the service is gone; a lawyer has the file, the certificate, and a
    # verifier in one file. No account, no network.
    verifier = pack_verifier(tmp_path / "verify.pyz")
    for form in (certificate, paper, papier):
        verdict = verify(verifier, original, "--certificate", form, "--trust", trust)
        assert verdict["verdict"] == "confirmed", verdict
        assert verdict["code"] == "match"
        assert verdict["trusted_keys"] is True
    assert verdict["facts"]["deposit_id"] == deposit["id"]
    assert verdict["facts"]["sections"]["case"]["number"] == "2026-CV-101"
    assert verdict["facts"]["self_operated_time_only"] is True  # and the paper says so

    # The bundle carries its own original, and the verifier too.
    with zipfile.ZipFile(bundle) as contents:
        assert DOCUMENT in {contents.read(name) for name in contents.namelist()}
        contents.extract("verify.pyz", tmp_path / "bundle")
    carried = tmp_path / "bundle" / "verify.pyz"
    assert verify(carried, None, "--certificate", bundle, "--trust", trust)["code"] == "match"

    # Even without any program of ours: OpenSSL judges the timestamp over the document itself.
    openssl_accepts(token, original, trust, tmp_path)

    # One byte changed: it is not the registered file, and the verdict says just that.
    altered = tmp_path / "altered.pdf"
    altered.write_bytes(DOCUMENT[:-1] + b"!")
    verdict = verify(verifier, altered, "--certificate", certificate, "--trust", trust)
    assert (verdict["verdict"], verdict["exit_status"]) == ("not_this_file", 1)

    # A certificate that was tampered with is not believed in anything.
    forged = tmp_path / "forged.json"
    forged.write_bytes(certificate.read_bytes().replace(b"2026-", b"2025-", 1))
    verdict = verify(verifier, original, "--certificate", forged, "--trust", trust)
    assert (verdict["verdict"], verdict["facts"]) == ("not_genuine", None)

    # With another court's trust file the question stays open; nobody is accused of anything.
    verdict = verify(verifier, original, "--certificate", certificate, "--trust",
                     another_trust(trust, tmp_path))  # fmt: skip
    assert (verdict["verdict"], verdict["code"]) == ("undecided", "unknown_key")

    # Everything that was done to the exhibit stands in its custody trail, each an entry.
    trail = agency.get(links["custody"]).json()["items"]
    kinds = [event["kind"] for event in trail]
    assert kinds[0] == "registered"
    assert {"certificate-issued", "downloaded"} <= set(kinds)
    indices = [event["leaf_index"] for event in trail]
    assert indices == sorted(set(indices))

    # And the ledger of today still contains, as a prefix, the one that the first answer showed.
    check_consistency_as_a_stranger(agency, checkpoint)


# --- what a stranger does with a few lines of code --------------------------------------------


def check_inclusion_as_a_stranger(deposit: dict[str, Any], vkeys: str) -> tuple[int, bytes]:
    """(size, root) of the checkpoint in the answer, after its proof held."""
    proof = deposit["inclusion_proof"]
    note = parse_note(proof["checkpoint"].encode())
    assert len(open_note(note, [parse_vkey(line) for line in vkeys.splitlines()])) == 2
    checkpoint = parse_checkpoint_text(note.text)
    merkle.check_inclusion(
        index=proof["index"],
        size=checkpoint.size,
        leaf=merkle.leaf_hash(base64.b64decode(deposit["statement"])),
        proof=[base64.b64decode(node) for node in proof["path"]],
        root=checkpoint.root,
    )
    return checkpoint.size, checkpoint.root


def check_consistency_as_a_stranger(client: Client, old: tuple[int, bytes]) -> None:
    newest = parse_checkpoint_text(parse_note(client.get("/log/checkpoint").content).text)
    proof = client.get(
        "/v1/log/proof/consistency", params={"old": old[0], "new": newest.size}
    ).json()
    merkle.check_consistency(
        old=old[0],
        new=newest.size,
        old_root=old[1],
        new_root=newest.root,
        proof=[base64.b64decode(node) for node in proof["path"]],
    )


def save(client: Client, link: str, path: Path) -> Path:
    answer = client.get(link)
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def pack_verifier(path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "notary.cli.pack", str(path)], cwd=REPOSITORY, check=True)
    return path


def verify(verifier: Path, document: Path | None, *arguments: str | Path) -> dict[str, Any]:
    """Runs verify.pyz as the lawyer does, in an empty folder of his own."""
    elsewhere = verifier.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    documents = [] if document is None else [document]
    done = subprocess.run(
        [sys.executable, verifier, *documents, *arguments, "--json"],
        cwd=elsewhere,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == report["exit_status"]
    return report


def openssl_accepts(token: Path, document: Path, trust: Path, folder: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed: its verdict was not asked for")
    roots = folder / "roots.pem"
    roots.write_text("".join(tomllib.loads(trust.read_text())["timestamp_roots"]))
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-data", document, "-in", token, "-CAfile", roots],
        capture_output=True,
        text=True,
    )
    assert "Verification: OK" in done.stdout, done.stderr


def another_trust(trust: Path, folder: Path) -> Path:
    stranger = folder / "another-trust.toml"
    origin = tomllib.loads(trust.read_text())["origin"]
    stranger.write_text(trust.read_text().replace(f'origin = "{origin}"', 'origin = "other/log"'))
    return stranger
