"""One certificate with a known verdict, and the folder that it becomes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.vectors.certificates.house import CONTENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    why: str
    certificate: bytes
    verdict: str
    code: str
    content: bytes | None = CONTENT
    trust: str | None = None


STATUS = {"confirmed": 0, "not_this_file": 1, "not_genuine": 1, "undecided": 2, "superseded": 3}


def write(case: Case, into: Path) -> Path:
    folder = into / case.name
    folder.mkdir()
    folder.joinpath("README").write_text(case.why + "\n", "utf-8")
    folder.joinpath("certificate.json").write_bytes(case.certificate)
    if case.content is not None:
        folder.joinpath("content").write_bytes(case.content)
    if case.trust is not None:
        folder.joinpath("trust.toml").write_text(case.trust, "utf-8")
    expected = {
        "verdict": case.verdict,
        "code": case.code,
        "exit_status": STATUS[case.verdict],
        "trusted_keys": case.trust is not None,
    }
    folder.joinpath("expected.json").write_text(json.dumps(expected, indent=2) + "\n", "utf-8")
    return folder
