"""How the keys of a log followed one another, learned from the log itself by a reader outside.

The reader trusts some keys of the log already. A checkpoint that none of them signed sends him to
the log's genesis and rotations: he believes the keys that one of his own handed over to, document
by document, and then only if each document stands in the tree that those keys signed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from notary.errors import BadRotation, BadSignature, MalformedInput, Unreachable, Unverifiable
from notary.follow import Tree, fetch_checkpoint
from notary.keyhistory import (
    MAX_ROTATIONS_BYTES,
    ROTATIONS,
    KeyHistory,
    Registered,
    encode_rotations,
    handover,
    parse_rotations,
    read_history,
)
from notary.readable import Source
from notary.rotation import digest_of
from notary.signed_head import Contradiction, Exhibit, Identity, Kind, SignedHead
from notary.statement import GENESIS_TYPE, ROTATION_TYPE, check_statement, parse_statement
from notary.tlog.tile import TILE_WIDTH
from storage.durable import replace_file

GENESIS: Final = "genesis.json"
MAX_GENESIS_BYTES: Final = 1 << 20


@dataclass(slots=True, kw_only=True)
class Beside:
    """A reader's memory as a source: files whose names begin with that of another."""

    path: Path
    name: str

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """As `Source.read`."""
        try:
            with self._file(path).open("rb") as file:
                return file.read(max_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise Unreachable(f"{self._file(path)} cannot be read: {exc}") from exc

    def keep(self, history: KeyHistory) -> None:
        """Durably. A crash in between leaves what was known before. Raises OSError."""
        replace_file(str(self._file(GENESIS)), history.genesis.encode("utf-8"), mode=0o644)
        data = encode_rotations(history.registered)
        replace_file(str(self._file(ROTATIONS)), data, mode=0o644)

    def _file(self, path: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{path}")


def believing(identity: Identity, history: KeyHistory | None) -> Identity:
    """The same log, with the keys that follow from the ones that `identity` has."""
    if history is None:
        return identity
    keys = dict.fromkeys((*identity.keys, *history.believed(identity.keys)))
    return replace(identity, keys=tuple(keys))


def fetch_history(source: Source, identity: Identity) -> KeyHistory | None:
    """The rotations that a source shows, verified as a chain from the genesis that it shows; None
    where it shows none. Whether they stand in the tree is for `prove_history`.

    Raises Unverifiable with the code of BadRotation, Unreachable.
    """
    rotations = source.read(ROTATIONS, MAX_ROTATIONS_BYTES)
    if rotations is None:
        return None
    try:
        registered = parse_rotations(rotations)
        genesis = source.read(GENESIS, MAX_GENESIS_BYTES) if registered else None
        if genesis is None:
            return None
        history = read_history(genesis.decode("utf-8"), registered)
        if history.origin != identity.origin:
            raise BadRotation(
                f"genesis is of {history.origin!r}, the log is {identity.origin!r}",
                code="rotation_misplaced",
            )
    except (BadRotation, UnicodeDecodeError) as exc:
        code = exc.code if isinstance(exc, BadRotation) else BadRotation.code
        raise Unverifiable(f"{ROTATIONS} of {source.name}: {exc}", code=code) from exc
    return history


def recall(memory: Source, identity: Identity) -> KeyHistory | None:
    """What a run before this one verified and kept. Raises MalformedInput where that is spoilt."""
    try:
        return fetch_history(memory, identity)
    except Unverifiable as exc:
        raise MalformedInput(f"what was remembered does not hold: {exc}", code="settings") from exc


def fetch_head(
    source: Source, identity: Identity, history: KeyHistory | None
) -> tuple[SignedHead, KeyHistory | None]:
    """The newest checkpoint, and the rotations up to it: those known, or more where only they
    explain who signed it. What is new must be proved by `prove_history` before it is kept.

    Raises as `fetch_checkpoint` and `fetch_history` do, and Contradiction for a checkpoint that
    only retired keys signed, and for two rotations of one serial.
    """
    try:
        head = fetch_checkpoint(source, believing(identity, history))
    except Unverifiable as unknown:
        found = fetch_history(source, identity)
        if found is None or not found.believed(identity.keys):
            raise
        check_extends(history, found)
        if history is not None and found.serial == history.serial:
            raise
        try:
            head = fetch_checkpoint(source, believing(identity, found))
        except Unverifiable:
            raise unknown from None
        history = found.up_to(head.size)
    check_signers(head, identity, history)
    return head, history


def check_extends(old: KeyHistory | None, new: KeyHistory) -> None:
    """Raises Contradiction unless `new` has every rotation that `old` has and both reach."""
    known = () if old is None else old.registered
    for serial, (ours, theirs) in enumerate(zip(known, new.registered, strict=False), start=1):
        if (ours.index, ours.document) != (theirs.index, theirs.document):
            raise Contradiction(
                Kind.FORK,
                f"key rotation {serial} is entry {ours.index}, and now another at {theirs.index}",
                name=ROTATIONS,
                exhibits=(
                    _exhibit(f"key rotation {serial} as verified before", ours),
                    _exhibit(f"key rotation {serial} now", theirs),
                ),
            )


def check_signers(head: SignedHead, identity: Identity, history: KeyHistory | None) -> None:
    """A key that was retired signs no tree that covers its retirement. Raises Contradiction."""
    if history is None:
        return
    signers = {each.key for each in head.signatures}
    ever, active = set(history.all().log), set(history.at(head.size).log)
    if signers & ever and not signers & active and not signers & (set(identity.keys) - ever):
        raise Contradiction(
            Kind.RETIRED,
            f"the checkpoint of size {head.size} is signed only by keys that were retired before",
            exhibits=(head.exhibit("the checkpoint"),),
        )


def prove_history(tree: Tree, history: KeyHistory) -> None:
    """Every document of it is committed to by its entry, and each hand-over's checkpoint is of this
    tree. Raises Contradiction, Withheld, Unreachable."""
    _prove_entry(tree, history, 0, history.genesis, GENESIS_TYPE, name=GENESIS)
    for each in history.registered:
        _prove_entry(tree, history, each.index, each.document, ROTATION_TYPE, name=ROTATIONS)
        said, root = handover(each), tree.root_at(each.index + 1)
        if said.root != root:
            raise Contradiction(
                Kind.INCONSISTENT,
                f"root hash mismatch at size {said.size}: the checkpoint of the key rotation has "
                f"{said.root.hex()}, the tree begins with {root.hex()}",
                name=ROTATIONS,
                exhibits=(
                    Exhibit(label="the checkpoint of the key rotation", text=each.checkpoint),
                    tree.head.exhibit("the checkpoint"),
                ),
            )


def _prove_entry(
    tree: Tree, history: KeyHistory, index: int, document: str, type_: str, *, name: str
) -> None:
    entry = tree.entries(index // TILE_WIDTH)[index % TILE_WIDTH]
    try:
        statement = parse_statement(entry)
        check_statement(statement, history.at(index).statement[0])
        committed = (statement.preimage_type, statement.payload.hex())
        why = f"it is {digest_of(document).hex()}, entry {index} commits to {committed[1]}"
    except (MalformedInput, BadSignature) as exc:
        committed, why = ("", ""), f"entry {index}: {exc}"
    if committed != (type_, digest_of(document).hex()):
        raise Contradiction(
            Kind.ENTRY,
            f"{name} is not what the tree commits to: {why}",
            name=name,
            exhibits=(
                tree.head.exhibit("the checkpoint"),
                Exhibit(label=f"{name}, for entry {index}", text=f"{document}\n"),
            ),
        )


def _exhibit(label: str, registered: Registered) -> Exhibit:
    return Exhibit(label=label, text=f"{registered.document}\n\n{registered.checkpoint}")
