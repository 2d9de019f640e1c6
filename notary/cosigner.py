"""A witness of our own (C2SP tlog-witness): signs only checkpoints that extend the last it saw.

Its whole state is one file for each log, the newest cosigned checkpoint. The check against it and
its replacement happen under a lock that holds across processes, and the file is durable before
the answer goes out: a crash in between leaves a witness that remembers a checkpoint it may not
have answered, and never one that forgot.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from notary.errors import (
    BadConsistency,
    BadSignature,
    MalformedInput,
    Unverifiable,
)
from notary.tlog import merkle
from notary.tlog.checkpoint import (
    Checkpoint,
    decode_base64,
    parse_checkpoint_text,
    parse_decimal,
)
from notary.tlog.note import Note, NoteSigner, VerifierKey, open_note, parse_note
from storage.durable import replace_file

MAX_PROOF_LINES = 63
MAX_BODY_BYTES = 1 << 16
TEXT = "text/plain; charset=utf-8"
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer as tlog-witness defines it."""

    status: int
    body: str
    content_type: str = TEXT


class _Refused(Exception):
    def __init__(self, status: int, reason: str, content_type: str = TEXT) -> None:
        super().__init__(reason)
        self.answer = Answer(status=status, body=f"{reason}\n", content_type=content_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    old: int
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint


class Cosigner:
    """`logs` are the keys of the logs it watches; `signers` cosign, in this order."""

    def __init__(
        self, folder: Path, *, logs: Sequence[VerifierKey], signers: Sequence[NoteSigner]
    ) -> None:
        self._folder = folder
        self._logs = tuple(logs)
        self._signers = tuple(signers)
        self._turn = threading.Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        """The answer to `POST add-checkpoint`; never raises for what a stranger sent."""
        try:
            request = _parse(body)
            self._check_log(request)
            with self._alone(request.checkpoint.origin):
                return self._extend(request)
        except _Refused as refused:
            return refused.answer

    def latest(self, origin_hash: str) -> bytes | None:
        """The newest cosigned checkpoint of the log whose origin hashes to this, in hex."""
        if len(origin_hash) != 64 or not all(c in "0123456789abcdef" for c in origin_hash):
            return None
        try:
            return (self._folder / f"{origin_hash}.checkpoint").read_bytes()
        except FileNotFoundError:
            return None

    def _check_log(self, request: _Request) -> None:
        origin = request.checkpoint.origin
        keys = [key for key in self._logs if key.name == origin]
        if not keys:
            raise _Refused(404, f"unknown log {origin!r}")
        try:
            open_note(request.note, keys)
        except (BadSignature, Unverifiable) as exc:
            raise _Refused(403, f"invalid signature: {exc}") from exc

    def _extend(self, request: _Request) -> Answer:
        new = request.checkpoint
        last = self._last(new.origin)
        if request.old != last.size:
            raise _Refused(409, str(last.size), SIZE_TYPE)
        if new.size == 0 and new.root != merkle.EMPTY_ROOT:
            raise _Refused(422, "consistency proof: the empty tree has another root")
        try:
            merkle.check_consistency(
                old=last.size, new=new.size, old_root=last.root, new_root=new.root,
                proof=request.proof,
            )  # fmt: skip
        except BadConsistency as exc:
            raise _Refused(422, f"consistency proof: {exc}") from exc
        cosignatures = tuple(signer.sign(request.note.text) for signer in self._signers)
        keys = {(key.name, key.key_id) for key in self._logs}
        own = [s for s in request.note.signatures if (s.name, s.key_id) in keys]
        kept = Note(text=request.note.text, signatures=(*own, *cosignatures))
        replace_file(str(self._path(new.origin)), kept.encode(), mode=0o644)
        return Answer(status=200, body="".join(line.encode() for line in cosignatures))

    def _last(self, origin: str) -> Checkpoint:
        try:
            data = self._path(origin).read_bytes()
        except FileNotFoundError:
            return Checkpoint(origin=origin, size=0, root=merkle.EMPTY_ROOT)
        return parse_checkpoint_text(parse_note(data).text)

    def _path(self, origin: str) -> Path:
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()}.checkpoint"

    @contextmanager
    def _alone(self, origin: str) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        lock = os.open(f"{self._path(origin)}.lock", flags, 0o600)
        try:
            with self._turn:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        finally:
            os.close(lock)  # and with it the lock


def _parse(body: bytes) -> _Request:
    try:
        head, blank, rest = body.partition(b"\n\n")
        first, *lines = head.decode("ascii").split("\n")
        if not blank or not first.startswith("old ") or len(body) > MAX_BODY_BYTES:
            raise MalformedInput("the body is not an old size, a proof and a checkpoint")
        if len(lines) > MAX_PROOF_LINES:
            raise MalformedInput(f"{len(lines)} proof lines, at most {MAX_PROOF_LINES}")
        note = parse_note(rest)
        request = _Request(
            old=parse_decimal(first.removeprefix("old ")),
            proof=tuple(decode_base64(line) for line in lines),
            note=note,
            checkpoint=parse_checkpoint_text(note.text),
        )
    except (MalformedInput, UnicodeDecodeError) as exc:
        raise _Refused(400, f"malformed: {exc}") from exc
    if request.old > request.checkpoint.size:
        raise _Refused(400, f"old size {request.old} is over {request.checkpoint.size}")
    return request
