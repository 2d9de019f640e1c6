"""Records and statements for the rows of a batch, by two processes beside our own.

Most of what a row costs is its signature and its salted record, and the interpreter makes one at
a time. The processes get rows through a pipe, a chunk at a time, and give them back signed:

    hello: marshal of (issuer, packed key)          each message behind its length in 8 bytes
    then:  marshal of a chunk of rows    →    marshal of the same rows with
           `id`, `record`, `disclosures`, `statement` in place of `sections`

The key is a file's raw private half, or the place of one in a token, of which each process opens a
session of its own. They end with their pipe, so none outlives whoever started it. If one dies, the
batch is refused and nothing of it was registered.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any

from notary.clock import parse_rfc3339
from notary.errors import NotaryError, Unreachable
from notary.keystore import pack_key, unpack_key
from notary.model import uuid7
from notary.record import EVIDENCE, SALT_BYTES, build_record
from notary.statement import EVIDENCE_TYPE, StatementSigner

PROCESSES = 2
_ID_BYTES, _SUB_BYTES = 10, 16

Row = dict[str, Any]
"""A row on its way: the columns of `deposit` without index and time of registration, its number in
the batch under `batch_row`; until it is signed, its record's `sections`; then its `statement`. A
refused one has only `batch_row` and `problem`, a (code, detail)."""


def sign_rows(
    rows: list[Row], statements: StatementSigner, randomness: Callable[[int], bytes]
) -> list[Row]:
    """Fills in the rows, in place. Those with a `problem` stay as they are."""
    for row in rows:
        if "problem" in row:
            continue
        sections: dict[str, object] = row.pop("sections")
        random = randomness(_ID_BYTES + _SUB_BYTES + SALT_BYTES * len(sections))
        received_at = parse_rfc3339(row["received_at"])
        row["id"] = id_ = uuid7(received_at, random[:_ID_BYTES])
        record = build_record(
            type_=EVIDENCE,
            id_=id_,
            received_at=received_at,
            sections=sections,
            salts=random[_ID_BYTES + _SUB_BYTES :],
        )
        row["record"] = record.text
        row["disclosures"] = " ".join(record.disclosures)
        row["statement"] = statements.sign(
            record.digest(),
            preimage_type=EVIDENCE_TYPE,
            randomness=random[_ID_BYTES : _ID_BYTES + _SUB_BYTES],
        )
    return rows


class Signers:
    """The processes, for the time of one batch. Chunks come back in the order they were given."""

    def __init__(self, statements: StatementSigner) -> None:
        """Raises OSError where they can't be started."""
        hello = marshal.dumps((statements.issuer, pack_key(statements.key)))
        self.processes: list[subprocess.Popen[bytes]] = []
        self._given: list[subprocess.Popen[bytes]] = []
        try:
            for _ in range(PROCESSES):
                self.processes.append(_start())
                _send(self.processes[-1].stdin, hello)
        except OSError:
            self.close()
            raise

    def give(self, packed: bytes) -> bytes | None:
        """Hands a packed chunk in; gives back the signed one whose place it took."""
        ready = self._take() if len(self._given) == len(self.processes) else None
        process = next(p for p in self.processes if p not in self._given)
        self._given.append(process)
        try:
            _send(process.stdin, packed)
        except OSError as exc:
            raise Unreachable(f"a signing process is gone: {exc.strerror}") from exc
        return ready

    def rest(self) -> Iterator[bytes]:
        """The chunks that are still out."""
        while self._given:
            yield self._take()

    def _take(self) -> bytes:
        process = self._given.pop(0)
        packed = _receive(process.stdout)
        if packed is None:
            raise Unreachable(f"a signing process ended with status {process.wait()}")
        return packed

    def kill(self) -> None:
        """Whoever waits for one of them learns that it is gone."""
        for process in self.processes:
            process.kill()

    def give_back(self) -> None:
        """Ends them, and lets another batch have its own."""
        self.close()
        _turn.release()

    def close(self) -> None:
        self.kill()
        for process in self.processes:
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):  # what was not sent is not wanted any more
                    pipe.close()
            process.wait()


_turn = threading.Lock()


def borrow_signers(statements: StatementSigner) -> Signers | None:
    """None where another batch of this process has them, or the machine has no room for them: the
    caller signs by itself."""
    if not _turn.acquire(blocking=False):
        return None
    try:
        return Signers(statements)
    except OSError:
        _turn.release()
        return None


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "notary.signing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _send(pipe: IO[bytes] | None, message: bytes) -> None:
    assert pipe is not None
    pipe.write(len(message).to_bytes(8, "big") + message)
    pipe.flush()


def _receive(pipe: IO[bytes] | None) -> bytes | None:
    """None at the end, also where that comes within a message."""
    assert pipe is not None
    length = pipe.read(8)
    message = pipe.read(int.from_bytes(length, "big"))
    return message if len(length) == 8 and len(message) == int.from_bytes(length, "big") else None


def main() -> None:
    """One of the processes."""
    hello = _receive(sys.stdin.buffer)
    if hello is None:
        return
    gc.disable()  # rows are trees: no cycle to look for
    issuer, key = marshal.loads(hello)  # noqa: S302  # from the process that started this one
    statements = StatementSigner(issuer, unpack_key(key))
    try:
        while (packed := _receive(sys.stdin.buffer)) is not None:
            rows = marshal.loads(packed)  # noqa: S302  # the same
            _send(sys.stdout.buffer, marshal.dumps(sign_rows(rows, statements, os.urandom)))
    except NotaryError as exc:  # a token that does not answer: the batch is refused by our end
        sys.exit(f"notary: {exc.code}: {exc}")


if __name__ == "__main__":
    main()
