"""The shape of the code, held: imports go down the rows, pure rooms stay pure, one file a package.

`docs/architecture.md` draws the same rows.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("notary", "storage", "certs")

# From the top down. A room imports only from rows below its own; `tlog`, `cli` and `web` are
# packages of several files, which may import one another.
ROWS: tuple[frozenset[str], ...] = tuple(
    frozenset(row.split())
    for row in (
        "cli",
        "web",
        "restore",
        "jobs traffic rebuild backup",
        "office",
        "rehashing",
        "archiving",
        "batch issue fsck rotate stamping witnessing people monitor mirror admitting registering "
        "replay auditing collect reconcile keeping disposing destruction withdrawing rewrapping "
        "retaining forms",
        "fsck_tree fsck_records fsck_keys fsck_journal fsck_standing batch_rows row_signing "
        "audit_part leftovers revocation_watch",
        "fsck_statements fixity sweep",
        "intake fsck_columns",
        "originals evidence",
        "archive_stamps",
        "hash_trees",
        "journal_forget",
        "chronicle journal_read forgetting",
        "sequencer journal",
        "succession online papers",
        "sealing house witness_house follow keyring journal_rows rereads migrate revisions",
        "ledger register stamps accounts settings tsa witness cosigner halt source signing asking "
        "issued issuers journal_tables audits holds disposals retention schema counters leases "
        "remains revocations revocation_fetch",
        "keystore digests sealkey",
        "wrapping",
        "authority outside pack verify_page keys hsm kms wrapping_files",
        "verifying",
        "handed",
        "report private_ca",
        "superseding",
        "verify verify_destruction custody access declaration admission standing versions",
        "verify_time comparing nearmiss entered examination",
        "judged",
        "ers",
        "revocation",
        "tsp trust provenance verdict",
        "cms",
        "certpath",
        "receipt",
        "keyhistory",
        "keyplace digest record statement der signed_head rotation issuer_key signed_statement "
        "journal_segment backup_format",
        "cbor envelope",
        "tlog",
        "model",
        "errors clock findings pace remembered readable",
    )
)
PURE = frozenset(
    (  # noqa: SIM905  # names read better than a column of quotes
        "tlog signed_head der certpath cms tsp trust digest record statement receipt provenance "
        "rotation keyhistory declaration verify verify_destruction verdict judged custody access "
        "model errors admission issuer_key signed_statement cbor journal_segment keyplace "
        "remembered envelope standing backup_format versions comparing nearmiss superseding "
        "readable ers revocation verify_time entered examination"
    ).split()
)
IMPURE_MODULES = frozenset(
    (  # noqa: SIM905
        "os io pathlib socket time random secrets logging sqlite3 requests flask sqlalchemy boto3 "
        "subprocess tempfile threading urllib"
    ).split()
)
# Foreign package to the files that may import it.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "flask": ("notary/web/", "app.py"),
    "apiflask": ("notary/web/", "app.py"),
    "flask_limiter": ("notary/web/limits.py",),
    "limits": ("notary/web/limits.py",),
    "werkzeug": ("notary/web/",),
    "psycopg": ("storage/postgres.py",),
    "boto3": ("storage/s3_client.py", "notary/kms.py"),
    "botocore": ("storage/s3_client.py", "notary/kms.py"),
    "rfc3161ng": ("notary/tsa.py",),
    "pkcs11": ("notary/hsm.py",),
    "requests": ("notary/outside.py",),
    "asn1crypto": ("notary/authority.py", "certs/pades.py"),
    "pyhanko": ("certs/pades.py",),
    "pyhanko_certvalidator": ("certs/pades.py",),
    "alembic": ("notary/migrate.py", "notary/revisions/"),
    "huey": ("notary/jobs.py",),
    "granian": ("notary/cli/web.py",),
    "click": ("notary/cli/",),
    "argon2": ("notary/accounts.py",),
    "filetype": ("notary/intake.py",),
    "jsonschema_rs": ("notary/provenance.py",),
    "cbor2": (
        "notary/statement.py", "notary/receipt.py", "notary/issuer_key.py",
        "notary/signed_statement.py", "notary/web/scrapi.py", "notary/journal_segment.py",
        "notary/backup_format.py",
    ),
    "typst": ("certs/pdf.py",),
    "segno": ("certs/",),
    "pypdf": ("certs/container.py",),
    "sqlalchemy": (
        "storage/database.py", "storage/prepared.py", "notary/ledger.py", "notary/register.py",
        "notary/stamps.py",
        "notary/accounts.py", "notary/house.py", "notary/batch.py", "notary/issue.py",
        "notary/chronicle.py", "notary/people.py", "notary/sequencer.py", "notary/intake.py",
        "notary/fsck_tree.py", "notary/fsck_records.py", "notary/witness.py", "notary/issued.py",
        "notary/fsck_columns.py", "notary/keyring.py", "notary/rotate.py", "notary/fsck_keys.py",
        "notary/issuers.py", "notary/admitting.py", "notary/registering.py",
        "notary/fsck_statements.py", "notary/journal.py", "notary/journal_rows.py",
        "notary/journal_tables.py", "notary/replay.py", "notary/audits.py", "notary/rereads.py",
        "notary/fixity.py", "notary/audit_part.py", "notary/auditing.py", "notary/digests.py",
        "notary/retention.py", "notary/holds.py", "notary/disposals.py", "notary/forgetting.py",
        "notary/keeping.py", "notary/disposing.py", "notary/destruction.py", "notary/schema.py",
        "notary/migrate.py", "notary/revisions/", "notary/backup.py", "notary/restore.py",
        "notary/counters.py", "notary/leases.py", "notary/remains.py", "notary/sweep.py",
        "notary/leftovers.py", "notary/fsck_standing.py", "notary/rewrapping.py",
        "notary/retaining.py", "notary/withdrawing.py", "notary/hash_trees.py",
        "notary/archive_stamps.py", "notary/revocations.py", "notary/papers.py",
    ),
    "prometheus_client": ("notary/web/status.py", "notary/traffic.py"),
}  # fmt: skip


@cache
def sources() -> tuple[Path, ...]:
    files = [ROOT / "app.py"]
    for package in OURS:
        files += (ROOT / package).rglob("*.py")
    return tuple(sorted(files))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Every module a file imports, down to the file where that is one of ours."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            for alias in node.names:
                inner = ROOT.joinpath(*module.split("."), alias.name)
                is_file = module.split(".")[0] in OURS and (
                    inner.with_suffix(".py").exists() or inner.is_dir()
                )
                yield f"{module}.{alias.name}" if is_file else module, node


def row_of(room: str) -> int:
    for number, row in enumerate(ROWS):
        if room in row:
            return number
    raise AssertionError(f"room notary.{room} stands in no row: give it one, and say why")


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "notary" and len(parts) > 1 else None


def notary_rooms() -> list[Path]:
    return [path for path in sources() if room_of(name_of(path)) is not None]


@pytest.mark.parametrize("path", notary_rooms(), ids=lambda path: name_of(path))
def test_imports_go_down_the_rows(path: Path) -> None:
    room = room_of(name_of(path))
    assert room is not None
    for module, node in imports_of(path):
        other = room_of(module)
        if other is None or other == room:
            continue
        assert row_of(other) > row_of(room), (
            f"{path.name}:{node.lineno} imports notary.{other}, which is not below notary.{room}"
        )


@pytest.mark.parametrize("package", ["storage", "certs"])
def test_the_leaves_import_nothing_of_ours(package: str) -> None:
    for path in sources():
        if not name_of(path).startswith(package):
            continue
        for module, node in imports_of(path):
            first = module.split(".")[0]
            assert first not in OURS or first == package, f"{path}:{node.lineno} imports {module}"
            assert first != "app", f"{path}:{node.lineno} imports the application"


def test_pure_rooms_touch_nothing_outside() -> None:
    for path in notary_rooms():
        if room_of(name_of(path)) not in PURE:
            continue
        for module, node in imports_of(path):
            first = module.split(".")[0]
            assert first not in IMPURE_MODULES, f"{path.name}:{node.lineno} imports {module}"
            assert first != "storage", f"{path.name}:{node.lineno} imports {module}"


def test_each_foreign_package_has_its_place() -> None:
    for path in sources():
        where = path.relative_to(ROOT).as_posix()
        for module, node in imports_of(path):
            allowed = ONLY_IN.get(module.split(".")[0])
            if allowed is not None:
                assert where.startswith(allowed), f"{where}:{node.lineno} imports {module}"


def test_no_import_hides_in_a_function() -> None:
    for path in sources():
        tree = ast.parse(path.read_text("utf-8"))
        top = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert id(node) in top, f"{path}:{node.lineno}: import inside a function"


def test_only_settings_doors_and_children_read_the_environment() -> None:
    allowed = {
        "app.py", "notary/cli/main.py", "notary/cli/serve.py", "notary/cli/web.py",
        "notary/cli/worker.py", "notary/cli/issuer.py", "notary/cli/restore.py",
        "notary/cli/audit.py", "notary/cli/wrapping.py", "notary/cli/keys.py",
        "notary/cli/migrate.py", "notary/cli/backup.py", "notary/cli/resume.py",
        "notary/cli/seal.py",
        "notary/cli/process.py", "notary/cli/reconcile.py", "notary/web/status.py",
        "notary/web/witness.py", "notary/traffic.py", "notary/cli/retain.py",
        "notary/cli/renew.py",
        "notary/hsm.py",  # a PIN that a URI says is in a variable
    }  # fmt: skip
    for path in sources():
        where = path.relative_to(ROOT).as_posix()
        if where in allowed:
            continue
        assert "os.environ" not in path.read_text("utf-8"), f"{where} reads the environment"


def test_the_clock_is_read_in_one_place() -> None:
    allowed = {"notary/clock.py"}
    for path in sources():
        where = path.relative_to(ROOT).as_posix()
        text = path.read_text("utf-8")
        if where in allowed or where.startswith("storage/"):
            continue
        assert "datetime.now(" not in text, f"{where} reads the clock"
        assert "time.time(" not in text, f"{where} reads the clock"


def test_no_room_has_a_name_that_means_nothing() -> None:
    empty = {"utils", "helpers", "common", "misc", "manager", "managers", "base", "constants"}
    for path in sources():
        assert path.stem not in empty, f"{path} says nothing about what is in it"


def test_the_verdict_needs_no_web_database_or_network() -> None:
    script = (
        "import sys, notary.verify; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'flask', 'sqlalchemy', 'boto3', "
        "'requests', 'huey', 'typst', 'click', 'storage'}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
