"""The rows of a batch between the stream and the transaction: spooled, signed, spooled again.

Rows come as fast as the client sends them and are signed behind its back, by the processes of
`signing`; the transaction may begin while the last ones are still being signed, so that both cores
of a small machine are busy to the end. Memory holds a few chunks; the spools are nameless files:
a crash leaves nothing of them.
"""

from __future__ import annotations

import marshal
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from notary.errors import NotaryError, Unreachable
from notary.intake import Intake
from notary.keystore import TokenKey
from notary.signing import Row, Signers, borrow_signers, sign_rows
from storage.errors import StorageError, StoreUnavailable

CHUNKS_ALONE = 5
"""Up to here, starting processes takes longer than it saves."""
PATIENCE_S = 60.0
"""How long the transaction, which keeps all others waiting, waits for one chunk."""


class Spool:
    """Packed chunks of rows, in order, on disk. One thread appends while others read."""

    def __init__(self, folder: Path) -> None:
        """In `folder` rather than the system's own for such files, which may be in memory."""
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as exc:
            raise StoreUnavailable(f"temporary file for a batch: {exc.strerror}") from exc
        self._ends = [0]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, packed: bytes) -> None:
        """Raises StoreUnavailable where there is no room for temporary files."""
        rest = memoryview(packed)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as exc:
            raise StoreUnavailable(f"temporary file for a batch: {exc.strerror}") from exc
        self._ends.append(self._ends[-1] + len(packed))

    def read(self, number: int) -> bytes:
        start, end = self._ends[number : number + 2]
        parts = []
        while start < end and (part := os.pread(self._file.fileno(), end - start, start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()


class RowSigning:
    """`put` chunks, `finish`, then read `chunks` once. Leave the context afterwards, whatever
    came: processes and files end with it."""

    def __init__(self, folder: Path, intake: Intake) -> None:
        held = intake.keyring.fresh()  # one for all rows: `under` says which
        self._statements, self._randomness = held.statements, intake.randomness
        self.under = held.serial
        self._unsigned, self._signed = Spool(folder), Spool(folder)
        self._changed = threading.Condition()
        self._total: int | None = None
        self._error: NotaryError | StorageError | None = None
        self._abandoned = False
        self._signers: Signers | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def put(self, rows: list[Row]) -> None:
        """Raises what signing an earlier chunk raised."""
        if self._thread is None and len(self._signed) == CHUNKS_ALONE - 1:
            self._signers = borrow_signers(self._statements)
            if self._signers is not None:
                self._thread = threading.Thread(target=self._sign, daemon=True)
                self._thread.start()
        if self._thread is None:
            rows = sign_rows(rows, self._statements, self._randomness)
            self._signed.append(marshal.dumps(rows))
            return
        with self._changed:
            self._check()
            self._unsigned.append(marshal.dumps(rows))
            self._changed.notify_all()

    def finish(self) -> None:
        """Returns once so much is signed that the rest will be before its turn comes."""
        with self._changed:
            self._total = CHUNKS_ALONE - 1 + len(self._unsigned)
            if self._thread is None:
                self._total = len(self._signed)
            self._changed.notify_all()
            # A token signs slower than rows are entered: nobody else is to wait for that.
            token = isinstance(self._statements.key, TokenKey)
            self._await(self._total if token else self._total // 2)

    def chunks(self) -> Iterator[list[Row]]:
        """All rows, signed, in order. Raises Unreachable where a signing process is gone or
        takes too long."""
        assert self._total is not None
        for number in range(self._total):
            with self._changed:
                self._await(number + 1)
            yield marshal.loads(self._signed.read(number))  # noqa: S302  # our own unnamed file

    def _await(self, signed: int) -> None:
        while len(self._signed) < signed:
            self._check()
            before = len(self._signed)
            if not self._changed.wait(PATIENCE_S) and len(self._signed) == before:
                raise Unreachable(f"no rows were signed for {PATIENCE_S:.0f} s")

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _sign(self) -> None:
        """The thread between the spools and the processes."""
        assert self._signers is not None
        number = 0
        try:
            while self._next(number):
                self._keep(self._signers.give(self._unsigned.read(number)))
                number += 1
            for signed in self._signers.rest():
                self._keep(signed)
        except (NotaryError, StorageError) as exc:
            with self._changed:
                self._error = exc
                self._changed.notify_all()

    def _next(self, number: int) -> bool:
        """Waits for a chunk; False when there will be none."""
        with self._changed:
            while len(self._unsigned) == number:
                if self._total is not None or self._abandoned:
                    return False
                self._changed.wait()
            return not self._abandoned

    def _keep(self, signed: bytes | None) -> None:
        if signed is not None:
            with self._changed:
                self._signed.append(signed)
                self._changed.notify_all()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
        if self._signers is not None:
            self._signers.kill()  # so that the thread, if it waits for them, wakes
        if self._thread is not None:
            self._thread.join()
        if self._signers is not None:
            self._signers.give_back()
        self._unsigned.close()
        self._signed.close()
