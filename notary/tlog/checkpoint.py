"""The checkpoint (C2SP tlog-checkpoint): what a log signs about its tree.

    example.com/log/testdata
    15
    rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=

Origin, size, root hash; further lines are extensions. This is the text of a signed note.
Here too are the two spellings all C2SP texts share, read so strictly that each value has
exactly one text: decimals and base64.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from notary.errors import MalformedInput
from notary.tlog.merkle import HASH_SIZE, MAX_SIZE

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile("[\x00-\x1f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """`root` is the RFC 6962 root hash of the first `size` entries of the log `origin`."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or _CONTROL.search(line):
                raise ValueError(f"checkpoint line {line[:100]!r} is empty or has controls")
        if not 0 <= self.size <= MAX_SIZE:
            raise ValueError(f"tree size {self.size} is not 0 to {MAX_SIZE}")
        if len(self.root) != HASH_SIZE:
            raise ValueError(f"root hash of {len(self.root)} bytes, not {HASH_SIZE}")

    def text(self) -> str:
        """The note text: what is signed, with its final newline."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_checkpoint_text(text: str) -> Checkpoint:
    """The inverse of `Checkpoint.text()`. Raises MalformedInput; no signature is looked at."""
    if not text.endswith("\n"):
        raise MalformedInput("checkpoint does not end with a newline")
    lines = text[:-1].split("\n")
    if len(lines) < 3:
        raise MalformedInput(f"checkpoint of {len(lines)} lines, at least 3")
    size, root = parse_decimal(lines[1]), decode_base64(lines[2])
    try:
        text.encode()
        return Checkpoint(origin=lines[0], size=size, root=root, extensions=tuple(lines[3:]))
    except ValueError as exc:
        raise MalformedInput(f"not a checkpoint: {exc}") from exc


def parse_decimal(text: str) -> int:
    """ASCII digits without leading zeros, at most 2**63 - 1. Raises MalformedInput."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise MalformedInput(f"not a decimal of 0 to {MAX_SIZE}: {text[:100]!r}")
    return int(text)


def encode_base64(data: bytes) -> str:
    """RFC 4648 §4: the standard alphabet, with padding."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """The inverse of `encode_base64`, and of nothing else. Raises MalformedInput for any text
    that would not come out of it again: other alphabets, missing padding, stray bits."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise MalformedInput(f"not base64: {text[:100]!r}: {exc}") from exc
    if encode_base64(data) != text:
        raise MalformedInput(f"base64 is not in its only form: {text[:100]!r}")
    return data
