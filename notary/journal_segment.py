"""One segment of the journal as bytes: signed, compressed, chained to the one before it.

A CBOR array of four: `evidence-journal/v1`; the header, a CBOR map; the Ed25519 signature by the
statement key over `evidence-journal/v1`, a NUL and the header's bytes; the body, zlib. The header
names the log, the segment's number, the SHA-256 of the segment before it (for number 0 of the
genesis document), the body's SHA-256 and size, which entries it holds, and the newest signed head
if they reach it. So the newest segment's signature vouches for all before it. The body is a CBOR
array of blocks: table, columns, rows, and the keys of rows that were removed.

A segment that was written anew, since something in it was disposed of, begins with
`evidence-journal-rewritten/v1`, which is signed as well, and its header has two members more:
`stands_for`, the SHA-256 of the segment as it was first written, and `rewritten`, the time. It
takes that one's place in the chain. Since no other segment names the digest of its bytes, its own
signature must be looked at, wherever it stands.

PURE.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from notary.errors import BadSignature, MalformedInput

MAGIC: Final = "evidence-journal/v1"
REWRITTEN: Final = "evidence-journal-rewritten/v1"
MAX_BODY_BYTES: Final = 256 << 20
"""Of an uncompressed body. Written ones end far below it."""
LEVEL: Final = 1

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows of one table as they were, and the primary keys of those that were removed."""

    table: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    gone: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHead:
    """A signed tree head: `checkpoint` is the note, verbatim, `signed_at` RFC 3339."""

    size: int
    root: bytes
    checkpoint: bytes
    signed_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Entries from index `first` up to, not including, `end`. `head` is there where `end` is its
    size: then this and the segments before it hold every entry under that head, and only then
    rows of other tables."""

    origin: str
    number: int
    previous: bytes
    first: int
    end: int
    head: SegmentHead | None
    at: str
    body_digest: bytes
    body_size: int
    stands_for: bytes | None = None
    """Of a segment that was written anew: the digest of the first writing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """`digest` is what the next one names: over the whole segment, as it was first written. Of a
    `rewritten` one it is its signer's word."""

    header: Header
    blocks: tuple[Block, ...]
    digest: bytes
    signed: bytes
    signature: bytes

    @property
    def rewritten(self) -> bool:
        return self.header.stands_for is not None

    def check_signature(self, keys: Iterable[bytes]) -> None:
        """By one of the raw Ed25519 keys. Raises BadSignature."""
        for key in keys:
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(
                    self.signature,
                    _to_be_signed(REWRITTEN if self.rewritten else MAGIC, self.signed),
                )
                return
            except InvalidSignature:
                continue
        raise BadSignature("no statement key of this house signed it")


def encode_segment(
    *,
    origin: str,
    number: int,
    previous: bytes,
    first: int,
    end: int,
    head: SegmentHead | None,
    at: str,
    blocks: Sequence[Block],
    sign: Callable[[bytes], bytes],
) -> bytes:
    """`sign` is given what the statement key signs."""
    body = _body_of(blocks)
    header: bytes = cbor2.dumps(
        {
            "origin": origin,
            "number": number,
            "previous": previous,
            "entries": [first, end],
            "head": None
            if head is None
            else [head.size, head.root, head.checkpoint, head.signed_at],
            "at": at,
            "body": [hashlib.sha256(body).digest(), len(body)],
        },
        canonical=True,
    )
    return _sealed(MAGIC, header, body, sign)


def rewrite_segment(
    segment: Segment, *, blocks: Sequence[Block], at: str, sign: Callable[[bytes], bytes]
) -> bytes:
    """The segment with these blocks instead, to take its place. `at` is RFC 3339."""
    said: dict[str, Any] = cbor2.loads(segment.signed)
    body = _body_of(blocks)
    said |= {
        "stands_for": segment.digest,
        "rewritten": at,
        "body": [hashlib.sha256(body).digest(), len(body)],
    }
    return _sealed(REWRITTEN, cbor2.dumps(said, canonical=True), body, sign)


def _body_of(blocks: Sequence[Block]) -> bytes:
    body: bytes = cbor2.dumps([[each.table, each.columns, each.rows, each.gone] for each in blocks])
    return body


def _sealed(magic: str, header: bytes, body: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    signature = sign(_to_be_signed(magic, header))
    encoded: bytes = cbor2.dumps([magic, header, signature, zlib.compress(body, LEVEL)])
    return encoded


def parse_segment(data: bytes) -> Segment:
    """The signature is not looked at. Raises MalformedInput."""
    try:
        match cbor2.loads(data):
            case [
                ("evidence-journal/v1" | "evidence-journal-rewritten/v1") as magic,
                bytes(signed),
                bytes(signature),
                bytes(packed),
            ]:
                header = _header(cbor2.loads(signed), rewritten=magic == REWRITTEN)
            case _:
                raise ValueError(f"not an {MAGIC} segment")
        body = _unpack(packed, header)
        blocks = tuple(_block(each) for each in cbor2.loads(body))
    except (cbor2.CBORDecodeError, zlib.error, ValueError, TypeError, KeyError, OverflowError,
            RecursionError) as exc:  # fmt: skip
        raise MalformedInput(f"journal segment cannot be read: {exc}") from exc
    return Segment(
        header=header,
        blocks=blocks,
        digest=header.stands_for or hashlib.sha256(data).digest(),
        signed=signed,
        signature=signature,
    )


def _to_be_signed(magic: str, header: bytes) -> bytes:
    return magic.encode() + b"\0" + header


def _unpack(packed: bytes, header: Header) -> bytes:
    if header.body_size > MAX_BODY_BYTES:
        raise ValueError(f"body of {header.body_size} bytes, at most {MAX_BODY_BYTES}")
    unpacking = zlib.decompressobj()
    body = unpacking.decompress(packed, header.body_size + 1)
    if len(body) != header.body_size or not unpacking.eof or unpacking.unused_data:
        raise ValueError(f"body is not {header.body_size} bytes long")
    digest = hashlib.sha256(body).digest()
    if digest != header.body_digest:
        raise ValueError(f"body hashes to {digest.hex()}, header has {header.body_digest.hex()}")
    return body


def _header(said: Any, *, rewritten: bool) -> Header:
    stands_for = said["stands_for"] if rewritten else None
    if rewritten and not (isinstance(stands_for, bytes) and len(stands_for) == 32):
        raise ValueError("header of a segment written anew does not say what it stands for")
    match said:
        case {
            "origin": str(origin),
            "number": int(number),
            "previous": bytes(previous),
            "entries": [int(first), int(end)],
            "head": head,
            "at": str(at),
            "body": [bytes(body_digest), int(body_size)],
        } if 0 <= first <= end and number >= 0 and body_size >= 0:
            return Header(
                origin=origin,
                number=number,
                previous=previous,
                first=first,
                end=end,
                head=_head(head),
                at=at,
                body_digest=body_digest,
                body_size=body_size,
                stands_for=stands_for,
            )
    raise ValueError("header is not as it must be")


def _head(said: Any) -> SegmentHead | None:
    match said:
        case None:
            return None
        case [int(size), bytes(root), bytes(checkpoint), str(signed_at)]:
            return SegmentHead(size=size, root=root, checkpoint=checkpoint, signed_at=signed_at)
    raise ValueError("head is not as it must be")


def _block(said: Any) -> Block:
    match said:
        case [str(table), [*columns], [*rows], [*gone]]:
            if not all(isinstance(name, str) for name in columns):
                raise ValueError(f"columns of {table!r} are not names")
            if any(len(row) != len(columns) for row in rows):
                raise ValueError(f"a row of {table!r} has not {len(columns)} values")
            return Block(
                table=table,
                columns=tuple(columns),
                rows=tuple(map(tuple, rows)),
                gone=tuple(map(tuple, gone)),
            )
    raise ValueError("block is not as it must be")
