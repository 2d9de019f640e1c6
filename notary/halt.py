"""Writing stops when the ledger contradicts itself, and stays stopped until a person has looked.

The evidence, with both sides in it, is a file in the home of the node that saw it, and in the
row of the tree head, where every node sees it under the lock: no process of any node enters
anything, and all of them go on answering reads. The file is what counts where the database is what
is wrong; the row is what tells the others. `notary resume` is the person's word that the cause is
understood.
"""

from __future__ import annotations

import base64
import json
import platform
from datetime import datetime
from pathlib import Path

from notary.clock import rfc3339
from notary.errors import Fork, IntegrityError, Unreachable
from storage.durable import remove_file, write_file

FILE = "halted.json"


class Halt:
    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._unkept: str | None = None

    def check(self) -> None:
        """Raises IntegrityError (`halted`) while this node has evidence, Unreachable where its home
        does not answer: then nobody knows."""
        if self._unkept is not None:
            raise IntegrityError(
                f"writing has stopped in this process, and {self._unkept}: an operator must look, "
                "then start it again",
                code="halted",
            )
        if self._there():
            raise IntegrityError(
                f"writing has stopped; the evidence is in {self.path}, and an operator must look, "
                "then `notary resume`",
                code="halted",
            )

    def _there(self) -> bool:
        try:
            self.path.stat()
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise Unreachable(
                f"{self.path.parent} does not answer ({exc.strerror}): whoever runs this node must "
                "bring its disk back"
            ) from exc
        return True

    def evidence(self) -> str | None:
        """What this node has seen, for the others."""
        try:
            return self.path.read_text("utf-8")
        except OSError:
            return None

    def stop(self, error: IntegrityError, at: datetime) -> str:
        """Keeps the evidence, once: what came first counts. Gives it. Where the disk does not take
        it, this process at least stops. A crash here changes nothing that matters, since whatever
        raised the error will raise it again."""
        said = {
            "at": rfc3339(at),
            "node": f"{platform.node()}:{self.path.parent}",
            "code": error.code,
            "detail": str(error),
        }
        if isinstance(error, Fork):
            said |= {
                "ours": base64.b64encode(error.ours).decode(),
                "theirs": base64.b64encode(error.theirs).decode(),
            }
        evidence = json.dumps(said, indent=1)
        try:
            write_file(str(self.path), evidence.encode(), mode=0o600)
        except FileExistsError:
            return self.evidence() or evidence
        except OSError as exc:
            self._unkept = f"its evidence could not be kept ({exc.strerror}): {evidence}"
        return evidence

    def put_away(self, at: datetime) -> None:
        """Keeps the file's evidence under another name, which stops nothing. A crash in between
        leaves both."""
        evidence = self.evidence()
        if evidence is None:
            return
        kept = self.path.with_name(f"resumed-{at:%Y%m%dT%H%M%S.%fZ}-{FILE}")
        write_file(str(kept), evidence.encode(), mode=0o600)
        remove_file(str(self.path))


def check_told(evidence: str | None) -> None:
    """Raises IntegrityError (`halted`) where a node has told the others to stop."""
    if evidence is None:
        return
    try:
        said = json.loads(evidence)
        what = f"{said['code']} at {said['at']}, seen by {said['node']}"
    except (ValueError, KeyError, TypeError):
        what = "its evidence cannot be read"
    raise IntegrityError(
        f"writing has stopped on every node: {what}; an operator must look, then `notary resume`",
        code="halted",
    )
