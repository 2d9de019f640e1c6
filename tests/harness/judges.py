"""Judges that nobody here wrote, as one question: which of these artefacts do you accept?

Most are programs below tests/judges, built from locked dependencies into a folder of the test
session: each takes cases (JSON, one a line) and answers each with "" or why it refuses. A program
that ends otherwise has no opinion, and the test that asked fails. Two are Python packages, asked
in process; what they raise beyond their refusals fails the test too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FOLDER = Path(__file__).parents[1] / "judges"
FETCH_S = 240.0

Case = dict[str, object]
"""`Kind`, and the fields that tests/judges/golang/answer/answer.go names; bytes in base64."""

Ask = Callable[[Sequence[Case]], list[str]]

CHECKPOINT, COSIGNATURE, ML_DSA = "checkpoint", "cosignature", "ml-dsa"
INCLUSION, CONSISTENCY, PROOF, RECEIPT = "inclusion", "consistency", "proof", "receipt"

KINDS: Mapping[str, tuple[str, ...]] = {
    "sumdb": (CHECKPOINT, INCLUSION, CONSISTENCY),
    "torchwood": (CHECKPOINT, COSIGNATURE, PROOF),
    "formats": (CHECKPOINT, COSIGNATURE, ML_DSA, INCLUSION, CONSISTENCY, PROOF),
    "cose": (RECEIPT,),
    "noble": (COSIGNATURE, ML_DSA),
    "sigstore": (CHECKPOINT, INCLUSION),
    "scales": (CHECKPOINT, COSIGNATURE, ML_DSA, INCLUSION, CONSISTENCY),
    "scitt": (INCLUSION, CONSISTENCY, RECEIPT),
}
"""What each judge is asked about. A `cosignature` is Ed25519's (0x04), `ml-dsa` is 0x06."""

GO = ("sumdb", "torchwood", "formats", "cose")
NODE = ("noble", "sigstore")


def b64(*values: bytes) -> list[str]:
    return [b64encode(value).decode() for value in values]


# --- programs ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    command: tuple[str, ...]
    folder: Path

    def ask(self, cases: Sequence[Case]) -> list[str]:
        asked = "".join(f"{json.dumps(case)}\n" for case in cases)
        answered = _run(self.command, self.folder, asked)
        assert answered.returncode == 0, (answered.returncode, answered.stderr)
        answers: list[str] = [json.loads(line) for line in answered.stdout.splitlines()]
        assert len(answers) == len(cases)
        return answers


def build_go(folder: Path) -> dict[str, Ask]:
    """All judges in Go, built below `folder`. Skips the test where they cannot be had."""
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"go is not installed: {', '.join(GO)} were not asked")
    shutil.copytree(FOLDER / "golang", folder, dirs_exist_ok=True)
    fetched = _run((go, "mod", "download"), folder)
    if fetched.returncode != 0:
        pytest.skip(f"the judges in Go cannot be had here: {fetched.stderr.strip()[-300:]}")
    (folder / "bin").mkdir()
    built = _run((go, "build", "-o", "bin", "./..."), folder)
    assert built.returncode == 0, built.stderr
    return {name: Program(command=(f"bin/{name}",), folder=folder).ask for name in GO}


def install_node(folder: Path) -> dict[str, Ask]:
    """All judges from npm, installed below `folder`. Skips the test where they cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(f"node or npm is not installed: {', '.join(NODE)} were not asked")
    shutil.copytree(FOLDER / "node", folder, dirs_exist_ok=True)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
    installed = _run((npm, "ci", *quiet), folder)
    if installed.returncode != 0:
        pytest.skip(f"the judges from npm cannot be had here: {installed.stderr.strip()[-300:]}")
    return {name: Program(command=(node, f"{name}.mjs"), folder=folder).ask for name in NODE}


def _run(
    command: tuple[str, ...], folder: Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    # The Go that is there, and exactly the modules that go.sum names.
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=FETCH_S,
    )


# --- tlog-scales ---------------------------------------------------------------------------------


def scales() -> Ask:
    pytest.importorskip("tlog_scales", reason="tlog-scales is not installed: it was not asked")
    from tlog_scales.tlog import ConsistencyProofInvalid, InclusionProofInvalid

    refusals = (
        *(InvalidSignature, InclusionProofInvalid, ConsistencyProofInvalid),
        *(RuntimeError, ValueError, IndexError),  # what its readers of lines raise
    )
    judge = {
        INCLUSION: _scales_inclusion,
        CONSISTENCY: _scales_consistency,
    }

    def ask(cases: Sequence[Case]) -> list[str]:
        answers = []
        for case in cases:
            try:
                judge.get(str(case["Kind"]), _scales_signature)(case)
                answers.append("")
            except refusals as exc:
                answers.append(repr(exc))
        return answers

    return ask


def _scales_signature(case: Case) -> None:
    from tlog_scales.signing import Vkey
    from tlog_scales.tlog import Checkpoint

    checkpoint = Checkpoint.from_text(_bytes(case, "Note").decode())
    if checkpoint.origin != case["Origin"]:
        raise ValueError(f"another log: {checkpoint.origin}")
    checkpoint.verify(Vkey.from_string(str(case["Vkey"])))


def _scales_inclusion(case: Case) -> None:
    from tlog_scales.tiles import leaf_hash
    from tlog_scales.tlog import InclusionProof

    proof = InclusionProof(_number(case, "Index"), _number(case, "Size"), _path(case))
    proof.check(leaf_hash(_bytes(case, "Entry")), _bytes(case, "Root"))


def _scales_consistency(case: Case) -> None:
    from tlog_scales.tlog import ConsistencyProof

    proof = ConsistencyProof(_number(case, "Old"), _number(case, "Size"), _path(case))
    proof.check(_bytes(case, "From"), _bytes(case, "Root"))


# --- scitt-cose ----------------------------------------------------------------------------------


def scitt() -> Ask:
    pytest.importorskip("scitt_cose", reason="scitt-cose is not installed: it was not asked")
    judge = {
        INCLUSION: _scitt_inclusion,
        CONSISTENCY: _scitt_consistency,
        RECEIPT: _scitt_receipt,
    }
    return lambda cases: [judge[str(case["Kind"])](case) for case in cases]


def _scitt_inclusion(case: Case) -> str:
    from scitt_cose.merkle import verify_inclusion

    path = [node.hex() for node in _path(case)]
    entry, root = _bytes(case, "Entry").hex(), _bytes(case, "Root").hex()
    return "" if verify_inclusion(entry, case["Index"], case["Size"], path, root) else "refused"


def _scitt_consistency(case: Case) -> str:
    from scitt_cose.merkle import verify_consistency

    path = [node.hex() for node in _path(case)]
    old, new = _bytes(case, "From").hex(), _bytes(case, "Root").hex()
    return "" if verify_consistency(old, new, case["Old"], case["Size"], path) else "refused"


def _scitt_receipt(case: Case) -> str:
    from scitt_cose import verify_receipt

    pem = Ed25519PublicKey.from_public_bytes(_bytes(case, "Key")).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    entry = _bytes(case, "Entry").hex()
    judged = verify_receipt(
        _bytes(case, "File"), leaf_entry_hex=entry, log_public_key_pem=pem.decode()
    )
    return "" if judged.ok else repr(judged.errors)


def _bytes(case: Case, field: str) -> bytes:
    return b64decode(str(case[field]))


def _number(case: Case, field: str) -> int:
    value = case[field]
    assert isinstance(value, int)
    return value


def _path(case: Case) -> list[bytes]:
    nodes = case["Proof"]
    assert isinstance(nodes, list)
    return [b64decode(node) for node in nodes]
