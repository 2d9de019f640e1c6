"""Makes a database again from object storage, from a mirror's folder where there is one.

 1. The whole journal is read, from its end, before anything is written.
 2. The keys are there that hold after the genesis document and the rotations in the journal, and
    signed its newest segment.
 3. The newest signed checkpoints that can be known (the journal's, the mirror's, the published
    one) are all covered by entries that are there; if not, going on would be a second history.
 4. Segments are written into the empty database, then the mirror's entries beyond them.
 5. The tree must have the root of each of those checkpoints, and gets the newest one as it was
    signed. Only then the house stands.

A crash in 4 leaves a database that no house opens; the same command goes on with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from notary.clock import Clock, SystemClock, parse_rfc3339
from notary.errors import BadRotation, Corrupt, Fork, MalformedInput, Rollback
from notary.findings import Progress
from notary.follow import Tree, fetch_checkpoint, open_tree
from notary.house import FORMAT, HOUSE, PUBLISHED
from notary.journal_read import Read, backwards, check_signed, forwards, list_journal
from notary.journal_segment import Segment, SegmentHead
from notary.keyhistory import KeyHistory, Registered, read_history
from notary.keyring import KEY_ROTATION, head_signer, load_active, registered_of
from notary.ledger import Ledger, SignHead, TreeHead
from notary.office import open_keys, open_objects
from notary.replay import append, begin, done, finish, newest_evidence, replay
from notary.settings import Settings
from notary.signed_head import Contradiction, Identity, SignedHead, open_checkpoint
from notary.source import FolderSource
from notary.tlog.tile import TILE_WIDTH
from storage.database import Database
from storage.objects import ObjectStore

GROUP_SEGMENTS, GROUP_ROWS = 64, 16_384
GROUP_BUNDLES = 16
JOURNAL_HEAD = "the journal's newest checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """Entries from index `journalled` up to `size` came from the mirror: their records are not
    known. `resigned` where the journal ended between two signed checkpoints, so that the head had
    to be signed anew over the entries of the last ones. `strangers` are keys in the journal's
    place that are no segment's. `missing` segments were written before the backup was made, and
    storage has them no more."""

    segments: int
    size: int
    root: bytes
    checkpoint: bytes
    journalled: int
    resigned: bool
    resumed: int
    strangers: tuple[str, ...]
    missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A state of the house to begin with, in place of nothing: a backup's. `load` writes its rows
    into an empty database in one transaction, all but the house's own, and leaves one that has
    them; the other members say what is in them."""

    load: Callable[[Database], None]
    history: KeyHistory
    head: TreeHead
    segments: int
    digest: bytes
    journalled_at: str
    notes: int
    authority_chain: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """The journal, read whole, or from the base's place on, and found sound."""

    history: KeyHistory
    segments: int
    digest: bytes
    end: int
    head: SegmentHead | None
    strangers: tuple[str, ...]
    signed_at: str | None
    authority_chain: str | None
    missing: int = 0

    @property
    def origin(self) -> str:
        return self.history.origin

    @property
    def genesis(self) -> str:
        return self.history.genesis


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A checkpoint of ours that cannot be unsaid. `label` says where it was found."""

    label: str
    head: TreeHead


def rebuild(
    settings: Settings,
    *,
    mirror: Path | None,
    base: Base | None = None,
    clock: Clock | None = None,
    progress: Progress = lambda what, done, of: None,
) -> Rebuilt:
    """Into the empty database of these settings; or goes on where a rebuild was killed. With a
    `base` only what the journal has since then is read.

    Raises MalformedInput (`house_exists`) for a database with tables, (`no_journal`) where there
    is none; Corrupt naming what is damaged, of the keys too; Rollback where something newer was
    signed than can be made again; Fork where the parts are of two histories; what storage raises.
    """
    clock = clock or SystemClock()
    objects = open_objects(settings)
    survey = _survey(objects, settings, progress, base)
    keys = load_active(open_keys(settings), survey.history)
    sign, _ = head_signer(survey.origin, keys)
    # Retired keys too: a mirror or a published checkpoint may be from before a rotation.
    identity = Identity(origin=survey.origin, keys=survey.history.all().log)
    tree = None if mirror is None else _open_mirror(mirror, identity)
    known = _known(survey, settings, identity, tree)
    if base is not None:
        known = (*known, _Known(label="the backup's checkpoint", head=base.head))
    _require_covered(known, survey, tree)
    with closing(Database(settings.database_url, statement_timeout_s=0)) as database:
        if base is not None:
            base.load(database)
        begin(database, survey.genesis, clock.now())
        resumed = done(database).segments - (0 if base is None else base.segments)
        _replay(database, objects, survey, clock, progress)
        if tree is not None:
            _append_mirror(database, tree, clock, progress)
        head, resigned = _settle(database, known, sign, clock)
        finish(
            database,
            survey.genesis,
            head,
            survey.signed_at,
            authority_chain=survey.authority_chain,
            notes=0 if base is None else base.notes,
        )
    return Rebuilt(
        segments=survey.segments - (0 if base is None else base.segments),
        missing=survey.missing,
        size=head.size,
        root=head.root,
        checkpoint=head.checkpoint,
        journalled=survey.end,
        resigned=resigned,
        resumed=resumed,
        strangers=survey.strangers,
    )


# --- 1, 2: the journal and its keys -------------------------------------------------------------


def _survey(
    objects: ObjectStore, settings: Settings, progress: Progress, base: Base | None
) -> _Survey:
    listed = list_journal(objects)
    if base is not None and listed.end <= base.segments:
        # The newest one may have been counted, and not put yet.
        return _survey_of(base, listed.strangers, max(base.segments - 1 - listed.end, 0))
    if not listed.end:
        raise MalformedInput(
            f"there is no journal in {settings.objects_url}: nothing to rebuild from",
            code="no_journal",
        )
    journal = _Journal() if base is None else _Journal.after(base)
    first = 0 if base is None else base.segments
    read_back = backwards(objects, listed.end, origin=None, newest=None, statement_keys=None)
    for read in islice(read_back, listed.end - first):
        progress("reading", listed.end - read.number, listed.end - first)
        journal.take(read)
    newest, history = journal.sound()
    for segment in (newest, *journal.rewritten):
        check_signed(segment, segment.header.number, history.all().statement)
    return _Survey(
        history=history,
        segments=listed.end,
        digest=newest.digest,
        end=newest.header.end if base is None else max(newest.header.end, base.head.size),
        head=journal.head,
        strangers=listed.strangers,
        signed_at=journal.signed_at,
        authority_chain=journal.authority_chain,
    )


def _survey_of(base: Base, strangers: tuple[str, ...], missing: int) -> _Survey:
    """Storage has nothing newer than the base."""
    return _Survey(
        history=base.history,
        segments=base.segments,
        digest=base.digest,
        end=base.head.size,
        head=None,
        strangers=strangers,
        signed_at=base.journalled_at or None,
        authority_chain=base.authority_chain,
        missing=missing,
    )


@dataclass(slots=True, kw_only=True)
class _Journal:
    """What is remembered of the segments, read from the newest to the first."""

    newest: Segment | None = None
    head: SegmentHead | None = None
    genesis: str | None = None
    authority_chain: str | None = None
    rotations: dict[int, Registered] = field(default_factory=dict)
    previous: bytes = b""
    faults: list[Corrupt] = field(default_factory=list)
    rewritten: list[Segment] = field(default_factory=list)
    """Without their blocks."""
    base: Base | None = None

    @classmethod
    def after(cls, base: Base) -> _Journal:
        """What the base knows already; rotations since then are added."""
        rotations = dict(enumerate(base.history.registered, start=1))
        return cls(base=base, genesis=base.history.genesis, rotations=rotations)

    @property
    def signed_at(self) -> str | None:
        if self.head is not None:
            return self.head.signed_at
        return None if self.base is None else self.base.journalled_at or None

    def take(self, read: Read) -> None:
        if read.segment is None:
            assert read.fault is not None
            self.faults.append(read.fault)
            return
        self.newest = self.newest or read.segment
        if read.segment.rewritten:
            self.rewritten.append(replace(read.segment, blocks=()))
        self.head = self.head or read.segment.header.head
        row = _house_in(read.segment)
        if row is not None:
            self.genesis = self.genesis or str(row["genesis"])
            self.authority_chain = self.authority_chain or row.get("authority_chain")
        for serial, registered in _rotations_in(read.segment):
            self.rotations.setdefault(serial, registered)
        self.previous = read.segment.header.previous

    def sound(self) -> tuple[Segment, KeyHistory]:
        """(newest segment, the keys of all times). Raises Corrupt naming all that is damaged."""
        if self.faults:
            first = self.faults[-1]  # they were found from the end
            others = ", ".join(fault.name for fault in self.faults[-2:-20:-1])
            more = f"; also damaged: {others}" if others else ""
            raise Corrupt(f"{first}{more}", name=first.name)
        assert self.newest is not None
        genesis = self.genesis or ""
        if self.base is not None:
            if self.base.digest != self.previous:
                raise Corrupt(
                    f"journal segment {self.base.segments} follows {self.previous.hex()}, the "
                    f"backup's newest is {self.base.digest.hex()}: they are of two histories",
                    name=f"journal segment {self.base.segments}",
                )
        elif hashlib.sha256(genesis.encode("utf-8")).digest() != self.previous:
            raise Corrupt(
                f"journal segment 0 follows {self.previous.hex()}, which is not the genesis "
                "document's digest",
                name="journal segment 0",
            )
        try:
            history = read_history(genesis, [each for _, each in sorted(self.rotations.items())])
        except BadRotation as exc:
            raise Corrupt(f"key rotations in the journal: {exc}", name="key_rotation") from exc
        return self.newest, history


def _rotations_in(segment: Segment) -> Iterator[tuple[int, Registered]]:
    for block in segment.blocks:
        if block.table == KEY_ROTATION.name:
            for values in block.rows:
                row: dict[str, Any] = dict(zip(block.columns, values, strict=True))
                yield row["serial"], registered_of(row)


def _house_in(segment: Segment) -> dict[str, Any] | None:
    for block in segment.blocks:
        if block.table == HOUSE.name and block.rows:
            row: dict[str, Any] = dict(zip(block.columns, block.rows[-1], strict=True))
            if row["format"] != FORMAT:
                raise Corrupt(
                    f"the journal is of a house of format {row['format']}, this software knows "
                    f"format {FORMAT}",
                    name="house",
                )
            return row
    return None


# --- 3: what was signed -------------------------------------------------------------------------


def _open_mirror(folder: Path, identity: Identity) -> Tree:
    if not folder.is_dir():
        raise MalformedInput(f"--mirror {folder}: no such folder", code="settings")
    source = FolderSource(folder)
    return open_tree(source, fetch_checkpoint(source, identity))


def _known(
    survey: _Survey, settings: Settings, identity: Identity, tree: Tree | None
) -> tuple[_Known, ...]:
    found: list[_Known] = []
    if survey.head is not None:
        said = _opened(survey.head.checkpoint, identity, JOURNAL_HEAD)
        if (said.size, said.root) != (survey.head.size, survey.head.root):
            raise Corrupt(
                f"{JOURNAL_HEAD} signs {said.root.hex()} at {said.size}, its segment says "
                f"{survey.head.root.hex()} at {survey.head.size}",
                name="journal",
            )
        at = parse_rfc3339(survey.head.signed_at)
        found.append(_Known(label=JOURNAL_HEAD, head=_tree_head(said, at)))
    path = settings.home / PUBLISHED
    if path.exists():
        said = _opened(path.read_bytes(), identity, str(path))
        found.append(_Known(label=f"the published checkpoint {path}", head=_tree_head(said)))
    if tree is not None:
        found.append(_Known(label="the mirror's checkpoint", head=_tree_head(tree.head)))
    return tuple(found)


def _opened(note: bytes, identity: Identity, label: str) -> SignedHead:
    try:
        return open_checkpoint(note, identity, label=label)
    except Contradiction as exc:
        raise Corrupt(str(exc), name=label) from exc


def _tree_head(said: SignedHead, at: datetime | None = None) -> TreeHead:
    return TreeHead(
        size=said.size,
        root=said.root,
        checkpoint=said.note,
        signed_at=at or datetime.fromtimestamp(said.signed_at or 0, UTC),
    )


def _require_covered(known: Sequence[_Known], survey: _Survey, tree: Tree | None) -> None:
    have = max(survey.end, 0 if tree is None else tree.head.size)
    for each in known:
        if each.head.size > have:
            raise Rollback(
                f"{each.label} is of size {each.head.size}, but journal"
                f"{'' if tree is None else ' and mirror'} end at {have}: going on from there "
                f"would be a second history. Give a mirror of that size (--mirror), or the rest "
                "of the journal"
            )


# --- 4: rows and entries ------------------------------------------------------------------------


def _replay(
    database: Database, objects: ObjectStore, survey: _Survey, clock: Clock, progress: Progress
) -> None:
    before = done(database)
    if before.segments > survey.segments or (
        before.segments == survey.segments and before.digest != survey.digest
    ):
        raise Corrupt(
            f"the unfinished rebuild in {database!r} is of another journal: empty that database "
            "and start again",
            name="journal",
        )
    if before.segments == survey.segments:
        return
    segments = forwards(
        objects, before.segments, survey.segments, before.digest,
        statement_keys=survey.history.all().statement,
    )  # fmt: skip
    for group in _groups(segments):
        replay(database, group, clock.now())
        progress("segments", group[-1].header.number + 1, survey.segments)
    if done(database).digest != survey.digest:
        raise Corrupt(
            "the journal's last segment is no longer the one that was read before: start again",
            name=f"journal segment {survey.segments - 1}",
        )


def _groups(segments: Iterator[Segment]) -> Iterator[list[Segment]]:
    group: list[Segment] = []
    rows = 0
    for segment in segments:
        group.append(segment)
        rows += sum(len(block.rows) for block in segment.blocks)
        if len(group) == GROUP_SEGMENTS or rows >= GROUP_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _append_mirror(database: Database, tree: Tree, clock: Clock, progress: Progress) -> None:
    ledger = Ledger(database)
    head = ledger.head()
    size = head.size
    if size >= tree.head.size:
        return
    root = tree.root_at(size)
    if root != head.root:
        raise Fork(
            f"root hash mismatch at size {size}: the journal gives {head.root.hex()}, the mirror "
            f"{root.hex()}",
            ours=head.checkpoint,
            theirs=tree.head.note,
        )
    statements: list[bytes] = []
    last = -(-tree.head.size // TILE_WIDTH) - 1
    for n in range(size // TILE_WIDTH, last + 1):
        entries = tree.entries(n)
        statements += entries[max(0, size - n * TILE_WIDTH) :]
        if n == last or len(statements) >= GROUP_BUNDLES * TILE_WIDTH:
            size = append(database, statements, clock.now())
            statements = []
            progress("entries", size, tree.head.size)


# --- 5: the head --------------------------------------------------------------------------------


def _settle(
    database: Database, known: Sequence[_Known], sign: SignHead, clock: Clock
) -> tuple[TreeHead, bool]:
    """The head that the tree gets, as it was signed; newly signed only where the last entries of
    the journal came under no checkpoint that is known."""
    ledger = Ledger(database)
    now = ledger.head()
    attested = newest_evidence(database)
    if attested > now.size:
        raise Rollback(
            f"a checkpoint of size {attested} was timestamped or witnessed, but the entries end "
            f"at {now.size}"
        )
    for each in known:
        root = ledger.root_at(each.head.size)
        if root != each.head.root:
            raise Fork(
                f"root hash mismatch at size {each.head.size}: {each.label} has "
                f"{each.head.root.hex()}, the entries give {root.hex()}",
                ours=each.head.checkpoint,
                theirs=b"",
            )
    fitting = [each.head for each in known if each.head.size == now.size]
    if fitting:
        return max(fitting, key=lambda head: head.signed_at), False
    at = max([clock.now(), *(each.head.signed_at for each in known)])
    return (
        TreeHead(
            size=now.size, root=now.root, checkpoint=sign(now.size, now.root, at), signed_at=at
        ),
        True,
    )
