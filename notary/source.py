"""Where a log's public side is read: below its URL, or in a folder that holds a copy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from notary import outside
from notary.errors import MalformedInput, Unreachable
from notary.readable import Source

TIMEOUT_S: Final = 20.0
PAUSES_S: Final = (0.2, 1.0)
"""Before the second and the third try: one answer lost among many thousands must not end a copy."""


class HttpSource:
    """`url` is the log's prefix, below which `checkpoint` and `tile/` are."""

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")

    def read(self, path: str, max_bytes: int) -> bytes | None:
        for pause_s in PAUSES_S:
            try:
                return self._ask(path, max_bytes)
            except Unreachable:
                time.sleep(pause_s)
        return self._ask(path, max_bytes)

    def _ask(self, path: str, max_bytes: int) -> bytes | None:
        reply = outside.exchange(
            f"{self.name}/{path}",
            who=f"{self.name}/{path}",
            timeout_s=TIMEOUT_S,
            max_bytes=max_bytes,
        )
        if reply.status == 200:
            return reply.body
        if reply.status in (404, 410):
            return None
        raise Unreachable(f"{self.name}/{path}: status {reply.status}: {reply.body[:200]!r}")


class FolderSource:
    """A mirror's folder."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    def read(self, path: str, max_bytes: int) -> bytes | None:
        try:
            with (self._folder / path).open("rb") as file:
                return file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise Unreachable(f"{self.name}/{path}: {exc}") from exc


def open_source(place: str) -> Source:
    """A URL, or the folder of a copy. Raises MalformedInput for what is neither."""
    if place.startswith(("http://", "https://")):
        return HttpSource(place)
    folder = Path(place)
    if not folder.is_dir():
        raise MalformedInput(f"{place!r} is no http(s) URL and no folder", code="settings")
    return FolderSource(folder)
