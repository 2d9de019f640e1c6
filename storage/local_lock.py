"""What protects a file in a folder: one small file beside it, `+protection-NAME`.

It holds JSON, `{"held": false, "until": "2036-01-01T00:00:00+00:00"}`, and is replaced as a whole,
so a crash leaves the old words or the new ones. '+' is in no key: no walk shows it. Who changes it
or removes the original has the folder's lock (`flock`), in this process or another; so no hold is
lost to a retention written at the same moment, and none put on what is just being removed.

It binds the service, not root: a folder has nobody else who could refuse.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from storage import durable
from storage.errors import ObjectDiffers
from storage.objects import Protection

PREFIX: Final = "+protection-"
NONE: Final = Protection(until=None, held=False)


@contextlib.contextmanager
def folder_locked(path: str) -> Iterator[None]:
    """Alone in the folder of `path`, until the end of the block. Raises OSError."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def read(path: str) -> Protection:
    """What protects the file at `path`. Raises OSError, and ObjectDiffers if the words beside it
    can't be read: then nobody knows, and it must not be taken for unprotected."""
    try:
        with open(_beside(path), "rb") as file:
            kept = json.loads(file.read(4096))
        until, held = kept["until"], kept["held"]
        parsed = None if until is None else datetime.fromisoformat(until).astimezone(UTC)
        return Protection(until=parsed, held=bool(held))
    except FileNotFoundError:
        return NONE
    except (ValueError, KeyError, TypeError) as error:
        raise ObjectDiffers(f"{_beside(path)!r} does not say what protects the file") from error


def write(path: str, protection: Protection) -> None:
    """Durable when it returns. Raises OSError."""
    until = None if protection.until is None else protection.until.isoformat()
    words = json.dumps({"held": protection.held, "until": until}, sort_keys=True)
    durable.replace_file(_beside(path), words.encode(), mode=0o600)


def drop(path: str) -> None:
    """After the file itself: a crash between the two leaves words about nothing. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_beside(path))


def _beside(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, PREFIX + name)
