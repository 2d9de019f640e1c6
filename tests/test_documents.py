"""The documents say what the code does: every name a user can meet is in the right page."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiflask import APIFlask

import certs.errors
import notary.errors
import storage.errors
from app import create_app
from certs.wording import LANGS, load_wording, verdict_classes
from notary.access import TABLE, Act
from notary.cli.main import EXIT_BY_CLASS
from notary.cli.verify import USAGE
from notary.errors import NotaryError
from notary.office import found
from notary.pack import UNAVAILABLE
from notary.remains import LOOKS
from notary.settings import Settings, describe
from notary.statement import (
    CUSTODY_TYPE,
    EVIDENCE_TYPE,
    GENESIS_TYPE,
    POLICY_TYPE,
    ROTATION_TYPE,
)
from notary.verdict import EXIT_STATUS
from notary.web import scrapi
from notary.web.problems import BY_CLASS, BY_CODE, TITLES
from tests.test_architecture import ROWS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

# Codes that stay inside: of a verdict's details, of tokens as jobs meet them, of the command line.
NOT_FOR_CLIENTS = {
    "ambiguous_key", "house_exists", "no_house", "receipt_malformed", "record_malformed",
    "record_mismatch", "settings", "size_mismatch", "statement_invalid", "statement_malformed",
    "unknown_key", "policy_malformed", "cbor_malformed", "registration_policy_malformed",
    "no_journal", "journal_exists", "schema_old", "backup_exists", "backup_malformed",
     "schema_new", "schema_unknown",
    # Said to outside issuers by SCRAPI's titles.
    "algorithm_refused", "entry_not_found", "header_refused", "issuer_key_not_in_force",
    "issuer_not_admitted", "issuer_signature_invalid", "locator_malformed", "payload_missing",
    "signed_statement_malformed", "signed_statement_too_large",
    # Said on a page of its own, in its own words.
    "password_differs",
}  # fmt: skip
# Values that carry a code and are no errors.
NOT_ERRORS = ("Check", "Problem", "Row", "Comparison")
# What no text for users may claim, or call itself.
FORBIDDEN = re.compile(
    r"tamper[- ]?proof|court[- ]admissible|block ?chain|notari[sz]|unforgeable|公证", re.IGNORECASE
)


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text("utf-8")


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> APIFlask:
    settings = Settings(home=tmp_path_factory.mktemp("documents") / "house")
    found(settings)
    return create_app(settings)


# --- settings, endpoints, codes ------------------------------------------------------------------


@pytest.mark.parametrize(("name", "default", "meaning"), describe())
def test_every_setting_is_in_operating_with_its_default_and_meaning(
    name: str, default: str, meaning: str
) -> None:
    shown = f"`{default}`" if default else ""
    assert f"| `{name}` | {shown} | {meaning} |" in page("operating")


def test_operating_names_no_setting_that_does_not_exist() -> None:
    known = {name for name, _, _ in describe()}
    for path in pages():
        for name in re.findall(r"\bNOTARY_[A-Z_]+[A-Z]\b", path.read_text("utf-8")):
            assert name in known | {
                "NOTARY_LOCK_DAYS",
                "NOTARY_KILLS",
                "NOTARY_ONE_FAULT_IN",
                "NOTARY_ONE_ROW_IN",
                "NOTARY_ONE_SLOW_IN",
                "NOTARY_SEED",
            }, f"{path.name}: {name}"


def test_every_endpoint_is_in_api(app: APIFlask) -> None:
    described = app.test_client().get("/openapi.json").get_json()
    for path in described["paths"]:
        assert path in page("api"), path


def test_api_names_no_endpoint_that_does_not_exist(app: APIFlask) -> None:
    described = set(app.test_client().get("/openapi.json").get_json()["paths"])
    for path in re.findall(r"`(?:[A-Z]+ )?(/v1/[^`?]*|/log/[^`?]*)`", page("api")):
        assert path in described, path


@pytest.mark.parametrize("code", sorted(TITLES))
def test_every_problem_code_is_in_api_with_its_status(code: str) -> None:
    row = re.search(rf"^\| `{code}` \| (\d{{3}}) \| \S.*\|$", page("api"), re.MULTILINE)
    assert row is not None
    status = int(row[1])
    assert status in {*BY_CLASS.values(), *BY_CODE.values(), 405, 429}
    assert BY_CODE.get(code, status) == status


@pytest.mark.parametrize("title", sorted(set(scrapi.TITLES.values())))
def test_every_title_of_scrapi_is_in_api(title: str) -> None:
    assert f"| `{title}` | " in page("api")


def test_api_lists_no_problem_code_that_does_not_exist() -> None:
    listed = re.findall(r"^\| `([a-z_]+)` \| \d{3} \|", page("api"), re.MULTILINE)
    assert sorted(listed) == sorted(TITLES)


def test_the_statuses_in_api_are_those_of_the_classes_that_raise_them() -> None:
    for where, error, code in raised_codes():
        if code in TITLES and code not in BY_CODE and error in vars(notary.errors):
            cls = getattr(notary.errors, error)
            status = next(BY_CLASS[base] for base in cls.__mro__ if base in BY_CLASS)
            assert f"| `{code}` | {status} |" in page("api"), f"{where}: {code} is {status}"


def test_every_code_that_can_reach_a_client_has_a_title() -> None:
    for where, error, code in raised_codes():
        of_evidence = ("timestamp_", "witness_", "rotation_", "evidence_record_", "revocation_")
        if code in NOT_FOR_CLIENTS or (code.startswith(of_evidence) and error != "NotFound"):
            continue
        assert code in TITLES, f"{where}: {code}"
    for code in class_codes():
        assert code in TITLES, code


def test_every_act_and_role_is_in_api() -> None:
    lines = page("api").splitlines()
    header = next(line for line in lines if line.startswith("| Act (scope)"))
    roles = [cell.strip() for cell in header.strip("|").split("|")][1:]
    assert set(roles) == {role.value for role in TABLE}
    for act in Act:
        row = next(line for line in lines if line.startswith(f"| `{act}` |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
        for role, cell in zip(roles, cells, strict=True):
            assert bool(cell) == any(r.value == role and act in TABLE[r] for r in TABLE), (
                act,
                role,
            )


# --- verdicts, exit statuses, errors -------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(verdict_classes()))
def test_every_verdict_code_is_in_verifying_and_format(code: str) -> None:
    assert f"`{code}`" in page("verifying")
    assert f"`{code}`" in page("format")


@pytest.mark.parametrize("name", sorted({k.split(".")[1] for k in load_wording("en").texts
                                         if k.startswith("check.")}))  # fmt: skip
def test_every_check_is_in_verifying_and_format(name: str) -> None:
    assert f"`{name}`" in page("verifying")
    assert f"`{name}`" in page("format")


def test_every_refusal_of_an_authority_or_witness_is_in_operating() -> None:
    for where, error, code in raised_codes():
        if code.startswith(("timestamp_", "witness_", "rotation_")) and error != "NotFound":
            assert f"`{code}`" in page("operating"), f"{where}: {code}"


def test_every_exit_status_is_in_operating() -> None:
    statuses = {status for _, status in EXIT_BY_CLASS} | set(EXIT_STATUS.values())
    for status in statuses | {UNAVAILABLE, USAGE, 130}:
        assert re.search(rf"^\| {status} \|", page("operating"), re.MULTILINE), status


@pytest.mark.parametrize("module", [notary.errors, storage.errors, certs.errors])
def test_every_error_class_is_in_operating(module: object) -> None:
    for name, _ in inspect.getmembers(module, inspect.isclass):
        if vars(module)[name].__module__ == getattr(module, "__name__", ""):
            assert f"`{name}`" in page("operating"), name


def test_every_room_is_in_architecture() -> None:
    drawn = page("architecture")
    for row in ROWS:
        for room in row:
            assert re.search(rf"\b{room}\b", drawn), room


def test_every_table_is_in_architecture(app: APIFlask) -> None:
    metadata = app.extensions["office"].database.__class__.has_tables.__globals__["METADATA"]
    for table in metadata.tables:
        assert f"`{table}`" in page("architecture"), table


def test_every_metric_is_in_operating(app: APIFlask) -> None:
    exposed = app.test_client().get("/metrics").text
    for name in re.findall(r"^# TYPE (evidence_\w+)", exposed, re.MULTILINE):
        if not name.endswith("_created"):
            assert f"`{name}" in page("operating"), name


def test_format_names_the_types_of_statements() -> None:
    for type_ in (EVIDENCE_TYPE, CUSTODY_TYPE, GENESIS_TYPE, ROTATION_TYPE, POLICY_TYPE):
        assert type_ in page("format")


# --- links, words, paths -------------------------------------------------------------------------


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text("utf-8")):
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def texts_for_users() -> Iterator[tuple[str, str]]:
    for path in pages():
        yield str(path.relative_to(ROOT)), path.read_text("utf-8")
    for lang in LANGS:
        yield f"wording {lang}", "\n".join(load_wording(lang).texts.values())
    for folder, pattern in (
        ("notary/web", "**/*.html"), ("notary/web", "**/*.toml"), ("certs", "**/*.typ"),
    ):  # fmt: skip
        for path in sorted((ROOT / folder).glob(pattern)):
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "text"), list(texts_for_users()), ids=[name for name, _ in texts_for_users()]
)
def test_no_text_claims_more_than_is_so(name: str, text: str) -> None:
    assert FORBIDDEN.findall(text) == [], name


def test_no_file_has_a_path_of_the_machine_it_was_written_on() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("git does not list the files: no repository here")
    machine = re.compile(rf"{re.escape(str(ROOT.parent))}/|/(?:home|Users)/[a-z]+/|/root/")
    for name in listed.stdout.splitlines():
        try:
            text = (ROOT / name).read_text("utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        hit = machine.search(text)
        assert hit is None or name == str(Path(__file__).relative_to(ROOT)), f"{name}: {hit}"


# --- what the source raises ----------------------------------------------------------------------


def raised_codes() -> Iterator[tuple[str, str, str]]:
    """(file and line, error class, code) of every error made with `code="…"`."""
    for path in sorted((ROOT / "notary").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                for keyword in node.keywords:
                    yield from _codes(path, node.lineno, name, keyword)


def _codes(
    path: Path, line: int, name: str, keyword: ast.keyword
) -> Iterator[tuple[str, str, str]]:
    if keyword.arg != "code" or not name[:1].isupper() or name in NOT_ERRORS:
        return
    for node in ast.walk(keyword.value):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield f"{path.relative_to(ROOT)}:{line}", name, node.value


def class_codes() -> set[str]:
    """Default codes of the errors that a door may let through."""
    doors = (notary.errors.Rejected, notary.errors.TryAgain, notary.errors.IntegrityError)
    classes = [
        cls for _, cls in inspect.getmembers(notary.errors, inspect.isclass)
        if issubclass(cls, doors)
    ]  # fmt: skip
    abstract = {notary.errors.Rejected, notary.errors.TryAgain}
    return {cls.code for cls in classes if cls not in abstract and issubclass(cls, NotaryError)}


def test_the_manual_has_every_look_of_a_pass() -> None:
    manual = (ROOT / "docs/operating.md").read_text("utf-8")
    for look in LOOKS:
        age = f"`{look.after}`" if look.after.startswith("NOTARY") else look.after
        does = "removes it" if look.mends else "reports it"
        assert f"| `{look.kind}` | {look.what} | {does} | {age} |" in manual
