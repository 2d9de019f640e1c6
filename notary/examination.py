"""What every examination of a paper does: one check after another, each noted, until one ends it.
PURE.
"""

from __future__ import annotations

from notary.errors import BadSignature, Unverifiable
from notary.tlog.note import open_note, parse_note
from notary.tlog.policy import NONE, Policy
from notary.verdict import Check, Status, Verdict


class Stop(Exception):
    """Ends the examination with a verdict on the paper itself."""

    def __init__(self, verdict: Verdict, code: str) -> None:
        super().__init__(code)
        self.verdict = verdict
        self.code = code


class Examination:
    def __init__(self) -> None:
        self.checks: list[Check] = []

    def passed(self, name: str, detail: str = "") -> None:
        self.checks.append(Check(name=name, status=Status.PASSED, detail=detail))

    def failed(self, name: str, code: str, error: Exception) -> Stop:
        """Gives what ends the examination, to be raised."""
        self.checks.append(Check(name=name, status=Status.FAILED, code=code, detail=str(error)))
        return Stop(Verdict.NOT_GENUINE, code)

    def left(self, name: str, code: str, detail: object) -> Stop:
        """A check that was not made. Gives what ends the examination, where nothing can follow."""
        self.checks.append(Check(name=name, status=Status.NOT_MADE, code=code, detail=str(detail)))
        return Stop(Verdict.UNDECIDED, code)

    def witnesses(self, checkpoint: str, policy: Policy | None) -> None:
        """The quorum that the trust file asks for, if it asks for one. Raises Stop."""
        if policy is None or policy.quorum == NONE:
            return
        try:
            note = parse_note(checkpoint.encode("utf-8"))
            cosigners = open_note(note, [witness.key for witness in policy.witnesses])
            policy.check([each.key for each in cosigners])
        except BadSignature as exc:
            raise self.failed("witnesses", "checkpoint_invalid", exc) from exc
        except Unverifiable as exc:
            raise self.left("witnesses", "witness_quorum_missing", exc) from exc
        self.passed("witnesses", ", ".join(each.key.name for each in cosigners))
