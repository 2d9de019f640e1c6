"""Writing stops when the ledger contradicts itself, and stays stopped until a person has looked.

The evidence is a file in the house with both sides in it; while it is there, no process of the
house enters anything, and all of them go on answering reads. Removing the file is the person's
word that the cause is understood.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path

from notary.clock import rfc3339
from notary.errors import Fork, IntegrityError
from storage.durable import write_file

FILE = "halted.json"


class Halt:
    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._unkept: str | None = None

    def check(self) -> None:
        """Raises IntegrityError (`halted`) while writing is stopped."""
        if self._unkept is not None:
            raise IntegrityError(
                f"writing has stopped in this process, and {self._unkept}: an operator must look, "
                "then start it again",
                code="halted",
            )
        if self.path.exists():
            raise IntegrityError(
                f"writing has stopped; the evidence is in {self.path}, and an operator must look",
                code="halted",
            )

    def stop(self, error: IntegrityError, at: datetime) -> None:
        """Keeps the evidence, once: what came first counts. Where the disk does not take it, this
        process at least stops. A crash here changes nothing that matters, since whatever raised
        the error will raise it again."""
        said = {"at": rfc3339(at), "code": error.code, "detail": str(error)}
        if isinstance(error, Fork):
            said |= {
                "ours": base64.b64encode(error.ours).decode(),
                "theirs": base64.b64encode(error.theirs).decode(),
            }
        evidence = json.dumps(said, indent=1)
        try:
            write_file(str(self.path), evidence.encode(), mode=0o600)
        except FileExistsError:
            pass
        except OSError as exc:
            self._unkept = f"its evidence could not be kept ({exc.strerror}): {evidence}"
