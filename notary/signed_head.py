"""A log's signed checkpoint, verified with keys the reader brought along; and what contradicts it.

PURE.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from notary.errors import (
    BadSignature,
    MalformedInput,
    Unreachable,
    Unverifiable,
    VerificationError,
)
from notary.tlog.checkpoint import Checkpoint, parse_checkpoint_text
from notary.tlog.note import VerifiedSignature, VerifierKey, open_note, parse_note
from notary.tlog.policy import Policy


class Kind(StrEnum):
    """What a log did that no honest log does."""

    SIGNATURE = "signature_invalid"
    """A line by a key that we know does not verify."""
    ORIGIN = "origin_mismatch"
    """The log's key signed a checkpoint of another log."""
    MALFORMED = "checkpoint_malformed"
    """The log's key signed what is no checkpoint."""
    ROLLBACK = "rollback"
    """The tree is smaller than one that was signed before."""
    FORK = "fork"
    """One size, two roots."""
    INCONSISTENT = "checkpoint_inconsistent"
    """The larger tree does not begin with the smaller one."""
    TILE = "tile_wrong"
    """A tile is not that of the signed tree."""
    ENTRY = "entry_wrong"
    """An entry is not the one whose hash is in the signed tree."""
    QUORUM = "witness_quorum_missing"
    """Too few witnesses have seen this history."""
    RETIRED = "retired_key"
    """A key that was retired signed a tree that covers its retirement."""
    COPY = "copy_differs"
    """What lies in the copy already is not what the signed tree has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One side of a contradiction: a note verbatim, other bytes in base64."""

    label: str
    text: str


def binary_exhibit(label: str, data: bytes) -> Exhibit:
    text = base64.encodebytes(data).decode("ascii")
    return Exhibit(label=f"{label}, in base64", text=text)


class Contradiction(VerificationError):
    """Evidence against the log. `name` is the path of the tile or bundle at fault, if it is one."""

    def __init__(
        self, kind: Kind, message: str, *, exhibits: Sequence[Exhibit], name: str = ""
    ) -> None:
        super().__init__(message, code=kind.value)
        self.kind = kind
        self.name = name
        self.exhibits = tuple(exhibits)

    def evidence(self) -> str:
        """All of it as text, each exhibit under a line that begins with three dashes."""
        parts = [f"{self.kind}: {self}\n"]
        parts += [f"\n--- {each.label}\n{each.text}" for each in self.exhibits]
        return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the reader knows of a log by another way than from the log: its `origin` and `keys`,
    and whose cosignatures count."""

    origin: str
    keys: tuple[VerifierKey, ...]
    policy: Policy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A checkpoint that the log signed. `note` is verbatim; `signatures` are those of the log's
    keys and of the policy's witnesses that hold; `signed_at` is the latest time by a key of the
    log in POSIX seconds, None where none of them carries a time."""

    note: bytes
    checkpoint: Checkpoint
    signatures: tuple[VerifiedSignature, ...]
    signed_at: int | None

    @property
    def size(self) -> int:
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        return self.checkpoint.root

    def exhibit(self, label: str) -> Exhibit:
        return Exhibit(label=label, text=self.note.decode())


def open_checkpoint(data: bytes, identity: Identity, *, label: str) -> SignedHead:
    """Verifies a signed checkpoint; the policy is not looked at.

    Raises Contradiction for a false line by a known key and for what the log's key must not sign,
    Unverifiable (`unknown_key`) without a line by one of the log's keys, Unreachable for bytes
    that are no note: any server in the way may have answered those.
    """
    try:
        note = parse_note(data)
    except MalformedInput as exc:
        raise Unreachable(f"{label} cannot be read: {exc}") from exc
    exhibits = (Exhibit(label=label, text=data.decode()),)
    witnesses = () if identity.policy is None else identity.policy.witnesses
    known = [*identity.keys, *(witness.key for witness in witnesses)]
    try:
        signatures = open_note(note, known)
    except BadSignature as exc:
        raise Contradiction(Kind.SIGNATURE, f"{label}: {exc}", exhibits=exhibits) from exc
    own = [each for each in signatures if each.key in identity.keys]
    if not own:
        raise Unverifiable(f"{label}: no line by a key of the log", code="unknown_key")
    try:
        checkpoint = parse_checkpoint_text(note.text)
    except MalformedInput as exc:
        raise Contradiction(Kind.MALFORMED, f"{label}: {exc}", exhibits=exhibits) from exc
    if checkpoint.origin != identity.origin:
        raise Contradiction(
            Kind.ORIGIN,
            f"{label}: the log is {identity.origin!r}, its key signed for {checkpoint.origin!r}",
            exhibits=exhibits,
        )
    times = [each.timestamp for each in own if each.timestamp]
    return SignedHead(
        note=data,
        checkpoint=checkpoint,
        signatures=signatures,
        signed_at=max(times, default=None),
    )


def compare(old: SignedHead, new: SignedHead, *, labels: tuple[str, str]) -> None:
    """What two checkpoints say without their trees. Raises Contradiction (rollback, fork)."""
    exhibits = (old.exhibit(labels[0]), new.exhibit(labels[1]))
    if new.size < old.size:
        raise Contradiction(
            Kind.ROLLBACK,
            f"{labels[1]} has size {new.size}, {labels[0]} has size {old.size} already",
            exhibits=exhibits,
        )
    if new.size == old.size and new.root != old.root:
        raise Contradiction(
            Kind.FORK,
            f"root hash mismatch at size {new.size}: {labels[0]} has {old.root.hex()}, "
            f"{labels[1]} has {new.root.hex()}",
            exhibits=exhibits,
        )
