"""Which keys held when: the genesis document and the rotations after it, verified as a chain.

A log shows its rotations as one JSON array, `rotations.json`, of objects with `index` (that of
the entry), `document` (its text) and `checkpoint`, the note that was signed at the hand-over: of
size index + 1, and by the log's keys before it and after it.

PURE.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from notary import statement as cose
from notary.errors import BadRotation, BadSignature, MalformedInput, NotaryError
from notary.rotation import (
    Job,
    KeySet,
    Rotation,
    check_signatures,
    digest_of,
    parse_genesis_keys,
    parse_rotation,
)
from notary.tlog.checkpoint import Checkpoint, parse_checkpoint_text
from notary.tlog.note import VerifierKey, open_note, parse_note

ROTATIONS = "rotations.json"
MAX_ROTATIONS = 1_000
MAX_ROTATIONS_BYTES = 32 << 20
"""A rotation of all three jobs takes some 22 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A rotation where it stands: `document` is committed to by entry `index`, `checkpoint` is the
    hand-over's signed note."""

    index: int
    document: str
    checkpoint: str

    def encode(self) -> dict[str, object]:
        return {"index": self.index, "document": self.document, "checkpoint": self.checkpoint}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHistory:
    """Made by `read_history`: every document of it holds."""

    origin: str
    genesis: str
    first: KeySet
    registered: tuple[Registered, ...] = ()
    rotations: tuple[Rotation, ...] = ()

    @property
    def serial(self) -> int:
        """Of the last rotation, 0 before the first."""
        return len(self.registered)

    @property
    def active(self) -> KeySet:
        return self.rotations[-1].keys if self.rotations else self.first

    @property
    def last_document(self) -> str:
        return self.registered[-1].document if self.registered else self.genesis

    def at(self, n: int) -> KeySet:
        """The keys that sign entry `n`, and a checkpoint of size `n`."""
        keys = self.first
        for registered, rotation in zip(self.registered, self.rotations, strict=True):
            if registered.index < n:
                keys = rotation.keys
        return keys

    def all(self) -> KeySet:
        """Every key that ever held, the active ones first, the others by their age."""
        sets = [rotation.keys for rotation in reversed(self.rotations)] + [self.first]
        return KeySet(
            log=tuple(dict.fromkeys(key for each in sets for key in each.log)),
            statement=tuple(dict.fromkeys(key for each in sets for key in each.statement)),
            certificate=tuple(dict.fromkeys(key for each in sets for key in each.certificate)),
        )

    def up_to(self, size: int) -> KeyHistory:
        """As a tree of that size has it."""
        kept = sum(each.index < size for each in self.registered)
        return KeyHistory(
            origin=self.origin,
            genesis=self.genesis,
            first=self.first,
            registered=self.registered[:kept],
            rotations=self.rotations[:kept],
        )

    def believed(self, trusted: Sequence[VerifierKey]) -> tuple[VerifierKey, ...]:
        """The log's keys that those a reader trusts vouch for: the ones that a document brings
        which was signed by a key of his, or by one that follows from it. What the genesis lists
        beside his key is not among them: nobody signed that."""
        known = dict.fromkeys(trusted)
        vouched: dict[VerifierKey, None] = {}
        for rotation in self.rotations:
            if Job.LOG in rotation.jobs() and known.keys() & {
                *rotation.retired.log,
                *rotation.keys.log,
            }:
                vouched |= dict.fromkeys(rotation.keys.log)
                known |= vouched
        return tuple(vouched)


def read_history(genesis: str, registered: Sequence[Registered]) -> KeyHistory:
    """Verifies the chain: form, order, who retired and brought which key, and every signature.

    Whether the documents stand in the ledger is for the reader of the ledger to see. Raises
    BadRotation.
    """
    origin, first = parse_genesis_keys(genesis)
    history = KeyHistory(origin=origin, genesis=genesis, first=first)
    for each in registered:
        history = _extended(history, each)
    return history


def _extended(history: KeyHistory, new: Registered) -> KeyHistory:
    rotation = parse_rotation(new.document)
    _check_place(history, new, rotation)
    _check_keys(history, rotation)
    check_signatures(rotation)
    _check_handover(history, new, rotation)
    return KeyHistory(
        origin=history.origin,
        genesis=history.genesis,
        first=history.first,
        registered=(*history.registered, new),
        rotations=(*history.rotations, rotation),
    )


def _check_place(history: KeyHistory, new: Registered, rotation: Rotation) -> None:
    before = history.registered[-1].index if history.registered else 0
    expected = digest_of(history.last_document)
    for what, is_, must in (
        ("origin", rotation.origin, history.origin),
        ("serial", rotation.serial, history.serial + 1),
        ("previous", rotation.previous.hex(), expected.hex()),
    ):
        if is_ != must:
            raise BadRotation(
                f"rotation {rotation.serial}: {what} is {is_!r}, must be {must!r}",
                code="rotation_misplaced",
            )
    if new.index <= before:
        raise BadRotation(
            f"rotation {rotation.serial} is entry {new.index}, the document before it {before}",
            code="rotation_misplaced",
        )


def _check_keys(history: KeyHistory, rotation: Rotation) -> None:
    """A job either keeps its keys, or retires all of them for others that nobody ever used."""
    active, ever = history.active, history.all()
    used = {public_key for _, public_key in ever.raw().values()}
    ids = {key.key_id for key in ever.log}
    new = list(rotation.keys.only(rotation.jobs()).raw().values())
    for job in Job:
        kept = not rotation.retired.of(job)
        if kept and rotation.keys.of(job) != active.of(job):
            raise _wrong(rotation, f"{job} keys change, but none of them is retired")
        if not kept and rotation.retired.of(job) != active.of(job):
            raise _wrong(rotation, f"retired {job} keys are not the active ones")
        if not rotation.keys.of(job):
            raise _wrong(rotation, f"no {job} key is left")
    raw = [public_key for _, public_key in new]
    count = sum(len(rotation.keys.of(job)) for job in rotation.jobs())
    if not raw or used & set(raw) or len({*raw}) != count:
        raise _wrong(rotation, "a new key was used before, is named twice, or there is none")
    fresh = [key.key_id for key in rotation.keys.log if key not in active.log]
    if ids & set(fresh) or len(set(fresh)) != len(fresh):
        raise _wrong(rotation, "two log keys have one key id")


def _wrong(rotation: Rotation, why: str) -> BadRotation:
    return BadRotation(f"rotation {rotation.serial}: {why}", code="rotation_keys_wrong")


def _check_handover(history: KeyHistory, new: Registered, rotation: Rotation) -> None:
    """The checkpoint of the hand-over has the keys before it and those after it under it."""
    name = f"rotation {rotation.serial}: its checkpoint"
    try:
        note = parse_note(new.checkpoint.encode("utf-8"))
        said = parse_checkpoint_text(note.text)
        for keys in (history.active.log, rotation.keys.log):
            signed = {each.key for each in open_note(note, keys)}
            if signed != set(keys):
                raise MalformedInput("not all keys of the hand-over signed it")
    except (NotaryError, UnicodeEncodeError) as exc:
        raise BadRotation(f"{name}: {exc}", code="rotation_signature_invalid") from exc
    if (said.origin, said.size) != (history.origin, new.index + 1):
        raise BadRotation(
            f"{name} is of {said.origin!r} at size {said.size}, must be of {history.origin!r} at "
            f"{new.index + 1}",
            code="rotation_misplaced",
        )


def handover(registered: Registered) -> Checkpoint:
    """What the hand-over's note, which was verified already, says."""
    return parse_checkpoint_text(parse_note(registered.checkpoint.encode("utf-8")).text)


def encode_rotations(registered: Iterable[Registered]) -> bytes:
    """`rotations.json`."""
    said = [each.encode() for each in registered]
    return json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def parse_rotations(data: bytes) -> tuple[Registered, ...]:
    """Raises BadRotation (`rotation_malformed`); nothing is verified."""
    try:
        said: Any = json.loads(data)
        if not isinstance(said, list) or len(said) > MAX_ROTATIONS:
            raise ValueError(f"not an array of at most {MAX_ROTATIONS}")
        return tuple(_registered(each) for each in said)
    except (ValueError, TypeError, LookupError, RecursionError) as exc:
        raise BadRotation(f"{ROTATIONS} cannot be read: {exc}") from exc


def _registered(said: Any) -> Registered:
    match said:
        case {"index": int(index), "document": str(document), "checkpoint": str(checkpoint)} if (
            len(said) == 3 and not isinstance(index, bool) and index > 0
        ):
            return Registered(index=index, document=document, checkpoint=checkpoint)
    raise ValueError("an element is not index, document and checkpoint")


def check_signer(statement: cose.Statement, index: int, history: KeyHistory) -> None:
    """Raises BadSignature unless the statement key that held at the index signed it; a key that
    was retired by then, or held only later, is called so."""
    key = history.at(index).statement[0]
    try:
        cose.check_statement(statement, key)
    except BadSignature:
        for other in history.all().statement:
            if cose.key_thumbprint(other) == statement.kid != cose.key_thumbprint(key):
                cose.check_statement(statement, other)
                retired = other in history.up_to(index).all().statement
                raise BadSignature(
                    f"statement is signed by key {statement.kid.hex()[:16]}…, which was "
                    f"{'retired before' if retired else 'not in force yet'}; the key that held at "
                    f"entry {index} is {cose.key_thumbprint(key).hex()[:16]}…",
                    code="statement_invalid",
                ) from None
        raise
