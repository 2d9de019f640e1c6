"""The proof file (C2SP tlog-proof, `.tlog-proof`): one entry's place under one checkpoint.

    c2sp.org/tlog-proof@v1
    index 7
    2Q0P5jSR+TdkwdXWyx+GbBWX0KZbNZkWzCjyTPSozsw=
    ycRkkNklus5eMVRUvkD1pK321vMrA+jjOiZKU8aOcY4=
    zY1lN35vrXYAPixXSd59LsU29xUJtuW4o2dNNg5Y2Co=
    5jLpqTgjsBDSEX6SgZiRnbTMdTuRd8bQ5tSsAOxe0Ks=

    example.com/log/testdata
    15
    rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=

    — example.com/log/testdata M9e0luh4jTG+UMBqOUo9/q+yAEvx1ilBEniMvjf1zfcBOhg+…

To verify: leaf hash from the entry; `note.open_note` on the checkpoint with keys from
elsewhere, and its origin; `merkle.check_inclusion` up to the checkpoint's root.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from notary.errors import MalformedInput
from notary.tlog.checkpoint import (
    decode_base64,
    encode_base64,
    parse_checkpoint_text,
    parse_decimal,
)
from notary.tlog.merkle import HASH_SIZE, MAX_SIZE
from notary.tlog.note import parse_note

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PATH: Final = 63  # hashes: a tree has fewer than 2**63 leaves

_FILE = re.compile(
    re.escape(HEADER) + r"\n(?:extra (?P<extra>[^\n]+)\n)?index (?P<index>[^\n]+)\n"
    r"(?P<path>(?:[^\n]+\n)*)\n(?P<checkpoint>.+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """`path` is leaf sibling first; `checkpoint` the signed note, byte for byte; `extra`
    whatever the maker added, vouched for by nobody."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index <= MAX_SIZE:
            raise ValueError(f"index {self.index} is not 0 to {MAX_SIZE}")
        if len(self.path) > MAX_PATH or any(len(value) != HASH_SIZE for value in self.path):
            raise ValueError(f"path is not at most {MAX_PATH} hashes of {HASH_SIZE} bytes")
        if self.extra == b"":
            raise ValueError("extra is there, but empty")

    def encode(self) -> bytes:
        """The file."""
        extra = () if self.extra is None else (f"extra {encode_base64(self.extra)}",)
        lines = (HEADER, *extra, f"index {self.index}", *map(encode_base64, self.path), "")
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint


def parse_proof(data: bytes) -> TlogProof:
    """A proof file, its checkpoint a well-formed signed checkpoint.

    Raises MalformedInput; neither signatures nor the path are verified.
    """
    try:
        match = _FILE.fullmatch(data.decode())
        if match is None:
            raise MalformedInput(f"not a {HEADER} file: begins {data[:60]!r}")
        checkpoint = match["checkpoint"].encode()
        parse_checkpoint_text(parse_note(checkpoint).text)
        return TlogProof(
            index=parse_decimal(match["index"]),
            path=tuple(map(decode_base64, match["path"].split("\n")[:-1])),
            checkpoint=checkpoint,
            extra=None if match["extra"] is None else decode_base64(match["extra"]),
        )
    except ValueError as exc:
        raise MalformedInput(f"not a {HEADER} file: {exc}") from exc
