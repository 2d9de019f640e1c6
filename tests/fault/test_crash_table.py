"""The crash and loss table: every write of every act × what happened to it × once or twice.

A row is a write, by name; the names of an act are all its writes, in order (a write without a row
fails the test). The columns:

    before   the process was killed, and the write was not made
    after    the process was killed, and the write was made
    power    the power went: names and bytes that no fsync covered are lost     (files, commits)
    torn     the power went: the names are there, such bytes are not            (files)
    refused  an error, and the write was not made: no space, a broken disk, a database that fails
    lost     an error, but the write was made: an answer that never came

`twice`: the same again at the repetition. After a crash another process opens what is left; after
an error the same process goes on, and then another opens it. Each row ends with the act asked for
again (with its Idempotency-Key, where it has one), what it promised found once, a tree that only
grew from every checkpoint that was ever shown, nothing left lying about, and a derivation of
everything from the originals up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from notary.errors import Fork, MalformedInput, NotaryError
from notary.office import Office, found
from notary.settings import Settings
from storage.errors import ObjectNotFound, StorageError
from tests.harness.acts import Act, Told, check_house, copied, make_house
from tests.harness.endings import dies, exits, fails
from tests.harness.faults import Faults, watching
from tests.harness.house_acts import ACTS

GROUP = ("insert entry", "insert tile", "update tree_head", "commit tree_head")
"""What every act that enters something ends with."""
INTO_STORAGE = (
    "original: fsync folder", "original: mkdir", "original: fsync folder 2", "original: create",
    "original: write", "original: fsync file", "original: link", "original: unlink",
    "original: fsync folder 3",
)  # fmt: skip
STAGED = ("update journal", "delete journal_change", "commit journal_change")
SEGMENT = (
    "original: create", "original: write", "original: fsync file", "original: link",
    "original: unlink", "original: fsync folder 3", "update journal 2", "commit journal",
)  # fmt: skip
PROTECTED = (
    "original: create", "original: write", "original: fsync file", "original: rename",
    "original: fsync folder", "delete retention_due", "commit retention_due",
)  # fmt: skip
"""Words beside an original, and the row that asked for them."""
TREE = (
    "insert hash_tree", "commit hash_tree", "update hash_tree", "insert hash_tree_chunk",
    "commit hash_tree_chunk", "update hash_tree 2", "commit hash_tree 2",
)  # fmt: skip
SERIAL = (
    "insert embedded_authority", "update embedded_authority", "commit embedded_authority",
)  # fmt: skip
ARCHIVED = ("update archive_timestamp", "insert archive_timestamp")
REPLACED = ("home: create", "home: write", "home: fsync file", "home: rename", "home: fsync folder")


def _whole_file(label: str, number: int = 1) -> list[str]:
    steps = ("create", "write", "fsync file", "link", "unlink", "fsync folder")
    return [f"{label}: {step}" + (f" {number}" if number > 1 else "") for step in steps]


WRITES: dict[str, tuple[str, ...]] = {
    "deposit": (
        *INTO_STORAGE, "update court_case", "commit court_case", "insert document_timestamp_due",
        "insert deposit", "insert deposit_digest", "insert usage", "insert idempotency", *GROUP,
    ),
    "deposit-retained": (
        *INTO_STORAGE, "update court_case", "commit court_case", "insert document_timestamp_due",
        "insert deposit", "insert deposit_digest", "insert usage", "insert retention_due",
        "insert idempotency", *GROUP,
        "original: create 2", "original: write 2", "original: fsync file 2", "original: rename",
        "original: fsync folder 4", *PROTECTED[-2:],
    ),
    "retention": PROTECTED,
    "digest": ("insert deposit", "insert deposit_digest", "insert idempotency", *GROUP),
    "refusal": (
        "insert deposit", "insert deposit_digest", "insert idempotency", *GROUP, *INTO_STORAGE,
        "original: unlink 2", "original: fsync folder 4",
    ),
    "event": ("insert custody_event", *GROUP),
    "batch": (
        "update court_case", "commit court_case", "spool: write", "insert batch_note",
        "insert deposit", "insert deposit_digest", "insert batch", "insert idempotency", *GROUP,
    ),
    "refresh": ("update tree_head", "commit tree_head"),
    "stamp": (
        "insert embedded_authority", "update embedded_authority", "commit embedded_authority",
        "insert stamped_checkpoint", "insert timestamp_token", "commit timestamp_token",
        "insert embedded_authority 2", "update embedded_authority 2",
        "commit embedded_authority 2", "insert timestamp_token 2",
        "delete document_timestamp_due", "commit document_timestamp_due",
        "insert timestamp_authority", "update timestamp_authority", "commit timestamp_authority",
    ),
    "witness": (
        "update witness", "insert witness", "commit witness", "insert witnessed_checkpoint",
        "commit witnessed_checkpoint",
    ),
    "certificate": ("insert certificate", "insert custody_event", *GROUP),
    "paper": (
        "insert embedded_authority", "update embedded_authority", "commit embedded_authority",
        "insert embedded_authority 2", "update embedded_authority 2",
        "commit embedded_authority 2", "delete paper", "insert paper", "commit paper",
    ),
    "publish": REPLACED,
    "recovery": (
        "original: create", "original: write", "original: fsync file", "original: link",
        "original: unlink", "original: fsync folder", "original: unlink 2",
        "original: fsync folder 2", "original: unlink 3", "insert condemned_original",
        "commit condemned_original", "original: unlink 4", "original: fsync folder 3", *REPLACED,
    ),
    "reconcile": (
        "insert remains_pass", "update remains_pass", "commit remains_pass", "original: unlink",
        "home: unlink", "delete condemned_original", "commit condemned_original",
        "delete request_count", "commit request_count", "insert condemned_original",
        "commit condemned_original 2", "original: unlink 2", "original: fsync folder",
        "insert remains_finding", "commit remains_finding", "update remains_pass 2",
        "delete remains_finding", "delete remains_pass", "commit remains_pass 2",
    ),
    "journal": (
        *STAGED, "original: mkdir", "original: fsync folder", "original: mkdir 2",
        "original: fsync folder 2", *SEGMENT,
    ),
    "journal-on": (*STAGED, "original: fsync folder", "original: fsync folder 2", *SEGMENT),
    "rotation": (
        *(write for number in (1, 2, 3) for write in _whole_file("keys", number)), *GROUP[:-1],
        "insert key_rotation", "commit key_rotation", *REPLACED, "keys: unlink 4",
        "keys: fsync folder 4", "keys: unlink 5", "keys: fsync folder 5", "keys: unlink 6",
        "keys: fsync folder 6",
    ),
    "admission": ("insert registration_policy", "insert custody_event", *GROUP),
    "statement": ("delete waiting_statement", "insert signed_statement", *GROUP),
    "retention-set": ("insert retention", "insert custody_event", *GROUP),
    "hold": ("insert legal_hold", "insert custody_event", *GROUP),
    "disposal-request": ("insert disposal", "insert custody_event", *GROUP),
    "disposal": (
        "update disposal", "delete document_timestamp_due", "delete timestamp_token",
        "delete certificate", "delete paper", "update idempotency", "update audit_finding",
        "update deposit", "delete deposit_digest", "update usage", "insert custody_event", *GROUP,
    ),
    "disposal-end": (
        *STAGED, "original: fsync folder", "original: fsync folder 2", *SEGMENT,
        "original: create 2", "original: write 2", "original: fsync file 2", "original: link 2",
        "original: unlink 2", "original: fsync folder 4", "original: unlink 3",
        "original: fsync folder 5", "update disposal", "commit disposal", "original: unlink 4",
        "original: fsync folder 6", "update disposal 2", "commit disposal 2",
    ),
    "statement-later": (
        "delete waiting_statement", "insert waiting_statement", "commit waiting_statement",
    ),
    "statements-waiting": (
        "delete waiting_statement", "delete waiting_statement 2", "update waiting_statement",
        "insert signed_statement", *GROUP, "delete waiting_statement 3",
        "commit waiting_statement",
    ),
    "rewrap": ("update deposit", "commit deposit"),
    "archive": (*TREE, *SERIAL, *ARCHIVED, "commit archive_timestamp"),
    "renewal": (*SERIAL, *ARCHIVED, "commit archive_timestamp"),
    "rehash": (
        *TREE, *SERIAL, *ARCHIVED, "update archive_timestamp 2", "commit archive_timestamp",
    ),
    "revocation": ("insert revocation_data", "update revocation_data", "commit revocation_data"),
    "count": ("insert request_count", "commit request_count"),
    "lease": ("insert job_lease", "commit job_lease"),
    "resume": (
        *_whole_file("home"), "home: unlink 2", "home: fsync folder 2", "update tree_head",
        "commit tree_head",
    ),
}  # fmt: skip
ROW_CRASHES, COMMIT_CRASHES = ("before", "after"), ("before", "after", "power")
FILE_CRASHES = ("before", "after", "power", "torn")
ERRORS = ("refused", "lost")
CODES = frozenset({"unreachable", "storage_full", "storage_unreachable"})


def _fast(act: str, write: str, kind: str, times: str) -> bool:
    """What plain `make test` runs: a deposit, and every commit."""
    if times == "twice" or act == "journal-on" or (act, kind) == ("journal", "lost"):
        return False  # a journal is rebuilt from each time that it is looked at
    if write.startswith("commit"):
        return kind in ("after", "lost")
    return act == "deposit" and kind in ("power" if ": " in write else "after", "refused")


def _crashes(write: str) -> tuple[str, ...]:
    if ": " in write:
        return FILE_CRASHES
    return COMMIT_CRASHES if write.startswith("commit") else ROW_CRASHES


def _table(kinds: Callable[[str], tuple[str, ...]]) -> list[ParameterSet]:
    return [
        pytest.param(
            act,
            write,
            kind,
            times,
            marks=() if _fast(act, write, kind, times) else (pytest.mark.slow,),
            id=f"{act}/{write.replace(': ', '-').replace(' ', '-')}/{kind}/{times}",
        )
        for act, writes in WRITES.items()
        for write in writes
        for kind in kinds(write)
        for times in ("once", "twice")
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("table") / "made"
    make_house(root)
    return root


def prepared(made: Path, to: Path, act: Act) -> Path:
    root = copied(made, to)
    act.spoil(root)
    return root


@pytest.mark.parametrize("name", ACTS)
def test_every_write_has_a_row(made: Path, tmp_path: Path, name: str) -> None:
    act = ACTS[name]
    root = prepared(made, tmp_path / "whole", act)
    with watching(root) as faults, act.opened(root, chance=1) as office:
        told = Told().and_of(office)
        faults.begin()
        act.run(office)
        written = tuple(faults.names)
        act.held(office)
        check_house(office, told)
    assert written == WRITES[name]


# --- the process ends ---------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "write", "kind", "times"), _table(_crashes))
def test_after_a_crash(
    made: Path, tmp_path: Path, name: str, write: str, kind: str, times: str
) -> None:
    act, told = ACTS[name], Told()
    root = prepared(made, tmp_path / "begun", act)
    for number in range(1 if times == "once" else 2):
        left = tmp_path / f"left{number}"
        with watching(root) as faults, act.opened(root, chance=number) as office:
            told = told.and_of(office)
            faults.begin(dies(faults, write, kind, left))
            act.run(office)
        # The second time it may have nothing to write any more: then it was done.
        root = left if number == 0 or left.exists() else root
    ends_well(root, act, told)


@pytest.mark.parametrize("idle", ["file", "folder"])
def test_an_fsync_that_does_nothing_would_be_seen(made: Path, tmp_path: Path, idle: str) -> None:
    """The table's own test: without it the power takes an original that was promised."""
    act, left = ACTS["deposit"], tmp_path / "left"
    root = copied(made, tmp_path / "begun")
    with watching(root) as faults, act.opened(root, chance=1) as office:
        faults.idle_fsync = idle
        faults.begin(dies(faults, "commit tree_head", "power", left))
        act.run(office)
    with pytest.raises((AssertionError, ObjectNotFound)):
        ends_well(left, act, Told())


def ends_well(root: Path, act: Act, told: Told) -> None:
    with act.opened(root, chance=9) as office:
        told = told.and_of(office)
        office.examine()
        act.run(office)
        act.held(office)
        check_house(office, told)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ROW_CRASHES)
@pytest.mark.parametrize(
    ("name", "write"),
    [
        (name, write)
        for name in ("deposit", "batch", "certificate", "publish", "journal", "rotation")
        for write in WRITES[name]
    ],
)
def test_after_the_process_really_ended(
    made: Path, tmp_path: Path, name: str, write: str, kind: str
) -> None:
    """The same as above with a process that is gone: the copies above are what it leaves."""
    act = ACTS[name]
    root = prepared(made, tmp_path / "begun", act)
    child = os.fork()
    if child == 0:
        with watching(root) as faults, act.opened(root, chance=1) as office:
            faults.begin(exits(write, kind))
            act.run(office)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    ends_well(root, act, Told())


# --- the process goes on ------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "write", "kind", "times"), _table(lambda _write: ERRORS))
def test_after_an_error(
    made: Path, tmp_path: Path, name: str, write: str, kind: str, times: str
) -> None:
    act = ACTS[name]
    root = prepared(made, tmp_path / "house", act)
    with watching(root) as faults, act.opened(root, chance=1) as office:
        told = Told().and_of(office)
        for _ in range(1 if times == "once" else 2):
            faults.begin(fails(write, kind))
            tell_of_errors(act, office)
            told = told.and_of(office)
        goes_on(faults, act, office, told)
    ends_well(root, act, told)


def tell_of_errors(act: Act, office: Office) -> None:
    """Either it says so with a code that clients know, or it could do without that write."""
    # What is no error of the house's family is one of background work: logged, and due again.
    expected: tuple[type[Exception], ...] = (NotaryError, StorageError, *act.outside)
    try:
        act.run(office)
    except expected as exc:
        assert not isinstance(exc, NotaryError) or exc.code in CODES


def goes_on(faults: Faults, act: Act, office: Office, told: Told) -> None:
    faults.begin()
    act.run(office)
    act.held(office)
    check_house(office, told)


@pytest.mark.parametrize(
    "then", [1, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 5, 6, 7, 8))]
)
def test_a_failed_reload_after_a_failed_commit_grows_no_second_tree(
    made: Path, tmp_path: Path, then: int
) -> None:
    """A commit whose answer was lost, and then so many questions in a row that fail: the right
    edge in memory is that of a tree which may or may not be."""
    act = ACTS["deposit"]
    root = copied(made, tmp_path / "house")
    with watching(root) as faults, act.opened(root, chance=1) as office:
        told = Told().and_of(office)
        for kind in ("lost", "refused"):
            faults.begin(fails("commit tree_head", kind))
            tell_of_errors(ACTS["event"], office)
            faults.broken_statements = then
            for _ in range(then):
                tell_of_errors(act, office)
            faults.broken_statements = 0
        told = told.and_of(office)
        goes_on(faults, act, office, told)
    ends_well(root, act, told)


# --- the first start ----------------------------------------------------------------------------


FOUNDING = (
    "home: fsync folder", *_whole_file("original"), "original: unlink 2",
    "original: fsync folder 2",
    *(write for number in range(1, 6) for write in _whole_file("keys", number)),
    *_whole_file("home")[:-1], "home: fsync folder 2", *_whole_file("keys", 6),
    *_whole_file("keys", 7),
    "keys: create 8", "keys: write 8", "keys: fsync file 8", "keys: rename", "keys: fsync folder 8",
    "insert alembic_version", "update alembic_version", "update alembic_version 2",
    "update alembic_version 3", "insert tree_head", "insert entry", "insert tile",
    "update tree_head", "insert house", "insert journal", "insert database_began",
    "insert account", "insert sign_in_link", "commit sign_in_link",
    "home: create 2", "home: write 2", "home: fsync file 2", "home: rename", "home: fsync folder 3",
)  # fmt: skip


def test_every_write_of_the_first_start_has_a_row(tmp_path: Path) -> None:
    with watching(tmp_path) as faults:
        found(Settings(home=tmp_path / "house"))
    # The tables are made in the same transaction as their first rows.
    assert tuple(each for each in faults.names if not each.startswith("create ")) == FOUNDING


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        pytest.param(
            write, kind, id=f"init/{write.replace(': ', '-').replace(' ', '-')}/{kind}",
            marks=() if write.startswith("commit") else (pytest.mark.slow,),
        )
        for write in FOUNDING
        for kind in _crashes(write)
    ],
)  # fmt: skip
def test_a_first_start_that_was_cut_short_makes_a_house_or_none(
    tmp_path: Path, write: str, kind: str
) -> None:
    """And a second one makes it, or says that keys of a first one are there: never over them."""
    left = tmp_path / "left"
    (tmp_path / "root").mkdir()
    with watching(tmp_path / "root") as faults:
        faults.begin(dies(faults, write, kind, left))
        found(Settings(home=tmp_path / "root" / "house"))
    settings = Settings(home=left / "house")
    try:
        office = Office(settings)
    except MalformedInput as none:
        assert none.code == "no_house"
        keys = {path: path.read_bytes() for path in (settings.home / "keys").glob("*.pem")}
        try:
            found(settings)
        except (Fork, NotaryError):
            assert keys
            assert keys == {
                path: path.read_bytes() for path in (settings.home / "keys").glob("*.pem")
            }
            return
        assert not keys
        office = Office(settings)
    check_house(office, Told().and_of(office))
    office.close()
