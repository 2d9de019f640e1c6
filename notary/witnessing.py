"""Gets the newest checkpoint cosigned: all witnesses in parallel, until the policy is met.

Fail-closed, which is the default, a checkpoint that lacks its quorum is not timestamped: deposits
are taken and answered all the same, and a certificate issued meanwhile says that no time covers it
yet. Fail-open, it goes on with the cosignatures it got.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from notary.clock import Clock
from notary.errors import BadSignature, NotaryError, Unverifiable
from notary.ledger import Ledger, TreeHead
from notary.tlog.note import Note, NoteSignature, open_note, parse_note
from notary.tlog.policy import Policy, Witness
from notary.witness import Refused, Stale, Witnessed, Witnesses, WitnessState, submit

PAUSES_S = (0.01, 0.05, 0.25)


class Witnessing:
    def __init__(
        self,
        *,
        ledger: Ledger,
        witnesses: Witnesses,
        policy: Policy,
        clock: Clock,
        fail_open: bool,
        timeout_s: float,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.policy = policy
        self._ledger = ledger
        self._witnesses = witnesses
        self._clock = clock
        self._fail_open = fail_open
        self._timeout_s = timeout_s
        self._pause = pause

    def is_due(self) -> bool:
        newest = self._witnesses.newest()
        return newest is None or newest.size < self._ledger.head().size

    def run(self) -> bool:
        """True when a checkpoint was kept. What single witnesses did is noted, never raised."""
        if not self.is_due():
            return False
        head = self._ledger.head()
        asked = [witness for witness in self.policy.witnesses if witness.url is not None]
        states = self._witnesses.states()
        with ThreadPoolExecutor(max_workers=max(len(asked), 1)) as pool:
            answers = list(pool.map(lambda w: self._ask(w, head, states.get(w.name)), asked))
        note = parse_note(head.checkpoint)
        lines = [line for answer in answers for line in answer]
        signed = Note(text=note.text, signatures=(*note.signatures, *lines))
        keys = [witness.key for witness in self.policy.witnesses]
        cosigners = (
            [each.key for each in open_note(Note(text=note.text, signatures=tuple(lines)), keys)]
            if lines
            else []
        )
        try:
            self.policy.check(cosigners)
        except Unverifiable:
            if not self._fail_open:
                return False
        self._witnesses.keep(
            Witnessed(size=head.size, root=head.root, checkpoint=signed.encode()),
            self._clock.now(),
        )
        return True

    def _ask(
        self, witness: Witness, head: TreeHead, known: WitnessState | None
    ) -> tuple[NoteSignature, ...]:
        """The witness's verified lines, or none; either way its state is noted."""
        state = known or WitnessState(
            name=witness.name, size=0, failures=0, last_error=None, last_cosigned_at=None
        )
        try:
            lines = self._cosign(witness, head, state.size)
        except NotaryError as exc:
            self._witnesses.note(
                replace(state, failures=state.failures + 1, last_error=f"{exc.code}: {exc}")
            )
            return ()
        self._witnesses.note(
            replace(
                state,
                size=head.size,
                failures=0,
                last_error=None,
                last_cosigned_at=self._clock.now(),
            )
        )
        return lines

    def _cosign(self, witness: Witness, head: TreeHead, old: int) -> tuple[NoteSignature, ...]:
        last: NotaryError = Refused(f"witness {witness.name!r}: never the size it said it had")
        for pause_s in PAUSES_S:
            proof = self._ledger.prove_consistency(old, head.size) if old else ()
            try:
                lines = submit(
                    witness, old=old, proof=proof, note=head.checkpoint,
                    timeout_s=self._timeout_s,
                )  # fmt: skip
                return _own(witness, head, lines)
            except Stale as stale:
                if stale.size > head.size:
                    raise Refused(
                        f"witness {witness.name!r} has seen size {stale.size}, our log has "
                        f"{head.size}: there is another log under our name, or this one is old",
                        code="witness_ahead",
                    ) from stale
                old = stale.size
            except Refused:
                raise  # an answer that will be the same next time
            except NotaryError as exc:
                last = exc
                self._pause(pause_s)
        raise last


def _own(
    witness: Witness, head: TreeHead, lines: tuple[NoteSignature, ...]
) -> tuple[NoteSignature, ...]:
    """Those of the lines that are the witness's, each verified. Raises Refused."""
    mine = tuple(
        line for line in lines if (line.name, line.key_id) == (witness.key.name, witness.key.key_id)
    )
    text = parse_note(head.checkpoint).text
    try:
        if not mine:
            raise BadSignature("no line by its key")
        for line in mine:
            witness.key.verify(text, line.signature)
    except BadSignature as exc:
        raise Refused(f"witness {witness.name!r}: {exc}", code="witness_signature_invalid") from exc
    return mine
