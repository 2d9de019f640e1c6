"""PURE. What was judged once is not judged again.

Certificates of one house share checkpoints, tokens, keys and authorities. What was found to hold
is remembered by everything that went in; a failure raises, and is not remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

KEPT: Final = 64
"""Answers that an act which remembers keeps: the newest asked for."""
_LARGEST: Final = 32 * 1024
P = ParamSpec("P")
T = TypeVar("T")


def remembering(act: Callable[P, T], *parts: str | bytes) -> Callable[P, T]:
    """`act`, an `lru_cache(maxsize=KEPT)`; or itself without its memory, where its arguments
    `parts` are large: strangers may send what they like."""
    if sum(map(len, parts)) <= _LARGEST:
        return act
    forgetful: Callable[P, T] = act.__wrapped__  # type: ignore[attr-defined]  # lru_cache's own
    return forgetful
