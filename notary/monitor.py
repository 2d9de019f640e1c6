"""Follows a log of ours from outside, remembers what it verified last, and holds the log to it.

Its whole memory is one file: the last checkpoint that was verified, verbatim. It is replaced only
after the new checkpoint, its consistency with the last, and every tile of the new part have been
proved, so that a crash at any point leaves a monitor that looks at that part again. Where the log's
keys were rotated, the genesis and the rotations that it verified lie beside that file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from notary.clock import Clock, rfc3339
from notary.errors import MalformedInput, Unreachable, Unverifiable
from notary.follow import Tree, open_tree, remembered
from notary.keyhistory import KeyHistory
from notary.readable import Source
from notary.rotation import Rotation
from notary.signed_head import (
    Contradiction,
    Identity,
    Kind,
    SignedHead,
    compare,
    open_checkpoint,
)
from notary.source import HttpSource
from notary.succession import Beside, believing, fetch_head, prove_history, recall
from notary.tlog.note import MAX_NOTE_BYTES
from notary.tlog.policy import Witness
from storage.durable import replace_file, write_file

WITNESS_GRACE_S: Final = 60
"""How long witnesses may take to cosign a checkpoint after the log signed it."""
CLOCK_SLACK_S: Final = 300
"""How far the log's clock may be ahead of ours."""
MOST_EVIDENCE: Final = 9

LAST, NOW = "the last verified checkpoint", "the checkpoint now"


class Stale(Unreachable):
    """The checkpoint is older than the watcher allows: the log, or the way to it, stands still."""

    code = "checkpoint_stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was verified: from size `old` to `size`. `age_s` is None where no time was signed;
    `learned` are the rotations of the log's keys that were met now."""

    old: int
    size: int
    root: bytes
    age_s: int | None
    learned: tuple[Rotation, ...] = ()


class Monitor:
    """`max_age_s` is how old a signed checkpoint may be, None for any age. With `entries` the
    bundles of the new part are read too. `witness_source` says where a witness of the policy is
    read from its URL."""

    def __init__(
        self,
        *,
        source: Source,
        identity: Identity,
        state: Path,
        clock: Clock,
        max_age_s: int | None = None,
        entries: bool = False,
        witness_source: Callable[[str], Source] = HttpSource,
    ) -> None:
        self._source = source
        self._given = self._identity = identity
        self._state = state
        self._memory = Beside(path=state, name=str(state))
        self._clock = clock
        self._max_age_s = max_age_s
        self._entries = entries
        self._witness_source = witness_source
        if not state.parent.is_dir():
            raise MalformedInput(f"there is no folder {state.parent} for {state}", code="settings")

    def look(self) -> Look:
        """Verifies everything that is new, then remembers it.

        Raises Contradiction with the evidence, the last verified checkpoint always among it;
        Unreachable, of it Withheld and Stale, and Unverifiable where it could not look: a stale
        checkpoint is verified and remembered all the same.
        """
        known = recall(self._memory, self._given)
        self._identity = believing(self._given, known)
        last = remembered(self._state, self._identity)
        try:
            now, history = self._verify(last, known)
        except Contradiction as exc:
            if last is not None and last.exhibit(LAST) not in exc.exhibits:
                exc.exhibits = (last.exhibit(LAST), *exc.exhibits)
            raise
        self._remember(now, last, None if history is known else history)
        return Look(
            old=0 if last is None else last.size,
            size=now.size,
            root=now.root,
            age_s=self._age(now),
            learned=()
            if history is None
            else history.rotations[0 if known is None else known.serial :],
        )

    def _verify(
        self, last: SignedHead | None, known: KeyHistory | None
    ) -> tuple[SignedHead, KeyHistory | None]:
        # Witnesses first: what they have seen of an honest log, it still has a moment later.
        # It may be signed by keys that only the log can introduce, so it is opened after that.
        shown = self._ask_witnesses()
        now, history = fetch_head(self._source, self._given, known)
        self._identity = believing(self._given, history)
        witnessed = [(witness, self._open_witnessed(witness, data)) for witness, data in shown]
        if last is not None:
            compare(last, now, labels=(LAST, NOW))
        tree = open_tree(self._source, now)
        if last is not None:
            tree.check_extends(last, labels=(LAST, NOW))
        if history is not None and history is not known:
            prove_history(tree, history)
        for _ in tree.leaves(0 if last is None else last.size, entries=self._entries):
            pass  # proved as it comes
        self._check_witnesses(tree, last, witnessed)
        return now, history

    def _remember(
        self, now: SignedHead, last: SignedHead | None, learned: KeyHistory | None
    ) -> None:
        """Keys before the checkpoint that needs them: a crash in between leaves more keys than
        the checkpoint has, and they are proved again with the next."""
        if last is not None and last.note == now.note:
            return
        try:
            if learned is not None:
                self._memory.keep(learned)
            replace_file(str(self._state), now.note, mode=0o644)
        except OSError as exc:
            raise Unreachable(f"{self._state} cannot be written: {exc}") from exc

    def _age(self, now: SignedHead) -> int | None:
        """Raises Stale, Unverifiable where an age was asked for that nobody signed."""
        if now.signed_at is None:
            if self._max_age_s is not None:
                raise Unverifiable(
                    "no known key of the log signs a time: give its ML-DSA-44 key too, or set "
                    "no limit to the age"
                )
            return None
        age_s = int(self._clock.now().timestamp()) - now.signed_at
        signed_at = rfc3339(datetime.fromtimestamp(now.signed_at, UTC))
        if self._max_age_s is not None and age_s > self._max_age_s:
            raise Stale(
                f"the newest checkpoint of {self._source.name} was signed at {signed_at}, "
                f"{age_s} s ago; at most {self._max_age_s} s are allowed"
            )
        if self._max_age_s is not None and age_s < -CLOCK_SLACK_S:
            raise Stale(f"the checkpoint was signed at {signed_at}, {-age_s} s from now")
        return age_s

    # --- witnesses -------------------------------------------------------------------------

    def _ask_witnesses(self) -> list[tuple[Witness, bytes | Unreachable | None]]:
        """What each witness with a URL says it saw last; None where it knows no such log."""
        policy = self._identity.policy
        asked = [] if policy is None else [each for each in policy.witnesses if each.url]
        if not asked:
            return []
        with ThreadPoolExecutor(max_workers=len(asked)) as pool:
            return list(zip(asked, pool.map(self._ask_witness, asked), strict=True))

    def _ask_witness(self, witness: Witness) -> bytes | Unreachable | None:
        assert witness.url is not None
        source = self._witness_source(witness.url)
        path = f"{hashlib.sha256(self._identity.origin.encode()).hexdigest()}/checkpoint"
        try:
            return source.read(path, MAX_NOTE_BYTES)
        except Unreachable as exc:
            return exc

    def _open_witnessed(
        self, witness: Witness, data: bytes | Unreachable | None
    ) -> SignedHead | Unreachable | None:
        if not isinstance(data, bytes):
            return data
        try:
            label = f"the checkpoint of witness {witness.name!r}"
            seen = open_checkpoint(data, self._identity, label=label)
        except Unreachable as exc:
            return exc
        except Unverifiable as exc:
            return Unreachable(f"witness {witness.name!r}: {exc}")
        if not any(each.key == witness.key for each in seen.signatures):
            return Unreachable(f"witness {witness.name!r} shows a checkpoint it did not cosign")
        return seen

    def _check_witnesses(
        self,
        tree: Tree,
        last: SignedHead | None,
        witnessed: list[tuple[Witness, SignedHead | Unreachable | None]],
    ) -> None:
        """What witnesses saw must be in the tree, and a quorum of them must have seen what we
        verified last, unless that was signed just now."""
        policy = self._identity.policy
        if policy is None:
            return
        since = 0 if last is None or self._is_young(last) else last.size
        signers = [each.key for each in tree.head.signatures]
        silent = []
        for witness, seen in witnessed:
            if isinstance(seen, SignedHead):
                label = f"the checkpoint cosigned by witness {witness.name!r}"
                tree.check_extends(seen, labels=(label, NOW))
                if seen.size >= since:
                    signers.append(witness.key)
            elif seen is not None:
                silent.append(f"witness {witness.name!r}: {seen}")
        try:
            policy.check(signers)
        except Unverifiable as exc:
            if silent:
                raise Unreachable(
                    f"{exc}, and not all could be asked: {'; '.join(silent)}"
                ) from exc
            raise Contradiction(
                Kind.QUORUM,
                f"{exc} for size {max(since, 1)} or larger",
                exhibits=(tree.head.exhibit(NOW),),
            ) from exc

    def _is_young(self, head: SignedHead) -> bool:
        now = self._clock.now().timestamp()
        return head.signed_at is not None and now - head.signed_at < WITNESS_GRACE_S


def keep_evidence(contradiction: Contradiction, state: Path) -> Path:
    """Writes it beside the state, durably, and says where. What was kept before is never written
    over: other evidence gets a number of its own, and the same is kept once."""
    text = contradiction.evidence().encode()
    for number in range(1, MOST_EVIDENCE + 1):
        path = state.with_name(f"{state.name}.evidence" + ("" if number == 1 else f".{number}"))
        try:
            write_file(str(path), text, mode=0o644)
        except FileExistsError:
            if path.read_bytes() != text:
                continue
        return path
    raise Unreachable(f"there are {MOST_EVIDENCE} files {state.name}.evidence already")
