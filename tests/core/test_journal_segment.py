"""Segments of the journal as bytes: what is written is read, anything else is refused."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from notary.errors import BadSignature, MalformedInput
from notary.journal_segment import Block, SegmentHead, encode_segment, parse_segment

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key().public_bytes_raw()
HEAD = SegmentHead(size=7, root=b"r" * 32, checkpoint=b"note", signed_at="2026")
VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary()


def encoded(*blocks: Block, **changed: Any) -> bytes:
    said: dict[str, Any] = {
        "origin": "log.example", "number": 3, "previous": b"p" * 32, "first": 5, "end": 7,
        "head": HEAD, "at": "2026", "blocks": blocks, "sign": KEY.sign,
    }  # fmt: skip
    return encode_segment(**{**said, **changed})


@given(st.lists(st.tuples(VALUES, VALUES), max_size=5), st.lists(st.tuples(VALUES), max_size=3))
def test_what_is_written_is_read(rows: list[tuple[Any, ...]], gone: list[tuple[Any, ...]]) -> None:
    block = Block(table="t", columns=("a", "b"), rows=tuple(rows), gone=tuple(gone))
    segment = parse_segment(encoded(block))
    assert segment.blocks == (block,)
    assert (segment.header.number, segment.header.first, segment.header.end) == (3, 5, 7)
    assert segment.header.head == HEAD
    segment.check_signature([PUBLIC])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_segment_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        parse_segment(data)


def test_every_flipped_byte_is_refused_or_no_longer_signed() -> None:
    whole = encoded(Block(table="t", columns=("a",), rows=((b"x" * 40,),)))
    digest = parse_segment(whole).digest
    for at in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[at] ^= 1
        try:
            segment = parse_segment(bytes(spoilt))
        except MalformedInput:
            continue
        assert segment.digest != digest
        try:
            segment.check_signature([PUBLIC])
        except BadSignature:
            continue
        # The same body under another compression is the same segment to its signature, and
        # another to the chain.
        assert segment.blocks == parse_segment(whole).blocks


def test_another_key_did_not_sign_it() -> None:
    segment = parse_segment(encoded())
    with pytest.raises(BadSignature):
        segment.check_signature([Ed25519PrivateKey.generate().public_key().public_bytes_raw()])
    with pytest.raises(BadSignature):
        segment.check_signature([])


def resized(body: bytes, claimed: int) -> bytes:
    magic, header, signature, _ = cbor2.loads(encoded())
    said = cbor2.loads(header)
    said["body"][1] = claimed
    return bytes(cbor2.dumps([magic, cbor2.dumps(said), signature, zlib.compress(body)]))


@pytest.mark.parametrize("claimed", [0, 10, 1 << 40, -1])
def test_a_body_of_another_size_than_said_is_never_unpacked_whole(claimed: int) -> None:
    with pytest.raises(MalformedInput):
        parse_segment(resized(bytes(50 << 20), claimed))


@pytest.mark.parametrize(
    "blocks",
    [
        [["t", ["a"], [[1, 2]], []]],
        [["t", [1], [[1]], []]],
        [["t", ["a"], [1], []]],
        [["t", ["a"]]],
        [1],
        1,
    ],
)
def test_blocks_of_another_shape_are_refused(blocks: Any) -> None:
    magic, header, signature, _ = cbor2.loads(encoded())
    said = cbor2.loads(header)
    body = cbor2.dumps(blocks)
    said["body"] = [hashlib.sha256(body).digest(), len(body)]
    with pytest.raises(MalformedInput):
        parse_segment(cbor2.dumps([magic, cbor2.dumps(said), signature, zlib.compress(body)]))
