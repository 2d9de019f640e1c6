"""Rows of a large batch, signed by processes beside ours: the same rows, in the same order."""

from __future__ import annotations

import contextlib
import hashlib
import json
import marshal
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from notary.batch_rows import CHUNK_ROWS
from notary.clock import SystemClock, rfc3339
from notary.errors import Unreachable
from notary.model import Principal
from notary.office import Office
from notary.record import check_disclosures
from notary.row_signing import CHUNKS_ALONE
from notary.signing import PROCESSES, Row, Signers, borrow_signers, sign_rows
from notary.statement import StatementSigner, check_statement, parse_statement
from tests.harness.certified import depositor, open_house
from tests.harness.server import REPOSITORY

LARGE = CHUNK_ROWS * (CHUNKS_ALONE + PROCESSES + 1) + 7


@pytest.fixture
def statements() -> StatementSigner:
    return StatementSigner("log.example/1", Ed25519PrivateKey.generate())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Office]:
    opened = open_house(tmp_path / "house")
    yield opened
    opened.close()


def rows(first: int, count: int) -> list[Row]:
    received_at = rfc3339(SystemClock().now())
    return [
        {"batch_row": number, "received_at": received_at, "sections": {"content": {"size": number}}}
        for number in range(first, first + count)
    ]


def lines(count: int) -> Iterator[bytes]:
    for number in range(count):
        sha256 = hashlib.sha256(b"%d" % number).hexdigest()
        row = {"size": number + 1, "digests": {"sha-256": sha256}, "client_reference": f"r{number}"}
        yield json.dumps(row).encode()


def receive(house: Office, by: Principal, count: int) -> list[dict[str, object]]:
    committed = house.batches.receive(
        lines(count), by=by, key=None, atomic=False, check_end=lambda _stated, _rows: None
    )
    answer = b"".join(house.batches.answer(committed.outcome))
    return [json.loads(line) for line in answer.splitlines()]


def test_chunks_come_back_signed_in_the_order_they_were_given(statements: StatementSigner) -> None:
    with contextlib.closing(Signers(statements)) as found:
        packed = [found.give(marshal.dumps(rows(first, 10))) for first in range(0, 100, 10)]
        packed += list(found.rest())
    signed = [row for chunk in packed if chunk is not None for row in marshal.loads(chunk)]
    assert [row["batch_row"] for row in signed] == list(range(100))
    for row in signed:
        statement = parse_statement(row["statement"])
        check_statement(statement, statements.public_key)
        assert statement.payload == hashlib.sha256(row["record"].encode()).digest()
        sections = check_disclosures(row["record"], row["disclosures"].split())
        assert sections == {"content": {"size": row["batch_row"]}}
    assert len({row["id"] for row in signed}) == len(signed)


def test_rows_with_a_problem_stay_as_they_are(statements: StatementSigner) -> None:
    refused: Row = {"batch_row": 1, "problem": ("code", "detail")}
    assert sign_rows([dict(refused)], statements, os.urandom) == [refused]


def test_large_batch_is_entered_in_the_order_sent(house: Office) -> None:
    by = depositor(house)
    first = house.ledger.head().size
    answered = receive(house, by, LARGE)
    assert [line["index"] for line in answered] == list(range(first, first + LARGE))
    assert [line["client_reference"] for line in answered] == [f"r{n}" for n in range(LARGE)]
    for number in (0, CHUNK_ROWS * CHUNKS_ALONE + 3, LARGE - 1):
        deposit = house.register.deposit(str(answered[number]["id"]))
        (entry,) = house.ledger.entries(deposit.index, 1)
        payload = parse_statement(entry).payload
        assert payload == hashlib.sha256(deposit.record.encode()).digest()
        assert deposit.sha256 == hashlib.sha256(b"%d" % number).hexdigest()


def test_second_batch_at_the_same_time_signs_by_itself(statements: StatementSigner) -> None:
    first, second = borrow_signers(statements), borrow_signers(statements)
    assert first is not None
    assert second is None
    first.give_back()
    again = borrow_signers(statements)
    assert again is not None
    again.give_back()


def test_signing_process_that_dies_refuses_the_batch(statements: StatementSigner) -> None:
    with contextlib.closing(Signers(statements)) as found:
        found.give(marshal.dumps(rows(0, 10)))
        for process in found.processes:
            process.kill()
            process.wait()
        with pytest.raises(Unreachable):
            list(found.rest())


def test_signing_process_that_dies_leaves_nothing_of_the_batch(
    house: Office,
) -> None:
    by = depositor(house)
    before = house.ledger.head()

    def cut() -> Iterator[bytes]:
        for number, line in enumerate(lines(LARGE)):
            if number == CHUNK_ROWS * (CHUNKS_ALONE + 1):
                _kill_children_named("notary.signing")
            yield line

    with pytest.raises(Unreachable):
        house.batches.receive(
            cut(), by=by, key=None, atomic=False, check_end=lambda _stated, _rows: None
        )
    head = house.ledger.head()
    assert head == before
    assert house.register.deposits(account_id=by.account_id) == ()


def test_signing_processes_end_with_whoever_started_them() -> None:
    script = (
        "import time\n"
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey\n"
        "from notary.signing import Signers\n"
        "from notary.statement import StatementSigner\n"
        "found = Signers(StatementSigner('a.example/1', Ed25519PrivateKey.generate()))\n"
        "print(*[process.pid for process in found.processes], flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == PROCESSES
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < deadline, f"{pids} outlived their parent"
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def _kill_children_named(module: str) -> None:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == os.getpid() and module.encode() in command:
            os.kill(int(entry.name), signal.SIGKILL)
